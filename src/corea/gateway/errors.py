"""Errors as OpenAI's clients know them: a status, and {"error": {message, type, param, code}}."""

from dataclasses import dataclass
from typing import Any

from corea.errors import BackendRefused, BackendTimeout
from corea.types import Trace


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
    """The error response if no stage could answer: of the last failure, by its kind."""
    message = trace.error or "No stage could answer."
    step = next((s for s in reversed(trace.steps) if s.error is not None), None)
    kind, status = (step.error_kind, step.error_status) if step else (None, None)
    retry = (("retry-after", "1"),)
    if kind == BackendTimeout.__name__:
        return GatewayError(504, message, "api_error", "upstream_timeout")
    if status == 429:
        return GatewayError(429, message, "rate_limit_error", "upstream_rate_limited", headers=retry)
    if kind == BackendRefused.__name__ and status not in (400, 401, 403, 404, 422):
        return GatewayError(503, message, "api_error", "upstream_unavailable", headers=retry)
    if status in (400, 404, 413, 422):
        return GatewayError(status, message, "invalid_request_error", "upstream_refused")
    return GatewayError(502, message, "api_error", "upstream_error")
