"""The tables of the Messages API's fields in docs/apis.md, from requests to a gateway in front of scripted servers.

`python -m tests.gateway.apis.messages_table` writes them; a test compares them with what is measured.
"""

import asyncio
from pathlib import Path
from typing import Any

from tests.gateway.apis.messages_wire import TOOL, USE, blocks, events, message, post, served
from tests.gateway.chat.fields_table import CALL, answer
from tests.gateway.chat.upstreams import upstreams
from tests.gateway.conftest import SURE, UNSURE

FILE = Path(__file__).parents[3] / "docs/_generated/messages-fields.md"
SITUATIONS = {"kept": "corea", "deferred": "corea", "direct stage": "corea/large", "passed through": "corea/large"}
IMAGE = {"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}}
PDF = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "19"}
FORM = {"type": "json_schema", "schema": {"type": "object"}}


def turn(*parts: Any) -> dict[str, Any]:
    """A request of one turn in blocks."""
    return {"messages": [{"role": "user", "content": list(parts)}]}


def after(block: dict[str, Any], *parts: dict[str, Any]) -> dict[str, Any]:
    """A request whose turn of the model has a block."""
    turns = [("user", [{"type": "text", "text": "1?"}]), ("assistant", [block]), ("user", list(parts))]
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


ASKED = {"type": "text", "text": "12 + 7?"}
MARKED = {**ASKED, "cache_control": {"type": "ephemeral"}}
REQUEST: dict[str, tuple[dict[str, Any], str]] = {  # each with the text that shows it in a chat request, and its name
    "system": ({"system": "Be brief."}, '{"role":"system","content":"Be brief.'),
    "content: text": (turn(ASKED), "12 + 7?"),
    "content: image": (turn(IMAGE, ASKED), '"image_url":{"url":"https://a.example/b.png"}'),
    "content: document, a PDF": (turn(PDF, ASKED), '"type":"file"'),
    "content: document, by URL": (turn({**PDF, "source": IMAGE["source"]}, ASKED), "-"),
    "content: tool_use, tool_result": (
        after(USE, RESULT) | {"tools": [TOOL]}, '{"role":"tool","tool_call_id":"toolu_1","content":"19"}'
    ),
    "content: thinking of Anthropic's": (
        after({"type": "thinking", "thinking": "mm", "signature": "EqQB"}, ASKED), '"mm"'
    ),
    "content: thinking of a server behind this gateway": (
        after({"type": "thinking", "thinking": "mm", "signature": "corea:reasoning_content"}, ASKED),
        '"reasoning_content":"mm"',
    ),
    "cache_control": (turn(MARKED), '"cache_control"'),
    "max_tokens": ({"max_tokens": 300}, '"max_tokens":300'),
    "temperature": ({"temperature": 0.3}, '"temperature":0.3'),
    "top_p": ({"top_p": 0.9}, '"top_p":0.9'),
    "top_k": ({"top_k": 9}, '"top_k":9'),
    "stop_sequences": ({"stop_sequences": ["never"]}, '"stop":["never"]'),
    "tools": ({"tools": [TOOL]}, '"function":{"name":"add"'),
    "tools of Anthropic's server": ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "-"),
    "tool_choice": ({"tools": [TOOL], "tool_choice": {"type": "any"}}, '"tool_choice":"required"'),
    "metadata.user_id": ({"metadata": {"user_id": "u1"}}, '"user":"u1"'),
    "output_config.format": ({"output_config": {"format": FORM}}, '"response_format":{"type":"json_schema"'),
    "output_config.effort": ({"output_config": {"effort": "low"}}, '"low"'),
    "thinking": ({"thinking": {"type": "adaptive"}}, '"adaptive"'),
    "context_management": ({"context_management": {"edits": []}}, '"edits"'),
    "service_tier": ({"service_tier": "auto"}, '"service_tier":"auto"'),
    "speed": ({"speed": "fast"}, '"fast"'),
    "inference_geo": ({"inference_geo": "eu"}, '"eu"'),
    "mcp_servers": ({"mcp_servers": [{"url": "u"}]}, '"url"'),
    "container": ({"container": "c1"}, '"c1"'),
    "thread": ({"thread": "t1"}, '"t1"'),
    "compaction": ({"compaction": {"type": "auto"}}, '"auto"'),
    "diagnostics": ({"diagnostics": {"a": "dd"}}, '"dd"'),
    "betas": ({"betas": ["b-1"]}, '"b-1"'),
    "fallbacks": ({"fallbacks": [{"model": "m-2"}]}, '"fallbacks":[{"model":"m-2"}]'),
    "fallback_credit_token": ({"fallback_credit_token": "ft"}, '"ft"'),
    "billing_policy": ({"billing_policy": "bb"}, '"bb"'),
    "user_profile_id": ({"user_profile_id": "p1"}, '"p1"'),
    "workspace_id": ({"workspace_id": "w1"}, '"w1"'),
    "a field that is not known": ({"made_up": [1, {"a": None}]}, '"made_up":[1,{"a":null}]'),
}  # fmt: skip
AS = {
    "system": "a message", "content: image": "`image_url`", "content: document, a PDF": "`file`",
    "content: tool_use, tool_result": "`tool_calls`, `tool`", "stop_sequences": "`stop`", "tools": "functions",
    "content: thinking of a server behind this gateway": "the field that it came in", "tool_choice": "chat's",
    "metadata.user_id": "`user`, if at most 64 characters", "output_config.format": "`response_format`",
}  # fmt: skip
ANSWER: dict[str, tuple[dict[str, Any], Any]] = {
    "text": ({}, {"type": "text"}),
    "reasoning": ({"reasoning_content": "mm"}, {"type": "thinking"}),
    "tool_calls": ({"tool_calls": [CALL]}, {"type": "tool_use", "name": "add", "input": {}}),
    "refusal": ({"refusal": "No."}, "refusal"),
    "annotations, audio, images and unknown fields": ({"made_up": {"a": 1}, "annotations": [{"a": 1}]}, None),
}
UNREAD = ("container", "context_management", "diagnostics", "stop_details", "input_transformations")
RESPONSE = {  # fields of the API's own response, each with what a server that speaks the API gave
    **message(ASKED), "stop_sequence": "STOP", **{name: {"a": [1, None]} for name in UNREAD},
}  # fmt: skip
HOW = {
    "text": "a block; kept: without the tags that the prompt asked for",
    "reasoning": "a block of thinking, if the request has `thinking`",
    "tool_calls": "blocks, one after the other",
    "refusal": "`stop_reason` is `refusal`; a text, where there is no other",
    "annotations, audio, images and unknown fields": "the API has no place for them",
}


async def request_row(name: str) -> list[str]:
    """The cells of a request field."""
    field, shown = REQUEST[name]
    cells: list[str] = []
    for situation, model in SITUATIONS.items():
        words = set[str]()
        for stream in (False, True):
            native = situation == "passed through"
            large = served(message(ASKED), stream) if native else answer("19", stream)
            small = answer(SURE if situation == "kept" else UNSURE, False)
            server = {"apis": ["chat", "messages"]} if native else {}
            async with upstreams(large, small, server=server) as it:
                response = await post(it, model=model, stream=stream, **field)
                dropped = (response.headers.get("x-corea-dropped") or "").split(", ")
                if response.status_code != 200:
                    told = response.json()["error"]["message"]
                    assert "is not supported here" in told or "expected it left out" in told, told
                    words.add("refused")
                    continue
                first, asked = not it.small.requests, (it.large.requests or it.small.requests)[0]
            if native:
                word = "passes" if field.items() <= asked.body.items() else "changed"
            elif shown.encode() in asked.raw:
                word = f"as {AS[name]}" if name in AS else "passes"
            else:
                word = "dropped" if dropped != [""] else "not sent"
            words.add(f"{word}, to the last stage" if first and model == "corea" else word)
        cells.append(" / ".join(sorted(words)))
    return cells


async def answer_row(name: str) -> list[str]:
    """The cells of a field of a chat server's answer."""
    field, wanted = ANSWER[name]
    cells: list[str] = []
    for situation, model in list(SITUATIONS.items())[:3]:
        words: list[str] = []
        for stream in (False, True):
            kept = situation == "kept"
            text = SURE if kept else "" if name == "refusal" else "19"
            small = answer(text if kept else UNSURE, False, **(field if kept else {}))
            async with upstreams(answer(text, stream, **field), small) as it:
                response = await post(it, model=model, stream=stream, thinking={"type": "adaptive"})
            found = events(response) if stream else [response.json()]
            content = blocks(found) if stream else found[0]["content"]
            stop = found[-2]["delta"]["stop_reason"] if stream else found[0]["stop_reason"]
            if name == "refusal":
                passed = stop == wanted
            else:
                passed = wanted is not None and any(wanted.items() <= block.items() for block in content)
            words.append("passes" if passed else "no")
        cells.append(words[0] if words[0] == words[1] else f"{words[0]} / {words[1]}")
    return cells


async def response_rows() -> dict[str, list[str]]:
    """The cells of each field of a response: what the gateway gives itself, and what it makes of a server's own."""
    rows: dict[str, list[str]] = {name: [] for name in RESPONSE}
    for native in (False, True):
        found: list[dict[str, Any]] = []
        for stream in (False, True):
            large = served(RESPONSE, stream) if native else answer("19", stream)
            async with upstreams(large, server={"apis": ["chat", "messages"]} if native else {}) as it:
                response = await post(it, model="corea/large", stream=stream)
            if stream:
                came = events(response)
                added = {"content": blocks(came), "usage": came[0]["message"]["usage"] | came[-2]["usage"]}
                found.append({**came[0]["message"], **came[-2]["delta"], **added})
            else:
                found.append(response.json())
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
    lines = ["| request | " + " | ".join(SITUATIONS) + " |", "|---|" + "---|" * len(SITUATIONS)]
    lines += [f"| {name} | {' | '.join(await request_row(name))} |" for name in REQUEST]
    lines += ["", "| answer of a chat server | kept | deferred | direct stage | how |", "|---|" + "---|" * 4]
    lines += [f"| {name} | {' | '.join(await answer_row(name))} | {HOW[name]} |" for name in ANSWER]
    lines += ["", "| response | translated | passed through |", "|---|---|---|"]
    lines += [f"| `{name}` | {' | '.join(cells)} |" for name, cells in (await response_rows()).items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    FILE.write_text(asyncio.run(table()))
