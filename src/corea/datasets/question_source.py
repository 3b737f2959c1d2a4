"""Files and pipes of questions: JSON lines or a JSON array, CSV, TSV, Parquet, each packed with .gz or not, and "-" for
a pipe.

A source is read one row at a time. A bad row is a `DataError` with path and line in the stream, not raised: the run
decides on it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import IO, Any, cast

from msgspec import Struct

from corea.datasets.rows import KNOWN, TEXT_KEYS, is_blank, question_from_row
from corea.errors import DataError
from corea.files.readers import PlainRow, Record, RowKind
from corea.files.rows import FileFormat, format_of, read_records
from corea.types import Message, Question

QUESTIONS = RowKind(name="questions", columns=KNOWN, one_of=(*TEXT_KEYS, "messages"))
CHAT = "/chat/completions"
SAYS_NOTHING: tuple[Any, ...] = (None, "", [], {}, False)


class SourceRow(Struct, frozen=True):
    """One question of a source.

    Args:
        number: From 0, bad rows counted too; the row's name in a journal.
        line: Where it is, from 1: the line of the file, in Parquet the row.
        unused: Settings of an OpenAI batch request that are not used, such as "temperature".
    """

    number: int
    line: int
    question: Question
    unused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class QuestionSource:
    """A source of questions: a path, or "-" for standard input, which can be read only once.

    Args:
        format: By default given by the name; a pipe's is JSON lines.
        pipe: The input for "-"; by default standard input.
        category: The column that holds a question's category.
        part: Only these rows of the file, numbered from 0; their ids and lines are those in the whole file.

    Raises:
        ConfigError: The name does not give the format.
    """

    path: str
    format: FileFormat | None = None
    pipe: IO[bytes] | None = None
    category: str = "category"
    part: range | None = None

    def __post_init__(self) -> None:
        _ = self.kind

    @classmethod
    def of(cls, source: "QuestionSource | str", *, category: str) -> "QuestionSource":
        """The source of a path, with this column of categories; one that is a source already stays as it is."""
        return cls(source, category=category) if isinstance(source, str) else source

    @property
    def is_pipe(self) -> bool:
        """True for a pipe, which can be read only once."""
        return self.path == "-"

    @property
    def name(self) -> str:
        """The name in messages."""
        return "<stdin>" if self.is_pipe else self.path

    @property
    def kind(self) -> FileFormat:
        """The format of its rows."""
        return self.format or (FileFormat.JSONL if self.is_pipe else format_of(self.path))

    def rows(self) -> Iterator[SourceRow | DataError]:
        """Every row in order; a bad one is a DataError with its line.

        Raises:
            DataError: The file itself cannot be read (any further).
        """
        for number, line, record in self._numbered():
            if isinstance(record, PlainRow) and _is_good(record):
                yield SourceRow(number, line, Question(id=record.id, messages=(Message("user", record.question),)))
                continue
            found = self._question(line, record)
            yield found if isinstance(found, DataError) else SourceRow(number, line, *found)

    def ids(self) -> Iterator[tuple[int, int, str] | DataError]:
        """(number, line, id) of every row in order, or the error of a bad one: cheaper than `rows`."""
        for number, line, record in self._numbered():
            if isinstance(record, PlainRow) and _is_good(record):
                yield number, line, record.id
            else:
                found = self._question(line, record)
                yield found if isinstance(found, DataError) else (number, line, found[0].id)

    def _question(self, line: int, record: Record) -> tuple[Question, tuple[str, ...]] | DataError:
        """The question of a record, and the settings of it that are not used."""
        if isinstance(record, PlainRow):
            record = {"id": record.id, "question": record.question}
        if isinstance(record, str):
            return DataError(record, path=self.name, line=line)
        try:
            unused: tuple[str, ...] = ()
            if is_batch_row(record):
                record, unused = row_of_request(record)
            return question_from_row(record, default_id=f"line-{line}", category=self.category), unused
        except DataError as error:
            return DataError(str(error), path=self.name, line=line)

    def _numbered(self) -> Iterator[tuple[int, int, Record]]:
        """(number, line, record) of every row."""
        number, part = -1, self.part
        records = enumerate(read_records(self.path, self.kind, pipe=self.pipe, expected=QUESTIONS))
        for number, (line, record) in records if part is None else islice(records, part.start, part.stop):
            yield number if part is None else number - part.start, line, record
        if number < 0 and not self.is_pipe and part is None:
            raise DataError("has no rows, expected at least one question", path=self.name)


def _is_good(record: PlainRow) -> bool:
    """True where there are an id and a question; most questions begin with a letter, which is quick to see."""
    text = record.question
    return bool(record.id) and ("!" <= text[:1] <= "~" or not is_blank(text))


# --- rows of OpenAI's batch format ------------------------------------------------------------------------------------


def is_batch_row(row: Mapping[str, Any]) -> bool:
    """True for a request of a file for OpenAI's Batch API: `{"custom_id": ..., "url": ..., "body": {"messages": ...}}`.

    Source: https://platform.openai.com/docs/guides/batch
    """
    return "body" in row and ("custom_id" in row or "url" in row) and "messages" not in row


def row_of_request(row: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The request as a row of COREA's own, and the fields of its body that are not used.

    The configuration decides which models are asked and how: of the body only the messages count.

    Raises:
        DataError: It is a request of another kind than a chat completion; without the place, which the caller knows.
    """
    url, method, body = row.get("url"), row.get("method"), row["body"]
    if url is not None and not (isinstance(url, str) and url.rstrip("/").endswith(CHAT)):
        raise DataError(f"url: got {url!r}, expected '/v1{CHAT}', the only kind of request that can be answered")
    if method not in (None, "POST"):
        raise DataError(f"method: got {method!r}, expected 'POST'")
    if not isinstance(body, dict):
        raise DataError(f"body: got {type(body).__name__}, expected an object with messages")
    request = cast(dict[str, Any], body)
    if not isinstance(request.get("messages"), list) or not request["messages"]:
        raise DataError("body.messages: is missing or empty, expected a list of objects with role and content")
    rest = {key: value for key, value in row.items() if key not in ("custom_id", "method", "url", "body")}
    own = {**rest, "id": row.get("custom_id"), "messages": request["messages"]}
    unused = sorted(key for key, value in request.items() if key != "messages" and value not in SAYS_NOTHING)
    return own, tuple(unused)
