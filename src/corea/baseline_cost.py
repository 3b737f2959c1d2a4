"""The baseline: the cost of asking the last stage alone, measured where it was asked, estimated where it was not."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from threading import Lock

from msgspec import Struct

from corea.prices import EXACT, Price
from corea.prompts import characters_of, with_draft
from corea.stage import Stage
from corea.types import ZERO_USD, Completion, Question, Step, Usage, replace


class BaselineCost(Struct, frozen=True):
    """The cost of the last stage alone for one question.

    Args:
        estimated: The last stage was not asked, or was shown a draft.
        assumed: No call to it was seen yet: the answering stage's tokens, without its prompt, at the last
            stage's price.
    """

    usd: Decimal | None
    estimated: bool = False
    assumed: bool = False


class CalibrationFacts(Struct, frozen=True):
    """Facts of a calibration that a cascade compares its costs with, and reads its questions by.

    Args:
        category_column: The column of a file of questions that holds a question's category.
        plain_share: The cost of the last stage asked with each question as it came, over its cost with its prompt;
            None: not measured.
        mean_usd: The guaranteed mean cost of a question. Its conditions are that no question costs more than `cap_usd`,
            and that at most `new_inputs_share` of them have inputs unlike those that calibrated.
    """

    category_column: str = "category"
    plain_share: float | None = None
    mean_usd: float | None = None
    cap_usd: float | None = None
    new_inputs_share: float | None = None

    def flags(self, usd: Decimal | None) -> tuple[str, ...]:
        """The flag of a question that cost more than the cap."""
        return (OVER_CAP,) if self.cap_usd is not None and usd is not None and usd > self.cap_usd * (1 + 1e-9) else ()

    def plain(self, usd: Decimal | None) -> Decimal | None:
        """The cost of the last stage asked with the questions as they came, from that with its prompt."""
        return None if usd is None or self.plain_share is None else (usd * Decimal(self.plain_share)).quantize(STEP)


OVER_CAP = "calibration: cost above the assumed cap"
STEP = Decimal(1).scaleb(-15)  # estimates are rounded


@dataclass(slots=True)
class BaselineEstimator:
    """Estimates the cost of a call to the last stage from the calls that were made. O(1) memory, usable in any thread.

    The rule: prompt tokens follow the question's characters along the least-squares line of the calls seen
    (slope held between 0 and 1 token a character; one length seen: in proportion), completion tokens are
    their mean. Questions that were deferred are harder and often answered at more length, so the estimate may
    be high: it is always flagged.
    """

    calls: int = 0
    characters: int = 0
    characters_squared: int = 0
    characters_times_prompt: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    def observe(self, question: Question, completion: Completion) -> None:
        """Adds one call that was made."""
        length = characters_of(question)
        with self._lock:
            self.calls += 1
            self.characters += length
            self.characters_squared += length * length
            self.characters_times_prompt += length * completion.usage.prompt_tokens
            self.prompt_tokens += completion.usage.prompt_tokens
            self.completion_tokens += completion.usage.completion_tokens

    def usage(self, question: Question) -> Usage | None:
        """The expected tokens of a call for this question; None before the first call."""
        if not self.calls:
            return None
        spread = self.calls * self.characters_squared - self.characters * self.characters
        mean_prompt, length = self.prompt_tokens / self.calls, characters_of(question)
        if spread > 0:
            slope = (self.calls * self.characters_times_prompt - self.characters * self.prompt_tokens) / spread
            prompt = mean_prompt + min(max(slope, 0.0), 1.0) * (length - self.characters / self.calls)
        else:
            prompt = mean_prompt * length / (self.characters / self.calls) if self.characters else mean_prompt
        return Usage(
            prompt_tokens=max(round(prompt), 0),
            completion_tokens=round(self.completion_tokens / self.calls),
            estimated=True,
        )

    def estimate(self, question: Question, price: Price | None) -> Decimal | None:
        """The expected cost in USD of asking the last stage; None before the first call, or without a price."""
        usage = self.usage(question)
        return None if price is None or usage is None else price.cost(usage)


def last_stage_alone(
    estimator: BaselineEstimator,
    stages: Sequence[Stage],
    question: Question,
    steps: Sequence[Step],
    *,
    in_order: bool,
) -> BaselineCost:
    """The cost of asking only the last stage; a call that was made to it is added to the estimator.

    Args:
        in_order: Each stage was asked after the one before it had ended, so that drafts could be passed on.
    """
    last, step = stages[-1], steps[-1] if steps else None  # no stage is asked after the last
    if step is not None and step.stage == last.name and step.error is None and step.completion is not None:
        draft = draft_after(stages, steps[:-1]) if in_order else None
        if draft is not None:
            return BaselineCost(_cost_without_draft(estimator, last, question, step, draft), estimated=True)
        estimator.observe(question, step.completion)
        return BaselineCost(step.cost_usd)
    estimate = estimator.estimate(question, last.price)
    if estimate is not None or last.price is None:
        return BaselineCost(estimate, estimated=True)
    for answered in reversed(steps):
        if answered.completion is not None and answered.error is None:
            usage = answered.completion.usage
            stage = next((each for each in stages if each.name == answered.stage), None)
            if stage is not None and stage.prompt is not None:
                usage = as_shown(usage, _characters_shown(last, question), _characters_shown(stage, question))
            return BaselineCost(last.price.cost(usage), estimated=True, assumed=True)
    return BaselineCost(None, estimated=True)


def draft_after(stages: Sequence[Stage], steps: Sequence[Step]) -> str | None:
    """The draft that the stage after these steps is shown, if any."""
    passing = {stage.name for stage in stages if stage.pass_draft}
    if not passing:
        return None
    drafts = (s.completion.text for s in reversed(steps) if s.stage in passing and not s.error and s.completion)
    return next(drafts, None)


def _cost_without_draft(
    estimator: BaselineEstimator, last: Stage, question: Question, step: Step, draft: str
) -> Decimal | None:
    """The cost of the last stage's call, had it not been shown a draft."""
    assert step.completion is not None
    alone = last.prompt.render(question) if last.prompt else question
    usage = as_shown(step.completion.usage, characters_of(alone), characters_of(with_draft(alone, draft)))
    estimator.observe(question, replace(step.completion, usage=usage))
    if last.price is None or step.cost_usd is None:
        return step.cost_usd
    saved = EXACT.subtract(last.price.cost(step.completion.usage), last.price.cost(usage))
    return max(EXACT.subtract(step.cost_usd, saved), ZERO_USD)


def _characters_shown(stage: Stage, question: Question) -> int:
    """The characters of a question as a stage is asked it."""
    return stage.prompt.characters(question) if stage.prompt else characters_of(question)


def as_shown(usage: Usage, alone: int, shown: int) -> Usage:
    """The usage of a call, had it been sent `alone` characters, not `shown`: its prompt tokens follow them."""
    if alone == shown:
        return usage if usage.estimated else replace(usage, estimated=True)
    share = alone / max(shown, 1)
    return replace(
        usage,
        prompt_tokens=round(usage.prompt_tokens * share),
        cached_tokens=round(usage.cached_tokens * share),
        cache_write_tokens=round(usage.cache_write_tokens * share),
        cache_write_1h_tokens=round(usage.cache_write_1h_tokens * share),
        estimated=True,
    )
