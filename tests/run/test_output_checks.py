"""What would fail when all is paid fails before the first call."""

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
from answering import cascade, question_lines

from corea.errors import ConfigError, DataError
from corea.run.output import check_room
from corea.run.runner import run_batch


class Disk(NamedTuple):
    total: int
    used: int
    free: int


async def refused(folder: Path, output: Path) -> str:
    """The error of a run into `output`, which must have asked nothing and left no journal."""
    (folder / "q.jsonl").write_bytes(question_lines(3))
    using = cascade()
    with pytest.raises((ConfigError, DataError)) as caught:
        await run_batch(using, str(folder / "q.jsonl"), str(output))
    assert using.stages[0].backend.calls == []  # pyright: ignore
    assert not Path(f"{output}.journal").exists()
    return str(caught.value)


async def test_an_output_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "answers.jsonl").mkdir()
    assert await refused(tmp_path, tmp_path / "answers.jsonl") == (
        f"--out: got the folder {tmp_path}/answers.jsonl, expected a file; write {tmp_path}/answers.jsonl/answers.jsonl"
    )
    assert "got the folder" in await refused(tmp_path, tmp_path)


async def test_an_output_that_is_a_device(tmp_path: Path) -> None:
    said = await refused(tmp_path, Path("/dev/null"))
    assert said == "--out: got the device or pipe /dev/null, expected a file; - writes to standard output"


async def test_an_output_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert "no/a.jsonl: cannot be written (No such file or directory)" in await refused(
        tmp_path, tmp_path / "no/a.jsonl"
    )


async def test_an_output_in_a_folder_that_takes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(**_: object) -> None:  # root may write everywhere
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("corea.run.output.TemporaryFile", denied)
    assert "a.jsonl: cannot be written (Permission denied)" in await refused(tmp_path, tmp_path / "a.jsonl")


async def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    assert "a.parquet: Parquet needs pyarrow, which is not installed; pip install" in await refused(
        tmp_path, tmp_path / "a.parquet"
    )


async def test_a_disk_without_room_for_the_expected_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Disk(9**9, 0, 11_000))
    (tmp_path / "q.jsonl").write_bytes(question_lines(3))
    using = cascade()
    with pytest.raises(DataError) as caught:
        await run_batch(using, str(tmp_path / "q.jsonl"), str(tmp_path / "a.jsonl"))
    assert str(caught.value).endswith(
        "a.jsonl: its disk has 11.0 kB free, expected about 12.0 kB (an estimate: journal and answers of 3 "
        "questions at 2.0 kB each); make room, or name another --out"
    )
    assert using.stages[0].backend.calls == []  # pyright: ignore
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Disk(9**9, 0, 12_000))
    assert (await run_batch(using, str(tmp_path / "q.jsonl"), str(tmp_path / "a.jsonl"))).done == 3


def test_the_expected_size_counts_what_is_still_to_be_answered_and_the_whole_output(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free = 0
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Disk(9**9, 0, free))

    def fits(output: str, room: int) -> bool:
        nonlocal free
        free = room
        try:
            check_room(output, rows=1000, unanswered=400, answer_bytes=500)
        except DataError:
            return False
        return True

    assert [fits("a.jsonl", room) for room in (699_999, 700_000)] == [False, True]
    assert [fits("a.jsonl.gz", room) for room in (324_999, 325_000)] == [False, True]


async def test_a_concurrency_of_none(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_bytes(question_lines(3))
    with pytest.raises(ConfigError, match="concurrency: got 0, expected at least 1"):
        await run_batch(cascade(), str(tmp_path / "q.jsonl"), str(tmp_path / "a.jsonl"), concurrency=0)
    assert not (tmp_path / "a.jsonl.journal").exists()


@pytest.mark.parametrize("length", [244, 248, 255, 256, 5000])
async def test_an_output_whose_name_is_too_long_itself_or_with_its_journal(tmp_path: Path, length: int) -> None:
    name = "a" * (length - len(".jsonl")) + ".jsonl"
    if length + len(".journal") <= 255:
        (tmp_path / "q.jsonl").write_bytes(question_lines(3))
        await run_batch(cascade(), str(tmp_path / "q.jsonl"), str(tmp_path / name))
        return
    said = await refused_long(tmp_path, tmp_path / name)
    assert said.startswith("--out: got /")
    assert "which cannot be written (File name too long" in said
    assert ("with the .journal that is kept beside it" in said) == (length <= 255)
    assert "\n" not in said
    assert len(said) < 220


async def refused_long(folder: Path, output: Path) -> str:
    (folder / "q.jsonl").write_bytes(question_lines(3))
    using = cascade()
    with pytest.raises(ConfigError) as caught:
        await run_batch(using, str(folder / "q.jsonl"), str(output))
    assert using.stages[0].backend.calls == []  # pyright: ignore
    return str(caught.value)
