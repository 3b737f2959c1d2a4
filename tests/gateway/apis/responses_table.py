"""The table of the Responses API's fields in docs/apis.md, from requests to a gateway in front of two scripted servers.

`python -m tests.gateway.apis.responses_table` writes it; a test compares it with what is measured.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

from tests.fakes.server import SSE, Bytes
from tests.gateway.chat.fields_table import CALL, MESSAGE, answer
from tests.gateway.chat.upstreams import Upstreams, upstreams
from tests.gateway.conftest import SURE, UNSURE

FILE = Path(__file__).parents[3] / "docs/_generated/responses-fields.md"
NATIVE = {"apis": ["chat", "responses"]}
SITUATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "kept": ("corea", {}), "deferred": ("corea", {}), "direct stage": ("corea/large", {}),
    "passed through": ("corea/large", {"server": NATIVE}),
}  # fmt: skip
TOOL = {"type": "function", "name": "add", "parameters": {"type": "object"}}
TEXT = {"type": "input_text", "text": "12?"}


def user(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    """An input of one message of the user."""
    return [{"role": "user", "content": list(parts)}]


WHOLE_FIELDS = {"input", "instructions", "tools", "text", "reasoning"}
REQUEST: dict[str, Any] = {
    "input in parts": {"input": user(TEXT, {**TEXT, "cache_control": {"a": 1}})},
    "input_image": {"input": user(TEXT, {"type": "input_image", "image_url": "data:,"})},
    "input_file": {"input": user(TEXT, {"type": "input_file", "file_data": "data:,"})},
    "input_image of a file_id": {"input": user(TEXT, {"type": "input_image", "file_id": "f"})},
    "function_call and its output": {"input": [
        *user(TEXT), {"type": "function_call", "call_id": "c", "name": "add", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "19"}]},
    "reasoning, of this gateway": {"input": [
        *user(TEXT), {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
        {"role": "assistant", "content": "19"}, *user(TEXT)]},
    "item_reference": {"input": [*user(TEXT), {"type": "item_reference", "id": "i"}]},
    "instructions": {"instructions": "Be kind."}, "tools": {"tools": [TOOL]},
    "tools of other types": {"tools": [{"type": "web_search"}]},
    "tool_choice": {"tools": [TOOL], "tool_choice": {"type": "function", "name": "add"}},
    "parallel_tool_calls": {"tools": [TOOL], "parallel_tool_calls": False}, "max_output_tokens": 300,
    "temperature": 0.3, "top_p": 0.9, "top_logprobs": 2, "text.format": {"text": {"format": {"type": "json_object"}}},
    "text.verbosity": {"text": {"verbosity": "low"}}, "reasoning.effort": {"reasoning": {"effort": "low"}},
    "reasoning.summary": {"reasoning": {"summary": "auto"}}, "include": ["reasoning.encrypted_content"],
    "store": True, "metadata": {"a": "b"}, "user": "u", "safety_identifier": "s", "prompt_cache_key": "k",
    "service_tier": "flex", "truncation": "auto", "client_metadata": {"a": "b"}, "max_tool_calls": 5,
    "previous_response_id": "resp_1", "conversation": "conv_1", "background": True, "prompt": {"id": "p"},
    "prompt_cache_retention": "24h", "prompt_cache_options": {"mode": "explicit"}, "moderation": {"model": "m"},
    "stream_options": {"include_obfuscation": False}, "context_management": [{"type": "compaction"}],
    "background_options": {"a": 1}, "image": {"a": 1}, "access_programs": ["a"], "made_up": [1, {"a": None}],
}  # fmt: skip
SPELT = [name for name, value in REQUEST.items() if isinstance(value, dict) and WHOLE_FIELDS & value.keys()]
ONE_MARK = "MARK"


COMPLETED = {"id": "r", "object": "response", "status": "completed", "output": []}
UNREAD = (
    "access_programs", "error", "incomplete_details", "instructions", "metadata", "parallel_tool_calls",
    "temperature", "tool_choice", "tools", "top_p", "background", "completed_at", "conversation", "image",
    "input_transformations", "max_output_tokens", "max_tool_calls", "moderation", "previous_response_id", "prompt",
    "prompt_cache_diagnostics", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "reasoning",
    "safety_identifier", "service_tier", "text", "tool_usage", "top_logprobs", "truncation", "user",
)  # fmt: skip
RESPONSE = {  # fields of the API's own response, each with what a server that speaks the API gave
    **COMPLETED, "created_at": 5, "model": "served", **{name: {"a": [1, None]} for name in UNREAD},
    "usage": {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7, "a": 1},
}  # fmt: skip


async def request_columns() -> dict[str, list[str]]:
    """The cells of each request field."""
    rows: dict[str, list[str]] = {name: [] for name in REQUEST}
    for situation, (model, settings) in SITUATIONS.items():
        words: dict[str, list[str]] = {name: [] for name in REQUEST}
        for stream in (False, True):
            small = answer(SURE if situation == "kept" else UNSURE, False)
            large = _native(stream) if situation == "passed through" else answer("19", stream)
            async with upstreams(large, small, **settings) as it:
                for name in REQUEST:
                    words[name].append(await _cell(it, name, model, stream=stream, last=situation != "kept"))
        for name, row in rows.items():
            row.append(" / ".join(dict.fromkeys(words[name])))
    return rows


async def _cell(it: Upstreams, name: str, model: str, *, stream: bool, last: bool) -> str:
    """What became of a request field."""
    fields = REQUEST[name] if name in SPELT else {name: REQUEST[name]}
    asked = {"input": "12?", "stream": stream}
    plain = [(await _sent(it, {**asked, "model": m}, last=m != model))[0] for m in (model, "corea/large")]
    sent, dropped = await _sent(it, {**asked, "model": model, **fields}, last=last)
    word = _word(fields, next(p for p in reversed(plain) if sent is None or p["model"] == sent["model"]), sent)
    word = f"{word}, named in the header" if dropped else word
    return f"{word}, to the last stage" if not last and it.large.requests else word


async def _sent(it: Upstreams, body: dict[str, Any], *, last: bool) -> tuple[Any, str]:
    """The body that a server was sent, None where the request was refused; and the header of dropped fields.

    Args:
        last: The last stage's server, else the first that was asked.
    """
    it.small.requests.clear()
    it.large.requests.clear()
    response = await it.request("POST", "/v1/responses", json=body)
    if response.status_code != 200:
        assert response.status_code == 400, response.text
        return None, ""
    asked = it.large.requests if last else it.small.requests or it.large.requests
    return asked[0].body, response.headers.get("x-corea-dropped", "")


def _word(fields: dict[str, Any], plain: dict[str, Any], sent: dict[str, Any] | None) -> str:
    """What became of a field."""
    if sent is None:
        return "refused"
    if all(sent.get(name) == value for name, value in fields.items()):
        return "passes"
    changed = [f"`{name}`" for name, value in sent.items() if plain.get(name) != value]
    return f"as {', '.join(changed)}" if changed else "not sent"


def _native(stream: bool, response: dict[str, Any] = COMPLETED) -> Bytes:
    if not stream:
        return Bytes(json.dumps(response).encode())
    event = {"type": "response.completed", "sequence_number": 0, "response": response}
    return Bytes(f"event: response.completed\ndata: {json.dumps(event)}\n\n".encode(), SSE)


async def answer_row(name: str) -> list[str]:
    """The cells of a field of a chat answer: where the response has it, whole and streamed."""
    cells: list[str] = []
    for situation in ("kept", "deferred"):
        words: list[str] = []
        for stream in (False, True):
            more = {} if name == "content" else {name: _marked(MESSAGE[name])}
            large = answer(ONE_MARK if name == "content" else "19", stream, **more)
            kept = SURE.replace("<answer>19", f"<answer>{ONE_MARK}") if name == "content" else SURE
            small = answer(kept if situation == "kept" else UNSURE, False, **(more if situation == "kept" else {}))
            async with upstreams(large, small) as it:
                body = {"model": "corea", "input": "12?", "stream": stream}
                if name == "reasoning_details":
                    body["include"] = ["reasoning.encrypted_content"]
                response = await it.request("POST", "/v1/responses", json=body)
            words.append(_found(_final(response.content) if stream else response.json(), name))
        cells.append(words[0] if words[0] == words[1] else f"{words[0]} / {words[1]}")
    return cells


def _marked(value: Any) -> Any:
    """The value with its last text replaced by the mark."""
    if isinstance(value, list):
        return [*value[:-1], _marked(value[-1])]
    if isinstance(value, dict):
        key = "function" if "function" in value else list(value)[-1]
        return {**value, key: _marked(value[key])}
    return ONE_MARK


def _final(body: bytes) -> Any:
    return json.loads(body.decode().rstrip("\n").rpartition("data: ")[2])["response"]


def _found(response: Any, name: str) -> str:
    """The item and field with the mark."""
    for item in response["output"]:
        for part in item.get("content") or ():
            for key, value in part.items():
                if ONE_MARK in json.dumps(value):
                    return f"`{item['type']}` item: `{part['type']}`" + (
                        "" if key in ("text", "refusal") else f".{key}"
                    )
        if name == "reasoning_details" and item.get("encrypted_content"):
            return "`reasoning` item: `encrypted_content`, if `include` asks for it"
        mark = json.dumps(CALL["id"]) if name == "tool_calls" else ONE_MARK
        for key, value in item.items():
            if key != "content" and mark in json.dumps(value):
                return f"`{item['type']}` item"
    return "no"


async def response_rows() -> dict[str, list[str]]:
    """The cells of each field of a response: what the gateway gives itself, and what it makes of a server's own."""
    rows: dict[str, list[str]] = {name: [] for name in RESPONSE}
    for native in (False, True):
        found: list[dict[str, Any]] = []
        for stream in (False, True):
            large = _native(stream, RESPONSE) if native else answer("19", stream)
            async with upstreams(large, server=NATIVE if native else {}) as it:
                body = {"model": "corea/large", "input": "12?", "stream": stream}
                response = await it.request("POST", "/v1/responses", json=body)
            found.append(_final(response.content) if stream else response.json())
        for name, cells in rows.items():
            words = [_given(name, each, native=native) for each in found]
            cells.append(words[0] if words[0] == words[1] else f"{words[0]} / {words[1]}")
    return rows


def _given(name: str, found: dict[str, Any], *, native: bool) -> str:
    """What a response has in a field."""
    if native:
        return "passes" if found.get(name) == RESPONSE[name] else "changed"
    return "absent" if name not in found else "null" if found[name] is None else "given"


async def table() -> str:
    """All tables as Markdown."""
    lines = [f"| request | {' | '.join(SITUATIONS)} |", "|---|" + "---|" * len(SITUATIONS)]
    lines += [f"| `{name}` | {' | '.join(cells)} |" for name, cells in (await request_columns()).items()]
    lines += ["", "| chat answer of a stage | kept | deferred or direct stage |", "|---|---|---|"]
    lines += [f"| `{name}` | {' | '.join(await answer_row(name))} |" for name in ("content", *MESSAGE)]
    lines += ["", "| response | translated | passed through |", "|---|---|---|"]
    lines += [f"| `{name}` | {' | '.join(cells)} |" for name, cells in (await response_rows()).items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    FILE.write_text(asyncio.run(table()))
