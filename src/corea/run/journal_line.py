"""One line of a journal: its form, its checksum, and the traces of a whole file of them; see `corea.run.journal`."""

import zlib
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import msgspec

from corea.errors import DataError
from corea.types import ZERO_USD

_PREFIX = b'{"crc":"'
_BODY = len(b'{"crc":"00000000","line":')
RowNumber = Annotated[int, msgspec.Meta(ge=0, lt=1 << 40)]


class JournalLine(msgspec.Struct):
    """One line of a journal; the field that is set says of which kind."""

    journal: int | None = None
    settings: dict[str, Any] | None = None
    rows: int | None = None
    start: RowNumber | None = None
    next: RowNumber | None = None
    at_most_usd: Decimal = ZERO_USD
    done: RowNumber | None = None
    key: str = ""
    trace: msgspec.Raw = msgspec.Raw(b"")


_decoder = msgspec.json.Decoder(JournalLine)


def decoded_line(body: bytes, path: Path) -> JournalLine:
    """The line of a body.

    Raises:
        DataError: Its checksum is right, but it is no line of a journal.
    """
    try:
        line = _decoder.decode(body)
        if line.at_most_usd.is_finite() and (line.done is None or (line.trace and int(line.key, 16) < 1 << 64)):
            return line
    except (ValueError, RecursionError):  # of JSON, or of the key
        pass
    raise DataError("holds a line that corea did not write; restore it, or move it away", path=str(path))


def body_of(line: bytes) -> bytes | None:
    """The body of a line; None where it is incomplete or damaged."""
    if not (line.startswith(_PREFIX) and line.endswith(b"}\n")):
        return None
    body = line[_BODY:-2]
    return body if b"%08x" % zlib.crc32(body) == line[8:16] else None


def traces_beside(output: str | Path) -> list[bytes]:
    """The newest trace of every row, each one line of JSON, from the journal beside a run's output.

    Raises:
        DataError: There is none, or it is damaged.
    """
    path = Path(f"{output}.journal")
    newest: dict[int, bytes] = {}
    try:
        with path.open("rb") as lines:
            for line in lines:
                body = body_of(line)
                if body is not None and (done := decoded_line(body, path)).done is not None:
                    newest[done.done] = bytes(done.trace)
    except FileNotFoundError as error:
        raise DataError(
            f"holds flat rows, and the journal with the traces, {path.name}, is not beside it; expected that, or "
            "answers written as .jsonl",
            path=str(output),
        ) from error
    return [newest[row] for row in sorted(newest)]
