"""The forms in which a text announces its answer: each finds spans of the folded text, the best first."""

import re

from corea.parsing.answer_words import AFTER, BEFORE, OPTION, OPTION_WORD, RIGHT, VERBS
from corea.parsing.asides import is_doubtful
from corea.parsing.cleaning import is_placeholder
from corea.parsing.phrases import Spans, announced, phrased
from corea.parsing.text import LONGEST, closing_brace, mentions


def tagged(text: str, low: str, start: int, end: int) -> Spans:
    """Contents of `<answer>` tags, the last first; one that is never closed only where none is."""
    closed: Spans = []
    unclosed: Spans = []
    limit = end
    for at in mentions(low, "answer>", start, end) + mentions(low, "answer]", start, end):
        opener = low.rfind("<" if low[at + 6] == ">" else "[", max(start, at - 12), at)
        if (
            opener < 0
            or low[opener + 1] in "/\\"
            or (at > opener + 1 and not low[opener + 1 : at].replace("_", "").replace(" ", "").isalpha())
        ):
            continue
        begin = at + 7
        stop = min(low.find("</", begin, limit) % (limit + 1), low.find("<confidence", begin, limit) % (limit + 1))
        stop = min(stop, low.find("[/", begin, limit) % (limit + 1)) if low[at + 6] == "]" else stop
        if not is_placeholder(text[begin : min(stop, begin + 80)]) and not _is_example(low, start, opener, begin, stop):
            (closed if stop < limit else unclosed).append((begin, stop))
        limit = max(opener, start)
        if closed:
            break
    return closed + unclosed[:1]


_FORMAT = re.compile(
    r"(?:in\sthe\s(?:form|format)|formatted\s(?:as|like)|format(?:\sis|:)|respond\s(?:as|with)|like\sthis|such\sas"
    r"|e\.g\.,?|"
    r"for\s(?:example|instance)|example|template|looks?\slike|form|tags?\slike)[,:\s`\"'*]{0,4}(?:(?:of|as"
    r"|is)[\s:`\"']{0,3})?$"
)


def _is_example(low: str, start: int, opener: int, begin: int, stop: int) -> bool:
    """Whether a tag only shows the form that was asked for: "in the form <answer>X</answer>"."""
    before = low[max(start, opener - 3) : opener].strip()
    shown = before[-1:] not in ("", ">", ".") and _FORMAT.search(low, max(start, opener - 40), opener) is not None
    return shown or low[begin:stop].strip() in ("x", "xx", "xxx", "y", "a/b/c/d", "a|b|c|d")


def boxed(text: str, low: str, start: int, end: int) -> Spans:
    """The content of the last `\\boxed{}` that is closed; "\\boxed 5" too."""
    limit = end
    for at in mentions(low, "box", start, end)[:16]:
        if low[max(start, at - 24) : at].rstrip(" $\\(").endswith((" not", "rather than", "instead of")):
            continue
        begin = at + (5 if low.startswith("boxed", at) else 3)
        if begin == at + 3 and not low.startswith("\\f", max(start, at - 2)):
            continue
        while begin < limit and low[begin] == " " and begin < at + 8:
            begin += 1
        if begin < limit and low[begin] == "{":
            close = closing_brace(low, begin, min(limit, begin + LONGEST))
            if close > begin + 1 and not is_placeholder(low[begin + 1 : close]):
                return [(begin + 1, close)]
        elif low.startswith("\\", at - 1) and (bare := _BARE_BOX.match(low, at + 5, limit)):
            return [bare.span(1)]
        limit = at
    return []


_BARE_BOX = re.compile(r"[ ]?(-?\d[\d.,]{0,30}\d|\d|(?<= )[a-j])(?![\w^/\\])")
_HASHED = re.compile(r"#{4}[ \t:*]{0,4}([^\n#]{1,200})")
_LEADING_NUMBER = re.compile(r"[-−+]?\s?[$€£¥]?\s?[-−]?(?:\d[\d,]{0,40}(?:\.\d{1,20})?|\.\d{1,20})")
_UNIT_OR_END = re.compile(r"[\s,.;]{0,3}(?:%?[\s.,;]{0,3}[a-z]{2,}|$)")
_HEADING = re.compile(r"\W{0,4}(?:step|solution|conclusion|final|answer|calculat|\d{1,2}[.)]\s)")


def hashed(text: str, low: str, start: int, end: int) -> Spans:
    """The number (or short text) after the last "####"; a Markdown heading "#### Step 2: ..." is none."""
    for at in mentions(low, "####", start, end)[:32]:
        match = _HASHED.match(low, at, end)
        if not match or (at > start and low[at - 1] == "#"):
            continue
        a, b = match.span(1)
        number = _LEADING_NUMBER.match(low, a, b)
        if number and _UNIT_OR_END.match(low[number.end() : b]) and not _MORE_OF_IT.match(low, number.end(), b):
            return [(a, number.end())]
        heading = low[a:b].rstrip(" *").endswith(":") or _HEADING.match(low, a, b)
        if not heading and b - a <= 80 and low[b:end].count("\n") <= 6:
            return [(a, b)]
    return []


_MORE_OF_IT = re.compile(
    r"\s?(?:%|percent|per\scent|hundred|thousand|million|billion|trillion|dozen|[ap]\.?m(?![a-z])|and\s|or\s|to\s)"
)
_VERDICTS = (
    " correct",
    " right",
    " best",
    " choose",
    " pick",
    " select",
    " go with",
    "option",
    "choice",
    "选",
    "選",
    "antwort",
    "letra",
)
_CHOSEN = re.compile(
    r"(?<![a-z])(?:(?:option|choice)\s[*_]{0,2}\(?([a-j])\)?[*_]{0,2}\s(?:(?:is|would\sbe"
    r"|seems)\s(?:the\s)?|(?:as\s)?the\s)(?:most\s\w{1,12}\s)?"
    r"(?:correct|right|best|answer)|(?:\(([a-j])\)|([a-j])\)?)\sis\sthe\s(?:correct|right|best)\s(?:answer|option"
    r"|choice)"
    r"|\(([a-j])\)\sis\s(?:correct|right)(?![a-z])"
    r"|i(?:\swould|\swill|'d|'ll)?\s(?:choose|pick|select|go\swith)\s(?:option\s"
    r"|choice\s)?[*_]{0,2}\(?([a-j])\)?(?![\w']))"
    r"|(?:(?:故|应该|应|因此|所以|答案|本题|正确)[,，]?(?:应|该)?|^|[\n，。；])(?:选择|選擇|选|選)[项項]?\s?[:：]?\s?[（(“\"]?([a-j])(?![a-z])"
    r"|(?:选项|選項)(?:应该)?(?:是|为|為)\s?[（(“\"]?([a-j])(?![a-z])"
    rf"|(?<![^\W_])(?:(?:{BEFORE})\s(?:{OPTION})|(?:{OPTION})\s(?:{AFTER}))(?:\s?:|\s(?:{VERBS}))\s(?:la\s|el\s|die\s)?"
    r"[*_]{0,2}\(?([a-j])(?![\w'’])"
    rf"|(?<![^\W_])(?:{OPTION})\s[*_]{{0,2}}\(?([a-j])\)?[*_]{{0,2}}\s?(?:{RIGHT})"
)


_TAKEN_BACK = re.compile(r"[\s*]?\?|\s(?:only\s)?(?:if|when|were)\b")


def chosen(text: str, low: str, start: int, end: int) -> Spans:
    """The letter that is said to be the right one: "option D is correct", "I choose B"."""
    tail = max(start, end - 600)
    window = low[tail:end]
    if not any(word in window for word in _VERDICTS) and (low.isascii() or not OPTION_WORD.search(low, tail, end)):
        return []
    for match in list(_CHOSEN.finditer(low, tail, end))[:-9:-1]:
        if not is_doubtful(low, start, match.start()) and not _TAKEN_BACK.match(low, match.end(), end):
            return [match.span(match.lastindex or 0)]
    return []


def tabled(text: str, low: str, start: int, end: int) -> Spans:
    """The cell of a Markdown table beside "Answer", or, where that heads a column, the last one below."""
    for at in mentions(low, "answer", start, end, 8):
        left, right = low.rfind("\n", max(start, at - 300), at) + 1, low.find("\n", at, at + 300) % (end + 1)
        cell = low.rfind("|", left, at) + 1, low.find("|", at, right)
        if not cell[0] or low[cell[0] : cell[1]].strip(" *_") not in _CELLS:
            continue
        column, rows = low.count("|", left, at), low[right + 1 : min(end, right + 2000)].split("\n")
        if rows[0].strip(" |:-") or "-" not in rows[0]:
            begin = cell[1] + 1
            return [(begin, low.find("|", begin, right) % (right + 1))] if cell[1] >= 0 else []
        found: Spans = []
        place = right + 1 + len(rows[0]) + 1
        for row in rows[1:9]:
            cells = row.split("|")
            if len(cells) <= column:
                break
            begin = place + sum(len(cell) + 1 for cell in cells[:column])
            found = [(begin, begin + len(cells[column]))]
            place += len(row) + 1
        return found
    return []


_CELLS = ("answer", "final answer", "my answer")


FORMS = (boxed, hashed, phrased, tabled, announced, chosen)
