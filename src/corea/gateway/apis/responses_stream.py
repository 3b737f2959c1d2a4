"""OpenAI's Responses API: chat answers as responses, whole and as the events of a stream; the API itself.

Source: https://platform.openai.com/docs/api-reference/responses-streaming
"""

import time
from copy import deepcopy
from typing import Any, cast

from corea.cascade import new_id
from corea.gateway.apis.api import JSON, Translated, objects, text_of
from corea.gateway.apis.responses import (
    NOT_OF_CALL,
    ResponsesRequest,
    add_thoughts,
    encoded_thoughts,
    in_its_words,
    responses_request,
)

ECHOED: dict[str, Any] = {  # fields of a request that its response repeats, with their defaults
    "instructions": None, "max_output_tokens": None, "parallel_tool_calls": True, "temperature": None,
    "tool_choice": "auto", "top_p": None, "reasoning": {"effort": None, "summary": None}, "user": None,
    "text": {"format": {"type": "text"}}, "truncation": "disabled", "metadata": {},
}  # fmt: skip
OF_CHAT = frozenset({"id", "object", "created", "model", "choices", "usage"})
OF_CALL = NOT_OF_CALL | {"index", "function"}
INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
RATE_LIMITED = dict.fromkeys(("upstream_rate_limited", "overloaded", "budget_reserved"), "rate_limit_exceeded")
OWN = frozenset(  # `store` too: without it, OpenAI's server stores
    {"model", "input", "instructions", "stream", "stream_options", "max_output_tokens", "temperature", "top_p",
     "top_logprobs", "include", "store"}
)  # fmt: skip
TEXT_FIELD = {"output_text": "text", "refusal": "refusal", "reasoning_text": "text"}


class ResponseAnswers:
    """Builds one response from a chat answer, or from its chunks. Both give the same items."""

    def __init__(self, request: ResponsesRequest) -> None:
        self.request = request
        self.trace_id: str = ""  # makes the ids of the response and its items
        self.created: int = 0
        self.output: list[JSON] = []
        self.usage: JSON | None = None
        self.finish_reason: str | None = None
        self.others: JSON = {}  # fields around the choice, as they came
        self._begun = False
        self._calls: dict[int, JSON] = {}
        self._open: JSON | None = None  # the message or reasoning that is being written
        self._thoughts: JSON = {}  # its reasoning fields, as the model's server sent them
        self._events: list[JSON] = []
        self._number = 0

    def whole(self, answer: JSON) -> JSON:
        """See `Answers`."""
        self._add(answer)
        return self._end()

    def events(self, chunk: JSON) -> list[JSON]:
        """See `Answers`."""
        self._begin(chunk)
        self._add(chunk)
        return self._taken()

    def end(self) -> list[JSON]:
        """See `Answers`."""
        self._end()
        return self._taken()

    def failed(self, error: JSON, sent: int) -> list[JSON]:
        """See `Answers`: the response ends with the error, and what is written stays in it, unfinished."""
        code, known = error.get("code"), error.get("type") != "api_error"
        told = {**in_its_words(error), "code": RATE_LIMITED.get(code, code) if known and code else "server_error"}
        if sent and not self._begun:  # by the model's server itself
            return [{**told, "type": "error", "sequence_number": sent}]
        self._begin({})
        self._event("response.failed", response=self.response("failed", told))
        return self._taken()

    def _begin(self, chunk: JSON) -> None:
        if not self._begun:
            self._begun = True
            self._identify(chunk)
            for kind in ("response.created", "response.in_progress"):
                self._event(kind, response=self.response("in_progress"))

    def _identify(self, answer: JSON) -> None:
        self.trace_id = str(answer.get("id") or new_id()).removeprefix("chatcmpl-")
        self.created = answer.get("created") or int(time.time())

    def _add(self, answer: JSON) -> None:
        """Adds a whole chat answer or a chunk of one."""
        if not self.trace_id:
            self._identify(answer)
        self.others |= {name: value for name, value in answer.items() if name not in OF_CHAT}
        self.usage = answer.get("usage") or self.usage
        for choice in answer["choices"]:
            message: JSON = choice.get("delta") or choice.get("message") or {}
            tokens: JSON = choice.get("logprobs") or {}
            if message:
                self._add_message(message, tokens.get("content") or [])
            self.finish_reason = choice.get("finish_reason") or self.finish_reason

    def _end(self) -> JSON:
        """Ends all items; the response, which is also in the last event."""
        status = "incomplete" if self.finish_reason in INCOMPLETE else "completed"
        if not self.output and status == "completed":
            self._open_item("message", role="assistant", content=[])
        self._close(status)
        for call in self._calls.values():
            self._close_call(call, status if call is self.output[-1] else "completed")
        response = self.response(status)
        self._event(f"response.{status}", response=response)
        return response

    def _taken(self) -> list[JSON]:
        """The events since the last call."""
        events, self._events = self._events, []
        return events

    def response(self, status: str, error: JSON | None = None) -> JSON:
        """The response as far as it is written."""
        asked = self.request.asked
        reason = INCOMPLETE.get(self.finish_reason or "") if status == "incomplete" else None
        echoed = {k: _with_defaults(asked.get(k), default) for k, default in ECHOED.items()}
        return {
            **self.others,  # of the model's server: none may take the place of ours
            "id": f"resp_{self.trace_id}",
            "object": "response",
            "created_at": self.created,
            "status": status,
            "background": False,
            "error": error,
            "incomplete_details": {"reason": reason} if reason else None,
            "model": asked["model"],
            "output": [*self.output],
            "previous_response_id": None,
            "store": False,
            **echoed,
            "tools": self.request.tools,
            "usage": usage_of(self.usage) if self.usage else None,
        }

    def _add_message(self, message: JSON, tokens: list[JSON]) -> None:
        content = message.get("content")
        text, thought = _of_parts(content) if isinstance(content, list) else (text_of(content), "")
        kept: JSON = {}
        add_thoughts(kept, message)
        thought = next((value for value in kept.values() if isinstance(value, str)), thought)
        if kept or thought:
            self._add_thought(thought, kept or {"reasoning_content": thought})
        if text or (tokens and self._open is not None and self._open["type"] == "message"):
            self._add_text("output_text", text, tokens)
        for annotation in objects(message.get("annotations")):
            self._annotate(annotation)
        if refusal := text_of(message.get("refusal")):
            self._add_text("refusal", refusal)
        for number, call in enumerate(objects(message.get("tool_calls"))):
            index = call.get("index")
            self._add_call(index if isinstance(index, int) else number, call)

    def _add_thought(self, thought: str, kept: JSON) -> None:
        if self._open is None or self._open["type"] != "reasoning":
            self._open_item("reasoning", summary=[], content=[])
        add_thoughts(self._thoughts, kept)
        if thought:
            self._add_text("reasoning_text", thought)

    def _add_text(self, kind: str, text: str, tokens: list[JSON] | None = None) -> None:
        """Adds a text to the open part of this kind, which is opened if need be."""
        part = self._part(kind)
        part[TEXT_FIELD[kind]] += text
        more = {}
        if kind == "output_text":
            part["logprobs"] += tokens or []
            more = {"logprobs": tokens or []}
        if text:
            self._event(f"response.{kind}.delta", **self._place(), delta=text, **more)

    def _annotate(self, annotation: JSON) -> None:
        """Adds an annotation; its fields are in the same object as its type here."""
        kind = annotation.get("type")
        inner = annotation.get(kind) if isinstance(kind, str) else None
        flat = {"type": kind, **cast(JSON, inner)} if isinstance(inner, dict) else annotation
        found = self._part("output_text")["annotations"]
        found.append(flat)
        self._event(
            "response.output_text.annotation.added",
            **self._place(), annotation_index=len(found) - 1, annotation=flat,
        )  # fmt: skip

    def _add_call(self, index: int, piece: JSON) -> None:
        function: JSON = next(iter(objects([piece.get("function")])), {})
        name, arguments = text_of(function.get("name")), text_of(function.get("arguments"))
        call = self._calls.get(index)
        if call is None:
            self._close("completed")
            number = len(self.output)
            others = {k: v for k, v in piece.items() if k not in OF_CALL and v is not None}
            call_id = text_of(piece.get("id")) or f"call_{self.trace_id}_{number}"
            call = self._item("function_call", "fc", call_id=call_id, name=name, arguments="", **others)
            self._calls[index] = call
            self._event("response.output_item.added", output_index=number, item=dict(call))
        else:
            call["name"] += name
        if arguments:
            call["arguments"] += arguments
            place = {"item_id": call["id"], "output_index": self.output.index(call)}
            self._event("response.function_call_arguments.delta", **place, delta=arguments)

    def _close_call(self, call: JSON, status: str) -> None:
        call["status"] = status
        index = self.output.index(call)
        self._event(
            "response.function_call_arguments.done",
            item_id=call["id"], output_index=index, name=call["name"], arguments=call["arguments"],
        )  # fmt: skip
        self._event("response.output_item.done", output_index=index, item=call)

    def _part(self, kind: str) -> JSON:
        """The open part of this kind, in the open item of its type."""
        wanted = "reasoning" if kind == "reasoning_text" else "message"
        if self._open is None or self._open["type"] != wanted:
            self._open_item(wanted, role="assistant", content=[])
        assert self._open is not None
        parts = self._open["content"]
        if not parts or parts[-1]["type"] != kind:
            if parts:
                self._end_part()
            made: JSON = {"type": kind, TEXT_FIELD[kind]: ""}
            parts.append(made | ({"annotations": [], "logprobs": []} if kind == "output_text" else {}))
            self._event("response.content_part.added", **self._place(), part=deepcopy(parts[-1]))
        return parts[-1]

    def _open_item(self, kind: str, **fields: Any) -> None:
        self._close("completed")
        self._open = self._item(kind, {"message": "msg", "reasoning": "rs"}[kind], **fields)
        self._event("response.output_item.added", output_index=len(self.output) - 1, item={**self._open, "content": []})

    def _item(self, kind: str, prefix: str, /, **fields: Any) -> JSON:
        made = {"id": f"{prefix}_{self.trace_id}_{len(self.output)}", "type": kind, "status": "in_progress", **fields}
        self.output.append(made)
        return made

    def _close(self, status: str) -> None:
        """Ends the open message or reasoning."""
        if (item := self._open) is None:
            return
        if item["content"]:
            self._end_part()
        item["status"] = status
        if item["type"] == "reasoning" and self.request.encrypts:
            item["encrypted_content"] = encoded_thoughts(self._thoughts)
        self._event("response.output_item.done", output_index=len(self.output) - 1, item=item)
        self._open, self._thoughts = None, {}

    def _end_part(self) -> None:
        assert self._open is not None
        part = self._open["content"][-1]
        field = TEXT_FIELD[part["type"]]
        more = {"logprobs": part["logprobs"]} if part["type"] == "output_text" else {}
        self._event(f"response.{part['type']}.done", **self._place(), **{field: part[field]}, **more)
        self._event("response.content_part.done", **self._place(), part=part)

    def _place(self) -> JSON:
        """The place of the open part."""
        assert self._open is not None
        parts = self._open["content"]
        return {"item_id": self._open["id"], "output_index": len(self.output) - 1, "content_index": len(parts) - 1}

    def _event(self, kind: str, /, **fields: Any) -> None:
        self._events.append({"type": kind, "sequence_number": self._number, **fields})
        self._number += 1


def usage_of(usage: JSON) -> JSON:
    """Usage in this API's words."""
    inside, outside = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
    found: JSON = {
        "input_tokens": usage.get("prompt_tokens", 0),
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0, **inside},
        "output_tokens": usage.get("completion_tokens", 0),
        "output_tokens_details": {"reasoning_tokens": 0, **outside},
        "total_tokens": usage.get("total_tokens", 0),
    }
    return {**found, "corea_stages": usage["corea_stages"]} if "corea_stages" in usage else found


def _with_defaults(value: Any, default: Any) -> Any:
    if isinstance(value, dict) and isinstance(default, dict):
        return {**cast(JSON, default), **cast(JSON, value)}
    return default if value is None else value


def _of_parts(parts: Any) -> tuple[str, str]:
    """Text and thinking of a content in parts (Mistral)."""
    texts = [text_of(part.get("text")) for part in objects(parts) if part.get("type") == "text"]
    thoughts = [part.get("thinking") for part in objects(parts) if part.get("type") == "thinking"]
    return "".join(texts), "".join(_of_parts(t)[0] if isinstance(t, list) else text_of(t) for t in thoughts)


class _Responses:
    """The API."""

    name: str = "responses"
    path: str = "/v1/responses"
    own: frozenset[str] = OWN
    forwarded: tuple[str, ...] = (
        "openai-beta", "session_id", "session-id", "thread-id", "conversation_id", "x-client-request-id",
    )  # fmt: skip
    named_events: bool = True

    def translate(self, body: JSON, *, cache_control: bool) -> Translated:
        """See `Api`; `cache_control` stays where a client wrote it, since this API has no such field."""
        found = responses_request(body)
        answers = ResponseAnswers(found)
        return Translated(chat=found.chat, answers=answers, dropped=found.dropped, only=found.only)

    def error(self, error: JSON, status: int | None, request_id: str) -> JSON:
        """See `Api`."""
        return {"error": in_its_words(error)}


RESPONSES = _Responses()
