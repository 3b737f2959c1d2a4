"""One budget for many workers: what they may spend never exceeds it, whatever is killed."""

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest
from answering import cascade, question_lines
from hypothesis import given, settings
from hypothesis import strategies as st

from corea.datasets.question_source import QuestionSource
from corea.errors import ConfigError, DataError
from corea.ledger import Ledger
from corea.run import grants as grants_module
from corea.run.answer_settings import answer_settings
from corea.run.coordinator import Coordinator, StopLevel
from corea.run.grants import Grant, Grants, last_owner
from corea.run.merge import merge_shards
from corea.run.row_checks import OnBadRow
from corea.run.shards import folder_of, make_folder, plan_shards
from corea.run.summary import RunOutcome, RunProgress
from corea.run.worker import Ended, WorkerTask, run_worker

Steps = list[tuple[int, int, bool]]
STEPS = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 30), st.booleans()), max_size=25)


@given(STEPS)
@settings(max_examples=60, deadline=None)
def test_what_shards_may_spend_never_exceeds_the_budget(tmp_path_factory: pytest.TempPathFactory, steps: Steps) -> None:
    path = tmp_path_factory.mktemp("grants") / "grants"
    book, spent = Grants(path, Decimal(100), 3), {1: Decimal(0), 2: Decimal(0), 3: Decimal(0)}
    for shard, needed, killed in steps:
        if killed:
            book.close()
            book = Grants(path, Decimal(100), 3)
        allowed = book.grant(shard, spent[shard], Decimal(needed))
        if allowed >= spent[shard] + needed:
            spent[shard] += needed
        assert sum(spent.values()) <= sum(book.allowed_usd.values()) <= 100
        assert all(spent[each] <= allowed for each, allowed in book.allowed_usd.items())
    book.close()


def test_a_grant_is_on_the_disk_before_it_is_used_and_a_torn_one_is_cut_off(tmp_path: Path) -> None:
    book = Grants(tmp_path / "grants", Decimal(10), 2)
    assert book.grant(1, Decimal(0), Decimal(1)) == 1
    assert book.grant(2, Decimal(0), Decimal("0.01")) == Decimal("0.25")  # a slab: a twentieth of the shard's share
    book.close()
    whole = (tmp_path / "grants").read_bytes()
    (tmp_path / "grants").write_bytes(whole + whole[:20])
    again = Grants(tmp_path / "grants", Decimal(10), 2)
    assert again.allowed_usd == {1: Decimal(1), 2: Decimal("0.25")}
    assert (tmp_path / "grants").read_bytes() == whole
    assert again.grant(1, Decimal("0.5"), Decimal(0)) == Decimal("0.5")  # gives the rest back
    assert again.grant(2, Decimal("0.25"), Decimal("9.5")) == Decimal("0.25")  # does not fit
    assert again.grant(2, Decimal("0.25"), Decimal("9.25")) == Decimal("9.5")
    again.close()


def test_two_coordinators_at_once_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grants_module, "TAKEOVER_SECONDS", 0.0)
    book = Grants(tmp_path / "grants", None, 2)
    with pytest.raises(ConfigError, match="grants: another run is writing it"):
        Grants(tmp_path / "grants", None, 2)
    book.close()


def test_a_damaged_file_of_grants_is_refused(tmp_path: Path) -> None:
    book = Grants(tmp_path / "grants", Decimal(10), 2)
    for shard in (1, 2, 1):
        book.grant(shard, Decimal(0), Decimal(1))
    book.close()
    lines = (tmp_path / "grants").read_bytes().splitlines(keepends=True)
    (tmp_path / "grants").write_bytes(lines[0] + b"damage\n" + b"".join(lines[1:]))
    with pytest.raises(DataError, match="grants:2: a line before the last is damaged"):
        Grants(tmp_path / "grants", Decimal(10), 2)


def test_a_worker_that_another_has_followed_gets_nothing_and_is_asked_to_end(tmp_path: Path) -> None:
    coordinator = Coordinator(tmp_path / "grants", Decimal(10), 2, 50)
    first, second = coordinator.own(1), coordinator.own(1)
    assert coordinator.grant(1, first, Decimal(1), Decimal(1), Decimal(1)) == Grant(Decimal(2), final=True)
    assert coordinator.report(1, first, None) is StopLevel.ABANDON
    assert coordinator.grant(1, second, Decimal(1), Decimal(1), Decimal(1)) == Grant(Decimal(3))
    assert coordinator.report(1, second, None) is StopLevel.GO_ON
    assert last_owner(tmp_path / "grants", 1) == second
    assert coordinator.own(2) > second


# --- workers in one process -------------------------------------------------------------------------------------------


class Direct:
    """A link to a coordinator in this process."""

    def __init__(self, coordinator: Coordinator, shard: int, owner: int) -> None:
        self.coordinator, self.of = coordinator, (shard, owner)

    async def report(self, progress: RunProgress | None) -> StopLevel:
        return self.coordinator.report(*self.of, progress)

    async def grant(self, spent_usd: Decimal, reserved_usd: Decimal, needed_usd: Decimal) -> Grant:
        return self.coordinator.grant(*self.of, spent_usd, reserved_usd, needed_usd)


def _parts(**replies: object) -> tuple[object, dict[str, object]]:
    made = cascade(**replies)
    return made, answer_settings(made)


def _tasks(folder: Path, count: int, coordinator: Coordinator, **more: object) -> list[WorkerTask]:
    questions = folder / "questions.jsonl"
    plan = plan_shards(QuestionSource(str(questions)), count, OnBadRow.STOP)
    given: dict[str, object] = {
        "build": _parts, "settings": answer_settings(cascade()), "questions": str(questions),
        "size": questions.stat().st_size, "output": str(folder / "a.jsonl"), "on_bad_row": OnBadRow.STOP,
        "concurrency": 4, "budgeted": True, "give_up_after": 50, "requests_per_minute": {}, **more,
    }  # fmt: skip
    return [WorkerTask(shard=plan.shard(n, coordinator.own(n)), **given) for n in range(1, count + 1)]  # pyright: ignore


async def _run(tasks: list[WorkerTask], coordinator: Coordinator) -> list[Ended]:
    links = [Direct(coordinator, task.shard.number, task.shard.owner or 0) for task in tasks]
    return await asyncio.gather(*(run_worker(task, link) for task, link in zip(tasks, links, strict=True)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "questions.jsonl").write_bytes(question_lines(60))
    make_folder(str(tmp_path / "a.jsonl"))
    return tmp_path


def _coordinator(folder: Path, limit: str | None, give_up_after: int = 50) -> Coordinator:
    limit_usd = None if limit is None else Decimal(limit)
    return Coordinator(folder_of(str(folder / "a.jsonl")) / "grants", limit_usd, 3, give_up_after)


async def test_workers_stop_within_one_budget_and_spend_nearly_all_of_it(folder: Path) -> None:
    coordinator = _coordinator(folder, "0.0045")  # all questions cost 0.00156, and one 0.00286 at most
    ended = await _run(_tasks(folder, 3, coordinator), coordinator)
    assert {each.outcome for each in ended} == {RunOutcome.COMPLETE}
    coordinator.grants.close()
    merged = merge_shards(str(folder / "a.jsonl"), answer_settings(cascade()), budget_usd=Decimal("0.0045"))
    assert (merged.done, merged.ledger.cost_usd) == (60, Decimal("0.00156"))
    assert sum(coordinator.grants.allowed_usd.values()) == Decimal("0.00156")  # what was not spent is given back


async def test_a_budget_too_small_ends_all_workers_within_it(folder: Path) -> None:
    coordinator = _coordinator(folder, "0.004")
    ended = await _run(_tasks(folder, 3, coordinator), coordinator)
    assert RunOutcome.BUDGET in {each.outcome for each in ended}
    merged = merge_shards(str(folder / "a.jsonl"), answer_settings(cascade()), partial=True)
    assert merged.outcome is RunOutcome.BUDGET
    assert Decimal("0.00114") < merged.ledger.cost_usd < Decimal("0.00156")  # the next may not fit from 0.00114 on
    assert sum(coordinator.grants.allowed_usd.values()) == merged.ledger.cost_usd


async def test_failures_in_a_row_count_over_all_workers(folder: Path) -> None:
    coordinator = _coordinator(folder, None, 12)
    tasks = _tasks(folder, 3, coordinator, budgeted=False)
    for task in tasks:
        ledger = RunProgress(done=0, total=20, ledger=_failed(0), rate=0.0, seconds_left=None)
        coordinator.report(task.shard.number, task.shard.owner or 0, ledger)
    for task in tasks:
        ledger = RunProgress(done=4, total=20, ledger=_failed(4), rate=0.0, seconds_left=None)
        coordinator.report(task.shard.number, task.shard.owner or 0, ledger)
    assert coordinator.snapshot()[1]
    assert coordinator.stopping is StopLevel.FINISH


def _failed(count: int) -> Ledger:
    return Ledger(questions=count, failed=count)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"corea": "9.9"}, "worker of shard 1: has corea 0.1.0, expected 9.9, the driver's; install it there"),
        ({"size": 7}, "questions.jsonl: worker of shard 1: got a file of 2,800 bytes, expected the driver's, of 7"),
        ({"settings": {"test": 1}}, "worker of shard 1: got another configuration: test: 1 -> not set; "),
    ],
)
async def test_a_worker_unlike_the_driver_is_refused_in_one_line(folder: Path, change: object, said: str) -> None:
    coordinator = _coordinator(folder, None)
    ended = (await _run(_tasks(folder, 3, coordinator, **change), coordinator))[0]  # pyright: ignore
    assert said in ended.error
    assert "\n" not in ended.error
    assert list(folder_of(str(folder / "a.jsonl")).glob("*.journal")) == []


async def test_a_worker_on_another_folder_than_the_driver_is_refused(folder: Path) -> None:
    coordinator = _coordinator(folder, None)
    tasks = _tasks(folder, 3, coordinator)
    folder_of(str(folder / "a.jsonl")).rename(folder / "elsewhere")
    ended = (await _run(tasks, coordinator))[0]
    assert "a.jsonl.shards: worker of shard 1: is not the driver's folder there, expected one that all" in ended.error
    assert ended.of_data
