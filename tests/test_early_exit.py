"""A decision made while the small model still writes: what is shown, what is cut off, what is counted."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pytest

from corea.cascade import Cascade, OnLastDown, Stage
from corea.early_exit import CUT
from corea.errors import BackendError, ConfigError
from corea.policies.threshold import Threshold
from corea.prices import Price
from corea.signals.verbalized import Verbalized
from corea.types import Completion, Confidence, Decision, Question, Sampling, Status, Trace, Usage

CHEAP = Price(input_usd_per_mtok=Decimal(1), output_usd_per_mtok=Decimal(2))
DEAR = Price(input_usd_per_mtok=Decimal(10), output_usd_per_mtok=Decimal(20))
ASKED = Question.of("12 + 7?")
SURE = ["<conf", "idence>0.9</confi", "dence>", "<think>easy</think>", "<answer>", "19", "</answer>"]
UNSURE = ["<confidence>", "0.2", "</confidence>", "<think>hard</think>", "<answer>18</answer>"]
LATE = ["<answer>19</answer>", "<confidence>0.2</confidence>"]


@dataclass
class Pieces:
    """Streams the pieces, and remembers how many were taken and whether it was closed early."""

    pieces: list[str]
    model: str = "pieces"
    breaks_after: int | None = None
    taken: int = 0
    closed_early: bool = False
    asked: list[Question] = field(default_factory=list)

    async def complete(self, question: Question, sampling: Sampling) -> Completion:
        self.asked.append(question)
        if self.breaks_after is not None:
            raise BackendError("it broke")
        return self._whole()

    async def stream(self, question: Question, sampling: Sampling) -> AsyncIterator[str | Completion]:
        self.asked.append(question)
        try:
            for piece in self.pieces:
                if self.taken == self.breaks_after:
                    raise BackendError("it broke", spent=self._whole())
                self.taken += 1
                yield piece
        except GeneratorExit:
            self.closed_early = True
            raise
        yield self._whole()

    def _whole(self) -> Completion:
        usage = Usage(prompt_tokens=100, completion_tokens=10)
        return Completion(text="".join(self.pieces), model=self.model, usage=usage, finish_reason="stop")


def pair(small: Pieces, large: Pieces | None = None, **changes: Any) -> Cascade:
    first = Stage(
        name="small", backend=small, signal=Verbalized(), policy=Threshold(0.8), price=CHEAP, confidence_first=True
    )
    last = Stage(name="large", backend=large or Pieces(["It is ", "<answer>20</answer>"], "large"), price=DEAR)
    return Cascade(stages=(first, last), **changes)


async def heard(cascade: Cascade) -> tuple[Trace, list[str]]:
    """The trace, and all that was told, in order."""
    told: list[str] = []

    async def listen(text: str) -> None:
        told.append(text)

    trace = await cascade.ask(
        ASKED,
        on_text=listen,
        on_step=lambda step: told.append(f"step {step.stage} {step.decision}"),
        on_keep=lambda stage, confidence: told.append(f"keep {stage} {confidence.value}"),
    )
    return trace, told


async def test_a_kept_answer_is_given_on_as_it_is_written_from_its_confidence_on() -> None:
    trace, told = await heard(pair(Pieces(SURE)))
    assert told == [
        "keep small 0.9",
        "<confidence>0.9</confidence>",
        *SURE[3:],
        "step small keep",
    ]
    assert (trace.answer, trace.stage, trace.status) == ("19", "small", Status.ANSWERED)
    assert trace.steps[0].completion is not None
    assert trace.steps[0].completion.usage == Usage(prompt_tokens=100, completion_tokens=10)  # it was read to the end


async def test_a_deferred_draft_is_cut_off_at_its_confidence_and_nothing_of_it_is_given() -> None:
    small = Pieces(UNSURE)
    trace, told = await heard(pair(small))
    assert told == ["step small defer", "It is ", "<answer>20</answer>", "step large keep"]
    assert (small.taken, small.closed_early) == (3, True)
    assert (trace.answer, trace.stage) == ("20", "large")


async def test_what_a_cut_off_draft_cost_is_estimated_from_its_pieces_and_counted() -> None:
    trace, _ = await heard(pair(Pieces(UNSURE)))
    step = trace.steps[0]
    assert step.completion is not None
    # 7 bytes of question are 2 tokens, 4 more are a message's own; three pieces came
    assert step.completion.usage == Usage(prompt_tokens=6, completion_tokens=3, estimated=True)
    assert step.cost_usd == CHEAP.cost(Usage(prompt_tokens=6, completion_tokens=3))
    assert (step.completion.finish_reason, step.answer) == (CUT, None)
    assert trace.cost_usd == (step.cost_usd or 0) + DEAR.cost(Usage(prompt_tokens=100, completion_tokens=10))


async def test_a_deferral_is_early_too_where_nobody_waits_for_the_text() -> None:
    small = Pieces(UNSURE)
    trace = await pair(small).ask(ASKED)
    assert (small.taken, trace.stage) == (3, "large")


async def test_a_confidence_stated_last_is_judged_with_the_whole_answer() -> None:
    small = Pieces(LATE)
    trace, told = await heard(pair(small))
    assert told[0] == "step small defer"
    assert (small.taken, small.closed_early) == (2, False)
    assert trace.steps[0].completion is not None
    assert not trace.steps[0].completion.usage.estimated


async def test_a_signal_that_needs_the_whole_completion_waits_for_it() -> None:
    class NeedsLogprobs:
        async def measure(self, question: Question, completion: Completion) -> Confidence:
            whole = completion.finish_reason == "stop"
            return Confidence(value=0.9 if whole else None, signal="logprob")

    cascade = pair(Pieces(UNSURE))
    cascade = replace(cascade, stages=(replace(cascade.stages[0], signal=NeedsLogprobs()), cascade.stages[1]))
    trace, told = await heard(cascade)
    assert told == ["step small keep", "".join(UNSURE)]
    assert trace.stage == "small"


async def test_a_kept_answer_that_breaks_off_is_not_continued_by_another_model() -> None:
    trace, told = await heard(pair(Pieces(SURE, breaks_after=5)))
    assert trace.status is Status.FAILED
    assert told == ["keep small 0.9", "<confidence>0.9</confidence>", *SURE[3:5], "step small None"]


async def test_a_kept_answer_that_breaks_off_before_anybody_saw_it_is_asked_of_the_next_stage() -> None:
    trace = await pair(Pieces(SURE, breaks_after=5)).ask(ASKED)
    assert (trace.status, trace.stage) == (Status.ANSWERED, "large")


async def test_a_cut_off_draft_is_no_fallback() -> None:
    large = Pieces(["never"], "large", breaks_after=0)
    trace = await pair(Pieces(UNSURE), large, on_last_down=OnLastDown.BEST).ask(ASKED)
    assert (trace.status, trace.text) == (Status.FAILED, None)
    assert trace.steps[0].decision is Decision.DEFER


def test_a_draft_that_is_cut_off_cannot_be_handed_over() -> None:
    cascade = pair(Pieces(SURE))
    with pytest.raises(ConfigError, match="confidence_first and pass_draft"):
        replace(cascade, stages=(replace(cascade.stages[0], pass_draft=True), cascade.stages[1]))
