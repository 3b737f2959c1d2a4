"""Checks of a draft: each kind with values, hostile drafts and rules, and their composition with a signal."""

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.signals.helpers import QUESTION, Stub, tokens, wrote

from corea.errors import ConfigError
from corea.graders.pool import close_pools
from corea.signals.command import CommandCheck
from corea.signals.logprob import MeanTokenProbability
from corea.signals.self_check import SelfCheck
from corea.signals.validators import (
    MatchesRegex,
    NotRefused,
    Validated,
    ValidJson,
    ValidToolCall,
    wanted_schema,
)
from corea.types import Completion, Question, replace

SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer", "minimum": 0}},
    "required": ["n"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "add", "parameters": SCHEMA}}


@pytest.fixture(scope="module", autouse=True)
def _workers() -> Iterator[None]:
    yield
    close_pools()


def asked(**request: Any) -> Question:
    return replace(QUESTION, meta={"request": request})


async def score(signal: Any, text: str | Completion, question: Question = QUESTION) -> tuple[float | None, str]:
    found = await signal.measure(question, wrote(text) if isinstance(text, str) else text)
    return found.value, found.reason


# ---- JSON


@pytest.mark.parametrize(
    ("text", "value", "reason"),
    [
        ('{"n": 3}', 1.0, ""),
        (' {"n": 3}\n', 1.0, ""),
        ('{"n": -3}', 0.0, "-3 is less than the minimum of 0 at /n"),
        ('{"n": 1.5}', 0.0, '1.5 is not of type "integer" at /n'),
        ("{}", 0.0, '"n" is a required property at the top'),
        ('{"n": 1, "m": 2}', 0.0, "Additional properties are not allowed ('m' was unexpected) at the top"),
        ('```json\n{"n": 3}\n```', 0.0, "not JSON: "),
        ('{"n": 3} That is it.', 0.0, "not JSON: "),
        ('{"n": NaN}', 0.0, "not JSON: "),
        ("", 0.0, "not JSON: "),
        ("[" * 100_000, 0.0, "not JSON: "),
    ],
)
async def test_json_fits_the_configured_schema(text: str, value: float, reason: str) -> None:
    found = await score(ValidJson(schema=SCHEMA), text)
    assert found[0] == value
    assert found[1].startswith(reason)


@pytest.mark.parametrize(
    ("request_fields", "schema"),
    [
        ({}, None),
        ({"response_format": {"type": "text"}}, None),
        ({"response_format": {"type": "json_object"}}, True),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}}, SCHEMA),
        ({"guided_json": SCHEMA}, SCHEMA),
        ({"guided_json": '{"type": "integer"}'}, {"type": "integer"}),
        ({"structured_outputs": {"json": SCHEMA}}, SCHEMA),
    ],
)
def test_the_schema_that_a_request_asks_for(request_fields: dict[str, Any], schema: Any) -> None:
    assert wanted_schema(request_fields) == schema


async def test_json_is_checked_where_the_request_asks_for_it() -> None:
    form = {"type": "json_schema", "json_schema": {"schema": SCHEMA}}
    assert await score(ValidJson(), "no JSON") == (1.0, "no JSON is asked for")
    assert (await score(ValidJson(), "no JSON", asked(response_format=form)))[0] == 0
    assert (await score(ValidJson(), '{"n": 1}', asked(response_format=form)))[0] == 1
    assert (await score(ValidJson(), "[1, 2]", asked(response_format={"type": "json_object"})))[0] == 1
    assert (await score(ValidJson(schema={}), "[1, 2]"))[0] == 1


async def test_json_is_read_behind_the_tags_of_a_prompt_and_as_it_is_in_a_chat() -> None:
    text = '<think>three</think><answer>{"n": 3}</answer><confidence>0.9</confidence>'
    assert (await score(ValidJson(schema=SCHEMA), text))[0] == 1
    assert (await score(ValidJson(schema=SCHEMA, visible=False), text))[0] == 0


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "nothing"}, "cannot be checked"),
        ({"$ref": "http://127.0.0.1:9/schema.json"}, "is outside the schema"),
        ({"$ref": "file:///etc/passwd"}, "is outside the schema"),
        ("not a schema", "cannot be checked"),
    ],
)
async def test_a_clients_schema_that_cannot_be_checked_fails_the_draft(schema: Any, reason: str) -> None:
    form = {"type": "json_schema", "json_schema": {"schema": schema}}
    found = await score(ValidJson(), '{"n": 1}', asked(response_format=form))
    assert found[0] == 0
    assert reason in found[1]


async def test_a_clients_schema_of_exponential_work_is_bounded() -> None:
    step = [{"anyOf": [{"$ref": f"#/$defs/{i + 1}"}] * 2} for i in range(40)]
    schema = {"$defs": {**{str(i): each for i, each in enumerate(step)}, "40": {"type": "string"}}, "$ref": "#/$defs/0"}
    form = {"type": "json_schema", "json_schema": {"schema": schema}}
    assert await score(ValidJson(), "3", asked(response_format=form)) == (0.0, "no verdict within 0.5 s and 512 MB")
    assert (await score(ValidJson(schema=SCHEMA), '{"n": 3}'))[0] == 1  # the next one has a new worker


def test_a_configured_schema_is_read_from_a_file_and_refused_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    path.write_text('{"type": "integer"}')
    assert asyncio.run(score(ValidJson(path=str(path)), "3"))[0] == 1
    with pytest.raises(ConfigError, match=r"not-there.*expected a JSON schema"):
        ValidJson(path=str(tmp_path / "not-there.json"))
    with pytest.raises(ConfigError, match="got a schema that is not one"):
        ValidJson(schema={"type": "nothing"})
    with pytest.raises(ConfigError, match="got schema and path"):
        ValidJson(schema={}, path=str(path))


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corea.registry.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"valid_json needs jsonschema-rs.*\[schema\]"):
        ValidJson()


# ---- regular expressions


@pytest.mark.parametrize(
    ("pattern", "absent", "text", "value", "reason"),
    [
        (r"\bSELECT\b", False, "SELECT 1", 1.0, ""),
        (r"\bSELECT\b", False, "DELETE", 0.0, r"'\\bSELECT\\b' not found"),
        (r"(?i)as an ai", True, "As an AI, I ...", 0.0, "'(?i)as an ai' found"),
        (r"(?i)as an ai", True, "It rains.", 1.0, ""),
        (r"(?s)\A\{.*\}\Z", False, "{\n}", 1.0, ""),
        (r"^é+$", False, "éé", 1.0, ""),
        (r"x", False, "\ud800x\x00", 1.0, ""),
    ],
)
async def test_a_pattern_is_found_or_absent(pattern: str, absent: bool, text: str, value: float, reason: str) -> None:
    assert await score(MatchesRegex(pattern=pattern, absent=absent), text) == (value, reason)


@pytest.mark.parametrize("absent", [False, True])
async def test_a_catastrophic_expression_is_bounded_and_fails(absent: bool) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.005)

    beside = asyncio.create_task(tick())
    found = await score(MatchesRegex(pattern=r"^(a+)+$", absent=absent), "a" * 60 + "b")
    beside.cancel()
    assert found == (0.0, "'^(a+)+$' no verdict within 0.5 s and 512 MB")
    assert ticks > 1  # the event loop went on


def test_a_pattern_that_is_none_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigError, match=r"got '\(a', expected a regular expression"):
        MatchesRegex(pattern="(a")


# ---- refusals and empty texts


@pytest.mark.parametrize(
    ("completion", "value", "reason"),
    [
        (wrote("It rains."), 1.0, ""),
        (wrote(" \n\u200b"), 0.0, "the text is empty"),
        (wrote("", raw={"tool_calls": [{"function": {"name": "add", "arguments": "{}"}}]}), 1.0, ""),
        (wrote("I'm sorry, but I can't help with that.\n\nCall a doctor."), 0.0, "a refusal: "),
        (wrote("Sorry, I can't assist with that request."), 0.0, "a refusal: "),
        (wrote("I don't know much about Rust, but here is a start:\n\nfn main() {}"), 1.0, ""),
        (wrote("Text", finish_reason="content_filter"), 0.0, "ended by a content filter"),
        (wrote("", raw={"refusal": "No."}), 0.0, "ended by a content filter, or marked as a refusal"),
    ],
)
async def test_empty_and_refused_texts_fail(completion: Completion, value: float, reason: str) -> None:
    found = await score(NotRefused(visible=False), completion)
    assert found[0] == value
    assert found[1].startswith(reason)


# ---- tool calls


def calling(name: str, arguments: str) -> Completion:
    call = {"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}
    return wrote("", raw={"tool_calls": [call]}, finish_reason="tool_calls")


@pytest.mark.parametrize(
    ("completion", "request_fields", "value", "reason"),
    [
        (calling("add", '{"n": 2}'), {"tools": [TOOL]}, 1.0, ""),
        (calling("sub", '{"n": 2}'), {"tools": [TOOL]}, 0.0, "calls 'sub', expected one of add"),
        (calling("add", '{"n": -2}'), {"tools": [TOOL]}, 0.0, "arguments of add: -2 is less than"),
        (calling("add", '{"n": 2'), {"tools": [TOOL]}, 0.0, "arguments of add: not JSON"),
        (calling("add", "[]"), {"tools": [TOOL]}, 0.0, 'arguments of add: [] is not of type "object"'),
        (calling("add", "{}"), {}, 0.0, "calls 'add', expected one of -"),
        (calling("free", '{"any": 1}'), {"tools": [{"function": {"name": "free"}}]}, 1.0, ""),
        (calling("free", ""), {"tools": [{"function": {"name": "free"}}]}, 0.0, "arguments of free: not JSON"),
        (wrote("It rains."), {"tools": [TOOL]}, 1.0, ""),
        (wrote("It rains."), {"tools": [TOOL], "tool_choice": "required"}, 0.0, "no call, expected one of any tool"),
        (
            calling("add", '{"n": 2}'),
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "sub"}}},
            0.0,
            "calls 'add', expected sub",
        ),
        (
            wrote("", raw={"function_call": {"name": "add", "arguments": '{"n": "x"}'}}),
            {"functions": [TOOL["function"]]},
            0.0,
            'arguments of add: "x" is not of type "integer"',
        ),
        (wrote("", raw={"tool_calls": "broken"}), {"tools": "broken"}, 1.0, ""),
    ],
)
async def test_tool_calls(completion: Completion, request_fields: dict[str, Any], value: float, reason: str) -> None:
    found = await score(ValidToolCall(), completion, asked(**request_fields))
    assert found[0] == value
    assert found[1].startswith(reason)


# ---- commands


def python(code: str, seconds: float = 20.0, **settings: Any) -> CommandCheck:
    return CommandCheck(command=(sys.executable, "-c", code), seconds=seconds, **settings)


async def test_a_command_reads_the_draft_and_judges_by_its_status() -> None:
    signal = python("import sys; sys.exit(0 if sys.stdin.read() == 'good \\u00e9' else 3)")
    assert await score(signal, "good é") == (1.0, "")
    assert await score(signal, "bad") == (0.0, f"{sys.executable} ended with status 3")


async def test_a_command_that_reads_nothing_gets_a_large_draft() -> None:
    assert await score(python("pass"), "a" * 5_000_000) == (1.0, "")


async def test_a_command_that_writes_100_mb_keeps_none_of_it() -> None:
    code = "import os\nfor _ in range(100): os.write(1, bytes(1 << 20)); os.write(2, bytes(1 << 10))"
    assert await score(python(code), "draft") == (1.0, "")


async def test_a_command_that_hangs_is_killed_at_its_limit() -> None:
    began = time.monotonic()
    found = await score(python("import time; time.sleep(600)", seconds=0.3), "draft")
    assert found == (0.0, f"{sys.executable} took more than 0.3 s")
    assert time.monotonic() - began < 60


@pytest.mark.skipif(sys.platform == "win32", reason="process groups")
@pytest.mark.parametrize("hangs", [True, False])
async def test_its_children_are_killed_with_it(hangs: bool, tmp_path: Path) -> None:
    note = tmp_path / "processes"
    code = (
        "import os, sys, time\n"
        "child = os.fork()\n"
        "if child:\n"
        f"    open({str(note)!r} + '.new', 'w').write(f'{{child}} {{os.getpid()}}')\n"
        f"    os.rename({str(note)!r} + '.new', {str(note)!r})\n"
        f"    sys.exit() if not {hangs} else None\n"
        "time.sleep(600)\n"
    )
    task = asyncio.create_task(score(python(code, 600.0), "draft"))
    while not note.exists():
        await asyncio.sleep(0.01)
    if hangs:  # a request that is cancelled ends as one at its limit
        task.cancel()
    found = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError) if hangs else found[0] == (1.0, "")
    for pid in map(int, note.read_text().split()):
        while _runs(pid):  # a killed child is reaped by another process; the test's own limit ends this
            await asyncio.sleep(0.01)


def _runs(pid: int) -> bool:
    """True for a process that is there and not a zombie."""
    try:
        os.kill(pid, 0)
        status = Path(f"/proc/{pid}/stat")
        return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")
    except (ProcessLookupError, FileNotFoundError):
        return False


async def test_a_command_sees_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("MINE", "1")
    code = "import os, sys; sys.exit(('OPENAI_API_KEY' in os.environ) + 2 * ('MINE' in os.environ))"
    assert (await score(python(code), "draft"))[0] == 1
    assert (await score(python(code, environment=("MINE",)), "draft"))[1].endswith("status 2")


async def test_a_missing_command_is_refused_at_the_start_and_fails_a_draft_later(tmp_path: Path) -> None:
    for name in ("no-such-program", "./no-such-file", str(tmp_path)):
        with pytest.raises(ConfigError, match="expected a program on PATH"):
            CommandCheck(command=(name,))
    with pytest.raises(ConfigError, match="more than 0"):
        CommandCheck(command=())
    program = tmp_path / "check"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    signal = CommandCheck(command=("./check",), folder=str(tmp_path), seconds=20.0)
    assert (await score(signal, "draft"))[0] == 1
    program.unlink()
    assert await score(signal, "draft") == (0.0, "./check cannot be run: No such file or directory")


# ---- composition


def validated(inner: Any, *others: Any, weights: tuple[float, ...] = ()) -> Validated:
    names = [type(other).__name__ for other in others]
    return Validated(inner, dict(zip(names, others, strict=True)), dict(zip(names, weights or [1.0] * 9, strict=False)))


DRAFT = tokens(("{", {"{": 0.8}), ("}", {"}": 0.6}))


async def test_a_draft_that_passes_has_the_other_signals_value() -> None:
    found = await validated(MeanTokenProbability(), ValidJson(schema={}), NotRefused()).measure(QUESTION, DRAFT)
    assert (found.value, found.signal, found.reason) == (pytest.approx(0.7), "mean_token_probability", "")


async def test_a_failure_defers_names_the_validator_and_spares_the_other_call() -> None:
    backend = Stub(wrote("Yes"))
    signal = validated(SelfCheck(backend=backend), NotRefused(), ValidJson(schema={}))
    found = await signal.measure(QUESTION, wrote("not JSON"))
    assert (found.value, found.signal) == (None, "ValidJson")
    assert found.reason.startswith("ValidJson: not JSON")
    assert backend.asked == []


async def test_a_failure_of_less_weight_lowers_the_confidence() -> None:
    soft = (MatchesRegex(pattern="x"), NotRefused())
    found = await validated(MeanTokenProbability(), *soft, weights=(0.25, 0.5)).measure(QUESTION, DRAFT)
    assert found.value == pytest.approx(0.7 * 0.75)
    assert found.reason == "MatchesRegex: 'x' not found"
    alone = await validated(None, *soft, weights=(0.25, 0.5)).measure(QUESTION, DRAFT)
    assert (alone.value, alone.signal) == (0.75, "validators")


async def test_any_signal_can_be_a_validator_and_its_calls_are_counted() -> None:
    reply = wrote("No")
    found = await validated(None, SelfCheck(backend=Stub(reply))).measure(QUESTION, DRAFT)
    assert (found.value, found.signal, len(found.calls)) == (None, "SelfCheck", 1)
    missing = await validated(None, MeanTokenProbability()).measure(QUESTION, wrote("no tokens"))
    assert (missing.value, missing.signal) == (None, "MeanTokenProbability")  # not measured counts as failed


def test_a_calibration_is_bound_to_the_validators_and_the_inner_signal() -> None:
    one = validated(MeanTokenProbability(), MatchesRegex(pattern="x"))
    assert one.checks == validated(MeanTokenProbability(), MatchesRegex(pattern="x")).checks
    others = (
        validated(MeanTokenProbability(), MatchesRegex(pattern="y")),
        validated(MeanTokenProbability(), MatchesRegex(pattern="x"), weights=(0.5,)),
        validated(None, MatchesRegex(pattern="x")),
    )
    assert all(other.checks != one.checks for other in others)
    assert one.logprobs_wanted
    assert not others[2].logprobs_wanted
