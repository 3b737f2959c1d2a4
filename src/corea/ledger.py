"""The ledger: folds traces into tokens, money and seconds, by stage and in all, in memory that does not grow.

All money is exact: the total is the sum of the rows to the last digit, whatever was charged.
"""

from dataclasses import dataclass, field, fields, is_dataclass
from decimal import Decimal
from functools import reduce
from typing import Any

from corea.baseline_cost import CalibrationFacts
from corea.money import usd_text
from corea.prices import COUNTED_AS_FREE, EXACT
from corea.types import ZERO_USD, Completion, Decision, Status, Step, Trace, Usage

_add = EXACT.add


@dataclass(slots=True)
class Tokens:
    """A sum of usages; the fields mean what those of `Usage` mean."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False

    def add(self, usage: Usage) -> None:
        """Adds the tokens of a call."""
        self.prompt_tokens += usage.prompt_tokens
        self.cached_tokens += usage.cached_tokens
        self.cache_write_tokens += usage.cache_write_tokens
        self.completion_tokens += usage.completion_tokens
        self.reasoning_tokens += usage.reasoning_tokens
        self.estimated = self.estimated or usage.estimated

    def as_dict(self) -> dict[str, int]:
        """Plain values for JSON."""
        return {
            "prompt": self.prompt_tokens,
            "cached": self.cached_tokens,
            "cache_write": self.cache_write_tokens,
            "completion": self.completion_tokens,
            "reasoning": self.reasoning_tokens,
        }


@dataclass(slots=True)
class StageTotals:
    """Calls, tokens and costs of one stage.

    Args:
        calls: Questions put to this stage's model, failed ones included.
        kept: Kept answers; `deferred` counts the deferred ones, whose cost is `discarded_usd`.
        retries: Failed attempts before a successful one; `wasted` are the tokens known to be billed for them.
        signal_calls: Further model calls made by the confidence signal; `signal_usage` are their tokens.
        unpriced: Calls of unknown cost; they are in no sum of money.
    """

    calls: int = 0
    kept: int = 0
    deferred: int = 0
    abstained: int = 0
    errors: int = 0
    skipped: int = 0
    retries: int = 0
    unpriced: int = 0
    usage: Tokens = field(default_factory=Tokens)
    wasted: Tokens = field(default_factory=Tokens)
    signal_calls: int = 0
    signal_usage: Tokens = field(default_factory=Tokens)
    cost_usd: Decimal = ZERO_USD
    discarded_usd: Decimal = ZERO_USD
    seconds: float = 0.0

    def add(self, step: Step) -> None:
        """Adds one step."""
        if step.skipped is not None:
            self.skipped += 1
            return
        self.calls += 1
        self.seconds += step.seconds
        self.errors += step.error is not None
        if step.completion is not None:
            self._add_completion(step.completion)
        for call in step.confidence.calls if step.confidence else ():
            self.signal_calls += 1
            self.signal_usage.add(call.usage)
            if call.wasted is not None:
                self.signal_usage.add(call.wasted)
        if step.cost_usd is None:
            self.unpriced += 1
        else:
            self.cost_usd = _add(self.cost_usd, step.cost_usd)
        if step.error is None:
            self._add_decision(step)

    def _add_completion(self, completion: Completion) -> None:
        self.retries += completion.retries
        self.usage.add(completion.usage)
        if completion.wasted is not None:
            self.wasted.add(completion.wasted)

    def _add_decision(self, step: Step) -> None:
        if step.decision is Decision.DEFER:
            self.deferred += 1
            self.discarded_usd = _add(self.discarded_usd, step.cost_usd or ZERO_USD)
        elif step.decision is Decision.ABSTAIN:
            self.abstained += 1
        else:
            self.kept += 1

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; money as strings, exact."""
        return {
            "calls": self.calls,
            "kept": self.kept,
            "deferred": self.deferred,
            "abstained": self.abstained,
            "errors": self.errors,
            "skipped": self.skipped,
            "retries": self.retries,
            "signal_calls": self.signal_calls,
            "unpriced_calls": self.unpriced,
            "tokens": self.usage.as_dict(),
            "wasted_tokens": self.wasted.as_dict(),
            "signal_tokens": self.signal_usage.as_dict(),
            "cost_usd": usd_text(self.cost_usd),
            "discarded_usd": usd_text(self.discarded_usd),
            "seconds": round(self.seconds, 6),
        }


@dataclass(slots=True)
class Ledger:
    """Totals over all traces added, by stage and overall.

    The baseline is the cost of the last stage alone. For each question it is the measured cost where that stage
    answered; else the trace's own estimate; else (no call had been measured yet) the mean of the measured costs. If
    that stage was never asked, the whole baseline is an assumption, and flagged. A failed question has no baseline,
    since it gave no answer, but its cost counts.

    Args:
        past_first: Questions that needed more than the first stage: deferred or skipped there, or its backend failed.
        calibrated: Facts of the cascade's calibration.
        flags: Flags of traces with their numbers of questions, such as a model without a price that counts as free.
    """

    questions: int = 0
    answered: int = 0
    fallback: int = 0
    abstained: int = 0
    failed: int = 0
    past_first: int = 0
    unpriced: int = 0
    cost_usd: Decimal = ZERO_USD
    seconds: float = 0.0
    baseline_measured_usd: Decimal = ZERO_USD
    baseline_measured: int = 0
    baseline_estimated_usd: Decimal = ZERO_USD
    baseline_estimated: int = 0
    baseline_assumed_usd: Decimal = ZERO_USD
    baseline_assumed: int = 0
    baseline_unknown: int = 0
    stages: dict[str, StageTotals] = field(default_factory=dict[str, StageTotals])
    flags: dict[str, int] = field(default_factory=dict[str, int])
    calibrated: CalibrationFacts = CalibrationFacts()

    def add(self, trace: Trace) -> None:
        """Adds one trace."""
        for flag in trace.flags:
            self.flags[flag] = self.flags.get(flag, 0) + 1
        self.questions += 1
        self.seconds += trace.seconds
        self.past_first += len(trace.steps) > 1
        if trace.status is Status.FAILED:
            self.failed += 1
        elif trace.status is Status.ABSTAINED:
            self.abstained += 1
        else:
            self.answered += 1
            self.fallback += trace.status is Status.FALLBACK
        if trace.cost_usd is None:
            self.unpriced += 1
        for step in trace.steps:
            if step.cost_usd is not None:
                self.cost_usd = _add(self.cost_usd, step.cost_usd)
            if (totals := self.stages.get(step.stage)) is None:
                totals = self.stages[step.stage] = StageTotals()
            totals.add(step)
        if trace.status is not Status.FAILED:
            self._add_baseline(trace)

    def include(self, other: "Ledger") -> None:
        """Adds all totals of another ledger."""
        _include(self, other)

    def _add_baseline(self, trace: Trace) -> None:
        if trace.baseline_cost_usd is None:
            self.baseline_unknown += 1
        elif trace.baseline_assumed:
            self.baseline_assumed += 1
            self.baseline_assumed_usd = _add(self.baseline_assumed_usd, trace.baseline_cost_usd)
        elif trace.baseline_estimated:
            self.baseline_estimated += 1
            self.baseline_estimated_usd = _add(self.baseline_estimated_usd, trace.baseline_cost_usd)
        else:
            self.baseline_measured += 1
            self.baseline_measured_usd = _add(self.baseline_measured_usd, trace.baseline_cost_usd)

    @property
    def defer_rate(self) -> float:
        """Share of the questions, in [0, 1], that needed more than the first stage."""
        return self.past_first / self.questions if self.questions else 0.0

    @property
    def baseline_usd(self) -> Decimal | None:
        """The cost of the last stage alone; None where it cannot be estimated."""
        known = _add(self.baseline_measured_usd, self.baseline_estimated_usd)
        blind = self.baseline_unknown + self.baseline_assumed
        if self.baseline_measured and blind:
            mean = self.baseline_measured_usd / self.baseline_measured
            return _add(known, (mean * blind).quantize(MEAN_STEP))
        if self.baseline_unknown:
            return None
        any_known = self.baseline_measured + self.baseline_estimated + self.baseline_assumed
        return _add(known, self.baseline_assumed_usd) if any_known else None

    @property
    def baseline_is_estimate(self) -> bool:
        """True where any part of the baseline is not measured."""
        return bool(self.baseline_estimated or self.baseline_assumed or self.baseline_unknown)

    @property
    def baseline_is_assumed(self) -> bool:
        """True where the last stage was never measured: it is assumed to use as many tokens as the answering stage."""
        return bool(self.baseline_assumed and not self.baseline_measured)

    @property
    def estimated_stages(self) -> list[str]:
        """The stages with estimated tokens, and so costs, since their server did not report all counts."""
        return [
            name
            for name, totals in self.stages.items()
            if totals.usage.estimated or totals.wasted.estimated or totals.signal_usage.estimated
        ]

    @property
    def counted_as_free(self) -> list[str]:
        """A line for each model without a price that is counted as free."""
        return [flag for flag in self.flags if flag.startswith(COUNTED_AS_FREE)]

    @property
    def saved_usd(self) -> Decimal | None:
        """Baseline minus cost; negative when the cascade cost more than the last stage alone."""
        baseline = self.baseline_usd
        return None if baseline is None or self.unpriced else EXACT.subtract(baseline, self.cost_usd)

    @property
    def plain_baseline_usd(self) -> Decimal | None:
        """The baseline if the last stage were asked with each question as it came; None where that was not measured."""
        return self.calibrated.plain(self.baseline_usd)

    @property
    def plain_saved_usd(self) -> Decimal | None:
        """The plain baseline minus cost."""
        plain = self.plain_baseline_usd
        return None if plain is None or self.unpriced else EXACT.subtract(plain, self.cost_usd)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; money as strings, exact."""
        baseline, saved = self.baseline_usd, self.saved_usd
        return {
            "questions": self.questions,
            "answered": self.answered,
            "fallback": self.fallback,
            "abstained": self.abstained,
            "failed": self.failed,
            "defer_rate": round(self.defer_rate, 6),
            "cost_usd": usd_text(self.cost_usd),
            "unpriced_questions": self.unpriced,
            "baseline_usd": usd_text(baseline),
            "baseline_estimated": self.baseline_is_estimate,
            "baseline_assumed": self.baseline_is_assumed,
            "baseline_measured_questions": self.baseline_measured,
            "saved_usd": usd_text(saved),
            "saved_share": round(float(saved / baseline), 6) if saved is not None and baseline else None,
            "plain_baseline_usd": usd_text(self.plain_baseline_usd),
            "plain_saved_usd": usd_text(self.plain_saved_usd),
            "discarded_usd": usd_text(reduce(_add, (s.discarded_usd for s in self.stages.values()), ZERO_USD)),
            "tokens_estimated": bool(self.estimated_stages),
            "seconds": round(self.seconds, 6),
            "flags": dict(self.flags),
            "stages": {name: totals.as_dict() for name, totals in self.stages.items()},
        }


def _include(total: Any, other: Any) -> None:
    """Adds every field of a dataclass of totals to another of the same kind."""
    for each in fields(total):
        had, more = getattr(total, each.name), getattr(other, each.name)
        if isinstance(more, CalibrationFacts):
            setattr(total, each.name, more)  # of the same run
        elif isinstance(more, dict):
            for key, value in more.items():
                if is_dataclass(value):
                    _include(had.setdefault(key, type(value)()), value)
                else:
                    had[key] = had.get(key, 0) + value
        elif is_dataclass(more):
            _include(had, more)
        elif isinstance(more, bool):
            setattr(total, each.name, had or more)
        else:
            setattr(total, each.name, _add(had, more) if isinstance(more, Decimal) else had + more)


MEAN_STEP = Decimal(1).scaleb(-15)  # a mean may have endless decimals; as an estimate it is rounded
