"""The exact response cache: an equal request of the same key gets the same answer again, at no cost."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

import msgspec

from corea.gateway.chat.request import ChatRequest
from corea.gateway.chat.routing import RequestPlan
from corea.types import Status, Step, Trace, Usage, replace

_encode = msgspec.json.Encoder(decimal_format="string", order="sorted").encode
COMPLETE = ("stop", "tool_calls")


@dataclass(slots=True)
class AnswerCache:
    """The `capacity` answers used last, each for `seconds`.

    Only reproducible answers are kept: every stage samples at temperature 0, and the answer is whole and of the stage
    that decided (no fallback). Keys never share answers, since response times would reveal another customer's requests.
    """

    capacity: int
    seconds: float
    clock: Callable[[], float] = time.monotonic
    entries: OrderedDict[bytes, tuple[float, Trace]] = field(default_factory=OrderedDict[bytes, tuple[float, Trace]])

    def key(self, request: ChatRequest, plan: RequestPlan, key_id: str | None) -> bytes | None:
        """Digest of all that determines the answer; None where it is not reproducible."""
        stages = plan.cascade.stages
        if any(stage.sampling.temperature != 0 for stage in stages):
            return None
        determines = (
            key_id,
            plan.route,
            plan.raw,
            plan.threshold,
            [(stage.name, stage.sampling) for stage in stages],
            [(message.role, message.content, message.raw) for message in request.messages],
        )
        return hashlib.sha256(_encode(determines)).digest()

    def get(self, key: bytes) -> Trace | None:
        """The answer, with all costs zero."""
        expires, trace = self.entries.get(key, (0.0, None))
        if trace is None or self.clock() > expires:
            self.entries.pop(key, None)
            return None
        self.entries.move_to_end(key)
        return trace

    def put(self, key: bytes, trace: Trace) -> None:
        """Keeps an answer, if it is reproducible."""
        if not _is_whole(trace):
            return
        self.entries[key] = (self.clock() + self.seconds, _at_no_cost(trace))
        self.entries.move_to_end(key)
        while len(self.entries) > self.capacity:
            self.entries.popitem(last=False)


def _is_whole(trace: Trace) -> bool:
    if trace.status is not Status.ANSWERED or any(step.error is not None for step in trace.steps):
        return False
    return any(s.stage == trace.stage and s.completion and s.completion.finish_reason in COMPLETE for s in trace.steps)


def _at_no_cost(trace: Trace) -> Trace:
    steps = tuple([_step_at_no_cost(step) for step in trace.steps])
    return replace(trace, steps=steps, cost_usd=Decimal(0), flags=(*trace.flags, "cached"))


def _step_at_no_cost(step: Step) -> Step:
    return replace(
        step,
        cost_usd=Decimal(0),
        completion=replace(step.completion, usage=Usage(), wasted=None, cost_usd=None) if step.completion else None,
        confidence=replace(step.confidence, calls=()) if step.confidence else None,
    )
