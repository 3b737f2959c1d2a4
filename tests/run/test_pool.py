"""A run by worker processes: every row once and in order, whatever is killed; one budget, one stop, one end."""

import json
import multiprocessing
import os
import signal
import time
from collections import Counter
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest
from answering import cascade, question_lines
from pool_parts import failing, parts, slow

from corea.errors import ConfigError, DataError
from corea.run.answer_settings import answer_settings
from corea.run.pool import PoolJob, run_pool
from corea.run.processes import ProcessWorkers
from corea.run.summary import RunOutcome, RunProgress, RunSummary

ROWS = 60
FORKED = multiprocessing.get_context("fork")  # a spawned process takes a second to start


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "questions.jsonl").write_bytes(question_lines(ROWS))
    return tmp_path


def _run(folder: Path, build: object, workers: int = 2, **more: object) -> RunSummary:
    seen: object = more.pop("on_progress", None)
    given: dict[str, object] = {"concurrency": 8, "settings": answer_settings(cascade()), **more}
    job = PoolJob(
        build=build,  # pyright: ignore
        questions=str(folder / "questions.jsonl"),
        output=str(folder / "answers.jsonl"),
        **given,  # pyright: ignore
    )
    return run_pool(ProcessWorkers(FORKED), job, workers, on_progress=seen)  # pyright: ignore


def _ids(folder: Path) -> list[str]:
    return [json.loads(line)["question_id"] for line in (folder / "answers.jsonl").read_text().splitlines()]


def _calls(folder: Path) -> Counter[str]:
    return Counter((folder / "calls").read_text().split())


IN_ORDER = [f"q{n}" for n in range(ROWS)]


def test_killed_workers_are_started_again_and_every_row_is_answered_once(folder: Path) -> None:
    seen: list[RunProgress] = []
    summary = _run(folder, partial(parts, str(folder), ("q7", "q29", "q40")), on_progress=seen.append)
    assert (summary.outcome, summary.done, summary.total) == (RunOutcome.COMPLETE, ROWS, ROWS)
    assert _ids(folder) == IN_ORDER
    twice = _calls(folder).total() - ROWS
    assert 3 <= twice <= summary.lost <= 3 * 4
    assert summary.ledger.questions == ROWS
    assert (seen[-1].done, seen[-1].total, seen[-1].ledger.questions) == (ROWS, ROWS, ROWS)
    again = _run(folder, partial(parts, str(folder)), workers=1)
    assert (again.resumed, _calls(folder).total()) == (ROWS, ROWS + twice)
    assert again.ledger.cost_usd == summary.ledger.cost_usd


def test_a_worker_that_always_dies_ends_the_run_in_one_line(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"shard 2: its worker died 5 times without an answer \(killed by signal 9\)"):
        _run(folder, partial(parts, str(folder), ("q30",), always=True), concurrency=2)
    summary = _run(folder, partial(parts, str(folder)), workers=1)
    assert (summary.outcome, _ids(folder)) == (RunOutcome.COMPLETE, IN_ORDER)
    assert _calls(folder).total() - ROWS == summary.lost == 5


def test_one_budget_holds_for_all_workers_and_starts(folder: Path) -> None:
    limit = Decimal("0.0041")  # all questions cost 0.00156, and one 0.00286 at most
    first = _run(folder, partial(parts, str(folder), ("q9",)), budget_usd=limit)
    assert first.outcome is RunOutcome.BUDGET
    assert first.ledger.cost_usd + first.lost_usd_at_most <= limit
    assert first.left_usd == limit - first.ledger.cost_usd - first.lost_usd_at_most
    assert _ids(folder) == sorted(_ids(folder), key=IN_ORDER.index)
    second = _run(folder, partial(parts, str(folder)), budget_usd=Decimal("0.01"))
    assert (second.outcome, _ids(folder)) == (RunOutcome.COMPLETE, IN_ORDER)


def test_ctrl_c_finishes_what_is_in_flight_and_writes_what_is_answered(folder: Path) -> None:
    summary = _run(folder, partial(slow, str(folder)))
    assert (summary.outcome, summary.lost) == (RunOutcome.INTERRUPTED, 0)
    assert 0 < summary.done < ROWS
    assert len(_ids(folder)) == summary.done
    assert _run(folder, partial(parts, str(folder))).outcome is RunOutcome.COMPLETE
    assert _ids(folder) == IN_ORDER


def test_failures_in_a_row_over_all_workers_end_the_run(folder: Path) -> None:
    summary = _run(folder, partial(failing, str(folder)), give_up_after=10)
    assert summary.outcome is RunOutcome.GAVE_UP
    assert 10 <= summary.failed == summary.done < 40


def test_a_worker_that_is_refused_ends_the_run_in_its_one_line(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"worker of shard .: got another configuration: test: 1 -> not set"):
        _run(folder, partial(parts, str(folder)), settings={**answer_settings(cascade()), "test": 1})
    assert not (folder / "calls").exists() or not (folder / "calls").read_text()


def test_a_folder_that_cannot_be_made_is_refused(folder: Path) -> None:
    (folder / "answers.jsonl.shards").write_text("a file")
    with pytest.raises(DataError, match=r"answers.jsonl.shards: cannot be made \(File exists\), expected a folder"):
        _run(folder, partial(parts, str(folder)))


def test_more_workers_than_questions_in_flight_are_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"workers: got 9, expected from 1 to .* \(8\); raise --concurrency"):
        _run(folder, partial(parts, str(folder)), workers=9)


def test_the_driver_is_killed_and_started_again(folder: Path) -> None:
    build = partial(parts, str(folder), seconds=0.01)
    driver = os.fork()
    if driver == 0:
        try:
            _run(folder, build, budget_usd=Decimal(1))
        finally:
            os._exit(0)
    calls = folder / "calls"
    while not (calls.exists() and len(calls.read_text().split()) >= 12):
        time.sleep(0.01)
    os.kill(driver, signal.SIGKILL)
    os.waitpid(driver, 0)
    summary = _run(folder, build, budget_usd=Decimal(1))
    assert (summary.outcome, summary.done, _ids(folder)) == (RunOutcome.COMPLETE, ROWS, IN_ORDER)
    assert 0 <= _calls(folder).total() - ROWS <= summary.lost <= 8
