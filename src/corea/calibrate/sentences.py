"""Sentences of a calibration: its one-sentence summary, and the next steps where nothing is certified."""

from collections.abc import Mapping

import numpy as np

from corea.calibrate.artefact import Calibration, LabelUse
from corea.calibrate.certify import Selection
from corea.calibrate.rules import Rules, ScoredTable
from corea.calibrate.sample_size import labels_for_risk, labels_for_rules
from corea.calibrate.targets import Targets
from corea.metrics import Interval
from corea.policies.calibrated import GroupRule

OTHER_SIGNALS = {"expected": "expected confidence", "prob": "token probability", "agree": "agreement of samples"}


def sentence(found: Calibration) -> str:
    """One-sentence summary of the result."""
    recorded = ", ".join(found.data.recorded_signals)
    return _result(found) + (f", with signals that no cascade measures live: {recorded}" if recorded else "")


def attempts_clause(attempts: int, delta: float) -> str:
    """The confidence over several attempts on the same rows; "" for one."""
    left = max(0.0, 100 * (1 - attempts * delta))
    return f"; attempt {attempts} on these rows: {left:g} % confidence over all attempts" if attempts > 1 else ""


def _result(found: Calibration) -> str:
    guarantee, targets = found.guarantee, found.guarantee.targets
    rows = f"{guarantee.n:,} questions" + (f" ({n:,} distinct)" if (n := guarantee.n_clusters) is not None else "")
    if guarantee.labels is not None:
        by = "" if guarantee.labels.judge is None else f" by people, and all judged by {guarantee.labels.judge}"
        rows += f" of which {guarantee.labels.gold:,} are labelled{by}"
    if not found.certified:
        return f"INFEASIBLE: nothing that saves is certified on {rows}; all go to {found.binding[-1].model}"
    if guarantee.labels is not None:
        alone = guarantee.labels.gold_alone
        more = f" (labels alone: about {alone:,})" if alone is not None and alone > guarantee.labels.gold else ""
        words = targets.words(guarantee.new_inputs_share, preferences=guarantee.labels.judge is not None)
        return f"saves {_percent(found.expected['saving'])}: {words}; certified on {rows}{more}"
    words = f"{_gained(found.expected, targets)} {_guaranteed(targets)}{_in_categories(found.groups)}"
    words += targets.condition(guarantee.new_inputs_share)
    return f"{words}, certified on {rows}"


def _percent(each: Interval) -> str:
    return f"{100 * each.value:.0f} % (95 %: {100 * each.low:.0f}-{100 * each.high:.0f})"


def _guaranteed(targets: Targets) -> str:
    parts: list[str] = []
    if targets.max_drop is not None:
        parts.append(f"at most {100 * targets.max_drop:.1f} points below the large model")
    if targets.max_risk is not None:
        parts.append(f"at most {100 * targets.max_risk:.1f} % of the kept answers wrong")
    if targets.max_cost_usd is not None:
        parts.append(f"at most {targets.max_cost_usd:g} USD a question")
    if targets.value_usd is not None:
        parts.append("the total at most the large model's")
    return " and ".join(parts)


def _gained(expected: Mapping[str, Interval], targets: Targets) -> str:
    """Right answers within a cost, a lower total where errors are priced, else a saving."""
    if targets.only_cost:
        large = 100 * expected["llm_pass_at_1"].value
        return f"{_percent(expected['pass_at_1'])} right, the large model {large:.0f} %,"
    if "total_saving" not in expected:
        return f"saves {_percent(expected['saving'])}"
    people = "" if targets.abstain_usd is None else ", people"
    left = expected["abstained_share"].value if "abstained_share" in expected else 0.0
    asked = f", leaving {100 * left:.0f} % to a person," if left else ","
    total, cost = _percent(expected["total_saving"]), _percent(expected["saving"])
    return f"saves {total} of cost{people} and errors, {cost} of cost alone{asked}"


def _in_categories(groups: Mapping[str, GroupRule]) -> str:
    """The categories that a guarantee is for, where each has its own threshold."""
    if not groups:
        return ""
    kept = sum(group.threshold is not None for group in groups.values())
    left = len(groups) - kept
    return f" in each of {kept} slices{f' ({left} others are all deferred)' if left else ''}"


# --- next steps -----------------------------------------------------------------------------------------------------


def next_steps(found: Selection, targets: Targets, result: Calibration) -> tuple[str, ...]:
    """Remedies for INFEASIBLE."""
    near, use, verdict = found.best_uncertified, result.guarantee.labels, result.stages[0].quality.verdict
    said = ["no answer has a confidence, so there is no threshold to try: use another signal"]
    if near is not None and use is not None:
        said = _few_label_steps(found, near, targets, use)
    elif near is not None:
        said = _nearest(found, near, targets)
    if use is None and verdict in ("unusable", "weak"):
        used = " ".join((*found.fit.table.first.signals, found.fit.table.first.signal_kind)).lower()
        others = [name for key, name in OTHER_SIGNALS.items() if key not in used]
        said.append(f"the signal is {verdict}" + (f": try {' or '.join(others)}" if others else ""))
    signal = "" if use is None else "another signal, "
    return (*said, f"a larger drop, {signal}a trained small model (corea train) or another pair may help")


def _few_label_steps(found: Selection, near: Rules, targets: Targets, use: LabelUse) -> list[str]:
    kept = float(np.mean(found.test.outcome(near).kept))
    said = [
        f"the first threshold that failed keeps {100 * kept:.0f} % of the answers; "
        f"{100 * (use.kept_and_different or 0.0):.1f} % of all are kept and differ from the large model's"
    ]
    if use.judge is not None and targets.max_drop is not None:
        said.append(_labels_by_people(use, len(found.test) + len(found.fit)))
    elif targets.max_drop is not None:
        said.append(
            "label more of the answers that differ: --select-for-labelling FILE --count N names those that help most"
            if use.gold_alone is not None or not use.gold_used
            else "the labels say that keeping these answers loses more than allowed: more labels would not help"
        )
    return said


def _labels_by_people(use: LabelUse, questions: int) -> str:
    """The labels that would probably certify a saving, and the questions where these are too few for them."""
    if use.enough is None:
        return "by the verdicts, and what the labels there are say, more labels would probably not certify any saving"
    said = f"about {use.enough:,} labels by people would probably certify a saving (this run had {use.gold:,})"
    if use.pairs and use.enough > use.pairs:
        more = round(questions * use.enough / use.pairs, -1)
        return f"{said}, more than the {use.pairs:,} pairs worth a label here: ask about {more:,.0f} questions"
    return f"{said}: --select-for-labelling FILE --count {use.enough}"


def _nearest(found: Selection, near: Rules, targets: Targets) -> list[str]:
    """The best uncertified rules by the rows of the test, and whether more labels would certify them."""
    test = found.test
    loss, gain, saving = _losses(test, near)
    kept = 100 * float(np.mean(test.outcome(near).kept))
    said = [
        f"best uncertified point (on the {len(test):,} rows of the test): saves {100 * saving:.1f} % at a drop of "
        f"{100 * (loss - gain):.1f} points, keeping {kept:.0f} % of the answers"
    ]
    if saving <= 0:
        said.append("the small model costs more than what it keeps saves: a cheaper one, or another pair, is needed")
    elif targets.max_drop is not None or targets.max_risk is not None:
        needed, n = _labels_for(test, near, targets), len(test) + len(found.fit)
        said.append(
            "more labels alone would probably not certify it" if needed is None
            else f"about {round(needed * n / len(test), -1):,.0f} labels would probably certify it (this run had {n:,})"
        )  # fmt: skip
    return said


def _losses(rows: ScoredTable, rules: Rules) -> tuple[float, float, float]:
    """Shares lost and gained against the last model, and the saving."""
    answers, last = rows.outcome(rules), rows.table.last
    gap = last.correct - answers.correct
    saving = 1 - float(answers.cost_usd.mean() / last.cost_usd.mean())
    return float((gap > 0.5).mean()), float((gap < -0.5).mean()), saving


def _labels_for(rows: ScoredTable, near: Rules, targets: Targets) -> int | None:
    """Rows of the test that would probably certify these rules for the drop and the risk; None where none would."""
    needed = [0]
    if targets.max_drop is not None:
        loss, gain, _ = _losses(rows, near)
        needed.append(labels_for_rules(loss, gain, drop=targets.max_drop, delta=targets.delta) or -1)
    if targets.max_risk is not None:
        answers = rows.outcome(near)
        kept, share = answers.kept, float(np.mean(answers.kept))
        risk = float((answers.correct[kept] < 0.5).mean()) if kept.any() else 1.0
        needed.append(labels_for_risk(risk, limit=targets.max_risk, kept=share, delta=targets.delta) or -1)
    return None if min(needed) < 0 else max(needed)
