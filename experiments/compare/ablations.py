"""What else could change a cascade: the draft handed over, a pre-policy, early deferral. On the models of a comparison.

    python experiments/compare/ablations.py recipes/paper/configs/bundled.toml --data RUNS --out out/compare/bundled

The small model is the comparison's `ours` with its expected confidence; the answers are those that
`python -m recipes.paper compare` stored (others are asked for). Thresholds and classifiers: on the calibration split of
each seed; all figures: on its evaluation split. Only the large model's answers with a draft are new; they are stored
too, so a second run makes no request.
"""

import argparse
import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from corea.calibrate.paths import categories_to_skip
from corea.calibrate.rules import ScoredTable, ThresholdRule
from corea.metrics import paired_share_interval, saving_interval, share_interval
from corea.metrics.arrays import Floats
from corea.prompts import with_draft
from corea.records.table import ModelOutcomes, OutcomeTable
from corea.types import Question
from recipes.paper.answers import Answers, Fitting, Pair, question_hash
from recipes.paper.apply_methods import fit_threshold, kept
from recipes.paper.collect import Model, answered, answers, collect
from recipes.paper.early_deferral import NEVER, Prefixes, stops
from recipes.paper.models import open_models, read_settings
from recipes.paper.provenance import provenance
from recipes.paper.splits import DatasetSplits, load_splits

ROOT = Path(__file__).parents[2]
MAX_DROP, SIGNAL = 0.02, "expected"
CHECKPOINTS = (4, 8, 12, 16, 24, 32, 48)
EARLY = {"written to the end": None, "stopped, token probabilities": False, "stopped, hidden states too": True}


def slug(name: str) -> str:
    """A name that a path into the results can hold."""
    return name.replace(",", "").replace(" ", "_")


class Sums:
    """Arrays of all seeds' judged questions, by a row's name."""

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, Floats]]] = {}

    def add(self, row: str, **columns: Floats) -> None:
        self.rows.setdefault(row, []).append(columns)

    def summed(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, parts in self.rows.items():
            c = {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}
            found[slug(name)] = {
                "n": len(c["right"]),
                "accuracy": asdict(share_interval(c["right"])),
                "drop": asdict(paired_share_interval(c["right"] + c["lost"], c["right"])),
                "saving": asdict(saving_interval(c["cost"], c["alone"])),
                "llm_share": float(c["deferred"].mean()),
                **{k: float(v.mean()) for k, v in c.items() if k not in ("right", "lost", "cost", "alone", "deferred")},
            }
        return found


def pair_of(small: Answers, large: Answers) -> Pair:
    return Pair(
        confidence=small.confidence[SIGNAL], small_correct=small.correct, large_correct=large.correct,
        small_cost=small.cost_usd, large_cost=large.cost_usd,
    )  # fmt: skip


def cascade(sums: Sums, row: str, pair: Pair, keep: Floats, alone: Answers, **more: Floats) -> None:
    """A cascade's figures against the large model without a draft."""
    right = np.where(keep > 0, pair.small_correct, pair.large_correct)
    cost = pair.small_cost + np.where(keep > 0, 0.0, pair.large_cost)
    sums.add(row, right=right, cost=cost, alone=alone.cost_usd, lost=alone.correct - right, deferred=1 - keep, **more)


# --- the draft -------------------------------------------------------------------------------------------------------


async def draft(sums: Sums, small: Model, large: Model, fitting: Fitting, judged: Sequence[Question]) -> None:
    """The large model is shown the small one's text, or not."""
    parts = (fitting.questions, tuple(judged))
    with_text: list[list[Question]] = []
    for questions in parts:
        texts = [small.cache.rows[question_hash(q)]["response"] for q in questions]
        rendered = [large.prompt.render(q) for q in questions]
        with_text.append([with_draft(r, t) for r, t in zip(rendered, texts, strict=True)])
    if error := await collect(large, [q for part in with_text for q in part], concurrency=64):
        raise SystemExit(f"with a draft: {error}")
    own = [answers(small, part) for part in parts]
    plain = [answers(large, part) for part in parts]
    shown = [answers(large, part) for part in with_text]
    for row, theirs in (("draft not shown", plain), ("draft handed over", shown)):
        policy = fit_threshold(fitting, pair_of(own[0], theirs[0]), MAX_DROP)
        pair = pair_of(own[1], theirs[1])
        keep = kept(policy, judged, pair.confidence)
        cascade(sums, row, pair, keep, plain[1], large_alone=theirs[1].correct, large_cost=theirs[1].cost_usd)


# --- the pre-policy --------------------------------------------------------------------------------------------------


def pre_policy(
    sums: Sums, fitting: Fitting, judged: Sequence[Question], own: list[Answers], large: list[Answers]
) -> None:
    """The same threshold, with and without leave to skip the small model for whole kinds, as `corea calibrate` does."""
    tables = [
        OutcomeTable(
            ids=np.array([q.id for q in questions]),
            models=(
                ModelOutcomes(
                    name="small", correct=a.correct, cost_usd=a.cost_usd,
                    signals={"confidence": a.confidence[SIGNAL]},
                ),
                ModelOutcomes(name="large", correct=b.correct, cost_usd=b.cost_usd),
            ),
            categories=np.array([str(q.category) for q in questions]),
        )
        for questions, a, b in zip((fitting.questions, judged), own, large, strict=True)
    ]  # fmt: skip
    scored = [ScoredTable.of(table, table.first.confidence) for table in tables]
    policy = fit_threshold(fitting, pair_of(own[0], large[0]), MAX_DROP)
    plain = ThresholdRule(tau=policy.tau, tie_fraction=policy.tie_fraction)
    for row, rule in (
        ("no pre-policy", plain),
        ("pre-policy", msgspec.structs.replace(plain, skip_categories=categories_to_skip(scored[0], 0, plain))),
    ):
        found = scored[1].outcome((rule,))
        lost = large[1].correct - found.correct
        sums.add(
            row, right=found.correct, cost=found.cost_usd, alone=large[1].cost_usd, lost=lost,
            deferred=1 - np.asarray(found.kept, dtype=float),
            skipped=1 - np.asarray(scored[1].asked(0, rule), dtype=float),
        )  # fmt: skip


# --- early deferral --------------------------------------------------------------------------------------------------


def prefixes(engine: Any, model: Model, questions: Sequence[Question], *, hidden: bool) -> Prefixes:
    """What is known at each checkpoint: the written tokens' log-probabilities, and hidden states where asked for."""
    torch, rows = engine.torch, []
    for question in questions:
        head = engine.prompt(model.prompt.render(question))[1]
        tail = engine.encode(model.cache.rows[question_hash(question)]["response"]) or [0]
        ids, mask = engine.padded([[*head, *tail]])
        with torch.inference_mode():
            out = engine.model(**engine.inputs(ids, mask), output_hidden_states=hidden)
        logprobs = out.logits[0, len(head) - 1 : -1].float().log_softmax(-1)
        spread = -(logprobs.exp() * logprobs).sum(-1)
        written = logprobs.gather(1, torch.tensor(tail)[:, None])[:, 0]
        states = out.hidden_states[-1][0, len(head) :].float().numpy() if hidden else np.zeros((len(tail), 0))
        rows.append((len(head), written.numpy(), spread.numpy(), states))
    features: dict[int, Floats] = {}
    for t in CHECKPOINTS:
        features[t] = np.array(
            [
                [np.log(head), w[:t].mean(), w[:t].min(), w[:t][-4:].mean(), e[:t].mean(), e[:t].max(),
                 *s[min(t, len(s)) - 1], *s[:t].mean(axis=0)]
                for head, w, e, s in rows
            ]
        )  # fmt: skip
    return Prefixes(tokens=np.array([float(len(w)) for _, w, _, _ in rows]), features=features)


def early(
    sums: Sums, engine: Any, small: Model, fitting: Fitting, judged: Sequence[Question], own: list[Answers],
    large: list[Answers],
) -> None:  # fmt: skip
    """The small model written to its end, stopped by what it wrote so far, and by its hidden states too."""
    fit, pair = pair_of(own[0], large[0]), pair_of(own[1], large[1])
    policy = fit_threshold(fitting, fit, MAX_DROP)
    deferred = 1 - kept(policy, fitting.questions, fit.confidence)
    keep = kept(policy, judged, pair.confidence)
    usd = float(small.price.output_usd_per_mtok) / 1e6
    for row, hidden in (
        ("written to the end", None),
        ("stopped, token probabilities", False),
        ("stopped, hidden states too", True),
    ):
        at, written = np.full(len(judged), NEVER), own[1].tokens
        if hidden is not None:
            seen, others = (prefixes(engine, small, part, hidden=hidden) for part in (fitting.questions, judged))
            at = stops(fitting, seen, deferred, others)
        unwritten = np.where(np.isinf(at), 0.0, np.maximum(0.0, written - at))
        stopped = (unwritten > 0).astype(float)
        cascade(
            sums, row, replace(pair, small_cost=pair.small_cost - usd * unwritten), np.where(stopped > 0, 0.0, keep),
            large[1], stopped=stopped, tokens=written, tokens_unwritten=unwritten,
            tokens_of_deferred=written * (1 - keep), stopped_but_would_be_kept=stopped * keep,
        )  # fmt: skip


# --- all of it -------------------------------------------------------------------------------------------------------


async def ablate(asked: DatasetSplits, models: Sequence[Model], ours: str, concurrency: int) -> dict[str, Any]:
    from corea.backends.local.transformers import HFEngine

    sums = {what: Sums() for what in ("draft", "pre_policy", "early_deferral")}
    held = frozenset(question_hash(q) for q in asked.judge)
    large = next(m for m in models if m.role == "llm")
    for seed in sorted(set(asked.seed_of.values())):
        small = next(m for m in models if m.role == ours and m.serves(seed))
        parts = [tuple(q for q in part if asked.seed(q) == seed) for part in (asked.fit, asked.judge)]
        for model in (small, large):
            await collect(model, [q for part in parts for q in part], concurrency=concurrency)
            assert all(answered(model, [q for part in parts for q in part]))
        own, theirs = ([answers(m, part) for part in parts] for m in (small, large))
        fitting = Fitting(questions=parts[0], answers={ours: own[0], "llm": theirs[0]}, held_out=held)
        await draft(sums["draft"], small, large, fitting, parts[1])
        pre_policy(sums["pre_policy"], fitting, parts[1], own, theirs)
        backend: Any = small.open()[0]
        early(sums["early_deferral"], HFEngine(backend.settings), small, fitting, parts[1], own, theirs)
        print(f"{asked.name}, seed {seed}", flush=True)
    return {what: found.summed() for what, found in sums.items()}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("config", type=Path)
    options.add_argument("--data", type=Path)
    options.add_argument("--out", type=Path, default=Path("out/compare/bundled"), help="the comparison's folder")
    options.add_argument("--results", type=Path, default=ROOT / "experiments/results/compare/ablations.json")
    options.add_argument("--seed", type=int, action="append", help="only these seeds of the file's")
    chosen = options.parse_args()
    text, settings, base = read_settings(chosen.config, chosen.data)
    if chosen.seed:
        settings = settings.only(chosen.seed)
    models, _ = open_models(settings, base, chosen.out / "traces")
    found: dict[str, Any] = {
        "max_drop": MAX_DROP, "signal": SIGNAL, "small": settings.ours, "checkpoints": CHECKPOINTS, "datasets": {},
    }  # fmt: skip
    for name, declared in settings.datasets.items():
        if name != "far":  # the small model is right on none of it: nothing is kept
            asked = load_splits(name, declared, settings.seeds)
            found["datasets"][slug(name)] = asyncio.run(ablate(asked, models, settings.ours, settings.concurrency))
    seeds = "".join(f" --seed {seed}" for seed in chosen.seed or [])
    command = f"python experiments/compare/ablations.py {chosen.config} --data RUNS --out {chosen.out}{seeds}"
    found["models"] = {f"{m.role} {m.trained or ''}".strip(): m.cache.identity.revision[:12] for m in models}
    sha = hashlib.sha256(text.encode()).hexdigest()
    found["provenance"] = provenance(command=command, config=text, config_sha256=sha)
    chosen.results.parent.mkdir(parents=True, exist_ok=True)
    chosen.results.write_text(json.dumps(found, indent=1) + "\n")
    for name, what in found["datasets"].items():
        for rows in what.values():
            for row, r in rows.items():
                extra = {k: round(v, 4) for k, v in r.items() if isinstance(v, float)}
                saved, lost = (100 * r[k]["value"] for k in ("saving", "drop"))
                print(f"{name:14s} {row:30s} saved {saved:6.1f} % drop {lost:+.1f} {extra}")


if __name__ == "__main__":
    main()
