"""Open-ended answers: how often the promise about people's preferences breaks with good and bad judges, and the saving.

    python experiments/calibrate/judge.py [--data FOLDER] [--draws 1000] [--population PART] [--judge PART]

No live judge is asked. Verdicts are simulated from the truth (what people prefer) and from the lengths of the answers.
A draw is 1,000 questions (of recorded pairs 2,000) with replacement, of which some selected ones get people's labels,
and each certificate is judged on the whole population. Populations: a simulated pair, and with --data recorded answers
whose grades stand for people: the right answer is preferred, two right or two wrong ones are a tie. There one judge
reads text: it prefers the answer that agrees with a third recorded model's. Writes
experiments/results/calibrate/judge.json; a second start of the same commit goes on.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from populations import rows_of

from corea.calibrate import FitOptions, OutcomeTable, Targets
from corea.calibrate.certify import Selection, certify_prepared
from corea.calibrate.few_labels import FewLabels, labels_of
from corea.calibrate.prepare import prepare_parts, split
from corea.calibrate.rules import ScoredTable
from corea.errors import DataError
from corea.signals.agreement import same_answer
from recipes.guarantee.few_label_trials import hidden_labels
from recipes.paper.provenance import commit

ROOT = Path(__file__).parents[2]
OUT = ROOT / "experiments" / "results" / "calibrate" / "judge.json"
WANTED, FIRST_SEED, PIECE = Targets(max_drop=0.05), 1000, 100
OPTIONS = FitOptions(map="linear", few_labels=True)
THIRD, ALSO = "the third model's answer", ("unbiased, 3 in 4", "favours the longer")
GPT = "gpt-4o-mini-2024-07-18"
RECORDED = {  # small model, large model with its price ratio, third model: file, model, variant
    "GSM8K, 1.5B to gpt-4o-mini": (
        ("gsm8k_anytime_qwen2.5-math-1.5b", "Qwen2.5-Math-1.5B-Instruct + QLoRA (main adapter)", "t2", 1),
        ("gsm8k_re2_openai", GPT, "cot", 20),
        ("gsm8k_re2_openai", "gpt-3.5-turbo (2023-08)", "cot", 0),
    ),
    "CommonsenseQA, 7B to gpt-4o-mini": (
        ("commonsenseqa_rlcr_qwen2.5-7b", "Qwen2.5-7B RLCR-hotpot", "RLCR", 1),
        ("commonsenseqa_re2_openai", GPT, "cot", 10),
        ("commonsenseqa_re2_openai", "gpt-3.5-turbo (2023-09)", "cot", 0),
    ),
    "MATH-500, 7B to Math-7B": (
        ("math500_rlcr_qwen2.5-7b", "Qwen2.5-7B RLCR-hotpot", "RLCR", 1),
        ("math500_itu", "Qwen2.5-Math-7B-Instruct", "digte", 10),
        ("math500_itu", "Qwen2.5-Math-1.5B-Instruct", "greedy", 0),
    ),
}
FILES = sorted({file for keys in RECORDED.values() for file, *_ in keys})
Floats = Any


def simulated(n: int = 20_000, seed: int = 0) -> tuple[OutcomeTable, Floats, Floats]:
    """A pair whose texts always differ, with what people prefer, and by how much the draft is longer."""
    rng = np.random.default_rng(seed)
    ease = rng.normal(size=n)
    large = 1 / (1 + np.exp(0.9 + 1.3 * ease))  # probability that people prefer the large model's answer
    draft = 0.16 / (1 + np.exp(-0.5 * ease))
    dice = rng.random(n)
    said = np.where(dice < large, 1.0, np.where(dice < large + (1 - large) * draft * 2, -1.0, 0.0))
    longer = rng.normal(size=n) - 0.4 * said + 0.3 * ease
    confidence = 1 / (1 + np.exp(-(0.8 * ease - 0.5 * said + 0.8 * rng.normal(size=n))))
    table = OutcomeTable.from_arrays(
        correct=np.column_stack(labels_of(said)), cost_usd=[1.0, 20.0], confidence=confidence,
        ids=[f"q{i}" for i in range(n)],
    )  # fmt: skip
    tokens = np.round(np.exp(5 + 0.3 * longer))
    return table.change(0, completion_tokens=tokens, agreement=np.zeros(n)), said, longer


def recorded(folder: Path) -> dict[str, tuple[OutcomeTable, Floats, Floats, Floats]]:
    """Recorded pairs, with the verdicts that a third model's recorded answers to the same questions give."""
    traces = {name: rows_of(folder / "traces" / f"{name}.jsonl.gz") for name in FILES}
    found: dict[str, tuple[OutcomeTable, Floats, Floats, Floats]] = {}
    for name, keys in RECORDED.items():
        small, large, third = (traces[file][model, variant] for file, model, variant, _ in keys)
        ids = [key for key in small if key in large and key in third]
        said = np.array([float(large[key]["correct"]) - float(small[key]["correct"]) for key in ids])
        chars = [np.array([float(rows[key]["response_chars"]) for key in ids]) for rows in (small, large)]
        confidence = np.array([small[key]["confidence"] for key in ids], dtype=float)
        table = OutcomeTable.from_arrays(
            correct=np.column_stack(labels_of(said)), confidence=confidence, ids=ids,
            cost_usd=np.column_stack([chars[0] / 4e6, keys[1][3] * chars[1] / 4e6]),
        ).change(0, completion_tokens=chars[0], agreement=np.zeros(len(ids)))  # fmt: skip
        agrees = [
            np.array([float(_same(rows[key]["answer"], third[key]["answer"])) for key in ids])
            for rows in (large, small)
        ]
        found[name] = table, said, np.log(chars[0] / chars[1]), agrees[0] - agrees[1]
    return found


def _same(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and same_answer(one, other)


def mixed(said: Floats, keep: float, rng: Any) -> Floats:
    """The truth with this probability, else a verdict of another question."""
    return np.where(rng.random(len(said)) < keep, said, rng.permutation(said))


def leaning(said: Floats, side: float, share: float, rng: Any) -> Floats:
    """A verdict one step (large, tie, draft) towards a side at this share of the pairs."""
    return np.where(rng.random(len(said)) < share, np.clip(said + side, -1, 1), said)


def in_both_orders(said: Floats, share: float, rng: Any) -> Floats:
    """In each order a share of the verdicts is for the answer shown first; what the orders disagree on is a tie."""
    first = [
        np.where(rng.random(len(said)) < share, place, said) for place in (-1.0, 1.0)
    ]  # the draft is first, second
    return np.where(first[0] == first[1], first[0], 0.0)


JUDGES: dict[str, Callable[[Floats, Floats, Any], Floats]] = {
    "says what people say": lambda said, longer, rng: said,
    "unbiased, 3 in 4": lambda said, longer, rng: mixed(said, 0.75, rng),
    "noisy, 1 in 3": lambda said, longer, rng: mixed(said, 1 / 3, rng),
    "random": lambda said, longer, rng: mixed(said, 0.0, rng),
    "favours the draft": lambda said, longer, rng: leaning(mixed(said, 0.75, rng), -1, 0.4, rng),
    "favours the large model": lambda said, longer, rng: leaning(mixed(said, 0.75, rng), 1, 0.4, rng),
    "favours the longer": lambda said, longer, rng: np.where(
        rng.random(len(said)) < 0.4, -np.sign(longer), mixed(said, 0.75, rng)
    ),
    "favours the first shown": lambda said, longer, rng: in_both_orders(mixed(said, 0.75, rng), 0.5, rng),
    "says the opposite": lambda said, longer, rng: -mixed(said, 0.75, rng),
}


@dataclass
class Population:
    """All questions, with the verdicts of one judge."""

    table: OutcomeTable
    rows: int
    golds: tuple[int, ...]

    def __post_init__(self) -> None:
        self.scored = ScoredTable.of(self.table)

    def trials(self, seed: int) -> dict[int, tuple[int, bool, float, float]]:
        """By number of labels: those given, and if certified the saving and the drop on the population.

        One draw, split and map for all numbers of labels: what `select_for_labelling` and `certify` do.
        """
        rng = np.random.default_rng(seed)
        rows = self.table.take(rng.integers(len(self.table), size=self.rows))
        rows = replace(rows, ids=np.array([f"d{seed}-{i}" for i in range(self.rows)], dtype=object))
        options = replace(OPTIONS, seed=seed)
        labels = FewLabels.of(hidden_labels(rows, np.zeros(self.rows, dtype=bool)), WANTED)
        part_a, part_b = split(rows, options)
        prepared = prepare_parts(labels.proxy(rows).take(part_a), rows.take(part_b), options, WANTED.score_target)
        labels = labels.take(part_b)
        order = np.random.default_rng([seed, 1]).permutation(labels.worth(prepared.test, prepared.fit, WANTED))
        found: dict[int, tuple[int, bool, float, float]] = {}
        for gold in self.golds:
            known = replace(labels, gold=np.isin(np.arange(len(part_b)), order[:gold]), only_different=True)
            try:
                known.check_scores(prepared.test)
            except DataError:  # labels that look as if they were not drawn at random, which happens by chance
                found[gold] = min(gold, len(order)), False, 0.0, 0.0
                continue
            chosen = certify_prepared(prepared, WANTED, options, cap_usd=WANTED.cap(rows), labels=known)
            found[gold] = min(gold, len(order)), *self._judged(chosen)
        return found

    def _judged(self, chosen: Selection) -> tuple[bool, float, float]:
        if chosen.rules is None:
            return False, 0.0, 0.0
        answers, last = self.scored.with_maps(chosen.prepared.maps, None).outcome(chosen.rules), self.table.last
        drop = float((last.correct - answers.correct).mean())
        return True, 1 - float(answers.cost_usd.mean() / last.cost_usd.mean()), drop


def summary(population: Population, seeds: range) -> dict[int, dict[str, float]]:
    """Means over the draws of these seeds, by number of labels."""
    trials = [population.trials(seed) for seed in seeds]
    found: dict[int, dict[str, float]] = {}
    for gold in population.golds:
        labels, certified, saving, lost = (np.array(each) for each in zip(*(one[gold] for one in trials), strict=True))
        found[gold] = {
            "labels": float(labels.mean()), "certified": float(certified.mean()),
            "broken": float((lost > (WANTED.max_drop or 0.0)).mean()), "saving": float(saving.mean()),
            "drop": float(lost.mean()),
        }  # fmt: skip
    return found


def oracle(population: OutcomeTable, drop: float) -> float:
    """The saving of the best threshold of the first signal that meets the target on the whole population."""
    order = np.argsort(-population.first.confidence, kind="stable")
    lost = np.cumsum((population.last.correct - population.first.correct)[order]) / len(population)
    alone = population.last.cost_usd
    saved = (np.cumsum(alone[order]) - population.first.cost_usd.sum()) / alone.sum()
    return float(max(saved[lost <= drop], default=0.0))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--population", default="")
    parser.add_argument("--judge", default="")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    for name, (table, said, longer, *third) in {"simulated": simulated(), **recorded_in(given.data)}.items():
        verdicts = {judged: make(said, longer, rng_of(judged)) for judged, make in JUDGES.items()}
        if third:
            verdicts = {THIRD: third[0], **{each: verdicts[each] for each in ALSO}}
        for judged, seen in verdicts.items():
            if given.population not in name or given.judge not in judged:
                continue
            rows, golds = (1000, (300,)) if not third else (2000, (150, 500))
            population = Population(table.change(0, judged=seen, judge_model="simulated"), rows, golds)
            run(given.out, name, judged, population, given.draws)


def run(path: Path, name: str, judged: str, population: Population, draws: int) -> None:
    """Adds pieces of draws to what is stored until there are so many."""
    first = population.table.first
    said = population.table.last.correct - first.correct
    fixed = {
        "agrees": float(np.mean(first.judged == said)), "leans": float(np.mean(first.judged - said)),
        "oracle": oracle(population.table, WANTED.max_drop or 0.0), "rows": population.rows, "commit": commit(),
    }  # fmt: skip
    if stored(path, name, judged, population.golds[-1]).get("commit") != fixed["commit"]:
        forget(path, name, judged)
    while (done := stored(path, name, judged, population.golds[-1]).get("draws", 0)) < draws:
        more = min(PIECE, draws - done)
        new = summary(population, range(FIRST_SEED + done, FIRST_SEED + done + more))
        for gold, found in new.items():
            old = stored(path, name, judged, gold)
            means = {key: (done * old.get(key, 0.0) + more * value) / (done + more) for key, value in found.items()}
            store(path, name, judged, gold, {**fixed, **means, "draws": done + more})


def recorded_in(folder: Path | None) -> dict[str, tuple[OutcomeTable, Floats, Floats, Floats]]:
    return {} if folder is None else recorded(folder)


def rng_of(name: str) -> np.random.Generator:
    return np.random.default_rng([7, *map(ord, name)])


def stored(path: Path, name: str, judged: str, gold: int) -> dict[str, Any]:
    trials = json.loads(path.read_text())["trials"] if path.exists() else []
    key = (name, judged, gold)
    return next((each for each in trials if (each["population"], each["judge"], each["gold"]) == key), {})


def forget(path: Path, name: str, judged: str) -> None:
    """Takes out what another commit found."""
    if path.exists():
        out = json.loads(path.read_text())
        out["trials"] = [each for each in out["trials"] if (each["population"], each["judge"]) != (name, judged)]
        path.write_text(json.dumps(out, indent=1) + "\n")


def store(path: Path, name: str, judged: str, gold: int, found: dict[str, Any]) -> None:
    """Puts one result beside those that are there."""
    out: dict[str, Any] = {"max_drop": WANTED.max_drop, "delta": WANTED.delta, "trials": []}
    if path.exists():
        out = json.loads(path.read_text())
    old = stored(path, name, judged, gold)
    out["trials"] = [each for each in out["trials"] if each != old]
    out["trials"].append({"population": name, "judge": judged, "gold": gold, **found})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(out, indent=1) + "\n")
    print(name, judged, gold, json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
