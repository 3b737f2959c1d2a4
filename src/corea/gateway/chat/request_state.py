"""A request while it runs, and its record when it is complete."""

import time
from collections.abc import Callable

import msgspec

from corea.gateway.billing.auth import Admission
from corea.gateway.chat.request import ChatRequest
from corea.gateway.chat.routing import RequestPlan
from corea.gateway.errors import GatewayError
from corea.stage import CUT_OFF, total
from corea.types import Confidence, Status, Step, Trace, Usage, replace

CLIENT_CLOSED_REQUEST = 499  # nginx's status for a client that did not wait; it is logged, not read


class RequestState(msgspec.Struct):  # made in a tenth of a dataclass's time
    """A request under way, with enough to book it when it is interrupted.

    Args:
        sticky_turns: Requests, this one included, for which its conversation stays deferred.
        kept: Stage and confidence of an answer that is passed on while it is still being written.
    """

    request: ChatRequest
    plan: RequestPlan
    admission: Admission
    began: float = msgspec.field(default_factory=time.perf_counter)
    steps: list[Step] = []
    first_text: float | None = None
    ended: bool = False
    cached: bool = False
    sticky_turns: int = 0
    kept: tuple[str, Confidence] | None = None

    def keep(self, stage: str, confidence: Confidence) -> None:
        """Notes the answering stage before its step has ended."""
        self.kept = (stage, confidence)

    def note_text(self) -> None:
        """Notes that text of the answer was passed on."""
        if self.first_text is None:
            self.first_text = time.perf_counter()

    def interrupted(self, reason: str) -> Trace:
        """The trace of a request that ended before its cascade did; the unfinished call is a step like the others."""
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
    """A request that has ended, for metrics and the decision log.

    Args:
        error: The error response, sent or not, of a request that was not answered.
        usage: Of all stages, with billed retries and the signals' calls.
    """

    state: RequestState
    trace: Trace
    error: GatewayError | None
    usage: Usage
    seconds: float

    @property
    def client_disconnected(self) -> bool:
        """True if the client did not wait for the answer."""
        return self.error is not None and self.error.status == CLIENT_CLOSED_REQUEST

    @property
    def first_text_seconds(self) -> float | None:
        """Time to the first streamed text."""
        first = self.state.first_text
        return None if first is None else first - self.state.began


Recorder = Callable[[CompletedRequest], None]
