"""Confidences stated by a tag, a JSON key, a table or a label, each with its role."""

import re

from msgspec import Struct
from msgspec.structs import replace

from corea.parsing.confidence_roles import (
    OPTION_EDGE,
    heads_another,
    is_statistical,
    line_above,
    of_another,
    option_of,
    role_below,
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
from corea.parsing.numbers import IN_TAG, NumberContext, Unscaled, WrittenNumber, first_number, number_at, plain
from corea.parsing.text import clause_before, positions, regex, table_rows

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
    *("conf", "prob", "likelihood", "certainty", "chance of", "chance that", "accuracy of"),
    *("p(correct", "p(true", "p(right", "p(answer", "p(my a", "p(the a"),
)
_AHEAD, _BACK, _TAG, _MOST, _MOST_ROWS = 200, 90, 600, 48, 24
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
_ENTRY = regex(r"[\"']([^\"'\n]{1,60})[\"']\s{0,4}:\s{0,4}[\"']?(?=[~≈]?[.,]?\d)")
_ITS_VALUE = regex(
    r"(?:overall|final|total|value|score|confidence|probability|level|percent(?:age)?|number|numeric|estimate|answer"
    r"|p)(?:[_\s](?:value|score|confidence|answer))?"
)
_TOTAL = regex(r"\W{0,4}(?:overall|final|total|combined)")
_BEFORE_CLOSING_TAG = regex(r"(?<![^\W_])(?<![.,])[\d.,]{1,12}\s{0,3}%?\s{0,3}(?:</|\[/|<\\/)$")
_REASON_FOR = regex(
    r"(?:reason|basis|rationale|explanation|justification)s?\s(?:for|of|behind)\s(?:my\s|this\s|the\s)?$"
)
_WRONG = regex(r"(?<!\w)(?:wrong|incorrect|error|false|mistak\w{1,3})(?!\w)")
_CORRECTNESS = regex(r"(?<!\w)correctness[\s_]$")
_OF_ANSWER = regex(r"(?:answer|solution)\s(?:is|being)\s(?:correct|right)|(?:of|being)\s(?:correct|right)")


class _Label(Struct, frozen=True):
    """A label at one place of a folded text, with the text around it."""

    low: str
    at: int
    end: int
    """End of the part of the text that is read."""
    before: str
    window: str
    """The text from the label on, which `match` is in."""
    match: re.Match[str]

    @property
    def is_key(self) -> bool:
        """True if it is in quotes."""
        return self.before.endswith(('"', "'"))

    @property
    def ends_text(self) -> bool:
        """True if the window ends where the text does."""
        return self.at + len(self.window) >= len(self.low)

    def is_event(self) -> bool:
        """True if it names a probability, which may be a quantity of the question."""
        event = self.window.startswith(("prob", "likelihood", "p(", "chance", "accuracy"))
        return event and not self.match["foreign"]

    def states(
        self, number: WrittenNumber, role: ConfidenceRole = ConfidenceRole.PLAIN, option: str = ""
    ) -> StatedConfidence:
        """The statement of a number in its window."""
        return StatedConfidence.of(
            number, self.at, self.at, role, option=option, is_key=self.is_key, turned=bool(self.match["reversed"])
        )


def read_labels(low: str, start: int, end: int, stems: tuple[str, ...] = LABEL_STEMS) -> list[StatedConfidence]:
    """Statements of the labels with these stems in `low[start:end]`, the last first."""
    found: list[StatedConfidence] = []
    for at in positions(low, stems, start, end, _MOST):
        if at > start and low[at - 1].isalpha() and low[at - 1].isascii():
            if not low.startswith("uncertainty", at - 2):
                continue
            at -= 2
        window = plain(low[at : min(at + _AHEAD, end)])
        match = LABEL.match(window)
        if match and not match["blocked"]:
            before = plain(low[max(start, at - _BACK) : at])
            found += _stated(_Label(low, at, end, before, window, match))
    return found


def _stated(label: _Label) -> list[StatedConfidence]:
    """Statements of one label: several where it heads a table or an object, none if it is not a label."""
    low, at, end, window, pos = label.low, label.at, label.end, label.window, label.match.end()
    if label.before.endswith(("</", "[/", "<\\/")):
        found = _before_closing_tag(label)
    elif _opens_tag(label):
        found = _tag_content(low, at + pos, at, end)
    elif "|" in window[pos : pos + 24] and (column := _table_column(low, at, end)):
        return column
    elif label.is_key and (opened := _OBJECT.match(window, pos)):
        return _keyed_object(low, at + opened.end(), at, end)
    else:
        found = _after_label(label)
    return [found] if found else []


def _opens_tag(label: _Label) -> bool:
    behind = label.window[label.match.end() : label.match.end() + 1]
    if label.before.endswith("["):
        return behind == "]"
    return label.before.endswith(("<", "&lt;")) and not behind.isspace()


def _tag_content(low: str, pos: int, at: int, end: int) -> StatedConfidence | None:
    """The number in a tag, up to the next tag, that states the confidence; words are allowed."""
    window = plain(low[pos : min(pos + _TAG, end)])
    if window.startswith((">", "]", "&gt;")):
        begin = 4 if window[0] == "&" else 1
    else:  # <confidence value="0.8">, <confidence: 0.8>
        opened = window.find(">", 0, 40)
        attribute = first_number(window, 0, IN_TAG)
        begin = 0 if opened < 0 or (attribute and attribute.start < opened) else opened + 1
    ends = (window.find(mark, begin) for mark in ("<", "&lt;", "[/", "\n\n\n"))
    close = min((i for i in ends if i >= 0), default=len(window))
    content = window[:close]
    unread = StatedConfidence.unread(at, ConfidenceRole.PLAIN)
    if not content[begin:].strip():
        return None if pos + close >= end else unread
    if WITHHELD.match(content, begin) or lists_options(content, begin):
        return unread
    ends_text = pos + close >= end and close == len(window)
    context = NumberContext(Unscaled.TAG, ends_text=ends_text)
    number = leading_number(content, begin, context) or stating_number(content, begin, context)
    if number is None or number.value is None:
        return None if number and ends_text else unread
    bare_zero = number.value == 0 and not number.fractional and not number.scaled
    if bare_zero and ends_text and content[number.end :] == ".":
        return None
    return StatedConfidence.of(number, pos, at)


def _before_closing_tag(label: _Label) -> StatedConfidence | None:
    """The number before a closing tag without an opening tag."""
    before = label.before
    if "conf" in before or "prob" in before:
        return None  # its opening tag is near, and is read next
    tail = _BEFORE_CLOSING_TAG.search(before)
    number = number_at(before, tail.start(), IN_TAG) if tail else None
    if number is None or number.value is None:
        return None
    return StatedConfidence.of(number, label.at - len(before), label.at)


def _after_label(label: _Label) -> StatedConfidence | None:
    """Statement of a key or a label with its separator: a number, words, or nothing."""
    window, before, at, pos, whole = label.window, label.before, label.at, label.match.end(), None
    if scale := _SCALE.match(window, pos):
        whole, pos = _top_of_scale(scale), scale.end()
    elif above := SCALE_BEFORE.search(before):
        whole = int(above["top"])
    separated, clause, is_event = _SEPARATED.match(window, pos), clause_before(before), label.is_event()
    if not separated:
        return None if is_event else _adjacent(label, clause, pos, whole)
    if not _is_heading(label, separated, clause):
        return None
    about = separated["about"] or (scale["inside"] or "" if scale and whole is None else "")
    asked = bool(label.match["field"] or label.match["right"] or (label.is_key and "answer" in label.low))
    if is_event and not _is_of_answer(label, separated, clause, about, asked=asked):
        return None
    role = role_of(clause, about) if clause or about else ConfidenceRole.PLAIN
    option = option_of(clause, about) if clause or about else ""
    if not about and not clause.strip(" \t*_#>-"):
        role, option = role_below(line_above(before, len(before) - len(clause)))
    if whole is None and (scale := _SCALE.search(about + ":")):
        whole = _top_of_scale(scale)
    begin = separated.end()
    if "and confidence" in before + window[:12] and "answer" in clause:  # "Answer and Confidence (0-100): B, 85%"
        begin = max(begin, window.rfind(",", begin, window.find("\n", begin) % (len(window) + 1)) + 1)
    context = NumberContext(Unscaled.PERCENT if is_event else Unscaled.LABEL, whole, label.ends_text)
    value = value_behind(window, begin, separated["mark"], context)
    if value is None:
        return None
    if is_event and not label.match["right"]:
        role = min(role, ConfidenceRole.EVENT)
    if isinstance(value, ConfidenceRole):
        role = min(value, role) if role <= ConfidenceRole.EVENT else value
        return StatedConfidence.unread(at, role, key=label.is_key)
    if (is_event and not asked and not _closes(label.low, at + value.stop)) or _is_statistical(label, value.stop):
        return None
    if option and _NEXT_OPTION.match(window, value.stop):
        return StatedConfidence.unread(at, ConfidenceRole.OTHER)
    return label.states(value, role, option)


def _adjacent(label: _Label, clause: str, pos: int, whole: int | None) -> StatedConfidence | None:
    """A label with its number next to it: "confidence 0.9", "confidence of 90%"."""
    window = label.window
    number = first_number(window, pos, NumberContext(Unscaled.LABEL, whole, label.ends_text))
    gap = _NEXT_TO.match(window, pos)
    if number is None or number.value is None or gap is None or gap.end() < number.start:
        return None
    if (
        "\n" in window[pos : number.start]
        or not (number.whole or number.fractional)
        or counts_things(number, window)
        or is_statistical(label.low, label.at, label.end)
        or of_another(clause)
    ):
        return None
    option = "" if label.match["reversed"] else option_of(clause, "")
    return replace(label.states(number, role_of(clause, ""), option), is_key=False)


def _is_heading(label: _Label, separated: re.Match[str], clause: str) -> bool:
    """True if a label and its separator are not part of running text."""
    head = clause.strip(" \t*_#>|\"'`{,([-~$\\")
    mark, about = separated["mark"], separated["about"]
    if about and (len(head) > 30 or ("=" in mark and "that" in about)):
        return False  # "I am confident that f(2) = 18"
    if label.window.startswith("confident") and not label.is_key and "?" not in mark and (mark != ":" or head):
        return False
    if "=" in mark and _IN_CODE.search(label.before):
        return False
    if mark == "\n" or (mark.startswith("-") and ">" not in mark):
        ends_head = len(head) <= 40 or head.endswith((":", "my", "overall", "final", "(", "**"))
        return ends_head and not (mark == "\n" and about)
    return label.is_key or not _REASON_FOR.search(label.before)


def _is_of_answer(label: _Label, separated: re.Match[str], clause: str, about: str, *, asked: bool) -> bool:
    """True if a probability is that of a correct answer, not a quantity of the question."""
    if _WRONG.search(clause + about):
        return False
    if _CORRECTNESS.search(clause) or _OF_ANSWER.search(about) or asked:
        return True
    line = label.before.rpartition("\n")[2].strip(" \t*_#>-|\"'`{,")
    heads_line = not line or line.endswith(":") or label.before.rstrip().endswith((".", "**"))
    is_share = label.window.startswith(("chance", "accuracy"))
    return heads_line and not is_share and not about and "=" not in separated["mark"]


def _closes(low: str, stop: int) -> bool:
    """True if a line "Probability: 0.25" ends the text, and is not a step of a calculation."""
    rest = low[stop : stop + 400]
    line = rest.partition("\n")[0].strip(" .*_`$\\)]}|\"',<>/abcdefghijklmnopqrstuvwxyz")
    steps = ("boxed", "####", "=", "answer:", "answer is")
    return not line and len(rest) < 400 and not any(mark in rest for mark in steps)


def _is_statistical(label: _Label, stop: int) -> bool:
    """True if "confidence level: 95%" is a term of the statistics that follow it."""
    stop += label.at
    behind = _STATISTICS_BEHIND.search(label.low, stop, min(label.end, stop + 80))
    return behind is not None and _LEVEL.search(label.match[0]) is not None


def _top_of_scale(scale: re.Match[str]) -> int | None:
    """Top of the scale in "(0-100)", "(out of 10)", "(%)" or "on a scale of 1 to 10"."""
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


def _keyed_object(low: str, begin: int, at: int, end: int) -> list[StatedConfidence]:
    """The numbers of `"confidence": {...}`, whose keys name a value or the options."""
    window = plain(low[begin : min(end, begin + _TAG)])
    window = window[: window.find("}") % (len(window) + 1)]
    found: list[StatedConfidence] = []
    for entry in _ENTRY.finditer(window):
        number = first_number(window, entry.end(), IN_TAG)
        if number is None or number.value is None:
            continue
        if _ITS_VALUE.fullmatch(entry[1]):
            return [StatedConfidence.of(number, begin, at, is_key=True)]
        if len(found) < _MOST_ROWS:
            found.append(StatedConfidence.of(number, begin, at, option=entry[1], is_key=True))
    return found[::-1] or [StatedConfidence.unread(at, ConfidenceRole.PLAIN, key=True)]


def _table_column(low: str, at: int, end: int) -> list[StatedConfidence]:
    """The numbers of a "Confidence" column, the last first; none where the label heads no column."""
    rows = table_rows(low, at, end, _MOST_ROWS)
    if rows is None:
        return []
    found: list[StatedConfidence] = []
    for offset, column, cells in rows:
        number = first_number(plain(cells[column]), 0, IN_TAG)
        if number is None or number.value is None:
            continue
        names = [cell for i, cell in enumerate(cells) if i != column and cell.strip()]
        name = plain(next((n for n in names if not n.strip(OPTION_EDGE).isdigit()), names[0] if names else ""))
        if _TOTAL.match(name):
            role, name = ConfidenceRole.OVERALL, ""
        else:
            role = ConfidenceRole.OTHER if heads_another(name) else ConfidenceRole.PLAIN
        found.append(StatedConfidence.of(number, offset, at, role, option=name.strip(OPTION_EDGE)))
    return found[::-1] or [StatedConfidence.unread(at, ConfidenceRole.PLAIN)]
