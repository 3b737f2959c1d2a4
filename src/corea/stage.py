"""A stage: one model with its prompt, confidence signal, policy and price."""

import dataclasses
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import reduce
from typing import Any, Literal

from msgspec import Struct

from corea.costs.call_log import CallLog, was_cut
from corea.costs.signal_calls import signal_calls
from corea.early_exit import CUT, PartialCompletion, StreamResult, interrupted, read_stream
from corea.errors import BackendError, ConfigError
from corea.parsing import is_refusal, read_answer
from corea.policies.threshold import threshold_of
from corea.prices import EXACT, Price
from corea.prompts import Prompt, with_draft
from corea.protocols import Backend, Policy, PrePolicy, Signal, Streamer
from corea.signals.measured import REQUEST, checked, measuring
from corea.signals.tokens import used_logprobs
from corea.text_sink import TextSink
from corea.types import ZERO_USD, Completion, Confidence, Decision, Question, Sampling, Step, replace

CUT_OFF = "CutOff"  # the `error_kind` of a call that was cancelled
DECLINED = "the text says that it does not know"
CUT_DRAFT = "the draft was cut off by the token limit"
Batch = bool | Literal["live", "file"]
OnKeep = Callable[[str, Confidence], None]
OnStep = Callable[[Step], None]


class Mode(StrEnum):
    """The kind of traffic that a cascade answers."""

    ANSWER = "answer"  # short answers that can be graded, read from the text; tags and stated confidence
    CHAT = "chat"  # open-ended text, code, conversations: the model is asked as the client asked, its text is not read


class OnError(StrEnum):
    """The reaction to a backend that is down."""

    NEXT = "next"  # go on to the next stage
    FAIL = "fail"  # the question fails, and says why


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One model with the settings of its call, signal and policy. The last stage needs no signal or policy.

    Args:
        prompt: Template of the question; None sends it unchanged.
        pre_policy: Decides on the question alone; DEFER skips this stage before anything is paid.
        price: Price of the tokens; None makes every cost of this stage unknown (None), never 0.
        signal_price: Price of the signal's own calls. None: `price` where it asks this stage's model; in a cascade the
            price of the stage whose model it asks; else unknown.
        pass_draft: Shows this stage's text to the next stage when it is deferred.
        confidence_first: Decides as soon as a confidence is stated before the answer (by a prompt such as the built-in
            one of this name), where the backend streams and the signal needs only the text: a kept answer is then
            passed on as it is written, a deferred one is cut off and its tokens are estimated.
        keep_logprobs: Keeps all log-probabilities in the trace; by default only those that the signal used.
        calibrated_model: The model's name as its server stated it at calibration; an answer that comes under another
            name is flagged. None: not known.
        second_opinion: Asks another model the same question; read where a calibration's map has this column.
        second_price: Price of that model.
        batch: In a run, asked by its provider's batch API, at `price.in_batch`: a question that fails there twice is
            then asked live ("live"), or fails. "file": by a program that reads and writes files.
        mode: In CHAT, no answer is read from the text, and a draft that the token limit cut is deferred.
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
    pass_draft: bool = False
    confidence_first: bool = False
    keep_logprobs: bool = False
    calibrated_model: str | None = None
    mode: Mode = Mode.ANSWER
    second_opinion: Signal | None = None
    second_price: Price | None = None
    batch: Batch = False

    @property
    def backends(self) -> list[Backend]:
        """Its own backend and those of its signal."""
        calls = [*signal_calls(self.signal), *signal_calls(self.second_opinion)]
        return list({id(each): each for each in (self.backend, *(call.backend for call in calls))}.values())

    def check(self) -> None:
        """Checks for errors that would fail every call, without contacting a server.

        Raises:
            ConfigError: The environment variable of a key holds none.
        """
        for backend in self.backends:
            try:
                if check := getattr(backend, "check", None):
                    check()
            except ConfigError as error:
                raise ConfigError(f"stages.{self.name}: {error}") from error

    def price_of(self, backend: Backend | None) -> Price | None:
        """The price of a call made by the signal; None where unknown."""
        if backend is not None and backend is getattr(self.second_opinion, "backend", None):
            return self.second_price
        if self.signal_price is not None:
            return self.signal_price
        own = backend is None or backend is self.backend or backend.model == self.backend.model
        return self.price if own else None

    def priced(self, step: Step) -> Step:
        """A recorded step of this stage with its cost at the prices of now; a charge stated by the server stays."""
        asked = [each.backend for each in signal_calls(self.signal)]
        costs = [ZERO_USD if step.completion is None else _completion_cost(step.completion, self.price)]
        for call in step.confidence.calls if step.confidence else ():
            backend = next((each for each in asked if each.model == call.model), asked[0] if asked else None)
            costs.append(_completion_cost(call, self.price_of(backend)))
        return replace(step, cost_usd=total(costs))


def as_measured(stage: Stage, asked: Question) -> Question:
    """A question as signals get it: in its meta under "request", the further fields that the stage is sent."""
    extra = stage.sampling.extra
    return replace(asked, meta={**asked.meta, REQUEST: extra}) if extra else asked


def as_asked(stage: Stage, question: Question, draft: str | None) -> Question:
    """A question as it is sent to the stage's model."""
    asked = stage.prompt.render(question) if stage.prompt else question
    return asked if draft is None else with_draft(asked, draft)


def skip(stage: Stage, question: Question) -> Step | None:
    """The step of a stage that its pre-policy skips; None where the stage is asked."""
    if stage.pre_policy is None or stage.pre_policy.decide(question) is Decision.KEEP:
        return None
    reason = f"pre-policy {type(stage.pre_policy).__name__}: not worth asking this stage"
    return Step(stage=stage.name, skipped=reason)


def attempt(
    stage: Stage,
    question: Question,
    draft: str | None,
    sink: TextSink | None,
    *,
    last: bool,
    on_keep: OnKeep | None = None,
    on_cut: OnStep | None = None,
    partial: PartialCompletion | None = None,
    clock: Callable[[], float],
) -> Coroutine[Any, Any, Step]:
    """Asks the stage's model, measures the confidence and decides; a backend failure becomes a step with an error.

    Args:
        draft: An earlier stage's text, shown to this stage.
        sink: Receives the text of an answer that is kept while it is written.
        last: The last stage only answers.
        on_keep: See `Cascade.ask`.
        on_cut: Receives a step with the usage so far if this is cancelled or a plug raises.
        partial: Collects the streamed text; given, the answer is streamed although no sink waits for it.
    """
    began = clock()
    asked = as_asked(stage, question, draft)
    return Attempt(stage, question, asked, partial, clock, began, CallLog()).run(sink, last, on_keep, on_cut)


class Attempt(Struct):
    """One attempt under way, with its usage so far.

    Args:
        asked: The question as it is sent to this stage's model.
        log: The calls of the signal, and the known part of an answer that was cut off.
        completion: The complete answer, once it has come.
    """

    stage: Stage
    question: Question
    asked: Question
    partial: PartialCompletion | None
    clock: Callable[[], float]
    began: float
    log: CallLog
    completion: Completion | None = None

    async def run(self, sink: TextSink | None, last: bool, on_keep: OnKeep | None, on_cut: OnStep | None) -> Step:
        """Asks, measures, decides and returns the step."""
        stage, early = self.stage, self.stage.confidence_first and not last
        sink = sink if last or early else None
        confidence = decision = None
        with self.log:
            try:
                # in this order: the check is slow
                if (early or self.partial or sink) and isinstance(stage.backend, Streamer):
                    read = await self._stream(stage.backend, sink, early=early, on_keep=on_keep)
                    completion, confidence, decision = read.completion, read.confidence, read.decision
                else:
                    completion = await stage.backend.complete(self.asked, stage.sampling)
                self.completion = completion
                return await self._judge(completion, confidence, decision, last=last)
            except BaseException as error:
                if isinstance(error, BackendError) and self.completion is None:
                    return self._failed(error)
                if on_cut is not None:
                    on_cut(self._cut_off() if was_cut(error) else self._broken(error))
                raise

    async def _judge(
        self, completion: Completion, confidence: Confidence | None, decision: Decision | None, *, last: bool
    ) -> Step:
        """The step of an answer, with its confidence and decision where the stream has not given them."""
        stage, question = self.stage, self.question
        choices, read, answer = len(question.choices) or None, stage.mode is Mode.ANSWER, None
        if read and completion.finish_reason != CUT:
            answer = read_answer(completion.text, choices=choices, cut=completion.cut_by_limit)
        if not last and confidence is None and stage.signal and stage.policy:
            if not read and completion.cut_by_limit:
                confidence = Confidence(value=None, signal=type(stage.signal).__name__, reason=CUT_DRAFT)
            else:
                confidence = await self._measure(stage.signal, completion)
            if read and answer is None and is_refusal(completion.text, choices=choices):  # a confidence in no answer
                confidence = replace(confidence, value=None, score=None, reason=DECLINED)
            decision = stage.policy.decide(question, confidence)
        return Step(
            stage=stage.name,
            completion=completion if stage.keep_logprobs else used_logprobs(completion, stage.signal, confidence),
            answer=answer,
            confidence=confidence,
            decision=decision or Decision.KEEP,
            cost_usd=self._cost(completion),
            seconds=self.clock() - self.began,
            threshold=None if confidence is None else threshold_of(stage.policy, question),
        )

    def _cut_off(self) -> Step:
        """The step of a cancelled attempt: the calls that had ended, and an estimate of the one under way."""
        return self._ended(self.completion or self._begun(), "cut off", "cut off", CUT_OFF)

    def _broken(self, error: BaseException) -> Step:
        """The step of an error in a setting or plug, with the usage before it.

        The call that raised it has used nothing, unless its backend says so or part of its text had come.
        """
        begun = self.log.interrupted is not None or (self.partial is not None and self.partial.pieces)
        spent = self.completion or (self._begun() if begun else None)
        return self._ended(spent, "an error came between", f"{type(error).__name__}: {error}", type(error).__name__)

    def _begun(self) -> Completion:
        return interrupted(self.partial or self._nothing_yet(), self.log)

    def _nothing_yet(self) -> PartialCompletion:
        return PartialCompletion(self.stage.backend.model, self.asked, self.stage.sampling.extra)

    def _failed(self, error: BackendError) -> Step:
        spent = error.spent if isinstance(error.spent, Completion) else None
        step = self._ended(spent, "the answer broke off", str(error), type(error).__name__, error.status)
        return replace(step, error_body=error.body, retry_after_seconds=error.retry_after_seconds)

    def _ended(self, spent: Completion | None, reason: str, error: str, kind: str, status: int | None = None) -> Step:
        """A step without an answer.

        Args:
            reason: The reason why its signal's calls gave no confidence.
        """
        return Step(
            stage=self.stage.name,
            completion=spent,
            confidence=self._unmeasured(reason),
            cost_usd=self._cost(spent),
            seconds=self.clock() - self.began,
            error=error,
            error_kind=kind,
            error_status=status,
        )

    def _unmeasured(self, reason: str) -> Confidence | None:
        """The calls of a signal that did not finish."""
        if not self.log.calls:
            return None
        calls = tuple(call for _, call in self.log.calls)
        return Confidence(value=None, signal=type(self.stage.signal).__name__, reason=reason, calls=calls)

    async def _stream(
        self, backend: Streamer, sink: TextSink | None, *, early: bool, on_keep: OnKeep | None
    ) -> StreamResult:
        """The stage's answer, streamed to the sink or judged before it is complete."""
        stage = self.stage

        async def judge(so_far: Completion) -> tuple[Confidence, Decision]:
            assert stage.signal is not None and stage.policy is not None  # noqa: PT018  # the cascade has checked it
            confidence = await self._measure(stage.signal, so_far)
            return confidence, stage.policy.decide(self.question, confidence)

        self.partial = self.partial or self._nothing_yet()
        return await read_stream(
            backend,
            self.partial,
            stage.sampling,
            self.log,
            judge=judge if early else None,
            sink=sink,
            on_keep=(lambda confidence: on_keep(stage.name, confidence)) if on_keep else None,
        )

    async def _measure(self, signal: Signal, completion: Completion) -> Confidence:
        before = len(self.log.calls)
        try:
            found = checked(signal, await measuring(signal, as_measured(self.stage, self.asked), completion))
        except BackendError as error:  # the signal's own call failed, which does not concern the answer
            calls = (error.spent,) if isinstance(error.spent, Completion) else ()
            found = Confidence(value=None, signal=type(signal).__name__, reason=str(error), calls=calls)
        logged = self.log.calls[before:]
        if not (logged or found.calls):
            return found
        unlogged, unnamed = _without(found.calls, [call for _, call in logged])
        only = next((each.backend for each in signal_calls(signal)), None)
        self.log.calls += [(only, call) for call in unlogged]
        return replace(found, calls=(*found.calls, *unnamed)) if unnamed else found

    def _cost(self, completion: Completion | None) -> Decimal | None:
        own = ZERO_USD if completion is None else _completion_cost(completion, self.stage.price)
        if not self.log.calls:
            return own
        return total([own, *(_completion_cost(call, self.stage.price_of(asked)) for asked, call in self.log.calls)])


def _without(named: tuple[Completion, ...], logged: list[Completion]) -> tuple[list[Completion], list[Completion]]:
    """The calls that a signal reports but did not log, and those that it logged but does not report."""
    unnamed, unlogged = list(logged), list[Completion]()
    for call in named:
        same = next((i for i, other in enumerate(unnamed) if other is call or _key(other) == _key(call)), None)
        if same is None:
            unlogged.append(call)
        else:
            del unnamed[same]
    return unlogged, unnamed


def _key(call: Completion) -> tuple[object, ...]:
    return call.model, call.text, call.usage, call.seconds


def _completion_cost(completion: Completion, price: Price | None) -> Decimal | None:
    """The charge reported by the server, else the cost by the price; billed failed attempts are added."""
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
    """The exact sum; None where one of the costs is unknown."""
    if len(costs) == 1:
        return costs[0]
    known = [cost for cost in costs if cost is not None]
    return reduce(EXACT.add, known, ZERO_USD) if len(known) == len(costs) else None


def all_priced(stages: Sequence[Stage], steps: Sequence[Step]) -> bool:
    """False where a server ran tools whose price is not known, so that a cost has the tokens alone."""
    for step in steps:
        made = step.completion
        if made is not None and made.cost_usd is None and (made.usage.web_searches or made.usage.tool_calls):
            price = next((stage.price for stage in stages if stage.name == step.stage), None)
            searches = made.usage.web_searches if price and price.usd_per_web_search is None else 0
            calls = made.usage.tool_calls if price and price.usd_per_tool_call is None else 0
            if searches or calls:
                return False
    return True


def with_signal_price(stage: Stage, stages: tuple[Stage, ...]) -> Stage:
    """The stage with the price of its signal's model, where that is another stage's model."""
    calls = signal_calls(stage.signal) if stage.signal_price is None and stage.signal is not None else ()
    for call in calls:
        if stage.price_of(call.backend) is None:
            same = [other for other in stages if other.backend is call.backend]
            same += [other for other in stages if other.backend.model == call.backend.model]
            if same and same[0].price is not None:
                return dataclasses.replace(stage, signal_price=same[0].price)
    return stage
