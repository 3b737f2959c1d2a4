"""A second opinion as a further column of the map: what is certified with it, judged on rows that nothing has seen.

    python experiments/calibrate/second_opinion.py --data FOLDER     (FOLDER holds traces/; or COREA_DATA)

Pairs of MMLU-Pro, signals that a live cascade measures, 2 points at 95 %. 400 rows, set aside by seed and used for
nothing else, choose the second model: the most accurate of the other small ones, at the first one's price. Of the
others, half calibrates; "older" fits the map on a quarter of its own and tests on all of that half; the last quarter
judges all. On the same map, path and rows of the test: "mapie", the Hoeffding-Bentkus p-value of the share of losses
(the controller of MAPIE 1.x, here from its source: Bates et al. 2021, arXiv:2101.02703, sec. 3.1); "exact", a binomial
test of that share; and "automix", the cheapest threshold that meets the target on those rows, without a test (Madaan et
al. 2023, arXiv:2310.12963). Writes experiments/results/calibrate/second_opinion.json.
"""

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from populations import LARGE, MMLU_PRO, SMALL, TARGETS, our_names
from scipy.stats import binom

from corea.calibrate import FitOptions, OutcomeTable, Targets
from corea.calibrate.certify import Selection, certify, fixed_sequence
from corea.calibrate.paths import candidate_path
from corea.calibrate.rules import Rules, ScoredTable
from corea.records.answer import AnswerSet
from corea.records.join import join_answers, with_second_opinion
from corea.records.read import RowSource, read_answers
from recipes.paper.measured_code import stamped
from recipes.paper.provenance import commit

RESULTS = Path(__file__).parents[1] / "results" / "calibrate"
TARGET = Targets(max_drop=0.02)
CHOOSING = 400
SMALL_MODELS = (
    "Qwen2.5-3B-Instruct", "Qwen2.5-7B-Instruct", "Llama-3.2-3B-Instruct", "Meta-Llama-3.1-8B-Instruct-Turbo",
    "Qwen3-1.7B", "Qwen3-4B", "Qwen3-8B", "gemma-2-9b-it", "gpt-4.1-nano", "claude-3-haiku-20240307",
)  # fmt: skip


def answers(folder: Path, model: str) -> AnswerSet:
    file = SMALL if model in SMALL_MODELS else LARGE
    return our_names(read_answers(RowSource(paths=[folder / "traces" / file], model=model)))


def tables(folder: Path, pair: str) -> tuple[str, dict[str, OutcomeTable]]:
    """The second model; and the rows with one signal, all, and the second opinion, without those that chose."""
    _, small, large, ratio = MMLU_PRO[pair]
    first, last = answers(folder, small), answers(folder, large)
    aside = set(np.random.default_rng(2027).permutation(sorted(first.answers))[:CHOOSING].tolist())
    seconds = {name: answers(folder, name) for name in SMALL_MODELS if name != small}
    right = {name: np.mean([each.answers[key].correct for key in aside]) for name, each in seconds.items()}
    second = max(right, key=right.__getitem__)
    prices = dict.fromkeys(SMALL_MODELS, (0.0, 1.0)) | {large: (0.0, float(ratio))}
    asked = with_second_opinion(first, seconds[second], prices=prices)
    found = {
        "one signal": join_answers([first, last], prices=prices, signals=["confidence"]),
        "all signals": join_answers([first, last], prices=prices),
        "second opinion": join_answers([asked, last], prices=prices),
    }
    rest = {
        name: table.take([i for i, key in enumerate(table.ids) if key not in aside]) for name, table in found.items()
    }
    return second, rest


def hoeffding_bentkus(losses: int, n: int) -> float:
    level = TARGET.max_drop or 0.0
    rate = min(losses / n, level)
    entropy = (rate * np.log(rate / level) if rate else 0.0) + (1 - rate) * np.log((1 - rate) / (1 - level))
    return float(min(np.exp(-n * entropy), np.e * binom.cdf(losses, n, level)))


def exact(losses: int, n: int) -> float:
    return float(binom.cdf(losses, n, TARGET.max_drop))


def others(found: Selection) -> dict[str, Rules | None]:
    """What other ways choose on the same path and rows of the test."""
    test = found.test
    path = candidate_path(found.fit, TARGET, n_test=len(test), cap_usd=found.cap_usd, pre_policy=False)
    outcomes = {rules: test.outcome(rules) for rules in path}
    last = test.table.last

    def cheapest(rules: list[Rules]) -> Rules | None:
        saving = [each for each in rules if outcomes[each].cost_usd.mean() < last.cost_usd.mean()]
        return min(saving, key=lambda each: float(outcomes[each].cost_usd.mean()), default=None)

    def tested(pvalue: Callable[[int, int], float]) -> Rules | None:
        def of(rules: Rules) -> float:
            return pvalue(int((last.correct > outcomes[rules].correct).sum()), len(test))

        return cheapest(fixed_sequence(path, of, delta=TARGET.delta))

    meets = [rules for rules in path if (last.correct - outcomes[rules].correct).mean() <= (TARGET.max_drop or 0.0)]
    return {"mapie": tested(hoeffding_bentkus), "exact": tested(exact), "automix": cheapest(meets)}


def judge(
    table: OutcomeTable, options: FitOptions, parts: tuple[np.ndarray, np.ndarray, np.ndarray], *, older: bool
) -> dict[str, list[float]]:
    """(saving, drop, share of the first model's questions with a second opinion) on the last part, by way."""
    new, old, unseen = (table.take(part) for part in parts)
    found = certify(new, TARGET, options, older=old if older else None)
    rows = ScoredTable.mapped(unseen, found.prepared.maps)
    out: dict[str, list[float]] = {}
    for name, rules in {"corea": found.rules, **others(found)}.items():
        if rules is None or rules[0] is None:
            out[name] = [0.0, 0.0, 0.0]
            continue
        given, last = rows.outcome(rules), unseen.last
        out[name] = [
            float(1 - given.cost_usd.mean() / last.cost_usd.mean()),
            float((last.correct - given.correct).mean()),
            float(rows.opinion_asked(0, rules[0]).mean()),
        ]
    return out


def measure(table: OutcomeTable, options: FitOptions, repeats: int, *, older: bool) -> dict[str, dict[str, float]]:
    each = []
    for seed in range(repeats):
        order, n = np.random.default_rng(seed).permutation(len(table)), len(table)
        each.append(
            judge(table, options, (order[: n // 2], order[n // 2 : 3 * n // 4], order[3 * n // 4 :]), older=older)
        )
    found: dict[str, dict[str, float]] = {}
    for name in each[0]:
        saving, drop, asked = np.array([one[name] for one in each]).T
        found[name] = {
            "saving": float(saving.mean()), "saving_low": float(saving.min()), "saving_high": float(saving.max()),
            "drop": float(drop.mean()), "certified": float((saving != 0).mean()), "opinions": float(asked.mean()),
        }  # fmt: skip
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument(
        "--data", type=Path, default=os.environ.get("COREA_DATA"), required="COREA_DATA" not in os.environ
    )
    options.add_argument("--repeats", type=int, default=10)
    options.add_argument("--out", type=Path, default=RESULTS / "second_opinion.json")
    given = options.parse_args()
    found = []
    for pair in TARGETS:
        second, rows = tables(given.data, pair)
        found.append({"pair": pair, "second": second, "n": len(rows["one signal"]), "ways": {}})
        for name, table in rows.items():
            for older in (False, True) if name != "one signal" else (False,):
                how = FitOptions(map="identity" if name == "one signal" else "auto")
                way = name + (", older map" if older else "")
                figures = found[-1]["ways"][way] = measure(table, how, given.repeats, older=older)
                said = " ".join(f"{key} {each['saving']:.3f}/{each['drop']:.4f}" for key, each in figures.items())
                print(f"{pair} ({second}) {way}: {said}; opinions {figures['corea']['opinions']:.3f}", flush=True)
        text = {"commit": commit(), "target": TARGET.max_drop, "repeats": given.repeats, "pairs": found}
        given.out.write_text(json.dumps(stamped(text, __file__), indent=1) + "\n")


if __name__ == "__main__":
    main()
