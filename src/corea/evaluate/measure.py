"""Figures of one run or recording, and, with the large model's answers, of the cascade and its baselines."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from corea.calibrate import Calibration, CascadeAnswers
from corea.errors import ConfigError, DataError
from corea.evaluate.figures import CascadeOutcome, FiguresRow, SignalQuality, cascade_rows, quality
from corea.evaluate.promise import PromiseTest, check_promise
from corea.evaluate.thresholds import filled
from corea.graders import count_graders
from corea.metrics import Interval, share_interval
from corea.metrics.arrays import Floats
from corea.prices import PriceTable
from corea.records.answer import AnswerSet, RecordedAnswer
from corea.records.table import ModelOutcomes, OutcomeTable
from corea.types import Usage

Answers = Sequence[RecordedAnswer]
ONE_MODEL = "one model alone; for a cascade give the large model's answers (--against FILE) and a threshold (--tau)"
NO_BASELINES = (
    "random deferral, best single and oracle need the large model's answers and costs on the kept questions too; give "
    "a run of it alone with --against FILE (and prices with --price NAME=IN/OUT)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalResult:
    """The figures of one run or recording.

    Args:
        pass_at_1: Share right of the answers that were returned; a failed question is wrong.
        coverage: Share kept; 1 - coverage is LLM%. None for one model alone.
        selective_risk: Share wrong of the kept answers.
        table: Both models alone, the cascade and its baselines; None where the large model's answers to kept questions
            are not known (`missing` says what to give).
        graders: The number of questions that each grader graded; empty where the rows brought their grades.
        note: Says where the run paid another amount for the large model than the answers given with `against`.
        outside: Answers deferred as an input was unlike all rows that calibrated.
        mapped: A calibration decided; `signal` is then of its probability, without ECE and Brier score in old traces,
            which hold its score alone.
        promise: The test of its guarantee, where the artefact was given.
    """

    name: str
    n: int
    failed: int
    pass_at_1: Interval
    mean_cost_usd: float | None
    coverage: float | None
    selective_risk: float | None
    signal: SignalQuality
    table: list[FiguresRow] | None
    missing: str | None
    costs_estimated: bool
    counted_as_free: tuple[str, ...]
    graders: Mapping[str, int]
    outside: int
    mapped: bool
    promise: PromiseTest | None
    note: str | None = None

    @property
    def llm_share(self) -> float | None:
        """Share of the questions that the large model answers."""
        return None if self.coverage is None else 1 - self.coverage

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        promise = None if self.promise is None else asdict(self.promise) | {"contradicted": self.promise.contradicted}
        made = asdict(self) | {
            "promise": promise,
            "pass_at_1": self.pass_at_1.value, "pass_low": self.pass_at_1.low, "pass_high": self.pass_at_1.high,
            "llm_share": self.llm_share,
        }  # fmt: skip
        made["headline"] = "" if self.promise is None else self.promise.headline
        made["table"] = None if self.table is None else [row.as_dict() for row in self.table]
        return made


def measure(
    name: str,
    answers: AnswerSet,
    against: AnswerSet | None = None,
    *,
    tau: float | None = None,
    prices: PriceTable | None = None,
    calibration: Calibration | None = None,
) -> EvalResult:
    """The figures of one run or recording.

    Args:
        against: The large model's answers to the same questions; only those that both have are judged. They are the
            large model alone, for every question; the cascade's answers and costs stay those of the run, unless `tau`
            decides otherwise than the run did: then deferred questions have these answers and costs too.
        tau: Keep at or above it instead of as the run did (a calibration's score, else the confidence); needed for a
            recording with `against`.
        prices: To price the tokens of a recording without costs; None: such a cost is not known.
        calibration: The artefact that the run decided by, to test its guarantee.

    Raises:
        DataError: The files share no question.
        ConfigError: `tau` without `against`; or `calibration` where its guarantee cannot be tested.
    """
    if tau is not None and against is None:
        raise ConfigError(
            "--tau: got it without --against, expected the large model's answers too; give --against FILE"
        )
    if tau is not None and not 0 <= tau <= 1:
        raise ConfigError(f"--tau: got {tau:g}, expected a confidence in [0, 1]")
    ids = _ids_in_common(answers, against)
    own = [answers.answers[key] for key in ids]
    other = [] if against is None else [against.answers[key] for key in ids]
    first, kept = outcomes_of(answers.model, own, prices), _kept(own, tau)
    seen = _seen_later(own)
    last = seen if against is None else outcomes_of(against.model, other, prices)
    later = last if tau is not None else _filled(seen, last)
    returned = first.correct if kept is None else np.where(kept > 0, first.correct, later.correct)
    table = _table(own, first, last, kept)
    scored = [a for a in own if a.confidence_kind.startswith("mapped") and a.confidence is not None]
    kept_n = 0.0 if kept is None else float(kept.sum())
    return EvalResult(
        name=name,
        n=len(own),
        failed=sum(a.failed for a in own),
        pass_at_1=share_interval(returned),
        mean_cost_usd=_mean_cost(first, later, kept),
        coverage=None if kept is None else float(kept.mean()),
        selective_risk=float((kept * (1 - first.correct)).sum() / kept_n) if kept is not None and kept_n else None,
        signal=_quality(name, first, probability=all(a.score is not None for a in scored)),
        table=_figures(table, later, kept),
        missing=None if table is not None else ONE_MODEL if kept is None else NO_BASELINES,
        costs_estimated=any(a.estimated for a in (*own, *other)),
        counted_as_free=tuple(dict.fromkeys(line for a in (*own, *other) for line in a.counted_as_free)),
        graders=count_graders(a.grader for a in own if a.grader),
        outside=sum(a.outside for a in own),
        mapped=bool(scored),
        promise=None if calibration is None else _promise(calibration, table, kept if tau is None else None),
        note=None if tau is not None else _two_costs(seen, last),
    )


def _figures(table: OutcomeTable | None, later: ModelOutcomes, kept: Floats | None) -> list[FiguresRow] | None:
    """The table of figures; `later`: the large model as this cascade saw it."""
    if table is None or kept is None:
        return None
    seen = table.change(-1, correct=later.correct, cost_usd=later.cost_usd)
    return cascade_rows(table, kept, cascade=CascadeOutcome.keeping(seen, kept))


def _quality(name: str, model: ModelOutcomes, *, probability: bool) -> SignalQuality:
    try:
        return quality(model.confidence, model.correct, probability=probability)
    except DataError as error:  # a confidence outside [0, 1]
        raise DataError(str(error), path=name) from error


def _promise(found: Calibration, table: OutcomeTable | None, kept: Floats | None) -> PromiseTest:
    if len(found.binding) != 2:
        raise ConfigError(
            f"--calibration: got one of {len(found.binding)} models, expected two; use `corea calibrate apply`"
        )
    if kept is None:
        raise ConfigError(
            "--calibration: got one model's recording or --tau, expected a run that the calibration decided; for "
            "recordings use `corea calibrate apply`"
        )
    if table is None:
        raise ConfigError(
            "--calibration: the large model's answers to kept questions, or a cost, are not known, expected both; give "
            "--against FILE (and prices with --price NAME=IN/OUT)"
        )
    answers = CascadeAnswers(
        stage=np.where(kept > 0, 0, 1), last=1, cost_usd=table.first.cost_usd + (1 - kept) * table.last.cost_usd,
        correct=np.where(kept > 0, table.first.correct, table.last.correct),
    )  # fmt: skip
    return check_promise(found, table, answers)


def _ids_in_common(answers: AnswerSet, against: AnswerSet | None) -> list[str]:
    ids = [key for key in answers.answers if against is None or key in against.answers]
    if not ids:
        examples = ", ".join(repr(next(iter(each.answers))) for each in (answers, against) if each)
        raise DataError(f"the files have no question in common; their ids begin {examples}; expected the same ids")
    return ids


def outcomes_of(model: str, answers: Answers, prices: PriceTable | None = None) -> ModelOutcomes:
    """The outcomes of one model's answers, in their order."""
    return ModelOutcomes(
        name=model,
        correct=_column(a.correct for a in answers),
        cost_usd=_column(_cost(a, prices) for a in answers),
        signals={"confidence": _column(a.confidence for a in answers)},
    )


def _column(values: Any) -> Floats:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _cost(answer: RecordedAnswer, prices: PriceTable | None) -> float | None:
    if answer.cost_usd is not None or prices is None:
        return answer.cost_usd
    prompt, completion = (int(answer.numbers.get(f"{kind}_tokens", 0)) for kind in ("prompt", "completion"))
    return float(prices.lookup(answer.model).cost(Usage(prompt_tokens=prompt, completion_tokens=completion)))


def _kept(own: Answers, tau: float | None) -> Floats | None:
    """(N,) 1 where the first answer is kept: by the threshold, else as the run did; None for one model alone."""
    if tau is not None:
        deciding = _column(a.confidence if a.score is None else a.score for a in own)
        return (filled(deciding) >= tau).astype(np.float64)
    if all(a.kept is None for a in own):
        return None
    return np.array([float(bool(a.kept)) for a in own])


def _seen_later(own: Answers) -> ModelOutcomes:
    """The large model as the run saw it; NaN where it did not ask it."""
    return ModelOutcomes(
        name="large", correct=_column(a.later_correct for a in own), cost_usd=_column(a.later_cost_usd for a in own)
    )


def _filled(seen: ModelOutcomes, last: ModelOutcomes) -> ModelOutcomes:
    """The large model as the run saw it, and elsewhere the other answers."""
    right, cost = (
        np.where(np.isnan(a), b, a) for a, b in ((seen.correct, last.correct), (seen.cost_usd, last.cost_usd))
    )
    return ModelOutcomes(name=last.name, correct=right, cost_usd=cost)


def _two_costs(seen: ModelOutcomes, last: ModelOutcomes) -> str | None:
    """A note where the run's calls to the large model and the other answers differ in cost by more than a hundredth."""
    both = ~np.isnan(seen.cost_usd) & ~np.isnan(last.cost_usd)
    paid, other = (float(each.cost_usd[both].sum()) for each in (seen, last))
    if abs(paid - other) <= 0.01 * max(paid, other):
        return None
    n = int(both.sum())
    return (
        f"where the run asked the large model too ({n:,} questions) it paid {1000 * paid / n:.6g} USD / 1,000, and the "
        f"answers of --against cost {1000 * other / n:.6g}: another prompt, setting or price? The cascade's cost is of "
        "the run, the large model alone and the saving are of --against"
    )


def _mean_cost(first: ModelOutcomes, last: ModelOutcomes, kept: Floats | None) -> float | None:
    cost = first.cost_usd if kept is None else first.cost_usd + np.where(kept < 1, last.cost_usd, 0.0)
    return None if np.isnan(cost).any() else float(cost.mean())


def _table(own: Answers, first: ModelOutcomes, last: ModelOutcomes, kept: Floats | None) -> OutcomeTable | None:
    """Both models' outcomes, if all that a comparison needs is known."""
    known = (first.cost_usd, last.correct, last.cost_usd)
    if kept is None or any(np.isnan(column).any() for column in known):
        return None
    ids, prints = (np.array(names, dtype=object) for names in ([a.id for a in own], [a.print for a in own]))
    return OutcomeTable(ids=ids, models=(first, last), prints=prints)
