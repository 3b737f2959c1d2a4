"""A router before the small model, a threshold after it, and both: what each saves on rows with the question's text.

    python experiments/calibrate/router.py --data FOLDER     (FOLDER holds traces/; or COREA_DATA)

Pairs: recorded answers (GSM8K, CommonsenseQA, MATH-500), the bundled pair on fresh questions (seed 2040, used for
nothing else) in and out of its domain, and MMLU of RouteLLM with a simulated weak confidence, on which the split and
the path were chosen. At price ratios of 4 and 20, target 2 points. Each of five parts in turn is unseen, over two
shuffles; the rest calibrates. "Certified" is the guarantee's choice, "chosen" the cheapest rule that loses at most 2
points on the rows of the test, without a guarantee, as papers on routers choose. Writes
experiments/results/calibrate/router.json.
"""

import argparse
import asyncio
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from populations import CSQA, GSM8K, ROUTELLM, joined, others, rows_of

from corea.backends.local.onnx import OnnxBackend, OnnxSettings
from corea.calibrate import FitOptions, OutcomeTable, Targets
from corea.calibrate.certify import Selection, certify
from corea.calibrate.paths import candidate_path
from corea.calibrate.rules import Rules, ScoredTable
from corea.errors import ConfigError
from corea.models import FOLDER as MODELS
from corea.parsing import read_answer, read_confidence
from corea.types import Question, Sampling
from recipes.bundled_pair.dataset import Generated
from recipes.paper.measured_code import stamped
from recipes.paper.provenance import commit

RESULTS = Path(__file__).parents[1] / "results" / "calibrate"
TARGET = Targets(max_drop=0.02)
MATH = "MATH-500 7B RLCR -> Qwen2.5-Math-7B"
RATIOS = (4, 20)
FILES = {
    GSM8K: "gsm8k_anytime_qwen2.5-math-1.5b", CSQA: "commonsenseqa_rlcr_qwen2.5-7b",
    MATH: "math500_rlcr_qwen2.5-7b", ROUTELLM: "mmlu_routellm",
}  # fmt: skip


def recorded(folder: Path) -> dict[str, OutcomeTable]:
    traces = folder / "traces"
    pairs = others(folder)
    small = rows_of(traces / f"{FILES[MATH]}.jsonl.gz")[("Qwen2.5-7B RLCR-hotpot", "RLCR")]
    large = rows_of(traces / "math500_itu.jsonl.gz")[("Qwen2.5-Math-7B-Instruct", "digte")]
    pairs[MATH] = joined(small, large, ratio=4)
    rng = np.random.default_rng(0)
    weak = 0.6 * (pairs[ROUTELLM].first.correct - 0.5) + rng.normal(size=len(pairs[ROUTELLM]))
    pairs[ROUTELLM] = pairs[ROUTELLM].change(0, signals={"confidence": np.round(np.clip((weak + 3) / 6, 0, 1), 1)})
    return {name: worded(table, traces / f"{FILES[name]}.jsonl.gz") for name, table in pairs.items()}


def worded(table: OutcomeTable, path: Path) -> OutcomeTable:
    texts = {key: row["question"] for rows in rows_of(path).values() for key, row in rows.items()}
    texts = np.array([texts[str(key)] for key in table.ids], dtype=object)
    return replace(table, texts=texts, categories=None)


async def bundled(world: str, n: int, gym: float) -> OutcomeTable:
    questions = Generated(world=world, n=n, gym=int(gym * n), seed=2040).load("test")
    correct, tokens, stated = [], [], []
    for name in ("slm", "llm"):
        backend = OnnxBackend(OnnxSettings(folder=str(MODELS / name), threads=1))
        got = await asyncio.gather(*(backend.complete(q, Sampling(temperature=0, max_tokens=160)) for q in questions))
        await backend.close()
        correct.append([float(read_answer(c.text) == q.reference) for c, q in zip(got, questions, strict=True)])
        tokens.append([float(c.usage.completion_tokens) for c in got])
        stated.append([np.nan if (s := read_confidence(c.text)) is None else s for c in got])
    return OutcomeTable.from_arrays(
        correct=np.array(correct).T, cost_usd=np.array(tokens).T / 1e6, confidence=np.array(stated[0]),
        ids=[q.id for q in questions], texts=[text(q) for q in questions],
    )  # fmt: skip


def text(question: Question) -> str:
    return question.text


def priced(table: OutcomeTable, ratio: float) -> OutcomeTable:
    """The table with the large model's mean cost at this multiple of the small one's."""
    scale = ratio * table.first.cost_usd.mean() / table.last.cost_usd.mean()
    return table.change(-1, cost_usd=table.last.cost_usd * scale)


def ways(table: OutcomeTable) -> dict[str, tuple[OutcomeTable, FitOptions]]:
    sure = {"confidence": np.ones(len(table))}
    return {
        "threshold": (table, FitOptions(map="identity")),
        "router": (table.change(0, signals=sure), FitOptions(map="identity", router=True)),
        "both": (table, FitOptions(map="identity", router=True)),
    }


def chosen(found: Selection) -> Rules | None:
    """The cheapest rules of the path that lose at most the target on the rows of the test."""
    test = found.test
    path = candidate_path(found.fit, TARGET, n_test=len(test), cap_usd=1.0)
    outcomes = [(rules, test.outcome(rules)) for rules in path]
    alone = float(test.table.last.cost_usd.mean())
    fits = [
        (float(each.cost_usd.mean()), i)
        for i, (_, each) in enumerate(outcomes)
        if (test.table.last.correct - each.correct).mean() <= TARGET.max_drop and each.cost_usd.mean() < alone
    ]
    return outcomes[min(fits)[1]][0] if fits else None


def judge(table: OutcomeTable, options: FitOptions, seen: np.ndarray, unseen: np.ndarray) -> dict[str, list[float]]:
    """(saving, drop, share of the deferred that wait for no draft) on the unseen rows, for each way to choose."""
    try:
        found = certify(table.take(seen), TARGET, options)
    except ConfigError:  # too few questions that only the large model answers: nothing to learn a router from
        return {"certified": [0.0, 0.0, 0.0], "chosen": [0.0, 0.0, 0.0]}
    rows = ScoredTable.mapped(table.take(unseen), found.prepared.maps, None, found.prepared.router)
    out: dict[str, list[float]] = {}
    for name, rules in (("certified", found.rules), ("chosen", chosen(found))):
        if rules is None or rules[0] is None:
            out[name] = [0.0, 0.0, 0.0]
            continue
        answers, asked = rows.outcome(rules), rows.asked(0, rules[0])
        last = rows.table.last
        out[name] = [
            float(1 - answers.cost_usd.mean() / last.cost_usd.mean()),
            float((last.correct - answers.correct).mean()),
            float((~asked).sum() / max(1, (~answers.kept).sum())),
        ]
    return out


def measure(table: OutcomeTable, shuffles: int) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for way, (rows, options) in ways(table).items():
        each = []
        for seed in range(shuffles):
            order = np.random.default_rng(seed).permutation(len(rows))
            each += [judge(rows, options, np.setdiff1d(order, order[k::5]), order[k::5]) for k in range(5)]
        for how in ("certified", "chosen"):
            saving, drop, instant = np.array([one[how] for one in each]).T
            found[f"{way}_{how}"] = {
                "saving": float(saving.mean()), "drop": float(drop.mean()), "instant": float(instant.mean()),
                "found": float((saving != 0).mean()),
            }  # fmt: skip
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument(
        "--data", type=Path, default=os.environ.get("COREA_DATA"), required="COREA_DATA" not in os.environ
    )
    options.add_argument("--shuffles", type=int, default=2)
    options.add_argument("--questions", type=int, default=3000, help="of the bundled pair")
    options.add_argument("--out", type=Path, default=RESULTS / "router.json")
    given = options.parse_args()
    pairs = recorded(given.data)
    for name, world, gym in (("in domain", "slm", 0.0), ("out of domain", "ood", 0.1)):
        pairs[f"bundled pair, {name}"] = asyncio.run(bundled(world, given.questions, gym))
    found = []
    for name, table in pairs.items():
        for ratio in RATIOS:
            figures = measure(priced(table, ratio), given.shuffles)
            found.append({
                "pair": name, "ratio": ratio, "n": len(table), "small": float(table.first.correct.mean()),
                "large": float(table.last.correct.mean()), **figures,
            })  # fmt: skip
            print(name, ratio, len(table), flush=True)
            for way, each in figures.items():
                print("   ", f"{way:20}", " ".join(f"{key} {value:.3f}" for key, value in each.items()), flush=True)
    text = stamped({"commit": commit(), "target": TARGET.max_drop, "pairs": found}, __file__)
    given.out.write_text(json.dumps(text, indent=1) + "\n")


if __name__ == "__main__":
    main()
