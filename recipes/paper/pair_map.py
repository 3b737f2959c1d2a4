"""Map of model pairs: achievable saving of a cascade by the signal's AUROC and the price ratio."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from corea.calibrate.certify import certify
from corea.calibrate.prepare import FitOptions
from corea.calibrate.rules import ScoredTable
from corea.calibrate.targets import Targets
from corea.evaluate.thresholds import cheapest_threshold
from corea.metrics import Interval, auroc, auroc_interval, paired_share_interval, saving_interval
from corea.metrics.arrays import Floats
from corea.policies.threshold import uniform_of
from corea.records.table import OutcomeTable
from corea.report.plots import BLUE, GREY, INK, ORANGE, plot_style, save

WEAK_AUROC, LOW_RATIO, LEFT = 0.65, 3, 0.48  # the gates that the figure shades, and its left edge


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One rule on the evaluation half: saving against the LLM alone, drop, and share deferred."""

    saving: Interval
    drop: Interval
    llm_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PairPoint:
    """One pair of models on one dataset.

    Args:
        price_ratio: Mean cost of an LLM answer over that of an SLM answer.
        uncertified: The cheapest threshold that loses `max_drop` at most on the fitting half, evaluated on the other.
        certified: The threshold that `corea calibrate` certifies on the fitting half, evaluated on the other; None if
            it certifies none. `certified_blend`: with a map of all signals that a cascade measures live, and length.
            `certified_recorded`: with a map of the recorded signals and the category too, which no cascade has.
        oracle_saving: Of the oracle with the same two models.
    """

    dataset: str
    small: str
    large: str
    n: int
    small_accuracy: float
    large_accuracy: float
    auroc: float
    auroc_low: float
    auroc_high: float
    price_ratio: float
    uncertified: Kept
    certified: Kept | None
    certified_blend: Kept | None
    certified_recorded: Kept | None
    oracle_saving: float
    assumed_price: bool

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def measure_pair(
    dataset: str,
    pairs: OutcomeTable,
    *,
    recorded: OutcomeTable | None = None,
    max_drop: float = 0.02,
    delta: float = 0.05,
    blend: bool = True,
    assumed: bool = False,
) -> PairPoint:
    """All figures of one pair; half of the questions, by a hash of the id, fits and the other half evaluates.

    Args:
        pairs: With the signals that a cascade measures live. `recorded`: the same questions with all that was recorded.
    """
    first = np.array([uniform_of(str(key), "pair map") < 0.5 for key in pairs.ids])
    fit, judged = pairs.take(np.flatnonzero(first)), pairs.take(np.flatnonzero(~first))

    def certified(table: OutcomeTable | None, options: FitOptions) -> Kept | None:
        if table is None:
            return None
        fitting, others = (table.take(np.flatnonzero(half)) for half in (first, ~first))
        return certify_and_judge(fitting, others, max_drop, delta, options)

    stated = ~np.isnan(pairs.first.confidence)
    c, y = pairs.first.confidence[stated], pairs.first.correct[stated]
    low, high = auroc_interval(c, y)
    policy = cheapest_threshold(fit, max_drop)
    filled = np.nan_to_num(judged.first.confidence, nan=-1.0)
    tie = np.array([uniform_of(str(key), policy.salt) < policy.tie_fraction for key in judged.ids])
    keep = (filled > policy.tau) | ((filled == policy.tau) & tie)
    both = judged.first.cost_usd + judged.last.cost_usd
    return PairPoint(
        dataset=dataset,
        small=pairs.first.name,
        large=pairs.last.name,
        n=len(pairs),
        small_accuracy=float(pairs.first.correct.mean()),
        large_accuracy=float(pairs.last.correct.mean()),
        auroc=auroc(c, y),
        auroc_low=low,
        auroc_high=high,
        price_ratio=float(pairs.last.cost_usd.mean() / pairs.first.cost_usd.mean()),
        uncertified=_kept(
            judged,
            np.where(keep, judged.first.correct, judged.last.correct),
            np.where(keep, judged.first.cost_usd, both),
            ~keep,
        ),
        certified=certified(pairs, FitOptions(map="identity")),
        certified_blend=certified(pairs if blend else None, FitOptions(map="linear")),
        certified_recorded=certified(
            recorded if blend else None, FitOptions(map="linear", use_category=True, pre_policy=False)
        ),
        oracle_saving=_oracle_saving(judged),
        assumed_price=assumed,
    )


def _oracle_saving(rows: OutcomeTable) -> float:
    """The saving where the large model is asked exactly where it is right and the small one is not."""
    needed = rows.first.correct < rows.last.correct
    cost_usd = rows.first.cost_usd + np.where(needed, rows.last.cost_usd, 0.0)
    return float(1 - cost_usd.mean() / rows.last.cost_usd.mean())


def certify_and_judge(
    fit: OutcomeTable, judged: OutcomeTable, max_drop: float, delta: float, options: FitOptions
) -> Kept | None:
    """A threshold certified on the fitting rows, evaluated on others; None where none is certified."""
    from corea.metrics.score_map import apply_map

    found = certify(fit, Targets(max_drop=max_drop, delta=delta), options)
    if found.rules is None:
        return None
    rows = ScoredTable.of(judged, apply_map(found.prepared.maps[0], judged.columns(0)))
    answers = rows.outcome(found.rules)
    return _kept(judged, answers.correct, answers.cost_usd, ~answers.kept)


def _kept(judged: OutcomeTable, right: Floats, cost: Floats, deferred: Any) -> Kept:
    return Kept(
        saving=saving_interval(cost, judged.last.cost_usd),
        drop=paired_share_interval(judged.last.correct, right),
        llm_share=float(np.mean(deferred)),
    )


def draw_pairs(points: Sequence[PairPoint], path: Path, *, title: str, note: str = "") -> Path:
    """Left: AUROC (x), price ratio (y), certified saving as size and shade; a cross where none is certified, a square
    where the large model is no better and no cascade is needed.

    Right: the same savings over the gap in accuracy, by the stated number alone and by the calibrated blend.
    """
    with plot_style() as new:
        figure = new(figsize=(12.8, 6.4))
        left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
        _draw_map(left, points)
        _draw_gaps(right, points)
        figure.suptitle(title, x=0.01, ha="left", fontsize=12)
        if note:
            figure.text(0.01, 0.006, note, fontsize=7.5, color=INK)
        figure.tight_layout(rect=(0, 0.06, 1, 0.98))
    return save(figure, path)


def _draw_map(axes: Any, points: Sequence[PairPoint]) -> None:
    refused = [p for p in points if _saving(p.certified) <= 0]
    certified = sorted((p for p in points if _saving(p.certified) > 0), key=lambda p: -_saving(p.certified))
    axes.axvspan(LEFT, WEAK_AUROC, color="#f4f4f4", zorder=0)
    axes.axhspan(0.1, LOW_RATIO, color="#f4f4f4", zorder=0)
    axes.scatter(
        [p.auroc for p in refused], [p.price_ratio for p in refused], marker="x", s=22, color=GREY, linewidths=1,
        label=f"nothing certified ({len(refused)})",
    )  # fmt: skip
    for mark, better, words in (("o", True, "the large model is 2 points better or more"), ("s", False, "it is not")):
        some = [p for p in certified if (p.large_accuracy - p.small_accuracy > 0.02) == better]
        savings = [_saving(p.certified) for p in some]
        axes.scatter(
            [p.auroc for p in some], [p.price_ratio for p in some], s=[_size(s) for s in savings], c=_shades(savings),
            marker=mark, edgecolors=INK, linewidths=0.6, zorder=3,
        )  # fmt: skip
        axes.scatter(
            [], [], s=50, c="white", marker=mark, edgecolors=INK, linewidths=0.6, label=f"saved; {words} ({len(some)})"
        )
    for share in (0.05, 0.2, 0.4, 0.6):
        legend = f"{100 * share:.0f} % saved"
        axes.scatter([], [], s=_size(share), c=_shades([share]), edgecolors=INK, linewidths=0.6, label=legend)
    axes.set_yscale("log")
    axes.set_ylim(0.4, 1600)
    axes.set_yticks([1, 3, 10, 30, 100, 300, 1000], ["1", "3", "10", "30", "100", "300", "1,000"])
    axes.minorticks_off()
    axes.set_xlim(LEFT, 0.99)
    axes.set_xlabel("AUROC of the small model's stated confidence")
    axes.set_ylabel("mean cost of a large answer / of a small one")
    axes.set_title("Certified saving, threshold on the stated number", loc="left", fontsize=10)
    axes.legend(
        fontsize=7.5, loc="upper left", bbox_to_anchor=(-0.02, -0.13), ncols=3, labelspacing=1.2, columnspacing=1.4
    )
    weak, low = [p for p in points if p.auroc < WEAK_AUROC], [p for p in points if p.price_ratio < LOW_RATIO]
    axes.text(
        LEFT + 0.005, 350, f"AUROC under {WEAK_AUROC}:\n{_more_than_10(weak)}", fontsize=7.5, color=INK, va="center"
    )
    low_text = f"price ratio under {LOW_RATIO}: {_more_than_10(low)}"
    axes.text(0.985, 0.55, low_text, fontsize=7.5, color=INK, ha="right")
    _name_best(axes, certified)


def _more_than_10(points: Sequence[PairPoint]) -> str:
    return f"{sum(_saving(p.certified) > 0.1 for p in points)} of {len(points)} save over 10 %"


def _name_best(axes: Any, certified: Sequence[PairPoint], count: int = 5) -> None:
    """Labels of the best pairs, from the top down, spaced so that none overlap."""
    height = float("inf")
    for point in sorted(certified[:count], key=lambda p: -p.price_ratio):
        height = min(point.price_ratio * 1.6, height / 1.5)
        axes.annotate(
            f"{point.small} → {point.large}: {100 * _saving(point.certified):.0f} %",
            (point.auroc, point.price_ratio),
            xytext=(0.765, height),
            arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.7},
            fontsize=7.5,
            va="center",
            color=INK,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
            zorder=5,
        )


def _draw_gaps(axes: Any, points: Sequence[PairPoint]) -> None:
    for point in points:
        x = 100 * (point.large_accuracy - point.small_accuracy)
        ends = [100 * _saving(point.certified), 100 * _saving(point.certified_blend)]
        axes.plot([x, x], ends, color="#c8c8c8", linewidth=0.8, zorder=1)
    gaps = [100 * (p.large_accuracy - p.small_accuracy) for p in points]
    axes.scatter(
        gaps, [100 * _saving(p.certified) for p in points], marker="o", s=22, facecolors="white", edgecolors=BLUE,
        linewidths=1, zorder=3, label="stated number alone",
    )  # fmt: skip
    axes.scatter(
        gaps, [100 * _saving(p.certified_blend) for p in points], marker="^", s=24, facecolors=ORANGE, edgecolors=INK,
        linewidths=0.4, zorder=2, label="blend of what is measured live\n(number, token probability, length)",
    )  # fmt: skip
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_xlabel("how much better the large model is, points of accuracy")
    axes.set_ylabel("certified saving, %  (0: none)")
    axes.set_title("What the gap between the models leaves, what calibrating adds", loc="left", fontsize=10)
    axes.legend(fontsize=8, loc="upper right")


def _saving(found: Kept | None) -> float:
    """Certified saving; 0 for a pair without one, which sends everything to the LLM."""
    return 0.0 if found is None else max(0.0, found.saving.value)


def _size(saving: float) -> float:
    return 18 + 420 * saving


def _shades(savings: Sequence[float]) -> list[str]:
    """Shades from light to dark with the saving, in a blue that prints as grey."""
    darkest = (11, 95, 165)
    parts = [[int(235 - min(1.0, s / 0.6) * (235 - c)) for c in darkest] for s in savings]
    return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in parts]
