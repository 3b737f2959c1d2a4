"""The contents of journals that no run holds open: of a whole run, or of the shards of one."""

from pathlib import Path
from typing import Any

from corea.errors import DataError
from corea.run.checked_lines import body_of
from corea.run.journal import Journal
from corea.run.journal_lines import decode_line
from corea.run.shards import journals_of


def traces_beside(output: str | Path) -> list[bytes]:
    """The newest trace of every row, each one line of JSON, from the journal or journals beside a run's output.

    Raises:
        DataError: There is none, or it is damaged.
    """
    whole = Path(f"{output}.journal")
    paths = [whole] if whole.exists() else sorted(journals_of(str(output)), key=_number)
    if not paths:
        raise DataError(
            f"holds flat rows, and the journal with the traces, {whole.name}, is not beside it; expected that, or "
            "answers written as .jsonl",
            path=str(output),
        )
    return [line for path in paths for line in Journal(path).read(lambda row, line: True).traces()]


def _number(path: Path) -> int:
    return int(path.name.partition("-")[0])


def settings_in(path: Path) -> dict[str, Any]:
    """The settings that a journal was last begun with, from its first lines.

    Raises:
        DataError: It has none, or is not a journal.
    """
    found: dict[str, Any] | None = None
    with path.open("rb") as lines:
        for line in lines:
            body = body_of(line)
            read = None if body is None else decode_line(body, path)
            if read is None or (read.settings is None and read.owner is None and read.rows is None):
                break
            found = read.settings or found
    if found is None:
        raise DataError("has no settings, expected the journal of a shard; run that shard again", path=str(path))
    return found
