"""Shared by all readers: extracted values, lazy patterns, search, sentence boundaries, tables."""

import re
from typing import Generic, TypeVar, cast

from msgspec import Struct

from corea.parsing.languages import expanded, members

T = TypeVar("T")


class _LazyRegex:
    """A regular expression that is compiled when one of its methods is first needed."""

    def __init__(self, source: str, flags: int) -> None:
        self._source, self._flags = source, flags

    def __getattr__(self, name: str) -> object:
        compiled = re.compile(expanded(self._source), self._flags)
        for method in ("match", "search", "fullmatch", "finditer", "findall", "split", "sub"):
            setattr(self, method, getattr(compiled, method))  # later calls find it directly
        return getattr(compiled, name)


def regex(source: str, flags: int = 0) -> re.Pattern[str]:
    """A pattern that is compiled on first use; "‹because›" stands for that field of the word table."""
    return cast(re.Pattern[str], _LazyRegex(source, flags))  # it has the methods of a pattern


QUALIFIED = (
    r"final\s|correct(?:ed)?\s|right\s|best\s|most\s\w{1,14}\s|my\s|chosen\s|selected\s|overall\s|short\s|revised\s"
    r"|updated\s|new\s|actual\s|true\s"
)
"""Pattern of a qualifier of "answer"; `CONCLUSIONS`: up to two of them."""

CONCLUSIONS = rf"(?:{QUALIFIED}){{0,2}}"

LONGEST_TEXT = 200_000
"""Maximum characters read: of a longer text, its end, then a quarter as much of its start."""

LONGEST = 4000
"""Maximum characters of an answer."""

MOST_MENTIONS = 128
"""Maximum mentions of one word that are read, from the end of the text: bounds the work on hostile text."""


STYLED = (
    r"\\(?:text(?:bf|it|rm|sf|tt|normal)?|math(?:rm|bf|it|sf)|[mhf]box|boxed|emph|operatorname\*?|boldsymbol|bm|ce)\s*"
)
"""Pattern of a LaTeX command that only sets the style or frame of the argument in braces after it."""


class Extracted(Struct, Generic[T], frozen=True):
    """A value that a text states, and the characters `text[start:end]` that state it."""

    value: T
    start: int
    end: int


def fold(text: str) -> str:
    """`text` in lower case, of the same length (only one letter of Unicode grows when lowered)."""
    return (text.replace("İ", "I") if "İ" in text else text).lower()


def ends_of(text: str) -> list[tuple[int, str]]:
    """The parts of a text to read, with their offsets, the best first: all, or both ends of a huge one."""
    if len(text) <= LONGEST_TEXT:
        return [(0, text)]
    return [(len(text) - LONGEST_TEXT, text[-LONGEST_TEXT:]), (0, text[: LONGEST_TEXT // 4])]


def mentions(low: str, word: str, start: int, end: int, most: int = MOST_MENTIONS) -> list[int]:
    """Positions of `word` in `low[start:end]`, the last first, at most `most` of them."""
    found: list[int] = []
    at = low.rfind(word, start, end)
    while at >= 0 and len(found) < most:
        found.append(at)
        at = low.rfind(word, start, at)
    return found


def positions(low: str, stems: tuple[str, ...], start: int, end: int, most: int) -> list[int]:
    """Positions of any of the stems in `low[start:end]`, the last first, at most `most` of them."""
    found: list[int] = []
    for stem in stems:
        if (at := low.rfind(stem, start, end)) >= 0:
            found.append(at)
            found += mentions(low, stem, start, at, most - 1)
    return sorted(set(found), reverse=True)[:most] if len(found) > 1 else found


Row = tuple[int, int, list[str]]
"""Start of a cell of a table, the number of its column, and all cells of its row."""


def table_rows(low: str, at: int, end: int, most: int) -> list[Row] | None:
    """Rows of a Markdown table below the heading at `at`; None if it heads no column."""
    head_end = low.find("\n", at, min(end, at + 400))
    rule_end = low.find("\n", head_end + 1, min(end, head_end + 400)) if head_end >= 0 else -1
    rule = low[head_end + 1 : rule_end]
    if rule_end < 0 or rule.strip(" |:-+\r") or "-" not in rule:
        return None
    column = low.count("|", low.rfind("\n", max(0, at - 400), at) + 1, at)
    begin, found = rule_end + 1, list[Row]()
    for row in low[begin : min(end, begin + 400 * most)].split("\n")[:most]:
        cells = row[:400].split("|")
        if len(cells) <= column:
            break
        found.append((begin + sum(len(cell) + 1 for cell in cells[:column]), column, cells))
        begin += len(row) + 1
    return found


_BRACE = regex(r"[{}]")


def closing_brace(low: str, opening: int, limit: int) -> int:
    """Position of the brace that closes the one at `opening`, before `limit`; -1 if none does."""
    depth = 0
    for brace in _BRACE.finditer(low, opening, limit):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return brace.start()
    return -1


_INVISIBLE = regex(
    r"[\s\x00-\x20\x7f-\xa0\xad\u034f\u061c\u115f\u180e\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufe0f\ufeff]*"
)


def is_blank(text: str) -> bool:
    """True if a text shows nothing: Unicode white space, control characters, and characters of zero width."""
    return _INVISIBLE.fullmatch(text) is not None


def lead(text: str, characters: str | None) -> int:
    """Number of leading characters among `characters`, or of leading white space."""
    return len(text) - len(text.lstrip(characters))


_STARTER = regex(r"[\s\"'*_()\[\]]{0,6}(?:‹starter›)(?![\w.'])", re.I)
_SAFE = regex(r"[.!?。！？।\n](?:(?<![.!?])|(?=[\s\"'”’)\]*_<]|\Z))")
_NUMBERED = regex(r"[.]\s{0,3}\d")


def ends_here(text: str, at: int, begin: int = 0) -> bool:
    """True if the mark at `at`, with space after it, ends a sentence that begins at `begin` or before.

    No sentence ends after "Mr.", "J. K.", "U.S.", "No. 5", "e.g." or "3 p.m.", nor inside "3.5".
    """
    if text[at] != ".":
        return True
    token = _word_before(text, max(begin, at - 16), at)
    if not token[:1].isalpha():
        return not (token and _lists(text, at - len(token), at))
    if len(token) > 6 and "." not in token:
        return True  # no abbreviation
    rest = text[at + 1 : at + 30]
    if "\n" in rest[: len(rest) - len(rest.lstrip())] or not rest.strip():
        return True
    low = token.lower()
    counted = text[max(begin, at - len(token) - 2) : at - len(token)].strip()[-1:].isdigit()
    if low in members("abbreviation") and not counted:
        return False
    if low in ("no", "nos", "nr", "p"):
        return not _NUMBERED.match(text, at)
    initial = "." in token or (len(token) == 1 and token.isupper())
    if initial or low in members("final_abbreviation") or low in members("abbreviation"):
        follows = rest.lstrip(" *_\"'(")
        return (_STARTER.match(rest) is not None and follows[:1].isupper()) or not (
            follows[:1].isalnum() or follows[:1] in "$\\-&"
        )
    return not (len(token) == 1 and rest.lstrip()[:1].islower())


def _word_before(text: str, start: int, at: int) -> str:
    """The letters, digits and inner periods before `at`: "U.S", "J", "12"."""
    begin = at
    while begin > start and (text[begin - 1].isalnum() or text[begin - 1] == "."):
        begin -= 1
    return text[begin:at].lstrip(".")


def _lists(text: str, start: int, at: int) -> bool:
    """True if digits before a period number a line of a list ("2. Paris")."""
    line = text[max(0, start - 6) : start]
    return (
        text[start:at].isdigit()
        and at - start < 3
        and line.rsplit("\n", 1)[-1].strip(" *_#(") == ""
        and ("\n" in line or start < 6)
    )


_CLAUSE = regex(r"[.!?;](?:(?=\s)|(?<=\.)\.\.)")
_CLAUSE_OR_LINE = regex(r"\n|[.!?;](?:(?=\s)|(?<=\.)\.\.)")
_LIST_MARK = regex(r"[\s*_#>(-]{0,6}(?:\d{1,2}|[a-z])")


def clause_before(before: str) -> str:
    """The end of a text from the start of its last sentence or line; "1." starts none."""
    line = before[before.rfind("\n") + 1 :]
    last = 0
    for mark in _CLAUSE.finditer(line):
        if mark[0] != "." or not _LIST_MARK.fullmatch(line, last, mark.start()):
            last = mark.end()
    return line[last:]


def clause_end(words: str, start: int, end: int | None = None) -> int:
    """End of the clause or line of `words[:end]` that goes on at `start`; -1 if it goes on to its end."""
    found = _CLAUSE_OR_LINE.search(words, start, len(words) if end is None else end)
    return found.start() if found else -1


def sentence_end(text: str, start: int, end: int) -> int:
    """End, before `end`, of the sentence that `start` is in."""
    for mark in _SAFE.finditer(text, start, end):
        if mark[0] == "\n" or ends_here(text, mark.start(), start):
            return mark.start()
    return end


def last_sentence(text: str, start: int, end: int) -> int:
    """Start of the last sentence of `text[start:end]`; a displayed formula counts with its first line."""
    limit = end
    for left, right in (("\\[", "\\]"), ("$$", "$$")):
        if text.endswith(right, start, end) and (opened := text.rfind(left, start, end - 2)) >= 0:
            limit = opened + 1
    for reach in (200, 500):  # most sentences are short
        begin = max(start, limit - reach)
        for mark in reversed(list(_SAFE.finditer(text, begin, limit))):
            after = text[mark.end() : limit].strip(" \t\n*_)\"'")
            if after and (mark[0] == "\n" or ends_here(text, mark.start(), begin)):
                return mark.end()
        if begin == start:
            break
    return begin
