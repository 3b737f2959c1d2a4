"""`corea state` on PostgreSQL: contents, export and deletion; for copies, the commands of its own tools, which work."""

import json
import shlex
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.postgres import PostgresServer, fetch
from tests.gateway.ui.rows import decide

from corea.cli.main import main
from corea.gateway.billing.decision_log import COLUMNS
from corea.gateway.billing.key_admin import KeyAdmin
from corea.gateway.billing.keys import KeyLimits, find_key
from corea.gateway.billing.migrations import MIGRATIONS
from corea.gateway.billing.postgres import connected, shown_with_user

PASSWORD = "hunter2"


@pytest.fixture
def url(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database of a key and three decisions with texts, one of them old; its address has a password."""
    monkeypatch.chdir(tmp_path)
    with connected(database) as connection:
        key, _ = KeyAdmin(connection, "test").create("alice", KeyLimits(budget_usd=Decimal(1000)))
        connection.execute("UPDATE keys SET spent_usd = 0.1234567890123 WHERE id = ?", (key.id,))
        for n, at in enumerate((1_000_000_000.0, 9_000_000_000.0, 9_000_000_001.5)):
            decide(connection, f"trace{n}", at=at, key_id=key.id, prompt="user: 12 + 7?")
    return database.replace("postgres@", f"postgres:{PASSWORD}@")


def corea(url: str, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["state", *words, "--set", f'gateway.storage.url="{url}"'])
    said = capsys.readouterr()
    assert PASSWORD not in said.out + said.err
    return code, said.out, said.err


def lines(url: str, capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    code, said, _ = corea(url, capsys, *words)
    assert code == 0
    return [json.loads(line) for line in said.splitlines()]


def test_its_contents_are_shown_and_not_changed(
    url: str, postgres: PostgresServer, capsys: pytest.CaptureFixture[str]
) -> None:
    (found,) = lines(url, capsys, "version", "--json")
    assert (found["version"], found["newest"]) == (len(MIGRATIONS), len(MIGRATIONS))
    assert (found["keys"], found["decisions"], found["spent_usd"]) == (1, 3, "0.1234567890123")
    assert (found["newest_decision"], found["size_bytes"] > 1_000_000) == (9_000_000_001.5, True)
    assert "3 decisions, the last of 2255-03-14" in corea(url, capsys, "version")[1]
    empty = postgres.new_database()
    code, _, said = corea(empty, capsys, "version")
    assert (code, "got a database without COREA's tables" in said) == (2, True)
    assert fetch(empty, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


def test_export_has_the_rows_as_of_a_file(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = lines(url, capsys, "export")
    assert [(row["trace_id"], row["cost_usd"]) for row in rows] == [(f"trace{n}", "0.001") for n in range(3)]
    assert rows[0]["steps"][0]["stage"] == "small"
    assert "prompt" not in rows[0]
    assert lines(url, capsys, "export", "--texts")[0]["prompt"] == "user: 12 + 7?"
    assert [row["trace_id"] for row in lines(url, capsys, "export", "--since", "2030-01-01")] == ["trace1", "trace2"]
    (key,) = lines(url, capsys, "export", "keys")
    assert (key["name"], key["budget_usd"], key["spent_usd"], "hash" in key) == (
        "alice", "1000", "0.1234567890123", False,
    )  # fmt: skip
    (change,) = lines(url, capsys, "export", "key_changes")
    assert (change["action"], change["changes"]["name"]) == ("create", [None, "alice"])
    with connected(url) as connection:
        connection.execute("DELETE FROM decisions")
        many = "INSERT INTO decisions SELECT (json_populate_record(NULL::decisions, row)).* FROM ("
        row = json.dumps({**dict.fromkeys(COLUMNS, 0), "steps": "[]"})
        connection.execute(
            f"{many}SELECT ('{row}'::jsonb || jsonb_build_object('trace_id', n))::json AS row"
            " FROM generate_series(1, 2500) n) made"
        )
    assert len(lines(url, capsys, "export")) == 2500  # more than are fetched at once


def test_prune_deletes_old_decisions_and_no_spending(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert corea(url, capsys, "prune", "--older-than-days", "1")[:2] == (0, "1 decisions were deleted.\n")
    assert fetch(url, "SELECT trace_id FROM decisions ORDER BY at") == [("trace1",), ("trace2",)]
    assert fetch(url, "SELECT count(*) FROM keys WHERE spent_usd > 0") == [(1,)]
    code, _, said = corea(url, capsys, "prune", "--older-than-days", "0", "--compact")
    assert (code, said.count("\n"), "VACUUM (FULL, ANALYZE) decisions" in said) == (2, 1, True)
    assert fetch(url, "SELECT count(*) FROM decisions") == [(2,)]


def test_backup_and_restore_say_the_command_that_does_it(
    url: str, postgres: PostgresServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commands are executed as they are printed: what was deleted, and a table that was dropped, are back."""
    if not all((postgres.bin / name).exists() for name in ("pg_dump", "pg_restore")):
        pytest.skip("needs pg_dump and pg_restore")

    def told(*words: str) -> list[str]:
        code, _, said = corea(url, capsys, *words)
        assert (code, said.count("\n")) == (2, 1)
        return shlex.split(said.strip().rpartition("run: ")[2])

    def execute(program: str, *words: str) -> None:
        subprocess.run([postgres.bin / program, *words], check=True, env={"PGPASSWORD": PASSWORD})

    execute(*told("backup", "copy file.dump"))
    with connected(url) as connection:
        secret = KeyAdmin(connection, "test").create("later")[1]
    fetch(url, "DELETE FROM decisions")
    fetch(url, "DROP TABLE audits")
    execute(*told("restore", "copy file.dump"))
    assert fetch(url, "SELECT count(*) FROM decisions") == [(3,)]
    with connected(url) as connection:
        assert find_key(connection, secret) is None
        KeyAdmin(connection, "test").create("after")  # functions and triggers are there too
    assert fetch(url, "SELECT corea_same_week(0, 1), (SELECT count(*) FROM audits)") == [(True, 0)]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://me:secret@db:5432/corea?sslmode=require", "postgresql://me@db:5432/corea?sslmode=require"),
        ("postgresql://db/corea?password=secret&user=me", "postgresql://db/corea?user=me"),
        ("postgres://db/corea", "postgres://db/corea"),
    ],
)
def test_no_password_is_in_a_command(url: str, said: str) -> None:
    assert shown_with_user(url) == said


def test_a_database_that_is_away_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (("version",), ("export",), ("prune", "--older-than-days", "1")):
        code, _, said = corea("postgresql://127.0.0.1:1/x", capsys, *words)
        assert (code, said.count("\n"), "cannot be used" in said) == (2, 1, True)
