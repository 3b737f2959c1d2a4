"""One output, one ledger and one summary from the journals of all shards of a run."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

from corea.errors import ConfigError, DataError
from corea.files.rows import FileFormat, format_of
from corea.prices import EXACT
from corea.run.answer_settings import differences, in_one_line
from corea.run.journal import Journal
from corea.run.output import check_is_file, write_output
from corea.run.recorded import settings_in
from corea.run.row_checks import MESSAGES_KEPT
from corea.run.shards import Shard, folder_of, journals_of
from corea.run.summary import RunOutcome, RunSummary, Tally
from corea.trace_io import decode
from corea.types import ZERO_USD, Status
from corea.version import VERSION

NUMBERS_SHOWN = 5
GRAVEST = (
    RunOutcome.GAVE_UP, RunOutcome.BUDGET, RunOutcome.INTERRUPTED, RunOutcome.WAITING, RunOutcome.COMPLETE
)  # fmt: skip


def merge_shards(
    output: str,
    settings: Mapping[str, Any],
    *,
    format: FileFormat | None = None,
    partial: bool = False,
    budget_usd: Decimal | None = None,
    **known: Any,
) -> RunSummary:
    """Writes the answers of all shards in the order of the questions, and folds their traces and counts.

    Args:
        settings: All settings that decide the answers, as for `run_batch`; the shards' must equal them.
        partial: Writes what is there of shards that have not ended; missing ones are refused even so.
        budget_usd: For the summary.
        known: Fields of the summary that the driver of all shards knows better than they do.

    Raises:
        ConfigError: A shard is missing, or there twice, or of another run (settings, input, count, version of corea).
        DataError: A shard has not ended, a journal is damaged, or the output cannot be written.
    """
    check_is_file(output)
    shards = _checked(output, settings)
    merged = _Merged(output, shards)
    merged.read(partial=partial)
    write_output(output, merged.traces(), format or format_of(output, written=True))
    return replace(merged.summary(budget_usd), **known)


def _checked(output: str, settings: Mapping[str, Any]) -> dict[int, Path]:
    """The journals by number, once all are there and of one run."""
    paths = journals_of(output)
    if not paths:
        raise ConfigError(
            f"{folder_of(output)}: got no journal, expected those of all shards; run `corea run ... --shard 1/N` first"
        )
    found: dict[int, Path] = {}
    first: dict[str, Any] = {}
    for path in paths:
        kept = settings_in(path)
        shard = cast(dict[str, Any], kept.get("shard", {}))
        number = shard.pop("number", 0)
        if not first:
            first = kept
            _check_settings(path, kept, settings)
        elif differing := differences(first, kept):
            raise ConfigError(
                f"{path}: of another run than {paths[0].name}: {in_one_line(differing)}; move it away, or run that "
                "shard again"
            )
        if number in found:
            raise ConfigError(
                f"{path}: shard {number} is in {found[number].name} too, expected each once; move one of them away"
            )
        found[number] = path
    count = first["shard"]["count"]
    if missing := [number for number in range(1, count + 1) if number not in found]:
        shown = ", ".join(map(str, missing[:NUMBERS_SHOWN])) + (", ..." if len(missing) > NUMBERS_SHOWN else "")
        raise ConfigError(
            f"{folder_of(output)}: {len(missing)} of {count} shards missing ({shown}), expected all; run each with "
            f"--shard NUMBER/{count}, or copy its journal to this folder"
        )
    return {number: found[number] for number in sorted(found)}


def _check_settings(path: Path, kept: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    if "shard" not in kept:
        raise ConfigError(f"{path}: the journal of a whole run, expected that of a shard; move it away")
    now = {**settings, "shard": {**kept["shard"], "corea": VERSION}}
    if differing := differences(kept, now):
        raise ConfigError(
            f"{path}: begun with another configuration: {in_one_line(differing)}; restore what it was, or name "
            "another --out"
        )


@dataclass(slots=True)
class _Merged:
    """The shards of one run, read and folded."""

    output: str
    paths: Mapping[int, Path]
    tally: Tally = field(default_factory=Tally)
    journals: list[Journal] = field(default_factory=list[Journal])

    def read(self, *, partial: bool) -> None:
        """Restores every shard, in order."""
        for number, path in self.paths.items():
            journal = Journal(path)
            kept = settings_in(path)["shard"]
            start = Shard(number=number, count=kept["count"], rows=kept["rows"], input="").part.start
            journal.read(lambda row, line, start=start: self._restore(start + row, line))
            ended = journal.end
            if not partial and (ended is None or ended["outcome"] != RunOutcome.COMPLETE):
                how = "has not ended" if ended is None else f"ended early ({ended['outcome']})"
                raise DataError(
                    f"shard {number} of {kept['count']} {how}, {journal.answered:,} questions done; run it again, or "
                    "merge what is there with --partial",
                    path=str(path),
                )
            self.journals.append(journal)

    def _restore(self, row: int, line: bytes) -> bool:
        trace = decode(line)
        self.tally.add(row, trace, None)
        return trace.status is not Status.FAILED

    def traces(self) -> Iterator[bytes]:
        """The newest trace of every row, in order."""
        for journal in self.journals:
            yield from journal.traces()

    def summary(self, budget_usd: Decimal | None) -> RunSummary:
        """The summary, of all starts of all shards."""
        ends = [journal.end or {} for journal in self.journals]
        outcomes = {end.get("outcome", RunOutcome.INTERRUPTED) for end in ends}
        seconds = max((end.get("seconds", 0.0) for end in ends), default=0.0)
        done, resumed = sum(journal.answered for journal in self.journals), _sum(ends, "resumed")
        unused, tokens = Counter[str](), Counter[str]()
        for end in ends:
            unused.update(end.get("unused_request_settings", {}))
            for stage, rate in end.get("completion_tokens_per_second", {}).items():
                tokens[stage] += rate * end["seconds"]
        messages = [message for end in ends for message in end.get("bad_row_messages", ())]
        bounds = [Decimal(usd) for end in ends if (usd := end.get("next_question_usd_at_most"))]
        spent = EXACT.add(self.tally.ledger.cost_usd, self._lost_usd(ends))
        return RunSummary(
            outcome=next(each for each in GRAVEST if each in outcomes),
            output=self.output,
            journal=str(folder_of(self.output)),
            done=done,
            total=_sum(ends, "total") if all(ends) else None,
            resumed=resumed,
            failed=self.tally.failed(None),
            bad_rows=_sum(ends, "bad_rows"),
            bad_row_messages=tuple(messages[:MESSAGES_KEPT]),
            lost=sum(journal.lost.questions for journal in self.journals),
            lost_usd_at_most=self._lost_usd(ends),
            ledger=self.tally.ledger,
            repeated_usd=self.tally.repeated_usd,
            budget_usd=budget_usd,
            seconds=seconds,
            rate=(done - resumed) / seconds if seconds else 0.0,
            tokens_per_second={name: count / seconds for name, count in tokens.items()} if seconds else {},
            last_error=self.tally.last_error,
            shortcomings=self.tally.shortcomings,
            unused=dict(unused),
            next_usd_at_most=min(bounds, default=None),
            waiting=_sum(ends, "waiting"),
            batches=_sum(ends, "batches"),
            left_usd=None if budget_usd is None else max(ZERO_USD, EXACT.subtract(budget_usd, spent)),
        )

    def _lost_usd(self, ends: Sequence[Mapping[str, Any]]) -> Decimal:
        """Of questions in flight at kills; a start without a budget has bounded them when it ended."""
        total = ZERO_USD
        for journal, end in zip(self.journals, ends, strict=True):
            bounded = Decimal(end.get("in_flight_at_kills_usd_at_most") or 0)
            total = EXACT.add(total, max(bounded, journal.lost.at_most_usd))
        return total


def _sum(ends: Sequence[Mapping[str, Any]], key: str) -> int:
    return sum(end.get(key) or 0 for end in ends)
