"""One view of the metrics of all workers of a `corea serve --workers N`: each gives its own to whichever is asked."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

ANSWER_SECONDS = 2.0
# of what each says of all or of its configuration, not the sum; an alarm, or an old configuration, of one shows
LARGEST = frozenset(
    {
        "corea_accounts_failing", "corea_audit_alarm", "corea_audit_evidence", "corea_breaker_open", "corea_build_info",
        "corea_config_info", "corea_threshold", "corea_key_budget_usd", "corea_key_spent_usd",
    }
)  # fmt: skip
SMALLEST = frozenset(
    {
        "process_start_time_seconds", "corea_config_last_reload_successful",
        "corea_config_last_reload_success_timestamp_seconds",
    }
)  # fmt: skip


class WorkerMetrics:
    """The sums of all workers' metrics.

    Each worker listens on a socket in a folder. What a worker had counted when it was last asked stays in the sums
    after its death, so a counter never goes back.

    Args:
        own: This worker's, in Prometheus' text format.
    """

    def __init__(self, folder: Path, own: Callable[[], bytes]) -> None:
        self.folder = folder
        self.own = own
        self.name: str = str(os.getpid())
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listens."""
        self._server = await asyncio.start_unix_server(self._answer, self.folder / f"{self.name}.sock")

    async def stop(self) -> None:
        """Leaves its last counts to the others."""
        if self._server is not None:
            self._server.close()
        (self.folder / f"{self.name}.sock").unlink(missing_ok=True)
        self._keep(self.name, self.own())

    async def text(self) -> bytes:
        """The sums, in Prometheus' text format."""
        names = sorted({path.stem for path in self.folder.iterdir() if path.suffix in (".sock", ".last")})
        return await self._sum(names)

    async def _sum(self, names: list[str]) -> bytes:
        texts = await asyncio.gather(*(self._of(name) for name in names))
        live = [text.decode() for text in texts if text is not None]
        dead = [self._last(name) for name, text in zip(names, texts, strict=True) if text is None]
        return summed(live, dead).encode()

    async def _of(self, name: str) -> bytes | None:
        """The metrics of a worker; None if it is dead."""
        if name == self.name:
            text = self.own()
        else:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    reader, writer = await asyncio.open_unix_connection(self.folder / f"{name}.sock")
                    text = await reader.read()
                    writer.close()
            except OSError:  # TimeoutError is one
                return None
        if not text:
            return None
        self._keep(name, text)
        return text

    def _keep(self, name: str, text: bytes) -> None:
        part = self.folder / f"{name}.{self.name}.part"
        with contextlib.suppress(OSError):
            part.write_bytes(text)
            part.replace(self.folder / f"{name}.last")

    def _last(self, name: str) -> str:
        try:
            return (self.folder / f"{name}.last").read_text()
        except OSError:
            return ""

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(self.own())
            await writer.drain()
            writer.close()


def summed(live: Iterable[str], dead: Iterable[str] = ()) -> str:
    """Metrics of several processes as those of one: sums, and of the dead only what counts up.

    Args:
        live, dead: Each in Prometheus' text format.
    """
    heads: dict[str, list[str]] = {}
    samples: dict[str, dict[str, float]] = {}  # by family, then by name and labels
    for text, alive in [*((text, True) for text in live), *((text, False) for text in dead)]:
        family, counts = "", False
        for line in text.splitlines():
            if line.startswith("#"):
                _, word, family, rest = line.split(" ", 3)
                counts = rest in ("counter", "histogram") if word == "TYPE" else counts
                known = heads.setdefault(family, [])
                if len(known) < 2 and line not in known:
                    known.append(line)
            elif line and (alive or counts):
                sample, _, value = line.rpartition(" ")
                found = samples.setdefault(family, {})
                found[sample] = _combined(family, found.get(sample), float(value))
    lines = [
        line
        for family, head in heads.items()
        for line in (*head, *(f"{name} {value}" for name, value in samples.get(family, {}).items()))
    ]
    return "\n".join(lines) + "\n"


def _combined(family: str, before: float | None, value: float) -> float:
    if before is None:
        return value
    if family in LARGEST:
        return max(before, value)
    return min(before, value) if family in SMALLEST else before + value
