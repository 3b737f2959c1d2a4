"""Killed at any instant and started again: nothing lost, nothing twice, nothing paid twice but what was in flight."""

import asyncio
import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from answering import question_lines, start

COUNT = 60
PROGRAM = str(Path(__file__).parent / "answering.py")


def _paths(folder: Path) -> tuple[str, str, str]:
    return str(folder / "questions.jsonl"), str(folder / "answers.jsonl"), str(folder / "calls")


def _start(folder: Path, kill_at: int = 0, torn: int = 0) -> dict:
    """One start in a process of its own, and the summary it printed; forked, since a new interpreter takes a second."""
    child = os.fork()
    if child == 0:
        try:
            sys.stdout = (folder / "summary").open("w")
            asyncio.run(start(_paths(folder), kill_at, torn))
            sys.stdout.flush()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) == bool(kill_at)
    return {} if kill_at else json.loads((folder / "summary").read_text())


def _check(folder: Path, summary: dict, kills: int) -> None:
    traces = [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]
    assert [t["question_id"] for t in traces] == [f"q{n}" for n in range(COUNT)]
    assert [t["answer"] for t in traces] == [str(n) for n in range(COUNT)]
    calls = Counter((folder / "calls").read_text().split())
    asked_again = sum(calls.values()) - COUNT
    assert 0 <= asked_again <= summary["in_flight_at_kills"] <= 8 * kills
    assert summary["outcome"] == "complete"
    assert summary["ledger"]["questions"] == COUNT


@pytest.mark.parametrize("seed", range(8))
def test_killed_in_the_middle_of_writes_it_goes_on(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    (tmp_path / "questions.jsonl").write_bytes(question_lines(COUNT))
    kills = 0
    for _ in range(2):
        _start(tmp_path, dice.randrange(1, 25), dice.choice([0, 1, 30, 200, 10_000]))
        kills += 1
    _check(tmp_path, _start(tmp_path), kills)


def test_killed_from_outside_it_goes_on(tmp_path: Path) -> None:
    (tmp_path / "questions.jsonl").write_bytes(question_lines(COUNT))
    journal = tmp_path / "answers.jsonl.journal"
    process = subprocess.Popen([sys.executable, PROGRAM, *_paths(tmp_path)], stdout=subprocess.DEVNULL)
    while process.poll() is None and not (journal.exists() and journal.stat().st_size > 5000):
        pass
    process.kill()
    process.wait()
    _check(tmp_path, _start(tmp_path), 1)


def test_a_finished_run_started_again_asks_nothing(tmp_path: Path) -> None:
    (tmp_path / "questions.jsonl").write_bytes(question_lines(COUNT))
    first, second = _start(tmp_path), _start(tmp_path)
    assert len((tmp_path / "calls").read_text().split()) == COUNT
    assert second["resumed"] == COUNT
    assert second["ledger"]["cost_usd"] == first["ledger"]["cost_usd"]
    _check(tmp_path, second, 0)
