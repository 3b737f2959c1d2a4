"""The APIs that a server may speak: the path of each, and how its responses are read.

Each is read into the form of a chat response, so that text, tool calls, usage and errors count alike, with the response
or event itself under NATIVE, for a client of the same API. A line in APIS, and a path in `settings`, add another one.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec

from corea.backends.openai import messages_api, responses_api, wire
from corea.backends.openai.settings import CHAT, CHAT_PATH, PATHS
from corea.types import NativeRequest, Sampling

Reader = Callable[[bytes], wire.ChatResponse]
"""Reads a whole response, or the events of a stream in order; raises `msgspec.DecodeError`."""
_write = msgspec.json.Encoder().encode


class ServerApi(msgspec.Struct, frozen=True, kw_only=True):
    """One API.

    Args:
        path: After `base_url`.
        limit: The request field that carries `max_tokens`; None if it has none.
        reader: A new reader, for one response.
        headers: Sent where the client sent none of the same name.
    """

    path: str
    limit: str | None
    reader: Callable[[], Reader]
    headers: Mapping[str, str] = MappingProxyType({})


class WireRequest(msgspec.Struct, frozen=True):
    """A request as it is sent."""

    body: bytes
    api: ServerApi
    headers: Mapping[str, str] = MappingProxyType({})

    @property
    def native(self) -> bool:
        """True if it is not in the form of chat completions."""
        return self.api is not APIS[CHAT]


APIS: dict[str, ServerApi] = {
    CHAT: ServerApi(path=CHAT_PATH, limit=None, reader=lambda: wire.read_response),
    "messages": ServerApi(
        path=PATHS["messages"],
        limit="max_tokens",
        reader=messages_api.MessagesReader,
        headers={"anthropic-version": "2023-06-01"},
    ),
    "responses": ServerApi(
        path=PATHS["responses"], limit="max_output_tokens", reader=lambda: responses_api.read_response
    ),
}


def native_request(native: NativeRequest, model: str, sampling: Sampling, *, stream: bool) -> WireRequest:
    """A request as the client sent it, with the server's name of the model and the limit of the stage.

    Raises:
        TypeError, ValueError: A field cannot be written as JSON.
    """
    api = APIS[native.api]
    body = {**native.body, "model": model}
    if api.limit is not None and sampling.max_tokens is not None:
        body[api.limit] = sampling.max_tokens
    if stream:
        body["stream"] = True
    else:
        body.pop("stream", None)
    return WireRequest(_write(body), api, {**api.headers, **native.headers})
