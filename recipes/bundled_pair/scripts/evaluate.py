"""Accuracy of each model on the fixed sets, and the saving of the pair.

    evaluate.py collect FOLDER OUT.npz [--split validation] [--n 1000] [--temperature 0] [--embedded PARAMETERS]
    evaluate.py report SLM.npz LLM.npz [--tune SLM_VALIDATION.npz LLM_VALIDATION.npz] [--json OUT]

Sets: in domain (world slm), out of domain (world ood, a tenth of it from reasoning-gym), far (world far). Split "test"
is for the end, once. Money: a token costs its model's parameters. `--tune` takes each threshold from the
validation sets, as a user would; without it the best threshold is picked on the set itself, which flatters.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from corea.metrics import auroc, brier_score, cascade_frontier, expected_calibration_error
from corea.metrics.deferral import cost_at_drop, oracle_point, random_frontier
from recipes.bundled_pair.dataset import Generated

SEED = 2032  # the sets of 2026 to 2029, and 2031, were looked at
SETS = {"in domain": ("slm", 0.0), "out of domain": ("ood", 0.1), "far": ("far", 0.0)}


def collect(folder: Path, out: Path, *, split: str, n: int, temperature: float) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from recipes.bundled_pair.answering import answer
    from recipes.bundled_pair.tokenizer import load_tokenizer

    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32)
    tokenizer = load_tokenizer(folder)
    arrays: dict[str, np.ndarray] = {"parameters": np.array(model.num_parameters())}
    for name, (world, gym) in SETS.items():
        size = n if name != "far" else min(n, 500)
        questions = Generated(world=world, n=size, gym=int(gym * size), seed=SEED).load(split)
        got = answer(model, tokenizer, questions, temperature=temperature)
        for field in ("correct", "stated", "expected", "prompt_tokens", "completion_tokens"):
            arrays[f"{name}/{field}"] = getattr(got, field)
        arrays[f"{name}/kind"] = np.array([q.category for q in questions])
        arrays[f"{name}/gym"] = np.array([q.id.startswith("gym-") for q in questions])
        arrays[f"{name}/text"] = np.array([q.text for q in questions])
        print(folder, split, name, f"accuracy {got.correct.mean():.3f}", flush=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(out, allow_pickle=True, **arrays)


def collect_embedded(folder: Path, out: Path, *, split: str, n: int, parameters: int) -> None:
    """The same through the embedded backend, greedily: ten times as fast; it knows no expected confidence."""
    import asyncio

    from corea.backends.local.onnx import OnnxBackend, OnnxSettings
    from corea.parsing import read_answer, read_confidence
    from corea.types import Sampling

    async def answers() -> dict[str, np.ndarray]:
        backend, arrays = OnnxBackend(OnnxSettings(folder=str(folder), threads=1)), {"parameters": np.array(parameters)}
        sampling = Sampling(temperature=0, max_tokens=160)
        for name, (world, gym) in SETS.items():
            size = n if name != "far" else min(n, 500)
            questions = Generated(world=world, n=size, gym=int(gym * size), seed=SEED).load(split)
            got = await asyncio.gather(*(backend.complete(q, sampling) for q in questions))
            right = [read_answer(c.text) == q.reference for c, q in zip(got, questions, strict=True)]
            stated = [read_confidence(c.text) for c in got]
            arrays |= {
                f"{name}/correct": np.array(right, dtype=float),
                f"{name}/stated": np.array([np.nan if s is None else s for s in stated]),
                f"{name}/prompt_tokens": np.array([c.usage.prompt_tokens for c in got]),
                f"{name}/completion_tokens": np.array([c.usage.completion_tokens for c in got]),
            }
            print(folder, split, name, f"accuracy {np.mean(right):.3f}", flush=True)
        await backend.close()
        return arrays

    np.savez_compressed(out, allow_pickle=True, **asyncio.run(answers()))


def cost(model: dict[str, np.ndarray], name: str) -> np.ndarray:
    return float(model["parameters"]) * (model[f"{name}/prompt_tokens"] + model[f"{name}/completion_tokens"])


def filled(confidence: np.ndarray) -> np.ndarray:
    """A missing confidence defers: it counts as 0."""
    return np.where(np.isnan(confidence), 0.0, confidence)


def saved(slm, llm, name: str, signal: str, drop: float, tune=None) -> dict[str, float]:
    """Cost saved, accuracy and share deferred at a threshold; the threshold from `tune` = (slm, llm) if given."""

    def arrays(small, large):
        return (
            filled(small[f"{name}/{signal}"]),
            small[f"{name}/correct"],
            large[f"{name}/correct"],
            cost(small, name),
            cost(large, name),
        )

    here = arrays(slm, llm)
    source = arrays(*tune) if tune else here
    point = cost_at_drop(cascade_frontier(*source), float(source[2].mean()), max_drop=drop)
    assert point is not None  # deferring everything loses nothing
    keep = here[0] >= point.tau
    accuracy = np.where(keep, here[1], here[2]).mean()
    spent = here[3] + np.where(keep, 0.0, here[4])
    return {
        "saved": float(1 - spent.mean() / here[4].mean()),
        "below": float(here[2].mean() - accuracy),
        "deferred": float(1 - keep.mean()),
        "tau": float(point.tau),
    }


def at_threshold(slm, llm, name: str, tau: float) -> dict[str, float]:
    """Saving and loss of the expected confidence at a threshold that was chosen elsewhere."""
    keep = filled(slm[f"{name}/expected"]) >= tau
    right = llm[f"{name}/correct"]
    large = cost(llm, name)
    spent = cost(slm, name) + np.where(keep, 0.0, large)
    return {
        "saved": float(1 - spent.mean() / large.mean()),
        "below": float(right.mean() - np.where(keep, slm[f"{name}/correct"], right).mean()),
    }


def report(slm, llm, tune=None) -> dict[str, dict[str, float]]:
    rows: dict[str, dict[str, float]] = {}
    shipped = saved(slm, llm, "in domain", "expected", 0.01, tune)["tau"]
    for name in SETS:
        c = slm[f"{name}/correct"]
        row: dict[str, float] = {"n": len(c), "SLM": float(c.mean()), "LLM": float(llm[f"{name}/correct"].mean())}
        for signal in ("stated", "expected"):
            values = slm[f"{name}/{signal}"]
            there = ~np.isnan(values)
            row[f"ECE {signal}"] = float(expected_calibration_error(values[there], c[there] > 0))
            row[f"Brier {signal}"] = float(brier_score(filled(values), c > 0))
            row[f"AUROC {signal}"] = float(auroc(filled(values), c > 0)) if 0 < c.mean() < 1 else float("nan")
            row[f"values {signal}"] = len(np.unique(np.round(values[there], 6)))
            for drop in (0.02, 0.01):
                got = saved(slm, llm, name, signal, drop, tune)
                row[f"saved at {100 * drop:.0f}, {signal}"] = got["saved"]
                row[f"below at {100 * drop:.0f}, {signal}"] = got["below"]
                row[f"deferred at {100 * drop:.0f}, {signal}"] = got["deferred"]
        for key, value in at_threshold(slm, llm, name, shipped).items():
            row[f"{key} at home's threshold"] = value
        args = (c, llm[f"{name}/correct"], cost(slm, name), cost(llm, name))
        random = cost_at_drop(random_frontier(*args), row["LLM"], max_drop=0.02)
        row["saved at 2, random"] = float(1 - random.cost_usd / args[3].mean()) if random else float("nan")
        row["saved, oracle"] = float(1 - oracle_point(*args).cost_usd / args[3].mean())
        rows[name] = row
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    sub = parser.add_subparsers(dest="verb", required=True)
    one = sub.add_parser("collect")
    one.add_argument("folder", type=Path)
    one.add_argument("out", type=Path)
    one.add_argument("--split", default="validation")
    one.add_argument("--n", type=int, default=1000)
    one.add_argument("--temperature", type=float, default=0.0)
    one.add_argument("--embedded", type=int, metavar="PARAMETERS", help="FOLDER is an export; asked of the LLM")
    two = sub.add_parser("report")
    two.add_argument("slm", type=Path)
    two.add_argument("llm", type=Path)
    two.add_argument("--tune", type=Path, nargs=2)
    two.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.verb == "collect" and given.embedded:
        collect_embedded(given.folder, given.out, split=given.split, n=given.n, parameters=given.embedded)
    elif given.verb == "collect":
        collect(given.folder, given.out, split=given.split, n=given.n, temperature=given.temperature)
    else:
        tune = tuple(np.load(p) for p in given.tune) if given.tune else None
        rows = report(np.load(given.slm), np.load(given.llm), tune)
        for column in next(iter(rows.values())):
            print(f"{column:26}", *(f"{rows[name][column]:12.3f}" for name in rows))
        if given.json:
            given.json.write_text(json.dumps(rows, indent=1) + "\n")
