"""Sticky conversations: each is its own, by its session or its history; a refused request uses up no turn."""

from typing import Any

import pytest
from tests.gateway.conftest import LARGE, SURE, UNSURE, House, make_house

from corea.gateway.billing.auth import Admission, OpenAccounts, Principal, SpendRequest
from corea.gateway.errors import GatewayError
from corea.gateway.ops.affinity import SessionAffinity

SHOTS = [
    {"role": "system", "content": "Answer sums."},
    {"role": "user", "content": "1 + 1?"},
    {"role": "assistant", "content": "2"},
    {"role": "user", "content": "2 + 2?"},
    {"role": "assistant", "content": "4"},
]


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


async def ask(house: House, *messages: dict[str, Any], **more: Any) -> bool:
    """True if the small model was not asked."""
    assert (await house.post(messages=list(messages), **more)).status_code == 200
    return "sticky" in house.last.trace.flags


async def test_strangers_who_share_examples_are_not_one_conversation() -> None:
    house = make_house([UNSURE, *[SURE] * 9], sticky_turns=3)
    assert not await ask(house, *SHOTS, user("my hard question"))  # deferred
    for other in ("b", "c"):
        assert not await ask(house, *SHOTS, user(other))
    answered = {"role": "assistant", "content": LARGE}
    assert await ask(house, *SHOTS, user("my hard question"), answered, user("and now?"))


async def test_a_greeting_makes_nobody_sticky_in_the_first_turn() -> None:
    house = make_house([UNSURE, *[SURE] * 9], sticky_turns=3)
    assert not await ask(house, user("hi"))
    assert not await ask(house, user("hi"))


async def test_strangers_with_the_same_greeting_are_distinguished_by_their_answers() -> None:
    house = make_house([UNSURE, *[SURE] * 9], sticky_turns=3)
    deferred, kept = [(await house.post(messages=[user("hi")])).json()["choices"][0]["message"] for _ in range(2)]
    assert (deferred["content"], kept["content"]) == (LARGE, "19")
    assert not await ask(house, user("hi"), kept, user("what is 12 + 7?"))
    assert await ask(house, user("hi"), deferred, user("what is 12 + 7?"))


async def test_a_streamed_answer_and_tool_calls_identify_a_conversation_too() -> None:
    house = make_house([UNSURE, *[SURE] * 9], sticky_turns=2, accepts={"small": ["tools"]})
    await house.post(messages=[user("hi")], stream=True)
    assert await ask(house, user("hi"), {"role": "assistant", "content": LARGE}, user("and?"))
    affinity = house.gateway.chat.affinity
    calls = [{"id": "1", "type": "function", "function": {}}]
    affinity.keep(house.last.state.request, None, 1, "", calls)
    others = [{**calls[0], "id": "2"}]
    for found, sticky in ((others, False), (calls, True)):
        answer = {"role": "assistant", "content": None, "tool_calls": found}
        result = {"role": "tool", "tool_call_id": found[0]["id"], "content": "3"}
        history = [user("hi"), {"role": "assistant", "content": LARGE}, user("and?")]
        assert await ask(house, *history, answer, result) is sticky


async def test_a_conversation_stays_deferred_for_its_turns_through_tools_and_then_not() -> None:
    house = make_house([UNSURE, *[SURE] * 9], sticky_turns=2, accepts={"small": ["tools"]})
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function", "function": {}}]}
    result = {"role": "tool", "tool_call_id": "1", "content": "3"}
    told = {"role": "assistant", "content": f" {LARGE}\n"}  # as a client may have trimmed it, or not
    assert not await ask(house, user("q"))
    assert await ask(house, user("q"), told, user("r"))
    assert await ask(house, user("q"), told, user("r"), told, user("s"))
    assert not await ask(house, user("q"), told, user("r"), told, user("s"), told, user("t"))
    affinity = SessionAffinity()
    house.gateway.chat.affinity = affinity
    affinity.keep(house.last.state.request, None, 1, "", call["tool_calls"])
    assert await ask(house, user("q"), told, user("r"), told, user("s"), told, user("t"), call, result)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"x-session-id": "a"}, {}),
        ({"session_id": "a"}, {}),
        ({}, {"corea": {"session": "a"}}),
        ({}, {"metadata": {"session_id": "a"}}),
    ],
)
async def test_a_named_session_is_the_conversation(headers: dict[str, str], body: dict[str, Any]) -> None:
    house = make_house([UNSURE, *[SURE] * 9], sticky_turns=1)
    found = [await ask(house, user(text), headers=headers, **body) for text in ("q", "something else", "and else")]
    assert found == [False, True, False]
    assert not await ask(house, user("q"))  # without the session


class Full(OpenAccounts):
    """Accounts that refuse while they are full."""

    full = False

    async def admit(self, principal: Principal, request: SpendRequest) -> Admission:
        if self.full:
            raise GatewayError(429, "full", "rate_limit_error", "rate_limit_exceeded")
        return await super().admit(principal, request)


async def test_a_refused_request_uses_up_no_turn() -> None:
    accounts = Full()
    house = make_house([UNSURE, *[SURE] * 9], accounts=accounts, sticky_turns=1)
    named = {"corea": {"session": "a"}}
    await ask(house, user("q"), **named)
    accounts.full = True
    for _ in range(3):
        assert (await house.post(messages=[user("r")], **named)).status_code == 429
    accounts.full = False
    assert await ask(house, user("r"), **named)
