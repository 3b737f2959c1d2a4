"""OpenAI's chat requests: fields that we use are checked, all others are carried unchanged."""

import re
from collections.abc import Mapping
from decimal import Decimal
from operator import attrgetter
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from corea.backends.openai.wire import repaired_json
from corea.gateway.errors import GatewayError, bad_field, unsupported
from corea.money import parse_usd
from corea.types import ANSWERS, LIMITS, Message, NativeRequest, wrong_fields

JSON = dict[str, Any]
_decode_json = msgspec.json.Decoder(JSON).decode

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]
MaxTokens = Annotated[int, Meta(ge=1, le=10_000_000)]
StopText = Annotated[str, Meta(min_length=1)]


class ContentPart(Struct):
    """A part of a message's content."""

    type: str
    text: Any = ""


class ChatMessage(Struct):
    """A message of a request."""

    role: Role
    content: str | list[ContentPart] | None = None


class RequestControls(Struct, frozen=True, forbid_unknown_fields=True):
    """The request's `corea` object: settings of the cascade for this request."""

    threshold: Annotated[float, Meta(ge=0, le=1)] | None = None
    max_cost_usd: Decimal | None = None
    stage: str | None = None
    raw: bool | None = None
    session: str | None = None


class ChatBody(Struct, frozen=True):
    """Body of a chat request, as far as its fields are used here; null is the same as no field."""

    model: Annotated[str, Meta(min_length=1)]
    messages: Annotated[list[ChatMessage], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: JSON | None = None
    n: int | None = None
    max_tokens: MaxTokens | None = None
    max_completion_tokens: MaxTokens | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    stop: StopText | Annotated[list[StopText], Meta(max_length=4)] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    corea: RequestControls | None = None


FIELDS = frozenset(ChatBody.__struct_fields__)
SAMPLING = tuple(FIELDS - {"model", "messages", "stream", "stream_options", "n", "corea"})
NONE_SET = (None,) * len(SAMPLING)
_sampling_of = attrgetter(*SAMPLING)
NO_CONTROLS = RequestControls()
TOOLS = ("tools", "functions")
WITH_TOOLS = (*TOOLS, "tool_choice", "function_call", "parallel_tool_calls")
FORMS = (  # that an answer must have: OpenAI's; vLLM's two generations; llama.cpp's; SGLang's
    "response_format", "guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs",
    "grammar", "json_schema", "regex", "ebnf",
)  # fmt: skip
LAST_ALONE = ("logit_bias", "web_search_options", "modalities", "audio")  # no draft can honour these
HINTS = {
    "model": "the name of a model; GET /v1/models lists them",
    "messages": "a list of at least one message",
}


class ChatRequest(Struct, frozen=True, kw_only=True):  # made in a tenth of a dataclass's time
    """A checked request.

    Args:
        extra: Every field that is not used here, as it came.
        native: The request that it was translated from, if any.
        forced: Those of `extra` that the operator set, for every stage.
    """

    body: ChatBody
    messages: tuple[Message, ...]
    extra: Mapping[str, Any]
    native: NativeRequest | None = None
    forced: frozenset[str] = frozenset()

    @property
    def controls(self) -> RequestControls:
        """Settings of the cascade for this request."""
        return self.body.corea or NO_CONTROLS

    @property
    def include_usage(self) -> bool:
        """True if a stream should end with its usage."""
        return bool(self.body.stream_options and self.body.stream_options.get("include_usage"))

    @property
    def max_tokens(self) -> int | None:
        """Limit of the answer, by its new or its old name."""
        return self.body.max_completion_tokens or self.body.max_tokens

    @property
    def stop(self) -> tuple[str, ...]:
        """The stop sequences."""
        stop = self.body.stop or ()
        return (stop,) if isinstance(stop, str) else tuple(stop)

    @property
    def plain(self) -> bool:
        """True if it is a conversation in text and sets nothing, as most are."""
        if self.extra or self.body.corea is not None or self.sets_sampling:
            return False
        return all(message.raw is None for message in self.messages)

    @property
    def sets_sampling(self) -> bool:
        """True if it sets anything of the sampling."""
        return _sampling_of(self.body) != NONE_SET

    @property
    def needs(self) -> dict[str, str]:
        """Capabilities that a stage needs beside text, each with the field that shows it."""
        found: dict[str, str] = {}
        if self.native is not None and self.native.only:
            found[f"{self.native.api} API"] = next(iter(self.native.only))
        for kind, names in (("tools", TOOLS), ("structured", FORMS), *((name, (name,)) for name in LAST_ALONE)):
            for name in names:
                if self.extra.get(name) and not _is_plain(name, self.extra[name]):
                    found.setdefault(kind, name)
        for index, message in enumerate(self.messages):
            if message.role in ("tool", "function"):
                found.setdefault("tools", f"messages[{index}].role")
            if has_media(message):
                found.setdefault("images", f"messages[{index}].content")
        return found


def parse_chat(body: bytes) -> ChatRequest:
    """A chat request from its body.

    Raises:
        GatewayError: The body is not a JSON object, or a field that is used has a wrong value; names the field.
    """
    return chat_request(read_json(body))


def read_json(body: bytes) -> JSON:
    """The fields of a body.

    Raises:
        GatewayError: It is not a JSON object.
    """
    try:
        try:
            return _decode_json(body)
        except msgspec.DecodeError as error:
            if rb"\ud" not in body.lower():
                raise
            return _decode_json(repaired_json(body, error))  # JavaScript may write half a character
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise GatewayError(400, f"The body is not a JSON object: {error}.", code="invalid_json") from error


def chat_request(data: JSON) -> ChatRequest:
    """A chat request from its fields.

    Raises:
        GatewayError: A field that is used has a wrong value; names the field.
    """
    extra = {k: v for k, v in data.items() if k not in FIELDS and (v is not None or k not in (*LIMITS, *ANSWERS))}
    for key, expected in wrong_fields(extra).items():
        raise bad_field(key, extra[key], expected)
    checked = _checked(data)
    if checked.n not in (None, 1):
        raise unsupported("n", "a cascade gives one answer, so n must be 1")
    messages = [_message(i, m, data["messages"][i]) for i, m in enumerate(checked.messages)]
    return ChatRequest(body=checked, messages=tuple(messages), extra=extra)


def _checked(data: JSON) -> ChatBody:
    controls = data.get("corea")
    if isinstance(controls, dict) and controls.get("max_cost_usd") is not None:  # pyright: ignore[reportUnknownMemberType]
        data["corea"] = {**controls, "max_cost_usd": _amount(controls["max_cost_usd"])}
    try:
        return msgspec.convert(data, ChatBody)
    except msgspec.ValidationError as error:
        raise _field_error(data, str(error)) from error


def _amount(value: Any) -> Decimal:
    try:
        return parse_usd(value)
    except ValueError as error:
        raise bad_field("corea.max_cost_usd", value, str(error)) from error


def _field_error(data: JSON, message: str) -> GatewayError:
    """A 400 from msgspec's message, such as "Expected `int` >= 1 - at `$.max_tokens`"."""
    problem, _, path = message.partition(" - at `$")
    path, field = path.strip(".`"), re.search("field `(.*)`$", problem, re.DOTALL)
    got: Any = data
    for name, index in re.findall(r"(\w+)|\[(\d+)\]", path):
        got = got[name] if name else got[int(index)]
    if field is not None and (not path or "unknown" in problem):
        path, got = f"{path}.{field[1]}".strip("."), got.get(field[1])
    if not path.startswith(("messages", "corea")):
        path = path.partition("[")[0]
    if "unknown field" in problem:
        expected = f"one of {', '.join(RequestControls.__struct_fields__)}"
    elif "enum" in problem:
        expected = f"one of {', '.join(get_args(Role))}"
    elif path in HINTS:
        expected = HINTS[path]
    else:
        expected = f"an object with {field[1]}" if field else problem.removeprefix("Expected ").partition(", got")[0]
    return bad_field(path, got, expected)


def _message(index: int, checked: ChatMessage, raw: JSON) -> Message:
    role, content = checked.role, checked.content
    if content is None:
        if role != "assistant":
            raise bad_field(f"messages[{index}].content", None, "a string or a list of parts")
        return Message(role, "", raw=raw)
    plain = raw.keys() <= {"role", "content"}
    if isinstance(content, str):
        return Message(role, content, raw=None if plain and role in ("system", "user", "assistant") else raw)
    texts = [part.text for part in content if part.type == "text" and isinstance(part.text, str)]
    return Message(role, "\n".join(texts), raw=raw)


def _is_plain(name: str, value: Any) -> bool:
    """True if the value of a field asks for nothing but text."""
    if name == "response_format":
        return not isinstance(value, dict) or value.get("type") in (None, "text")  # pyright: ignore[reportUnknownMemberType]
    return name == "modalities" and value == ["text"]


def has_media(message: Message) -> bool:
    """True if it has a part that is not text."""
    content = message.raw.get("content") if message.raw else None
    return isinstance(content, list) and any(part.get("type") != "text" for part in content)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
