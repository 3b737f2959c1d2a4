"""What is known of a request while it runs, and what is told of it when it has ended."""

import time
from collections.abc import Callable
from decimal import Decimal

import msgspec

from corea.gateway.accounts import Admission
from corea.gateway.faults import Fault
from corea.gateway.plan import Plan
from corea.gateway.wire import ChatRequest
from corea.hedge import LOST
from corea.types import Completion, Confidence, Decision, Status, Step, Trace, Usage

CUT_OFF = "CutOff"  # the `error_kind` of the call under way when its request ended
CHARACTERS_PER_TOKEN = 4  # for what a cut-off call used, which no server will ever say


class Progress(msgspec.Struct):  # made in a tenth of a dataclass's time
    """A request under way: enough to count it when it is cut off.

    Args:
        kept: The stage and confidence of an answer that is given while it is still being written.
    """

    request: ChatRequest
    plan: Plan
    admission: Admission
    began: float = msgspec.field(default_factory=time.perf_counter)
    steps: list[Step] = []
    text: list[str] = []
    first_text: float | None = None
    ended: bool = False
    cached: bool = False
    kept: tuple[str, Confidence] | None = None

    def keep(self, stage: str, confidence: Confidence) -> None:
        """Notes who speaks before its step has ended."""
        self.kept = (stage, confidence)

    def add_text(self, text: str) -> None:
        """Notes a piece of the answer."""
        if self.first_text is None:
            self.first_text = time.perf_counter()
        self.text.append(text)

    def cut_off(self, reason: str) -> Trace:
        """The trace of a request that ended before its cascade did; the call under way is estimated from its text."""
        steps = [*self.steps, *self._call_under_way(reason)]
        costs = [step.cost_usd for step in steps]
        known = [cost for cost in costs if cost is not None]
        return Trace(
            question_id=self.plan.question.id,
            steps=tuple(steps),
            status=Status.FAILED,
            error=reason,
            cost_usd=sum(known, Decimal(0)) if len(known) == len(costs) else None,
            flags=(*self.plan.cascade.flags, "cut off"),
            seconds=time.perf_counter() - self.began,
            trace_id=self.plan.question.id,
        )

    def _call_under_way(self, reason: str) -> list[Step]:
        waiting = self.plan.cascade.stages[len(self.steps) :]
        last = self.steps[-1] if self.steps else None
        settled = last is not None and (
            last.error_kind == LOST or (last.decision is not None and last.decision is not Decision.DEFER)
        )
        if not waiting or settled:
            return []
        stage, written = waiting[0], "".join(self.text)
        asked = stage.prompt.render(self.plan.question) if stage.prompt else self.plan.question
        usage = Usage(
            prompt_tokens=sum(len(message.content) for message in asked.messages) // CHARACTERS_PER_TOKEN,
            completion_tokens=max(len(self.text), len(written) // CHARACTERS_PER_TOKEN),
            estimated=True,
        )
        partial = Completion(text=written, model=stage.backend.model, usage=usage)
        cost = stage.price.cost(usage) if stage.price else None
        return [Step(stage=stage.name, completion=partial, cost_usd=cost, error=reason, error_kind=CUT_OFF)]


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """A request that has ended, as the recorder and the metrics see it.

    Args:
        fault: What the client was, or would have been, told where it was not answered.
        usage: Of all stages, with billed retries and the signals' calls.
    """

    request: ChatRequest
    plan: Plan
    trace: Trace
    admission: Admission
    seconds: float
    first_text_seconds: float | None
    hung_up: bool = False
    fault: Fault | None = None
    cached: bool = False
    usage: Usage


Recorder = Callable[[Done], None]
