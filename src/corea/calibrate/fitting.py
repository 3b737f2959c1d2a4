"""Fits a calibration: certifies rules for a table's models, and reports what they are expected to do.

found = fit(table, Targets(max_drop=0.02))
found.save("calibration.json")
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from msgspec.structs import replace

from corea.calibrate.artefact import (
    CERTIFIED,
    INFEASIBLE,
    Calibration,
    DataSummary,
    Guarantee,
    LabelUse,
    StageBinding,
    StageCalibration,
    WatchedShares,
    now,
)
from corea.calibrate.certify import Selection, certify
from corea.calibrate.exact_tests import share_lower, share_upper
from corea.calibrate.few_labels import ENOUGH_TO_COMPARE, FewLabels
from corea.calibrate.held_out import estimates, held_out_report
from corea.calibrate.maps import fit_probability
from corea.calibrate.prepare import DEFAULTS, FitOptions, FittedMaps
from corea.calibrate.rules import CascadeAnswers, unlike_rows
from corea.calibrate.sample_size import labels_for_rules
from corea.calibrate.sentences import attempts_clause, next_steps, sentence
from corea.calibrate.signal_quality import signal_quality
from corea.calibrate.targets import Targets
from corea.errors import ConfigError
from corea.metrics import Interval, cost_interval, saving_interval, share_interval
from corea.metrics.arrays import Floats
from corea.metrics.score_map import ScoreMap, among, inputs_of
from corea.records.table import OutcomeTable
from corea.signals import SIGNALS

WATCH_RISK = 0.01
PAIRED_TEST = "exact paired test, binomial test, betting on bounded means"
CLUSTERED_TEST = "betting on bounded sums of each distinct question (arXiv:2010.09686)"
TEST = f"{PAIRED_TEST}; fixed-sequence Learn then Test"
JOINTLY = " along a path of joint thresholds that was laid out on other rows"
JUDGED_TEST = (
    "share of kept answers that differ, exact bound on all rows; exact paired test on people's labels among them, from "
    f"{ENOUGH_TO_COMPARE} labels on prediction-powered betting with the judge's verdicts on the others; fixed-sequence "
    "Learn then Test"
)
FEW_LABELS_TEST = (
    "share of kept answers that differ, exact bound on all rows; exact paired test on the gold rows among them; "
    "fixed-sequence Learn then Test"
)
IN_EACH_CATEGORY = ", in each slice that has a threshold, in all of them together"
HOLDS_FOR = "questions drawn as these were, the same models, prompts and sampling"
PERSON_NOTE = "answers left to a person count as right; their price is in the total, not in the cost or the saving"
AGREEMENT_NOTE = "the quality of the signal is for agreement with the large model"
JUDGED_NOTE = "the quality of the signal, and the probability in a trace, are for the judge's verdict on the draft"


def fit(
    table: OutcomeTable,
    targets: Targets,
    options: FitOptions = DEFAULTS,
    *,
    older: "OutcomeTable | Calibration | None" = None,
    binding: Sequence[StageBinding] = (),
    clock: Callable[[], str] = now,
) -> Calibration:
    """A calibration artefact for these targets.

    Args:
        table: Labelled questions; independent draws of those that the cascade will be asked. With
            `options.few_labels`, correctness may be NaN.
        older: Other labelled rows, which fit the maps; or the artefact of a calibration on other rows, for its maps.
        binding: By stage, what the artefact is for; by default the models' names.
        clock: Gives the date.

    Raises:
        ConfigError, DataError: See `OutcomeTable.check`, `Targets`, `FitOptions`, `corea.calibrate.certify.certify`.
    """
    if options.few_labels:
        table = table.distinct()
    else:
        table.check()
    if isinstance(older, OutcomeTable):
        found = certify(table, targets, options, older=_labelled(older, targets))
    elif older is not None:
        fitted, table = _maps_of(older, table), _unseen(older, table)
        found = certify(table, targets, options, fitted=fitted)
    else:
        found = certify(table, targets, options)
    answers = _answers(found)
    probabilities = [
        fit_probability(score, model.correct, kind=options.probability)
        for score, model in zip(found.fit.scores, found.fit.table.stages, strict=True)
    ]
    certified = found.rules is not None or any(group.threshold is not None for group in found.groups.values())
    thresholds = [*(found.rules or ()), *(group.threshold for group in found.groups.values())]
    abstains = any(each is not None and each.abstain_below is not None for each in thresholds)
    expected = estimates(found.test.table, answers, targets) if found.labels is None else _few_label_estimates(found)
    if not abstains:
        expected.pop("abstained_share", None)
    result = Calibration(
        verdict=CERTIFIED if certified else INFEASIBLE,
        sentence="",
        guarantee=_guarantee(found, targets, table),
        stages=_stages(table, found, [stored for stored, _ in probabilities], answers),
        groups=dict(found.groups),
        expected=expected,
        report=None if found.labels is not None else _report(found, answers, *probabilities[0]),
        binding=_bound(binding, targets) or _recorded_binding(found, table),
        data=_data(table, found, options, [*_older_note(found, older), *([PERSON_NOTE] if abstains else [])]),
        watched=_watched(found, answers),
        created=clock(),
    )
    advice = () if certified else next_steps(found, targets, result)
    return replace(result, advice=advice, sentence=sentence(result))


def counted(found: Calibration, earlier: Sequence[Calibration]) -> Calibration:
    """The calibration with the attempts on the same rows counted, as far as earlier calibrations show them.

    The same settings give the same result again, which is not a new attempt. k attempts at level delta err with
    probability at most k delta together (Bonferroni): the sentence then states that confidence, whichever is used.
    """
    before = [each for each in earlier if found.data.same_rows(each.data)]
    if not before:
        return found
    again = (found.stages, found.guarantee, found.groups) in [(b.stages, b.guarantee, b.groups) for b in before]
    attempts = max(len(before), *(each.data.attempts for each in before)) + (not again)
    said = found.sentence + attempts_clause(attempts, found.guarantee.targets.delta) * found.certified
    return replace(found, data=replace(found.data, attempts=attempts), sentence=said)


def _data(table: OutcomeTable, found: Selection, options: FitOptions, notes: Sequence[str]) -> DataSummary:
    return DataSummary(
        digest=table.digest, n=len(table), signals=list(table.first.signals), recorded_signals=_recorded(found),
        category_column=table.category_column, seed=options.seed,
        rows=table.packed_prints,
        notes=[
            *_columns_read(found), *table.notes, *found.notes, *_category_note(found), *_router_note(found), *notes,
            *([] if found.labels is None else [AGREEMENT_NOTE if found.labels.judged is None else JUDGED_NOTE]),
        ],
    )  # fmt: skip


def _recorded_binding(found: Selection, table: OutcomeTable) -> tuple[StageBinding, ...]:
    """The models' names, and the kind of each confidence that a map reads, where COREA has such a signal."""
    read = ["confidence" in inputs_of(stored) for stored in found.prepared.maps]
    kinds = [m.signal_kind if r and m.signal_kind in SIGNALS else None for m, r in zip(table.stages, read, strict=True)]
    return tuple(
        StageBinding(model=model.name, signal_name=kind, second_opinion=model.opinion_model)
        for model, kind in zip(table.models, [*kinds, None], strict=True)
    )


def _bound(binding: Sequence[StageBinding], targets: Targets) -> tuple[StageBinding, ...]:
    """The binding; a guarantee that is not about money does not depend on prices."""
    return tuple(each if targets.needs_cap else replace(each, price=None) for each in binding)


def _recorded(found: Selection) -> list[str]:
    """The columns that the maps read and no cascade measures live."""
    stages = zip(found.fit.table.stages, found.prepared.maps, strict=True)
    return sorted({name for model, stored in stages for name in inputs_of(stored) if name in model.recorded_signals})


def _columns_read(found: Selection) -> list[str]:
    """The columns that each map reads."""
    stages = list(zip(found.fit.table.stages, found.prepared.maps, strict=True))
    several = len(stages) > 1
    return [f"columns read{f' of {m.name}' if several else ''}: {', '.join(inputs_of(stored))}" for m, stored in stages]


def _category_note(found: Selection) -> list[str]:
    """The categories that every question must carry one of, where they are read."""
    known, table = found.prepared.categories, found.test.table
    if known is None:
        return []
    other = int((~among(table.categories, known, len(table))).sum())
    return [
        f"every question must carry its {table.category_column}, one of {', '.join(known)}; any other is deferred "
        f"({other:,} of the {len(table):,} rows of the test); `corea ask` and `corea serve` have none and refuse this"
    ]


def _router_note(found: Selection) -> list[str]:
    """The questions of the test that the router keeps from the first model, which then wait for no draft."""
    rule = found.rules[0] if found.rules is not None else None
    if found.prepared.router is None or rule is None:
        return []
    asked, kept = found.test.asked(0, rule), found.test.kept(0, rule)
    skipped, deferred = int((~asked).sum()), int((~kept).sum())
    return [
        f"the router asks {found.test.table.first.name} {int(asked.sum()):,} of the {len(asked):,} questions of the "
        f"test; of the {deferred:,} that {found.test.table.last.name} answers, {skipped:,} wait for no draft"
    ]


def _labelled(older: OutcomeTable, targets: Targets) -> OutcomeTable:
    """The rows that fit the maps; where labels are missing, agreement with the last model stands for them."""
    if not any(np.isnan(model.correct).any() for model in older.models):
        older.check()
        return older
    older = older.distinct()
    note = "the older rows lack labels: agreement with the large model stands for them"
    return dataclasses.replace(FewLabels.of(older, targets).proxy(older), notes=(*older.notes, note))


def _maps_of(older: Calibration, table: OutcomeTable) -> FittedMaps:
    if [stage.model for stage in older.stages] != [model.name for model in table.stages]:
        raise ConfigError(
            f"map-from: got a calibration of {', '.join(stage.model for stage in older.stages)}, expected one of "
            f"{', '.join(model.name for model in table.stages)}, as in the new rows"
        )
    return FittedMaps(
        maps=tuple(stage.map for stage in older.stages), categories=older.categories, router=older.stages[0].router
    )


def _unseen(older: Calibration, table: OutcomeTable) -> OutcomeTable:
    """The rows that had no part in the older calibration, whose maps they are to test."""
    shared = older.data.has(table.prints, len(table)) | (older.data.digest == table.digest)
    if shared.all():
        raise ConfigError("map-from: got a calibration of these very rows, expected one of others; drop --map-from")
    if not shared.any():
        return table
    note = f"{int(shared.sum()):,} of the rows calibrated the older artefact and were left out"
    return dataclasses.replace(table.take(np.flatnonzero(~shared)), notes=(*table.notes, note))


def _older_note(found: Selection, older: OutcomeTable | Calibration | None) -> list[str]:
    if older is None:
        return []
    if isinstance(older, Calibration):
        return [f"the maps are those of the calibration {older.digest[:19]}, fitted on {older.guarantee.n_fit:,} rows"]
    rows = found.fit.table
    return [f"{len(rows):,} older rows ({rows.digest[:19]}) fitted the maps; all new rows test", *rows.notes]


def _answers(found: Selection) -> CascadeAnswers:
    """The answers of the cascade on the rows of the test; where nothing is certified, of the last model."""
    if found.groups:
        return found.test.by_group(found.groups)
    return found.test.last_alone() if found.rules is None else found.test.outcome(found.rules)


def _watched(found: Selection, answers: CascadeAnswers) -> WatchedShares | None:
    first, rule = found.test.table.first, next(iter(found.rules or ()), None)
    if rule is None or len(found.test.scores) > 1 or first.agreement is None:
        return None
    kept, deferred = answers.kept, found.test.asked(0, rule) & ~answers.kept
    if first.judged is not None:
        worse, n = int((kept & (first.judged > 0)).sum()), int(kept.sum())
        bound = share_lower(worse, n, WATCH_RISK), share_upper(worse, n, WATCH_RISK)
        return WatchedShares(deferred_differ=None, kept_differ=bound, kept_share=float(kept.mean()))
    bounds: list[tuple[float, float]] = []
    for rows in (deferred, kept):
        there = rows & ~np.isnan(first.agreement)
        differ, n = int((there & (first.agreement < 0.5)).sum()), int(there.sum())
        if not n:
            return None
        bounds.append((share_lower(differ, n, WATCH_RISK), share_upper(differ, n, WATCH_RISK)))
    return WatchedShares(deferred_differ=bounds[0], kept_differ=bounds[1], kept_share=float(kept.mean()))


def _guarantee(found: Selection, targets: Targets, table: OutcomeTable) -> Guarantee:
    where = IN_EACH_CATEGORY if found.groups else ""
    people = found.labels is not None and found.labels.judged is not None
    test = TEST + (JOINTLY if len(found.test.scores) > 1 else "")
    test = test if found.labels is None else JUDGED_TEST if people else FEW_LABELS_TEST
    test = test if table.clusters is None else test.replace(PAIRED_TEST, CLUSTERED_TEST)
    new = _new_inputs(found, targets.delta) if targets.needs_cap else None
    return Guarantee(
        targets=targets,
        statement=f"{targets.words(new, preferences=people)}{where}, with probability {1 - targets.delta:g} over the "
        "questions that calibrated",
        holds_for=HOLDS_FOR,
        test=test,
        n=len(table),
        n_clusters=None if table.clusters is None else len(set(table.clusters.tolist())),
        n_fit=len(found.fit),
        n_test=len(found.test),
        p_values=dict(found.pvalues),
        rules_tested=found.tested,
        cost_cap_usd=found.cap_usd if targets.needs_cap else None,
        new_inputs_share=new,
        labels=None if found.labels is None else _label_use(found, found.labels, targets),
    )


def _new_inputs(found: Selection, delta: float) -> float | None:
    """Upper bound of the share of questions with an input unlike all that fitted, from the rows of the test.

    None where the maps read nothing that could be unlike.
    """
    unlike = unlike_rows(found.test.table, found.prepared.maps, found.prepared.categories).values()
    return share_upper(int(np.any(list(unlike), axis=0).sum()), len(found.test), delta) if unlike else None


def _stages(
    table: OutcomeTable, found: Selection, probabilities: Sequence[ScoreMap], answers: CascadeAnswers
) -> tuple[StageCalibration, ...]:
    """Each stage before the last; with few labels its quality is for agreement, on the rows that fitted."""
    judged = table if found.labels is None else found.fit.table
    return tuple(
        StageCalibration(
            model=model.name,
            threshold=None if found.rules is None else found.rules[i],
            map=found.prepared.maps[i],
            categories=found.prepared.categories,
            needs_answer=model.needs_answer,
            probability=probabilities[i],
            quality=signal_quality(judged.models[i].confidence, judged.models[i].correct),
            answers=float((answers.stage == i).mean()),
            router=found.prepared.router if i == 0 else None,
        )
        for i, model in enumerate(table.stages)
    )


def _report(found: Selection, answers: CascadeAnswers, probability: ScoreMap, crossed: Floats) -> Any:
    alone = found.rules[0] if found.rules is not None and len(found.rules) == 1 else None
    return held_out_report(found.fit, found.test, answers, probability, crossed, threshold=alone, groups=found.groups)


# --- few labels -----------------------------------------------------------------------------------------------------


def _label_use(found: Selection, labels: FewLabels, targets: Targets) -> LabelUse:
    """How many gold labels there were, and how many the same test would need with labels alone."""
    gold, rules = int(np.sum(labels.gold)), found.rules or found.best_uncertified
    judge, agrees = found.test.table.first.judge_model, labels.agreement(found.test)
    judge = judge if labels.judged is None else judge or "a judge"
    if rules is None or targets.max_drop is None:
        return LabelUse(gold=gold, judge=judge, judge_agrees=agrees)
    kept = np.asarray(found.test.outcome(rules).kept)
    losses, gains, used = labels.counts(found.test, kept)
    share = float((kept & labels.different).mean())
    alone: int | None = None
    if used:
        loss, gain = share * losses / used, share * gains / used
        alone = labels_for_rules(loss, gain, drop=targets.max_drop, delta=targets.delta, power=0.5)
    elif found.rules is not None:  # no label was needed: as many as show the same with no loss seen
        alone = labels_for_rules(share / 2, share / 2, drop=targets.max_drop, delta=targets.delta, power=0.5)
    return LabelUse(
        gold=gold, gold_used=used, kept_and_different=share, gold_alone=alone,
        gold_saved=None if alone is None else max(0, alone - gold),
        judge=judge, judge_agrees=agrees,
        pairs=None if labels.judged is None else len(labels.worth(found.test, found.fit, targets)),
        enough=None if found.rules is not None else labels.enough(found.test, found.fit, targets),
    )  # fmt: skip


def _few_label_estimates(found: Selection) -> dict[str, Interval]:
    """Estimates without all labels, at 95 %: costs and shares from all rows of the test, the drop from the gold rows
    where answers differ, accuracies only where gold rows were drawn from all rows."""
    labels, test = found.labels, found.test
    assert labels is not None  # by the caller
    first, last, answers = test.table.first, test.table.last, _answers(found)
    kept = np.asarray(answers.kept)
    costs = {
        "mean_cost_usd": answers.cost_usd, "llm_mean_cost_usd": last.cost_usd, "slm_mean_cost_usd": first.cost_usd,
    }  # fmt: skip
    out = {name: cost_interval(values) for name, values in costs.items()}
    out["llm_share"], out["agreement"] = share_interval(1.0 - kept), share_interval(1.0 - labels.different)
    out["saving"] = saving_interval(answers.cost_usd, last.cost_usd)
    # the last model alone loses nothing
    out["drop"] = labels.drop_interval(test, kept) if found.rules is not None else Interval(0.0, 0.0, 0.0)
    if (labels.gold & ~labels.different).any() and labels.judged is None:
        out["llm_pass_at_1"] = share_interval(last.correct[labels.gold])
        out["slm_pass_at_1"] = share_interval(first.correct[labels.gold])
    return out
