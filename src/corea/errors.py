"""Every error that COREA raises on purpose.

CoreaError
├─ ConfigError   (ValueError)   the user can fix it: a key, a name, a range
├─ DataError     (ValueError)   a file or record is not what it says; carries path and line
├─ BackendError                 a model call failed; carries backend, status, retryable
│  ├─ BackendTimeout            nothing, or not all, came in time
│  └─ BackendRefused            the far end, or the circuit breaker, turned the call away
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
    """A setting that the user can mend."""


class DataError(CoreaError, ValueError):
    """A file or record that is not what it should be."""

    def __init__(self, message: str, *, path: str | None = None, line: int | None = None) -> None:
        where = ":".join(str(part) for part in (path, line) if part is not None)
        super().__init__(f"{where}: {message}" if where else message)
        self.path = path
        self.line = line


class BackendError(CoreaError):
    """A model call that failed.

    `retryable` says whether the same call may succeed later; `spent` what the failed call is known to have
    used (a broken stream has often been billed), as a `Completion` with the text so far, or None.
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
        body: Any = None,  # the far end's own error object, where it sent one
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
    """The far end did not answer, or did not finish, in time."""


class BackendRefused(BackendError):
    """The far end, or the circuit breaker in front of it, turned the call away."""


class BudgetError(CoreaError):
    """The next call could cost more than what is left of a budget."""


class TrainError(CoreaError):
    """A training run that cannot go on."""


def unknown_name(where: str, got: str, known: list[str] | tuple[str, ...]) -> ConfigError:
    """A ConfigError for a name that is not in a table, with the nearest one that is."""
    near = get_close_matches(got, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return ConfigError(f"{where}: got {shown(got)}, expected one of {', '.join(sorted(known))}.{hint}")
