"""Confidences in JSON objects and tables: one for each key, row or level, with the option that it belongs to."""

import re
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

from msgspec.structs import replace

from corea.parsing.numbers import Bare, first_number, plain
from corea.parsing.roles import Role, heads_another
from corea.parsing.statement import Statement

_MOST_ROWS = 24
_OBJECT_SPAN = 600
_LIST_SPAN = 1000

_ENTRY = re.compile(r"[\"']([^\"'\n]{1,60})[\"']\s{0,4}:\s{0,4}[\"']?(?=[~≈]?[.,]?\d)")
_ITS_VALUE = re.compile(
    r"(?:overall|final|total|value|score|confidence|probability|level|percent(?:age)?|number|numeric|estimate"
    r"|answer|p)(?:[_\s](?:value|score|confidence|answer))?"
)
_TOTAL = re.compile(r"\W{0,4}(?:overall|final|total|combined)")
_ANSWER_KEY = re.compile(
    r"[\"'](?:final_?)?(?:answer|option|choice|label|guess|candidate|value"
    r"|name)[\"']\s{0,4}:\s{0,4}[\"']?([^\"',}\n]{1,60})"
)
_OWNER = re.compile(r"[\"']([^\"'\n]{1,40})[\"']\s{0,4}:\s{0,4}$")
_EDGE = " \t*_`\"'$()[]{}.,:"


def keyed_object(low: str, begin: int, at: int, end: int) -> list[Statement]:
    """The numbers of `"confidence": {...}`, whose keys name a value or the options."""
    window = plain(low[begin : min(end, begin + _OBJECT_SPAN)])
    window = window[: window.find("}") % (len(window) + 1)]
    found: list[Statement] = []
    for entry in _ENTRY.finditer(window):
        number = first_number(window, entry.end(), bare=Bare.TAG)
        if number is None or number.value is None:
            continue
        if _ITS_VALUE.fullmatch(entry[1]):
            return [Statement.of(number, begin, at, is_key=True)]
        if len(found) < _MOST_ROWS:
            found.append(Statement.of(number, begin, at, option=entry[1], is_key=True))
    return found[::-1] or [Statement.unread(at, Role.PLAIN, key=True)]


def table_column(low: str, at: int, end: int) -> list[Statement]:
    """What stands under a "Confidence" column, the last first; nothing where the label heads no column."""
    head_start = low.rfind("\n", max(0, at - 400), at) + 1
    head_end = low.find("\n", at, min(end, at + 400))
    rule_end = low.find("\n", head_end + 1, min(end, head_end + 400)) if head_end >= 0 else -1
    if rule_end < 0 or low[head_end + 1 : rule_end].strip(" |:-+\r") or "-" not in low[head_end + 1 : rule_end]:
        return []
    column = low.count("|", head_start, at)
    row_start = rule_end + 1
    found: list[Statement] = []
    for _ in range(_MOST_ROWS):
        row_end = low.find("\n", row_start, min(end, row_start + 400))
        row = plain(low[row_start : row_end if row_end >= 0 else min(end, row_start + 400)])
        cells = row.split("|")
        if len(cells) <= column:
            break
        found += _cell(cells, column, row_start, at)
        if row_end < 0:
            break
        row_start = row_end + 1
    return found[::-1] or [Statement.unread(at, Role.PLAIN)]


def _cell(cells: list[str], column: int, row_start: int, at: int) -> list[Statement]:
    number = first_number(cells[column], bare=Bare.TAG)
    if number is None or number.value is None:
        return []
    names = [cell for i, cell in enumerate(cells) if i != column and cell.strip()]
    name = next((name for name in names if not name.strip(_EDGE).isdigit()), names[0] if names else "")
    role = Role.OVERALL if _TOTAL.match(name) else Role.OTHER if heads_another(name) else Role.PLAIN
    offset = row_start + sum(len(cell) + 1 for cell in cells[:column])
    option = "" if role is Role.OVERALL else name.strip(_EDGE)
    return [Statement.of(number, offset, at, role, option=option)]


def top_level(low: str, statements: list[Statement]) -> list[Statement]:
    """The statements, where those of keys that are a step's, an alternative's or deeper in the JSON are another's."""
    keys = [s for s in statements if s.is_key]
    if not keys:
        return statements
    depths = {keys[0].at: 0}
    for later, earlier in pairwise(keys):
        depths[earlier.at] = depths[later.at] - _levels(low, earlier.at, later.at)
    top = min(depths.values())
    lists = {at: _list_around(low, at) for at in depths}
    shared = Counter(lists.values())

    def changed(key: Statement) -> Statement:
        around = lists[key.at]
        option = key.option or (_answer_beside(low, key.at) if len(keys) > 1 else "")
        several = around is not None and shared[around] > 1 and not option
        if (
            depths[key.at] > top
            or several
            or (around is not None and _PART_LIST.search(low[max(0, around - 40) : around]))
        ):
            return replace(key, role=Role.OTHER)
        return replace(key, option=option)

    return [changed(s) if s.is_key else s for s in statements]


_PART_LIST = re.compile(
    r"[\"'][\w ]{0,20}(?:step|reason|thought|alternat|other|second|third|2nd|backup|initial|draft"
    r"|runner|verif|critique|sub_|check|premise|claim|evidence"
    r"|source)[\w ]{0,20}[\"']\s{0,4}:\s{0,4}\[?\s{0,4}$"
)
_BRACKET = re.compile(r"[\[\]{}]")


def _list_around(low: str, at: int) -> int | None:
    """Where the list begins in whose objects a key stands, else the object that some other key holds."""
    begin = max(0, at - _LIST_SPAN)
    depth, inner = 0, None
    for bracket in reversed(list(_BRACKET.finditer(low, begin, at))):
        depth += 1 if bracket[0] in "]}" else -1
        if depth < 0:
            if bracket[0] == "[":
                return bracket.start()
            inner, depth = (bracket.start() if inner is None else inner), 0
    return inner if inner is not None and low[begin:inner].rstrip().endswith(":") else None


def _levels(low: str, start: int, end: int) -> int:
    """How many more braces and brackets `low[start:end]` opens than it closes."""
    opened = low.count("{", start, end) + low.count("[", start, end)
    return opened - low.count("}", start, end) - low.count("]", start, end)


def _answer_beside(low: str, at: int) -> str:
    """The answer in the same JSON object as a key."""
    begin, stop = low.rfind("{", max(0, at - 300), at), low.find("}", at, at + 300)
    if begin < 0:
        return ""
    named = _ANSWER_KEY.search(low, begin, stop if stop >= 0 else at) or _OWNER.search(low[max(0, begin - 60) : begin])
    return named[1].strip(_EDGE) if named else ""


def of_the_answer(statements: list[Statement], answer: Callable[[], str | None]) -> list[Statement]:
    """The statements, where several options have one each: the stated answer's overall, the others another's."""
    options = {s.option for s in statements if s.option and s.role >= Role.EVENT}
    if len(options) < 2:
        return statements
    stated = (answer() or "").lower()
    stated = "" if "{" in stated else stated.strip(_EDGE)  # JSON that names no answer
    return [
        s if not s.option else replace(s, role=Role.OVERALL if stated and _names(s.option, stated) else Role.OTHER)
        for s in statements
    ]


def _names(option: str, answer: str) -> bool:
    """Whether an option, "b" or "b) paris", is the answer "b" or "paris"."""
    if option == answer:
        return True
    letter, _, rest = option.partition(")") if ")" in option else option.partition(". ")
    return bool(rest) and answer in (letter.strip(_EDGE), rest.strip(_EDGE))
