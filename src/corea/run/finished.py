"""A finished run started again: its journal says at its end how it ended, so that it need not be read.

That holds while the questions and the output are, by size and time, the files that they were then.
"""

import os
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from corea.datasets.question_source import QuestionSource
from corea.ledger import Ledger
from corea.prices import EXACT
from corea.run.answer_settings import differences
from corea.run.checked_lines import body_of
from corea.run.journal import Journal
from corea.run.journal_lines import decode_line
from corea.run.shortcomings import Shortcoming, ShortcomingKind, Shortcomings, UnreadableReason
from corea.run.summary import RunOutcome, RunSummary

TAIL = 1 << 20  # bytes, more than the line of an end


class _Stored(msgspec.Struct):
    """The end of a finished run."""

    settings: dict[str, Any]
    files: list[list[int]]
    done: int
    lost: int
    lost_usd_at_most: Decimal
    repeated_usd: Decimal
    unused: dict[str, int]
    ledger: Ledger
    found: list[tuple[str, str, str | None, int, str]]
    reasons: dict[str, dict[str, int]]


def note_finished(journal: Journal, summary: RunSummary, settings: Mapping[str, Any], source: QuestionSource) -> None:
    """Writes the end of a run of which nothing is left to be asked, reported or repeated."""
    files = _files(source, summary.output)
    unclear = summary.outcome is not RunOutcome.COMPLETE or summary.failed or summary.bad_rows or summary.removed
    if unclear or files is None or source.part is not None:
        return
    short = summary.shortcomings
    stored = _Stored(
        settings=dict(settings),
        files=files,
        done=summary.done,
        lost=summary.lost,
        lost_usd_at_most=summary.lost_usd_at_most,
        repeated_usd=summary.repeated_usd,
        unused=summary.unused,
        ledger=summary.ledger,
        found=[(each.kind, each.stage, each.why, count, short.examples[each]) for each, count in short.found.items()],
        reasons={stage: dict(counts) for stage, counts in short.reasons.items()},
    )
    journal.note_end(msgspec.to_builtins(stored, builtin_types=(Decimal,)))


def finished_run(
    path: Path, settings: Mapping[str, Any], source: QuestionSource, output: str, budget_usd: Decimal | None
) -> RunSummary | None:
    """The summary of a finished run; None where it has to be started."""
    stored = _last_line(path)
    if stored is None or stored.files != _files(source, output) or differences(stored.settings, settings):
        return None
    short = Shortcomings()
    for kind, stage, why, count, example in stored.found:
        fault = Shortcoming(ShortcomingKind(kind), stage, None if why is None else UnreadableReason(why))
        short.found[fault], short.examples[fault] = count, example
    short.reasons.update({stage: Counter(counts) for stage, counts in stored.reasons.items()})
    spent = EXACT.add(stored.ledger.cost_usd, stored.lost_usd_at_most)
    return RunSummary(
        outcome=RunOutcome.COMPLETE,
        output=output,
        journal=str(path),
        done=stored.done,
        total=stored.done,
        resumed=stored.done,
        failed=0,
        bad_rows=0,
        bad_row_messages=(),
        lost=stored.lost,
        lost_usd_at_most=stored.lost_usd_at_most,
        ledger=stored.ledger,
        repeated_usd=stored.repeated_usd,
        budget_usd=budget_usd,
        seconds=0.0,
        rate=0.0,
        tokens_per_second=dict.fromkeys(stored.ledger.stages, 0.0),
        shortcomings=short,
        unused=stored.unused,
        left_usd=None if budget_usd is None else max(Decimal(0), EXACT.subtract(budget_usd, spent)),
    )


def _files(source: QuestionSource, output: str) -> list[list[int]] | None:
    """Size and time of change of the questions and the output; None where one is not a file."""
    if source.is_pipe:
        return None
    try:
        found = [os.stat(path) for path in (source.path, output)]
    except OSError:
        return None
    return [[each.st_size, each.st_mtime_ns] for each in found]


def _last_line(path: Path) -> _Stored | None:
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
            last = file.read().rpartition(b"}\n")[0].rpartition(b"\n")[2]
    except OSError:
        return None
    body = body_of(last + b"}\n")
    end = None if body is None else decode_line(body, path).end
    try:
        return None if end is None else msgspec.convert(end, _Stored, strict=False)
    except msgspec.ValidationError:  # the end of a shard
        return None
