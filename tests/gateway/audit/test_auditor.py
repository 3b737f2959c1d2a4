"""Drawn questions: asked in the background, within the budget, and never seen by the client."""

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest
from tests.gateway.audit.conftest import Draws, Make, watched
from tests.gateway.conftest import events, text_of

from corea.backends.fake import FakeBackend
from corea.errors import BackendError
from corea.gateway.audit.traffic import read_facts
from corea.stage import Mode
from corea.types import Sampling

GREEDY = Sampling(temperature=0)
SURE = "<answer>19</answer><confidence>0.9</confidence>"
UNSURE = "<answer>18</answer><confidence>0.2</confidence>"


async def test_a_drawn_kept_question_is_asked_of_the_last_stage_too(audited: Make) -> None:
    house = await audited(SURE, "It is <answer>20</answer>", draws=Draws(0.1), audit={"share": 0.25})
    response = await house.ask()
    assert response.json()["choices"][0]["message"]["content"] == "19"
    assert response.headers["x-corea-stage"] == "small"
    small = house.house.last.trace.steps
    assert [step.stage for step in small] == ["small"]
    assert response.headers["x-corea-cost-usd"] == f"{small[0].cost_usd:f}"
    assert len(house.house.large.calls) == 1
    (row,) = await house.rows()
    assert (row["trace_id"], row["cascade"]) == (response.headers["x-corea-trace-id"], "corea")
    assert (row["kept"], row["state"], row["differ"], row["probability"], row["draw"]) == (1, "done", 1, 0.25, 0.1)
    asked = house.house.large.calls[0].question.messages
    assert [m.content for m in asked] == ["12 + 7?"]
    words, written = 3, 3
    assert Decimal(row["cost_usd"]) == (words * 10 + written * 20) / Decimal(10**6)
    assert house.auditor.spent == {"corea": Decimal(row["cost_usd"])}
    facts = read_facts(row["facts"])
    assert facts.small is not None
    assert facts.large is not None
    assert (facts.small.model, facts.small.inputs, facts.large.model) == (
        "small-model", {"confidence": 0.9}, "large-model",
    )  # fmt: skip
    assert (row["served"], row["reference"]) == (None, None)  # no text without store_text
    assert "12 + 7" not in str(row)
    if house.path is not None:
        assert b"12 + 7" not in house.path.read_bytes()


async def test_a_question_is_drawn_by_the_number_alone(audited: Make) -> None:
    house = await audited(SURE, "<answer>20</answer>", draws=Draws(0.25, 0.24999, 0.9), audit={"share": 0.25})
    for _ in range(6):
        await house.ask()
    assert [row["draw"] for row in await house.rows()] == [0.24999, 0.24999]
    assert len(house.house.large.calls) == 2


async def test_a_deferred_question_costs_nothing_and_is_drawn_alike(audited: Make) -> None:
    house = await audited(UNSURE, "<answer>18.0</answer>", draws=Draws(0.1, 0.9), audit={"share": 0.5})
    for _ in range(2):
        await house.ask()
    assert len(house.house.large.calls) == 2  # the deferrals alone
    (row,) = await house.rows()
    assert (row["kept"], row["state"], row["differ"], row["cost_usd"]) == (0, "done", 0, None)  # 18 is 18.0


async def test_texts_are_stored_only_with_store_text_and_redacted(audited: Make) -> None:
    house = await audited(SURE, "It is <answer>20</answer>", storage={"store_text": True})
    house.auditor.redact = lambda text: text.replace("20", "XX")
    await house.ask()
    (row,) = await house.rows()
    assert (row["served"], row["reference"]) == (SURE, "It is <answer>XX</answer>")


async def test_the_budget_of_a_day_is_never_exceeded(audited: Make) -> None:
    """Each call costs a thirtieth of its reserve: calls go on until a whole reserve does not fit."""
    house = await audited(SURE, "<answer>20</answer>", audit={"budget_day_usd": "0.0019"}, settings=SMALL_RESERVE)
    seen = list[Decimal]()
    for _ in range(20):
        await house.ask()
        rows = await house.rows()
        seen.append(sum((Decimal(row["cost_usd"] or row["reserved_usd"]) for row in rows), Decimal(0)))
    assert max(seen) <= Decimal("0.0019")
    states = [row["state"] for row in await house.rows()]
    assert states.count("budget") == 1
    assert len(house.house.large.calls) == states.count("done") == len(states) - 1 > 0
    house.now[0] += 86_400
    await house.ask()
    assert sorted(row["state"] for row in await house.rows()) == sorted([*states, "done"])


SMALL_RESERVE = {"budgets": {"default_reserve_tokens": 5}}


async def test_budget_and_closure_survive_a_restart(audited: Make) -> None:
    first = await audited(SURE, "<answer>20</answer>", audit={"budget_day_usd": "0.0019"}, settings=SMALL_RESERVE)
    for _ in range(20):
        await first.ask()
    again = await audited(SURE, "<answer>20</answer>", audit={"budget_day_usd": "0.0019"}, settings=SMALL_RESERVE)
    await again.ask()
    assert again.auditor.budget.spent == first.auditor.budget.spent
    assert again.house.large.calls == []


async def test_a_call_in_flight_when_the_process_dies_counts_at_its_reserve(audited: Make) -> None:
    never = asyncio.Event()

    async def hang(question: Any) -> str:
        await never.wait()
        return ""

    first = await audited(SURE, FakeBackend("large-model", hang))
    await first.house.post()
    while not (rows := await first.rows()):
        await asyncio.sleep(0.001)
    assert (rows[0]["state"], rows[0]["cost_usd"]) == ("asked", None)
    reserved = Decimal(rows[0]["reserved_usd"])
    assert reserved > 0
    await first.die()
    again = await audited(SURE, "<answer>20</answer>")  # while the first still hangs: as after kill -9
    (row,) = await again.rows()
    assert (row["state"], row["cost_usd"]) == ("lost", row["reserved_usd"])
    assert again.auditor.budget.spent == reserved


async def test_a_failed_call_is_a_row_and_changes_nothing(audited: Make) -> None:
    house = await audited(SURE, FakeBackend("large-model", [BackendError("down", backend="large")]))
    response = await house.ask()
    assert response.status_code == 200
    (row,) = await house.rows()
    assert (row["state"], row["differ"]) == ("failed", None)
    assert house.auditor.outcomes == {("corea", "failed"): 1}


TOOL = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]


@pytest.mark.parametrize(
    "body",
    [
        {"corea": {"threshold": 0.5}},
        {"corea": {"max_cost_usd": 0.01}},
        {"corea": {"stage": "small"}},
        {"model": "corea/small"},
        {"tools": TOOL},
    ],
)
async def test_requests_that_the_promise_is_not_about_are_left_alone(audited: Make, body: dict[str, Any]) -> None:
    house = await audited(SURE, "<answer>20</answer>", settings={"accepts": {"small": ["tools"]}})
    response = await house.ask(**body)
    assert response.headers["x-corea-stage"] == "small"
    assert await house.rows() == []
    assert house.house.large.calls == []


async def test_a_cached_answer_is_not_audited_again(audited: Make) -> None:
    house = await audited(SURE, "<answer>19</answer>", settings={"cache": {"entries": 10}},
                          small_stage={"sampling": GREEDY})  # fmt: skip
    await house.ask(temperature=0)
    assert (await house.ask(temperature=0)).headers["x-corea-cached"] == "true"
    assert len(await house.rows()) == 1


async def test_streams_messages_and_responses_are_audited(audited: Make) -> None:
    house = await audited(SURE, "<answer>20</answer>")
    stream = await house.ask(stream=True)
    assert text_of(events(stream)) == "19"
    question = {"model": "corea", "messages": [{"role": "user", "content": "12 + 7?"}], "max_tokens": 500}
    said = await house.house.request("POST", "/v1/messages", json=question)
    assert said.json()["content"][0]["text"] == "19"
    said = await house.house.request("POST", "/v1/responses", json={"model": "corea", "input": "12 + 7?"})
    assert said.json()["output"][-1]["content"][0]["text"] == "19"
    await house.settle()
    assert [(row["state"], row["differ"]) for row in await house.rows()] == [("done", 1)] * 3


async def test_an_answer_that_cannot_be_read_is_not_compared(audited: Make) -> None:
    house = await audited(SURE, "I cannot say.")
    await house.ask()
    (row,) = await house.rows()
    assert (row["state"], row["differ"]) == ("done", None)


async def test_chats_are_audited_only_where_their_texts_are_stored(audited: Make) -> None:
    chat = {"mode": Mode.CHAT}
    house = await audited(SURE, "Hello.", small_stage=chat)
    await house.ask()
    assert await house.rows() == []
    house = await audited(SURE, "Hello.", small_stage=chat, storage={"store_text": True}, name="other.db")
    await house.ask()
    (row,) = await house.rows()
    assert (row["state"], row["differ"], row["served"], row["reference"]) == ("done", None, SURE, "Hello.")


async def test_questions_that_come_too_fast_are_dropped_and_counted(
    audited: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = await audited(SURE, "<answer>20</answer>", monitor=watched())
    monkeypatch.setattr("corea.gateway.audit.auditor.CAPACITY", 0)
    await house.ask()
    assert (house.auditor.dropped, await house.rows()) == (1, [])


async def test_evidence_and_rows_are_deleted_with_the_decisions(audited: Make) -> None:
    house = await audited(SURE, "<answer>20</answer>", storage={"retention_days": 2})
    await house.feedback(await house.ask(), verdict="right")
    again = await audited(SURE, "<answer>20</answer>", storage={"retention_days": 2})
    assert len(await again.rows()) == 1
    again.now[0] += 3 * 86_400
    await again.auditor.run(again.auditor.delete_old)
    assert (await again.rows(), await again.rows("labels")) == ([], [])


async def test_the_page_shows_the_evidence(audited: Make) -> None:
    house = await audited(SURE, "<answer>20</answer>", monitor=watched(), draws=Draws(0.1, 0.6), audit={"share": 0.5})
    answers = [await house.ask() for _ in range(4)]
    await house.feedback(answers[0], verdict="wrong")
    (found,) = (await house.get("/v1/audit")).json()["cascades"]
    sources = {each["source"]: each for each in found["sources"]}
    assert set(sources) == {"deferred", "audited", "labelled", "feedback:user"}
    audited_source = sources["audited"]
    assert (audited_source["n"], audited_source["rate"], audited_source["high"]) == (2, 1.0, 0.1)
    assert audited_source["evidence"] > sources["deferred"]["evidence"] == 0
    assert (sources["feedback:user"]["n"], sources["feedback:user"]["rate"]) == (1, 0.0)
    assert "no test" in sources["feedback:user"]["meaning"]
    assert (found["drawn"], found["to_label"], found["alarm"]) == ({"done": 2}, 2, None)
    (day,) = found["days"]
    assert (day["day"], day["kept"], day["kept_differ"], day["over_budget"]) == ("2024-10-04", 2, 2, False)
    assert found["cost_usd"] == day["cost_usd"] == str(house.auditor.spent["corea"])
    json.dumps(found)
