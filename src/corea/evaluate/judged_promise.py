"""A guarantee about people's preferences on fresh questions: the pairs to label, and its test on people's labels.

The judge is not asked again. The artefact decides which drafts are kept; only where these differ from the large model's
answer can anything be lost, so people label a random part of those pairs (`corea.evaluate.preferences`), and the test
is that of `corea.calibrate.few_labels` on one locked rule. Verdicts of a judge on all of the pairs sharpen it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from corea.calibrate.artefact import Calibration
from corea.calibrate.exact_tests import mean_pvalue, share_lower, share_pvalue
from corea.calibrate.few_labels import SHARE_RISK, FewLabels
from corea.calibrate.held_out import estimates
from corea.calibrate.rules import CascadeAnswers, ScoredTable
from corea.calibrate.targets import Targets
from corea.errors import ConfigError, DataError
from corea.evaluate.extra_calls import traces_in
from corea.evaluate.judge import ORDERS, AnswerPair, pair_of, read_verdicts, with_pairs
from corea.evaluate.promise import PromiseTest, check_models, verdicts_of
from corea.metrics import Interval
from corea.metrics.arrays import Floats
from corea.records.answer import AnswerSet, answering_model, answers_of_traces
from corea.records.join import Prices, join_answers
from corea.records.table import OutcomeTable
from corea.stage import Mode
from corea.types import Question, Trace

UNLABELLED = ("pass_at_1", "llm_pass_at_1", "slm_pass_at_1", "drop", "total_usd", "llm_total_usd", "total_saving")


def unlabelled_estimates(found: Calibration, table: OutcomeTable, answers: CascadeAnswers) -> dict[str, Interval]:
    """The costs and shares of a cascade on rows without labels, as `estimates` gives them."""
    right = np.ones(len(table))
    blank = table.change(0, correct=right).change(-1, correct=right)
    known = estimates(blank, replace(answers, correct=right), found.guarantee.targets)
    return {name: each for name, each in known.items() if name not in UNLABELLED}


def unlabelled_promise(found: Calibration, table: OutcomeTable) -> PromiseTest:
    """The guarantee on rows without labels, whose grades are none: what their costs alone show."""
    unknown = np.full(len(table), np.nan)
    blank = table.change(0, correct=unknown, judged=None).change(-1, correct=unknown)
    return replace(check_preferences(found, blank), labels=None)


# --- rows -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FreshPairs:
    """Fresh questions with both models' whole answers.

    Args:
        table: As `corea.evaluate.judge.with_pairs` gives it. `pairs`: in its order.
    """

    table: OutcomeTable
    pairs: tuple[AnswerPair, ...]

    def judged(self, verdicts: Path, kept: Any) -> OutcomeTable:
        """The table with the verdicts of a judge that `corea calibrate` stored.

        Args:
            kept: (N,) True where the cascade keeps the draft.

        Raises:
            ConfigError: There is no such file.
            DataError: A kept pair was not judged: the others would not be a random sample.
        """
        if not verdicts.is_file():
            raise ConfigError(f"--verdicts {verdicts}: no such file, expected the judge-*.jsonl of `corea calibrate`")
        stored = {trace.question_id: trace for trace in traces_in(verdicts)}
        asked = [pair for pair, at in zip(self.pairs, kept, strict=True) if at and pair.asked]
        missing = sum(any(pair.key(order) not in stored for order in ORDERS) for pair in asked)
        if missing:
            raise DataError(
                f"{missing:,} of the {len(asked):,} kept pairs that differ have no verdict, expected one of each; "
                "judge the same answers with `corea calibrate`, or leave --verdicts out",
                path=str(verdicts),
            )
        preferred, _ = read_verdicts(self.pairs, stored)
        names = [trace.steps[0].completion.model for trace in stored.values() if trace.steps and
                 trace.steps[0].completion]  # fmt: skip
        return with_pairs(self.table, self.pairs, preferred, next(iter(names), "a judge"))


def fresh_pairs(
    found: Calibration, runs: Sequence[Path], known: Mapping[str, Question], prices: Prices | None = None
) -> FreshPairs:
    """The questions that both models of a calibration answered.

    Args:
        runs: A run of each model asked alone, in any order, such as the stored answers of `corea calibrate`.
        known: The questions, by id.

    Raises:
        ConfigError: There are not two files, or one is missing.
        DataError: They are of other models, or hold a question that is not known.
    """
    small, large = _by_model(found, runs)
    sets = [
        AnswerSet(answers=answers_of_traces(known, list(traces.values())), model=each.model, reported=_reported(traces))
        for each, traces in zip(found.binding, (small, large), strict=True)
    ]
    table = join_answers(sets, prices=prices, signals=found.data.signals, category_column=found.data.category_column)
    check_models(found, table)
    chat = found.binding[0].mode == Mode.CHAT.value
    pairs = tuple(pair_of(known[key], small[key], large[key], chat=chat) for key in map(str, table.ids))
    return FreshPairs(with_pairs(table, pairs), pairs)


def _by_model(found: Calibration, runs: Sequence[Path]) -> tuple[dict[str, Trace], dict[str, Trace]]:
    """The traces of the small and of the large model, by question; a later one of a question counts."""
    if len(runs) != 2:
        raise ConfigError(f"--fresh: got {len(runs)} files, expected a run of each of the two models; give it twice")
    parts: list[dict[str, Trace]] = []
    for path in runs:
        if not path.is_file():
            raise ConfigError(f"--fresh {path}: no such file, expected a run of one model; name another")
        parts.append({trace.question_id: trace for trace in traces_in(path)})
    names = [{each.model, each.reported or each.model} for each in found.binding]
    for first, second in (parts, parts[::-1]):
        if all(names[i] & set(_reported(part)) for i, part in enumerate((first, second))):
            return first, second
    there, wanted = (
        [" and ".join(_reported(part)) or "none" for part in parts],
        [each.model for each in found.binding],
    )
    raise DataError(f"--fresh: got answers of {', '.join(there)}, expected runs of {' and '.join(wanted)}, one each")


def _reported(traces: Mapping[str, Trace]) -> tuple[str, ...]:
    return tuple(sorted({name for trace in traces.values() if (name := answering_model(trace)) is not None}))


# --- pairs to label, and the test -----------------------------------------------------------------------------------


def fresh_rows(found: Calibration, table: OutcomeTable) -> tuple[Any, int]:
    """Indices of the distinct questions that did not calibrate, and how many rows did."""
    shared = np.full(len(table), table.digest == found.data.digest) | found.data.has(table.prints, len(table))
    return table.first_of_cluster(np.flatnonzero(~shared)), int(shared.sum())


def pairs_to_label(found: Calibration, table: OutcomeTable, count: int, *, seed: int) -> list[str]:
    """Ids of fresh questions at random from those whose draft is kept and differs from the large model's answer.

    Raises:
        ConfigError: The artefact guarantees nothing. DataError: There is no such question.
    """
    _check_certified(found)
    fresh, _ = fresh_rows(found, table)
    worth = fresh[(found.apply(table).kept & (table.first.agreement != 1))[fresh]]
    if not len(worth):
        raise DataError(
            f"of {len(fresh):,} fresh questions no kept draft differs from the large model's answer, expected some; "
            "there is nothing to label: run the same command without --select-for-labelling"
        )
    return [str(key) for key in table.ids[np.random.default_rng([seed, 3]).permutation(worth)[:count]]]


def check_preferences(found: Calibration, table: OutcomeTable) -> PromiseTest:
    """The guarantee on people's labels of fresh questions; open where there are too few of them.

    Args:
        table: As `with_pairs` gives it, with labels of `pairs_to_label` as `corea.evaluate.preferences` reads them.
    """
    at, shared = fresh_rows(found, table)
    targets, answers = found.guarantee.targets, found.apply(table).take(at)
    rows = ScoredTable.of(replace(table.take(at), clusters=None))
    first, last = rows.table.first, rows.table.last
    different = np.ones(len(at), dtype=bool) if first.agreement is None else first.agreement != 1
    labels = FewLabels(
        gold=~np.isnan(first.correct) & ~np.isnan(last.correct) & different & answers.kept, different=different,
        only_different=True, judged=first.judged,
    )  # fmt: skip
    cap, over = found.guarantee.cost_cap_usd or 0.0, 0
    missed, met = dict[str, float](), dict[str, float]()
    if len(at):
        missed = labels.pvalues(targets, rows, answers, cap_usd=cap)
        met = preferences_met_pvalues(labels, targets, rows, answers, cap_usd=cap)
        if targets.needs_cap and (over := int((answers.cost_usd > cap * (1 + 1e-9)).sum())):
            missed |= {name: 1.0 for name in missed if name.endswith("_usd")}
    return PromiseTest(
        n=len(at), shared=shared, met=_met(found, labels, rows, answers), p_missed=missed, p_met=met, over_cap=over,
        verdicts=verdicts_of(missed, met, targets.delta), labels=int(labels.gold.sum()),
        to_label=int((answers.kept & different).sum()),
    )  # fmt: skip


def preferences_met_pvalues(
    labels: FewLabels, targets: Targets, rows: ScoredTable, answers: CascadeAnswers, *, cap_usd: float
) -> dict[str, float]:
    """p-value of each target being met: the tests of `FewLabels.pvalues` the other way round.

    Each is valid at its part of the level, `targets.delta` over the number of targets.
    """
    kept, found = np.asarray(answers.kept), dict[str, float]()
    names = ("max_drop", "max_risk", "max_cost_usd")
    delta = targets.delta / max(sum(getattr(targets, name) is not None for name in names), 1)
    first, last = rows.table.first.correct, rows.table.last.correct
    if targets.max_drop is not None:
        turned = replace(rows, table=rows.table.change(0, correct=last).change(-1, correct=first))
        judged = None if labels.judged is None else -labels.judged
        found["max_drop"] = replace(labels, judged=judged).drop_pvalue(-targets.max_drop, delta, turned, kept)
    if targets.max_risk is not None:
        found["max_risk"] = _risk_met_pvalue(labels, targets.max_risk, delta, first, kept)
    if (most := targets.max_cost_usd) is not None:
        less = cap_usd - np.clip(answers.cost_usd, 0.0, cap_usd)
        found["max_cost_usd"] = mean_pvalue(less, cap_usd - most, low=0.0, high=cap_usd, delta=delta)
    return found


def _risk_met_pvalue(labels: FewLabels, risk: float, delta: float, first: Floats, kept: Any) -> float:
    """p-value of "at most this share of the kept is worse": of the kept and different ones, over a bound of these."""
    labelled, spent = kept & labels.gold, SHARE_RISK * delta
    share = share_lower(int((kept & labels.different).sum()), int(kept.sum()), spent)
    if not labelled.any() or share <= risk:
        return 1.0
    right = int((first[labelled] > 0.5).sum())
    return min(1.0, spent + share_pvalue(right, int(labelled.sum()), 1 - risk / share))


def retest_preferences(found: Calibration, table: OutcomeTable) -> PromiseTest:
    """`check_preferences` of a certified artefact, on rows of its models of which some are fresh.

    Raises:
        ConfigError: The artefact guarantees nothing, or is for other models. DataError: No row is left.
    """
    _check_certified(found)
    check_models(found, table)
    result = check_preferences(found, table)
    if not result.n:
        raise DataError(f"all {len(table):,} rows calibrated, expected fresh ones; ask others")
    return result


def _check_certified(found: Calibration) -> None:
    if not found.certified:
        raise ConfigError("calibration: is infeasible and guarantees nothing; expected a certified one")


def _met(found: Calibration, labels: FewLabels, rows: ScoredTable, answers: CascadeAnswers) -> dict[str, bool]:
    """By target, True where the rows' own figure meets it; only those that are known."""
    targets, kept, met = found.guarantee.targets, np.asarray(answers.kept), dict[str, bool]()
    if not len(rows):
        return met
    differing = kept & labels.different
    if targets.max_drop is not None and (labels.gold.any() or not differing.any()):
        met["max_drop"] = labels.drop_interval(rows, kept).value <= targets.max_drop
    if targets.max_risk is not None and labels.gold.any():
        worse = float((rows.table.first.correct[labels.gold] < 0.5).mean()) * differing.sum() / kept.sum()
        met["max_risk"] = bool(worse <= targets.max_risk)
    if targets.max_cost_usd is not None:
        met["max_cost_usd"] = bool(answers.cost_usd.mean() <= targets.max_cost_usd)
    return met
