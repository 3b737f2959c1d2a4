"""Requests are read strictly where we use a field, and left alone where we do not."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corea.gateway.chat.request import parse_chat
from corea.gateway.errors import GatewayError
from corea.types import Message

GOOD: dict[str, Any] = {"model": "corea", "messages": [{"role": "user", "content": "12 + 7?"}]}


def body(**changes: Any) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def test_a_plain_request() -> None:
    request = parse_chat(body())
    assert (request.body.model, request.messages) == ("corea", (Message("user", "12 + 7?"),))
    assert (request.body.stream, request.max_tokens, request.extra, request.needs) == (None, None, {}, {})


def test_fields_that_are_not_ours_are_carried_untouched() -> None:
    extra = {"tools": [{"type": "function"}], "user": "u", "metadata": {"a": [1, None]}, "made_up": 1.5}
    request = parse_chat(body(**extra))
    assert request.extra == extra
    assert request.needs == {"tools": "tools"}


def test_what_a_request_needs_of_a_stage() -> None:
    image = {
        "role": "user",
        "content": [{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": "x"}}],
    }
    request = parse_chat(body(messages=[image], response_format={"type": "json_object"}))
    assert request.needs == {"images": "messages[0].content", "structured": "response_format"}
    told = [GOOD["messages"][0], {"role": "tool", "content": "19", "tool_call_id": "a"}]
    assert parse_chat(body(messages=told)).needs == {"tools": "messages[1].role"}
    assert request.messages[0] == Message("user", "what?", raw=image)


def test_text_in_parts_is_joined_for_us_and_sent_on_as_it_came() -> None:
    cached = {"cache_control": {"type": "ephemeral"}}
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": None}, {"type": "text", "text": "b", **cached}]
    message = {"role": "user", "content": parts}
    assert parse_chat(body(messages=[message])).messages == (Message("user", "a\nb", raw=message),)


def test_half_a_character_is_replaced() -> None:
    sent = rb'{"model": "corea", "messages": [{"role": "user", "content": "a\ud83d \ud83d\ude00"}]}'
    assert parse_chat(sent).messages == (Message("user", "a\ufffd \U0001f600"),)


@pytest.mark.parametrize(
    ("field", "need"),
    [
        ({"guided_json": {"type": "object"}}, "structured"),
        ({"structured_outputs": {"choice": ["a"]}}, "structured"),
        ({"grammar": "root ::= [0-9]"}, "structured"),
        ({"functions": [{"name": "f"}]}, "tools"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"web_search_options": {"user_location": None}}, "web_search_options"),
        ({"modalities": ["text", "audio"]}, "modalities"),
    ],
)
def test_a_constraint_is_a_need(field: dict[str, Any], need: str) -> None:
    assert parse_chat(body(**field)).needs == {need: next(iter(field))}


@pytest.mark.parametrize(
    "field", [{"modalities": ["text"]}, {"response_format": {"type": "text"}}, {"tools": []}, {"logit_bias": None}]
)
def test_a_field_that_asks_for_nothing_but_text_is_no_need(field: dict[str, Any]) -> None:
    assert parse_chat(body(**field)).needs == {}


def test_controls() -> None:
    controls = parse_chat(body(corea={"threshold": 0.5, "max_cost_usd": 0.01, "stage": "small"})).controls
    assert (controls.threshold, controls.max_cost_usd, controls.stage) == (0.5, Decimal("0.01"), "small")


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"model": 3}, "model"),
        ({"model": ""}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [3]}, "messages[0]"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"text": "no type"}]}]}, "messages[0].content[0]"),
        ({"n": 2}, "n"),
        ({"stream": "yes"}, "stream"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"top_p": -1}, "top_p"),
        ({"stop": ["a", 1]}, "stop"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"seed": 2**70}, "seed"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"corea": {"treshold": 1}}, "corea.treshold"),
        ({"corea": {"threshold": 2}}, "corea.threshold"),
        ({"corea": {"max_cost_usd": "much"}}, "corea.max_cost_usd"),
        ({"corea": {"max_cost_usd": "NaN"}}, "corea.max_cost_usd"),
    ],
)
def test_a_field_at_fault_is_named(changes: dict[str, Any], param: str) -> None:
    with pytest.raises(GatewayError) as caught:
        parse_chat(body(**changes))
    assert (caught.value.status, caught.value.param) == (400, param)


@pytest.mark.parametrize("junk", [b"", b"{", b"[]", b"3", b"\xff\xfe", b'{"model": ' + b"[" * 5000])
def test_a_body_that_is_no_object_is_refused(junk: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        parse_chat(junk)
    assert caught.value.code == "invalid_json"


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(["model", "messages", "n", "stop", "corea", "stream_options", "seed"]), JSON_VALUES)
)
def test_any_object_is_read_or_refused_but_never_crashes(value: dict[str, Any]) -> None:
    try:
        parse_chat(json.dumps({**GOOD, **value}).encode())
    except GatewayError as error:
        assert error.status == 400
