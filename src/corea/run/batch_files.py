"""The files of a run's batches: the requests of one as they are uploaded, and its results as they came."""

import os
import shutil
from array import array
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from types import TracebackType

import msgspec

from corea.backends.openai.batches import BatchApi, BatchState, ChatBatches, custom_id_of
from corea.backends.openai.client import OpenAIBackend
from corea.errors import BackendError
from corea.prices import EXACT
from corea.run.journal_lines import BatchNote, Waiting
from corea.types import ZERO_USD, Completion, Question, Sampling

ENDED_WHOLE = ("completed", "ended")  # states in which every request has a result


class BatchFile:
    """The requests of one batch, on the disk.

    Attributes:
        rows: Of its requests.
        at_most_usd: The most that they can cost; None where that has no bound.
    """

    def __init__(self, folder: Path, key: str, api: BatchApi, max_lines: int, max_bytes: int) -> None:
        self.key = key
        self.rows: list[int] = []
        self.at_most_usd: Decimal | None = ZERO_USD
        self._api, self._max_lines, self._max_bytes = api, max_lines, max_bytes
        folder.mkdir(exist_ok=True)
        self._file = (folder / f"{key}.jsonl").open("wb")
        self._size = len(api.head) + len(api.tail)

    def fits(self, line: bytes) -> bool:
        """True where the limits let one more line in; the first always fits."""
        size = self._size + len(line) + len(self._api.joint)
        return not self.rows or (len(self.rows) < self._max_lines and size <= self._max_bytes)

    def add(self, row: int, line: bytes, at_most_usd: Decimal | None) -> None:
        """Writes the request of a row."""
        self._file.write(self._api.joint if self.rows else self._api.head)
        self._file.write(line)
        self._size += len(line) + len(self._api.joint)
        self.rows.append(row)
        known = self.at_most_usd is not None and at_most_usd is not None
        self.at_most_usd = EXACT.add(self.at_most_usd or ZERO_USD, at_most_usd or ZERO_USD) if known else None

    def close(self) -> None:
        """Ends the file, and waits until it is on the disk."""
        self._file.write(self._api.tail)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


class Results:
    """The results of one batch, found by row. 8 bytes a row of the source.

    Attributes:
        ignored: Lines that cannot be read, have no id of this batch, or one that came before.
        lost: The last result that was asked for is missing, although the request may have been run and charged.
        held_usd: Of the budget, for the rows that have not gone on.
    """

    def __init__(self, path: Path, note: BatchNote, waiting: Waiting) -> None:
        self.note = note
        self.ignored: int = 0
        self.lost: bool = False
        self.held_usd: Decimal = note.at_most_usd or ZERO_USD
        self._offsets = array("Q")
        self._file = path.open("rb")
        offset = unreadable = 0
        for line in self._file:
            if line.strip():
                identity = custom_id_of(line)
                unreadable += identity is None
                self.ignored += not self._place(identity or "", offset + 1, waiting)
            offset += len(line)
        self._may_lack = note.status in ENDED_WHOLE or bool(unreadable)

    def __enter__(self) -> "Results":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def outcome(self, row: int, api: BatchApi, asked: Question, sampling: Sampling) -> Completion | BackendError:
        """The result of a row; sets `lost`."""
        offset = self._offsets[row] if row < len(self._offsets) else 0
        self.lost = False
        if self.note.error:
            return BackendError(f"batch {self.note.id}: {self.note.error}", retryable=True)
        if offset:
            self._file.seek(offset - 1)
            try:
                return api.result(self._file.readline(), asked, sampling)
            except (msgspec.DecodeError, UnicodeDecodeError):
                pass
        self.lost = bool(offset) or self._may_lack
        return BackendError(
            f"batch {self.note.id} ({self.note.status}): got no readable result for this question, expected one",
            retryable=True,
        )

    def _place(self, identity: str, offset: int, waiting: Waiting) -> bool:
        """Notes where the result of a row is; False where the line is not used."""
        key, _, number = identity.rpartition("-")
        if key != self.note.key or not (number.isascii() and number.isdigit()):
            return False
        row = int(number)
        if waiting.batch_of(row) != key:
            return False
        if (more := row + 1 - len(self._offsets)) > 0:
            self._offsets.frombytes(bytes(8 * (more + 1024)))
        if self._offsets[row]:
            return False
        self._offsets[row] = offset
        return True


class FileBatches(ChatBatches):
    """Batches in OpenAI's format for a program such as `vllm run-batch -i KEY.jsonl -o KEY.answers.jsonl`."""

    max_lines: int = 1_000_000
    max_bytes: int = 2_000_000_000

    def __init__(self, backend: OpenAIBackend, folder: Path) -> None:
        super().__init__(backend)
        self._folder = folder

    async def create(self, path: Path, key: str) -> str:
        """The key: the file is there."""
        return key

    async def candidates(self, since: float) -> AsyncIterator[BatchState]:
        """None: to create one again does no harm."""
        for state in tuple[BatchState, ...]():
            yield state

    async def look(self, batch_id: str) -> BatchState:
        """Ended when the file of answers is there."""
        answers = self._folder / f"{batch_id}.answers.jsonl"
        there = answers.exists()
        status = "completed" if there else "in_progress"
        return BatchState(id=batch_id, status=status, ended=there, outputs=(str(answers),))

    async def fetch(self, output: str, path: Path) -> None:
        """Appends the answers to a file."""
        with Path(output).open("rb") as answers, path.open("ab") as file:
            shutil.copyfileobj(answers, file)

    async def cancel(self, batch_id: str) -> None:
        """Nothing: the program is not ours."""
