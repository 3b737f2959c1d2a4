"""Access to `languages.toml`, the word table: words of English and 25 other languages in which models answer.

The table is read when the first pattern that names one of its fields is compiled.
"""

import re
import tomllib
from functools import cache
from pathlib import Path

_ALSO_ENGLISH = frozenset(["certain"])
"""Stems that are searched only in texts with letters beyond ASCII."""


@cache
def _table() -> dict[str, dict[str, str | list[str]]]:
    return tomllib.loads(Path(__file__).with_name("languages.toml").read_text(encoding="utf-8"))


@cache
def _entries(field: str) -> tuple[str, ...]:
    """Entries of one field in all languages, the longest first, so that no alternative hides a longer one."""
    found: set[str] = set()
    for language in _table().values():
        entries = language.get(field, "")
        found.update(_alternatives(entries) if isinstance(entries, str) else entries)
    return tuple(sorted(found, key=lambda entry: (-len(entry), entry)))


def _alternatives(source: str) -> list[str]:
    """Alternatives at the top level of a pattern, without splitting its groups."""
    depth, begin, found = 0, 0, list[str]()
    for i, char in enumerate(source):
        depth += (char in "([") - (char in ")]")
        if char == "|" and depth == 0:
            found.append(source[begin:i])
            begin = i + 1
    return [entry for entry in [*found, source[begin:]] if entry]


@cache
def members(field: str) -> frozenset[str]:
    """Words of one field in all languages, as a set; for fields that hold no patterns."""
    return frozenset(_entries(field))


def expanded(source: str) -> str:
    """A pattern with the words of all languages in place of the fields that it names: "‹because›"."""
    return re.sub(r"‹(\w+)›", lambda field: expanded("|".join(_entries(field[1])).replace(" ", r"\s")), source)


@cache
def _stems(field: str, is_ascii: bool) -> tuple[str, ...]:
    return tuple(stem for stem in _entries(field) if not is_ascii or (stem.isascii() and stem not in _ALSO_ENGLISH))


def stems(field: str, low: str) -> tuple[str, ...]:
    """Strings of one field that can occur in a folded text; they are searched before any pattern is tried."""
    return _stems(field, low.isascii())
