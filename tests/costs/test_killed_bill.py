"""Killed and started again: what was in flight counts by what it can have cost, and no more; the budget holds."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.costs.scene import BY_LARGE, answer, bill_usd, by_checker, checking, make_cascade, tables
from tests.fakes.gateway import upstream
from tests.fakes.server import Act, Asked, FakeServer, Hang

from corea.costs.bounds import stage_bounds
from corea.types import Question

COUNT, CONCURRENCY = 12, 4


def write(folder: Path, url: str, signal_table: Any) -> None:
    """A configuration and questions; JSON strings, numbers and tables are inline TOML with another mark."""
    config = tables(url, signal_table)
    lines = [f"{section} = {toml(config[section])}" for section in config]
    (folder / "corea.toml").write_text("\n".join(lines) + "\n")
    rows = [{"id": f"q{n}", "question": f"what is number {3 * n}"} for n in range(COUNT)]
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def toml(value: Any) -> str:
    """A value as inline TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def command(budget: str) -> list[str]:
    """One start of the run."""
    words = ["run", "questions.jsonl", "--out", "answers.jsonl", "--json", "--budget-usd", budget]
    return [sys.executable, "-m", "corea.cli.main", *words, "--concurrency", str(CONCURRENCY)]


def until(condition: Callable[[], bool]) -> None:
    """Waits for another process."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "the run does not get there"
        time.sleep(0.01)


def start_and_kill(folder: Path, server: FakeServer, hanging: int, budget: str) -> None:
    """Starts, and kills when the server hangs so often."""
    process = subprocess.Popen(command(budget), cwd=folder, stdout=subprocess.DEVNULL)
    until(lambda: server.hanging >= hanging or process.poll() is not None)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    until(lambda: not server.running)


def finish(folder: Path, budget: str) -> dict[str, Any]:
    """Starts, and gives the summary."""
    return json.loads(subprocess.run(command(budget), cwd=folder, capture_output=True, text=True).stdout)


def is_large(asked: Asked) -> bool:
    return asked.body["model"] == "large" and not checking(asked)


def is_small(asked: Asked) -> bool:
    return asked.body["model"] == "small"


@pytest.mark.parametrize("where", [is_small, checking, is_large], ids=["small", "check", "large"])
def test_what_was_in_flight_at_a_kill_counts_by_the_stage_that_was_asked(
    tmp_path: Path, where: Callable[[Asked], bool]
) -> None:
    hangs = True

    def act(asked: Asked) -> Act:
        return Hang() if hangs and where(asked) else answer(asked)

    with upstream(act) as server:
        write(tmp_path, server.base_url, BY_LARGE)
        start_and_kill(tmp_path, server, CONCURRENCY, "1")
        killed = list(server.charges)
        hangs = False
        summary = finish(tmp_path, "1")
        cascade = make_cascade(server.base_url, BY_LARGE)
    assert (summary["outcome"], summary["done"], summary["in_flight_at_kills"]) == ("complete", COUNT, CONCURRENCY)
    ledger, lost = Decimal(summary["ledger"]["cost_usd"]), Decimal(summary["in_flight_at_kills_usd_at_most"])
    assert ledger == bill_usd(server.charges[len(killed) :])
    assert bill_usd(killed) <= lost
    expected = Decimal(0)
    for n in range(CONCURRENCY):  # the first questions of the file
        question = Question.of(f"what is number {3 * n}")
        bounds = stage_bounds(cascade.stages, question)
        assert bounds[0] is not None
        assert bounds[1] is not None
        expected += bounds[0] if where is not is_large else bounds[1]
    spent_before = bill_usd(charge for charge in killed if charge.told) if where is is_large else Decimal(0)
    assert lost == expected + spent_before


@pytest.mark.parametrize("signal_of", [lambda url: BY_LARGE, by_checker], ids=["large", "checker"])
def test_kills_and_resumes_together_stay_within_the_budget(tmp_path: Path, signal_of: Callable[[str], Any]) -> None:
    left = [0]

    def act(asked: Asked) -> Act:
        left[0] -= 1
        return Hang() if left[0] < 0 else answer(asked)

    with upstream(act) as server:
        write(tmp_path, server.base_url, signal_of(server.base_url))
        for left[0] in (5, 9, 14):
            start_and_kill(tmp_path, server, server.hanging + 1, "0.2")
        left[0] = 10**9
        summary = finish(tmp_path, "0.2")
        bill = bill_usd(server.charges)
    ledger, lost = Decimal(summary["ledger"]["cost_usd"]), Decimal(summary["in_flight_at_kills_usd_at_most"])
    assert summary["done"] > 0
    assert bill <= ledger + lost <= Decimal("0.2")


def test_a_run_begun_without_a_budget_counts_its_kills_against_one_that_is_set_later(tmp_path: Path) -> None:
    hangs = True

    def act(asked: Asked) -> Act:
        return Hang() if hangs else answer(asked)

    with upstream(act) as server:
        write(tmp_path, server.base_url, BY_LARGE)
        process = subprocess.Popen([word for word in command("1") if word not in ("--budget-usd", "1")], cwd=tmp_path)
        until(lambda: server.hanging >= CONCURRENCY)
        process.kill()
        process.wait()
        hangs = False
        summary = finish(tmp_path, "1")
    assert Decimal(summary["in_flight_at_kills_usd_at_most"]) > bill_usd(server.charges[:CONCURRENCY]) > 0
