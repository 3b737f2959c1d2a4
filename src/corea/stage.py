"""A stage: one model, and how it is asked, measured, judged and paid."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import reduce

from corea.early import CUT, Draft, Read, read_stream
from corea.errors import BackendError
from corea.prices import EXACT, Price
from corea.prompts import Prompt, with_draft
from corea.protocols import Backend, Policy, PrePolicy, Signal, Streamer
from corea.reading import declines, read_answer
from corea.signals.measured import measured
from corea.signals.tokens import used_logprobs
from corea.types import ZERO_USD, Completion, Confidence, Decision, Question, Sampling, Step, replace

DECLINED = "the text says that it does not know"
OnText = Callable[[str], Awaitable[None]]
OnKeep = Callable[[str, Confidence], None]


class OnError(StrEnum):
    """What follows when a stage's backend is down."""

    NEXT = "next"  # go on to the next stage
    FAIL = "fail"  # the question fails, and says why


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One model and how it is asked, measured and judged. The last stage only answers: it needs no signal or policy.

    Args:
        prompt: How the question is put; None sends it as it is.
        pre_policy: Looks at the question alone; DEFER skips this stage before anything is paid.
        price: What the tokens cost; None makes every cost of this stage unknown (None), never 0.
        signal_price: What the signal's own calls cost where its model is another one; None means `price`.
        hand_over_draft: Shows the next stage this stage's text when it is deferred.
        confidence_first: Decides as soon as a confidence is stated before the answer (by a prompt such as the built-in
            one of this name), where the backend streams and the signal needs no more than the text: a kept answer is
            then given on as it is written, a deferred one is cut off, its tokens estimated.
        keep_logprobs: Keeps all log-probabilities in the trace; by default only those that the signal used.
    """

    name: str
    backend: Backend
    sampling: Sampling = Sampling()
    signal: Signal | None = None
    policy: Policy | None = None
    pre_policy: PrePolicy | None = None
    prompt: Prompt | None = None
    price: Price | None = None
    signal_price: Price | None = None
    on_error: OnError = OnError.NEXT
    hand_over_draft: bool = False
    confidence_first: bool = False
    keep_logprobs: bool = False


class Giver:
    """Hands text on, and remembers whether any has been."""

    def __init__(self, on_text: OnText) -> None:
        self.on_text = on_text
        self.begun = False

    async def __call__(self, text: str) -> None:
        self.begun = self.begun or bool(text)
        await self.on_text(text)


def skip(stage: Stage, question: Question) -> Step | None:
    """The step of a stage that its pre-policy leaves out; None where the stage is asked."""
    if stage.pre_policy is None or stage.pre_policy.decide(question) is Decision.KEEP:
        return None
    reason = f"pre-policy {type(stage.pre_policy).__name__}: not worth asking this stage"
    return Step(stage=stage.name, skipped=reason)


async def attempt(
    stage: Stage,
    question: Question,
    draft: str | None,
    give: Giver | None,
    *,
    last: bool,
    on_keep: OnKeep | None = None,
    watch: Draft | None = None,
    clock: Callable[[], float],
) -> Step:
    """Asks the stage's model, measures how sure it is, and decides; a backend that is down makes a step with an error.

    Args:
        draft: An earlier stage's text, to be shown to this one.
        give: Receives the text where it is kept while it is written.
        last: Nobody comes after this stage: it only answers.
        on_keep: As for `Cascade.ask`.
        watch: Sees what the model writes.
    """
    began = clock()
    asked = stage.prompt.render(question) if stage.prompt else question
    if draft is not None:
        asked = with_draft(asked, draft)
    try:
        read = await _read(stage, question, asked, give, last=last, on_keep=on_keep, watch=watch)
    except BackendError as error:
        return _failed(stage, error, clock() - began)
    completion, confidence, decision = read.completion, read.confidence, read.decision or Decision.KEEP
    cut, choices = completion.finish_reason == CUT, len(question.choices) or None
    answer = None if cut else read_answer(completion.text, choices=choices, cut=completion.cut_by_limit)
    if not last and confidence is None and stage.signal and stage.policy:
        confidence = await _measure(stage.signal, asked, completion)
        if answer is None and declines(completion.text, choices=choices):  # sure of what?
            confidence = replace(confidence, value=None, reason=DECLINED)
        decision = stage.policy.decide(question, confidence)
    return Step(
        stage=stage.name,
        completion=completion if stage.keep_logprobs else used_logprobs(completion, stage.signal, confidence),
        answer=answer,
        confidence=confidence,
        decision=decision,
        cost_usd=_cost(stage, completion, confidence.calls if confidence else ()),
        seconds=clock() - began,
    )


def _failed(stage: Stage, error: BackendError, seconds: float) -> Step:
    spent = error.spent if isinstance(error.spent, Completion) else None
    return Step(
        stage=stage.name,
        completion=spent,
        cost_usd=_cost(stage, spent, ()) if spent else ZERO_USD,
        seconds=seconds,
        error=str(error),
        error_kind=type(error).__name__,
        error_status=error.status,
    )


async def _read(
    stage: Stage,
    question: Question,
    asked: Question,
    give: Giver | None,
    *,
    last: bool,
    on_keep: OnKeep | None,
    watch: Draft | None,
) -> Read:
    """The stage's answer, whole or, where somebody waits for its text, as a stream."""
    signal, policy, early = stage.signal, stage.policy, stage.confidence_first and not last
    give = give if last or early else None
    if not (early or watch or give) or not isinstance(stage.backend, Streamer):  # in this order: the check is slow
        return Read(await stage.backend.complete(asked, stage.sampling))

    async def judge(so_far: Completion) -> tuple[Confidence, Decision]:
        assert signal is not None and policy is not None  # noqa: PT018  # the cascade has checked its stages
        confidence = await _measure(signal, asked, so_far)
        return confidence, policy.decide(question, confidence)

    return await read_stream(
        stage.backend,
        watch or Draft(stage.backend.model, asked),
        stage.sampling,
        judge=judge if early else None,
        give=give,
        on_keep=(lambda confidence: on_keep(stage.name, confidence)) if on_keep else None,
    )


async def _measure(signal: Signal, question: Question, completion: Completion) -> Confidence:
    try:
        return await measured(signal, question, completion)
    except BackendError as error:  # the signal's own call failed: that says nothing about the answer
        calls = (error.spent,) if isinstance(error.spent, Completion) else ()
        return Confidence(value=None, signal=type(signal).__name__, reason=str(error), calls=calls)


def _cost(stage: Stage, completion: Completion, calls: tuple[Completion, ...]) -> Decimal | None:
    own = _completion_cost(completion, stage.price)
    if not calls:
        return own
    return total([own, *(_completion_cost(call, stage.signal_price or stage.price) for call in calls)])


def _completion_cost(completion: Completion, price: Price | None) -> Decimal | None:
    """What the far end says it charged, else by the price; billed failed attempts are added."""
    if completion.cost_usd is not None:
        cost = completion.cost_usd
    elif price is not None:
        cost = price.cost(completion.usage)
    else:
        return None
    wasted = completion.wasted
    if wasted is not None and wasted.total_tokens:
        return None if price is None else EXACT.add(cost, price.cost(wasted))
    return cost


def total(costs: list[Decimal | None]) -> Decimal | None:
    """Their exact sum; None where one is not known."""
    if len(costs) == 1:
        return costs[0]
    known = [cost for cost in costs if cost is not None]
    return reduce(EXACT.add, known, ZERO_USD) if len(known) == len(costs) else None
