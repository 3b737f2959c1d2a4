"""Decisions on their way into the database: a bounded queue that never makes a request wait."""

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from traceback import extract_tb
from typing import Any, cast

import msgspec

from corea.errors import ConfigError
from corea.gateway.chat.reply import first_confidence
from corea.gateway.chat.request_state import CompletedRequest
from corea.gateway.ops.settings import GatewaySettings
from corea.registry import resolve
from corea.types import Trace

log: logging.Logger = logging.getLogger("corea.gateway")
_encode = msgspec.json.Encoder(decimal_format="string").encode
Row = tuple[Any, ...]
Redact = Callable[[str], str]

CAPACITY = 20_000
TEXT_CAPACITY = 64_000_000  # characters of all texts that wait
LONGEST_TEXT = 200_000
LOG_SECONDS = 10.0


@dataclass(slots=True)
class QueuedDecision:
    """A decision that is not written yet: its row without texts, and the texts before redaction."""

    row: Row
    prompt: str | None
    answer: str | None


class DecisionLog:
    """Takes what has ended, drops what does not fit, and makes rows for the `DbWriter`.

    Args:
        clock: Seconds since 1970.

    Attributes:
        rows: What waits; the writer takes from its left.
        dropped: Decisions that did not fit. Never money, which is not in this queue.
    """

    def __init__(
        self, settings: GatewaySettings, *, capacity: int = CAPACITY, clock: Callable[[], float] = time.time
    ) -> None:
        self.rows: deque[QueuedDecision] = deque()
        self.dropped: int = 0
        self.capacity = capacity
        self.clock = clock
        self.store_text: bool = settings.store_text
        self.redact: Redact = find_redact(settings.redact)
        self._text_in = self._text_out = 0  # each written by one thread only
        self._logged_at = float("-inf")

    def use(self, settings: GatewaySettings) -> None:
        """Follows a configuration that was read anew."""
        redact = find_redact(settings.redact)
        self.store_text, self.redact = settings.store_text, redact

    def record(self, done: CompletedRequest) -> None:
        """Queues a decision."""
        prompt = answer = None
        if self.store_text:
            prompt = "\n\n".join(f"{m.role}: {m.content}" for m in done.request.messages)[:LONGEST_TEXT]
            answer = done.trace.text[:LONGEST_TEXT] if done.trace.text is not None else None
        length = len(prompt or "") + len(answer or "")
        if len(self.rows) >= self.capacity or (length and self._text_in - self._text_out + length > TEXT_CAPACITY):
            self._drop()
            return
        self._text_in += length
        self.rows.append(QueuedDecision(row_of(done, self.clock()), prompt, answer))

    def prepare(self, waiting: QueuedDecision) -> Row:
        """The whole row, texts redacted; called by the writer's thread."""
        self._text_out += len(waiting.prompt or "") + len(waiting.answer or "")
        if waiting.prompt is None and waiting.answer is None:
            return (*waiting.row, None, None)
        try:
            return (*waiting.row, self._redacted(waiting.prompt), self._redacted(waiting.answer))
        except Exception as error:  # the operator's own function, whose message may quote the text
            kind, line = type(error).__name__, error.__traceback__ and extract_tb(error.__traceback__)[-1]
            where = f"{line.filename}:{line.lineno}" if line else "?"
            log.error("gateway.redact failed (%s at %s); the texts of this decision are not stored", kind, where)
            return (*waiting.row, None, None)

    def _redacted(self, text: str | None) -> str | None:
        redacted = None if text is None else self.redact(text)
        if redacted is not None and not isinstance(redacted, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError("no text")
        return redacted

    def _drop(self) -> None:
        self.dropped += 1
        if self.clock() - self._logged_at >= LOG_SECONDS:
            self._logged_at = self.clock()
            log.warning("decisions come faster than they are written: %d dropped so far", self.dropped)


def row_of(done: CompletedRequest, at: float) -> Row:
    """The columns of `decisions` up to `steps`, in their order."""
    trace, usage = done.trace, done.usage
    return (
        trace.trace_id,
        at,
        done.admission.key_id,
        done.plan.route,
        done.request.model,
        trace.stage,
        trace.status.value,
        done.fault.code if done.fault is not None else None,
        int(trace.deferred),
        first_confidence(trace),
        done.plan.threshold,
        _text(trace.cost_usd),
        _text(trace.baseline_cost_usd),
        usage.prompt_tokens,
        usage.completion_tokens,
        done.seconds,
        done.first_text_seconds,
        int(done.request.stream),
        int(done.cached),
        int(done.client_disconnected),
        _encode(steps_of(trace)).decode(),
    )


def steps_of(trace: Trace) -> list[dict[str, Any]]:
    """What each stage did, without a word of what was asked or said (an error's message could quote some)."""
    return [
        {
            "stage": step.stage,
            "confidence": step.confidence.value if step.confidence is not None else None,
            "decision": step.decision,
            "prompt_tokens": step.completion.usage.prompt_tokens if step.completion is not None else 0,
            "completion_tokens": step.completion.usage.completion_tokens if step.completion is not None else 0,
            "retries": step.completion.retries if step.completion is not None else 0,
            "cost_usd": step.cost_usd,
            "seconds": step.seconds,
            "error": step.error_kind,
            "error_status": step.error_status,
            "skipped": step.skipped,
        }
        for step in trace.steps
    ]


def find_redact(name: str | None) -> Redact:
    """The function that `gateway.redact` names.

    Raises:
        ConfigError: It cannot be imported, or is no function.
    """
    if name is None:
        return str
    found = resolve("gateway.redact", name, {})
    if not callable(found):
        raise ConfigError(f"gateway.redact: {name!r} is no function; name one of str -> str")
    return cast(Redact, found)


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else str(amount)
