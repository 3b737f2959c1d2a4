"""Patterns that announce an answer: tags, boxes, labels, sentences, tables. Each gives spans, the best first."""

import re

from corea.parsing.cleaning import is_placeholder
from corea.parsing.discourse import RATHER, is_doubtful
from corea.parsing.languages import stems
from corea.parsing.text import (
    CONCLUSIONS,
    LONGEST,
    closing_brace,
    lead,
    mentions,
    positions,
    regex,
    sentence_end,
    table_rows,
)

Spans = list[tuple[int, int]]
_ARROW = r"(?:=>|->|[:=：]|→|⇒|—|–|-(?=\s))"
_EMOJI = r"[\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff\ufe0f]"
_LABEL = regex(
    r"(?:answer|response|decision|choice|guess|ans|option|selection|pick)s?(?:\s(?:is|choice|option"
    r"|and\sconfidence(?:\s?\([^()\n]{1,20}\))?))?(?:\s?\([^()\n]{1,20}\)(?=[ \t*_]{0,6}[:：]))?(?:[ \t*_]"
    rf"|{_EMOJI}){{0,8}}{_ARROW}[ \t*_]{{0,8}}(?:[|>]-?[ \t]*\n[ \t]*|\n{{1,2}}>[ \t])?"
    r"|(?P<line>answer[ \t*_#:]{0,6}\n|ans\.\s|answer[ \t*_]{1,3}(?=\([a-j]\)|\*\*)"
    r"|answer[ \t*_]{0,4}\|[ \t*_]{0,4}(?!confidence))"
)
"""A label at its noun; `line`: forms that need a line of their own."""
_BEFORE_LABEL = regex(
    rf"[\n>.|][^\w\n\\$(]{{0,10}}(?:\d{{1,2}}\.\s)?(?:the\s|so\s|therefore,?\s|thus,?\s)?{CONCLUSIONS}$"
)
_PHRASE = regex(
    r"(?:answers?|(?P<option>(?:choice|option|letter)s?))(?:\s(?:to|for|choice|option|here|based|in"
    r"|given)(?!\w)[^\n:]{0,80}?)?(?:[*_]{0,2}\s(?:is|are|was|would\sbe|should\sbe|must(?:\stherefore)?\sbe|will\sbe"
    r"|has\sto\sbe|seems\s(?:to\sbe|like)|appears\sto\sbe|turns\sout\sto\sbe|comes\s(?:out\s)?to(?:\sbe)?|becomes"
    r"|equals|=)|'s|’s|(?<=n\sanswer)\sof|(?<=final\sanswer)\sof|(?<=answer):(?=[ *_]{1,4}[^\s*_]))(?:\s(?:therefore"
    r"|thus|then|simply|clearly|just|actually|indeed|\w{4,10}ly(?=\snot\s)))?(?:\snot\s[^.\n]{1,60}?,?\sbut(?:\srather)?)?(?!\s(?:(?:\w{4,10}ly\s)?not|in|to"
    r"|that|the\sone|the\ssame|wrong|correct|incorrect|right|valid|invalid|as\sfollows|based|given|obtained|found"
    r"|unclear|clear|unique|consistent|different|likely)(?!\w)(?!\s{0,3}\())[\s:*_]{1,8}"
)
"""A sentence that gives the answer, from its noun on; `option`: nouns that need a qualifier."""
_BEFORE_PHRASE = regex(rf"(?<![a-z]){CONCLUSIONS}$")
_UNSURE = regex(
    r"(?:which|whether|what|if|no|not|wrong|incorrect|common|initial|first|previous|earlier|usual|typical|tempting"
    r"|intuitive|naive|obvious|old|original|an?other|student'?s?|his|her|their|possible)(?:\s(?!so|then"
    r"|is)\w{1,12})?\s(?:the\s|an?\s)?$"
)
_STEMS = ("answer", "choice", "option", "response", "decision", "guess", "ans", "selection", "pick", "letter")
_REASONS = regex(
    r",?\s(?:because|since|which|where|who(?:se)?|given\sthat|rather\sthan|instead\sof|and\snot|as\s(?:it|they|the|this"
    r"|that|he|she|we))\s"
    rf"|,\s(?:‹because›)\s|，因为|{RATHER}"
    r"|,\s(?:i\.e\.|e\.g\.|that\sis,|but\s(?:i\s|i['’]m)|though\s|although\s)"
    r"|,\s(?:not|so|as|meaning|hence|while)\s|\s[–—]\s(?=[a-z])|\.\s(?=confidence)"
)
_AFFIRMED = regex(r"(?:yes|no|true|false)(?=,\s)")
_SAID_IN_BOLD = regex(r"\s*[^*\n:]*[a-z]{2,}[^*\n:]*\s\*\*([^*\n]*\d[^*\n]*)\*\*[^*\d\n]*")
_DIALOGUE = regex(r"(?:^|\n)[ \t*]{0,4}q(?:uestion)?\s?:[^\n]{1,600}\n{1,3}[ \t*]{0,4}a\s?:[ \t*]{0,4}(?=\S)")
_INITIALS = regex(r"(?<![a-z])[a-z]\.\s?[a-z]$")  # the period after "D.C" belongs to it
_SPACE = r"[\s*_]{0,3}"
_ANNOUNCED = regex(
    rf"(?:(?:‹nouns›)(?:\s(?:‹after›))?(?![a-zà-ÿ]){_SPACE}(?:\(\w{{1,12}}\){_SPACE})?(?:(?::|：|=|->|→|】\s?[:：]?)"
    r"|(?:‹verbs›)(?:[\s:：*_]|(?=[^\x00-\x7fà-ÿ])|(?<=[^\x00-\u04ff]))"
    rf"|\s(?=\S{{1,30}}\s(?:‹tail›)))(?:{_SPACE}(?:‹fill›)(?=[\s:*_,]|(?<=[^\x00-\u04ff])))?[\s:：*_,]{{0,4}})(?=\S)"
)
"""A noun and the words that join it to the answer, where a stem was found."""
_TAIL = regex(r"\s?(?:‹tail›)?\s?[.。!！।]?\s*$")
_FORMAT = regex(
    r"(?:in\sthe\s(?:form|format)|formatted\s(?:as|like)|format(?:\sis|:)|respond\s(?:as|with)|like\sthis|such\sas"
    r"|e\.g\.,?|for\s(?:example|instance)|example|template|looks?\slike|form|tags?\slike)[,:\s`\"'*]{0,4}(?:(?:of|as"
    r"|is)[\s:`\"']{0,3})?$"
)
_BARE_BOX = regex(r"[ ]?(-?\d[\d.,]{0,30}\d|\d|(?<= )[a-j])(?![\w^/\\])")
_HASHED = regex(r"#{4}[ \t:*]{0,4}([^\n#]{1,200})")
_LEADING_NUMBER = regex(r"[-−+]?\s?[$€£¥]?\s?[-−]?(?:\d[\d,]{0,40}(?:\.\d{1,20})?|\.\d{1,20})")
_UNIT_OR_END = regex(r"[\s,.;]{0,3}(?:%?[\s.,;]{0,3}[a-z]{2,}|$)")
_HEADING = regex(r"\W{0,4}(?:step|solution|conclusion|final|answer|calculat|\d{1,2}[.)]\s)")
_MORE_OF_IT = regex(
    r"\s?(?:%|percent|per\scent|hundred|thousand|million|billion|trillion|dozen|[ap]\.?m(?![a-z])|and\s|or\s|to\s)"
)
_OPTION_WORD = regex(r"‹option›")
_CHOSEN = regex(
    r"(?<![a-z])(?:(?:option|choice)\s[*_]{0,2}\(?([a-j])\)?[*_]{0,2}\s(?:(?:is|would\sbe|seems)\s(?:the\s)?"
    r"|(?:as\s)?the\s)(?:most\s\w{1,12}\s)?(?:correct|right|best|answer)|(?:\(([a-j])\)"
    r"|([a-j])\)?)\sis\sthe\s(?:correct|right|best)\s(?:answer|option|choice)|\(([a-j])\)\sis\s(?:correct"
    r"|right)(?![a-z])|i(?:\swould|\swill|'d|'ll)?\s(?:choose|pick|select|go\swith)\s(?:option\s"
    r"|choice\s)?[*_]{0,2}\(?([a-j])\)?(?![\w']))"
    r"|(?:(?:故|应该|应|因此|所以|答案|本题|正确)[,，]?(?:应|该)?|^|[\n，。；])(?:选择|選擇|选|選)[项項]?\s?[:：]?\s?[（(“\"]?([a-j])(?![a-z])"
    r"|(?:选项|選項)(?:应该)?(?:是|为|為)\s?[（(“\"]?([a-j])(?![a-z])"
    r"|(?<![^\W_])(?:(?:‹before›)\s(?:‹option›)|(?:‹option›)\s(?:‹after›))(?:\s?:|\s(?:‹verbs›))\s(?:la\s|el\s"
    r"|die\s)?[*_]{0,2}\(?([a-j])(?![\w'’])"
    r"|(?<![^\W_])(?:‹option›)\s[*_]{0,2}\(?([a-j])\)?[*_]{0,2}\s?(?:‹right›)"
)
_TAKEN_BACK = regex(r"[\s*]?\?|\s(?:only\s)?(?:if|when|were)\b")
_CELLS = ("answer", "final answer", "my answer")


def phrased(text: str, low: str, start: int, end: int) -> Spans:
    """The span after the last label "Answer:" or sentence "the answer is"."""
    for at in positions(low, _STEMS, start, end, 64):
        for announces, own_line in ((_labels, True), (_says, False)):
            match = announces(low, start, at, end)
            if not match:
                continue
            a = _after_fence(low, match.end())
            b = _end_of_phrase(text, low, a, end, own_line=own_line)
            if "and confidence" in match[0] and low.rfind(",", a, b) > a:  # "B, 85%"
                b = low.rfind(",", a, b)
            if low.find("**", a, b) > a and (said := _SAID_IN_BOLD.fullmatch(low, a, b)):
                a, b = said.span(1)
            if low[a:b].strip(" \t*_$.") and not is_placeholder(low[a:b], words=False):
                return [(a, b)]
    return _dialogue(text, low, start, end)


def _labels(low: str, start: int, at: int, end: int) -> re.Match[str] | None:
    """A label "Final answer:" whose noun is at `at`."""
    match = _LABEL.match(low, at, min(end, at + 160))
    if not match:
        return None
    before = low[max(start, at - 31) : at] if at - start > 30 else "\n" + low[start:at]
    head = _BEFORE_LABEL.search(before)
    own_line = head and head[0][0] == "\n" and "|" not in head[0]
    if not head or (match["line"] and not own_line) or _UNSURE.search(before, 0, head.start()):
        return None
    return match


def _says(low: str, start: int, at: int, end: int) -> re.Match[str] | None:
    """The writer's own sentence "the final answer is", whose noun is at `at`."""
    match = _PHRASE.match(low, at, min(end, at + 160))
    begin = max(start, at - 30)
    head = match and _BEFORE_PHRASE.search(low, begin, at)
    if not match or not head or (match["option"] and not head[0]):
        return None
    unsure = _UNSURE.search(low, begin, head.start()) or is_doubtful(low, start, head.start())
    return None if unsure else match


def _dialogue(text: str, low: str, start: int, end: int) -> Spans:
    """ "Q: ...", and on the next line "A: 4"."""
    if low.find("a:", start, end) < 0 or not ("q:" in low or "question" in low or "q :" in low):
        return []
    found = _DIALOGUE.search(low, start, min(end, start + 3000))
    return [(found.end(), _end_of_phrase(text, low, found.end(), end, own_line=True))] if found else []


def _after_fence(low: str, a: int) -> int:
    """The position after an opening code fence, if there is one at `a`."""
    fence = a + lead(low[a : a + 8], " \n")
    return (low.find("\n", fence) + 1 or a) if low.startswith("```", fence) else a


def _end_of_phrase(text: str, low: str, a: int, end: int, *, own_line: bool) -> int:
    """End of an answer in running text: that of its sentence or line; the answer of a label may be on the next line."""
    if own_line:
        a += lead(low[a : min(end, a + 100)], " \t\n*")
    limit = min(end, a + 400)
    for left, right in (("$$", "$$"), ("\\[", "\\]")):
        if low.startswith(left, a):
            close = low.find(right, a + 2, limit)
            return close + 2 if close >= 0 else limit
    head = a + lead(low[a : a + 8], " *_(\"'“")
    stop = sentence_end(text, a, limit)
    stop += low.startswith(".", stop) and _INITIALS.search(low, max(a, stop - 8), stop) is not None
    if not own_line and (affirmed := _AFFIRMED.match(low, head, stop)):
        return affirmed.end()
    reasons = _REASONS.search(low, head + 1, stop)
    is_complete = reasons and low.count("(", a, reasons.start()) == low.count(")", a, reasons.start())
    return reasons.start() if reasons and is_complete else stop


def announced(text: str, low: str, start: int, end: int) -> Spans:
    """The span after "Die Antwort ist", "Réponse :", "答えは" and the like, in the languages of the word table."""
    for at in positions(low, stems("answer_stems", low), start, end, 32):
        for begin in (at, max(start, at - 2)):  # an article may be written as one with its noun
            match = _ANNOUNCED.match(low, begin, min(end, at + 70))
            if match and match.end() > at:
                stop = _end_of_phrase(text, low, match.end(), end, own_line=True)
                tail = _TAIL.search(low, max(match.end(), stop - 12), stop)
                return [(match.end(), tail.start() if tail else stop)]
    return []


def tagged(text: str, low: str, start: int, end: int) -> Spans:
    """Contents of `<answer>` tags, the last first; an unclosed one only if none is closed."""
    closed: Spans = []
    unclosed: Spans = []
    limit = end
    for at in mentions(low, "answer>", start, end) + mentions(low, "answer]", start, end):
        opener = low.rfind("<" if low[at + 6] == ">" else "[", max(start, at - 12), at)
        qualifier = low[opener + 1 : at].replace("_", "").replace(" ", "")
        if opener < 0 or low[opener + 1] in "/\\" or (at > opener + 1 and not qualifier.isalpha()):
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


def _is_example(low: str, start: int, opener: int, begin: int, stop: int) -> bool:
    """True if a tag only shows the required format: "in the form <answer>X</answer>"."""
    before = low[max(start, opener - 3) : opener].strip()
    shown = before[-1:] not in ("", ">", ".") and _FORMAT.search(low, max(start, opener - 40), opener) is not None
    return shown or low[begin:stop].strip() in ("x", "xx", "xxx", "y", "a/b/c/d", "a|b|c|d")


def boxed(text: str, low: str, start: int, end: int) -> Spans:
    """The content of the last closed `\\boxed{}`; also of "\\boxed 5"."""
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


def hashed(text: str, low: str, start: int, end: int) -> Spans:
    """The number (or short text) after the last "####"; a Markdown heading "#### Step 2: ..." does not count."""
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


def chosen(text: str, low: str, start: int, end: int) -> Spans:
    """The letter said to be right: "option D is correct", "I choose B"."""
    tail = max(start, end - 600)
    window = low[tail:end]
    has_verdict = any(stem in window for stem in stems("verdict_stems", window))
    if not has_verdict and (low.isascii() or not _OPTION_WORD.search(low, tail, end)):
        return []
    for match in list(_CHOSEN.finditer(low, tail, end))[:-9:-1]:
        if not is_doubtful(low, start, match.start()) and not _TAKEN_BACK.match(low, match.end(), end):
            return [match.span(match.lastindex or 0)]
    return []


def tabled(text: str, low: str, start: int, end: int) -> Spans:
    """The cell of a Markdown table beside "Answer", or the last one below it if it heads a column."""
    for at in mentions(low, "answer", start, end, 8):
        left, right = low.rfind("\n", max(start, at - 300), at) + 1, low.find("\n", at, at + 300) % (end + 1)
        cell = low.rfind("|", left, at) + 1, low.find("|", at, right)
        if not cell[0] or low[cell[0] : cell[1]].strip(" *_") not in _CELLS:
            continue
        if rows := table_rows(low, at, end, 8):
            begin, column, cells = rows[-1]
            return [(begin, begin + len(cells[column]))]
        begin = cell[1] + 1
        return [(begin, low.find("|", begin, right) % (right + 1))] if begin else []
    return []


ANSWER_PATTERNS = (boxed, hashed, phrased, tabled, announced, chosen)
"""Patterns in the order in which they are tried, after tags and JSON."""
