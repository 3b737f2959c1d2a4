"""What all readers share: a found value with its place, and folded case."""

import re
from typing import Generic, TypeVar

from msgspec import Struct

from corea.parsing.thinking import outside_thinking as outside_thinking  # shared by the readers

T = TypeVar("T")

QUALIFIED = (
    r"final\s|correct(?:ed)?\s|right\s|best\s|most\s\w{1,14}\s|my\s|chosen\s|selected\s|overall\s|short\s|"
    r"revised\s|updated\s|new\s|actual\s|true\s"
)
"""What may stand before "answer", as a pattern; `CONCLUSIONS` where nothing need."""

CONCLUSIONS = rf"(?:{QUALIFIED}){{0,2}}"

LONGEST_TEXT = 200_000
"""Characters of a text that are read; of a longer one, its end, then a quarter as much of its start."""

LONGEST = 4000
"""Characters of an answer; what is longer was not meant as one."""

MOST_MENTIONS = 128
"""Mentions of one word that a reader looks at, from the end of the text: what keeps hostile text cheap."""


class Extracted(Struct, Generic[T], frozen=True):
    """A value that a text states, and the characters `text[start:end]` that state it."""

    value: T
    start: int
    end: int


def fold(text: str) -> str:
    """`text` in lower case, character for character (only one letter of Unicode grows when lowered)."""
    return (text.replace("İ", "I") if "İ" in text else text).lower()


def ends_of(text: str) -> list[tuple[int, str]]:
    """The parts of a text to read, with their offsets, the best first: all, or both ends of a huge one."""
    if len(text) <= LONGEST_TEXT:
        return [(0, text)]
    return [(len(text) - LONGEST_TEXT, text[-LONGEST_TEXT:]), (0, text[: LONGEST_TEXT // 4])]


def mentions(low: str, word: str, start: int, end: int, most: int = MOST_MENTIONS) -> list[int]:
    """Where `word` occurs in `low[start:end]`, last first, at most `most` of them."""
    found: list[int] = []
    at = low.rfind(word, start, end)
    while at >= 0 and len(found) < most:
        found.append(at)
        at = low.rfind(word, start, at)
    return found


_BRACE = re.compile(r"[{}]")


def closing_brace(low: str, opening: int, limit: int) -> int:
    """The brace that closes the one at `opening`, before `limit`; -1 if none does."""
    depth = 0
    for brace in _BRACE.finditer(low, opening, limit):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return brace.start()
    return -1


_INVISIBLE = re.compile(
    r"[\s\x00-\x20\x7f-\xa0\xad\u034f\u061c\u115f\u180e\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufe0f\ufeff]*"
)


def is_blank(text: str) -> bool:
    """Whether a text shows nothing: white space as Unicode has it, controls, and characters of no width."""
    return _INVISIBLE.fullmatch(text) is not None


def lead(text: str, characters: str) -> int:
    """How many of its first characters are among `characters`."""
    return len(text) - len(text.lstrip(characters))
