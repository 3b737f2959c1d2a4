"""Numbers of the documentation and the stored results that they come from.

A section of a page whose numbers come from `experiments/results/` ends with a block that names them:

    <!-- checked
    saves 27.1 % = pair/in_domain.json#coreas.saving percent1
    1,446        = pair/in_domain.json#coreas.questions n
    -->

Left: words of the section, in their order, that end with the number. Right: the file, the path into it (list indices
are numbers), and the format: percent0..percent2, f0..f4 (decimals), n (thousands separators), usd4, or s (as stored).
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "experiments" / "results"
BLOCK = re.compile(r"(?ms)^<!-- checked\n(.*?)^-->$")
HEADING = re.compile(r"(?m)^#+ ")
LINE = re.compile(r"(.+?) += (\S+#.+ \w+)")  # a key of the path may hold spaces


def show(value: object, how: str) -> str:
    if how == "s":
        return str(value)
    if how == "n":
        return f"{int(value):,}"  # pyright: ignore[reportArgumentType]
    number, digits = float(value), int(how[-1])  # pyright: ignore[reportArgumentType]
    if how.startswith("percent"):
        return f"{100 * number:.{digits}f} %"
    return f"${number:.{digits}f}" if how.startswith("usd") else f"{number:.{digits}f}"


@cache
def stored(path: Path) -> Any:
    return json.loads(path.read_text())


def look_up(source: str) -> str:
    """The formatted value of `file.json#path format`; ValueError where nothing is stored under it."""
    place, _, how = source.rpartition(" ")
    file, _, path = place.partition("#")
    try:
        value = stored(RESULTS / file)
        for key in path.split("."):
            value = value[int(key)] if isinstance(value, list) else value[key]
        return show(value, how)
    except (OSError, KeyError, IndexError, ValueError, TypeError) as error:
        raise ValueError(f"{place}: no such stored result ({type(error).__name__}: {error})") from error


@dataclass
class Quote:
    """One line of a block: words that end with the number, its source, and where both numbers end in the page."""

    words: str
    source: str
    in_block: int
    in_text: int | None  # None: the words are not in the block's section, or not in this order

    @property
    def number(self) -> str:
        found = re.search(r"[^\s(]+(?: %)?$", self.words)
        return found[0] if found else self.words


def quotes(text: str) -> Iterator[Quote]:
    """Each quoted number of a page, in order."""
    for block in BLOCK.finditer(text):
        start = max((head.start() for head in HEADING.finditer(text, 0, block.start())), default=0)
        for line in re.finditer(r"(?m)^.+$", block[1]):
            parts = LINE.fullmatch(line[0])
            if parts is None:
                raise ValueError(f"checked block: got {line[0]!r}, expected `words = file.json#path format`")
            words = r"[\s*>|]+".join(map(re.escape, parts[1].split()))
            found = re.compile(rf"(?<![\w.,]){words}(?!\w|[.,]\d)").search(text, start, block.start())
            start = found.end() if found else start
            yield Quote(parts[1], parts[2], block.start(1) + line.start() + len(parts[1]), found and found.end())


def wrong_numbers(text: str) -> list[str]:
    found: list[str] = []
    try:
        for quote in quotes(text):
            value = look_up(quote.source)
            if quote.number != value:
                found.append(f"got {quote.number!r}, stored is {value!r} ({quote.source})")
            if quote.in_text is None:
                found.append(f"{quote.words!r} is not in its section, or not in this order ({quote.source})")
    except ValueError as error:
        found.append(str(error))
    return found


def refreshed(text: str) -> str:
    """The page with every quoted number as it is stored, in the text and in the block."""
    changes = [
        (end, quote.number, look_up(quote.source))
        for quote in quotes(text)
        for end in (quote.in_block, quote.in_text)
        if end is not None
    ]
    for end, old, new in sorted(changes, reverse=True):
        text = text[: end - len(old)] + new + text[end:]
    return text
