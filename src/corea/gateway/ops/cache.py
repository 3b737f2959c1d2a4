"""The exact response cache: the same request by the same key gets the same answer again, for nothing."""

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
    """The newest `capacity` answers, each for so many seconds.

    Only answers that would come out the same again are kept: every stage writes at temperature 0, and the answer is
    whole and of the stage that decided (no fallback). Keys never share answers, since the time that an answer takes
    would tell one customer what another has asked.
    """

    capacity: int
    seconds: float
    clock: Callable[[], float] = time.monotonic
    held: OrderedDict[bytes, tuple[float, Trace]] = field(default_factory=OrderedDict[bytes, tuple[float, Trace]])

    def key(self, request: ChatRequest, plan: RequestPlan, key_id: str | None) -> bytes | None:
        """What stands for all that decides the answer; None where the answer is left to chance."""
        stages = plan.cascade.stages
        if any(stage.sampling.temperature != 0 for stage in stages):
            return None
        decides = (
            key_id,
            plan.route,
            plan.raw,
            plan.threshold,
            [(stage.name, stage.sampling) for stage in stages],
            [(message.role, message.content, message.raw) for message in request.messages],
        )
        return hashlib.sha256(_encode(decides)).digest()

    def get(self, key: bytes) -> Trace | None:
        """The answer, as one that cost nothing."""
        found = self.held.get(key)
        if found is None:
            return None
        if self.clock() > found[0]:
            del self.held[key]
            return None
        self.held.move_to_end(key)
        return found[1]

    def put(self, key: bytes, trace: Trace) -> None:
        """Keeps an answer, if it may be given again."""
        if not _is_whole(trace):
            return
        self.held[key] = (self.clock() + self.seconds, _for_nothing(trace))
        self.held.move_to_end(key)
        while len(self.held) > self.capacity:
            self.held.popitem(last=False)


def _is_whole(trace: Trace) -> bool:
    if trace.status is not Status.ANSWERED or any(step.error is not None for step in trace.steps):
        return False
    return any(s.stage == trace.stage and s.completion and s.completion.finish_reason in COMPLETE for s in trace.steps)


def _for_nothing(trace: Trace) -> Trace:
    steps = tuple(_step(step) for step in trace.steps)
    return replace(trace, steps=steps, cost_usd=Decimal(0), flags=(*trace.flags, "cached"))


def _step(step: Step) -> Step:
    return replace(
        step,
        cost_usd=Decimal(0),
        completion=replace(step.completion, usage=Usage(), wasted=None, cost_usd=None) if step.completion else None,
        confidence=replace(step.confidence, calls=()) if step.confidence else None,
    )
