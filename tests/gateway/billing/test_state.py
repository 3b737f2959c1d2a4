"""Copies of the database: complete while it is written to, refused where damaged, and served again."""

import asyncio
import json
import shutil
import sqlite3
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.gateway.conftest import House, make_house

from corea.cli.main import main
from corea.errors import ConfigError
from corea.gateway.billing import state
from corea.gateway.billing.budgets import KeyAccounts
from corea.gateway.billing.database import connect, version
from corea.gateway.billing.db_writer import DbWriter
from corea.gateway.billing.decision_log import DecisionLog
from corea.gateway.billing.keys import KeyLimits, create_key, list_keys
from corea.gateway.billing.migrations import MIGRATIONS
from corea.gateway.billing.state_file import locked, state_file
from corea.gateway.ops.settings import GatewayStorage


@asynccontextmanager
async def serving(path: Path, *, store_text: bool = False) -> AsyncIterator[House]:
    """A gateway over a database."""
    decisions = DecisionLog(GatewayStorage(store_text=store_text))
    writer = DbWriter(path, decisions)
    accounts = KeyAccounts.at(path, writer)
    writer.start()
    house = make_house(accounts=accounts)
    house.gateway.chat.record = decisions.record
    yield house
    await writer.stop()
    accounts.close()


def make_key(path: Path) -> dict[str, str]:
    with closing(connect(path)) as connection:
        _, secret = create_key(connection, "alice", KeyLimits(budget_usd=Decimal(1000)))
    return {"authorization": f"Bearer {secret}"}


def counted(path: Path) -> tuple[int, int, Decimal]:
    """Decisions, booked requests and spending in a file that nothing else uses."""
    with closing(sqlite3.connect(path)) as connection:
        decisions = connection.execute("SELECT count(*) FROM decisions").fetchone()[0]
        requests, spent = connection.execute("SELECT requests, spent_usd FROM keys").fetchone()
    return decisions, requests, Decimal(spent)


async def test_a_copy_under_load_is_complete_and_serves_again(tmp_path: Path) -> None:
    path, bearer, copies = tmp_path / "corea.db", make_key(tmp_path / "corea.db"), list[Path]()
    stopped = False

    async def load(house: House) -> None:
        while not stopped:
            assert (await house.post(headers=bearer)).status_code == 200

    async with serving(path) as house:
        workers = [asyncio.create_task(load(house)) for _ in range(8)]
        for number in range(4):
            await asyncio.sleep(0.3)
            copies.append(tmp_path / f"copy-{number}.db")
            await asyncio.to_thread(state.backup, path, copies[-1])
        plain = tmp_path / "plain.db"
        shutil.copy(path, plain)
        stopped = True
        await asyncio.gather(*workers)
    everything = counted(path)
    cost = everything[2] / everything[1]
    found = [counted(copy) for copy in copies]
    for decisions, requests, spent in found:
        assert spent == requests * cost
        assert 0 < decisions <= requests  # decisions follow their costs
    assert sorted(found) == found
    assert found[0] < found[-1] <= everything
    with suppress(sqlite3.Error, TypeError):  # a plain copy lacks the log: it has less, or nothing at all
        assert counted(plain) < found[-1]

    kept = state.restore(path, copies[1])
    assert kept is not None
    assert (counted(path), counted(kept)) == (found[1], everything)
    async with serving(path) as house:
        assert (await house.post(headers=bearer)).status_code == 200
    decisions, requests, spent = counted(path)
    assert (decisions, requests, spent) == (found[1][0] + 1, found[1][1] + 1, found[1][2] + cost)
    assert [p.name for p in tmp_path.glob("*.part")] == []


async def test_a_copy_is_one_private_file_and_replaces_none(tmp_path: Path) -> None:
    path = tmp_path / "corea.db"
    make_key(path)
    found = state.backup(path, tmp_path / "copy.db")
    assert (found.keys, found.version, found.spent_usd) == (1, len(MIGRATIONS), "0")
    assert [p.name for p in tmp_path.glob("copy.db*")] == ["copy.db"]
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600
    with pytest.raises(ConfigError, match="exists"):
        state.backup(path, tmp_path / "copy.db")


def damaged(copy: Path) -> None:
    content = bytearray(copy.read_bytes())
    content[4096 : 4096 + 2000] = b"x" * 2000
    copy.write_bytes(content)


def newer(copy: Path) -> None:
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("PRAGMA user_version=99")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [(damaged, "damaged|not COREA's"), (newer, "version 99"), (lambda copy: copy.write_text("no database"), "damaged"),
     (lambda copy: copy.write_bytes(b""), "not COREA's"), (lambda copy: copy.unlink(), "no such")],
)  # fmt: skip
def test_a_copy_that_is_not_whole_replaces_nothing(tmp_path: Path, spoil: Callable[[Path], Any], why: str) -> None:
    path, copy = tmp_path / "corea.db", tmp_path / "copy.db"
    make_key(path)
    state.backup(path, copy)
    spoil(copy)
    with pytest.raises(ConfigError, match=why):
        state.restore(path, copy)
    with closing(connect(path)) as connection:
        assert len(list_keys(connection)) == 1
    assert not list(tmp_path.glob("*before-restore*"))


def test_no_copy_is_restored_under_a_running_server(tmp_path: Path) -> None:
    path, copy = tmp_path / "corea.db", tmp_path / "copy.db"
    make_key(path)
    state.backup(path, copy)
    with locked(path), pytest.raises(ConfigError, match="stop it first"):
        state.restore(path, copy)
    with locked(path), pytest.raises(ConfigError, match="stop it first"):
        state.compact(path)
    path.write_text("broken")  # even a database that cannot be opened is kept
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    kept = state.restore(path, copy)
    assert kept is not None
    assert kept.read_text() == "broken"
    assert counted(path) == (0, 0, 0)


def test_a_database_that_was_lost_is_restored(tmp_path: Path) -> None:
    path, copy = tmp_path / "corea.db", tmp_path / "copy.db"
    make_key(path)
    state.backup(path, copy)
    path.unlink()
    assert state.restore(path, copy) is None
    assert counted(path) == (0, 0, 0)


def older(path: Path, at: int) -> None:
    """A database as an older program made it."""
    with closing(sqlite3.connect(path)) as connection:
        for script in MIGRATIONS[:at]:
            connection.executescript(script.sqlite)
        connection.execute(
            "INSERT INTO keys (id, name, hash, created_at, spent_usd) VALUES ('0123', 'old', x'00', 1, '1.5')"
        )
        connection.execute(f"PRAGMA user_version={at}")
        connection.commit()


@pytest.mark.parametrize("at", range(1, len(MIGRATIONS)))
def test_an_older_database_is_copied_before_it_is_upgraded(tmp_path: Path, at: int) -> None:
    path = tmp_path / "corea.db"
    older(path, at)
    assert state.summary(path).version == at  # is not upgraded by a look
    with closing(connect(path)) as connection:
        assert version(connection) == len(MIGRATIONS)
        (key,) = list_keys(connection)
        assert (key.name, key.role, key.group_id, key.spent_usd) == ("old", "key", None, Decimal("1.5"))
    saved = tmp_path / f"corea.db.version-{at}"
    assert state.summary(saved).version == at
    assert state.summary(saved).spent_usd == "1.5"
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    state.restore(path, saved)  # and the copy is of use
    assert state.summary(path).version == len(MIGRATIONS)


def test_a_new_database_needs_no_copy(tmp_path: Path) -> None:
    make_key(tmp_path / "corea.db")
    assert not list(tmp_path.glob("*.version-*"))


def test_a_note_beside_the_database_warns_of_plain_copies(tmp_path: Path) -> None:
    with state_file(tmp_path / "corea.db") as (path, temporary):
        assert (path, temporary) == (tmp_path / "corea.db", False)
    note = (tmp_path / "README-corea.db.txt").read_text()
    assert "Do not copy it while the server runs" in note
    assert "corea state backup" in note
    with state_file(None) as (path, temporary):
        assert (path.exists(), temporary) == (False, True)


@pytest.fixture
async def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a database of three decisions with texts, one of them old."""
    path = tmp_path / "corea.db"
    bearer = make_key(path)
    async with serving(path, store_text=True) as house:
        for _ in range(3):
            await house.post(headers=bearer)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE decisions SET at = at - 90000 WHERE rowid = 1")
        connection.commit()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lines(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    assert main(["state", *words]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_export_has_the_rows_and_texts_only_on_demand(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = lines(capsys, "export")
    assert len(rows) == 3
    assert [step["stage"] for step in rows[0]["steps"]] == ["small"]
    assert isinstance(rows[0]["cost_usd"], str)
    assert "prompt" not in rows[0]
    assert "12 + 7?" in lines(capsys, "export", "--texts")[0]["prompt"]
    (key,) = lines(capsys, "export", "keys")
    assert (key["name"], "hash" in key) == ("alice", False)
    since = lines(capsys, "export", "--since", "2020-01-01")
    assert since == rows
    assert lines(capsys, "export", "--since", "2999-01-01T00:00") == []
    assert lines(capsys, "export", "key_changes") == []
    assert main(["state", "export", "nothing"]) == 2
    assert main(["state", "export", "--since", "soon"]) == 2


def test_prune_deletes_old_decisions_and_no_spending(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (before,) = lines(capsys, "version", "--json")
    assert main(["state", "prune", "--older-than-days", "1", "--compact"]) == 0
    assert "1 decisions were deleted" in capsys.readouterr().out
    (after,) = lines(capsys, "version", "--json")
    assert (before["decisions"], after["decisions"]) == (3, 2)
    assert before["spent_usd"] == after["spent_usd"] != "0"


def test_the_commands_copy_and_restore(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copied,) = lines(capsys, "backup", "copy.db", "--json")
    assert copied["decisions"] == 3
    assert main(["state", "prune", "--older-than-days", "0"]) == 0
    assert main(["state", "restore", "copy.db"]) == 0
    assert "check the budgets" in capsys.readouterr().out
    assert lines(capsys, "version", "--json")[0]["decisions"] == 3
    assert main(["state", "version"]) == 0
    assert "3 decisions" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("postgresql://db/corea", "set gateway.storage.url"),
        ("", "temporary"),
        ("none.db", "no such file, expected the database"),
    ],
)
def test_what_is_no_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], path: str, why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (["backup", "x.db"], ["version"], ["export"], ["prune", "--older-than-days", "1"]):
        assert main(["state", *words, "--set", f'gateway.storage.path="{path}"']) == 2
        assert why in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
