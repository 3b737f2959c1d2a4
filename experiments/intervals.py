"""How often each 95 % interval that COREA prints contains the truth, on simulated populations of known truth.

    python experiments/intervals.py [--draws 2000] [--out experiments/results/intervals.json]

`docs/tables.py` makes the table of docs/compare.md of the result. Two intervals that are not printed are there to say
why: the percentile bootstrap of ECE and AURC.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from corea.calibrate.few_labels import FewLabels
from corea.calibrate.rules import ScoredTable
from corea.metrics import (
    Interval,
    aurc,
    auroc,
    auroc_interval,
    cost_interval,
    expected_calibration_error,
    mean_difference_interval,
    paired_share_interval,
    saving_interval,
    share_interval,
)
from corea.records.table import OutcomeTable
from recipes.paper.quality import auroc_difference_interval

SIZES = (50, 200, 1000)
WHOLE = 1_000_000  # questions that stand for the population, where its truth has no closed form
RESAMPLES = 200
Floats = Any
Draw = Callable[[Any, int], tuple[Floats, ...]]


@dataclass(frozen=True, slots=True)
class Case:
    """One interval on one population; `truth` is computed from `WHOLE` questions where it is None."""

    interval: str
    population: str
    draw: Draw
    of: Callable[..., Interval]
    truth: float | None = None


def normal_scores(accuracy: float, distance: float, *, rounded: bool = False) -> Draw:
    """Confidence and correctness: normal scores whose means differ; rounded, they take four values."""

    def draw(rng: Any, n: int) -> tuple[Floats, ...]:
        y = (rng.random(n) < accuracy).astype(float)
        score = rng.normal(size=n) + distance * y
        return (np.clip(np.round(score), -1, 2) if rounded else score), y

    return draw


def costs(spread: float, kept: float) -> Draw:
    """A cascade's and the large model's cost of each question: lognormal; the small model costs a twentieth."""

    def draw(rng: Any, n: int) -> tuple[Floats, ...]:
        large, small = rng.lognormal(sigma=spread, size=n), 0.05 * rng.lognormal(sigma=spread, size=n)
        return small + large * (rng.random(n) >= kept), large

    return draw


def answers(lost: float, gained: float) -> Draw:
    """Correctness of the large model and of the cascade, of which it loses and gains these shares."""

    def draw(rng: Any, n: int) -> tuple[Floats, ...]:
        u = rng.random(n)
        return ((u < lost) | (u >= lost + gained)).astype(float), (u >= lost).astype(float)

    return draw


def stated(a: float, b: float) -> Draw:
    """Calibrated confidences of a beta distribution, and correctness."""

    def draw(rng: Any, n: int) -> tuple[Floats, ...]:
        c = rng.beta(a, b, size=n)
        return c, (rng.random(n) < c).astype(float)

    return draw


def area(score: Floats, y: Floats) -> Interval:
    return Interval(auroc(score, y), *auroc_interval(score, y))


def two_areas(first: Floats, second: Floats, y: Floats) -> Interval:
    return auroc_difference_interval((first, y), (second, y))


def two_scores(accuracy: float) -> Draw:
    def draw(rng: Any, n: int) -> tuple[Floats, ...]:
        y = (rng.random(n) < accuracy).astype(float)
        shared = rng.normal(size=n)
        return y * 1.5 + shared + 0.5 * rng.normal(size=n), y + shared + 0.5 * rng.normal(size=n), y

    return draw


def compared(different: float, loss: float, gain: float, labelled: float) -> Draw:
    """Rows with few labels, all kept: answers that differ, with both grades; a share of these rows is labelled."""

    def draw(rng: Any, n: int) -> tuple[Floats, ...]:
        differ, u = rng.random(n) < different, rng.random(n)
        last, first = differ & (u < loss), differ & (u >= loss) & (u < loss + gain)
        return differ, last.astype(float), first.astype(float), differ & (rng.random(n) < labelled)

    return draw


def few_labels(differ: Floats, last: Floats, first: Floats, gold: Floats) -> Interval:
    table = OutcomeTable.from_arrays(
        correct=np.column_stack([first, last]), cost_usd=[1.0, 10.0], confidence=np.ones(len(differ))
    )
    labels = FewLabels(gold=gold, different=differ, only_different=True)
    return labels.drop_interval(ScoredTable.of(table), np.ones(len(differ), dtype=bool))


def brier(c: Floats, y: Floats) -> Interval:
    return cost_interval((c - y) ** 2)


def bootstrap(figure: Callable[[Floats, Floats], float]) -> Callable[..., Interval]:
    """The percentile interval of resamples."""

    def of(c: Floats, y: Floats) -> Interval:
        rng = np.random.default_rng(0)
        drawn = [figure(c[at], y[at]) for at in rng.integers(len(c), size=(RESAMPLES, len(c)))]
        low, high = np.quantile(drawn, [0.025, 0.975])
        return Interval(figure(c, y), float(low), float(high))

    return of


def cases() -> Iterator[Case]:
    for p in (0.5, 0.8, 0.95, 0.99):
        yield Case(
            "share", f"{100 * p:g} %", lambda rng, n, p=p: ((rng.random(n) < p).astype(float),), share_interval, p
        )
    for lost, gained in ((0.2, 0.2), (0.1, 0.05), (0.03, 0.01), (0.01, 0.0)):
        words = f"loses {100 * lost:g} %, gains {100 * gained:g} %"
        yield Case("points lost", words, answers(lost, gained), paired_share_interval, lost - gained)
    for different, loss, gain, labelled in ((0.3, 0.5, 0.4, 0.3), (0.2, 0.6, 0.2, 0.5), (0.05, 0.8, 0.1, 0.5)):
        words = f"{100 * different:g} % differ, of these {100 * loss:g} % lost, {100 * gain:g} % gained, "
        words += f"{100 * labelled:g} % labelled"
        truth = different * (loss - gain)
        yield Case("points lost, few labels", words, compared(different, loss, gain, labelled), few_labels, truth)
    for spread in (0.3, 1.0, 1.5):
        mean = float(np.exp(spread**2 / 2))
        draw = costs(spread, 1.0)
        yield Case(
            "mean cost", f"lognormal, sigma {spread:g}", lambda rng, n, d=draw: d(rng, n)[1:], cost_interval, mean
        )
    for spread, kept in ((0.3, 0.5), (1.0, 0.1), (1.0, 0.5), (1.0, 0.9), (1.5, 0.5)):
        words = f"keeps {100 * kept:g} %, costs lognormal, sigma {spread:g}"
        yield Case("saving", words, costs(spread, kept), saving_interval, kept - 0.05)
    for spread in (0.3, 1.0):
        gap = -(0.5 - 0.05) * float(np.exp(spread**2 / 2))
        yield Case("difference of costs", f"sigma {spread:g}", costs(spread, 0.5), mean_difference_interval, gap)
    for accuracy in (0.5, 0.8, 0.95):
        for distance in (0.8, 2.0, 3.0):
            words = f"right {100 * accuracy:g} %, normal scores {distance:g} apart"
            yield Case("AUROC", words, normal_scores(accuracy, distance), area)
        words = f"right {100 * accuracy:g} %, four values"
        yield Case("AUROC", words, normal_scores(accuracy, 3.0, rounded=True), area)
    for accuracy in (0.5, 0.8):
        yield Case("difference of AUROCs", f"right {100 * accuracy:g} %", two_scores(accuracy), two_areas)
    for a, b in ((2.0, 2.0), (8.0, 1.0)):
        yield Case("Brier score", f"calibrated, beta({a:g}, {b:g})", stated(a, b), brier)
    for name, figure, truth in (("ECE", expected_calibration_error, 0.0), ("AURC", aurc, None)):
        for a, b in ((2.0, 2.0), (8.0, 1.0)):
            words = f"calibrated, beta({a:g}, {b:g})"
            yield Case(f"{name}, bootstrap (not printed)", words, stated(a, b), bootstrap(figure), truth)


def covered(case: Case, truth: float, n: int, draws: int) -> dict[str, float]:
    """Share of draws whose interval has the truth, and mean width; draws without an interval are left out."""
    rng, hits, widths = np.random.default_rng([n, len(case.population)]), 0, list[float]()
    for _ in range(draws):
        found = case.of(*case.draw(rng, n))
        if np.isfinite([found.low, found.high]).all():
            hits += found.low <= truth <= found.high
            widths.append(found.high - found.low)
    return {"covered": hits / len(widths), "width": float(np.mean(widths)), "without": draws - len(widths)}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--draws", type=int, default=2000)
    options.add_argument("--out", type=Path, default=Path(__file__).parent / "results/intervals.json")
    options.add_argument("--only", default="", help="only intervals with this in their name; they replace those stored")
    chosen = options.parse_args()
    before = json.loads(chosen.out.read_text())["rows"] if chosen.only else []
    rows: list[dict[str, Any]] = []
    for case in cases():
        if chosen.only not in case.interval:
            rows += [
                each for each in before if (each["interval"], each["population"]) == (case.interval, case.population)
            ]
            continue
        resampled, truth = "bootstrap" in case.interval, case.truth
        if truth is None:
            whole = case.draw(np.random.default_rng(9), WHOLE)
            truth = aurc(*whole) if resampled else case.of(*whole).value
        draws = max(1, chosen.draws // 10) if resampled else chosen.draws
        sizes = {str(n): covered(case, truth, n, draws) for n in SIZES}
        rows.append(
            {"interval": case.interval, "population": case.population, "truth": truth, "draws": draws, "sizes": sizes}
        )
        print(
            case.interval, case.population, f"{truth:.4f}", [round(s["covered"], 3) for s in sizes.values()], flush=True
        )
    chosen.out.write_text(json.dumps({"draws": chosen.draws, "level": 0.95, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
