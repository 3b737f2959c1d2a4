import asyncio
import errno
import io
import json
import os
import signal
from decimal import Decimal
from pathlib import Path

import pytest
from answering import cascade, large_reply, question_lines, small_reply

from corea.cascade import Cascade
from corea.datasets.question_source import QuestionSource
from corea.errors import BackendError, ConfigError, DataError
from corea.run import runner
from corea.run.answer_settings import answer_settings
from corea.run.budget import worst_case_usd
from corea.run.journal import Journal
from corea.run.runner import OnBadRow, run_batch
from corea.run.shortcomings import ShortcomingKind
from corea.run.shutdown import Stop, stopping_on_signals
from corea.run.summary import RunOutcome, RunProgress, RunSummary
from corea.trace_io import read_traces
from corea.types import Question, Status

KEPT_USD = Decimal("0.000006")  # 4 words read and 1 written, at 1 and 2 USD per million
LARGE_USD = Decimal("0.00006")  # the same at 10 and 20


async def _run(folder: Path, count: int = 30, using: Cascade | None = None, **more: object) -> RunSummary:
    questions = folder / "questions.jsonl"
    if not questions.exists():
        questions.write_bytes(question_lines(count))
    return await run_batch(using or cascade(), str(questions), str(folder / "answers.jsonl"), **more)  # pyright: ignore


def _answers(folder: Path) -> dict[str, str | None]:
    return {trace.question_id: trace.answer for trace in read_traces(folder / "answers.jsonl")}


def _all_right(count: int) -> dict[str, str]:
    return {f"q{n}": str(n) for n in range(count)}


async def test_every_question_is_answered_in_order_and_every_dollar_told(tmp_path: Path) -> None:
    summary = await _run(tmp_path)
    assert list(_answers(tmp_path).items()) == list(_all_right(30).items())
    assert (summary.outcome, summary.done, summary.total, summary.failed) == (RunOutcome.COMPLETE, 30, 30, 0)
    assert summary.ledger.cost_usd == 30 * KEPT_USD + 10 * LARGE_USD
    assert summary.ledger.cost_usd == sum(t.cost_usd or 0 for t in read_traces(tmp_path / "answers.jsonl"))
    assert summary.ledger.defer_rate == pytest.approx(1 / 3)
    assert json.loads(json.dumps(summary.as_dict()))["outcome"] == "complete"


async def test_rows_added_at_the_end_are_all_that_is_asked(tmp_path: Path) -> None:
    await _run(tmp_path, 10)
    (tmp_path / "questions.jsonl").write_bytes(question_lines(12))
    again = cascade()
    summary = await _run(tmp_path, using=again)
    assert len(again.stages[0].backend.calls) == 2  # pyright: ignore
    assert _answers(tmp_path) == _all_right(12)
    assert (summary.resumed, summary.done) == (10, 12)


async def test_a_question_that_changed_is_refused(tmp_path: Path) -> None:
    await _run(tmp_path, 3)
    (tmp_path / "questions.jsonl").write_bytes(question_lines(3).replace(b"number 1", b"number 7"))
    with pytest.raises(DataError, match=r"questions.jsonl:2: question 'q1' is not what it was"):
        await _run(tmp_path)


async def test_another_configuration_is_refused(tmp_path: Path) -> None:
    await _run(tmp_path, 3, settings={"stages": {"small": {"sampling": {"temperature": 0.0}}}})
    with pytest.raises(ConfigError, match=r"configuration: stages\.small\.sampling\.temperature: 0\.0 -> 0\.7;"):
        await _run(tmp_path, settings={"stages": {"small": {"sampling": {"temperature": 0.7}}}})


async def test_an_output_that_no_run_wrote_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "answers.jsonl").write_text("precious\n")
    with pytest.raises(ConfigError, match="is there already and has no journal"):
        await _run(tmp_path)
    assert (tmp_path / "answers.jsonl").read_text() == "precious\n"


async def test_the_budget_stops_it_before_it_is_exceeded(tmp_path: Path) -> None:
    worst = worst_case_usd(cascade(), Question.of("What is number 10"))
    budget = 20 * KEPT_USD + worst
    summary = await _run(tmp_path, 100, budget_usd=budget)
    assert summary.outcome is RunOutcome.BUDGET
    assert 0 < summary.done < 100
    assert summary.ledger.cost_usd <= budget
    assert _answers(tmp_path) == _all_right(summary.done)
    more = await _run(tmp_path, budget_usd=Decimal(1))
    assert (more.outcome, more.done, more.resumed) == (RunOutcome.COMPLETE, 100, summary.done)
    assert more.ledger.questions == 100


async def test_a_budget_too_small_for_one_question_asks_nothing(tmp_path: Path) -> None:
    using = cascade()
    summary = await _run(tmp_path, using=using, budget_usd=Decimal("0.000001"))
    assert (summary.outcome, summary.done) == (RunOutcome.BUDGET, 0)
    assert using.stages[0].backend.calls == []  # pyright: ignore


async def test_a_budget_counts_what_was_in_flight_at_a_kill(tmp_path: Path) -> None:
    questions = tmp_path / "questions.jsonl"
    questions.write_bytes(question_lines(5))
    settings = answer_settings(cascade())
    with Journal(tmp_path / "answers.jsonl.journal").open(settings, lambda row, trace: True) as journal:
        journal.start(0, Decimal("0.9"))
    summary = await _run(tmp_path, budget_usd=Decimal("0.9"))
    assert (summary.outcome, summary.lost, summary.lost_usd_at_most) == (RunOutcome.BUDGET, 1, Decimal("0.9"))
    assert summary.done == 0


async def test_a_budget_needs_a_bound(tmp_path: Path) -> None:
    from dataclasses import replace

    from corea.types import Sampling

    using = cascade()
    unbounded = replace(using, stages=(replace(using.stages[0], sampling=Sampling()), using.stages[1]))
    with pytest.raises(ConfigError, match=r"stage small has no sampling.max_tokens"):
        await _run(tmp_path, using=unbounded, budget_usd=Decimal(1))
    unpriced = replace(using, stages=(using.stages[0], replace(using.stages[1], price=None)))
    with pytest.raises(ConfigError, match="stage large has no price"):
        await _run(tmp_path, using=unpriced, budget_usd=Decimal(1))


async def test_a_bad_row_stops_the_run_before_anything_is_asked(tmp_path: Path) -> None:
    (tmp_path / "questions.jsonl").write_bytes(question_lines(3) + b"oops\n")
    using = cascade()
    with pytest.raises(DataError, match=r"questions.jsonl:4: not JSON"):
        await _run(tmp_path, using=using)
    assert using.stages[0].backend.calls == []  # pyright: ignore
    assert not (tmp_path / "answers.jsonl.journal").exists()


async def test_a_bad_row_is_skipped_and_told_when_asked(tmp_path: Path) -> None:
    repeated = b'{"id": "q1", "question": "What is number 5"}\n'
    (tmp_path / "questions.jsonl").write_bytes(b"oops\n" + question_lines(3) + repeated)
    summary = await _run(tmp_path, on_bad_row=OnBadRow.SKIP)
    assert _answers(tmp_path) == _all_right(3)
    assert (summary.bad_rows, summary.total) == (2, 3)
    assert "questions.jsonl:1: not JSON" in summary.bad_row_messages[0]
    assert "questions.jsonl:5: id 'q1' was on line 3 already" in summary.bad_row_messages[1]
    again = await _run(tmp_path, on_bad_row=OnBadRow.SKIP)
    assert (again.resumed, again.bad_rows) == (3, 2)


async def test_a_repeated_id_stops_the_run_with_both_lines(tmp_path: Path) -> None:
    (tmp_path / "questions.jsonl").write_bytes(question_lines(3) + question_lines(1))
    with pytest.raises(DataError, match=r"questions.jsonl:4: id 'q0' was on line 1 already"):
        await _run(tmp_path)


async def test_a_failed_question_is_told_and_asked_again_by_the_next_start(tmp_path: Path) -> None:
    def down_for_two(question: Question) -> str:
        if question.id in ("q1", "q2"):
            raise BackendError("refused", backend="small")
        return small_reply(question)

    def down(question: Question) -> str:
        raise BackendError("refused", backend="large")

    first = await _run(tmp_path, 6, cascade(down_for_two, down))
    assert (first.outcome, first.failed, first.done) == (RunOutcome.COMPLETE, 4, 6)  # q0 and q3 were deferred
    assert first.last_error == "large: refused"
    assert [t.status for t in read_traces(tmp_path / "answers.jsonl")].count(Status.FAILED) == 4
    second = await _run(tmp_path)
    assert (second.failed, second.resumed, second.done) == (0, 2, 6)
    assert _answers(tmp_path) == _all_right(6)
    rows = sum((t.cost_usd or Decimal(0) for t in read_traces(tmp_path / "answers.jsonl")), Decimal(0))
    assert second.repeated_usd == 2 * KEPT_USD  # the small model's passes for q0 and q3 were paid twice
    assert second.ledger.cost_usd == rows + second.repeated_usd


async def test_when_all_fails_it_gives_up(tmp_path: Path) -> None:
    def down(question: Question) -> str:
        raise BackendError("wrong key", backend="fake")

    summary = await _run(tmp_path, 500, cascade(down, down), give_up_after=20, concurrency=4)
    assert (summary.outcome, summary.last_error) == (RunOutcome.GAVE_UP, "fake: wrong key")
    assert 20 <= summary.done <= 30


async def test_asked_to_stop_it_ends_with_what_was_done(tmp_path: Path) -> None:
    stop = Stop()

    def reply(question: Question) -> str:
        if question.id == "q9":
            stop()
        return small_reply(question)

    summary = await _run(tmp_path, 100, cascade(reply), stop=stop, concurrency=4)
    assert summary.outcome is RunOutcome.INTERRUPTED
    assert 10 <= summary.done < 20
    assert summary.lost == 0
    assert _answers(tmp_path) == _all_right(summary.done)
    assert (await _run(tmp_path)).lost == 0
    assert _answers(tmp_path) == _all_right(100)


async def test_ctrl_c_waits_for_what_is_in_flight_and_a_second_one_does_not(tmp_path: Path) -> None:
    async def slow(question: Question) -> str:
        if question.id == "q5":
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.Event().wait()
        return small_reply(question)

    with stopping_on_signals() as stop:
        summary = await _run(tmp_path, 100, cascade(slow), stop=stop, concurrency=2)
    assert summary.outcome is RunOutcome.INTERRUPTED
    assert "q5" not in _answers(tmp_path)
    resumed = await _run(tmp_path)
    assert (resumed.lost, resumed.outcome) == (1, RunOutcome.COMPLETE)
    assert _answers(tmp_path) == _all_right(100)


async def test_on_a_full_disk_nothing_that_was_journalled_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = 8000

    def write(descriptor: int, data: bytes) -> int:
        left = room - os.fstat(descriptor).st_size
        if left <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return os.write(descriptor, data[:left])

    with monkeypatch.context() as patch:
        patch.setattr(runner, "Journal", lambda path: Journal(path, write=write))
        with pytest.raises(DataError, match="No space left on device") as caught:
            await _run(tmp_path)
    assert "\n" not in str(caught.value)
    summary = await _run(tmp_path)
    assert summary.resumed > 0
    assert _answers(tmp_path) == _all_right(30)


async def test_the_starts_of_one_turn_are_written_together_before_any_of_them_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[int] = []

    def write(descriptor: int, data: bytes) -> int:
        starts.append(data.count(b'{"start":'))
        return os.write(descriptor, data)

    def small(question: Question) -> str:
        assert b'{"start":%d}' % int(question.text.split()[-1]) in (tmp_path / "answers.jsonl.journal").read_bytes()
        return small_reply(question)

    monkeypatch.setattr(runner, "Journal", lambda path: Journal(path, write=write))
    summary = await _run(tmp_path, using=cascade(small=small))
    assert (summary.done, summary.failed) == (30, 0)
    assert [count for count in starts if count] == [30]


async def test_a_question_whose_start_could_not_be_written_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(descriptor: int, data: bytes) -> int:
        if b'{"start":' in data:
            raise OSError(errno.ENOSPC, "No space left on device")
        return os.write(descriptor, data)

    using = cascade()
    monkeypatch.setattr(runner, "Journal", lambda path: Journal(path, write=write))
    with pytest.raises(DataError, match="No space left on device"):
        await _run(tmp_path, using=using)
    assert using.stages[0].backend.calls == []  # pyright: ignore


async def test_a_pipe_in_and_a_pipe_out(tmp_path: Path) -> None:
    out = io.BytesIO()
    source = QuestionSource("-", pipe=io.BytesIO(question_lines(300)))
    summary = await run_batch(cascade(), source, "-", pipe=out)
    answers = {row["question_id"]: row["answer"] for row in map(json.loads, out.getvalue().splitlines())}
    assert answers == _all_right(300)
    assert (summary.done, summary.total, summary.journal) == (300, None, None)


async def test_a_repeated_id_in_a_pipe_stops_it(tmp_path: Path) -> None:
    source = QuestionSource("-", pipe=io.BytesIO(question_lines(3) + question_lines(1)))
    with pytest.raises(DataError, match=r"<stdin>:4: id 'q0' was on line 1 already"):
        await run_batch(cascade(), source, "-", pipe=io.BytesIO())


async def test_a_pipe_can_be_gone_on_with(tmp_path: Path) -> None:
    out = str(tmp_path / "answers.jsonl")
    await run_batch(cascade(), QuestionSource("-", pipe=io.BytesIO(question_lines(5))), out)
    summary = await run_batch(cascade(), QuestionSource("-", pipe=io.BytesIO(question_lines(8))), out)
    assert (summary.resumed, summary.done) == (5, 8)
    assert _answers(tmp_path) == _all_right(8)


async def test_progress_is_told_at_most_ten_times_a_second_and_at_the_end(tmp_path: Path) -> None:
    told: list[RunProgress] = []
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 0.01
        return now

    await _run(tmp_path, 100, on_progress=told.append, clock=clock)
    assert 5 <= len(told) <= 12
    assert (told[-1].done, told[-1].total, told[-1].seconds_left) == (100, 100, 0.0)
    assert told[0].seconds_left is not None
    assert told[0].rate == pytest.approx(100, rel=0.2)


async def test_budget_and_concurrency_may_change_between_two_starts(tmp_path: Path) -> None:
    stopped = await _run(tmp_path, 40, budget_usd=Decimal("0.001"), concurrency=2)
    assert stopped.outcome is RunOutcome.BUDGET
    summary = await _run(tmp_path, budget_usd=Decimal(1), concurrency=9)
    assert (summary.outcome, summary.resumed, summary.done) == (RunOutcome.COMPLETE, stopped.done, 40)
    assert _answers(tmp_path) == _all_right(40)


async def test_settings_may_change_as_long_as_nothing_was_answered(tmp_path: Path) -> None:
    def down(question: Question) -> str:
        raise BackendError("no such model", backend="fake")

    await _run(tmp_path, 3, cascade(down, down), settings={"model": "wrong"})
    assert (await _run(tmp_path, settings={"model": "right"})).failed == 0
    assert _answers(tmp_path) == _all_right(3)
    with pytest.raises(ConfigError, match='configuration: model: "right" -> "wrong";'):
        await _run(tmp_path, settings={"model": "wrong"})


async def test_rows_removed_at_the_end_are_said_and_left_out(tmp_path: Path) -> None:
    first = await _run(tmp_path, 10)
    (tmp_path / "questions.jsonl").write_bytes(question_lines(7))
    summary = await _run(tmp_path)
    assert (summary.done, summary.total, summary.removed, summary.removed_answered) == (7, 7, 3, 3)
    assert _answers(tmp_path) == _all_right(7)
    assert summary.ledger.cost_usd == first.ledger.cost_usd  # paid is paid
    (tmp_path / "questions.jsonl").write_bytes(question_lines(10))
    again = await _run(tmp_path)
    assert (again.resumed, again.removed) == (10, 0)


async def test_rows_removed_before_they_were_answered_are_said_too(tmp_path: Path) -> None:
    stop = Stop()

    def reply(question: Question) -> str:
        stop()
        return small_reply(question)

    interrupted = await _run(tmp_path, 10, cascade(reply), stop=stop, concurrency=1)
    assert interrupted.done == 1
    (tmp_path / "questions.jsonl").write_bytes(question_lines(8))
    summary = await _run(tmp_path)
    assert (summary.done, summary.removed, summary.removed_answered) == (8, 2, 0)


async def test_a_row_removed_in_the_middle_is_named_with_its_old_place(tmp_path: Path) -> None:
    await _run(tmp_path, 5)
    lines = question_lines(5).splitlines(keepends=True)
    (tmp_path / "questions.jsonl").write_bytes(b"".join(lines[:2] + lines[3:]))
    with pytest.raises(DataError, match=r"jsonl:3: question 'q3' is not what it was .*it was row 4, and is row 3 now"):
        await _run(tmp_path)


async def test_answers_that_are_less_than_they_should_be_are_counted_over_all_starts(tmp_path: Path) -> None:
    def reply(question: Question) -> str:
        return "word " * 80 if question.id in ("q0", "q1", "q2") else "<answer>7</answer>"

    def large(question: Question) -> str:
        return "?" if question.id == "q0" else large_reply(question)

    said = {}
    for _ in range(2):
        summary = await _run(tmp_path, 6, cascade(reply, large))
        said = summary.as_dict()
        found = summary.shortcomings
        assert (summary.done, summary.failed, found.unreadable()) == (6, 0, 1)
        assert found.by_stage(ShortcomingKind.CUT) == {"small": 3}  # max_tokens is 50
        assert found.by_stage(ShortcomingKind.UNSTATED) == {"small": 6}
    assert (said["unreadable_answers"], said["cut_by_token_limit"]) == (1, {"small": 3})
    assert said["no_confidence_stated"] == {"small": 6}


async def test_a_budget_too_small_for_one_question_says_what_one_may_cost(tmp_path: Path) -> None:
    worst = worst_case_usd(cascade(), Question(id="q0", messages=Question.of("What is number 0").messages))
    summary = await _run(tmp_path, budget_usd=Decimal("0.000001"))
    assert (summary.next_usd_at_most, summary.left_usd) == (worst, Decimal("0.000001"))


async def test_unused_settings_of_requests_are_counted(tmp_path: Path) -> None:
    def row(n: int) -> dict[str, object]:
        body = {"messages": [{"role": "user", "content": f"What is number {n}"}], "temperature": 0.3, "n": n}
        return {"custom_id": f"q{n}", "method": "POST", "url": "/v1/chat/completions", "body": body}

    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(row(n)) + "\n" for n in range(3)))
    summary = await _run(tmp_path)
    assert _answers(tmp_path) == _all_right(3)
    assert summary.unused == {"temperature": 3, "n": 2}
