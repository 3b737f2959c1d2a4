"""The attempts of one call: their number, their known usage, and the one that is under way."""

from collections.abc import Mapping
from typing import Any

import msgspec

from corea.backends.openai.apis import WireRequest
from corea.backends.openai.stream import Stream
from corea.call_observer import ObservedCall, observer
from corea.errors import BackendError
from corea.types import Completion, Question, Sampling, Usage


class Attempts(msgspec.Struct):
    """The failed attempts of one call; `in_flight` while another one has been sent.

    Args:
        unreadable: An answer came that could not be read.
        opened: The stream of a call whose pieces are not passed on.
        observed: The attempt under way, where someone watches.
    """

    sampling: Sampling
    unreadable: bool = False
    retries: int = 0
    refusals: int = 0
    wasted: Usage | None = None
    in_flight: bool = False
    opened: Stream | None = None
    observed: ObservedCall | None = None

    @property
    def extra(self) -> Mapping[str, Any]:
        """Further fields of the request."""
        return self.sampling.extra

    def begin(self, backend: Any, question: Question, request: WireRequest) -> WireRequest:
        """The request of the next attempt."""
        watching = observer.get()
        if watching is None:
            return request
        self.observed = watching.begin(backend, question, self.sampling)
        return msgspec.structs.replace(request, headers={**request.headers, **self.observed.headers})

    def ended(self, completion: Completion | None = None, error: BaseException | None = None) -> None:
        """The attempt under way has ended; a stream's ends with its last piece."""
        if self.observed is not None:
            self.observed.ended(completion, error)
            self.observed = None

    def sent(self) -> None:
        """A request has been sent."""
        self.in_flight = True

    def add(self, error: BackendError) -> None:
        """Counts a failed attempt that another one follows."""
        self.retries += 1
        if isinstance(error.spent, Completion):
            self.wasted = (self.wasted or Usage()) + error.spent.usage

    def note(self, error: BackendError, model: str) -> None:
        """Adds the retries before an error, and their known usage, to it."""
        error.retries = self.retries
        if self.wasted is not None:
            spent = error.spent if isinstance(error.spent, Completion) else Completion(text="", model=model)
            error.spent = msgspec.structs.replace(spent, wasted=self.wasted, retries=self.retries)
