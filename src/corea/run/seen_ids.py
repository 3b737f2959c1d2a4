"""Ids and what became of each row, in a few bytes a row, so that a run's memory stays flat."""

from array import array
from hashlib import blake2b

from corea.types import Question

EMPTY = 0  # slots hold row + 1
MASK = (1 << 64) - 1


def key_of(text: str) -> int:
    """64 bits of a text's hash; two of a million texts share one with a chance of 3 in 100 million."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def fingerprint_of(question: Question) -> int:
    """64 bits that change with whatever a model is asked, or the id."""
    parts = [question.id, *question.choices]
    for message in question.messages:
        parts += (message.role, message.content, "" if message.raw is None else repr(message.raw))
    return key_of("\x1f".join(parts))


class Identities:
    """The ids seen so far, each with the line it was on: 12 bytes a row and at most 8 more for the index."""

    def __init__(self) -> None:
        self._keys = array("Q")
        self._lines = array("I")
        self._slots = array("I", bytes(4 * 1024))

    def add(self, identity: str, line: int) -> int | None:
        """Takes an id in; gives the line where it was seen before, or None if it is new."""
        key = hash(identity) & MASK  # of this process only, and seeded: nobody can make two alike
        slot = self._find(key)
        if self._slots[slot] != EMPTY:
            return self._lines[self._slots[slot] - 1]
        self._keys.append(key)
        self._lines.append(line)
        self._slots[slot] = len(self._keys)
        if len(self._keys) * 3 > len(self._slots) * 2:
            self._grow()
        return None

    def __len__(self) -> int:
        return len(self._keys)

    def _find(self, key: int) -> int:
        """The slot of a key, or the empty one where it belongs: open addressing, step by step."""
        mask = len(self._slots) - 1
        slot = key & mask
        while (entry := self._slots[slot]) != EMPTY and self._keys[entry - 1] != key:
            slot = (slot + 1) & mask
        return slot

    def _grow(self) -> None:
        self._slots = array("I", bytes(4 * 2 * len(self._slots)))
        for row, key in enumerate(self._keys, 1):
            self._slots[self._find(key)] = row
