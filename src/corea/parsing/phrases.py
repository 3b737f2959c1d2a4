"""Labels and sentences that announce an answer: "Final answer: 42", "the answer is 42", "Die Antwort ist 42"."""

import re

from corea.parsing.answer_words import ANNOUNCED, LATIN_STEMS, STEMS, TAIL
from corea.parsing.asides import is_doubtful
from corea.parsing.cleaning import is_placeholder
from corea.parsing.corrections import RATHER
from corea.parsing.sentence_ends import sentence_end
from corea.parsing.text import CONCLUSIONS, lead, mentions

Spans = list[tuple[int, int]]

_ARROW = r"(?:=>|->|[:=：]|→|⇒|—|–|-(?=\s))"
_EMOJI = r"[\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff\ufe0f]"
_LABEL = re.compile(
    rf"(?:answer|response|decision|choice|guess|ans|option|selection|pick)s?"
    rf"(?:\s(?:is|choice|option|and\sconfidence(?:\s?\([^()\n]{{1,20}}\))?))?"
    rf"(?:\s?\([^()\n]{{1,20}}\)(?=[ \t*_]{{0,6}}[:：]))?(?:[ \t*_]|{_EMOJI}){{0,8}}{_ARROW}[ \t*_]{{0,8}}"
    r"(?:[|>]-?[ \t]*\n[ \t]*|\n{1,2}>[ \t])?"
    r"|(?P<line>answer[ \t*_#:]{0,6}\n|ans\.\s|answer[ \t*_]{1,3}(?=\([a-j]\)|\*\*)"
    r"|answer[ \t*_]{0,4}\|[ \t*_]{0,4}(?!confidence))"
)
"""A label at its noun; `line`: forms that need a line of their own."""
_BEFORE_LABEL = re.compile(
    rf"[\n>.|][^\w\n\\$(]{{0,10}}(?:\d{{1,2}}\.\s)?(?:the\s|so\s|therefore,?\s|thus,?\s)?{CONCLUSIONS}$"
)
_PHRASE = re.compile(
    r"(?:answers?|(?P<option>(?:choice|option|letter)s?))(?:\s(?:to|for|choice|option"
    r"|here|based|in|given)(?!\w)[^\n:]{0,80}?)?"
    r"(?:[*_]{0,2}\s(?:is|are|was|would\sbe|should\sbe|must(?:\stherefore)?\sbe|will\sbe|has\sto\sbe"
    r"|seems\s(?:to\sbe|like)|appears\sto\sbe|turns\sout\sto\sbe|"
    r"comes\s(?:out\s)?to(?:\sbe)?|becomes|equals|=)|'s|’s|(?<=n\sanswer)\sof|(?<=final\sanswer)\sof"
    r"|(?<=answer):(?=[ *_]{1,4}[^\s*_]))(?:\s(?:therefore|thus|then|simply|clearly|just|actually|indeed))?"
    r"(?:\snot\s[^.\n]{1,60}?,?\sbut(?:\srather)?)?"
    r"(?!\s(?:not|in|to|that|the\sone|the\ssame|wrong|correct|incorrect|right|valid|invalid|as\sfollows|based|given"
    r"|obtained|found|"
    r"unclear|clear|unique|consistent|different|likely)(?!\w)(?!\s{0,3}\())[\s:*_]{1,8}"
)
"""A sentence that gives the answer, from its noun on; `option`: nouns that need a qualifier before them."""
_BEFORE_PHRASE = re.compile(rf"(?<![a-z]){CONCLUSIONS}$")
_UNSURE = re.compile(
    r"(?:which|whether|what|if|no|not|wrong|incorrect|common|initial|first|previous|earlier|usual|typical|tempting"
    r"|intuitive|"
    r"naive|obvious|old|original|an?other|student'?s?|his|her|their|possible)(?:\s(?!so|then"
    r"|is)\w{1,12})?\s(?:the\s|an?\s)?$"
)
_STEMS = ("answer", "choice", "option", "response", "decision", "guess", "ans", "selection", "pick", "letter")
_REASONS = re.compile(
    r",?\s(?:because|since|which|where|who(?:se)?|given\sthat|rather\sthan|instead\sof|and\snot|as\s(?:it|they|the|this|that"
    r"|he|she|we))\s"
    r"|,\s(?:weil|da|denn|parce\sque|car|puisque|porque|ya\sque|pois|perché|poiché|omdat|ponieważ|потому\sчто"
    r"|так\sкак)\s|，因为"
    rf"|{RATHER}"
    r"|,\s(?:i\.e\.|e\.g\.|that\sis,|but\s(?:i\s|i['’]m)|though\s|although\s)"
    r"|,\s(?:not|so|as|meaning|hence|while)\s|\s[–—]\s(?=[a-z])|\.\s(?=confidence)"
)
_AFFIRMED = re.compile(r"(?:yes|no|true|false)(?=,\s)")


def phrased(text: str, low: str, start: int, end: int) -> Spans:
    """What follows the last "Answer:" line or "the answer is"."""
    stems = {at for word in _STEMS if word in low for at in mentions(low, word, start, end, 24)}
    for at in sorted(stems, reverse=True)[:64]:
        for announces, own_line in ((_labels, True), (_says, False)):
            match = announces(low, start, at, end)
            if not match:
                continue
            a = _after_fence(low, match.end())
            b = _end_of_phrase(text, low, a, end, own_line=own_line)
            if "and confidence" in match[0] and low.rfind(",", a, b) > a:  # "B, 85%"
                b = low.rfind(",", a, b)
            a, b = _bold_within(low, a, b)
            if low[a:b].strip(" \t*_$.") and not is_placeholder(low[a:b], words=False):
                return [(a, b)]
    return _dialogue(text, low, start, end)


def _labels(low: str, start: int, at: int, end: int) -> re.Match[str] | None:
    """A label "Final answer:" whose noun stands at `at`."""
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
    """A sentence "the final answer is" of the writer's own, whose noun stands at `at`."""
    match = _PHRASE.match(low, at, min(end, at + 160))
    begin = max(start, at - 30)
    head = match and _BEFORE_PHRASE.search(low, begin, at)
    if not match or not head or (match["option"] and not head[0]):
        return None
    unsure = _UNSURE.search(low, begin, head.start()) or is_doubtful(low, start, head.start())
    return None if unsure else match


_SAID_IN_BOLD = re.compile(r"\s*[^*\n:]*[a-z]{2,}[^*\n:]*\s\*\*([^*\n]*\d[^*\n]*)\*\*[^*\d\n]*")


def _bold_within(low: str, a: int, b: int) -> tuple[int, int]:
    """The value that a sentence prints bold: "The shop made a profit of **$1,250**."."""
    said = _SAID_IN_BOLD.fullmatch(low, a, b) if low.find("**", a, b) > a else None
    return said.span(1) if said else (a, b)


_DIALOGUE = re.compile(r"(?:^|\n)[ \t*]{0,4}q(?:uestion)?\s?:[^\n]{1,600}\n{1,3}[ \t*]{0,4}a\s?:[ \t*]{0,4}(?=\S)")


def _dialogue(text: str, low: str, start: int, end: int) -> Spans:
    """ "Q: ...", and on the next line "A: 4"."""
    if low.find("a:", start, end) < 0 or not ("q:" in low or "question" in low or "q :" in low):
        return []
    found = _DIALOGUE.search(low, start, min(end, start + 3000))
    return [(found.end(), _end_of_phrase(text, low, found.end(), end, own_line=True))] if found else []


def _after_fence(low: str, a: int) -> int:
    """The place after an opening code fence, if one stands at `a`."""
    fence = a + lead(low[a : a + 8], " \n")
    return (low.find("\n", fence) + 1 or a) if low.startswith("```", fence) else a


_INITIALS = re.compile(r"(?<![a-z])[a-z]\.\s?[a-z]$")  # the period after "D.C" belongs to it


def _end_of_phrase(text: str, low: str, a: int, end: int, *, own_line: bool) -> int:
    """Where an answer in running text stops: at its sentence's or line's end; a label's may come after it."""
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
    return (
        reasons.start()
        if reasons and low[a : reasons.start()].count("(") == low[a : reasons.start()].count(")")
        else stop
    )


def announced(text: str, low: str, start: int, end: int) -> Spans:
    """What follows "Die Antwort ist", "Réponse :", "答えは" and their like, in the languages of the table."""
    words = LATIN_STEMS if low.isascii() else STEMS
    stems = [at for word in words if word in low for at in mentions(low, word, start, end, 8)]
    for at in sorted(stems, reverse=True)[:32]:
        for begin in (at, max(start, at - 2)):  # an article may be written as one with its noun
            match = ANNOUNCED.match(low, begin, min(end, at + 70))
            if match and match.end() > at:
                stop = _end_of_phrase(text, low, match.end(), end, own_line=True)
                tail = TAIL.search(low, max(match.end(), stop - 12), stop)
                return [(match.end(), tail.start() if tail else stop)]
    return []
