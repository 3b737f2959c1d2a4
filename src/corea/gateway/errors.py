"""Errors as OpenAI's clients know them: a status, and {"error": {message, type, param, code}}."""

import logging
import re
from dataclasses import dataclass
from math import ceil
from typing import Any

from corea.errors import BackendRefused, BackendTimeout
from corea.types import Trace

log: logging.Logger = logging.getLogger("corea.gateway")

CLIENTS_FAULT = (400, 404, 413, 415, 422)
OVERLOADED = (409, 425, 503, 529)
UNREACHED = (BackendRefused.__name__, "BreakerOpen")
REFUSED = "The model behind this server refused the request."
LINK = re.compile(r"https?://[^\s'\")]+")


@dataclass(eq=False)
class GatewayError(Exception):
    """An error response.

    Args:
        kind: The `type` field: invalid_request_error, authentication_error, rate_limit_error, api_error ...
        param: The request field at fault, if any.
        headers: Further response headers, such as Retry-After.
    """

    status: int
    message: str
    kind: str = "invalid_request_error"
    code: str | None = None
    param: str | None = None
    headers: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return self.message

    def body(self) -> dict[str, Any]:
        """The response body."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}


def bad_field(param: str, got: object, expected: str) -> GatewayError:
    """A 400 for one field of the request."""
    shown = repr(got)
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    return GatewayError(400, f"{param}: got {shown}, expected {expected}.", param=param, code="invalid_value")


def unsupported(param: str, why: str) -> GatewayError:
    """A 400 for a field that this server cannot honour, rather than ignoring it."""
    return GatewayError(400, f"{param} is not supported here: {why}.", param=param, code="unsupported_parameter")


def upstream_error(trace: Trace) -> GatewayError:
    """The error response if no stage could answer: of the last failure, by its kind.

    Of a request that the model's server refused, its own code and message are kept, since clients act on them. Any
    other message is ours: the operator's addresses and settings are in the log alone.
    """
    step = next((s for s in reversed(trace.steps) if s.error is not None), None)
    if step is None:
        return GatewayError(502, "No model behind this server could answer.", "api_error", "upstream_error")
    status, retry = step.error_status, _retry_after(step.retry_after_seconds)
    if status in CLIENTS_FAULT:
        return _refusal(status, step.error_body)
    if status == 429:
        message = "The model behind this server is over its rate limit; try again later."
        return GatewayError(429, message, "rate_limit_error", "upstream_rate_limited", headers=retry)
    if step.error_kind == BackendTimeout.__name__:
        message = "The model behind this server did not answer in time."
        return GatewayError(504, message, "api_error", "upstream_timeout")
    if status in OVERLOADED or (step.error_kind in UNREACHED and status is None):
        message = "The model behind this server cannot be reached or is overloaded; try again later."
        return GatewayError(503, message, "api_error", "upstream_unavailable", headers=retry)
    message = "The model behind this server failed, or its answer broke off."
    return GatewayError(502, message, "api_error", "upstream_error")


def unexpected(cause: Exception) -> GatewayError:
    """The error response to an exception that nothing expected, which is logged; call it where that is handled."""
    if isinstance(cause, RecursionError):  # what could be read cannot always be written, some calls further down
        return GatewayError(400, "The request, or the answer to it, is nested too deeply.", code="invalid_json")
    log.exception("an error inside the gateway")
    return GatewayError(500, "An error inside the gateway.", "api_error", "internal_error")


def _refusal(status: int, body: Any) -> GatewayError:
    """The error response to a request that the model's server refused."""
    told: dict[str, Any] = body if isinstance(body, dict) else {}  # pyright: ignore[reportUnknownVariableType]
    code, param, message = (told.get(name) for name in ("code", "param", "message"))
    shown = LINK.sub("...", message) if isinstance(message, str) and message.strip() else REFUSED
    return GatewayError(
        status,
        shown[:1000],
        code=code if isinstance(code, str) and code else "upstream_refused",
        param=param if isinstance(param, str) else None,
    )


def _retry_after(seconds: float | None) -> tuple[tuple[str, str], ...]:
    return (("retry-after", str(max(1, ceil(min(seconds, 86_400))) if seconds is not None else 1)),)
