"""A calibration in lines for the terminal, and in words and cells for the page."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from corea.calibrate.artefact import Calibration, LabelUse, StageCalibration
from corea.metrics import Interval
from corea.metrics.score_map import apply_map, map_kind
from corea.policies.calibrated import ThresholdRule

SHARES = {
    "pass_at_1": "cascade, right", "llm_pass_at_1": "large model, right", "slm_pass_at_1": "small model, right",
    "drop": "drop below the large model", "saving": "saving", "total_saving": "saving of the total",
    "plain_saving": "saving, large model asked plainly", "plain_llm_pass_at_1": "large model asked plainly, right",
    "llm_share": "sent to the large model",
    "abstained_share": "left to a person", "agreement": "same answer from both",
}  # fmt: skip
COSTS = {  # the total is with errors, and questions left to people, at their price
    "mean_cost_usd": "cascade", "llm_mean_cost_usd": "large model alone", "slm_mean_cost_usd": "small model alone",
    "plain_llm_mean_cost_usd": "large model asked plainly",
    "total_usd": "cascade, total", "llm_total_usd": "large model, total",
}  # fmt: skip
PREFERRED = "large preferred, less draft"
HIGHLIGHTED = ("pass_at_1", "saving", "mean_cost_usd")


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row of a table on a page: text cells, and the class of the style sheet ("" for none)."""

    cells: tuple[str, ...]
    kind: str = ""


def calibration_lines(found: Calibration) -> list[str]:
    """The report of a calibration in lines of plain text."""
    lines = [found.sentence, "", f"{'guarantee' if found.certified else 'asked for':11}{found.guarantee.statement}"]
    lines += [f"{name:11}{said}" for name, said in facts(found)]
    lines += ["", f"{'on the rows of the test':34}{'value':>10}   95 % interval"]
    for name, what in _share_words(found).items():
        if name in found.expected:
            lines.append(_figure(what, found.expected[name], 100, " points" if name == "drop" else " %"))
    for name, what in COSTS.items():
        if name in found.expected:
            lines.append(_figure(f"{what}, USD / 1,000", found.expected[name], 1000, ""))
    if errors := calibration_errors(found):
        lines += ["", f"ECE {errors[0]:.3f} as stated, {errors[1]:.3f} after the map"]
    elif found.report:
        lines.append("")
    if others := baselines(found):
        said = [
            f"{name} {100 * accuracy:.1f} %" + ("" if cost is None else f" at {1000 * cost:.3g} USD / 1,000")
            for name, cost, accuracy in others
        ]
        lines.append("baselines  " + ", ".join(said))
    if violated := violations(found):
        advice = "" if len(found.stages) > 1 else "; --by-group gives one for each slice"
        lines.append(
            "warning    the guarantee is for all questions together; these slices lose more: "
            f"{', '.join(violated)}{advice}"
        )
    lines += [f"note       {note}" for note in found.data.notes]
    lines += [f"next       {each}" for each in found.advice]
    return lines


def _figure(name: str, each: Interval, scale: float, unit: str) -> str:
    return f"{name:34}{scale * each.value:>10.4g}{unit}   {scale * each.low:.4g} to {scale * each.high:.4g}"


# --- words ----------------------------------------------------------------------------------------------------------


def title(found: Calibration) -> str:
    """The chain of models, from the first to the last."""
    return f"Calibration: {' deferring to '.join(stage.model for stage in found.binding)}"


def facts(found: Calibration) -> Iterator[tuple[str, str]]:
    """Rows, labels, signal and thresholds: (name, words)."""
    guarantee = found.guarantee
    yield "rows", f"{guarantee.n_fit:,} fitted the map, {guarantee.n_test:,} tested it"
    if guarantee.labels is not None:
        yield "labels", _labels(guarantee.labels)
    for stage in found.stages:
        yield "signal", (f"{stage.model}: " if len(found.stages) > 1 else "") + stage.quality.words
    for words in _thresholds(found):
        yield "threshold", words


def _share_words(found: Calibration) -> dict[str, str]:
    judged = found.guarantee.labels is not None and found.guarantee.labels.judge is not None
    return SHARES | ({"drop": PREFERRED} if judged else {})


def _labels(use: LabelUse) -> str:
    if use.judge is not None:
        agrees = "" if use.judge_agrees is None else f", and says the same as people on {100 * use.judge_agrees:.0f} %"
        return f"{use.gold:,} by people; {use.judge} judged all{agrees}"
    said = f"{use.gold:,} gold, the large model's answers are the reference for the rest"
    if use.gold_alone is None:
        return said
    return f"{said}; labels alone would need about {use.gold_alone:,}: {use.gold_saved:,} saved"


def _thresholds(found: Calibration) -> Iterator[str]:
    several = len(found.stages) > 1
    for stage in found.stages:
        own, name = stage.threshold, f"{stage.model}: " if several else ""
        if own is not None:
            yield name + _threshold(own, stage)
        elif several and found.certified:
            yield f"{name}not asked"
    for name, group in found.groups.items():
        own = group.threshold
        yield f"{name}: " + ("all deferred" if own is None else _threshold(own, found.stages[0]))


def _threshold(rule: ThresholdRule, stage: StageCalibration) -> str:
    said = f"{rule.limit:.6g} of the {map_kind(stage.map)} score"
    if rule.tau is not None:
        confidence = float(apply_map(stage.probability, {"confidence": np.array([rule.tau])})[0])
        said += f" (a confidence of {confidence:.2f})"
    if rule.tie_fraction < 1:
        said += f", {rule.tie_fraction:.0%} kept at it"
    if rule.abstain_below is not None:
        said += f"; under {rule.abstain_below:.6g} a person answers"
    skip = rule.skip_categories
    return said + (f"; not asked: {', '.join(skip)}" if skip else "")


def violations(found: Calibration) -> list[str]:
    """The slices that lose more than is allowed for all, their 95 % intervals considered."""
    allowed = found.guarantee.targets.max_drop
    if found.report is None or allowed is None:
        return []
    return [row.category for row in found.report.categories if row.drop.low > allowed]


def calibration_errors(found: Calibration) -> tuple[float, float] | None:
    """The ECE of the first stage's signal as stated and after the map; None where it was not measured."""
    if found.report is None or found.report.ece_before is None or found.report.ece_after is None:
        return None
    return found.report.ece_before, found.report.ece_after


def baselines(found: Calibration) -> list[tuple[str, float | None, float]]:
    """(name, USD a question where known, accuracy) of the best single model, oracle, published rule and random."""
    report = found.report
    if report is None:
        return []
    named = {
        f"best single ({report.best_single.model})": report.best_single,
        "oracle": report.oracle,
        "published rule": report.published_rule,
        "random, same share": report.random_at_same_share,
    }
    return [(name, each.cost_usd, each.accuracy) for name, each in named.items()]


# --- table rows -----------------------------------------------------------------------------------------------------


def share_rows(found: Calibration) -> list[TableRow]:
    """Accuracies, drop, savings and shares, in percent or points."""
    rows: list[TableRow] = []
    for name, words in _share_words(found).items():
        if each := found.expected.get(name):
            value = f"{100 * each.value:.1f}{' points' if name == 'drop' else ' %'}"
            rows.append(_row(name, words, value, f"{100 * each.low:.1f} to {100 * each.high:.1f}"))
    return rows


def cost_rows(found: Calibration) -> list[TableRow]:
    """Mean costs, in USD per 1,000 questions."""
    return [
        _row(name, words, f"{1000 * each.value:.3g}", f"{1000 * each.low:.3g} to {1000 * each.high:.3g}")
        for name, words in COSTS.items()
        if (each := found.expected.get(name))
    ]


def _row(name: str, *cells: str) -> TableRow:
    return TableRow(cells, "ours" if name in HIGHLIGHTED else "")


def baseline_rows(found: Calibration) -> list[TableRow]:
    """The cascade and its baselines: cost and accuracy; none with few labels, where accuracy is not known."""
    e, others = found.expected, baselines(found)
    if not others:
        return []
    ours = ("this cascade", e["mean_cost_usd"].value, e["pass_at_1"].value)
    return [
        TableRow((name, "" if cost is None else f"{1000 * cost:.3g}", f"{100 * accuracy:.1f}"), "" if i else "ours")
        for i, (name, cost, accuracy) in enumerate([ours, *others])
    ]


def category_rows(found: Calibration) -> list[TableRow]:
    """Figures of each slice; those that lose more than is allowed are marked."""
    marked, rows = violations(found), list[TableRow]()
    for row in found.report.categories if found.report else ():
        name = row.category + (" (small model not asked)" if row.skipped else "")
        figures = row.pass_at_1, row.llm_pass_at_1, row.slm_pass_at_1, row.llm_share, row.saving
        drop = f"{100 * row.drop.value:.1f} ({100 * row.drop.low:.1f} to {100 * row.drop.high:.1f})"
        cells = (name, f"{row.n:,}", *(f"{100 * each:.1f}" for each in figures), drop)
        rows.append(TableRow(cells, "warn" if row.category in marked else ""))
    return rows
