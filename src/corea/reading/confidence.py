"""The confidence that a text states about its own answer, in whatever words.

Statements are sought from the strongest form to the weakest, each from the end of the text backwards, since
a model may think aloud first and its last word counts:

1. outside `<think>`: a tag, a JSON key or a label ("<confidence>0.8", "CONF: 0.80", "**Confidence:** 8/10");
2. outside `<think>`: a sentence ("my confidence in this is about 0.7", "I am 95% sure");
3. inside `<think>`: a tag, key or label only.

Nothing is guessed: a word ("high"), a span ("0.7 to 0.8"), a number out of range, "CONF: 0." cut off, or
"Confidence: 8" (of 10? percent?) state no value, and the search goes on; "N/A" withholds one, and ends it.
All work is on at most `MOST_MENTIONS` windows of bounded length, so time is that of finding words in the
text: linear.
"""

import re
from typing import Literal

from corea.reading.numbers import Bare, Number, first_number, number_at, plain
from corea.reading.text import MOST_MENTIONS, Stated, ends_of, fold, mentions, outside_thinking

_AHEAD, _BACK = 200, 90

_LABEL = re.compile(
    r"conf(?:idence|ident)?s?(?P<blocked>[\s_-]{0,2}(?:interval|limit|bound|region|band|set)s?)?"
    r"(?:[\s_-]{0,2}(?:level|score|rating|value|estimate|percentage|percent|pct|probability)s?)?(?![a-z])"
    r"(?:\sthat\s(?:the|my|this)\s(?:\w{1,12}\s){1,2}is\s(?:correct|right|accurate))?(?:\.(?=\s?[:=]))?"
    r"|(?P<right>(?:probability|likelihood|chance)\s(?:of\s(?:being\s|the\sanswer\sbeing\s)?|that\s(?:my|the|this)\s(?:answer|solution)\sis\s)"
    r"(?:correct(?:ness)?|right)|accuracy\sof\s(?:my|this)\s(?:answer|solution)|p\((?:correct|true)\))"
    r"|prob(?:ability)?(?P<field>_[a-z_]{1,30}|_?yes|_?correct)?(?![a-z])|likelihood(?![a-z])|certainty(?:[\s_-](?:level|score))?(?![a-z])"
    r"|(?:degré\sde\s|nivel\sde\s|nível\sde\s)?confian(?:ce|za|ça)(?![a-z])|konfidenz(?:wert|niveau)?(?![a-z])|置信度|置信水平|信心(?:指数|程度)?|信頼度|確信度"
    r"|(?:vertrauen|sicherheit|zuversicht|gewissheit|fiducia|zekerheid)(?![a-z])|(?:把握|可信|自信)(?:程度|度)|(?:확신|신뢰)도|уверенность"
    r"|(?P<foreign>wahrscheinlichkeit,?\sdass\s(?:die|meine)\santwort\s(?:korrekt|richtig)\sist"
    r"|probabilité\sque\s(?:ma|la)\sréponse\s(?:soit|est)\s(?:correcte|juste))"
)
_ASCII_STEMS = ("conf", "prob", "likelihood", "certainty", "chance of", "accuracy of", "p(correct)", "p(true)")
_STEMS = (*_ASCII_STEMS, "置信", "信心", "信頼度", "確信度")
_FOREIGN_STEMS = (
    "konfidenz", "vertrauen", "sicherheit", "zuversicht", "gewissheit", "wahrscheinlichkeit", "fiducia", "zekerheid",
    "把握", "可信", "自信", "확신", "신뢰", "уверенность",
)  # fmt: skip
_SCALE = re.compile(
    r"\s{0,2}[\[(](?P<inside>[^()\[\]\n]{1,60})[\])](?=[\s*_\"'`]{0,6}[:=|-])"
    r"|[\s,]{1,2}on\sa\s(?:(?P<points>\d{1,3})[-\s]point\sscale|scale\s(?:of|from|between)?\s?\d{1,3}\s?(?:-|to|and)\s?(?P<top>\d{1,3}))"
)
_SCALE_BEFORE = re.compile(
    r"scale\s(?:of|from|between)?\s?\d{1,3}\s?(?:-|to|and)\s?(?P<top>\d{1,3})[,:]?\s(?:[a-z']{1,8}\s){0,5}$"
)
_JUNK = r"[\s*_`\"'$\\()\[\]{}:=|~≈<>≤≥?,&;#/-]"
_GAP = re.compile(
    rf"(?:{_JUNK}|(?:text|textbf|textit|mathbf|mathrm|boxed|bf|large|very|fairly|quite|high|medium|moderate|low|final|overall|score|level|rating|value|estimated?|approximately"
    r"|approx\.?|about|around|roughly|nearly|almost|is|of|at|lt|gt|quot|a|an|ca\.?|est|es|i\sam|i'm|i\swould\s(?:say|rate|estimate)"
    r"|i'd\s(?:say|rate|estimate|put)|am\si|are\syou|it|in|this|my|the|answer|as|to\sbe"
    r"|en|la|esta|mi|respuesta|resposta|ma|réponse|risposta|est|é|è|ist|liegt|bei|in|die|meine[rn]?|antwort|etwa|rund|circa|environ"
    r"|为|是|约|大约|大概|は|約|는|은|составляет)(?![a-z])){0,60}"
)
_WITHHELD = re.compile(
    rf"{_JUNK}{{0,12}}(?:n/a|na|none|null|nan|unknown|withheld|not\s(?:applicable|available|stated))(?![a-z])"
)
_SEPARATOR = re.compile(r"[:=|>]")
_LINK = re.compile(
    r"(?<![a-z])(?:is|of|at|as|a|an|be|was|to|am|around|about|approximately|roughly|nearly|almost|over|above|say|than|near|by|level|[:=~≈(])[\s*_`$(\\~≈]{0,6}$"
)
_BREAK = re.compile(r"[.!?;](?=\s)|\n\s*\n")
_FOLLOWING = re.compile(
    r"[ \t*_]{0,4}(?!(?:confiden|sure|certain|based|because|since|as|for|in|that|on|given|due|but|and|with|which|i|my"
    r"|this|the|if|or|so|it|though|although|out|points?|level|score|percent|final|answer|reason)(?:[a-z]{0,4})(?![a-z]))"
    r"[a-z]{2,}"
)
_NOT_MINE = re.compile(r"(?:\b(?:his|her|their|its|your)|'s|s')[\s*_]{1,3}$")
_STATISTICS = re.compile(
    r"interval|margin of error|z-score|z\s?=|significance|hypothesis|standard (?:error|deviation)"
    r"|sample (?:size|mean)|critical value"
)
_FIRST_PERSON = re.compile(r"(?<![\w])(?:i|i'm|i'd|i've|we|we're|my|our|me)(?![\w])")
_NEGATED = re.compile(r"(?:\bnot|n't|cannot|never|\bno)\s(?:\w{1,12}\s){0,2}[\s*_]{0,3}$")
_ABOUT_ANSWER = re.compile(r"correct|right(?!\w)|accurate|true(?!\w)")
_ANSWER_WORD = re.compile(
    r"(?<![a-z])(?:answers?|solution|response|result|conclusion|choice|i(?:'m|\sam)|it(?:'s|\sis)?|this|being|to\sbe)(?![a-z])"
)


_PLAINLY = re.compile(r"<confidence>[ \n]?(0?\.\d{1,17}|1\.0{1,17})[ \n]?</confidence>\s{0,9}\Z")


def read_confidence(text: str) -> float | None:
    """The probability in [0, 1] that the text gives to its own final answer; None where it states none."""
    stated = find_confidence(text)
    return stated.value if stated else None


def find_confidence(text: str) -> Stated[float] | None:
    """The stated confidence with the characters of its number, without percent sign or scale."""
    at = text.rfind("<confidence>")
    if at >= 0 and (plainly := _PLAINLY.match(text, at)):  # as asked for, and the text's last word: no need to look on
        return Stated(float(plainly[1]), *plainly.span(1))
    for offset, part in ends_of(text):
        if found := _find(fold(part)):
            return Stated(found.value, found.start + offset, found.end + offset)
    return None


def _find(low: str) -> Stated[float] | None:
    if "conf" not in low and not _any_stem(low):
        return None
    spans = outside_thinking(low)
    for read in (_labelled, _sentence, _beside_answer, _foreign):
        for start, end in reversed(spans):
            found = read(low, start, end)
            if found is not None:
                return found or None
    if spans != [(0, len(low))]:
        return _labelled(low, 0, len(low)) or None
    return None


_SURE_STEMS = (
    "sicher",
    "segur",
    "sûr",
    "sicur",
    "certeza",
    "zeker",
    "säker",
    "把握",
    "信心",
    "自信",
    "確信",
    "확신",
    "уверен",
)
_SENTENCE_STEMS = ("confiden", " sure", "certain", "chance", "likel", "probab")


_ANY_STEM = (*_STEMS, *_SENTENCE_STEMS, *_FOREIGN_STEMS, "(p", *_SURE_STEMS)


def _any_stem(low: str) -> bool:
    return any(stem in low for stem in _ANY_STEM)


def _positions(low: str, stems: tuple[str, ...], start: int, end: int, most: int = MOST_MENTIONS) -> list[int]:
    """Where any of the stems occurs, last first."""
    found: list[int] = []
    for stem in stems:
        found += mentions(low, stem, start, end, most)
    return sorted(found, reverse=True) if len(found) > 1 else found


def _labelled(low: str, start: int, end: int, stems: tuple[str, ...] = ()) -> Stated[float] | Literal[False] | None:
    """The last tag, key or label with a number; False where it is withheld; None where there is none."""
    for at in _positions(low, stems or (_ASCII_STEMS if low.isascii() else _STEMS), start, end):
        if at > start and low[at - 1].isalpha() and low[at - 1].isascii():
            continue
        window = plain(low[at : min(at + _AHEAD, end)])
        label = _LABEL.match(window)
        if not label or label["blocked"]:
            continue
        before = plain(low[max(start, at - _BACK) : at])
        if before.endswith(("</", "[/", "<\\/")):
            found = _before_closing_tag(before, at)
        else:
            found = _after_label(low, before, window, label, at, min(at + _AHEAD, end) == len(low))
        if found is not None:
            return found
    return None


def _after_label(
    low: str, before: str, window: str, label: re.Match[str], at: int, ends_text: bool
) -> Stated[float] | Literal[False] | None:
    """What is stated after one label; False: withheld; None: nothing."""
    pos, whole = label.end(), None
    about_event = window.startswith(("prob", "likelihood", "p(", "chance", "accuracy")) and not label["foreign"]
    asked = (
        label["field"] or label["right"] or (before.endswith(('"', "'")) and "answer" in low)
    )  # a key beside another
    if about_event and not asked and (not _heads_line(before) or window.startswith(("chance", "accuracy"))):
        return None
    if scale := _SCALE.match(window, pos):
        whole, pos = _top_of_scale(scale), scale.end()
    elif scale := _SCALE_BEFORE.search(before):
        whole = int(scale["top"])
    if _WITHHELD.match(window, pos) and _SEPARATOR.search(window, pos, pos + 8):
        return False
    tagged = before.endswith(("<", "&lt;")) and not window[pos : pos + 1].isspace()
    if tagged:
        return _tag_content(window, pos, at, ends_text)
    behind_answer = before.endswith("answer and ")  # "Answer and Confidence (0-100): B, 85%"
    if behind_answer:
        line_end = window.find("\n", pos)
        pos = max(pos, window.rfind(",", pos, line_end if line_end >= 0 else len(window)) + 1)
    if "|" in window[pos : pos + 12] and (cell := _table_cell(low, at)):
        return cell
    gap = _GAP.match(window, pos)
    stop = gap.end() if gap else pos
    bare = Bare.PERCENT if about_event else Bare.LABEL
    number = _number_from(window, pos, stop, bare, whole, ends_text)
    if number is None or number.value is None:
        return None
    between = window[pos : number.start]
    separated = behind_answer or _SEPARATOR.search(between) is not None
    if about_event and (
        ("=" in between and not label["right"]) or not separated or (not asked and not _closes(low, at + number.stop))
    ):
        return None
    alone = "\n" in between and _heads_line(before) and not between.partition("\n")[0].strip("*_ ")
    if not separated and not number.scaled and not whole and (not number.fractional or ("\n" in between and not alone)):
        return None
    if not separated and (_NOT_MINE.search(before) or _statistical(low, at)):
        return None
    if not number.scaled and not number.fractional and _FOLLOWING.match(window, number.stop):
        return None
    return Stated(number.value, at + number.start, at + number.end)


def _number_from(window: str, pos: int, stop: int, bare: Bare, whole: int | None, ends_text: bool) -> Number | None:
    """The first number after a label, if nothing but the gap stands before it."""
    number = first_number(window, pos, bare=bare, whole=whole, ends_text=ends_text)
    return number if number and number.start <= stop else None


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


def _top_of_scale(scale: re.Match[str]) -> int | None:
    """What "(0-100)", "(out of 10)", "(%)" or "on a scale of 1 to 10" say the number is out of."""
    if top := scale["points"] or scale["top"]:
        return int(top)
    inside = scale["inside"]
    if "%" in inside or "percent" in inside:
        return 100
    numbers = re.findall(r"\d{1,4}(?:\.0)?", inside)
    top = float(numbers[-1]) if numbers else 0.0
    return int(top) if top in (1, 5, 10, 100) else None


def _tag_content(window: str, pos: int, at: int, ends_text: bool) -> Stated[float] | Literal[False] | None:
    """The first number after an opening tag and before the next one, words allowed."""
    if window.startswith((">", "&gt;"), pos):
        begin = pos + (1 if window[pos] == ">" else 4)
    else:  # <confidence value="0.8">, <confidence: 0.8>
        opened = window.find(">", pos, pos + 40)
        attribute = first_number(window, pos, bare=Bare.TAG)
        begin = pos if opened < 0 or (attribute and attribute.start < opened) else opened + 1
    close = min((i for i in (window.find("<", begin), window.find("&lt;", begin)) if i >= 0), default=len(window))
    content = window[:close]
    if _WITHHELD.match(content, begin):
        return False
    number = first_number(content, begin, bare=Bare.TAG, ends_text=ends_text and close == len(window))
    if number is None or number.value is None:
        return None
    if (
        number.value == 0
        and not number.fractional
        and not number.scaled
        and content[number.end :] == "."
        and close == len(window)
    ):
        return None
    return Stated(number.value, at + number.start, at + number.end)


def _before_closing_tag(before: str, at: int) -> Stated[float] | None:
    """The number just before a closing tag whose opening tag is missing."""
    if "conf" in before or "prob" in before:
        return None  # its opening tag is near, and is looked at next
    offset = at - len(before)
    tail = re.search(r"(?:[\d.,]{1,12})\s{0,3}%?\s{0,3}(?:</|\[/|<\\/)$", before)
    if not tail or (tail.start() and before[tail.start() - 1].isalnum()):
        return None
    number = number_at(before, tail.start(), bare=Bare.TAG)
    if number is None or number.value is None:
        return None
    return Stated(number.value, offset + number.start, offset + number.end)


def _table_cell(low: str, at: int) -> Stated[float] | None:
    """The number under a "Confidence" column, in the table's last row."""
    head_start = low.rfind("\n", max(0, at - 400), at) + 1
    head_end = low.find("\n", at, at + 400)
    rule_end = low.find("\n", head_end + 1, head_end + 400) if head_end >= 0 else -1
    if rule_end < 0 or low[head_end + 1 : rule_end].strip(" |:-+") or "-" not in low[head_end + 1 : rule_end]:
        return None
    column = low.count("|", head_start, at)
    row_start, found = rule_end + 1, None
    for _ in range(8):
        row_end = low.find("\n", row_start, row_start + 400)
        row = plain(low[row_start : row_end if row_end >= 0 else row_start + 400])
        cells = row.split("|")
        if len(cells) <= column:
            break
        offset = sum(len(cell) + 1 for cell in cells[:column])
        number = first_number(cells[column], bare=Bare.TAG)
        if number and number.value is not None:
            found = Stated(number.value, row_start + offset + number.start, row_start + offset + number.end)
        if row_end < 0:
            break
        row_start = row_end + 1
    return found


def _statistical(low: str, at: int) -> bool:
    """Whether the words around are about statistics, where "95% confidence" is a term of the trade."""
    return _STATISTICS.search(low, max(0, at - 150), at + 150) is not None


def _sentence(low: str, start: int, end: int) -> Stated[float] | None:
    """The last sentence that puts a number to how sure the writer is."""
    for at in _positions(low, _SENTENCE_STEMS, start, end, 48):
        about_event = low.startswith(("chance", "likel", "probab"), at)
        before = plain(low[max(start, at - _BACK) : at])
        window = plain(low[at : min(at + _AHEAD, end)])
        found = _number_before(before, window, at, about_event) or _number_behind(
            before, window, at, about_event, at + len(window) == len(low)
        )
        if found and not _statistical(low, at):
            return found
    return None


_JOIN = re.compile(r"[\s*_`$)\\-]{0,6}(?:of\s)?")


def _number_before(before: str, window: str, at: int, about_event: bool) -> Stated[float] | None:
    """ "I am 95% sure", "9/10 confidence", "an 85% chance that my answer is right"."""
    offset, pos, number = at - len(before), max(0, len(before) - 40), None
    while candidate := first_number(before, pos, bare=Bare.LABEL):
        number, pos = candidate, max(candidate.stop, candidate.start + 1)
    if number is None or number.value is None or not (number.scaled or number.fractional):
        return None
    if not _JOIN.fullmatch(before, number.stop):
        return None
    lead = _BREAK.split(before[: number.start])[-1]
    if _NEGATED.search(lead):
        return None
    if not about_event and not (
        _FIRST_PERSON.search(lead)
        or not lead.strip(" \t\n*_`\"'($#>-~")
        or lead.rstrip().endswith(("with", "with a", ":", "the", "("))
    ):
        return None
    if about_event and not _speaks_of_answer(window):
        return None
    return Stated(number.value, offset + number.start, offset + number.end)


def _number_behind(before: str, window: str, at: int, about_event: bool, ends_text: bool) -> Stated[float] | None:
    """ "My confidence in this answer is about 0.7", "the probability that my answer is correct is 0.9"."""
    word = re.match(r"\s?[a-z]+", window)
    pos = word.end() if word else 0
    number = first_number(window, pos, bare=Bare.LABEL, ends_text=ends_text)
    while number and not (number.scaled or number.fractional or window[number.start].isdigit()):
        number = first_number(window, number.end, bare=Bare.LABEL, ends_text=ends_text)  # "this one", "two options"
    if number is None or number.value is None or not (number.scaled or number.fractional):
        return None
    between = window[pos : number.start]
    if len(between) > 120 or _BREAK.search(between) or not _LINK.search(between) or _NOT_MINE.search(before):
        return None
    if re.search(r"(?<![a-z])(?:not|step|grew|rose|fell|increased?|decreased?|discount|tax|rate of)(?![a-z])", between):
        return None
    if about_event and not _speaks_of_answer(between):
        that = _THAT.match(window, number.stop)
        if not that or not _speaks_of_answer(window[that.end() : that.end() + 60]):
            return None
    return Stated(number.value, at + number.start, at + number.end)


_THAT = re.compile(r"[\s*_`$%\\)]{0,4}(?:that|of)\s")  # "a probability of 0.6 that this is right"


def _speaks_of_answer(words: str) -> bool:
    clause = _BREAK.split(words)[0]
    return _ABOUT_ANSWER.search(clause) is not None and _ANSWER_WORD.search(clause) is not None


_BESIDE = re.compile(r"\(\s?p\s?[=:≈~]{1,2}\s?(?=[\d.])")


def _beside_answer(low: str, start: int, end: int) -> Stated[float] | None:
    """ "Answer: B (p = 0.8)", as the text's last words."""
    at = low.rfind("(p", max(start, end - 80), end)
    if at < 0 or "answer" not in low[low.rfind("\n", start, at) + 1 : at] or low[at:end].rstrip(" \n.*)").count(")"):
        return None
    begun = _BESIDE.match(plain(low), at)
    number = number_at(plain(low), begun.end(), bare=Bare.LABEL) if begun else None
    if number is None or number.value is None or low[number.stop : end].strip(" \n.*)"):
        return None
    return Stated(number.value, number.start, number.end)


_SURE_AFTER = re.compile(
    r"[\s*_%]{0,4}(?:的|の|de\s|del\s|en\s)?(?:sicher|segur[oa]|sûre?|sicur[oa]|certeza|confian|zeker|säker|把握|信心|自信|確信|확신|уверен)"
)
_SURE_BEFORE = re.compile(
    r"(?:sicher\szu|sûre?\sà|sicur[oa]\sal|segur[oa]\s(?:al|en\sun)|(?:уверен[а-я]{0,3})\sна|信心(?:是|为|有)?|自信は?|把握(?:是|为|有)?)"
    r"[\s*_]{0,3}(?:etwa\s|environ\s|circa\s|约|約)?$"
)
_DENIED = re.compile(r"(?:nicht|nie|pas|non|não|nunca|no|не|没有?|沒有?|不)[\s\w]{0,8}$")


def _foreign(low: str, start: int, end: int) -> Stated[float] | Literal[False] | None:
    """What other languages say: "Sicherheit: 85 %", "ich bin zu 90 % sicher", "我有90%的把握"."""
    found = _labelled(low, start, end, _FOREIGN_STEMS)
    if found is not None:
        return found
    for at in _positions(low, _SURE_STEMS, start, end, 24):
        begin = max(start, at - 30)
        window, stem = plain(low[begin : min(end, at + 40)]), at - begin
        pos = 0
        while number := first_number(window, pos, bare=Bare.LABEL):
            pos = max(number.stop, number.start + 1)
            before, after = number.start > stem, number.stop <= stem
            says = (before and _SURE_BEFORE.search(window, 0, number.start)) or (
                after and (joined := _SURE_AFTER.match(window, number.stop)) and joined.end() > stem
            )
            if says and number.value is not None and number.scaled and not _DENIED.search(window[: number.start]):
                return Stated(number.value, begin + number.start, begin + number.end)
    return None
