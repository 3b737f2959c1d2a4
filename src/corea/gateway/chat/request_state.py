"""What is known of a request while it runs, and what is told of it when it has ended."""

import time
from collections.abc import Callable

import msgspec

from corea.gateway.billing.auth import Admission
from corea.gateway.chat.request import ChatRequest
from corea.gateway.chat.routing import RequestPlan
from corea.gateway.errors import GatewayError
from corea.stage import CUT_OFF, total
from corea.types import Confidence, Status, Step, Trace, Usage, replace


class RequestState(msgspec.Struct):  # made in a tenth of a dataclass's time
    """A request under way: enough to count it when it is cut off.

    Args:
        kept: The stage and confidence of an answer that is given while it is still being written.
    """

    request: ChatRequest
    plan: RequestPlan
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
        """The trace of a request that ended before its cascade did; the call under way is a step like the others."""
        steps = [replace(step, error=reason) if step.error_kind == CUT_OFF else step for step in self.steps]
        return Trace(
            question_id=self.plan.question.id,
            steps=tuple(steps),
            status=Status.FAILED,
            error=reason,
            cost_usd=total([step.cost_usd for step in steps]),
            flags=(*self.plan.cascade.flags, "cut off"),
            seconds=time.perf_counter() - self.began,
            trace_id=self.plan.question.id,
        )


class CompletedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request that has ended, as the recorder and the metrics see it.

    Args:
        fault: What the client was, or would have been, told where it was not answered.
        usage: Of all stages, with billed retries and the signals' calls.
    """

    request: ChatRequest
    plan: RequestPlan
    trace: Trace
    admission: Admission
    seconds: float
    first_text_seconds: float | None
    client_disconnected: bool = False
    fault: GatewayError | None = None
    cached: bool = False
    usage: Usage


Recorder = Callable[[CompletedRequest], None]
