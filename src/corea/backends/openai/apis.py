"""The APIs that a server may speak: the path of each, and how its responses are read.

Each is read into the form of a chat response, so that text, tool calls, usage and errors count alike, with the response
or event itself under NATIVE, for a client of the same API. A line in APIS, and a path in `settings`, add another one.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from corea.backends.openai import messages_api, responses_api, texts_api, wire
from corea.backends.openai.settings import CHAT, CHAT_PATH, COUNT_PATH, PATHS
from corea.types import LIMITS, NativeRequest, Sampling

Reader = Callable[[bytes], wire.ChatResponse]
"""Reads a whole response, or the events of a stream in order; raises `msgspec.DecodeError`."""
_write = msgspec.json.Encoder().encode


class ServerApi(msgspec.Struct, frozen=True, kw_only=True):
    """One API.

    Args:
        path: After `base_url`.
        limit: The request field that carries `max_tokens`; None if it has none.
        reader: A new reader, for the response to a request of these fields; None for chat completions.
        stream_usage: A stream has its usage only if the request's `stream_options` ask for it.
        headers: Sent where the client sent none of the same name.
    """

    path: str
    limit: str | None
    reader: Callable[[Mapping[str, Any]], Reader] | None
    headers: Mapping[str, str] = MappingProxyType({})
    stream_usage: bool = False


class WireRequest(msgspec.Struct, frozen=True):
    """A request as it is sent.

    Args:
        fields: Of the client's own request, if it is one of another API than chat completions.
    """

    body: bytes
    api: ServerApi
    headers: Mapping[str, str] = MappingProxyType({})
    fields: Mapping[str, Any] = MappingProxyType({})

    def reader(self) -> Callable[[bytes], tuple[wire.ChatResponse, Mapping[str, Any]]]:
        """A new reader of its response, and of the fields around it that a chat passes on."""
        if self.api.reader is None:
            return wire.read_response
        read = self.api.reader(self.fields)
        return lambda received: (read(received), wire.NO_FIELDS)

    @property
    def native(self) -> bool:
        """True if it is not in the form of chat completions."""
        return self.api is not APIS[CHAT]


APIS: dict[str, ServerApi] = {
    CHAT: ServerApi(path=CHAT_PATH, limit=None, reader=None),
    "messages": ServerApi(
        path=PATHS["messages"],
        limit="max_tokens",
        reader=lambda fields: messages_api.MessagesReader(),
        headers={"anthropic-version": "2023-06-01"},
    ),
    "responses": ServerApi(
        path=PATHS["responses"],
        limit="max_output_tokens",
        reader=lambda fields: responses_api.read_event if fields.get("stream") else responses_api.read_response,
    ),
    "completions": ServerApi(
        path=PATHS["completions"], limit="max_tokens", reader=texts_api.CompletionsReader, stream_usage=True
    ),
    "embeddings": ServerApi(path=PATHS["embeddings"], limit=None, reader=lambda fields: texts_api.read_embeddings),
}
COUNTING = msgspec.structs.replace(APIS["messages"], path=COUNT_PATH)
"""Of a request's tokens: beside the Messages API, no API of its own."""


def native_request(native: NativeRequest, model: str, sampling: Sampling, *, stream: bool) -> WireRequest:
    """A request as the client sent it, with the server's name of the model and the limit of the stage.

    A limit has the API's own name alone: llama.cpp takes `n_predict` in every API, and would heed the client's.

    Raises:
        TypeError, ValueError: A field cannot be written as JSON.
    """
    api = APIS[native.api]
    body = {name: value for name, value in native.body.items() if name not in LIMITS or name == api.limit}
    body["model"] = model
    limit = sampling.max_tokens or sampling.extra.get("n_predict")
    if api.limit is not None and limit is not None:
        body[api.limit] = limit
    if stream:
        body["stream"] = True
        if api.stream_usage:
            options: Any = body.get("stream_options") or {}
            body["stream_options"] = {**options, "include_usage": True}
    else:
        body.pop("stream", None)
    return WireRequest(_write(body), api, {**api.headers, **native.headers}, {**native.body, "stream": stream})
