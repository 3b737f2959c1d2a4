"""Shards of a run: contiguous ranges of the rows of a file, each answered with a journal of its own.

    shard = plan_shards(source, 16, OnBadRow.STOP).shard(3)     # the file is read and checked to its end
    await run_batch(cascade, source, "answers.jsonl", shard=shard)

The journals are `answers.jsonl.shards/3-of-16.journal`, ...; `corea.run.merge` makes one output of them.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corea.datasets.question_source import QuestionSource
from corea.errors import ConfigError, DataError
from corea.run.row_checks import OnBadRow, RowChecks
from corea.version import VERSION

NAME = re.compile(r"(\d+)-of-(\d+)\.journal")
MOST = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One of the `count` ranges of a file's rows.

    Args:
        number: From 1.
        rows: Of the whole file, bad ones included.
        input: The hash of the file.
        repeated: Rows of the whole file whose id an earlier row has, each with that row's line.
        owner: The number of the worker, where a coordinator gives each a higher one.
    """

    number: int
    count: int
    rows: int
    input: str
    repeated: Mapping[int, int] = field(default_factory=dict[int, int])
    owner: int | None = None

    @property
    def part(self) -> range:
        """Its rows, from 0."""
        return range(self.rows * (self.number - 1) // self.count, self.rows * self.number // self.count)

    @property
    def own_repeated(self) -> dict[int, int]:
        """Of `repeated`, its own rows, numbered from 0 in it."""
        part = self.part
        return {row - part.start: line for row, line in self.repeated.items() if row in part}

    @property
    def settings(self) -> dict[str, Any]:
        """The facts in its journal, which must stay the same over all starts."""
        return {"input": self.input, "rows": self.rows, "count": self.count, "number": self.number, "corea": VERSION}

    def journal(self, output: str) -> Path:
        """Its journal."""
        return folder_of(output) / f"{self.number}-of-{self.count}.journal"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardPlan:
    """A checked file and the number of its shards.

    Args:
        total: Its questions.
        bad_rows: Those left out.
    """

    count: int
    rows: int
    total: int
    input: str
    repeated: Mapping[int, int]
    bad_rows: int

    def shard(self, number: int, owner: int | None = None) -> Shard:
        """One shard, for a worker."""
        return Shard(
            number=number, count=self.count, rows=self.rows, input=self.input, repeated=self.repeated, owner=owner
        )


def plan_shards(source: QuestionSource, count: int, on_bad_row: OnBadRow) -> ShardPlan:
    """Reads and checks a whole file.

    Raises:
        ConfigError: It is a pipe.
        DataError: A bad row under `OnBadRow.STOP`, or the file cannot be read.
    """
    if source.is_pipe:
        raise ConfigError("questions: got a pipe, expected a file, which each worker reads; write the rows to a file")
    checks = RowChecks(source, on_bad_row)
    checks.survey()
    assert checks.rows is not None and checks.total is not None  # noqa: PT018  # of a file
    try:
        with Path(source.path).open("rb") as file:
            digest = hashlib.file_digest(file, "blake2b").hexdigest()[:32]
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", path=source.path) from error
    return ShardPlan(
        count=count, rows=checks.rows, total=checks.total, input=digest, repeated=checks.repeated,
        bad_rows=checks.bad_rows,
    )  # fmt: skip


def read_shard(text: str) -> tuple[int, int]:
    """The number and the count of "3/16".

    Raises:
        ConfigError: It is something else.
    """
    found = re.fullmatch(r"(\d{1,5})/(\d{1,5})", text)
    number, count = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= number <= count <= MOST:
        raise ConfigError(f"--shard: got {text!r}, expected a number from 1 to the count of shards, such as 3/16")
    return number, count


def folder_of(output: str) -> Path:
    """The folder of the journals of a run in shards."""
    return Path(f"{output}.shards")


def begun_count(output: str) -> int | None:
    """The number of shards that a run was begun with; None where it was not begun."""
    counts = {int(found[2]) for path in journals_of(output) if (found := NAME.fullmatch(path.name))}
    return counts.pop() if len(counts) == 1 else None


def make_folder(output: str) -> None:
    """Makes the folder of the journals, unless the run was begun without shards.

    Raises:
        ConfigError: It was.
        DataError: The folder cannot be made.
    """
    if Path(f"{output}.journal").exists():
        raise ConfigError(f"{output}: begun without shards, expected the same command again; or name another --out")
    try:
        folder_of(output).mkdir(exist_ok=True)
    except OSError as error:
        raise DataError(
            f"cannot be made ({error.strerror}), expected a folder that all workers can write; name another --out",
            path=str(folder_of(output)),
        ) from error


def refuse_shards(output: str) -> None:
    """Refuses to run without shards what was begun with them.

    Raises:
        ConfigError: It was.
    """
    if journals_of(output):
        raise ConfigError(
            f"{folder_of(output)}: this run was begun in shards; give the same --shard, --processes or --engine, run "
            "`corea merge`, or name another --out"
        )


def journals_of(output: str) -> list[Path]:
    """The journals in the folder of a run in shards."""
    return sorted(folder_of(output).glob("*.journal"))
