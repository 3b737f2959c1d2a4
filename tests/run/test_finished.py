"""A finished run started again reads no trace, and says what it said; whatever has changed starts it as before."""

import os
from pathlib import Path

import pytest
from answering import cascade, question_lines, small_reply

from corea.errors import DataError
from corea.run import journal as journal_module
from corea.run.runner import run_batch
from corea.run.summary import RunSummary

OF_TIME = ("seconds", "questions_per_second", "completion_tokens_per_second", "resumed")


async def _run(folder: Path, **more: object) -> RunSummary:
    return await run_batch(cascade(_one_unreadable), str(folder / "q.jsonl"), str(folder / "a.jsonl"), **more)  # pyright: ignore


def _one_unreadable(question: object) -> str:
    return small_reply(question) if not question.text.endswith(" 7") else "? <confidence>0.9</confidence>"  # pyright: ignore


def _facts(summary: RunSummary) -> dict[str, object]:
    return {key: value for key, value in summary.as_dict().items() if key not in OF_TIME}


@pytest.fixture
async def first(tmp_path: Path) -> RunSummary:
    (tmp_path / "q.jsonl").write_bytes(question_lines(12))
    return await _run(tmp_path)


async def test_the_summary_is_the_same_and_no_trace_is_read(
    first: RunSummary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module.Journal, "open", None)
    again = await _run(tmp_path)
    assert _facts(again) == _facts(first)
    assert (again.resumed, again.shortcomings.unreadable()) == (12, 1)
    assert again.shortcomings.examples == first.shortcomings.examples


async def test_a_changed_output_is_written_again(first: RunSummary, tmp_path: Path) -> None:
    whole = (tmp_path / "a.jsonl").read_bytes()
    (tmp_path / "a.jsonl").write_bytes(whole[:-3])
    assert _facts(await _run(tmp_path)) == _facts(first)
    assert (tmp_path / "a.jsonl").read_bytes() == whole


async def test_a_changed_question_is_refused_as_before(first: RunSummary, tmp_path: Path) -> None:
    lines = question_lines(12).replace(b"number 3", b"number 4")
    (tmp_path / "q.jsonl").write_bytes(lines)
    os.utime(tmp_path / "q.jsonl", ns=(0, 0))
    with pytest.raises(DataError, match="question 'q3' is not what it was"):
        await _run(tmp_path)


async def test_rows_added_are_asked(first: RunSummary, tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_bytes(question_lines(14))
    for _ in range(2):
        assert (await _run(tmp_path)).done == 14
