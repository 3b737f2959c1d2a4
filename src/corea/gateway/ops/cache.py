"""The exact response cache: an equal request of the same key gets the same answer again, at no cost."""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from corea.cascade import Cascade
from corea.gateway.chat.request import ChatRequest
from corea.gateway.chat.routing import RequestPlan
from corea.stage import Stage
from corea.types import Completion, Sampling, Status, Step, Trace, Usage, replace

_encode = msgspec.json.Encoder(decimal_format="string", order="sorted").encode
COMPLETE = ("stop", "tool_calls")
_size = msgspec.json.Encoder(decimal_format="string", enc_hook=str).encode


class _Entry(NamedTuple):
    expires: float
    trace: Trace
    size: int


@dataclass(slots=True)
class AnswerCache:
    """The answers used last, at most `capacity` and `max_bytes` of JSON, each for `seconds`.

    Only reproducible answers are kept: every stage samples at temperature 0, and the answer is whole and of the stage
    that decided (no fallback). Keys never share answers, since response times would reveal another customer's requests.
    """

    capacity: int
    seconds: float
    max_bytes: int = 64_000_000
    clock: Callable[[], float] = time.monotonic
    entries: OrderedDict[bytes, _Entry] = field(default_factory=OrderedDict[bytes, _Entry])
    size: int = 0
    under_way: dict[bytes, "asyncio.Future[None]"] = field(default_factory=dict[bytes, "asyncio.Future[None]"])

    def key(self, request: ChatRequest, plan: RequestPlan, key_id: str | None) -> bytes | None:
        """Digest of all that determines the answer; None where it is not reproducible."""
        cascade = plan.cascade
        if plan.question.native is not None or any(stage.sampling.temperature != 0 for stage in cascade.stages):
            return None
        determines = (
            key_id,
            plan.route,
            plan.raw,
            [_identity(getattr(cascade, f.name)) for f in fields(cascade) if f.name not in ("stages", "baseline")],
            [_stage_identity(stage) for stage in cascade.stages],
            [(message.role, message.content, message.raw) for message in request.messages],
        )
        return hashlib.sha256(_encode(determines)).digest()

    @asynccontextmanager
    async def turn(self, key: bytes) -> AsyncIterator[None]:
        """Waits while an equal request is under way, whose answer this one may then take."""
        if (other := self.under_way.get(key)) is not None:
            await asyncio.wait([other])
            yield
            return
        ended = self.under_way[key] = asyncio.get_running_loop().create_future()
        try:
            yield
        finally:
            del self.under_way[key]
            ended.set_result(None)

    def get(self, key: bytes) -> Trace | None:
        """The answer, with all costs zero."""
        found = self.entries.get(key)
        if found is None:
            return None
        if self.clock() > found.expires:
            self._remove(key)
            return None
        self.entries.move_to_end(key)
        return found.trace

    def put(self, key: bytes, trace: Trace) -> None:
        """Keeps an answer, if it is reproducible."""
        if not _is_whole(trace):
            return
        trace = _at_no_cost(trace)
        self._remove(key)
        self.entries[key] = _Entry(self.clock() + self.seconds, trace, len(_size(trace)))
        self.size += self.entries[key].size
        while self.size > self.max_bytes or len(self.entries) > self.capacity:
            self._remove(next(iter(self.entries)))

    def _remove(self, key: bytes) -> None:
        if (entry := self.entries.pop(key, None)) is not None:
            self.size -= entry.size


def useless_cache_lines(cascades: Mapping[str, Cascade]) -> list[str]:
    """A line for each cascade whose answers are not, or seldom, reproducible.

    Args:
        cascades: As a request that sets nothing asks them.
    """
    lines: list[str] = []
    for name, cascade in cascades.items():
        random = [stage.name for stage in cascade.stages if stage.sampling.temperature != 0]
        if not random:
            continue
        rule = "can never hit" if random != [cascade.stages[-1].name] else "hits only requests with temperature = 0"
        lines.append(
            f"gateway.cache: {rule} at {name}, since {', '.join(random)} may answer differently each time; "
            "set temperature = 0 in [stages.NAME.sampling]"
        )
    return lines


def _stage_identity(stage: Stage) -> list[Any]:
    return [_identity(getattr(stage, f.name)) for f in fields(stage)]


def _identity(value: Any) -> Any:
    """A value as it is, if it consists of plain ones; any other object is itself alone, while it exists.

    A request changes the plain ones (sampling, a policy's threshold), and leaves parts out; the other objects belong to
    the configuration, and live as long as this cache.
    """
    if isinstance(value, str | int | float | Decimal | None):
        return value
    if isinstance(value, tuple | list):
        return [_identity(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, Sampling):
        return msgspec.to_builtins(value, enc_hook=id)
    if is_dataclass(value) and not isinstance(value, type) and hasattr(value, "tau"):
        return [type(value).__qualname__, *(_identity(getattr(value, f.name)) for f in fields(value))]
    return id(value)


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
        completion=_completion_at_no_cost(step.completion) if step.completion else None,
        confidence=replace(step.confidence, calls=()) if step.confidence else None,
    )


def _completion_at_no_cost(completion: Completion) -> Completion:
    outside = {name: value for name, value in (completion.outside or {}).items() if name != "usage"}
    return replace(completion, usage=Usage(), wasted=None, cost_usd=None, outside=outside or None)
