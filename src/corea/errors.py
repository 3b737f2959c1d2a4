"""Every error that COREA raises on purpose.

CoreaError
├─ ConfigError   (ValueError)   the user can fix it: a key, a name, a range
├─ DataError     (ValueError)   a file or record is not what it says; carries path and line
├─ BackendError                 a model call failed; carries backend, status, retryable
│  ├─ BackendTimeout            no answer, or not all of it, came in time
│  └─ BackendRefused            the server, or the circuit breaker, refused the call
├─ BudgetError                  the next call could cost more than what is left
└─ TrainError                   a run cannot go on: non-finite loss, stale weights

A message is one line, in this order: where, what we got, what we expect, what to do.
"""

from difflib import get_close_matches
from typing import Any

from corea.secrets import shown


class CoreaError(Exception):
    """The root: `except CoreaError` catches all that COREA raises on purpose."""


class ConfigError(CoreaError, ValueError):
    """An invalid setting, which the user can correct."""


class DataError(CoreaError, ValueError):
    """An invalid file or record."""

    def __init__(self, message: str, *, path: str | None = None, line: int | None = None) -> None:
        where = ":".join(str(part) for part in (path, line) if part is not None)
        super().__init__(f"{where}: {message}" if where else message)
        self.path = path
        self.line = line


class BackendError(CoreaError):
    """A model call that failed.

    `retryable`: the same call may succeed later. `spent`: the known usage of the failed call (a broken stream has often
    been billed), as a `Completion` with the text so far, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        backend: str = "",
        status: int | None = None,
        retryable: bool = False,
        retries: int = 0,
        spent: Any = None,  # a Completion; `types` is above this module
        retry_after_seconds: float | None = None,
        body: Any = None,  # the server's own error object, where it sent one
    ) -> None:
        super().__init__(f"{backend}: {message}" if backend else message)
        self.backend = backend
        self.status = status
        self.retryable = retryable
        self.retries = retries
        self.spent = spent
        self.retry_after_seconds = retry_after_seconds
        self.body = body


class BackendTimeout(BackendError):
    """The server did not answer, or did not finish, in time."""


class BackendRefused(BackendError):
    """The server, or the circuit breaker in front of it, refused the call."""


class BudgetError(CoreaError):
    """The next call could cost more than what is left of a budget."""


class TrainError(CoreaError):
    """A training run that cannot go on."""


def unknown_name(where: str, got: str, known: list[str] | tuple[str, ...]) -> ConfigError:
    """A ConfigError for an unknown name, with the nearest known one."""
    near = get_close_matches(got, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return ConfigError(f"{where}: got {shown(got)}, expected one of {', '.join(sorted(known))}.{hint}")
