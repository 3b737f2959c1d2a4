"""Confidence-first and the hedge through the gateway: what the client is sent, in which order, and what is booked."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from corea.backends.fake import FakeBackend
from corea.hedge import LOST

FIRST = "<confidence>0.9</confidence> <think>easy</think><answer>nine teen</answer>"
LOW = "<confidence>0.2</confidence> <think>hard</think><answer>DRAFT</answer>"
HOUSE = Callable[..., Any]


def events(text: str) -> list[Any]:
    return [json.loads(e.removeprefix("data: ")) for e in text.split("\n\n") if e.startswith("data: {")]


async def test_a_kept_answer_streams_with_its_stage_and_confidence_in_the_headers(house: HOUSE) -> None:
    it = house(FIRST, small_stage={"confidence_first": True})
    response = await it.post(stream=True)
    told = events(response.text)
    assert (response.headers["x-corea-stage"], response.headers["x-corea-confidence"]) == ("small", "0.9")
    assert [c["choices"][0]["delta"].get("content") for c in told] == ["", "nine", " teen", None]
    assert told[-1]["corea"]["stage"] == "small"
    assert it.last.trace.steps[0].completion.usage.estimated is False


async def test_a_deferred_draft_leaves_no_trace_in_the_stream(house: HOUSE) -> None:
    it = house(LOW, "It is nineteen.", small_stage={"confidence_first": True})
    response = await it.post(stream=True)
    assert response.headers["x-corea-stage"] == "large"
    assert "DRAFT" not in response.text
    assert "hard" not in response.text
    text = "".join(c["choices"][0]["delta"].get("content", "") for c in events(response.text))
    assert text == "It is nineteen."
    draft = it.last.trace.steps[0]
    assert (draft.completion.usage.estimated, draft.completion.usage.completion_tokens) == (True, 1)
    assert it.last.trace.cost_usd == draft.cost_usd + it.last.trace.steps[1].cost_usd


async def test_a_hedged_request_is_answered_by_the_faster_and_books_both(house: HOUSE) -> None:
    stuck = asyncio.Event()

    async def never(question: Any) -> str:
        await stuck.wait()
        return "never"

    it = house(FakeBackend("small-model", never), "It is nineteen.", hedge_seconds=0.01)
    response = await it.post(stream=True)
    assert response.headers["x-corea-stage"] == "large"
    assert [(step.stage, step.error_kind) for step in it.last.trace.steps] == [("small", LOST), ("large", None)]
    assert it.last.trace.cost_usd == sum(step.cost_usd for step in it.last.trace.steps)
    assert it.small.cancelled == 1


async def test_a_client_that_hangs_up_on_a_hedged_request_stops_both_and_both_are_counted(house: HOUSE) -> None:
    stuck = asyncio.Event()

    async def never(question: Any) -> str:
        await stuck.wait()
        return "never"

    it = house(FakeBackend("small-model", never), FakeBackend("large-model", never), hedge_seconds=0.01)

    async def hang_up() -> Any:
        while not it.large.calls:
            await asyncio.sleep(0.01)
        return {"type": "http.disconnect"}

    await it.call({"model": "corea", "messages": [{"role": "user", "content": "12 + 7?"}]}, hang_up)
    assert (it.small.cancelled, it.large.cancelled, it.last.client_disconnected) == (1, 1, True)
    assert sorted(step.stage for step in it.last.trace.steps) == ["large", "small"]
    assert all(step.completion.usage.prompt_tokens > 0 for step in it.last.trace.steps)
