"""Streams of bytes -> records: JSON lines, a JSON array, CSV with commas, semicolons or tabs, and Parquet.

Every reader yields (line, record); a text instead of a record is the message of an invalid row.
"""

import csv
import io
import json
import re
from codecs import getincrementaldecoder
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain
from typing import Any, cast

import msgspec

from corea.files.byte_streams import CHUNK, UnreadableError, with_line_feeds
from corea.registry import import_extra

PARQUET_BATCH = 512  # rows in memory at once
MAX_FIELD = 64 * 1024 * 1024  # characters of one CSV field or array element; the csv module's own limit is 128 Ki
MAX_DEPTH = 100  # of a record; what is nested deeper cannot be sent on everywhere (Python's own limit is near 1000)
DELIMITERS = ",;\t"
TOO_DEEP = f"is nested more than {MAX_DEPTH} levels deep, expected at most that; flatten the row"
BARE_CR = re.compile(rb"\r(?![\n\r]|\Z)")  # a line end of its own: JSON has none inside of texts
ARRAY = re.compile(rb"\s*\[\s*(?:\{|\]|\Z)")  # "[1]" is a bad row of JSON lines
PRETTY = re.compile(rb'\s*\{[ \t\r]*\n\s*"')  # one object over several lines
SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)  # Excel's own first line
NOT_UTF8, SAVE_AS_UTF8 = "not UTF-8", "; save the file as UTF-8"
OBJECT = 'expected a JSON object such as {"id": "q1", "question": "..."}; write one on each line'
QUOTES = 'expected double quotes, as in {"question": "..."}; write them so'
WORDS = "expected JSON's own words; write true, false, or null in the place of NaN"
JSON_ADVICE: tuple[tuple[str, str, str], ...] = (  # a part of the message, how the text goes on there, the advice
    ("truncated", "", "expected a whole object on one line; is the line cut off?"),
    ("keys must be strings", "", QUOTES),
    ("trailing comma", "", "expected none; remove the comma"),
    ("trailing characters", ",", "expected none; remove the comma, or put all rows into an array: [..., ...]"),
    ("trailing characters", "", "expected one object on a line; put what follows it on a line of its own"),
    ("expected ',' or", "", r"expected a comma or the end there; write a quotation mark inside of a text as \""),
    ("invalid escape", "", r"expected \\ for a backslash; write it twice"),
    ("invalid character", "(?:NaN|nan|Infinity|None|True|False|undefined)", WORDS),
    ("invalid character", "['‘’“”„`]", QUOTES),
    ("invalid character", r"[\x00-\x1f]", r"expected no control character inside of a text; write \n or \t"),
    ("out of range", "", "expected a number that is not so large; correct it"),
)
CSV_ADVICE = (
    ("expected after", 'write a quotation mark inside of quotes twice: ""'),
    ("unexpected end of data", "close the quotation mark that this row opens"),
    ("field larger", "split the field, or is a quotation mark not closed?"),
    ("NUL", "save the file as text in UTF-8"),
)
_PLACE = re.compile(r"\(byte (\d+)\)")


class PlainRow(msgspec.Struct, forbid_unknown_fields=True):
    """A row of only an id and a question, the most frequent kind, which is decoded quickly."""

    id: str
    question: str


Record = Mapping[str, Any] | PlainRow | str
"""A row as read; a text is the message of an invalid one."""

_decode_plain = msgspec.json.Decoder(PlainRow).decode
_decode = msgspec.json.Decoder().decode


# --- JSON -----------------------------------------------------------------------------------------------------------


def json_records(stream: io.BufferedReader) -> Iterator[tuple[int, Record]]:
    """JSON lines; also one array of objects, and objects written over several lines."""
    head = stream.peek(CHUNK)
    if BARE_CR.search(head):
        stream = with_line_feeds(stream)
        head = stream.peek(CHUNK)
    if ARRAY.match(head) or PRETTY.match(head):
        for line, text in _JsonText(stream).values():
            yield line, _record(text.encode("utf-8", "surrogatepass"))
    else:
        yield from _json_lines(stream)


def _json_lines(stream: io.BufferedReader) -> Iterator[tuple[int, Record]]:
    plain = True  # until a row is more: its like will follow
    for line, data in enumerate(stream, 1):
        data = data.strip()
        if not data:
            continue
        if plain:
            try:
                yield line, _decode_plain(data)
                continue
            except (msgspec.DecodeError, UnicodeDecodeError):
                plain = False
        yield line, _record(data)


def _record(data: bytes) -> Record:
    try:
        record: Any = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return not_json(error, data)
    except RecursionError:
        return TOO_DEEP
    if not isinstance(record, dict):
        return f"got {type(record).__name__}, {OBJECT}"
    if data.count(b"{") + data.count(b"[") > MAX_DEPTH and _depth(record) > MAX_DEPTH:
        return TOO_DEEP
    return cast(dict[str, Any], record)


def _depth(value: Any) -> int:
    level, depth = [value], 0
    while level := [
        inner
        for each in level
        if isinstance(each, dict | list)
        for inner in (cast(dict[str, Any], each).values() if isinstance(each, dict) else cast(list[Any], each))
    ]:
        depth += 1
    return depth


class _JsonText:
    """The values of an array, or values that follow each other, read a chunk at a time.

    What is not yet whole is tried again with as much text again, so that a value costs no more than twice its length.
    """

    def __init__(self, stream: io.BufferedReader) -> None:
        self._stream = stream
        self._utf8 = getincrementaldecoder("utf-8")()
        self._text, self._at, self._line, self._ended = "", 0, 1, False
        self._scan = json.JSONDecoder().raw_decode

    def values(self) -> Iterator[tuple[int, str]]:
        """(line, text) of each value."""
        in_array = self._next() == "["
        self._at += in_array
        if in_array and self._next() == "]":
            self._at += 1
        elif in_array:
            yield self._value()
            while (mark := self._next()) == ",":
                self._at += 1
                self._next()
                yield self._value()
            if mark != "]":
                raise UnreadableError(f"not JSON (got {mark or 'the end'!r}, expected a comma or ']')", self._line)
            self._at += 1
        while mark := self._next():
            if in_array:
                raise UnreadableError(f"not JSON (got {mark!r} after the end of the array)", self._line)
            yield self._value()

    def _next(self) -> str:
        """The next character that is not white space, not yet taken; "" at the end."""
        while True:
            while self._at < len(self._text):
                mark = self._text[self._at]
                if mark not in " \t\r\n":
                    return mark
                self._line += mark == "\n"
                self._at += 1
            if self._ended:
                return ""
            self._read()

    def _value(self) -> tuple[int, str]:
        while True:
            try:
                _, end = self._scan(self._text, self._at)
                if end < len(self._text) or self._ended:
                    break
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - 16
                if self._ended or not cut or len(self._text) - self._at > MAX_FIELD:
                    line = self._line + self._text.count("\n", self._at, error.pos)
                    raise UnreadableError(f"not JSON ({error.msg}); the rows after it cannot be read", line) from error
            except RecursionError as error:
                raise UnreadableError(TOO_DEEP, self._line) from error
            self._read()
        line, text = self._line, self._text[self._at : end]
        self._line += text.count("\n")
        self._at = end
        return line, text

    def _read(self) -> None:
        """As much text again as is waiting, at least a chunk."""
        waiting = self._text[self._at :]
        data = self._stream.read(max(CHUNK, len(waiting)))
        self._ended = not data
        try:
            self._text, self._at = waiting + self._utf8.decode(data, final=self._ended), 0
        except UnicodeDecodeError as error:
            raise UnreadableError(f"{NOT_UTF8} ({error.reason}){SAVE_AS_UTF8}", self._line) from error


# --- CSV ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RowKind:
    """The kind of rows that a file should hold.

    Args:
        name: Its plural, for messages.
        columns: Names of columns that tell the delimiter of a CSV file.
        one_of: Of these a CSV file must have one; values there may be empty.
    """

    name: str = "rows"
    columns: Sequence[str] = ()
    one_of: Sequence[str] = ()


ANY_ROWS = RowKind()


def csv_records(
    stream: io.BufferedReader, delimiter: str = ",", expected: RowKind = ANY_ROWS
) -> Iterator[tuple[int, Record]]:
    """Rows under a line of column names; another delimiter is taken where it makes columns of known names.

    An empty value is an absent one.
    """
    csv.field_size_limit(MAX_FIELD)
    with io.TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape", newline="") as text:
        before, first, delimiter = _first_line(text, delimiter, expected.columns)
        reader = csv.reader(chain([first], text), delimiter=delimiter, strict=True)
        header = _header(next(reader, list[str]()), before + 1, expected.one_of)
        while True:
            line = before + reader.line_num + 1
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield line, not_csv(error)
                continue
            if fields:
                yield line, _csv_record(fields, header, expected.one_of)


def _first_line(text: io.TextIOWrapper, delimiter: str, columns: Sequence[str]) -> tuple[int, str, str]:
    """The number of lines before that of the column names, that line, and its delimiter."""
    before, first = 0, text.readline()
    while first and not first.strip():
        before, first = before + 1, text.readline()
    if separator := SEPARATOR_LINE.fullmatch(first):
        return before + 1, text.readline(), separator[1]

    def known(by: str) -> int:
        return sum(name.strip().strip('"').lower() in columns for name in first.split(by))

    return before, first, max((delimiter, *DELIMITERS), key=known)


def _header(names: list[str], line: int, one_of: Sequence[str]) -> list[str]:
    names = [name.strip() for name in names]
    if not names:
        return names
    name, times = Counter(filter(None, names)).most_common(1)[0] if any(names) else ("", 1)
    if times > 1:
        raise UnreadableError(f"column {name!r} comes {times} times, expected once; rename or remove one", line)
    if one_of and not {*one_of} & {*names}:
        near = next((f"; is {n!r} meant as {one_of[0]!r}?" for n in names if get_close_matches(n, one_of, n=1)), "")
        shown = ", ".join(names)[:200]
        raise UnreadableError(
            f"got the columns {shown!r}, expected one named {one_of[0]} (or {', '.join(one_of[1:])}); the first line "
            f"of the file names its columns{near}",
            line,
        )
    return names


def _csv_record(fields: list[str], header: list[str], one_of: Sequence[str]) -> Record:
    if len(fields) != len(header):
        return f"got {len(fields)} fields, expected {len(header)} as in the first line ({', '.join(header)})"
    if any("\udc80" <= c <= "\udcff" for field in fields if not field.isascii() for c in field):
        return f"{NOT_UTF8}{SAVE_AS_UTF8}"
    if [field.strip() for field in fields] == header:
        return "is the line of column names again, expected a row; remove it (were two files joined?)"
    return {
        name: value
        for name, value in zip(header, fields, strict=True)
        if name and (value != "" or name in one_of)  # a blank question is to be named
    }


# --- Parquet --------------------------------------------------------------------------------------------------------


def parquet_records(path: str, columns: tuple[str, ...] = ()) -> Iterator[tuple[int, Record]]:
    """The rows of a Parquet file; of its columns only those named, where any are."""
    pyarrow, parquet = import_parquet(path)
    try:
        with parquet.ParquetFile(path) as file:
            wanted = [name for name in file.schema_arrow.names if not columns or name in columns]
            batches: Iterator[Any] = file.iter_batches(PARQUET_BATCH, columns=wanted)
            yield from enumerate((row for batch in batches for row in batch.to_pylist()), 1)
    except pyarrow.ArrowInvalid as error:
        raise UnreadableError(f"not Parquet ({str(error).splitlines()[0]})") from error


def import_parquet(path: str) -> tuple[Any, Any]:
    """pyarrow and its Parquet module.

    Raises:
        ConfigError: They are not installed.
    """
    needs = f"{path}: Parquet"
    return import_extra(needs, "pyarrow"), import_extra(needs, "pyarrow.parquet")


# --- advice on rows that cannot be read -------------------------------------------------------------------------------


def not_json(error: Exception, data: bytes) -> str:
    """The message for an invalid line of JSON: the error, the expected form, and the correction."""
    if isinstance(error, UnicodeDecodeError):
        return f"{NOT_UTF8} ({error.reason}){SAVE_AS_UTF8}"
    message = str(error).removeprefix("JSON is malformed: ")
    return f"not JSON ({message}), {_advice(message, data) if data.startswith(b'{') else OBJECT}"


def _advice(message: str, data: bytes) -> str:
    place = _PLACE.search(message)
    at = int(place[1]) - message.startswith("trailing characters") if place else 0  # it names the byte after
    rest = data[at : at + 16].decode("utf-8", "replace")
    found = (advice for part, text, advice in JSON_ADVICE if part in message and re.match(text, rest))
    return next(found, f"expected JSON; correct it at {rest[:8]!r}")


def not_csv(error: csv.Error) -> str:
    """The message for an invalid row of CSV."""
    advice = next((advice for part, advice in CSV_ADVICE if part in str(error)), "correct the row")
    return f"not CSV ({error}), expected a row; {advice}"
