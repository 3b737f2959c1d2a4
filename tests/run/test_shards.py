"""Runs in shards, merged: the same output and summary as one run; shards of different runs are refused."""

import json
import shutil
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from answering import LARGE, SMALL, Stated, large_reply, question_lines, small_reply

from corea.backends.fake import FakeBackend
from corea.cascade import Cascade, Stage
from corea.datasets.question_source import QuestionSource
from corea.errors import ConfigError, CoreaError, DataError
from corea.policies.threshold import Threshold
from corea.run import shards
from corea.run.answer_settings import answer_settings
from corea.run.merge import merge_shards
from corea.run.recorded import traces_beside
from corea.run.row_checks import OnBadRow
from corea.run.runner import run_batch
from corea.run.shards import Shard, plan_shards, read_shard
from corea.run.summary import RunOutcome, RunSummary
from corea.types import Sampling

ROWS = 30
OF_TIME = ("seconds", "questions_per_second", "completion_tokens_per_second", "output", "journal")


@pytest.fixture(autouse=True)
def same_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corea.cascade.new_id", lambda: "0" * 32)


def timeless() -> Cascade:
    """As `answering.cascade`, with a clock that stands still."""
    limit = Sampling(max_tokens=50)
    small = Stage(
        name="small", backend=FakeBackend("small", small_reply), sampling=limit, signal=Stated(),
        policy=Threshold(0.5), price=SMALL,
    )  # fmt: skip
    large = Stage(name="large", backend=FakeBackend("large", large_reply), sampling=limit, price=LARGE)
    return Cascade(stages=(small, large), clock=lambda: 0.0)


async def _run_shards(questions: Path, output: Path, count: int, **more: object) -> None:
    plan = plan_shards(QuestionSource(str(questions)), count, more.get("on_bad_row", OnBadRow.STOP))  # pyright: ignore
    for number in reversed(range(1, count + 1)):
        await run_batch(timeless(), str(questions), str(output), shard=plan.shard(number), concurrency=1, **more)  # pyright: ignore


def _merge(output: Path, **more: object) -> RunSummary:
    return merge_shards(str(output), answer_settings(timeless()), **more)  # pyright: ignore


def _facts(summary: RunSummary) -> dict[str, object]:
    return {key: value for key, value in summary.as_dict().items() if key not in OF_TIME}


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    path.write_bytes(question_lines(ROWS))
    return path


@pytest.fixture
async def answered(questions: Path, tmp_path: Path) -> Path:
    """The output of a run in three shards, before it is merged."""
    await _run_shards(questions, tmp_path / "a.jsonl", 3)
    return tmp_path / "a.jsonl"


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "jsonl.gz"])
async def test_merged_shards_equal_one_run_to_the_byte(questions: Path, tmp_path: Path, suffix: str) -> None:
    whole, output = tmp_path / f"whole.{suffix}", tmp_path / f"a.{suffix}"
    one = await run_batch(timeless(), str(questions), str(whole), concurrency=1)
    await _run_shards(questions, output, 5)
    merged = _merge(output)
    assert output.read_bytes() == whole.read_bytes()
    assert _facts(merged) == _facts(one)
    assert merged.ledger.cost_usd == Decimal("0.00078")
    assert traces_beside(output) == traces_beside(whole)


async def test_bad_rows_of_all_shards_are_counted_as_by_one_run(tmp_path: Path) -> None:
    questions, lines = tmp_path / "questions.jsonl", question_lines(12).splitlines(keepends=True)
    lines[5], lines[10] = b'{"id": "q5"}\n', lines[1]  # no question; the id of another shard's row
    questions.write_bytes(b"".join(lines))
    with pytest.raises(DataError, match=r"questions.jsonl:6: "):
        await _run_shards(questions, tmp_path / "a.jsonl", 4)
    assert not (tmp_path / "a.jsonl.shards").exists()
    skip = OnBadRow.SKIP
    one = await run_batch(timeless(), str(questions), str(tmp_path / "w.jsonl"), concurrency=1, on_bad_row=skip)
    await _run_shards(questions, tmp_path / "a.jsonl", 4, on_bad_row=skip)
    merged = _merge(tmp_path / "a.jsonl")
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "w.jsonl").read_bytes()
    assert _facts(merged) == _facts(one)
    assert (merged.bad_rows, merged.total) == (2, 10)
    assert "id 'q1' was on line 2 already" in merged.bad_row_messages[1]


async def test_a_finished_shard_started_again_asks_nothing(answered: Path, questions: Path) -> None:
    before = _merge(answered)
    await _run_shards(questions, answered, 3)
    again = _merge(answered)
    assert (again.resumed, again.ledger.cost_usd) == (ROWS, before.ledger.cost_usd)


@pytest.mark.parametrize("count", [1, 3, 7, 16, 100])
def test_shards_are_ranges_that_cover_each_row_once(count: int) -> None:
    parts = [Shard(number=n, count=count, rows=50, input="").part for n in range(1, count + 1)]
    assert [row for part in parts for row in part] == list(range(50))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0", "-1/3", "1/99999"])
def test_another_shard_than_one_of_the_count_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected a number from 1 to the count of shards, such as 3/16"):
        read_shard(text)
    assert read_shard("3/16") == (3, 16)


# --- refusals ---------------------------------------------------------------------------------------------------------


def _refusal(output: Path, **more: object) -> str:
    with pytest.raises(CoreaError) as caught:
        _merge(output, **more)
    assert "\n" not in str(caught.value)
    assert not output.exists()
    return str(caught.value).removeprefix(f"{output}.shards")


def test_missing_shards_are_refused(answered: Path) -> None:
    (answered.parent / "a.jsonl.shards" / "2-of-3.journal").unlink()
    assert _refusal(answered) == (
        ": 1 of 3 shards missing (2), expected all; run each with --shard NUMBER/3, or copy its journal to this folder"
    )
    shutil.rmtree(answered.parent / "a.jsonl.shards")
    assert _refusal(answered).startswith(": got no journal, expected those of all shards")


def test_a_shard_that_is_there_twice_is_refused(answered: Path) -> None:
    folder = answered.parent / "a.jsonl.shards"
    shutil.copy(folder / "2-of-3.journal", folder / "copy.journal")
    assert _refusal(answered) == (
        "/copy.journal: shard 2 is in 2-of-3.journal too, expected each once; move one of them away"
    )


async def test_an_unfinished_shard_is_refused_or_merged_as_it_is(answered: Path, questions: Path) -> None:
    folder = answered.parent / "a.jsonl.shards"
    journal = folder / "3-of-3.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-2]))
    assert _refusal(answered) == (
        "/3-of-3.journal: shard 3 of 3 has not ended, 9 questions done; run it again, or merge what is there with "
        "--partial"
    )
    part = _merge(answered, partial=True)
    assert (part.outcome, part.done, part.lost) == (RunOutcome.INTERRUPTED, 29, 1)
    await _run_shards(questions, answered, 3)
    assert (_merge(answered).done, len(answered.read_bytes().splitlines())) == (ROWS, ROWS)


async def _other_count(folder: Path, questions: Path) -> None:
    await _run_shards(questions, folder / "b.jsonl", 4)
    shutil.copy(folder / "b.jsonl.shards" / "2-of-4.journal", folder / "a.jsonl.shards" / "2-of-3.journal")


async def _other_input(folder: Path, questions: Path) -> None:
    questions.write_bytes(question_lines(ROWS)[:-4] + b'?"}\n')
    await _run_shards(questions, folder / "b.jsonl", 3)
    shutil.copy(folder / "b.jsonl.shards" / "2-of-3.journal", folder / "a.jsonl.shards" / "2-of-3.journal")


async def _other_version(folder: Path, questions: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "VERSION", "0.0.9")
        await _run_shards(questions, folder / "b.jsonl", 3)
    shutil.copy(folder / "b.jsonl.shards" / "2-of-3.journal", folder / "a.jsonl.shards" / "2-of-3.journal")


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (_other_count, "shard.count: 3 -> 4"),
        (_other_input, 'shard.input: "'),
        (_other_version, 'shard.corea: "0.1.0" -> "0.0.9"'),
    ],
)
async def test_shards_of_different_runs_are_refused(answered: Path, questions: Path, other: object, what: str) -> None:
    await other(answered.parent, questions)  # pyright: ignore
    said = _refusal(answered)
    assert said.startswith(f"/2-of-3.journal: of another run than 1-of-3.journal: {what}")
    assert said.endswith("; move it away, or run that shard again")


def test_shards_of_another_configuration_are_refused(answered: Path) -> None:
    with pytest.raises(ConfigError, match=r"another configuration: stages.small.sampling.max_tokens: 50 -> 60"):
        settings = answer_settings(timeless())
        settings["stages"]["small"]["sampling"]["max_tokens"] = 60
        merge_shards(str(answered), settings)


async def test_a_changed_input_is_refused_by_a_shard(answered: Path, questions: Path) -> None:
    questions.write_bytes(question_lines(ROWS + 1))
    with pytest.raises(ConfigError, match=r"3-of-3.journal: begun with another configuration: shard.input: "):
        await _run_shards(questions, answered, 3)


async def test_a_run_in_shards_and_one_without_do_not_mix(answered: Path, questions: Path) -> None:
    with pytest.raises(ConfigError, match=r"a.jsonl.shards: this run was begun in shards; give the same --shard"):
        await run_batch(timeless(), str(questions), str(answered))
    whole = answered.parent / "w.jsonl"
    await run_batch(timeless(), str(questions), str(whole))
    with pytest.raises(ConfigError, match=r"w.jsonl: begun without shards"):
        await _run_shards(questions, whole, 3)


def test_a_pipe_has_no_shards() -> None:
    with pytest.raises(ConfigError, match="got a pipe, expected a file, which each worker reads"):
        plan_shards(QuestionSource("-"), 3, OnBadRow.STOP)


def test_damaged_grants_and_journals_name_their_line(answered: Path) -> None:
    journal = answered.parent / "a.jsonl.shards" / "1-of-3.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:4], b"damage\n", *lines[4:]]))
    assert _refusal(answered).startswith("/1-of-3.journal:5: a line before the last is damaged")


def _ids(path: Path) -> Iterator[str]:
    for line in path.read_text().splitlines():
        yield json.loads(line)["question_id"]


async def test_shards_may_be_more_than_the_rows(tmp_path: Path) -> None:
    questions = tmp_path / "questions.jsonl"
    questions.write_bytes(question_lines(2))
    await _run_shards(questions, tmp_path / "a.jsonl", 5)
    assert (_merge(tmp_path / "a.jsonl").done, list(_ids(tmp_path / "a.jsonl"))) == (2, ["q0", "q1"])
