"""One budget for many workers: each shard gets parts of it, written to the disk before they are used.

A line of the file `grants` gives the most that one shard may have spent, over all its starts. These amounts together
never exceed the budget, so that the spending does not, whatever is killed at whichever instant:

    {"crc":"5b1d3a07","line":{"shard":3,"owner":7}}                  worker 7 owns shard 3 from here on
    {"crc":"77d01c3e","line":{"shard":3,"allowed_usd":"1.25"}}       it may have spent 1.25 USD
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from errno import ENOSPC
from functools import reduce
from pathlib import Path
from typing import NamedTuple

import msgspec

from corea.errors import DataError
from corea.prices import EXACT
from corea.run.budget import Budget
from corea.run.checked_lines import checked_line, good_lines, is_locked_error, lock, open_to_append
from corea.run.journal import TAKEOVER_SECONDS
from corea.types import ZERO_USD

ASK_AGAIN_SECONDS = 0.05
SLABS = 20  # grants of the whole budget for each shard, where all spend alike


class _GrantLine(msgspec.Struct, omit_defaults=True):
    shard: int
    owner: int = 0
    allowed_usd: Decimal | None = None


_decode = msgspec.json.Decoder(_GrantLine).decode
_encode = msgspec.json.Encoder(decimal_format="string").encode


@dataclass(slots=True)
class Grants:
    """The file of grants, open and locked. One coordinator writes it.

    Args:
        limit_usd: The budget of all shards together; None: no limit.
        shards: Their number.

    Attributes:
        owners: By shard, the number of its newest worker.
        written: Grants written by this process.

    Raises:
        ConfigError: Another coordinator holds it.
        DataError: It is damaged in its middle, or cannot be opened.
    """

    path: Path
    limit_usd: Decimal | None
    shards: int
    allowed_usd: dict[int, Decimal] = field(default_factory=dict[int, Decimal])
    owners: dict[int, int] = field(default_factory=dict[int, int])
    written: int = 0
    _descriptor: int = -1

    def __post_init__(self) -> None:
        self._descriptor = open_to_append(self.path)
        waited = 0.0
        while not lock(self._descriptor):
            if waited >= TAKEOVER_SECONDS:
                raise is_locked_error(self.path)
            time.sleep(0.1)
            waited += 0.1
        size = 0
        with open(self._descriptor, "rb", closefd=False) as lines:
            lines.seek(0)
            for offset, body in good_lines(lines, self.path, "a file of grants", "move it away"):
                size = offset + len(checked_line(body))
                self._note(_decode(body))
        os.ftruncate(self._descriptor, size)

    def own(self, shard: int) -> int:
        """The number of a new owner of a shard, higher than all before."""
        number = max(self.owners.values(), default=0) + 1
        self._write(_GrantLine(shard, owner=number))
        return number

    def grant(self, shard: int, committed_usd: Decimal, needed_usd: Decimal) -> Decimal:
        """The most that a shard may have spent from now on; an earlier grant beyond `committed_usd` is given back.

        Args:
            committed_usd: Its spending so far, and what is set aside for questions in flight.
            needed_usd: The least by which this must grow; 0 only gives back.
        """
        allowed = committed_usd
        if needed_usd and self.limit_usd is not None:
            others = reduce(EXACT.add, (usd for each, usd in self.allowed_usd.items() if each != shard), ZERO_USD)
            left = EXACT.subtract(EXACT.subtract(self.limit_usd, others), committed_usd)
            if left >= needed_usd:
                slab = round(self.limit_usd / (SLABS * self.shards), 12)
                allowed = EXACT.add(committed_usd, min(left, max(slab, needed_usd)))
        if allowed != self.allowed_usd.get(shard, ZERO_USD):
            self._write(_GrantLine(shard, allowed_usd=allowed))
        return allowed

    def close(self) -> None:
        """Unlocks and closes it."""
        os.close(self._descriptor)

    def _write(self, line: _GrantLine) -> None:
        data, size = checked_line(_encode(line)), os.fstat(self._descriptor).st_size
        try:
            if os.write(self._descriptor, data) < len(data):
                raise OSError(ENOSPC, os.strerror(ENOSPC))
            os.fsync(self._descriptor)
        except OSError as error:
            os.ftruncate(self._descriptor, size)
            raise DataError(f"cannot be written ({error.strerror}); make room", path=str(self.path)) from error
        self.written += 1
        self._note(line)

    def _note(self, line: _GrantLine) -> None:
        if line.owner:
            self.owners[line.shard] = line.owner
        if line.allowed_usd is not None:
            self.allowed_usd[line.shard] = line.allowed_usd


def last_owner(path: Path, shard: int) -> int:
    """The number of a shard's newest worker in a file of grants; 0 if that cannot be read."""
    found = 0
    try:
        with path.open("rb") as lines:
            for _, body in good_lines(lines, path, "a file of grants", "move it away"):
                line = _decode(body)
                found = line.owner or found if line.shard == shard else found
    except OSError:
        return 0
    return found


class Grant(NamedTuple):
    """The answer to a worker that asks for budget.

    Args:
        allowed_usd: The most that its shard may have spent.
        final: The amount asked for does not fit, and no other worker can give any back.
    """

    allowed_usd: Decimal
    final: bool = False


@dataclass(slots=True, kw_only=True)
class SharedBudget(Budget):
    """The budget of one worker, which grows by grants.

    Args:
        ask: Sends what is spent, set aside and needed to the coordinator, and returns its answer.
    """

    ask: Callable[[Decimal, Decimal, Decimal], Awaitable[Grant]]
    limit_usd: Decimal | None = ZERO_USD

    async def grow(self, at_most_usd: Decimal) -> bool:
        """Asks for a grant that this fits into; with nothing in flight, it waits for what other workers give back."""
        while True:
            given = await self._ask(at_most_usd)
            if self._fits(at_most_usd):
                return True
            if given.final or self.reserved_usd:
                return False
            await asyncio.sleep(ASK_AGAIN_SECONDS)

    async def give_back(self) -> None:
        """Returns what is neither spent nor set aside."""
        await self._ask(ZERO_USD)

    async def _ask(self, needed_usd: Decimal) -> Grant:
        given = await self.ask(self.spent_usd, self.reserved_usd, needed_usd)
        self.limit_usd = given.allowed_usd
        return given
