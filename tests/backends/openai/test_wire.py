"""Odd but real shapes of answers, and the alignment of token log-probabilities with the text."""

import json
from decimal import Decimal
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corea.backends.openai import wire
from corea.types import Completion, Question, StreamPart, Usage

QUESTION = Question.of("What is 2 + 2?")


def completion(reply: dict[str, Any]) -> Completion:
    written = wire.ReplyBuilder()
    written.add(*wire.read_response(json.dumps(reply).encode()))
    return written.completion(QUESTION, "configured")


def answered(message: dict[str, Any], **fields: Any) -> Completion:
    return completion({"choices": [{"message": message, "finish_reason": "stop"}], **fields})


def with_tokens(text: str, tokens: list[dict[str, Any]]) -> Completion:
    return completion({"choices": [{"message": {"content": text}, "logprobs": {"content": tokens}}]})


def token(string: str, logprob: float | None = -0.5, raw: bytes | None = None) -> dict[str, Any]:
    return {"token": string, "logprob": logprob, "bytes": None if raw is None else list(raw), "top_logprobs": []}


def strings(completion: Completion) -> list[str] | None:
    return None if completion.logprobs is None else [t.token for t in completion.logprobs]


# Usage


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 3}, Usage(prompt_tokens=9, completion_tokens=3)),
        (
            {"prompt_tokens": 9.0, "completion_tokens": None},
            Usage(prompt_tokens=9, completion_tokens=1, estimated=True),
        ),
        ({"prompt_tokens": 1e300, "completion_tokens": 3}, Usage(prompt_tokens=2**53, completion_tokens=3)),
        (
            {"prompt_tokens": 9, "completion_tokens": 3, "prompt_cache_hit_tokens": 8},
            Usage(prompt_tokens=9, cached_tokens=8, completion_tokens=3),
        ),
        (
            {"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 99}},
            Usage(prompt_tokens=9, cached_tokens=9, completion_tokens=3),
        ),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 3,
                "prompt_tokens_details": None,
                "completion_tokens_details": {},
            },
            Usage(prompt_tokens=9, completion_tokens=3),
        ),
    ],
)
def test_usage_is_read_as_openai_counts(usage: dict[str, Any], expected: Usage) -> None:
    assert answered({"content": "4"}, usage=usage).usage == expected


@pytest.mark.parametrize(
    "usage", [None, {}, {"prompt_tokens": "nine"}, [], {"prompt_tokens": 0, "completion_tokens": 0}]
)
def test_usage_that_cannot_be_is_estimated(usage: Any) -> None:
    assert answered({"content": "4"}, usage=usage).usage == Usage(prompt_tokens=8, completion_tokens=1, estimated=True)


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        ('"cost": 0.1', "0.1"),
        ('"cost": 1.2e-05', "0.000012"),
        ('"cost": 0.12345678901234567890', "0.12345678901234567890"),
        ('"cost": 0', "0"),
        ('"cost": 0.01, "is_byok": true, "cost_details": {"upstream_inference_cost": 0.2}', "0.21"),
        ('"cost": 0.01, "is_byok": false, "cost_details": {"upstream_inference_cost": 0.2}', "0.01"),
        ('"cost": null', None),
        ('"cost": -1', None),
    ],
)
def test_a_stated_cost_is_exact(usage: str, cost: str | None) -> None:
    billed = wire.read_usage(f'{{"prompt_tokens": 1, "completion_tokens": 1, {usage}}}'.encode())
    assert billed is not None
    assert billed.cost_usd == (None if cost is None else Decimal(cost))
    assert str(billed.cost_usd) == str(None if cost is None else Decimal(cost))


def test_usage_is_found_in_what_is_left_of_a_broken_answer() -> None:
    broken = (
        b'{"usage":{"prompt_tokens":3,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":1}},"choices":[{'
    )
    found = wire.find_usage(broken)
    assert found is not None
    assert found.usage == Usage(prompt_tokens=3, cached_tokens=1, completion_tokens=4)
    assert wire.find_usage(b'{"usage":{"prompt_to') is None


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_readers(received: bytes) -> None:
    wire.find_usage(b'"usage": {' + received)
    assert "\n" not in wire.read_error(received).message
    try:
        wire.read_response(received)
    except msgspec.DecodeError:
        pass


# Messages


def test_content_in_parts_is_joined_and_its_thinking_set_apart() -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "The answer "},
        {"type": "text", "text": "is 4"},
    ]
    told = answered({"content": parts})
    assert (told.text, told.reasoning) == ("The answer is 4", "hm")


def test_the_messages_other_fields_are_kept_as_they_came_unless_all_are_null() -> None:
    assert answered({"content": "4", "refusal": None, "tool_calls": None}).raw is None
    assert answered({"content": "4", "annotations": []}).raw == {"annotations": []}
    told = answered({"content": None, "refusal": "I cannot."})
    assert (told.text, told.raw) == ("", {"content": None, "refusal": "I cannot."})


def test_reasoning_is_kept_with_its_names() -> None:
    told = answered({"content": "4", "reasoning": "hm", "reasoning_content": "hm"})
    assert (told.reasoning, told.reasoning_fields, told.raw) == ("hm", ("reasoning_content", "reasoning"), None)


def deltas(*found: dict[str, Any]) -> tuple[list[str | StreamPart], Completion]:
    written = wire.ReplyBuilder()
    replies = [wire.read_response(json.dumps({"choices": [{"delta": delta}]}).encode()) for delta in found]
    return [written.add(*reply) for reply in replies], written.completion(QUESTION, "configured")


def call(arguments: str, **fields: Any) -> dict[str, Any]:
    name = {"name": fields.pop("name")} if "name" in fields else {}
    return {**fields, "function": {**name, "arguments": arguments}}


@pytest.mark.parametrize(
    ("pieces", "joined"),
    [
        ([call("", id="a", name="f"), call('{"x"'), call(": 1}")], [("a", "f", '{"x": 1}')]),
        ([call("{", id="a", name="f"), call("}", id="a")], [("a", "f", "{}")]),
        ([call("{}", id="a", name="f"), call("{}", id="b", name="f")], [("a", "f", "{}"), ("b", "f", "{}")]),
        ([call("{}", name="f"), call("{}", name="g")], [(None, "f", "{}"), (None, "g", "{}")]),
        (
            [call("{}", index=0, id="a", name="f"), call("{", index=0, id="b", name="g"), call("}", index=0)],
            [("a", "f", "{}"), ("b", "g", "{}")],
        ),
        ([call("{", index=0, id="a", name="f"), call("}", index=0, id="a", name="f")], [("a", "f", "{}")]),
    ],
)
def test_tool_calls_join_with_and_without_an_index(pieces: list[Any], joined: list[Any]) -> None:
    parts, told = deltas(*({"tool_calls": [piece]} for piece in pieces))
    assert told.raw is not None
    found = told.raw["tool_calls"]
    assert [(c.get("id"), c["function"]["name"], c["function"]["arguments"]) for c in found] == joined
    passed = [part.fields["tool_calls"][0]["index"] for part in parts if isinstance(part, StreamPart)]
    assert len(passed) == len(pieces)
    assert sorted(set(passed)) == list(range(len(joined)))


def test_other_fields_of_deltas_join_and_pass() -> None:
    parts, told = deltas(
        {"role": "assistant", "content": "", "refusal": None},
        {"reasoning_content": "h"}, {"reasoning_content": "m"}, {"refusal": "No"}, {"refusal": "."},
        {"audio": {"id": "a1", "transcript": "n"}}, {"audio": {"id": "a1", "transcript": "o"}},
        {"reasoning_details": [{"index": 0, "type": "reasoning.text", "text": "h"}]},
        {"reasoning_details": [{"index": 0, "type": "reasoning.text", "text": "m"}]},
        {"annotations": [{"url": "u"}]}, {"content": "4", "made_up": [1]},
    )  # fmt: skip
    assert told.raw == {
        "refusal": "No.",
        "audio": {"id": "a1", "transcript": "no"},
        "reasoning_details": [{"index": 0, "type": "reasoning.text", "text": "hm"}],
        "annotations": [{"url": "u"}],
        "made_up": [1],
    }
    assert (told.text, told.reasoning, told.reasoning_fields) == ("4", "hm", ("reasoning_content",))
    assert parts[0] == ""
    assert parts[1] == StreamPart("", {"reasoning_content": "h"})
    assert parts[-1] == StreamPart("4", {"made_up": [1]})


@pytest.mark.parametrize(
    ("received", "text"),
    [
        (rb'"a\ud83d"', "a\ufffd"), (rb'"\ud83d\ude00"', "\U0001f600"), (b'"a\xff"', "a\ufffd"),
        (b'"tab\there"', "tab\there"),
    ],
)  # fmt: skip
def test_broken_characters_are_replaced(received: bytes, text: str) -> None:
    written = wire.ReplyBuilder()
    written.add(*wire.read_response(b'{"choices": [{"message": {"content": ' + received + b"}}]}"))
    assert written.completion(QUESTION, "configured").text == text


def test_an_infinite_logprob_is_as_vllm_writes_it() -> None:
    tokens = b'"logprobs": {"content": [{"token": "4", "logprob": -Infinity}]}'
    raw = b'{"choices": [{"message": {"content": "4"}, ' + tokens + b"}]}"
    written = wire.ReplyBuilder()
    written.add(*wire.read_response(raw))
    logprobs = written.completion(QUESTION, "configured").logprobs
    assert logprobs is not None
    assert [(token.token, token.logprob) for token in logprobs] == [("4", -9999.0)]


def test_what_is_not_json_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError, match="truncated"):
        wire.read_response(b'{"choices": [{"mess')


def test_of_several_answers_the_first_is_the_answer() -> None:
    choices = [{"index": 1, "message": {"content": "b"}}, {"index": 0, "message": {"content": "a"}}]
    assert completion({"choices": choices}).text == "a"


# Log-probabilities


def test_tokens_outside_the_text_are_left_out() -> None:
    tokens = [token("<think>"), token("4 4"), token("</think>\n\n"), token("4"), token(" is"), token("<|im_end|>")]
    assert strings(with_tokens("4 is", tokens)) == ["4", " is"]


def test_a_token_that_reaches_over_the_edge_is_cut() -> None:
    assert strings(with_tokens("4 it is", [token(">4"), token(" it"), token(" is\n##")])) == ["4", " it", " is"]


def test_a_character_over_several_tokens_goes_to_the_last() -> None:
    raw = "a🎉b".encode()
    tokens = [
        token("a", raw=raw[:1]),
        token("\\xf0", raw=raw[1:3]),
        token("\\x8e", raw=raw[3:5]),
        token("b", raw=raw[5:]),
    ]
    assert strings(with_tokens("a🎉b", tokens)) == ["a", "", "🎉", "b"]


@pytest.mark.parametrize("text", ["ok ��", "ok �", "ok "])
def test_a_broken_character_is_shown_as_the_server_shows_it(text: str) -> None:
    tokens = [token("ok", raw=b"ok"), token(" \ufffd", raw=b" \xf0"), token("\ufffd", raw=b"\x9f\x8e")]
    told = with_tokens(text, tokens)
    assert told.logprobs is not None
    assert "".join(t.token for t in told.logprobs) == text


def test_tokens_that_do_not_hold_the_text_are_not_given() -> None:
    assert with_tokens("four", [token("▁fo"), token("or")]).logprobs is None


def test_minus_infinity_is_a_number_and_alternatives_are_sorted() -> None:
    odd = {**token("4", None), "top_logprobs": [token("5", -3.0), token("4", -0.1), token("6", None)]}
    told = with_tokens("4", [odd])
    assert told.logprobs is not None
    assert told.logprobs[0].logprob == -9999.0
    assert told.logprobs[0].top == (("4", -0.1), ("5", -3.0), ("6", -9999.0))


@pytest.mark.parametrize("odd", [{"tokens": ["4"], "token_logprobs": [-0.1]}, {"content": None}, {"content": "4"}, [1]])
def test_log_probabilities_in_another_form_are_as_good_as_none(odd: Any) -> None:
    assert completion({"choices": [{"message": {"content": "4"}, "logprobs": odd}]}).logprobs is None


@given(st.text(max_size=30), st.lists(st.integers(0, 90), max_size=8), st.text(max_size=5), st.text(max_size=5))
def test_however_the_text_is_cut_into_tokens_they_join_to_it(
    text: str, cuts: list[int], before: str, after: str
) -> None:
    raw = (before + text + after).encode()
    places = sorted({0, len(raw), *(cut % (len(raw) + 1) for cut in cuts)})
    parts = [raw[a:b] for a, b in pairwise(places)]
    told = with_tokens(text, [token(part.decode(errors="replace"), raw=part) for part in parts])
    if parts and text:
        assert told.logprobs is not None
        assert "".join(t.token for t in told.logprobs) == text


# Faults


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        (b'{"error": {"message": "no", "code": "bad"}}', "no", "bad"),
        (b'{"error": "no"}', "no", None),
        (b'{"object": "error", "message": "no", "type": "BadRequestError", "code": 400}', "no", "400"),
        (b'{"detail": "no"}', "no", None),
        (b'{"detail": [{"loc": ["body"], "msg": "wrong"}]}', "[{'loc': ['body'], 'msg': 'wrong'}]", None),
        (b'[{"error": {"code": 400, "message": "no"}}]', "no", "400"),
        (b"plain\r\nwords", "plain words", None),
        (b"", "", None),
    ],
)
def test_errors_are_read_in_every_shape(body: bytes, message: str, code: str | None) -> None:
    fault = wire.read_error(body)
    assert (fault.message, fault.code) == (message, code)
