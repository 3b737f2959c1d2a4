"""OpenAI's chat-completions format in the dialects of many servers: requests to bytes, bytes to a completion.

Only the needed fields are read, and leniently: usage may be absent, a list null, a character split over two tokens, and
reasoning under another name.

Source: https://platform.openai.com/docs/api-reference/chat; the differences of each server are in docs/backends.md and
tests/golden/dialects.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from corea.backends.openai.logprobs import ListedToken, aligned, read_tokens
from corea.backends.openai.usage import Billed, read_usage, whole_usage
from corea.backends.openai.usage import find_usage as find_usage
from corea.types import Completion, Message, Question, Sampling, Usage

NOTHING = msgspec.Raw()
REASONING = ("reasoning_content", "reasoning")  # DeepSeek, llama.cpp, transformers; vLLM, Ollama, LM Studio, OpenRouter
PLAIN = frozenset({"role", "content", "reasoning_details", *REASONING})


class ResponseChoice(msgspec.Struct):
    """One answer, or one piece of it; `message` whole, `delta` streamed."""

    index: int = 0
    message: dict[str, Any] | None = None
    delta: dict[str, Any] | None = None
    finish_reason: str | None = None
    logprobs: msgspec.Raw = NOTHING


class ChatResponse(msgspec.Struct):
    """A response, or one chunk of a streamed one."""

    model: str | None = None
    choices: list[ResponseChoice] | None = None
    usage: msgspec.Raw = NOTHING
    error: Any = None


read_response: Callable[[bytes], ChatResponse] = msgspec.json.Decoder(ChatResponse).decode  # raises msgspec.DecodeError
_write = msgspec.json.Encoder().encode


def request_body(
    model: str,
    question: Question,
    sampling: Sampling,
    *,
    max_tokens_field: str,
    stream: bool,
    stream_usage: bool = True,
) -> bytes:
    """A request as bytes; settings that are None are left out, `sampling.extra` overrides the others."""
    fields: dict[str, Any] = {"model": model, "messages": [_message(message) for message in question.messages]}
    if sampling.max_tokens is not None:
        fields[max_tokens_field] = sampling.max_tokens
    if sampling.temperature is not None:
        fields["temperature"] = sampling.temperature
    if sampling.top_p is not None:
        fields["top_p"] = sampling.top_p
    if sampling.seed is not None:
        fields["seed"] = sampling.seed
    if sampling.stop:
        fields["stop"] = sampling.stop
    if sampling.logprobs:
        fields["logprobs"] = True
        if sampling.top_logprobs:
            fields["top_logprobs"] = sampling.top_logprobs
    if sampling.extra:
        fields.update(sampling.extra)
    if stream:
        fields["stream"] = True
        if stream_usage:
            fields["stream_options"] = {"include_usage": True}
    return _write(fields)


class ReplyBuilder:
    """Builds a completion from one response or from the chunks of a stream."""

    def __init__(self) -> None:
        self.model: str | None = None
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.finish_reason: str | None = None
        self.billed: Billed | None = None
        self.answered: bool = False  # a choice has come
        self._tokens: list[ListedToken] = []
        self._extra: dict[str, Any] = {}

    def add(self, reply: ChatResponse) -> str:
        """Adds a response or chunk; returns its text."""
        if reply.model:
            self.model = reply.model
        if reply.usage:
            self.billed = read_usage(reply.usage) or self.billed
        piece = ""
        for choice in reply.choices or ():
            if choice.index:
                continue  # of several choices (`n` in the extra fields) the first is the answer
            self.answered = True
            self.finish_reason = choice.finish_reason or self.finish_reason
            if choice.logprobs and choice.logprobs != b"null":
                self._tokens += read_tokens(choice.logprobs)
            message = choice.message or choice.delta
            if message:
                piece += self._add_message(message)
        if piece:
            self.text.append(piece)
        return piece

    def completion(
        self,
        question: Question,
        model: str,
        *,
        seconds: float = 0.0,
        first_token_seconds: float | None = None,
        retries: int = 0,
        wasted: Usage | None = None,
    ) -> Completion:
        """The completion so far; counts that the server left out are estimated."""
        text, reasoning = "".join(self.text), "".join(self.reasoning)
        billed = self.billed
        return Completion(
            text=text,
            model=self.model or model,
            usage=whole_usage(billed, question.messages, text, reasoning),
            reasoning=reasoning,
            finish_reason=self.finish_reason,
            logprobs=aligned(self._tokens, text) if self._tokens else None,
            seconds=seconds,
            first_token_seconds=first_token_seconds,
            retries=retries,
            wasted=wasted,
            cost_usd=billed.cost_usd if billed is not None else None,
            raw={"role": "assistant", "content": text, **self._extra} if self._extra else None,
        )

    def _add_message(self, message: dict[str, Any]) -> str:
        content, piece = message.get("content"), ""
        if isinstance(content, str):
            piece = content
        elif isinstance(content, list):  # Mistral sends parts, one of them its thinking
            piece = self._add_parts(content)
        for name in REASONING:
            thought = message.get(name)
            if isinstance(thought, str):
                if thought:
                    self.reasoning.append(thought)
                break  # some servers send the same text under both names
        if not PLAIN.issuperset(message):
            for key, value in message.items():
                if key not in PLAIN and value:
                    self._add_extra(key, value)
        return piece

    def _add_parts(self, parts: list[Any]) -> str:
        for part in parts:
            if isinstance(part, dict) and part.get("type") == "thinking":
                self.reasoning.append(_text_of(part.get("thinking")))
        return _text_of(parts)

    def _add_extra(self, key: str, value: Any) -> None:
        if key == "tool_calls" and isinstance(value, list):
            calls: list[dict[str, Any]] = self._extra.setdefault("tool_calls", [])
            for call in value:
                _merge_tool_call(calls, call)
        else:
            self._extra[key] = value


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
    except msgspec.DecodeError:
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
    status = code if isinstance(code, int) and 400 <= code < 600 else None
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


def _merge_tool_call(calls: list[dict[str, Any]], piece: Any) -> None:
    """Adds a whole tool call, or the next piece of one that has an index."""
    if not isinstance(piece, dict):
        return
    index = piece.get("index")
    if not isinstance(index, int):
        calls.append(piece)
        return
    call = next((c for c in calls if c.get("index") == index), None)
    if call is None:
        calls.append({**piece, "function": dict(piece.get("function") or {})})
        return
    call.update({key: value for key, value in piece.items() if key != "function" and value is not None})
    for key, value in (piece.get("function") or {}).items():
        had = call["function"].get(key)
        call["function"][key] = had + value if isinstance(had, str) and isinstance(value, str) else value
