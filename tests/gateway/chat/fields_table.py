"""The table of fields in docs/gateway.md, from requests to a gateway in front of two scripted servers.

`python -m tests.gateway.chat.fields_table` writes it; a test compares it with what is measured.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

from tests.fakes.server import SSE, Bytes
from tests.gateway.chat.upstreams import Upstreams, upstreams
from tests.gateway.conftest import SURE, UNSURE, events

FILE = Path(__file__).parents[3] / "docs/_generated/gateway-fields.md"
SITUATIONS = {"kept": "corea", "deferred": "corea", "direct stage": "corea/large", "passthrough": "gpt"}
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
CALL = {"index": 0, "id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}

REQUEST: dict[str, Any] = {
    "messages in parts": [{"role": "user", "content": [{"type": "text", "text": "12?", "cache_control": {"a": 1}}]}],
    "temperature": 0.3, "top_p": 0.9, "seed": 7, "stop": ["never"], "max_tokens": 300, "max_completion_tokens": 300,
    "n": 2, "logprobs": True, "top_logprobs": 2, "tools": [TOOL], "tool_choice": "auto", "parallel_tool_calls": False,
    "functions": [TOOL["function"]], "function_call": "auto", "response_format": {"type": "json_object"},
    "guided_json": {"type": "object"}, "structured_outputs": {"json": {}, "a": 1}, "grammar": "root ::= [0-9]+",
    "logit_bias": {"5": 1}, "web_search_options": {"size": "low"}, "modalities": ["text", "audio"],
    "audio": {"voice": "a"}, "user": "u", "metadata": {"a": "b"}, "safety_identifier": "s", "reasoning_effort": "low",
    "frequency_penalty": 0.1, "presence_penalty": 0.1, "prediction": {"type": "content", "content": "19"},
    "prompt_cache_key": "k", "prompt_cache_retention": "24h", "prompt_cache_options": {"mode": "explicit"},
    "moderation": {"model": "m"}, "stream_options": {"include_obfuscation": False},
    "service_tier": "flex", "store": False, "verbosity": "low", "models": ["other"],
    "made_up": [1, {"a": None}],
}  # fmt: skip
MESSAGE: dict[str, Any] = {
    "reasoning_content": "12 + 7", "reasoning": "12 + 7", "reasoning_details": [{"type": "x", "text": "a"}],
    "refusal": "No.", "tool_calls": [CALL], "function_call": {"name": "add", "arguments": "{}"},
    "annotations": [{"type": "url_citation"}], "audio": {"id": "a", "data": "UklG"},
    "images": [{"type": "image_url"}], "made_up": {"a": [1]},
}  # fmt: skip
CHOICE: dict[str, Any] = {"finish_reason": "length", "logprobs": None, "stop_reason": 5}
OUTSIDE: dict[str, Any] = {
    "id": "chatcmpl-1", "created": 5, "model": "served", "system_fingerprint": "fp", "service_tier": "default",
    "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7, "a": 1}, "metadata": {"a": "b"},
    "moderation": {"results": []}, "obfuscation": "x8", "citations": ["u"],
}  # fmt: skip
HOW = {
    "content": "kept: without the tags that the prompt asked for, and cut at `stop`",
    "usage": "the sum of all stages, with `corea_stages`; further fields pass; streamed with `include_usage`",
    "id": "`chatcmpl-` and the trace id",
    "created": "the gateway's time",
    "model": "the name that the client asked for; the upstream's is `corea.model`",
    "finish_reason": "kept: `stop` where `stop` cut the text",
    "citations": "as every unknown field beside the choice, with its chunk",
    "stop_reason": "as every unknown field of a choice, with its chunk",
    "logprobs": "kept: never, since `logprobs` asks the last stage alone",
}


def answer(text: str, stream: bool, **message: Any) -> Bytes:
    """An upstream's answer with every field of CHOICE and OUTSIDE."""
    tokens = {"content": [{"token": text, "logprob": -0.5, "bytes": list(text.encode()), "top_logprobs": []}]}
    choice = {**CHOICE, "index": 0, "logprobs": tokens}
    found = {"role": "assistant", "content": text, **message}
    if not stream:
        calls = {"tool_calls": [{k: v for k, v in CALL.items() if k != "index"}]} if "tool_calls" in message else {}
        return Bytes(json.dumps({**OUTSIDE, "choices": [{**choice, "message": {**found, **calls}}]}).encode())
    event = json.dumps({**OUTSIDE, "choices": [{**choice, "delta": found}]})
    return Bytes(f"data: {event}\n\ndata: [DONE]\n\n".encode(), SSE)


async def request_cell(it: Upstreams, name: str, model: str, *, stream: bool) -> str:
    """What becomes of a request field."""
    field = {"messages": REQUEST[name]} if name.startswith("messages") else {name: REQUEST[name]}
    field |= {"tools": [TOOL]} if name in ("tool_choice", "parallel_tool_calls") else {}
    field |= {"functions": REQUEST["functions"]} if name == "function_call" else {}
    field |= {"modalities": ["text", "audio"]} if name == "audio" else {}
    field |= {"logprobs": True} if name == "top_logprobs" else {}
    it.small.requests.clear()
    it.large.requests.clear()
    response = await it.post(model=model, stream=stream, **field)
    if response.status_code != 200:
        assert response.json()["error"]["param"] == name, response.text
        return "refused"
    asked = (it.large.requests or it.small.requests)[0].body
    key = "messages" if name.startswith("messages") else name
    if key == "messages" and asked[key][-1] == field[key][0]:
        word = "passes" if len(asked[key]) == 1 else "with our prompt"
    elif key == "max_completion_tokens" and asked.get("max_tokens") == field[key]:
        word = "as `max_tokens`"
    else:
        word = "passes" if asked.get(key) == field[key] else "not sent"
    return f"{word}, to the last stage" if model == "corea" and not it.small.requests else word


def answer_cell(name: str, sent: dict[str, Any], response: Any, *, stream: bool) -> str:
    """What becomes of a field of an answer."""
    found = events(response)[:-1] if stream else [response.json()]
    choices = [event["choices"][0] for event in found if event["choices"]]
    if name in OUTSIDE:
        given = [event[name] for event in found if name in event]
    elif name in CHOICE:
        given = [choice[name] for choice in choices if choice.get(name) is not None]
    else:
        messages = [choice.get("delta") or choice.get("message") or {} for choice in choices]
        given = [message[name] for message in messages if message.get(name)]
    wanted = sent[name]
    if name == "tool_calls" and not stream:
        wanted = [{k: v for k, v in CALL.items() if k != "index"}]
    return "no" if not given else "passes" if wanted in given else "changed"


async def answer_row(name: str) -> list[str]:
    """The cells of a field of an answer."""
    cells: list[str] = []
    for situation, model in SITUATIONS.items():
        words: list[str] = []
        for stream in (False, True):
            text = "It is <answer>19</answer>"
            more = {name: MESSAGE[name]} if name in MESSAGE else {}
            # a draft is never streamed from its server
            small = answer(SURE if situation == "kept" else UNSURE, False, **(more if situation == "kept" else {}))
            async with upstreams(answer(text, stream, **more), small, passthrough={"gpt": "large"}) as it:
                wants = {"logprobs": True} if name == "logprobs" else {}
                options = {"stream_options": {"include_usage": True}} if stream else {}
                response = await it.post(model=model, stream=stream, **wants, **options)
            content = SURE if situation == "kept" else text
            tokens = {"content": [{"token": text, "logprob": -0.5, "bytes": [*text.encode()], "top_logprobs": []}]}
            sent = {**OUTSIDE, **CHOICE, **MESSAGE, "content": content, "logprobs": tokens}
            words.append(answer_cell(name, sent, response, stream=stream))
        cells.append(words[0] if words[0] == words[1] else f"{words[0]} / {words[1]}")
    return cells


async def request_row(name: str) -> list[str]:
    """The cells of a request field; the first two also where the small stage accepts everything."""
    cells: list[str] = []
    accepts = {"small": ["tools", "images", "structured"]}
    plans: list[tuple[str, str, dict[str, Any]]] = [("kept", "corea", {}), ("kept", "corea", {"accepts": accepts})]
    for situation, model, settings in [*plans, *((s, m, {}) for s, m in SITUATIONS.items() if s != "kept")]:
        words = set[str]()
        for stream in (False, True):
            small = answer(SURE if situation == "kept" else UNSURE, False)
            async with upstreams(answer("19", stream), small, passthrough={"gpt": "large"}, **settings) as it:
                words.add(await request_cell(it, name, model, stream=stream))
        cells.append(" / ".join(sorted(words)))
    return cells


async def table() -> str:
    """Both tables as Markdown."""
    lines = [
        "| request | kept | kept, all in `accepts` | deferred | direct stage | passthrough |",
        "|---|" + "---|" * 5,
    ]
    lines += [f"| `{name}` | {' | '.join(await request_row(name))} |" for name in REQUEST]
    lines += ["", "| answer | kept | deferred | direct stage | passthrough | how |", "|---|" + "---|" * 5]
    names = ["content", *MESSAGE, *CHOICE, *OUTSIDE]
    rows = [(name, await answer_row(name)) for name in dict.fromkeys(names)]
    lines += [f"| `{name}` | {' | '.join(cells)} | {HOW.get(name, '')} |" for name, cells in rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    FILE.write_text(asyncio.run(table()))
