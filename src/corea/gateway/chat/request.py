"""OpenAI's chat requests, read strictly where we use a field and left alone where we do not."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from corea.gateway.errors import GatewayError, bad_field, unsupported
from corea.money import parse_usd
from corea.types import ANSWERS, LIMITS, Message, wrong_fields

JSON = dict[str, Any]
ROLES = ("system", "developer", "user", "assistant", "tool", "function")
MOST_TOKENS = 10_000_000
_decode_json = msgspec.json.Decoder(JSON).decode
encode_json: Callable[[Any], bytes] = msgspec.json.Encoder(decimal_format="number").encode


class RequestControls(msgspec.Struct, frozen=True, kw_only=True):
    """The request's `corea` object: what it asks of the cascade itself."""

    threshold: float | None = None
    max_cost_usd: Decimal | None = None
    stage: str | None = None
    raw: bool = False
    session: str | None = None


NO_CONTROLS = RequestControls()


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):  # made in a tenth of a dataclass's time
    """A checked request. `extra` holds every field that we do not use, as it came."""

    model: str
    messages: tuple[Message, ...]
    stream: bool = False
    include_usage: bool = False
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    logprobs: bool = False
    top_logprobs: int = 0
    extra: Mapping[str, Any]
    controls: RequestControls = NO_CONTROLS

    @property
    def plain(self) -> bool:
        """Whether it is a conversation in text and nothing else, as most are."""
        if self.extra or self.settings or self.controls is not NO_CONTROLS:
            return False
        return all(message.raw is None for message in self.messages)

    @property
    def settings(self) -> bool:
        """Whether it sets anything of how a stage writes."""
        given = (self.max_tokens, self.temperature, self.top_p, self.seed)
        return given != NOTHING_GIVEN or bool(self.stop or self.logprobs or self.top_logprobs)

    @property
    def needs(self) -> dict[str, str]:
        """What a stage must be able to take beside text, and the field that says so: tools, images (or sound, files),
        structured."""
        found: dict[str, str] = {}
        for name in ("tools", "functions"):
            if self.extra.get(name):
                found.setdefault("tools", name)
        for index, message in enumerate(self.messages):
            if message.role in ("tool", "function"):
                found.setdefault("tools", f"messages[{index}].role")
            if _has_media(message):
                found.setdefault("images", f"messages[{index}].content")
        form = self.extra.get("response_format")
        if isinstance(form, dict) and form.get("type") not in (None, "text"):  # pyright: ignore[reportUnknownMemberType]
            found["structured"] = "response_format"
        return found


NOTHING_GIVEN = (None, None, None, None)


def parse_chat(body: bytes) -> ChatRequest:
    """A chat request from its body.

    Raises:
        GatewayError: The body is no JSON object, or a field that we use is not what it should be; names the field.
    """
    try:
        data = _decode_json(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise GatewayError(400, f"The body is not a JSON object: {error}.", code="invalid_json") from error
    given: JSON = {"model": None, "messages": None}
    extra: JSON = {}
    for key, value in data.items():
        if (ours := FIELDS.get(key)) is None:
            if value is not None or key not in (*LIMITS, *ANSWERS):
                extra[key] = value
        elif value is not None:
            name, read = ours
            given[name] = read(key, value)
    for key, expected in wrong_fields(extra).items():
        raise bad_field(key, extra[key], expected)
    if given["model"] is None:
        raise bad_field("model", None, "the name of a model; GET /v1/models lists them")
    if given["messages"] is None:
        raise bad_field("messages", None, "a list of at least one message")
    given.pop("n", None)
    if (limit := given.pop("max_completion_tokens", None)) is not None:
        given["max_tokens"] = limit
    return ChatRequest(**given, extra=extra)


Reader = Callable[[str, Any], Any]


def _typed(kind: type, expected: str) -> Reader:
    def read(key: str, value: Any) -> Any:
        if not isinstance(value, kind):
            raise bad_field(key, value, expected)
        return value

    return read


def _whole(low: int, high: int, expected: str) -> Reader:
    def read(key: str, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise bad_field(key, value, expected)
        return value

    return read


def _number(low: float, high: float) -> Reader:
    def read(key: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise bad_field(key, value, f"a number from {low} to {high}")
        return float(value)

    return read


def _model(key: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise bad_field(key, value, "the name of a model; GET /v1/models lists them")
    return value


def _messages(key: str, value: Any) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise bad_field(key, value, "a list of at least one message")
    return tuple([_message(i, m) for i, m in enumerate(value)])  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def _one(key: str, value: Any) -> int:
    if _whole(-(2**63), 2**63, "a whole number")(key, value) != 1:
        raise unsupported(key, "a cascade gives one answer, so n must be 1")
    return 1


def _stops(key: str, value: Any) -> tuple[str, ...]:
    stops: Any = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or len(stops) > 4 or not all(isinstance(s, str) and s for s in stops):  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        raise bad_field(key, value, "a string or a list of up to 4 strings")
    return tuple(stops)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def _include_usage(key: str, value: Any) -> bool:
    return bool(_typed(dict, "an object")(key, value).get("include_usage"))


def _message(index: int, value: Any) -> Message:
    where = f"messages[{index}]"
    if not isinstance(value, dict):
        raise bad_field(where, value, "an object with role and content")
    message: JSON = value
    role, content = message.get("role"), message.get("content")
    if role not in ROLES:
        raise bad_field(f"{where}.role", role, f"one of {', '.join(ROLES)}")
    if content is None and role != "assistant":
        raise bad_field(f"{where}.content", content, "a string or a list of parts")
    if isinstance(content, str) and message.keys() <= {"role", "content"} and role in ("system", "user", "assistant"):
        return Message(role, content)
    if content is not None and not isinstance(content, str | list):
        raise bad_field(f"{where}.content", content, "a string or a list of parts")
    if isinstance(content, list):
        parts: list[Any] = content
        for number, part in enumerate(parts):
            if not isinstance(part, dict) or not isinstance(part.get("type"), str):  # pyright: ignore[reportUnknownMemberType]
                raise bad_field(f"{where}.content[{number}]", part, "an object with a type")
        text = "\n".join(str(part.get("text", "")) for part in parts if part.get("type") == "text")
        if all(part.get("type") == "text" for part in parts) and message.keys() <= {"role", "content"}:
            return Message(str(role), text)
        return Message(str(role), text, raw=message)
    return Message(str(role), content or "", raw=message)


def _has_media(message: Message) -> bool:
    content = message.raw.get("content") if message.raw else None
    return isinstance(content, list) and any(part.get("type") != "text" for part in content)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def _amount(key: str, value: Any) -> Decimal:
    try:
        return parse_usd(value)
    except ValueError as error:
        raise bad_field(key, value, str(error)) from error


def _controls(key: str, value: Any) -> RequestControls:
    given: JSON = {}
    for name, wanted in _typed(dict, "an object")(key, value).items():
        if name not in CONTROLS:
            raise bad_field(f"corea.{name}", wanted, f"one of {', '.join(CONTROLS)}")
        if wanted is not None:
            given[name] = CONTROLS[name](f"corea.{name}", wanted)
    return RequestControls(**given)


CONTROLS: dict[str, Reader] = {
    "threshold": _number(0, 1),
    "max_cost_usd": _amount,
    "stage": _typed(str, "the name of a stage"),
    "raw": _typed(bool, "true or false"),
    "session": _typed(str, "a string"),
}
_limit = _whole(1, MOST_TOKENS, "a whole number of at least 1")
FIELDS: dict[str, tuple[str, Reader]] = {
    "model": ("model", _model),
    "messages": ("messages", _messages),
    "stream": ("stream", _typed(bool, "true or false")),
    "stream_options": ("include_usage", _include_usage),
    "n": ("n", _one),
    "max_tokens": ("max_tokens", _limit),
    "max_completion_tokens": ("max_completion_tokens", _limit),
    "temperature": ("temperature", _number(0, 2)),
    "top_p": ("top_p", _number(0, 1)),
    "stop": ("stop", _stops),
    "seed": ("seed", _whole(-(2**63), 2**63 - 1, "a whole number of 64 bits")),
    "logprobs": ("logprobs", _typed(bool, "true or false")),
    "top_logprobs": ("top_logprobs", _whole(0, 20, "a whole number from 0 to 20")),
    "corea": ("controls", _controls),
}
