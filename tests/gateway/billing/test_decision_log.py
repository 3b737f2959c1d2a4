"""Decisions: all are stored, none makes a request wait, what is dropped is counted, no text without leave."""

import asyncio
import json
import sqlite3
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.gateway.conftest import UNSURE, House, make_house

from corea.errors import ConfigError
from corea.gateway.billing import db_writer
from corea.gateway.billing.database import connect
from corea.gateway.billing.db_writer import DbWriter
from corea.gateway.billing.decision_log import DecisionLog
from corea.gateway.billing.keys import create_key, list_keys
from corea.gateway.ops.settings import GatewayStorage
from corea.types import Usage


async def stored(tmp_path: Path, house: House, settings: GatewayStorage, **named: Any) -> list[sqlite3.Row]:
    """What is in the file after all that the house did."""
    store = DecisionLog(settings, **named)
    for done in house.done:
        store.record(done)
    writer = DbWriter(tmp_path / "corea.db", store)
    writer.start()
    await writer.stop()
    connection = connect(tmp_path / "corea.db")
    connection.row_factory = sqlite3.Row
    rows = connection.execute("SELECT * FROM decisions ORDER BY at").fetchall()
    connection.close()
    return rows


async def test_a_decision_holds_who_how_sure_and_how_much(tmp_path: Path) -> None:
    house = make_house(UNSURE)
    body = (await house.post(stream=False)).json()
    (row,) = await stored(tmp_path, house, GatewayStorage())
    assert (row["trace_id"], row["cascade"], row["stage"]) == (body["corea"]["trace_id"], "corea", "large")
    assert (row["confidence"], row["threshold"], row["deferred"], row["status"]) == (0.2, 0.8, 1, "answered")
    assert float(row["cost_usd"]) == body["corea"]["cost_usd"]
    assert (row["prompt_tokens"], row["completion_tokens"]) == (
        body["usage"]["prompt_tokens"],
        body["usage"]["completion_tokens"],
    )
    assert [(s["stage"], s["decision"]) for s in json.loads(row["steps"])] == [("small", "defer"), ("large", "keep")]


async def test_no_word_is_stored_unless_asked_for(tmp_path: Path) -> None:
    house = make_house(UNSURE)
    await house.post(messages=[{"role": "user", "content": "my secret question"}])
    (row,) = await stored(tmp_path, house, GatewayStorage())
    assert (row["prompt"], row["answer"]) == (None, None)
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"secret question" not in content
    assert b"nineteen" not in content


def shout(text: str) -> str:
    return text.replace("secret", "[redacted]")


ALLOWED = threading.Event()


def wait(text: str) -> str:
    assert ALLOWED.wait(20)
    return shout(text)


def fail(text: str) -> str:
    raise ValueError(text)


def count(text: str) -> int:
    return len(text)


async def test_texts_pass_through_the_redaction(tmp_path: Path) -> None:
    house = make_house()
    await house.post(messages=[{"role": "user", "content": "my secret question"}])
    (row,) = await stored(tmp_path, house, GatewayStorage(store_text=True, redact=f"{__name__}:shout"))
    assert row["prompt"] == "user: my [redacted] question"
    assert "<answer>19</answer>" in row["answer"]


async def test_money_does_not_wait_for_a_slow_redaction(tmp_path: Path) -> None:
    house = make_house()
    await house.post(messages=[{"role": "user", "content": "my secret question"}])
    ALLOWED.clear()
    store = DecisionLog(GatewayStorage(store_text=True, redact=f"{__name__}:wait"))
    writer = DbWriter(tmp_path / "corea.db", store)
    writer.start()
    connection = connect(tmp_path / "corea.db")
    key, _ = create_key(connection, "alice")
    for _ in range(3):
        store.record(house.last)
    assert await asyncio.wait_for(writer.spend(key.id, Decimal("0.5"), 1, day=0), 10)
    assert list_keys(connection)[0].spent_usd == Decimal("0.5")
    assert connection.execute("SELECT count(*) FROM decisions").fetchone() == (0,)
    ALLOWED.set()
    await writer.stop()
    texts = connection.execute("SELECT prompt FROM decisions").fetchall()
    connection.close()
    assert texts == [("user: my [redacted] question",)] * 3


async def test_a_redaction_that_never_ends_costs_the_texts_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db_writer, "DRAIN_SECONDS", 0.01)
    ALLOWED.clear()
    house = make_house()
    for _ in range(3):
        await house.post(messages=[{"role": "user", "content": "my secret question"}])
    rows = await stored(tmp_path, house, GatewayStorage(store_text=True, redact=f"{__name__}:wait"))
    ALLOWED.set()
    assert [(row["prompt"], row["answer"]) for row in rows] == [(None, None)] * 3


@pytest.mark.parametrize("function", [fail, count])
async def test_a_redaction_that_fails_stores_nothing_and_logs_no_text(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, function: Any
) -> None:
    house = make_house()
    await house.post(messages=[{"role": "user", "content": "my secret question"}])
    (row,) = await stored(tmp_path, house, GatewayStorage(store_text=True, redact=f"{__name__}:{function.__name__}"))
    assert (row["prompt"], row["answer"]) == (None, None)
    assert "gateway.storage.redact failed" in caplog.text
    assert "secret" not in caplog.text


def test_a_redaction_that_is_not_there_is_an_error_at_the_start() -> None:
    with pytest.raises(ConfigError, match=r"gateway\.storage\.redact.*'nowhere'.*PYTHONPATH"):
        DecisionLog(GatewayStorage(redact="nowhere:nothing"))


async def test_what_does_not_fit_is_dropped_counted_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    house = make_house()
    for _ in range(5):
        await house.post()
    store = DecisionLog(GatewayStorage(), capacity=3)
    for done in house.done:
        store.record(done)
    assert (len(store.queue), store.dropped) == (3, 2)
    assert caplog.text.count("dropped so far") == 1


async def test_old_decisions_are_deleted(tmp_path: Path) -> None:
    house = make_house()
    await house.post()
    assert len(await stored(tmp_path, house, GatewayStorage(retention_days=0), clock=lambda: 0.0)) == 1
    house.done.clear()
    await house.post()
    rows = await stored(tmp_path, house, GatewayStorage(retention_days=30))
    assert [row["trace_id"] for row in rows] == [house.last.trace.trace_id]


async def test_cut_off_and_failed_requests_are_stored_too(tmp_path: Path) -> None:
    house = make_house(UNSURE, ZeroDivisionError("a bug"))
    await house.post()
    (row,) = await stored(tmp_path, house, GatewayStorage())
    assert (row["status"], row["error"], row["stage"]) == ("failed", "internal_error", None)
    assert float(row["cost_usd"]) > 0
    assert [step["error"] for step in json.loads(row["steps"])] == [None, "ZeroDivisionError"]


async def test_a_decision_that_cannot_be_stored_stops_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """SQLite takes no whole number beyond 64 bits, which an upstream may well claim to have read."""
    house = make_house()
    for _ in range(3):
        await house.post()
    odd = msgspec.structs.replace(house.done[1], usage=Usage(prompt_tokens=2**70))
    house.done[1] = odd
    rows = await stored(tmp_path, house, GatewayStorage())
    assert [row["trace_id"] for row in rows] == [house.done[0].trace.trace_id, house.done[2].trace.trace_id]
    assert "cannot be stored" in caplog.text
