"""OpenAI's Responses API: its requests as chat requests.

Nothing is kept between requests, so a conversation is sent whole. Instructions and messages of role developer become
one system message where they stand together at the beginning, since many models' templates know no other.

Source: https://platform.openai.com/docs/api-reference/responses/create
"""

import base64
from collections.abc import Mapping
from typing import Annotated, Any, cast

import msgspec
from msgspec import Meta, Struct

from corea.gateway.apis.api import JSON, objects
from corea.gateway.chat.request import MaxTokens
from corea.gateway.errors import GatewayError, bad_field
from corea.gateway.ops.affinity import SESSION_FIELDS

KEPT_NOWHERE = "nothing is kept between requests here; send the whole conversation in `input`, with store=false"
ONLY = {  # of fields that no chat request can carry, the reason
    "previous_response_id": KEPT_NOWHERE,
    "conversation": KEPT_NOWHERE,
    "background": "an answer is given to the request that asked for it alone",
    "prompt": "no templates are kept here; send `instructions` and `input`",
    "moderation": "no moderation is done here",
}
USED = ("include", "metadata", "prompt_cache_key", "stream_options")  # here, or about storage at OpenAI
IGNORED = (
    "store", "prompt_cache_retention", "prompt_cache_options", "truncation", "client_metadata", "max_tool_calls",
    "context_management", "background_options", "image", "access_programs",
)  # fmt: skip
TRANSLATED = (
    "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "max_output_tokens", "top_logprobs", "text",
    "reasoning",
)  # fmt: skip
ITEMS = "one of message, reasoning, function_call, function_call_output"
PARTS = "one of input_text, input_image, input_file, input_audio, output_text, refusal"
NOT_OF_TEXT = frozenset({"type", "text", "annotations", "logprobs"})
NOT_OF_CALL = frozenset({"type", "id", "call_id", "name", "arguments", "status"})
ENCRYPTED, LOGPROBS = "reasoning.encrypted_content", "message.output_text.logprobs"
MARK = "corea."  # of reasoning that we have encoded ourselves
REASONING = ("reasoning_content", "reasoning", "reasoning_details", "thinking_blocks")
PARAMS = {
    "messages": "input", "max_tokens": "max_output_tokens", "response_format": "text.format",
    "reasoning_effort": "reasoning.effort", "verbosity": "text.verbosity", "logprobs": "include",
}  # fmt: skip


class ResponsesBody(Struct, frozen=True):
    """Body of a Responses request, as far as its fields are used here; null is the same as no field."""

    model: Annotated[str, Meta(min_length=1)]
    input: str | Annotated[list[JSON], Meta(min_length=1)]
    instructions: str | None = None
    stream: bool | None = None
    tools: list[JSON] | None = None
    tool_choice: str | JSON | None = None
    parallel_tool_calls: bool | None = None
    max_output_tokens: MaxTokens | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    text: JSON | None = None
    reasoning: JSON | None = None
    include: list[str] | None = None
    metadata: JSON | None = None


class ResponsesRequest(Struct, frozen=True, kw_only=True):
    """A checked request and the chat request that it means.

    Args:
        asked: The fields as they came.
        tools: Those that the model is offered, as they came.
        dropped: Fields, and tools that run at OpenAI, without a counterpart.
        only: Fields and items that no chat request can carry, each with the reason.
    """

    asked: JSON
    body: ResponsesBody
    chat: JSON
    tools: list[JSON]
    dropped: tuple[str, ...]
    only: Mapping[str, str]

    @property
    def encrypts(self) -> bool:
        """True if reasoning is also wanted in the form that a client returns unread."""
        return ENCRYPTED in (self.body.include or ())


def responses_request(asked: JSON) -> ResponsesRequest:
    """A request from its fields.

    Raises:
        GatewayError: A field that is used has a wrong value.
    """
    try:
        body = msgspec.convert(asked, ResponsesBody)
    except msgspec.ValidationError as error:
        raise _field_error(asked, str(error)) from error
    only = {name: why for name, why in ONLY.items() if asked.get(name) not in (None, False)}
    offered = [tool for tool in body.tools or () if tool.get("type") == "function"]
    dropped = [name for name in IGNORED if asked.get(name) not in (None, False)]
    dropped += [f"tools.{tool.get('type')}" for tool in body.tools or () if tool.get("type") != "function"]
    chat: JSON = {k: v for k, v in asked.items() if k not in (*ONLY, *IGNORED, *USED, *TRANSLATED)}
    chat |= {"messages": chat_messages(body, only), **_tool_fields(body, offered, only), **_form_fields(body)}
    if body.stream:
        chat["stream_options"] = {"include_usage": True}
    if body.max_output_tokens is not None:
        chat["max_tokens"] = body.max_output_tokens
    if body.top_logprobs or LOGPROBS in (body.include or ()):
        chat |= {"logprobs": True, "top_logprobs": body.top_logprobs or 0}
    session = next((value for name in SESSION_FIELDS if (value := (body.metadata or {}).get(name))), None)
    if isinstance(session, str) and chat.get("corea") is None:
        chat["corea"] = {"session": session}
    return ResponsesRequest(asked=asked, body=body, chat=chat, tools=offered, dropped=tuple(dropped), only=only)


def in_its_words(error: JSON) -> JSON:
    """An error about a field of the chat request, with the name of the field that the client sent."""
    param, message = error.get("param") or "", error.get("message") or ""
    name = next((name for name in PARAMS if param == name or param.startswith((f"{name}.", f"{name}["))), None)
    if name is None:
        return error
    message = message.replace(param, PARAMS[name], 1) if message.startswith(param) else message
    return {**error, "message": message, "param": PARAMS[name]}


def chat_messages(body: ResponsesBody, only: dict[str, str]) -> list[JSON]:
    """The conversation as messages of a chat request; adds to `only` what they cannot hold."""
    written = _Conversation(only)
    if body.instructions:
        written.add_message("system", body.instructions, "instructions")
    if isinstance(body.input, str):
        written.add_message("user", body.input, "input")
    else:
        for index, item in enumerate(body.input):
            written.add(item, f"input[{index}]")
    return written.end() or [{"role": "user", "content": ""}]


class _Conversation:
    """Items in their order as messages: what a model wrote up to the next other item is one message."""

    def __init__(self, only: dict[str, str]) -> None:
        self.only = only
        self.messages: list[JSON] = []
        self.turn: JSON = {}  # of the assistant, being written

    def add(self, item: JSON, where: str) -> None:
        """Adds an item."""
        match item.get("type") or ("message" if "role" in item else None):
            case "message":
                role = item.get("role")
                if role not in ("system", "developer", "user", "assistant"):
                    raise bad_field(f"{where}.role", role, "one of system, developer, user, assistant")
                self.add_message("system" if role == "developer" else role, item.get("content"), where)
            case "reasoning":
                self._end_turn_with("content", "refusal", "tool_calls")
                add_thoughts(self.turn, _thoughts(item))
            case "function_call":
                call = {"name": _text(item, "name", where), "arguments": _text(item, "arguments", where)}
                others = {k: v for k, v in item.items() if k not in NOT_OF_CALL and v is not None}
                made = {**others, "id": _text(item, "call_id", where), "type": "function", "function": call}
                self.turn.setdefault("tool_calls", []).append(made)
            case "function_call_output":
                content = self._content(item.get("output"), f"{where}.output")
                self._end_turn()
                self.messages.append(
                    {"role": "tool", "tool_call_id": _text(item, "call_id", where), "content": content}
                )
            case "item_reference":
                self.only[where] = KEPT_NOWHERE
            case str(kind):
                self.only[where] = f"an item of type {kind[:80]!r} has no counterpart in a chat; expected {ITEMS}"
            case kind:
                raise bad_field(f"{where}.type", kind, ITEMS)

    def add_message(self, role: str, content: Any, where: str) -> None:
        """Adds a message."""
        if role == "assistant":
            self._end_turn_with("content", "refusal", "tool_calls")
            refusals, others = _refusals(content)
            if refusals:
                self.turn["refusal"] = refusals
            if others or not refusals:
                self.turn["content"] = self._content(others, where)
            return
        self._end_turn()
        content = self._content(content, where)
        if role == "system" and self.messages and all(message["role"] == "system" for message in self.messages):
            content = _joined(self.messages.pop()["content"], content)
        self.messages.append({"role": role, "content": content})

    def _content(self, content: Any, where: str) -> str | list[JSON]:
        """A message's content: a string where it is one text, else parts."""
        if isinstance(content, str):
            return content
        if not isinstance(content, list):
            raise bad_field(where, content, "a string or a list of parts")
        found = [self._part(part, f"{where}.content[{i}]") for i, part in enumerate(cast(list[Any], content))]
        parts = [part for part in found if part is not None]
        if not parts:
            return ""
        return parts[0]["text"] if len(parts) == 1 and parts[0].keys() == {"type", "text"} else parts

    def _part(self, part: Any, where: str) -> JSON | None:
        """A part of a content; None for one that no chat request can carry."""
        if not isinstance(part, dict):
            raise bad_field(where, part, "an object with a type")
        part = cast(JSON, part)
        match part.get("type"):
            case "input_text" | "output_text" | "text":
                others = {k: v for k, v in part.items() if k not in NOT_OF_TEXT}
                return {**others, "type": "text", "text": _text(part, "text", where)}
            case "input_image" if isinstance(url := part.get("image_url"), str):
                detail = {"detail": part["detail"]} if part.get("detail") else {}
                return {"type": "image_url", "image_url": {"url": url, **detail}}
            case "input_file" if isinstance(part.get("file_data"), str):
                names = ("filename", "file_data")
                return {"type": "file", "file": {name: part[name] for name in names if part.get(name)}}
            case "input_audio":
                return {"type": "input_audio", "input_audio": part.get("input_audio")}
            case "input_image" | "input_file":
                self.only[where] = "no files are kept here; send the image's URL or the file's data"
            case str(kind):
                self.only[where] = f"a part of type {kind[:80]!r} has no counterpart in a chat; expected {PARTS}"
            case kind:
                raise bad_field(f"{where}.type", kind, PARTS)
        return None

    def end(self) -> list[JSON]:
        """All messages."""
        self._end_turn()
        return self.messages

    def _end_turn_with(self, *names: str) -> None:
        if any(name in self.turn for name in names):
            self._end_turn()

    def _end_turn(self) -> None:
        """Ends the assistant's message; reasoning alone, of an answer that was cut short, is none."""
        if self.turn.keys() - set(REASONING):
            self.messages.append({"role": "assistant", "content": None, **self.turn})
        self.turn = {}


def add_thoughts(had: JSON, fields: Mapping[str, Any]) -> None:
    """Adds reasoning fields of a message to others: texts and lists are continued."""
    for name in REASONING:
        value: Any = fields.get(name)
        old: Any = had.get(name)
        if isinstance(value, str | list) and value:
            had[name] = cast(Any, old) + cast(Any, value) if type(old) is type(value) else value


def encoded_thoughts(fields: JSON) -> str:
    """Reasoning fields of a message as one text, for clients that return it unread."""
    return MARK + base64.urlsafe_b64encode(msgspec.json.encode(fields)).decode()


def _thoughts(item: JSON) -> JSON:
    """The reasoning fields of a message from a reasoning item: as our server encoded them, else its text.

    Reasoning that another server encrypted, and a summary, are nothing that a model can be sent.
    """
    encoded = item.get("encrypted_content")
    if isinstance(encoded, str) and encoded.startswith(MARK):
        try:
            return msgspec.json.decode(base64.urlsafe_b64decode(encoded.removeprefix(MARK)), type=JSON)
        except (ValueError, RecursionError):
            return {}
    text = "".join(text for part in objects(item.get("content")) if isinstance(text := part.get("text"), str))
    return {"reasoning_content": text} if text else {}


def _refusals(content: Any) -> tuple[str, Any]:
    """The refusals in an assistant's content, and its other parts."""
    if not isinstance(content, list):
        return "", content
    parts = cast(list[Any], content)
    refusals = [part for part in objects(parts) if part.get("type") == "refusal"]
    return "".join(str(part.get("refusal") or "") for part in refusals), [p for p in parts if p not in refusals]


def _joined(first: str | list[JSON], second: str | list[JSON]) -> str | list[JSON]:
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    as_parts = [[{"type": "text", "text": c}] if isinstance(c, str) else c for c in (first, second)]
    return [*as_parts[0], *as_parts[1]]


def _tool_fields(body: ResponsesBody, tools: list[JSON], only: dict[str, str]) -> JSON:
    """The chat request's fields about tools; none without any, since servers refuse a choice among none."""
    choice = body.tool_choice
    if isinstance(choice, dict) and choice.get("type") not in ("function", "allowed_tools"):
        only["tool_choice"] = "a tool that does not run at the client cannot be chosen"
        choice = None
    if not tools:
        if choice not in (None, "auto", "none"):
            only["tool_choice"] = "no tool of type function is offered"
        return {}
    found: JSON = {"tools": [_tool(tool, f"tools[{i}]") for i, tool in enumerate(tools)]}
    if choice is not None:
        found["tool_choice"] = choice if isinstance(choice, str) else _choice(choice)
    if body.parallel_tool_calls is not None:
        found["parallel_tool_calls"] = body.parallel_tool_calls
    return found


def _tool(tool: JSON, where: str) -> JSON:
    names = ("description", "parameters", "strict")
    fields = {name: tool[name] for name in names if tool.get(name) is not None}
    return {"type": "function", "function": {"name": _text(tool, "name", where), **fields}}


def _choice(choice: JSON) -> JSON:
    if choice["type"] == "function":
        return {"type": "function", "function": {"name": _text(choice, "name", "tool_choice")}}
    tools = [tool for tool in objects(choice.get("tools")) if tool.get("type") == "function"]
    named = [{"type": "function", "function": {"name": tool.get("name")}} for tool in tools]
    return {"type": "allowed_tools", "allowed_tools": {"mode": choice.get("mode", "auto"), "tools": named}}


def _form_fields(body: ResponsesBody) -> JSON:
    """The chat request's fields about the answer's form and the model's effort."""
    found: JSON = {}
    text, reasoning = body.text or {}, body.reasoning or {}
    if isinstance(form := text.get("format"), dict):
        form = cast(JSON, form)
        match form.get("type"):
            case "text":
                pass
            case "json_object":
                found["response_format"] = {"type": "json_object"}
            case "json_schema":
                schema = {k: v for k, v in form.items() if k != "type" and v is not None}
                found["response_format"] = {"type": "json_schema", "json_schema": schema}
            case kind:
                raise bad_field("text.format.type", kind, "one of text, json_schema, json_object")
    if text.get("verbosity") is not None:
        found["verbosity"] = text["verbosity"]
    if reasoning.get("effort") is not None:
        found["reasoning_effort"] = reasoning["effort"]
    return found


def _text(fields: JSON, name: str, where: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise bad_field(f"{where}.{name}", value, "a string")
    return value


def _field_error(asked: JSON, message: str) -> GatewayError:
    """A 400 from msgspec's message, such as "Expected `int` >= 1 - at `$.max_output_tokens`"."""
    problem, _, path = message.partition(" - at `$")
    if not path:  # "Object missing required field `input`"
        name = problem.rpartition("field `")[2].strip("`")
        return bad_field(name, asked.get(name), "a string" if name == "model" else "a string or a list of items")
    name = path.strip(".`").partition("[")[0]
    return bad_field(name, asked.get(name), problem.removeprefix("Expected ").partition(", got")[0])
