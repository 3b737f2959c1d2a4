"""People's labels of pairs of answers: a file that shows both side by side, in random order and without names.

One JSON line a pair: {"id", "question", "first", "second", "better": null}; people set "better" to "first", "second" or
"tie". Pairs that are to test a calibration also name it (`calibration`), as they are drawn from what it keeps. Which
answer is whose is not in the file: it is read back by comparing the texts with the stored answers.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from corea.calibrate.few_labels import labels_of
from corea.errors import ConfigError, DataError
from corea.files.rows import FileFormat, read_rows
from corea.records.table import OutcomeTable

CHOICES = ("first", "second", "tie")


def write_pairs(
    path: Path, table: OutcomeTable, ids: Sequence[str], *, seed: int, calibration: str | None = None
) -> None:
    """Writes the pairs to label, in the order of the ids, each with its answers in random order.

    A pair that is in the file already keeps its line, with its label.

    Args:
        table: As `corea.evaluate.judge.judged_table` gives it.
        calibration: The digest of the artefact that they are to test.

    Raises:
        DataError: It cannot be written.
    """
    at = {str(key): i for i, key in enumerate(table.ids)}
    there = {str(row.get("id")): row for _, row in read_rows(path, FileFormat.JSONL)} if path.is_file() else {}
    swap = np.random.default_rng([seed, 2]).random(len(ids)) < 0.5
    answers, asked = (
        _answers(table, judged=calibration is not None),
        table.texts if table.texts is not None else [""] * len(table),
    )
    lines: list[bytes] = []
    mark = {} if calibration is None else {"calibration": calibration}
    for key, swapped in zip(ids, swap, strict=True):
        first, second = answers[at[key]][:: -1 if swapped else 1]
        old = there.get(key, {})
        if (old.get("first"), old.get("second")) in ((first, second), (second, first)):
            lines.append(msgspec.json.encode({**old, **mark}) + b"\n")
            continue
        row = {"id": key, "question": asked[at[key]], "first": first, "second": second, "better": None, **mark}
        lines.append(msgspec.json.encode(row) + b"\n")
    try:
        path.write_bytes(b"".join(lines))
    except OSError as error:
        raise DataError(f"cannot be written ({error}); name another --select-for-labelling", path=str(path)) from error


def with_labels(table: OutcomeTable, path: Path, *, calibration: str | None = None) -> OutcomeTable:
    """The table with people's labels from a file of `write_pairs`.

    The file is in random order: the first so many may be labelled, but none may be left out before them, as people
    leave out the hard ones.

    Args:
        calibration: The digest of the artefact that the labels are to test; None: they are to calibrate.

    Raises:
        ConfigError: There is no such file. DataError: A line cannot be read, is of another question or of other
            answers, was drawn for something else, comes twice, or has no label before one that has.
    """
    if not path.is_file():
        raise ConfigError(
            f"--labels {path}: no such file, expected one that --select-for-labelling wrote and people labelled"
        )
    at, answers = {str(key): i for i, key in enumerate(table.ids)}, _answers(table, judged=calibration is not None)
    preferred, skipped = np.full(len(table), np.nan), 0
    for number, row in read_rows(path, FileFormat.JSONL):
        where: dict[str, Any] = {"path": str(path), "line": number}
        key, better = str(row.get("id")), row.get("better")
        if key not in at:
            raise DataError(f"question {key!r} is not among those that both models answered; drop the line", **where)
        if row.get("calibration") != calibration:
            raise DataError(_drawn_for(key, row.get("calibration"), calibration), **where)
        if better is None:
            skipped = skipped or number
            continue
        if better not in CHOICES:
            raise DataError(f"question {key!r}: got better = {better!r:.40}, expected first, second or tie", **where)
        if skipped:
            raise DataError(
                f"question {key!r} is labelled and line {skipped} before it is not, expected no gap (people leave "
                'the hard ones out); label it, "tie" where neither is better',
                **where,
            )
        if not np.isnan(preferred[at[key]]):
            raise DataError(f"question {key!r} comes twice, expected once; drop one", **where)
        preferred[at[key]] = _preference(row, better, answers[at[key]], where)
    first, last = labels_of(preferred)
    return table.change(0, correct=first).change(-1, correct=last)


def _drawn_for(key: str, drawn: Any, wanted: str | None) -> str:
    purpose = "a new calibration" if drawn is None else f"a test of {str(drawn)[:19]}"
    if wanted is None:
        return f"question {key!r} was drawn for {purpose}, expected one for a new calibration; draw others"
    return (
        f"question {key!r} was drawn for {purpose}, expected one for a test of {wanted[:19]}, as pairs for other "
        "purposes are not a random sample of what it keeps; draw them with `corea calibrate verify --fresh "
        "--select-for-labelling`"
    )


def _preference(row: Mapping[str, Any], better: str, answers: tuple[Any, Any], where: Mapping[str, Any]) -> float:
    """1.0 the large model's answer, -1.0 the draft, 0.0 a tie."""
    shown = (row.get("first"), row.get("second"))
    if shown not in (answers, answers[::-1]):
        raise DataError(
            f"question {row.get('id')!r}: its answers are not the stored ones, expected the same texts; write the file "
            "again with --select-for-labelling",
            **where,
        )
    if better == "tie":
        return 0.0
    return 1.0 if shown[CHOICES.index(better)] == answers[1] else -1.0


def _answers(table: OutcomeTable, *, judged: bool = False) -> list[tuple[Any, Any]]:
    small, large = table.first.answers, table.last.answers
    if small is None or large is None or not (judged or table.first.judged is not None):
        raise ConfigError(
            "--labels: got rows without a judge's verdicts, expected [calibrate.judge] in corea.toml; add it"
        )
    return list(zip(small.tolist(), large.tolist(), strict=True))
