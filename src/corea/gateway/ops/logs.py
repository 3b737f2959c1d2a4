"""The gateway's log: one line a record, as text or JSON, with the request's id and without prompts, answers or keys."""

import logging
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from traceback import extract_tb
from typing import Any, TextIO

import msgspec

from corea.backends.openai.errors import BreakerOpen
from corea.errors import BackendTimeout
from corea.gateway.chat.request_state import CompletedRequest
from corea.gateway.ops.settings import GatewayLogs
from corea.hedge import LOST
from corea.secrets import HIDDEN, PREFIXED
from corea.stage import CUT_OFF
from corea.types import Step

log: logging.Logger = logging.getLogger("corea.gateway")
REQUEST_ID: ContextVar[str] = ContextVar("corea_request_id", default="")
FIELDS, KIND = "corea_fields", "corea_kind"  # of a record: further fields; its kind, if repetitions are left out
ERROR_KINDS = (
    "timeout", "unreachable", "breaker_open", "rate_limited", "refused", "server_error", "bad_answer", "other",
)  # fmt: skip
_encode = msgspec.json.Encoder(enc_hook=str, order="deterministic").encode
LONGEST_LINE = 4000
OWN_KEY = re.compile(r"corea-[0-9a-f]{12}-[\w-]+", re.ASCII)


def error_kind(step: Step) -> str | None:
    """The kind of a step's failure, one of `ERROR_KINDS`; None for a step that did not fail by itself."""
    if step.error is None or step.error_kind in (CUT_OFF, LOST):
        return None
    status = step.error_status
    if step.error_kind == BreakerOpen.__name__:
        return "breaker_open"
    if step.error_kind == BackendTimeout.__name__:
        return "timeout"
    if status is None:
        return "unreachable" if step.error_kind in ("BackendRefused", "BackendError") else "other"
    if status == 429:
        return "rate_limited"
    if status < 400:
        return "bad_answer"
    return "refused" if status < 500 else "server_error"


def log_failures(completed: CompletedRequest, *, error_texts: bool) -> None:
    """Writes a line for each failed call of a request, and for a request that no stage answered.

    A message that came with an HTTP status quotes the server, which may quote the prompt; the others are our own.
    """
    for step in completed.trace.steps:
        if (kind := error_kind(step)) is None:
            continue
        status = f" (HTTP {step.error_status})" if step.error_status else ""
        own = step.error_status is None and kind != "other"
        text = f": {step.error}" if error_texts or own else f" at {_address(completed, step.stage)}"
        fields = {"stage": step.stage, "kind": kind, "cascade": completed.state.plan.route}
        extra = {KIND: ("call", step.stage, kind), FIELDS: fields}
        log.warning("stage %s failed, %s%s%s", step.stage, kind, status, text, extra=extra)
    error = completed.error
    if error is not None and not completed.client_disconnected:
        route = completed.state.plan.route
        extra = {KIND: ("request", route, error.code), FIELDS: {"cascade": route, "code": error.code}}
        log.error("cascade %s gave no answer: %d %s", route, error.status, error.code, extra=extra)


def _address(completed: CompletedRequest, name: str) -> str:
    """The server of a stage."""
    stage = next((s for s in completed.state.plan.cascade.stages if s.name == name), None)
    return str(getattr(getattr(stage and stage.backend, "settings", None), "where", "a model in this process"))


class RepeatFilter(logging.Filter):
    """Passes one record of each kind in `seconds`, and counts the others."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.seconds: float = seconds
        self.clock = clock
        self.windows: dict[tuple[str, ...], list[Any]] = {}  # kind: [its end, those left out, a record]

    def filter(self, record: logging.LogRecord) -> bool:
        """True for a record that is to be written."""
        kind = getattr(record, KIND, None)
        if kind is None and record.levelno <= logging.INFO and record.name.startswith("corea.backends"):
            args = record.args if isinstance(record.args, tuple) else ()
            kind = (record.msg, str(args[0]) if args else "")  # a retry at one server
        if kind is None:
            return True
        window, now = self.windows.get(kind), self.clock()
        if window is not None and now < window[0]:
            window[1] += 1
            return False
        if window is not None and window[1]:
            _add_fields(record, left_out=window[1])
        self.windows[kind] = [now + self.seconds, 0, record]
        return True

    def ended(self) -> Iterator[logging.LogRecord]:
        """A record for each kind of which some were left out, and none came since."""
        now = self.clock()
        for kind, (end, left_out, record) in list(self.windows.items()):
            if now >= end:
                del self.windows[kind]
                if left_out:
                    text = f"{left_out} more in {self.seconds:g} s: {record.getMessage()}"
                    again = logging.LogRecord(record.name, record.levelno, record.pathname, 0, text, (), None)
                    setattr(again, FIELDS, {**getattr(record, FIELDS, {}), "left_out": left_out})
                    yield again


class LineFormatter(logging.Formatter):
    """A record as one line.

    Args:
        as_json: JSON instead of text.
        error_texts: With the messages of exceptions, which may quote prompts.
    """

    def __init__(self, *, as_json: bool, error_texts: bool) -> None:
        super().__init__()
        self.as_json = as_json
        self.error_texts = error_texts

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        message = _without_keys(record.getMessage())[:LONGEST_LINE]
        fields: dict[str, Any] = {}
        if request := REQUEST_ID.get():
            fields["request_id"] = request
        fields |= getattr(record, FIELDS, {})
        if record.exc_info and record.exc_info[1] is not None:
            fields["exception"] = _without_keys(self._exception(record.exc_info[1]))[:LONGEST_LINE]
        if self.as_json:
            line = {"time": at, "level": record.levelname.lower(), "logger": record.name, "message": message, **fields}
            return _encode(line).decode()
        shown = "".join(f" {name}={_shown(value)}" for name, value in fields.items() if value is not None)
        return f"{at} {record.levelname} {_one_line(message)}{shown}"

    def _exception(self, error: BaseException) -> str:
        """Classes and places of an exception and its causes; a message could quote a prompt."""
        parts: list[str] = []
        while True:
            places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in extract_tb(error.__traceback__)[-6:]]
            text = f": {error}" if self.error_texts else ""
            parts.append(f"{type(error).__name__}{text} at {' > '.join(places) or '?'}")
            cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
            if cause is None or len(parts) == 4:
                return " from ".join(parts)
            error = cause


class LogHandler(logging.StreamHandler[TextIO]):
    """Writes records by an operator's settings, with which it can be made to go on."""

    def __init__(self, settings: GatewayLogs, stream: TextIO | None = None) -> None:
        super().__init__(stream or sys.stderr)
        self.repeats: RepeatFilter = RepeatFilter(settings.repeat_seconds)
        self.addFilter(self.repeats)
        self.use(settings)

    def use(self, settings: GatewayLogs) -> None:
        """Applies settings."""
        self.repeats.seconds = settings.repeat_seconds
        self.setFormatter(LineFormatter(as_json=settings.format == "json", error_texts=settings.error_texts))
        self.setLevel(settings.level.upper())

    def write_ended(self) -> None:
        """Writes the numbers of records that were left out."""
        for record in self.repeats.ended():
            if record.levelno >= self.level:
                super().emit(record)


def start_log(settings: GatewayLogs, stream: TextIO | None = None) -> LogHandler:
    """Makes this the log of the process; other libraries' records at "warning" and above are in it too."""
    handler = LogHandler(settings, stream)
    root, own = logging.getLogger(), logging.getLogger("corea")
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    own.setLevel(settings.level.upper())
    return handler


def log_access(method: str, path: str, status: int, seconds: float, client: str | None) -> None:
    """Writes the line of an HTTP request; without its query, which may hold a key."""
    fields = {"method": method, "path": path[:200], "status": status, "seconds": round(seconds, 6), "client": client}
    log.info("%s %s %d", method[:20], path[:200], status, extra={FIELDS: fields})


def _add_fields(record: logging.LogRecord, **fields: object) -> None:
    setattr(record, FIELDS, {**getattr(record, FIELDS, {}), **fields})


def _without_keys(text: str) -> str:
    return OWN_KEY.sub(HIDDEN, PREFIXED.sub(HIDDEN, text))


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _shown(value: object) -> str:
    text = _one_line(str(value))
    return f'"{text}"' if " " in text or not text else text
