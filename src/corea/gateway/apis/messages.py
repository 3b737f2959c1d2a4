"""Anthropic's Messages API, `POST /v1/messages`: its requests as chat requests, and its errors.

Source: https://docs.anthropic.com/en/api/messages
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from corea.backends.openai.wire import REASONING
from corea.gateway.apis.api import JSON, Translated, read_object
from corea.gateway.apis.messages_answer import SIGNED, MessageAnswers
from corea.gateway.errors import bad_field

NO_CHAT = "a chat request cannot carry it, and no server behind this model speaks the messages API"
SAME = ("max_tokens", "temperature", "top_p", "stream")
USED = frozenset({"model", "messages", "system", "stop_sequences", *SAME})
OTHERS = {"tools", "tool_choice", "metadata", "output_config", "output_format", "service_tier"}  # have a counterpart
DROPPED = (
    "thinking", "context_management", "compaction", "betas", "diagnostics", "speed", "billing_policy",
    "fallback_credit_token", "user_profile_id", "workspace_id",
)  # fmt: skip
NATIVE_ONLY = ("mcp_servers", "container", "inference_geo", "thread")
TOOL_FIELDS = {"name", "description", "input_schema", "type", "strict", "cache_control"}
CHOICES = {"auto": "auto", "any": "required", "none": "none"}
SIGNATURES = {SIGNED + name: name for name in REASONING}
MOST_STOPS = 4  # of a chat request
LONGEST_USER = 64  # OpenAI's limit for `user`
KINDS = {401: "authentication_error", 402: "billing_error", 403: "permission_error", 404: "not_found_error",
         413: "request_too_large", 429: "rate_limit_error", 503: "overloaded_error", 504: "timeout_error",
         529: "overloaded_error"}  # fmt: skip
CODES = {"upstream_unavailable": 503, "upstream_timeout": 504, "request_timeout": 504, "upstream_rate_limited": 429}

_write = msgspec.json.encode


class _Messages:
    """The API."""

    name: str = "messages"
    path: str = "/v1/messages"
    own: frozenset[str] = USED
    forwarded: tuple[str, ...] = ("anthropic-version", "anthropic-beta")
    named_events: bool = True

    def translate(self, body: JSON, *, cache_control: bool) -> Translated:
        """See `Api`."""
        return _Translation(body, cache_control).result()

    def error(self, error: JSON, status: int | None, request_id: str) -> JSON:
        """See `Api`."""
        status = status or CODES.get(str(error.get("code")), 0)
        kind = KINDS.get(status) or ("invalid_request_error" if 400 <= status < 500 else None)
        kind = kind or (error["type"] if error["type"] in KINDS.values() else "api_error")
        told: JSON = {"type": kind, "message": error["message"]}
        if error.get("code") is not None:
            told["details"] = {"error_code": error["code"]}  # as the SDK's `error_code`
        return {"type": "error", "error": told, "request_id": request_id}


MESSAGES = _Messages()


@dataclass(slots=True)
class _Translation:
    """One request on its way.

    Args:
        cache_control: It is kept.
    """

    body: JSON
    cache_control: bool
    messages: list[JSON] = field(default_factory=list[JSON])
    dropped: set[str] = field(default_factory=set[str])
    only: dict[str, str] = field(default_factory=dict[str, str])

    def result(self) -> Translated:
        """The whole of it."""
        body = self.body
        if not isinstance(body.get("max_tokens"), int):
            raise bad_field("max_tokens", body.get("max_tokens"), "a whole number of at least 1")
        self._system(body.get("system"))
        for index, message in enumerate(_list(body.get("messages"), "messages")):
            self._message(f"messages[{index}]", read_object(message, f"messages[{index}]"))
        chat: JSON = {"model": body.get("model"), "messages": self.messages, **self._fields()}
        if body.get("stream") is True:
            chat["stream_options"] = {"include_usage": True}
        thinking = body.get("thinking")
        answers = MessageAnswers(
            model=str(body.get("model")),
            stops=tuple(body.get("stop_sequences") or ()),  # checked by now
            thinking=isinstance(thinking, dict) and thinking.get("type") not in (None, "disabled"),  # pyright: ignore[reportUnknownMemberType]
        )
        return Translated(chat=chat, answers=answers, dropped=tuple(sorted(self.dropped)), only=self.only)

    def _fields(self) -> JSON:
        """The fields beside the conversation; those that are not known here by their own names."""
        body = self.body
        chat: JSON = {name: body[name] for name in SAME if body.get(name) is not None}
        if stops := body.get("stop_sequences"):
            if not all(isinstance(stop, str) and stop for stop in _list(stops, "stop_sequences")):
                raise bad_field("stop_sequences", stops, "a list of texts")
            chat["stop"] = stops[:MOST_STOPS]
            if len(stops) > MOST_STOPS:
                self.only["stop_sequences"] = f"a chat request takes {MOST_STOPS} at most"
        if (tools := body.get("tools")) not in (None, []):
            chat["tools"] = [self._tool(f"tools[{i}]", tool) for i, tool in enumerate(_list(tools, "tools"))]
        if (choice := body.get("tool_choice")) is not None:
            chat |= _tool_choice(read_object(choice, "tool_choice"))
        if (metadata := body.get("metadata")) is not None:
            chat |= self._user(read_object(metadata, "metadata"))
        chat |= self._form()
        if (tier := body.get("service_tier")) is not None:
            chat["service_tier"] = "default" if tier == "standard_only" else tier
        for name, value in body.items():
            if name in DROPPED:
                self.dropped.add(name)
            elif name in NATIVE_ONLY and value:
                self.only[name] = NO_CHAT
            elif name == "cache_control" and not self.cache_control:
                self.dropped.add(name)
            elif name not in USED and name not in OTHERS and name not in NATIVE_ONLY:
                chat[name] = value
        return chat

    def _user(self, metadata: JSON) -> JSON:
        """The user that the metadata name; any other field of them has no counterpart."""
        user = metadata.get("user_id")
        self.dropped |= {f"metadata.{name}" for name in metadata.keys() - {"user_id"}}
        if user is None:
            return {}
        if not isinstance(user, str) or len(user) > LONGEST_USER:
            self.dropped.add("metadata.user_id")
            return {}
        return {"user": user}

    def _form(self) -> JSON:
        """The form that the answer must have, by either of its names."""
        config = read_object(self.body.get("output_config") or {}, "output_config")
        self.dropped |= {f"output_config.{name}" for name in config.keys() - {"format"}}
        form = config.get("format") or self.body.get("output_format")
        if not form:
            return {}
        form = read_object(form, "output_config.format")
        if form.get("type") != "json_schema" or not isinstance(form.get("schema"), dict):
            raise bad_field("output_config.format", form, "an object with type json_schema and a schema")
        return {"response_format": {
            "type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": form["schema"]}
        }}  # fmt: skip

    def _tool(self, where: str, value: Any) -> JSON:
        tool = read_object(value, where)
        if tool.get("type") not in (None, "custom"):
            self.only[f"{where}.type"] = f"the tool {tool['type']!r:.80} is not a function: {NO_CHAT}"
            return tool
        if not isinstance(tool.get("name"), str):
            raise bad_field(f"{where}.name", tool.get("name"), "a string")
        self.dropped |= {f"tools.{name}" for name in tool.keys() - TOOL_FIELDS}
        names = (("name", "name"), ("description", "description"), ("parameters", "input_schema"), ("strict", "strict"))
        function = {new: tool[old] for new, old in names if tool.get(old) is not None}
        return self._cached({"type": "function", "function": function}, tool)

    def _system(self, system: Any) -> None:
        if not system:
            return
        if isinstance(system, str):
            self.messages.append({"role": "system", "content": system})
            return
        parts = [self._part(f"system[{i}]", block) for i, block in enumerate(_list(system, "system"))]
        self.messages.append({"role": "system", "content": _joined(parts, "\n\n")})

    def _message(self, where: str, message: JSON) -> None:
        role, content = message.get("role"), message.get("content")
        if role not in ("user", "assistant", "system"):
            raise bad_field(f"{where}.role", role, "one of user, assistant, system")
        if isinstance(content, str):
            self.messages.append({"role": role, "content": content})
            return
        blocks = [read_object(block, f"{where}.content[{i}]") for i, block in enumerate(_list(content, where))]
        add: Callable[[str, list[JSON]], None] = self._assistant if role == "assistant" else self._user_turn
        if role == "system":
            parts = [self._part(f"{where}.content[{i}]", block) for i, block in enumerate(blocks)]
            self.messages.append({"role": "system", "content": _joined(parts, "\n\n")})
        else:
            add(f"{where}.content", blocks)

    def _assistant(self, where: str, blocks: list[JSON]) -> None:
        """A turn of the model: its thinking goes back where it came from, if that was a server behind this gateway."""
        parts, calls, message = list[JSON](), list[JSON](), dict[str, Any]()
        for index, block in enumerate(blocks):
            kind = block.get("type")
            if kind == "tool_use":
                function = {"name": block.get("name"), "arguments": _write(block.get("input") or {}).decode()}
                calls.append(self._cached({"id": block.get("id"), "type": "function", "function": function}, block))
            elif kind == "thinking" and str(block.get("signature")) in SIGNATURES:
                name = SIGNATURES[block["signature"]]
                message[name] = message.get(name, "") + str(block.get("thinking"))
            elif kind in ("thinking", "redacted_thinking"):
                self.dropped.add(f"messages.{kind}")
            else:
                parts.append(self._part(f"{where}[{index}]", block))
        content = _joined(parts, "") if parts else None
        self.messages.append(
            {"role": "assistant", "content": content, **message, **({"tool_calls": calls} if calls else {})}
        )

    def _user_turn(self, where: str, blocks: list[JSON]) -> None:
        """A turn of the user: a message for each tool's result, then the rest of it."""
        rest: list[JSON] = []
        for index, block in enumerate(blocks):
            place = f"{where}[{index}]"
            if block.get("type") != "tool_result":
                rest.append(self._part(place, block))
                continue
            content = block.get("content") or ""
            inner = [{"type": "text", "text": content}] if isinstance(content, str) else _list(content, place)
            parts = [self._part(f"{place}.content[{i}]", part) for i, part in enumerate(inner)]
            texts = [part for part in parts if part["type"] == "text"]
            rest += [part for part in parts if part["type"] != "text"]  # chat's results are text
            if block.get("is_error"):
                texts.insert(0, {"type": "text", "text": "Error:"})
            result = {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": _joined(texts, "\n")}
            self.messages.append(self._cached(result, block))
        if rest:
            only = rest[0] if len(rest) == 1 and rest[0].keys() == {"type", "text"} else None
            self.messages.append({"role": "user", "content": only["text"] if only else rest})

    def _part(self, where: str, value: Any) -> JSON:
        """A block of text, an image or a document as a part of a chat message."""
        block = read_object(value, where)
        kind, source = block.get("type"), block.get("source")
        if kind == "text":
            if not isinstance(block.get("text"), str):
                raise bad_field(f"{where}.text", block.get("text"), "a string")
            return self._cached({"type": "text", "text": block["text"]}, block)
        made = _media(kind, source if isinstance(source, dict) else {})  # pyright: ignore[reportUnknownArgumentType]
        if made is None:
            self.only[where] = f"a block of the type {kind!r:.80}: {NO_CHAT}"
            made = {"type": "text", "text": _write(block).decode()}
        return self._cached(made, block)

    def _cached(self, made: JSON, block: Mapping[str, Any]) -> JSON:
        """The part with the block's `cache_control`, where that is kept."""
        if block.get("cache_control") is None:
            return made
        if not self.cache_control:
            self.dropped.add("cache_control")
            return made
        return {**made, "cache_control": block["cache_control"]}


def _media(kind: Any, source: Mapping[str, Any]) -> JSON | None:
    """An image or a document; None if chat has no such part."""
    form, data = source.get("type"), source.get("data")
    encoded = f"data:{source.get('media_type')};base64,{data}" if form == "base64" else None
    if kind == "image" and (form == "url" or encoded):
        return {"type": "image_url", "image_url": {"url": encoded or source.get("url")}}
    if kind == "document" and encoded:
        return {"type": "file", "file": {"filename": "document.pdf", "file_data": encoded}}
    if kind == "document" and form == "text" and isinstance(data, str):
        return {"type": "text", "text": data}
    return None


def _tool_choice(choice: JSON) -> JSON:
    kind = choice.get("type")
    chat: JSON = {"parallel_tool_calls": False} if choice.get("disable_parallel_tool_use") else {}
    if kind == "tool" and isinstance(choice.get("name"), str):
        return {**chat, "tool_choice": {"type": "function", "function": {"name": choice["name"]}}}
    if not isinstance(kind, str) or kind not in CHOICES:
        raise bad_field("tool_choice", choice, "an object whose type is auto, any, none, or tool with a name")
    return {**chat, "tool_choice": CHOICES[kind]}


def _joined(parts: list[JSON], between: str) -> str | list[JSON]:
    """Texts as one string, which every chat template takes; parts where one has more than its text."""
    if all(part.keys() == {"type", "text"} for part in parts):
        return between.join(part["text"] for part in parts)
    return parts


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise bad_field(where, value, "a list")
    return value  # pyright: ignore[reportUnknownVariableType]  # of JSON
