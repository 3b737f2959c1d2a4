"""Confidences that a tag, a JSON key, a table or a label states, each with its role."""

import re

from corea.parsing.confidence_roles import (
    OPTION_EDGE,
    below,
    clause_before,
    heads_another,
    is_statistical,
    line_above,
    of_another,
    option_of,
    role_of,
)
from corea.parsing.confidence_values import (
    WITHHELD,
    ConfidenceRole,
    StatedConfidence,
    counts_things,
    leading_number,
    lists_options,
    stating_number,
    value_behind,
)
from corea.parsing.numbers import Unscaled, first_number, number_at, plain
from corea.parsing.text import mentions, regex

LABEL = regex(
    r"conf(?:idence|ident)?s?(?P<blocked>[\s_-]{0,2}(?:interval|limit|bound|region|band|set|ind(?:ex|ices)|threshold"
    r"|parameter|cut-?off|coefficient)s?)?(?:[\s_-]{0,2}(?:level|score|rating|value|estimate|assessment|percentage"
    r"|percent|pct|probability)s?)?(?![a-z])(?:\.(?=\s?[:=]))?"
    r"|(?P<right>(?:probability|likelihood|chance)\s(?:(?=correct)|of\s(?:being\s|the\sanswer\sbeing\s)?|that\si(?:'m"
    r"|\sam)\s|that\s(?:my|the|this)\s(?:answer|solution)\sis\s)(?:correct(?:ness)?|right)|accuracy\sof\s(?:my"
    r"|this)\s(?:answer|solution)|p\((?:(?:my|the|this)\s)?(?:answer\s(?:is\s|being\s)?)?(?:correct|true|right)\))"
    r"|prob(?:ability)?(?P<field>_(?!of_(?!being|correct|answer))[a-z_]{1,30}|_?yes|_?correct)?(?![a-z])"
    r"|likelihood(?![a-z])"
    r"|(?P<reversed>uncertainty(?:[\s_-](?:level|score|estimate))?(?![a-z]))"
    r"|certainty(?:[\s_-](?:level|score))?(?![a-z])|(?:‹confidence›)(?:(?<![a-zć])|(?![a-z]))"
    r"|(?P<foreign>‹probability›)"
)
"""A label; `blocked`, a term of statistics; `right`, `field`, an event that is the answer's being right; `reversed`."""
LABEL_STEMS = (
    "conf",
    "prob",
    "likelihood",
    "certainty",
    "chance of",
    "chance that",
    "accuracy of",
    "p(correct",
    "p(true",
    "p(right",
    "p(answer",
    "p(my a",
    "p(the a",
)
_AHEAD, _BACK, _TAG, _MOST = 200, 90, 600, 48
_SCALE = regex(
    r"\s{0,2}[\[(](?P<inside>[^()\[\]\n]{1,60})[\])](?=[\s*_\"'`]{0,6}[:=|→-])"
    r"|\s{1,2}(?:in|as)\s(?:a\s)?(?P<percent>%|percent(?:age)?)(?![a-z])"
    r"|\s?(?P<sign>%)(?=[*_]{0,2}\s?[:=])"
    r"|[\s,]{1,2}(?:on\sa\s(?P<points>\d{1,3})[-\s]point\sscale|on\sa\sscale\s(?:of|from|between)?\s?\d{1,3}\s?(?:-|to"
    r"|and)\s?(?P<top>\d{1,3})|(?:out\sof|(?:(?:from|between)\s)?\d{1,3}\s?(?:-|to"
    r"|and))\s?(?P<last>\d{1,3})(?=[*_]{0,2}\s?:))"
)
SCALE_BEFORE = regex(
    r"scale\s(?:of|from|between)?\s?\d{1,3}\s?(?:-|to|and)\s?(?P<top>\d{1,3})[,:]?\s(?:[a-z']{1,8}\s){0,5}$"
)
_SEPARATED = regex(
    r"(?P<about>[ \t_]{0,2}\(?(?:(?<=[ \t_(])(?:in|of|for|about|that|regarding|before|after|now|at|on"
    r"|‹about›)(?![a-z])[^\n:=|→{}<>]{0,70}"
    r"|(?<=\()[a-j0-9]{1,2}))?[ \t*_\"'`)\]\\$}~]{0,10}(?:</\w{1,6}>\s?)?(?P<mark>[:=≈]+>?|→|-{1,2}>|\||-{1,2}(?=\s)|\n"
    r"|\s?(?:am\si|are\syou)(?:\s[^?\n]{1,40})?\?|(?:已)?(?:降|升|提高|提升|调整|調整|下调|上调|改|修正|更新|下降|上升)?(?:低)?(?:为|為|至|到)|是"
    r"|[はがを은는을를]|составляет|beträgt|liegt\sbei|wynosi)"
)
_STATISTICS_BEHIND = regex(r"margin of error|z-?(?:score|\*)?\s?=|sample size|critical value|(?<!\w)n\s?=|interval")
_OBJECT = regex(r"s?[\"']\s{0,4}:\s{0,4}\{")
_NEXT_TO = regex(
    r"(?:[\s*_`\"'$\\()\[\]{}~≈<>≥&#]|(?:is|of|at|about|around|approximately|roughly|text|mathbf|boxed)(?![a-z])){0,40}"
)
_NEXT_OPTION = regex(r"[;,]\s?(?:and\s)?(?:for\s|in\s)?\(?[a-j]\)?\s?[:=]")
_IN_CODE = regex(
    r"```(?:py|js|java|r|c|cpp|bash|sh)(?:thon|script)?\s[^`]*$"
    r"|\w\((?:[^()\n]{0,40},\s?)?$|^`$|\n`$"
)
_LEVEL = regex(r"level|niveau|水平|水準|수준")
_SPAN = regex(r"\d\s?(?:-|to|=|and)|(?:/|of|scale|max\w*|points?)\s?\d")
_MOST_ROWS = 24
_OBJECT_SPAN = 600
_ENTRY = regex(r"[\"']([^\"'\n]{1,60})[\"']\s{0,4}:\s{0,4}[\"']?(?=[~≈]?[.,]?\d)")
_ITS_VALUE = regex(
    r"(?:overall|final|total|value|score|confidence|probability|level|percent(?:age)?|number|numeric|estimate|answer"
    r"|p)(?:[_\s](?:value|score|confidence|answer))?"
)
_TOTAL = regex(r"\W{0,4}(?:overall|final|total|combined)")


def labelled(low: str, start: int, end: int, stems: tuple[str, ...] = LABEL_STEMS) -> list[StatedConfidence]:
    """What labels with these stems in `low[start:end]` state, the last first."""
    found: list[StatedConfidence] = []
    for at in positions(low, stems, start, end, _MOST):
        if at > start and low[at - 1].isalpha() and low[at - 1].isascii():
            if not low.startswith("uncertainty", at - 2):
                continue
            at -= 2
        found += _stated(low, start, end, at)
    return found


def positions(low: str, stems: tuple[str, ...], start: int, end: int, most: int) -> list[int]:
    """Where any of the stems occurs, last first, at most `most` of them."""
    found: list[int] = []
    for stem in stems:
        if (at := low.rfind(stem, start, end)) >= 0:
            found.append(at)
            found += mentions(low, stem, start, at, most - 1)
    return sorted(found, reverse=True)[:most] if len(found) > 1 else found


def _stated(low: str, start: int, end: int, at: int) -> list[StatedConfidence]:
    """What the label at one place states: nothing where it is no label, several where it heads a table."""
    ahead = min(at + _AHEAD, end)
    window = plain(low[at:ahead])
    label = LABEL.match(window)
    if not label or label["blocked"]:
        return []
    before = plain(low[max(start, at - _BACK) : at])
    if before.endswith(("</", "[/", "<\\/")):
        return _listed(_before_closing_tag(before, at))
    if before.endswith(("<", "&lt;", "[")) and _opens_tag(window, label.end(), before):
        return _listed(_tag_content(low, label.end() + at, at, end))
    if "|" in window[label.end() : label.end() + 24] and (column := table_column(low, at, end)):
        return column
    if before.endswith(('"', "'")) and (opened := _OBJECT.match(window, label.end())):
        return keyed_object(low, at + opened.end(), at, end)
    return _listed(_after_label(low, before, window, label, at, end))


def _listed(statement: StatedConfidence | None) -> list[StatedConfidence]:
    return [statement] if statement else []


def _opens_tag(window: str, pos: int, before: str) -> bool:
    return window.startswith("]", pos) if before.endswith("[") else not window[pos : pos + 1].isspace()


def _tag_content(low: str, pos: int, at: int, end: int) -> StatedConfidence | None:
    """What an opening tag holds, up to the next one: the number that states the confidence, words allowed."""
    window = plain(low[pos : min(pos + _TAG, end)])
    if window.startswith((">", "]", "&gt;")):
        begin = 4 if window[0] == "&" else 1
    else:  # <confidence value="0.8">, <confidence: 0.8>
        opened = window.find(">", 0, 40)
        attribute = first_number(window, 0, bare=Unscaled.TAG)
        begin = 0 if opened < 0 or (attribute and attribute.start < opened) else opened + 1
    close = min(
        (i for i in (window.find(c, begin) for c in ("<", "&lt;", "[/", "\n\n\n")) if i >= 0), default=len(window)
    )
    content = window[:close]
    if not content[begin:].strip():
        return None if pos + close >= end else StatedConfidence.unread(at, ConfidenceRole.PLAIN)
    if WITHHELD.match(content, begin) or lists_options(content, begin):
        return StatedConfidence.unread(at, ConfidenceRole.PLAIN)
    ends_text = pos + close >= end and close == len(window)
    number = leading_number(content, begin, Unscaled.TAG, None, ends_text) or stating_number(
        content, begin, bare=Unscaled.TAG, whole=None, ends_text=ends_text
    )
    if number is None or number.value is None:
        return None if number and ends_text else StatedConfidence.unread(at, ConfidenceRole.PLAIN)
    bare_zero = number.value == 0 and not number.fractional and not number.scaled
    if bare_zero and ends_text and content[number.end :] == ".":
        return None
    return StatedConfidence.of(number, pos, at)


def _before_closing_tag(before: str, at: int) -> StatedConfidence | None:
    """The number just before a closing tag whose opening tag is missing."""
    if "conf" in before or "prob" in before:
        return None  # its opening tag is near, and is looked at next
    offset = at - len(before)
    tail = re.search(r"(?:[\d.,]{1,12})\s{0,3}%?\s{0,3}(?:</|\[/|<\\/)$", before)
    if not tail or (tail.start() and before[tail.start() - 1].isalnum()):
        return None
    number = number_at(before, tail.start(), bare=Unscaled.TAG)
    if number is None or number.value is None:
        return None
    return StatedConfidence.of(number, offset, at)


def _after_label(
    low: str, before: str, window: str, label: re.Match[str], at: int, end: int
) -> StatedConfidence | None:
    """What stands behind a key or a label with its separator: a number, words, or nothing."""
    pos, whole = label.end(), None
    if scale := _SCALE.match(window, pos):
        whole, pos = _top_of_scale(scale), scale.end()
    elif above := SCALE_BEFORE.search(before):
        whole = int(above["top"])
    about_event = window.startswith(("prob", "likelihood", "p(", "chance", "accuracy")) and not label["foreign"]
    is_key = before.endswith(('"', "'"))
    asked = label["field"] or label["right"] or (is_key and "answer" in low)
    separated = _SEPARATED.match(window, pos)
    clause = clause_before(before)
    if separated and not _is_heading(separated, clause, before, is_key):
        return None
    if not separated:
        return None if about_event else _adjacent(clause, window, label, pos, whole, at, low, end)
    about = separated["about"] or (scale["inside"] or "" if scale and whole is None else "")
    if about_event and not _asked_for(about, clause, before, window, separated, label, asked=bool(asked)):
        return None
    if "and confidence" in before + window[:12] and "answer" in clause:  # "Answer and Confidence (0-100): B, 85%"
        line_end = window.find("\n", separated.end())
        comma = window.rfind(",", separated.end(), line_end if line_end >= 0 else len(window)) + 1
        begin = max(separated.end(), comma)
    else:
        begin = separated.end()
    role = role_of(clause, about) if clause or about else ConfidenceRole.PLAIN
    option = option_of(clause, about) if clause or about else ""
    if not about and not clause.strip(" \t*_#>-"):
        role, option = below(line_above(before, len(before) - len(clause)))
    if whole is None and (scale := _SCALE.search(about + ":")):
        whole = _top_of_scale(scale)
    value = value_behind(
        window,
        begin,
        separated,
        Unscaled.PERCENT if about_event else Unscaled.LABEL,
        whole,
        at + len(window) >= len(low),
    )
    if value is None:
        return None
    if about_event and not label["right"]:
        role = min(role, ConfidenceRole.EVENT)
    if isinstance(value, ConfidenceRole):
        return StatedConfidence.unread(at, min(value, role) if role <= ConfidenceRole.EVENT else value, key=is_key)
    if about_event and not asked and not _closes(low, at + value.stop):
        return None
    if _is_statistical(label[0], low, at + value.stop, end):
        return None
    if option and _NEXT_OPTION.match(window, value.stop):
        return StatedConfidence.unread(at, ConfidenceRole.OTHER)
    return StatedConfidence.of(value, at, at, role, option=option, is_key=is_key, turned=bool(label["reversed"]))


def _adjacent(
    clause: str,
    window: str,
    label: re.Match[str],
    pos: int,
    whole: int | None,
    at: int,
    low: str,
    end: int,
) -> StatedConfidence | None:
    """A label with its number next to it: "confidence 0.9", "confidence of 90%"."""
    number = first_number(window, pos, bare=Unscaled.LABEL, whole=whole, ends_text=at + len(window) >= len(low))
    gap = _NEXT_TO.match(window, pos)
    if number is None or number.value is None or gap is None or gap.end() < number.start:
        return None
    if (
        "\n" in window[pos : number.start]
        or not (number.whole or number.fractional)
        or counts_things(number, window)
        or is_statistical(low, at, end)
        or of_another(clause)
    ):
        return None
    option = "" if label["reversed"] else option_of(clause, "")
    return StatedConfidence.of(number, at, at, role_of(clause, ""), option=option, turned=bool(label["reversed"]))


def _is_heading(separated: re.Match[str], clause: str, before: str, is_key: bool) -> bool:
    """Whether a label and what follows are no part of running text."""
    head = clause.strip(" \t*_#>|\"'`{,([-~$\\")
    mark = separated["mark"]
    if separated["about"] and (len(head) > 30 or ("=" in mark and "that" in separated["about"])):
        return False  # "I am confident that f(2) = 18"
    if separated.string.startswith("confident") and not is_key and "?" not in mark and (mark != ":" or head):
        return False
    if "=" in mark and _IN_CODE.search(before):
        return False
    if mark == "\n" or (mark.startswith("-") and ">" not in mark):
        return (not head or _ends_head(head)) and (mark != "\n" or bool(separated["about"]) is False)
    return is_key or not re.search(
        r"(?:reason|basis|rationale|explanation|justification)s?\s(?:for|of|behind)\s(?:my\s|this\s|the\s)?$", before
    )


def _ends_head(head: str) -> bool:
    return head.endswith((":", "my", "overall", "final", "(", "**")) or len(head) <= 40


def _asked_for(
    about: str, clause: str, before: str, window: str, separated: re.Match[str], label: re.Match[str], *, asked: bool
) -> bool:
    """Whether a probability is that of the answer's being right, not one of the question's own."""
    if re.search(r"(?<!\w)(?:wrong|incorrect|error|false|mistak\w{1,3})(?!\w)", clause + about):
        return False
    if re.search(r"(?<!\w)correctness[\s_]$", clause) or re.search(
        r"(?:answer|solution)\s(?:is|being)\s(?:correct|right)|(?:of|being)\s(?:correct|right)", about
    ):
        return True
    if not asked and (not _heads_line(before) or window.startswith(("chance", "accuracy"))):
        return False
    return asked or (not about and "=" not in separated["mark"])


def _heads_line(before: str) -> bool:
    """Whether a label begins its line, but for markup or "The final answer is:"."""
    line = before.rpartition("\n")[2].strip(" \t*_#>-|\"'`{,")
    return not line or line.endswith(":") or before.rstrip().endswith((".", "**"))


def _closes(low: str, stop: int) -> bool:
    """Whether a line "Probability: 0.25" is the text's last word, not a step of its mathematics."""
    rest = low[stop : stop + 400]
    line = rest.partition("\n")[0].strip(" .*_`$\\)]}|\"',<>/abcdefghijklmnopqrstuvwxyz")
    return (
        not line
        and len(rest) < 400
        and not any(mark in rest for mark in ("boxed", "####", "=", "answer:", "answer is"))
    )


def _is_statistical(label: str, low: str, stop: int, end: int) -> bool:
    """Whether "confidence level: 95%" is a term of the statistics that go on behind it."""
    return _LEVEL.search(label) is not None and _STATISTICS_BEHIND.search(low, stop, min(end, stop + 80)) is not None


def _top_of_scale(scale: re.Match[str]) -> int | None:
    """What "(0-100)", "(out of 10)", "(%)" or "on a scale of 1 to 10" say the number is out of."""
    if scale["percent"] or scale["sign"]:
        return 100
    if top := scale["points"] or scale["top"] or scale["last"]:
        return int(top)
    inside = scale["inside"]
    if "%" in inside or "percent" in inside:
        return 100
    numbers = re.findall(r"\d{1,4}(?:\.0)?", inside) if _SPAN.search(inside) else []
    top = float(numbers[-1]) if numbers else 0.0
    return int(top) if top in (1, 5, 7, 10, 100) else None


def keyed_object(low: str, begin: int, at: int, end: int) -> list[StatedConfidence]:
    """The numbers of `"confidence": {...}`, whose keys name a value or the options."""
    window = plain(low[begin : min(end, begin + _OBJECT_SPAN)])
    window = window[: window.find("}") % (len(window) + 1)]
    found: list[StatedConfidence] = []
    for entry in _ENTRY.finditer(window):
        number = first_number(window, entry.end(), bare=Unscaled.TAG)
        if number is None or number.value is None:
            continue
        if _ITS_VALUE.fullmatch(entry[1]):
            return [StatedConfidence.of(number, begin, at, is_key=True)]
        if len(found) < _MOST_ROWS:
            found.append(StatedConfidence.of(number, begin, at, option=entry[1], is_key=True))
    return found[::-1] or [StatedConfidence.unread(at, ConfidenceRole.PLAIN, key=True)]


def table_column(low: str, at: int, end: int) -> list[StatedConfidence]:
    """What stands under a "Confidence" column, the last first; nothing where the label heads no column."""
    head_start = low.rfind("\n", max(0, at - 400), at) + 1
    head_end = low.find("\n", at, min(end, at + 400))
    rule_end = low.find("\n", head_end + 1, min(end, head_end + 400)) if head_end >= 0 else -1
    if rule_end < 0 or low[head_end + 1 : rule_end].strip(" |:-+\r") or "-" not in low[head_end + 1 : rule_end]:
        return []
    column = low.count("|", head_start, at)
    row_start = rule_end + 1
    found: list[StatedConfidence] = []
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
    return found[::-1] or [StatedConfidence.unread(at, ConfidenceRole.PLAIN)]


def _cell(cells: list[str], column: int, row_start: int, at: int) -> list[StatedConfidence]:
    number = first_number(cells[column], bare=Unscaled.TAG)
    if number is None or number.value is None:
        return []
    names = [cell for i, cell in enumerate(cells) if i != column and cell.strip()]
    name = next((name for name in names if not name.strip(OPTION_EDGE).isdigit()), names[0] if names else "")
    role = (
        ConfidenceRole.OVERALL
        if _TOTAL.match(name)
        else ConfidenceRole.OTHER
        if heads_another(name)
        else ConfidenceRole.PLAIN
    )
    offset = row_start + sum(len(cell) + 1 for cell in cells[:column])
    option = "" if role is ConfidenceRole.OVERALL else name.strip(OPTION_EDGE)
    return [StatedConfidence.of(number, offset, at, role, option=option)]
