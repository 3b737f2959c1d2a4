"""Fuzz targets, one for each parser of bytes that others write: each takes any bytes, and raises if there is a fault.

`python -m tests.fuzz.run NAME` runs one with atheris; `test_targets.py` gives each its seeds and what was found.
"""

import os
import re
import zlib
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import msgspec
from tests.calibrate.test_ties import artefact as calibration
from tests.calibrate.test_ties import cascade
from tests.gateway.test_fuzz import APP, post

from corea.backends.openai import wire
from corea.backends.openai.messages_api import MessagesReader
from corea.backends.openai.responses_api import read_event
from corea.backends.openai.sse import EventReader
from corea.backends.openai.texts_api import CompletionsReader, read_embeddings
from corea.calibrate.artefact import load
from corea.calibrate.binding import bind
from corea.config import load_config
from corea.datasets.question_source import QuestionSource
from corea.errors import ConfigError, DataError
from corea.files.rows import FileFormat
from corea.gateway.chat.request import read_json
from corea.gateway.errors import GatewayError
from corea.gateway.ops.settings import GatewaySettings
from corea.parsing import find_answer, find_confidence, is_refusal, is_well_formed, visible_text
from corea.run.journal import Journal
from corea.run.recorded import traces_beside
from corea.types import Question

FOLDER = TemporaryDirectory(prefix="corea-fuzz-")
FILE = Path(FOLDER.name) / "input"
QUESTION = Question.of("12 + 7?", id="q")


class Target(NamedTuple):
    """A function of any bytes, and inputs to begin with."""

    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]


def answer(data: bytes) -> None:
    """The readers of an answer and of a confidence."""
    text = data.decode("utf-8", "surrogateescape")
    visible_text(text)
    is_well_formed(text)
    is_refusal(text)
    for choices in (None, 4):
        found = find_answer(text, choices=choices, cut=len(data) % 2 == 0)
        assert found is None or found.value.strip()
    stated = find_confidence(text)
    assert stated is None or 0 <= stated.value <= 1


def stream(data: bytes) -> None:
    """A model's server: events in pieces of any size, read as each of the four APIs."""
    size = 1 + data[0] % 31 if data else 1
    events = EventReader()
    found = [event for at in range(1, len(data), size) for event in events.feed(data[at : at + size])]
    found += events.finish()
    assert found == [*EventReader().feed(data[1:] + b"\n\n")]
    _built(found, wire.read_response)
    for reader in (MessagesReader(), read_event, CompletionsReader({"stream": True}), read_embeddings):
        _built(found, lambda event, read=reader: (read(event), {}))


def _built(events: list[bytes], read: Callable[[bytes], tuple[wire.ChatResponse, Any]]) -> None:
    builder = wire.ReplyBuilder()
    for event in events:
        try:
            reply, outside = read(event)
            if reply.error:
                wire.error_of(reply.error)
            else:
                builder.add(reply, outside)
        except (msgspec.DecodeError, RecursionError):  # as `Stream` and `OpenAIBackend`, which call these
            wire.find_usage(event)
            wire.read_error(event)
    msgspec.json.encode(builder.completion(QUESTION, "m"))


def _request(path: str) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        with suppress(GatewayError):
            fields = read_json(data)
            fields.setdefault("model", "corea")
            data = msgspec.json.encode(fields)
        response = post(APP, data, path=path)
        assert response.status_code < 500, response.text

    run.__doc__ = f"The body of a POST to {path}, through the whole gateway."
    return run


def artefact(data: bytes) -> None:
    """A calibration file: as it is, and with the right digest, bound to a cascade."""
    FILE.write_bytes(data)
    with suppress(ConfigError, DataError):
        load(FILE)
    try:
        fields = msgspec.json.decode(data, type=dict[str, Any])
        whole = msgspec.json.encode({**fields, "digest": ""})
    except (ValueError, RecursionError):
        return
    FILE.write_bytes(msgspec.json.encode({**fields, "digest": f"sha256:{sha256(whole).hexdigest()}"}))
    with suppress(ConfigError, DataError):
        bind(cascade(), FILE)


def _artefact() -> bytes:
    calibration().save(FILE)
    return FILE.read_bytes()


def journal(data: bytes) -> None:
    """A journal of a batch run: as it is, and as lines whose checksums are right."""
    if re.search(rb"\d{7}", data):
        return  # a row takes 16 bytes of memory, also one of a high number alone
    lines = [b'{"crc":"%08x","line":%s}\n' % (zlib.crc32(line), line) for line in data.split(b"\n")]
    for held in (data, b"".join(lines)):
        path = Path(f"{FILE}.journal")
        path.write_bytes(held)
        with suppress(DataError):
            traces_beside(FILE)
        with suppress(ConfigError, DataError), Journal(path).open({"a": 1}, lambda row, trace: True) as opened:
            list(opened.traces())
        os.unlink(path)


def configuration(data: bytes) -> None:
    """A corea.toml, as `corea serve` reads it."""
    from corea.cli.configuration import find_gateway

    FILE.write_bytes(data)
    with suppress(ConfigError):
        assert isinstance(find_gateway(load_config(FILE)), GatewaySettings)


def _questions(format: FileFormat) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        path = Path(f"{FILE}.{format.value}")
        path.write_bytes(data)
        with suppress(ConfigError, DataError):
            for row in QuestionSource(str(path)).rows():
                assert isinstance(row, DataError) or row.question.messages

    run.__doc__ = f"A file of questions as {format.value}."
    return run


STREAM = b"""x: keep-alive\r

data: {"choices": [{"index": 0, "delta": {"content": "19", "tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}]}}]}

event: content_block_delta
data: {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{"}}

data: {"type": "response.output_item.added", "output_index": 0, "item": {"type": "function_call", "name": "f", "call_id": "c"}}

data: {"error": {"message": "m", "code": 429}}

data: {"choices": [{"text": "t", "logprobs": {"content": [{"token": "t", "logprob": -0.1}]}}], "usage": {"total_tokens": 2}}

data: [DONE]

"""  # noqa: E501
CHAT = b"""{"model": "corea", "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "12?"}]},
{"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
{"role": "tool", "tool_call_id": "c", "content": "1"}], "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
"max_tokens": 99, "stream": true, "stream_options": {"include_usage": true}, "stop": ["x"], "corea": {"threshold": 0.9, "max_cost_usd": "1"}}"""  # noqa: E501
MESSAGES = b"""{"model": "corea", "max_tokens": 99, "system": [{"type": "text", "text": "s"}], "messages": [{"role": "user", "content": "12?"},
{"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {}}, {"type": "thinking", "thinking": "t", "signature": "g"}]},
{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "1", "is_error": false}, {"type": "image", "source": {"type": "url", "url": "u"}}]}],
"tools": [{"name": "f", "input_schema": {}}], "tool_choice": {"type": "auto"}, "stop_sequences": ["x"], "stream": false}"""  # noqa: E501
RESPONSES = b"""{"model": "corea", "instructions": "i", "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "12?"}]},
{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}, {"type": "function_call_output", "call_id": "c", "output": "1"},
{"type": "reasoning", "summary": [], "encrypted_content": "corea.e30="}], "tools": [{"type": "function", "name": "f", "parameters": {}}],
"text": {"format": {"type": "json_schema", "name": "n", "schema": {}}}, "include": ["reasoning.encrypted_content"], "metadata": {"session_id": "s"}}"""  # noqa: E501
JOURNAL = b"""{"journal":2,"settings":{"a":1}}
{"rows":3}
{"start":1,"at_most_usd":"0.5"}
{"next":1,"at_most_usd":"0.7"}
{"done":1,"key":"0000000000000016","trace":{"n":1}}"""
TOML = b"""[cascade]
mode = "answer"
[stages.small]
backend = {kind = "openai", model = "m", base_url = "http://127.0.0.1:1/v1", api_key_env = "K"}
signal = {kind = "agreement", backend = "large"}
threshold = 0.8
validators = ["valid_json", {kind = "regex", pattern = "x", weight = 0.5}]
[stages.large]
backend.kind = "fake"
[prices.m]
input_usd_per_mtok = "1"
[gateway]
port = 8000
passthrough = {a = "large"}
[gateway.policies.p]
drop = ["store"]
[gateway.storage]
path = "x.db"
"""
ROWS = b"""{"id": "a", "question": "12 + 7?", "answer": "19", "choices": ["1", "2"]}
{"custom_id": "b", "url": "/v1/chat/completions", "body": {"messages": [{"role": "user", "content": "hi"}]}}
{"messages": [{"role": "user", "content": "hi"}], "category": "c"}"""
TEXTS = (
    b"<think>a</think><answer>19</answer><confidence>0.9</confidence>",
    b"The answer is (B). I am 95% sure. **Confidence:** 8/10",
    '{"answer": "$\\\\frac{1}{2}$", "confidence": 0.8} 置信度：90% \\boxed{x}'.encode(),
)
CSV = (b'id,question,answer\na,"12 +\n7?",19\n', b"question\tid\na\tb\n")
TARGETS = {
    "answer": Target(answer, TEXTS),
    "stream": Target(stream, (STREAM,)),
    "chat": Target(_request("/v1/chat/completions"), (CHAT,)),
    "messages": Target(_request("/v1/messages"), (MESSAGES,)),
    "responses": Target(_request("/v1/responses"), (RESPONSES,)),
    "artefact": Target(artefact, (_artefact(), b'{"version": 4}')),
    "journal": Target(journal, (JOURNAL,)),
    "configuration": Target(configuration, (TOML,)),
    "questions_jsonl": Target(_questions(FileFormat.JSONL), (ROWS, b"[" + ROWS.replace(b"\n", b",") + b"]")),
    "questions_csv": Target(
        _questions(FileFormat.CSV), (b'id,question,answer\na,"12 +\n7?",19\n', b"question\tid\na\tb\n")
    ),
}
