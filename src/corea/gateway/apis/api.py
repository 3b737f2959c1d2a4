"""The seam between an API and chat completions: its protocol, and the response that is translated on its way out."""

from collections.abc import Mapping, MutableMapping
from decimal import Decimal
from typing import Any, Protocol, cast

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from corea.backends.openai.wire import NATIVE
from corea.gateway.asgi import Send, encode_json
from corea.gateway.errors import GatewayError
from corea.types import NativeRequest

JSON = dict[str, Any]
NO_FIELDS: Mapping[str, str] = {}


class Answers(Protocol):
    """Translates the answer to one request: either `whole`, or `events` for each chunk and then `end`."""

    def whole(self, answer: JSON) -> JSON:
        """A whole chat completion as an answer of the API."""
        ...

    def events(self, chunk: JSON) -> list[JSON]:
        """The events for a chunk of a streamed chat; its last chunk has the usage and no choice."""
        ...

    def end(self) -> list[JSON]:
        """The events after the last chunk; none if it broke off."""
        ...

    def failed(self, error: JSON, sent: int) -> list[JSON]:
        """The events for an error within a stream, after `sent` others; none: the API's `error` is the event."""
        ...


class Translated(Struct, frozen=True, kw_only=True):
    """A request of another API as a chat request.

    Args:
        chat: Body of the chat request. A field of the API that nothing here knows is carried by its own name.
        answers: Translates the answer.
        dropped: Fields without a counterpart, which change little; the response's header `x-corea-dropped` names them.
        only: Fields that no chat request can carry, each with the reason; the request is refused unless the stage that
            answers speaks the API itself. `chat` holds their text all the same, for the estimate of the costs.
    """

    chat: JSON
    answers: Answers
    dropped: tuple[str, ...] = ()
    only: Mapping[str, str] = NO_FIELDS


class Api(Protocol):
    """One API.

    Attributes:
        name: As in a backend's `apis`.
        path: Of its requests.
        own: Request fields that the gateway uses itself, so that no policy concerns them.
        forwarded: Request headers, in lower case, that a server which speaks the API is sent too.
        named_events: Each event has a line with its `type`, as `event: TYPE`; else the stream ends in [DONE].
    """

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def own(self) -> frozenset[str]: ...
    @property
    def forwarded(self) -> tuple[str, ...]: ...
    @property
    def named_events(self) -> bool: ...

    def translate(self, body: JSON, *, cache_control: bool) -> Translated:
        """A request as a chat request.

        Args:
            body: All fields as they came.
            cache_control: The answering stage's server takes Anthropic's `cache_control` in chat requests.

        Raises:
            GatewayError: A field that is used has a wrong value, or cannot be honoured.
        """
        ...

    def error(self, error: JSON, status: int | None, request_id: str) -> JSON:
        """The body of an error response, or an event of a stream.

        Args:
            error: Chat's `error` object.
            status: Of the response; None within a stream.
        """
        ...


class _Delta(Struct):
    corea_native: Raw | UnsetType = UNSET


class _NativeChoice(Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)
    message: _Delta = msgspec.field(default_factory=_Delta)


class _Native(Struct):
    choices: list[_NativeChoice] = []


class _Event(Struct):
    type: str = ""


_decode = msgspec.json.Decoder(JSON, float_hook=Decimal).decode
_native = msgspec.json.Decoder(_Native).decode
_event = msgspec.json.Decoder(_Event).decode
_MARK = b'"' + NATIVE.encode() + b'":'


def native_of(api: Api, body: JSON, headers: Mapping[str, str], only: Mapping[str, str]) -> NativeRequest:
    """The client's own request, for a server that speaks its API."""
    sent = {name: headers[name] for name in api.forwarded if name in headers}
    fields = {name: value for name, value in body.items() if name != "corea"}  # settings for this gateway
    return NativeRequest(api=api.name, body=fields, headers=sent, only=only, own=api.own)


class TranslatedResponse:
    """ASGI's `send`, which translates a chat response, whole or streamed, into that of an API.

    Args:
        request_id: For errors within a stream.
    """

    def __init__(self, api: Api, answers: Answers, send: Send, request_id: str) -> None:
        self.api = api
        self.answers = answers
        self.send = send
        self.request_id: str = request_id
        self.start: MutableMapping[str, Any] | None = None  # of a whole answer, until its length is known
        self.first: JSON | None = None  # chunk of a stream
        self.failed: bool = False
        self.native: bool = False
        self.sent: int = 0  # events

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = dict(message["headers"])
            if headers[b"content-type"].startswith(b"text/event-stream"):
                await self.send(message)
            else:
                self.start = message
        elif self.start is not None:
            await self._whole(message["body"])
        else:
            events = b"".join([self._translated(event) for event in message["body"].split(b"\n\n") if event])
            last = not message.get("more_body", False)
            if events or last:
                await self.send({**message, "body": events})

    async def _whole(self, body: bytes) -> None:
        found = _native(body).choices if _MARK in body else []
        native = found[0].message.corea_native if found else UNSET
        translated = encode_json(self.answers.whole(_decode(body))) if native is UNSET else bytes(native)
        assert self.start is not None
        headers = [(n, v) for n, v in self.start["headers"] if n != b"content-length"]
        length = (b"content-length", str(len(translated)).encode())
        await self.send({**self.start, "headers": [length, *headers]})
        await self.send({"type": "http.response.body", "body": translated})

    def _translated(self, event: bytes) -> bytes:
        """The events for one event of a chat stream, which this server wrote itself: a comment, or a line of data."""
        if not event.startswith(b"data: "):
            return event + b"\n\n"
        data = event[6:]
        if data == b"[DONE]":
            done = b"" if self.api.named_events else b"data: [DONE]\n\n"
            return (b"" if self.failed or self.native else self._first() + self._joined(self.answers.end())) + done
        if _MARK in data and (found := _native(data).choices) and found[0].delta.corea_native is not UNSET:
            self.native = True
            return self._sse(found[0].delta.corea_native)
        chunk = _decode(data)
        if "error" in chunk:
            self.failed = True
            begun = b"" if self.native else self._first()
            failed = self.answers.failed(chunk["error"], self.sent)
            return begun + self._joined(failed or [self.api.error(chunk["error"], None, self.request_id)])
        if self.native:
            return b""
        if self.first is None:  # it has only the role, and comes before a native event too
            self.first = chunk
            return b""
        return self._first() + self._joined(self.answers.events(chunk))

    def _first(self) -> bytes:
        """The events for the first chunk, once."""
        chunk, self.first = self.first, {}
        return self._joined(self.answers.events(chunk)) if chunk else b""

    def _joined(self, events: list[JSON]) -> bytes:
        return b"".join([self._sse(each) for each in events])

    def _sse(self, event: JSON | Raw) -> bytes:
        self.sent += 1
        data = bytes(event).replace(b"\r", b"") if isinstance(event, Raw) else encode_json(event)
        kind = b"event: " + _event(data).type.encode() + b"\n" if self.api.named_events else b""
        return kind + b"data: " + data.replace(b"\n", b"") + b"\n\n"


def read_object(value: Any, where: str) -> JSON:
    """A value that has to be an object.

    Raises:
        GatewayError: It is none.
    """
    if not isinstance(value, dict):
        raise GatewayError(400, f"{where}: got {value!r:.80}, expected an object.", param=where, code="invalid_value")
    return value  # pyright: ignore[reportUnknownVariableType]  # of JSON


def objects(value: Any) -> list[JSON]:
    """The objects in a list; none if it is not a list."""
    items = cast(list[Any], value) if isinstance(value, list) else []
    return [cast(JSON, item) for item in items if isinstance(item, dict)]


def text_of(value: Any) -> str:
    """A value that is a string; "" for any other."""
    return value if isinstance(value, str) else ""
