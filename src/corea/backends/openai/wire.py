"""OpenAI's chat-completions format in the dialects of many servers: requests to bytes, bytes to a completion.

Fields are read leniently: usage may be absent, a list null, a character split over two tokens, reasoning under another
name, a number infinite. Fields of the message that are not read are kept as they came.

Source: https://platform.openai.com/docs/api-reference/chat; the differences of each server are in docs/backends.md and
tests/golden/dialects.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from corea.backends.openai.deltas import MergedDeltas
from corea.backends.openai.logprobs import IMPOSSIBLE, ListedToken, aligned, read_tokens
from corea.backends.openai.usage import Billed, read_usage, whole_usage
from corea.backends.openai.usage import find_usage as find_usage
from corea.types import Completion, Message, Question, Sampling, StreamPart, Usage

NOTHING = msgspec.Raw()
NATIVE = "corea_native"  # field of a message or delta: the response or event of another API, as it came
REASONING = ("reasoning_content", "reasoning")  # DeepSeek, llama.cpp, transformers; vLLM, Ollama, LM Studio, OpenRouter
LIMIT_FIELDS = ("max_tokens", "max_completion_tokens")
PLAIN = frozenset({"role", "content", *REASONING})
PLAIN_DELTA = frozenset({"role", "content"})
EMPTY: tuple[Any, ...] = (None, "", [], {})
STATUS_OF_CODE = {  # of an error within a response or stream, which has no status of its own
    "context_length_exceeded": 400, "invalid_prompt": 400, "insufficient_quota": 429, "rate_limit_exceeded": 429,
}  # fmt: skip


class ResponseChoice(msgspec.Struct, forbid_unknown_fields=True):
    """One answer, or one piece of it; `message` whole, `delta` streamed."""

    index: int | None = None
    message: dict[str, Any] | None = None
    delta: dict[str, Any] | None = None
    finish_reason: str | None = None
    logprobs: msgspec.Raw = NOTHING


class ChatResponse(msgspec.Struct, forbid_unknown_fields=True):
    """A response, or one chunk of a streamed one, of the fields that most servers send."""

    id: Any = None
    object: Any = None
    created: Any = None
    model: str | None = None
    choices: list[ResponseChoice] | None = None
    usage: msgspec.Raw = NOTHING
    error: Any = None
    system_fingerprint: Any = None
    service_tier: Any = None


class _AnyChoice(ResponseChoice, forbid_unknown_fields=False):
    pass


class _AnyResponse(ChatResponse, forbid_unknown_fields=False):
    choices: list[_AnyChoice] | None = None  # pyright: ignore[reportIncompatibleVariableOverride]


_read_known = msgspec.json.Decoder(ChatResponse).decode
_read_any = msgspec.json.Decoder(_AnyResponse).decode
_read_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_read_choices = msgspec.json.Decoder(list[dict[str, msgspec.Raw]] | None).decode
_write = msgspec.json.Encoder().encode
NO_FIELDS: Mapping[str, Any] = {}
ABOUT_THE_SERVER = ("system_fingerprint", "service_tier")
KNOWN = frozenset(ChatResponse.__struct_fields__) - {*ABOUT_THE_SERVER}
KNOWN_OF_CHOICE = frozenset({"index", "message", "delta", "finish_reason", "logprobs"})


def read_response(received: bytes) -> tuple[ChatResponse, Mapping[str, Any]]:
    """A response or chunk, and its fields around the message or delta that are passed on as they came.

    Those of its first choice are under "choice". JSON with lone surrogates, broken UTF-8 or infinite numbers is
    repaired first.

    Raises:
        msgspec.DecodeError: It is not JSON, or not a chat response.
    """
    try:
        try:
            reply = _read_known(received)
        except msgspec.ValidationError:  # most often since it has fields of its own
            return _read_any(received), _fields_outside(received)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        received = repaired_json(received, error)
        return _read_any(received), _fields_outside(received)
    if reply.system_fingerprint is None and reply.service_tier is None:
        return reply, NO_FIELDS
    return reply, {name: value for name in ABOUT_THE_SERVER if (value := getattr(reply, name)) is not None}


def repaired_json(received: bytes, error: Exception) -> bytes:
    """The JSON with U+FFFD for each lone surrogate and broken byte, and without infinite numbers.

    Raises:
        msgspec.DecodeError: It is not JSON even so; the message is that of `error`.
    """
    try:
        value = json.loads(received.decode("utf-8", "replace"), strict=False, parse_constant=_finite)
    except (ValueError, RecursionError):
        raise msgspec.DecodeError(str(error)) from error
    text = json.dumps(value, ensure_ascii=False)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def _finite(constant: str) -> float | None:
    """The nearest value that JSON can hold: NaN and Infinity have none."""
    return IMPOSSIBLE if constant == "-Infinity" else None


def request_body(
    model: str,
    question: Question,
    sampling: Sampling,
    *,
    max_tokens_field: str,
    only_field: bool = True,
    seed_field: str | None = "seed",
    stream: bool,
    stream_usage: bool = True,
) -> bytes:
    """A request as bytes; settings that are None are left out, `sampling.extra` overrides the others.

    Args:
        max_tokens_field: The name of the limit.
        seed_field: The name of the seed; None if the server takes none.
        only_field: The server takes no other name; else one in `sampling.extra` stays as it is.
    """
    fields: dict[str, Any] = {"model": model, "messages": [_message(message) for message in question.messages]}
    named = [name for name in LIMIT_FIELDS if name in sampling.extra]
    if sampling.max_tokens is not None and not named:
        fields[max_tokens_field] = sampling.max_tokens
    if sampling.temperature is not None:
        fields["temperature"] = sampling.temperature
    if sampling.top_p is not None:
        fields["top_p"] = sampling.top_p
    if sampling.seed is not None and seed_field:
        fields[seed_field] = sampling.seed
    if sampling.stop:
        fields["stop"] = sampling.stop
    if sampling.logprobs:
        fields["logprobs"] = True
        if sampling.top_logprobs:
            fields["top_logprobs"] = sampling.top_logprobs
    if sampling.extra:
        fields.update(sampling.extra)
        if only_field and named:
            limit = min(fields.pop(name) for name in named)
            fields[max_tokens_field] = limit if sampling.max_tokens is None else min(limit, sampling.max_tokens)
    if stream:
        fields["stream"] = True
        if stream_usage:
            fields["stream_options"] = {"include_usage": True}
    return _write(fields)


def _fields_outside(received: bytes) -> dict[str, Any]:
    fields = _read_fields(received)
    found = {key: msgspec.json.decode(value) for key, value in fields.items() if key not in KNOWN and key != "choice"}
    for choice in (_read_choices(fields["choices"]) or ())[:1] if "choices" in fields else ():
        others = {k: msgspec.json.decode(value) for k, value in choice.items() if k not in KNOWN_OF_CHOICE}
        if others:
            found["choice"] = others
    return {key: value for key, value in found.items() if value is not None}


class ReplyBuilder(msgspec.Struct):
    """Builds a completion from one response or from the chunks of a stream."""

    model: str | None = None
    text: list[str] = []
    reasoning: list[str] = []
    finish_reason: str | None = None
    billed: Billed | None = None
    answered: bool = False  # a choice has come
    _tokens: list[ListedToken] = []
    _reasoning_fields: tuple[str, ...] = ()
    _others: MergedDeltas = msgspec.field(default_factory=MergedDeltas)
    _outside: dict[str, Any] = {}
    _logprobs: msgspec.Raw | None = None  # of a whole response

    def add(self, reply: ChatResponse, outside: Mapping[str, Any] = NO_FIELDS) -> str | StreamPart:
        """Adds a response or chunk; returns its text, with its other fields where it has any.

        Args:
            outside: Its fields around the message or delta, as `read_response` gives them.
        """
        if outside:
            self._outside = {**self._outside, **outside}
        if reply.model:
            self.model = reply.model
        if reply.usage:
            self.billed = read_usage(reply.usage) or self.billed
        piece, others, logprobs = "", None, None
        for choice in reply.choices or ():
            if choice.index:
                continue  # of several choices (`n` in the extra fields) the first is the answer
            self.answered = True
            self.finish_reason = choice.finish_reason or self.finish_reason
            if choice.logprobs and bytes(choice.logprobs) != b"null":
                self._tokens += read_tokens(choice.logprobs)
                logprobs = choice.logprobs
                if choice.message:
                    self._logprobs = logprobs
            if message := choice.message or choice.delta:
                content = message.get("content")
                piece = content if type(content) is str else self._add_parts(content)
                if type(content) is not str or (len(message) > 1 and not PLAIN_DELTA.issuperset(message)):
                    others = self._add_whole(message) if message is choice.message else self._add_delta(message)
        if piece:
            self.text.append(piece)
        return StreamPart(piece, others or {}, logprobs, outside) if others or logprobs or outside else piece

    def completion(
        self,
        question: Question,
        model: str,
        *,
        seconds: float = 0.0,
        first_token_seconds: float | None = None,
        retries: int = 0,
        wasted: Usage | None = None,
        extra: Mapping[str, Any] = NO_FIELDS,
    ) -> Completion:
        """The completion so far; counts that the server left out are estimated.

        Args:
            extra: Further fields of the request.
        """
        text, reasoning = "".join(self.text), "".join(self.reasoning)
        billed = self.billed
        return Completion(
            text=text,
            model=self.model or model,
            usage=whole_usage(billed, question.messages, text, reasoning, extra=extra),
            reasoning=reasoning,
            finish_reason=self.finish_reason,
            logprobs=aligned(self._tokens, text) if self._tokens else None,
            seconds=seconds,
            first_token_seconds=first_token_seconds,
            retries=retries,
            wasted=wasted,
            cost_usd=billed.cost_usd if billed is not None else None,
            reasoning_fields=self._reasoning_fields,
            outside=self._all_outside() or None,
            raw=self._others.message(),
        )

    def _all_outside(self) -> dict[str, Any]:
        found = self._outside
        if self._logprobs is not None:
            found = {**found, "choice": {**found.get("choice", {}), "logprobs": self._logprobs}}
        if self.billed is not None and self.billed.others:
            found = {**found, "usage": self.billed.others}
        return found

    def _add_whole(self, message: dict[str, Any]) -> None:
        """Keeps the fields of a whole message beside its role and text, unless all are null."""
        self._add_reasoning(message)
        others = {key: value for key, value in message.items() if key not in PLAIN}
        content = message.get("content")
        if content is None or isinstance(content, list):
            others["content"] = content  # as it came: no text, or Mistral's and Anthropic's parts
        elif not any(value is not None for value in others.values()):
            return
        self._others.fields = others

    def _add_delta(self, message: dict[str, Any]) -> dict[str, Any]:
        """Adds the fields of a delta beside its role and text; returns those that have something, to pass on."""
        self._add_reasoning(message)
        others = {key: value for key, value in message.items() if key not in PLAIN and value not in EMPTY}
        passed = {name: thought for name in REASONING if (thought := message.get(name))}
        if isinstance(content := message.get("content"), list) and content:
            passed["content"] = content
        return {**passed, **self._others.add(others)} if others else passed

    def _add_reasoning(self, message: dict[str, Any]) -> None:
        added = False
        for name in REASONING:
            thought = message.get(name)
            if isinstance(thought, str):
                if not added:
                    self.reasoning.append(thought)
                if name not in self._reasoning_fields:
                    self._reasoning_fields += (name,)
                added = True  # some servers send the same text under both names

    def _add_parts(self, content: Any) -> str:
        """The text of a content that is not a string: null, or parts, of which some may be thinking (Mistral)."""
        if not isinstance(content, list):
            return ""
        for part in content:
            if isinstance(part, dict) and part.get("type") == "thinking":
                self.reasoning.append(_text_of(part.get("thinking")))
        return _text_of(content)


@dataclass(frozen=True, slots=True)
class ServerError:
    """An error of a server: its message in one line, code, status, and the whole object."""

    message: str
    code: str | None = None
    status: int | None = None
    body: Any = None


def read_error(received: bytes) -> ServerError:
    """The error in a response, in any of the servers' forms; also a page of HTML or plain text."""
    try:
        body = msgspec.json.decode(received)
    except (msgspec.DecodeError, RecursionError):
        return ServerError(one_line(received.decode("utf-8", "replace")))
    return error_of(body)


def error_of(body: Any) -> ServerError:
    """The error in a decoded response: with `error`, `message` or `detail`, nested or not."""
    inner: Any = body[0] if isinstance(body, list) and body else body  # Google wraps it in a list
    while isinstance(inner, dict) and inner.get("error"):
        inner = inner["error"]
    if not isinstance(inner, dict):
        return ServerError(one_line(str(inner)), body=body)
    message = inner.get("message") or inner.get("detail") or inner.get("msg") or msgspec.json.encode(inner).decode()
    code = inner.get("code") or inner.get("type")
    status = code if isinstance(code, int) and 400 <= code < 600 else STATUS_OF_CODE.get(str(code))
    return ServerError(one_line(str(message)), str(code) if code else None, status, inner)


def one_line(text: str, most: int = 300) -> str:
    """The text with each run of white space as one space, cut at `most` characters."""
    text = " ".join(text[: most * 4].split())
    return text if len(text) <= most else text[: most - 3] + "..."


def _message(message: Message) -> Mapping[str, Any]:
    return message.raw if message.raw is not None else {"role": message.role, "content": message.content}


def _text_of(parts: Any) -> str:
    if not isinstance(parts, list):
        return parts if isinstance(parts, str) else ""
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return "".join(text for text in texts if isinstance(text, str))
