"""The calls to providers' batch APIs: each batch is created once, whatever is lost, and its results are downloaded.

A batch is written into the journal before it is created. After a kill, or a lost answer, it is looked for by its key in
the list of batches before it is created again.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from corea.backends.openai.batches import BatchApi, BatchState, custom_id_of
from corea.backends.openai.message_batches import batches_of
from corea.errors import BackendError, DataError
from corea.run.batch_files import FileBatches
from corea.run.journal import Journal
from corea.run.journal_lines import BatchNote, BatchStep
from corea.stage import Stage

log: logging.Logger = logging.getLogger(__name__)
CLOCKS_APART = 3600.0  # seconds, at most, between the server's clock and ours


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """How a run waits for batches.

    Args:
        wait: False ends the run when all is submitted and no batch has ended: the next start goes on.
        cancel: A stop cancels the batches under way; what they have finished is charged, and used by the next start.
        poll_seconds: Between two looks at the batches.
        max_lines, max_bytes: Of one batch, if less than the provider's limits.
        sleep: Waits; replaced in tests.
    """

    wait: bool = True
    cancel: bool = False
    poll_seconds: float = 60.0
    max_lines: int = 1_000_000
    max_bytes: int = 1_000_000_000
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclass(slots=True, kw_only=True)
class BatchCalls:
    """The batches of a run at their servers.

    Args:
        stages: Those that are asked by batches, by name.
        folder: Of the files of batches under way.
        give_up_after: Ends the run after so many failed looks in a row.

    Attributes:
        fresh: Keys of batches that were planned in this start: they are not there yet.
    """

    journal: Journal
    stages: Mapping[str, Stage]
    options: BatchOptions
    folder: Path
    give_up_after: int
    apis: dict[str, BatchApi] = field(default_factory=dict[str, BatchApi])
    fresh: set[str] = field(default_factory=set[str])
    failures: int = 0

    def __post_init__(self) -> None:
        for name, stage in self.stages.items():
            api = batches_of(stage.backend, f"stages.{name}")
            self.apis[name] = FileBatches(api.backend, self.folder) if stage.batch == "file" else api

    def note(self, note: BatchNote) -> None:
        """Writes how far a batch is, to the disk."""
        self.journal.waiting.note(note)
        self.journal.flush()
        self.journal.sync()

    async def cancel(self) -> None:
        """Cancels the batches under way, if that was asked for."""
        for note in list(self.journal.waiting.batches.values()) if self.options.cancel else ():
            if note.step is BatchStep.CREATED:
                await self.apis[note.stage].cancel(note.id)

    async def create_planned(self) -> None:
        """Creates the batches that are planned and not there."""
        for note in list(self.journal.waiting.batches.values()):
            if note.step is BatchStep.PLANNED and (found := await self._create(note)) is not None:
                self.note(msgspec.structs.replace(note, step=BatchStep.CREATED, id=found))

    async def _create(self, note: BatchNote) -> str | None:
        """The id of a batch, which is there already or is created; None where that is not known yet."""
        api, path, failed = self.apis[note.stage], self.folder / f"{note.key}.jsonl", 0
        settings = self.apis[note.stage].backend.settings
        while True:
            try:
                if note.key not in self.fresh:
                    found, sure = await self._find(api, note)
                    if found is not None or not sure:
                        return found
                self.fresh.discard(note.key)
                return await api.create(path, note.key)
            except OSError as error:
                why = f"cannot be read ({error.strerror}), expected a batch's file; restore it"
                raise DataError(why, path=str(path)) from error
            except BackendError as error:
                failed += 1
                if not error.retryable or failed > settings.max_retries:
                    raise
                log.info("%s: %s, so the batch is looked for", settings.where, type(error).__name__)
            await self.options.sleep(min(settings.backoff_cap_seconds, settings.backoff_base_seconds * 2**failed))

    async def _find(self, api: BatchApi, note: BatchNote) -> tuple[str | None, bool]:
        """The id of a batch that was created; and False where a batch that may be it has not ended."""
        async for state in api.candidates(note.at - CLOCKS_APART):
            if state.id in self.journal.waiting.ids:
                continue
            if state.key is not None:
                if state.key == note.key:
                    return state.id, True
            elif state.total == note.count:
                if not state.ended:
                    return None, False
                if await self._has(api, state, note):
                    return state.id, True
        return None, True

    async def _has(self, api: BatchApi, state: BatchState, note: BatchNote) -> bool:
        """True for a batch whose results have this key in their ids."""
        path = self.folder / f"{note.key}.found"
        path.unlink(missing_ok=True)
        for output in state.outputs:
            await api.fetch(output, path)
        try:
            with path.open("rb") as lines:
                return any((custom_id_of(line) or "").startswith(f"{note.key}-") for line in lines)
        except FileNotFoundError:
            return False
        finally:
            path.unlink(missing_ok=True)

    async def look(self) -> list[BatchNote]:
        """The batches that have ended, with their results here."""
        for note in list(self.journal.waiting.batches.values()):
            if note.step is not BatchStep.CREATED:
                continue
            api = self.apis[note.stage]
            try:
                state = await api.look(note.id)
                if state.ended:
                    await self._download(api, state, note)
                self.failures = 0
            except BackendError as error:
                self.failures += 1
                if not error.retryable or self.failures >= self.give_up_after or not self.options.wait:
                    raise
                log.warning("%s; it is asked again in %g s", error, self.options.poll_seconds)
        return [note for note in self.journal.waiting.batches.values() if note.step is BatchStep.ENDED]

    async def _download(self, api: BatchApi, state: BatchState, note: BatchNote) -> None:
        path = self.folder / f"{note.key}.results"
        part = path.with_suffix(".part")
        part.unlink(missing_ok=True)
        part.touch()
        for output in state.outputs:
            await api.fetch(output, part)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
        self.note(msgspec.structs.replace(note, step=BatchStep.ENDED, status=state.status, error=state.error))
