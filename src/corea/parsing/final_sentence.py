"""The answer of a text that announces none: a short text itself, or the result of its last sentence.

`sentence_result` reads a sentence; final remarks, hypotheticals and other people's views are skipped.
"""

from corea.parsing.cleaning import AnswerSpan, choice_letter, cleaned, is_placeholder
from corea.parsing.discourse import is_check, is_hypothetical, is_remark, refuses
from corea.parsing.numbers import amounts
from corea.parsing.sentence_result import WORDY, labelled_result, labelled_value, sentence_result
from corea.parsing.text import closing_brace, last_sentence, lead, regex

_CONFIDENCE_LINE = regex(
    r"(?<![a-z])(?:conf(?:idence)?|prob(?:ability)?)(?![a-z])(?:\s(?:level|score|rating))?[\s*_]{0,4}[:=][^\n]{0,200}"
    r"|<confidence[^\n]{0,100}|(?<![a-z])confidence(?![a-z])[^\n]{0,200}"
)
_TOKEN = regex(r"(?:<\|[^<>|]{1,30}\|>|</s>|<end_of_turn>|<eos>)\s*$")
_SPACE = " \t\r\n*_`|~-–—#"
_TERMINALS = ".!)]$%}\"'”’*。！」』_?"
_BARE_TAGS = regex(r"</?[a-z]{1,20}>")
_DECORATION = regex(r"(?:[\u2600-\u27bf\u25a0-\u25ff\u220e\u2b00-\u2bff\U0001f000-\U0001faff\ufe0f\u200d\u200b]|\s)+$")
_ITEM = regex(r"[ \t]{0,6}(?:[-*•–]|\(?\d{1,2}[.)])[ \t]+\S")
_MARKER = regex(r"\s{0,6}[*_]{0,2}\(?\d{1,2}[.)][*_]{0,2}[ \t]+(?=\S)")
_FIELD_ITEM = regex(r"[ \t]{0,6}(?:[-*•–]|\(?\d{1,2}[.)])[ \t]+[^\n:=]{1,60}[:–—][ \t*_]{0,4}[^\n:=]{1,30}$")
_CHANCE = regex(r"prob(?:ability)?[\s*_]{0,3}[:=][\s*_]{0,4}\d{1,3}(?:\.\d{1,3})?\s?%\W{0,4}")  # a confidence
_SENTENCE_START = regex(r"(?:‹sentence_start›)[\s,]")
_SUBJECT = regex(
    r"(?:the|an?|each|every|all|half|so|this|that|these|those|his|her|my|our|their|it|there|\d[\d.,]*%?)(?:['’]s)?\s"
)
_BUT = regex(r"[\s,;](?:but|however|yet|though|in\sfact|actually)[,\s]")
_NOT_SAID = regex(
    r"\banswers?\s(?:is|are)\s(?:(?:\w{4,10}ly\s)?not|_{2,})(?![^.]*\bbut\b)"
    r"|:\s{0,3}_{2,}"
    r"|^(?:so,?\s|thus,?\s|therefore,?\s)?(?:the\s|my\s)?(?:\w{2,10}\s)?answer(?:\sis)?[:\s]*$"
)
_YES = regex(r"[*_]{0,2}(?:(yes|no|true|false)(?=[.,!;:*—–]|\s[-–—]\s)(?!,?\s(?:wait|that|this|let|but|not)\b))")
_LETTER = regex(
    r"(?:(?<![^\W_])(?:it(?:'s|’s|\sis)|that(?:'s|\sis)|must\sbe|should\sbe|would\sbe|answer\sis|is|so|thus|therefore"
    r"|hence|then|choose|pick|select|go(?:ing)?\swith|answer|to|with|say|be|=|→|->|:)[,:]?\s{1,2}(?:definitely\s"
    r"|probably\s|clearly\s|likely\s|option\s|choice\s|answer\s|letter\s"
    r"|the\sanswer\sis\s){0,2})[*_]{0,2}(?:\(([a-j])\)|([b-j])(?![\w'’&/+#-])|(a)(?=[*_.)]|$))"
)
_FITS = regex(
    r"(?<![^\W_])(?:option\s)?[*_]{0,2}\(?([a-j])\)?[*_]{0,2}\s(?:fits|matches|works|satisfies|correctly|accurately"
    r"|best|is\s(?:the\s)?(?:correct|right|best|only|most))(?![a-z])"
)
_DRESSED = regex(r"(?<![\w(])\(([a-j])\)(?=\W|$)")


def final_answer(
    text: str, low: str, start: int, end: int, choices: int | None, *, after_another: bool = False
) -> AnswerSpan | None:
    """An answer that nothing announces.

    Args:
        after_another: The text follows one that had an answer: only what is clearly a value counts.
    """
    first = start
    while token := _TOKEN.search(low, max(start, end - 40), end):
        end = token.start()
    whole = end
    box = low.rfind("boxed{", start, end)
    if low[start:end].rstrip().endswith("####") or (box >= 0 and closing_brace(low, box + 5, end) < 0):
        return None  # cut off before the value
    end, about_chance = _without_confidence(low, start, end)
    start += lead(low[start:end], _SPACE + ">")
    if start >= end:
        return None
    start -= low[start] in "0123456789$." and low.startswith("-", max(start - 1, first))
    if low[start] == "{" and low.find('"answer"', start, end) >= 0:
        return None  # JSON whose answer is null
    last = last_sentence(text, start, end)
    if refuses(text[start:end]) or refuses(text[last:end]):
        return AnswerSpan(None, start, end)
    kept, last = _without_remarks(text, low, start, end, last)
    if kept <= start:
        return None
    if affirmed := _affirmed(text, low, start, kept) or _lettered_first(text, start, kept, choices):
        return affirmed
    if not after_another and (found := _short(text, low, start, kept, choices)):
        return found if found.value != "" else None
    if total := labelled_result(text, low, last, kept):
        return total
    if (kept == end == whole and low[end - 1] not in _TERMINALS) or low.endswith(
        ("...", "…", "####", " $", "=$"), start, kept
    ):
        return None  # cut off in the middle
    if _lists_fields(low, start, last, kept):
        return None
    return _of_sentences(text, low, start, kept, last, choices, about_chance=about_chance)


def _without_confidence(low: str, start: int, end: int) -> tuple[int, bool]:
    """End of a text before its final lines on confidence, and True if one of them calls it a probability."""
    about_chance = False
    for _ in range(4):
        end = start + len(low[start:end].rstrip(_SPACE[:-1]))
        tail = max(start, end - 600)
        near = low.find("conf", tail, end) >= 0 or low.find("prob", tail, end) >= 0
        lines = _CONFIDENCE_LINE.finditer(low, tail, end) if near else ()
        line = next((match for match in lines if match.end() + 3 >= end), None)
        if not line or (line[0].startswith("prob") and (":" not in line[0] or line.start() == start)):
            break
        if low[start : line.start()].rstrip(" *_").endswith((" of", " the", " is", " a", " my", "%")):
            break
        if line.start() == start:
            return start, False
        about_chance = about_chance or line[0].startswith("prob")
        end = line.start()
    return start + len(low[start:end].rstrip(_SPACE)), about_chance


def _without_remarks(text: str, low: str, start: int, end: int, begin: int) -> tuple[int, int]:
    """End of a text before its final remarks, and start of its last sentence.

    Args:
        begin: Start of the last sentence of `text[start:end]`.
    """
    end = _without_listed_offer(low, start, end, begin)
    for _ in range(12):
        end = start + len(low[start:end].rstrip(" \t\r\n"))
        if decoration := _DECORATION.search(low, max(start, end - 12), end):
            end = decoration.start()
        end = start + len(low[start:end].rstrip(" \t\r\n#|`-–—"))
        if end <= begin:
            begin = last_sentence(text, start, end) if end > start else start
        bare = begin + lead(low[begin:end], " \t\n")
        is_number = bare <= start and low[start:end].strip(_SPACE)[:1].isdigit()
        if end <= start or is_number or not is_remark(low[bare:end]):
            break
        if bare <= start:
            return (start if end - start > 12 or low[end - 1] == "?" else end), start
        end = begin = bare
    return end, begin


def _without_listed_offer(low: str, start: int, end: int, begin: int) -> int:
    """End of a text before "If you like, I can also:" and the list after it, whose last item is at `begin`.

    The given end if there is no such list.
    """
    at = low.rfind("\n", start, begin + 1) + 1
    for _ in range(8):
        if at <= start or not (_ITEM.match(low, at, end) or not low[at : low.find("\n", at)].strip()):
            break
        at = low.rfind("\n", start, at - 1) + 1
    line = low[max(at, start) : low.find("\n", at, end) % (end + 1)].strip(" *_\n")
    return at if at > start and line.endswith((":", "?")) and begin > at and is_remark(line) else end


def _lists_fields(low: str, start: int, begin: int, end: int) -> bool:
    """True if the line at `begin` and the one before it are rows of a list of names and values."""
    if begin <= start or not _FIELD_ITEM.match(low, begin, end):
        return False
    above = max(low.rfind("\n", start, max(start, begin - 1)) + 1, start)
    return _FIELD_ITEM.match(low, above, begin - 1) is not None


def _short(text: str, low: str, start: int, end: int, choices: int | None) -> AnswerSpan | None:
    """The answer of a text of one short line; its value is "" if the line states none."""
    if end - start > 80 or "\n" in low[start:end] or low[end - 1] in ":=+?" or last_sentence(text, start, end) > start:
        return None
    bare = _BARE_TAGS.sub("", low[start:end]).strip("<>/ .…?")
    if is_placeholder(bare, words=False) or _NOT_SAID.search(low[start:end]):
        return AnswerSpan("", start, end)
    if choices == 0 and low.startswith("a: ", start):
        start += 3
    elif low.startswith("=", start):
        start += 1
    if _CHANCE.fullmatch(low, start, end):
        return AnswerSpan("", start, end)
    if field := labelled_value(text, low, start, end):
        return field
    found = amounts(low, start, end)
    if _is_sentence(low, start, end) or (low.count(" ", start, end) > 2 and any(a.is_formula for a in found)):
        begin = _own_statement(low, start, end)
        value = begin >= 0 and (_letter(low, begin, end, choices) or sentence_result(text, low, begin, end))
        if value or end - start > 60 or found or begin != start:
            return value or AnswerSpan("", start, end)
    elif letter := _letter(low, start, end, choices):
        return letter
    return cleaned(text, start, end, choices) if end - start <= 60 else None


def _is_sentence(low: str, start: int, end: int) -> bool:
    """True if a line has a verb, and is not only the name of an answer."""
    spaces = low.count(" ", start, end)
    ends = low[end - 1]
    if (spaces > 1 and ends == "." and not low.isascii()) or (ends == "。" and end - start > 8):
        return True  # in any language
    if low.find("=", start, end) >= 0 or low.find("≈", start, end) >= 0:
        return True
    if spaces > 3 and (_SUBJECT.match(low, start, end) or (ends == "." and _SENTENCE_START.match(low, start, end))):
        return True
    return spaces > 2 and WORDY.search(low, start, end) is not None


def _own_statement(low: str, start: int, end: int) -> int:
    """Start of the writer's own view in a sentence, after "some say 12, but"; -1 if there is none."""
    if not is_hypothetical(low[start:end]):
        return start
    turns = list(_BUT.finditer(low, start, end))
    begin = turns[-1].end() if turns else end
    return begin if begin < end and not is_hypothetical(low[begin:end]) else -1


def _affirmed(text: str, low: str, start: int, end: int) -> AnswerSpan | None:
    """ "Yes" of "Yes, since 7 is prime." """
    found = _YES.match(low, start, min(end, start + 12))
    return AnswerSpan(text[slice(*found.span(1))], *found.span(1)) if found else None


def _lettered_first(text: str, start: int, end: int, choices: int | None) -> AnswerSpan | None:
    """The letter that is the whole first line, before an explanation."""
    line = text.find("\n", start, min(end, start + 24))
    letter = choice_letter(text[start:line].strip(), choices) if line >= 0 and choices else None
    return AnswerSpan(letter, start, line) if letter and sum(map(str.isalnum, text[start:line])) == 1 else None


def _letter(low: str, start: int, end: int, choices: int | None) -> AnswerSpan | None:
    """The letter that a sentence concludes with: "So B.", "I think it's (C).", "B fits best." """
    if choices == 0 or (choices is None and low.find("(", start, end) < 0):
        return None
    for pattern in (_LETTER, _FITS):
        for match in reversed(list(pattern.finditer(low, start, end))):
            letter = match[match.lastindex or 1]
            dressed = low[match.start(match.lastindex or 1) - 1] == "("
            last = not low[match.end() : end].strip(" .*_)!")
            if ord(letter) - ord("a") >= (choices or 10) or not (choices or dressed):
                continue
            if pattern is _FITS or last or dressed or low[match.end() : match.end() + 1] in ".,:;)":
                return AnswerSpan(letter.upper(), *match.span(match.lastindex or 1))
    return None


def _lettered_paragraph(low: str, start: int, end: int, choices: int | None) -> AnswerSpan | None:
    """The letter of the only choice in the last paragraph: "they experience (D) getting hurt."."""
    begin = max(low.rfind("\n\n", start, end), start, end - 600)
    named = [] if choices == 0 or low.find("(", begin, end) < 0 else list(_DRESSED.finditer(low, begin, end))
    if not named or len({match[1] for match in named}) > 1 or ord(named[0][1]) - ord("a") >= (choices or 10):
        return None
    return AnswerSpan(named[-1][1].upper(), *named[-1].span(1))


def _of_sentences(
    text: str, low: str, start: int, end: int, begin: int, choices: int | None, *, about_chance: bool
) -> AnswerSpan | None:
    """The result of the last sentence that is the writer's own statement."""
    for _ in range(4):
        if marker := _MARKER.match(low, begin, end):
            begin = marker.end()
        sentence = low[begin:end]
        own = _own_statement(low, begin, end)
        if sentence.strip(" \n*_") and own >= 0 and not (is_check(sentence) or is_remark(sentence)):
            break
        if begin <= start:
            return None
        end = start + len(low[start:begin].rstrip(" \t\r\n#|`-–—"))
        begin = last_sentence(text, start, end)
    else:
        return None
    if about_chance and ("probab" in sentence or "%" in sentence):
        return None  # its result is the confidence
    letter = _letter(low, own, end, choices) or _lettered_paragraph(low, start, end, choices)
    return letter or sentence_result(text, low, own, end)
