"""The final answer that a text states, as written but for markup.

Forms are tried from the most explicit to the least, the last mention of a form counting: `<answer>` tags; a
JSON key "answer"; `\\boxed{}`; a GSM8K line "#### 42"; a line "Answer: 42" or a sentence "the answer is
42"; then, where there is none of these, a text that is itself no more than an answer, the only choice that
the last paragraph names, or what a complete last sentence comes to. What stands outside `<think>` goes
before what stands inside. A text that ends in the middle of its reasoning has no answer: None.

What is not the answer is taken off: `**`, `$`, `\\(`, `\\text{}`, `\\boxed{}`, a closing period, "with
confidence 0.9", and all but the letter of a lettered choice ("B) bank" is "B"). Whether "1,234.50" is
1234.5 is the grader's question.
"""

import re

from corea.reading.text import Stated, ends_of, fold, mentions, outside_thinking

_LONGEST = 4000  # characters of an answer; what is longer was not meant as one
_QUALIFIED = r"final\s|correct\s|right\s|best\s|most\s\w{1,14}\s|my\s|chosen\s|overall\s|short\s"
_CONCLUSIONS = rf"(?:{_QUALIFIED})?"


def read_answer(text: str, *, choices: int | None = None) -> str | None:
    """The final answer as written, trimmed of markup; None where the text states none.

    Args:
        choices: How many lettered options there are; 0: none, so that "E. coli" stays whole; None: unknown.
    """
    stated = find_answer(text, choices=choices)
    return stated.value if stated else None


_PLAINLY = re.compile(
    r"<answer>[ \n]?(-?\d{1,12}(?:\.\d{1,12})?|[A-J])[ \n]?</answer>\s{0,9}"
    r"(?:<confidence>[^<>]{0,40}</confidence>\s{0,9})?\Z"
)


def find_answer(text: str, *, choices: int | None = None) -> Stated[str] | None:
    """The final answer with the characters `text[start:end]` that write it."""
    at = text.rfind("<answer>")
    if (
        at >= 0
        and (plainly := _PLAINLY.match(text, at))
        and text.rfind("</think", 0, at) >= text.rfind("<think", 0, at)
    ):
        return Stated(plainly[1], *plainly.span(1))  # as asked for: no need to look on
    for offset, part in ends_of(text):
        if found := _find(part, choices):
            return Stated(found.value, found.start + offset, found.end + offset)
    return None


def _find(text: str, choices: int | None) -> Stated[str] | None:
    low = fold(text)
    spans = outside_thinking(low)
    for start, end in reversed(spans):
        if found := _explicit(text, low, start, end, choices):
            return found
    if spans != [(0, len(low))]:
        return _explicit(text, low, 0, len(low), choices) or _implied(text, low, *spans[-1], choices)
    return _implied(text, low, 0, len(low), choices)


def _explicit(text: str, low: str, start: int, end: int, choices: int | None) -> Stated[str] | None:
    for find in _FORMS if choices != 0 else _FORMS[:-1]:
        for a, b in find(low, start, end):
            if found := _cleaned(text, a, b, choices):
                return found
    return None


# ---- the forms: each yields spans of `low`, the best first


def _tagged(low: str, start: int, end: int) -> list[tuple[int, int]]:
    """Contents of `<answer>` tags, the last first; one that is never closed only where none is."""
    closed: list[tuple[int, int]] = []
    unclosed: list[tuple[int, int]] = []
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
        if low[begin:stop].strip():
            (closed if stop < limit else unclosed).append((begin, stop))
        limit = max(opener, start)
        if closed:
            break
    return closed + unclosed[:1]


_KEY = re.compile(
    r"[\"'](?:final[_ ]?)?(?:answer|solution)(?:_?choice)?[\"']\s{0,4}:\s{0,4}"
    r"(?:\{\s{0,8}[\"'](?:value|text|letter|choice|result|final)[\"']\s{0,4}:\s{0,4})?"
    r"(?:(\[[^\]\n]{1,200}\])|\"((?:[^\"\\]|\\.){1,2000})\"|'((?:[^'\\]|\\.){1,2000})'|([^\s\"',}\]{\[][^\",}\]\n]{0,200}))"
)


def _keyed(low: str, start: int, end: int) -> list[tuple[int, int]]:
    """The last value of a JSON key "answer"."""
    for at in mentions(low, "answer", start, end)[:16] + mentions(low, "solution", start, end)[:4]:
        quote = max(low.rfind('"', max(start, at - 8), at), low.rfind("'", max(start, at - 8), at))
        if quote >= 0 and (match := _KEY.match(low, quote, end)):
            group = match.lastindex or 0
            if match[group].strip() not in ("null", "none"):
                return [match.span(group)]
    return []


_BRACE = re.compile(r"[{}]")


def _boxed(low: str, start: int, end: int) -> list[tuple[int, int]]:
    """The content of the last `\\boxed{}` that is closed; of boxes in a row, the last."""
    limit = end
    for at in mentions(low, "boxed", start, end)[:16]:
        begin = at + 5
        while begin < limit and low[begin] == " " and begin < at + 8:
            begin += 1
        if begin < limit and low[begin] == "{":
            close = _closing(low, begin, min(limit, begin + _LONGEST))
            if close > begin + 1 and low[begin + 1 : close].strip():
                return [(begin + 1, close)]
        limit = at
    return []


def _closing(low: str, opening: int, limit: int) -> int:
    """The brace that closes the one at `opening`, before `limit`; -1 if none does."""
    depth = 0
    for brace in _BRACE.finditer(low, opening, limit):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return brace.start()
    return -1


_HASHED = re.compile(r"#{4}[ \t:*]{0,4}([^\n#]{1,200})")
_LEADING_NUMBER = re.compile(r"[-−+]?\s?[$€£¥]?\s?[-−]?(?:\d[\d,]{0,40}(?:\.\d{1,20})?|\.\d{1,20})")


def _hashed(low: str, start: int, end: int) -> list[tuple[int, int]]:
    """The number (or short text) after the last "####"; a Markdown heading "#### Step 2: ..." is none."""
    for at in mentions(low, "####", start, end)[:32]:
        match = _HASHED.match(low, at, end)
        if not match or (at > start and low[at - 1] == "#"):
            continue
        a, b = match.span(1)
        number = _LEADING_NUMBER.match(low, a, b)
        if number and re.match(r"[\s,.;]{0,3}(?:%?[\s.,;]{0,3}[a-z]{2,}|$)", low[number.end() : b]):
            return [(a, number.end())]
        heading = low[a:b].rstrip(" *").endswith(":") or re.match(
            r"\W{0,4}(?:step|solution|conclusion|final|answer|calculat|\d{1,2}[.)]\s)", low[a:b]
        )
        if not heading and b - a <= 80 and low[b:end].count("\n") <= 6:
            return [(a, b)]
    return []


_LABEL = re.compile(
    rf"(?:^|[\n>.|*_#-])[ \t>*_#|-]{{0,8}}{_CONCLUSIONS}(?:answer|response|decision|choice|guess|ans)"
    r"(?:\s(?:is|choice|option|and\sconfidence(?:\s?\([^()\n]{1,20}\))?))?[ \t*_]{0,6}[:=][ \t*_]{0,8}"
    r"|(?:^|\n)[ \t]{0,3}[#*_]{1,6}[ \t]{0,2}(?:final\s|short\s)?answer[ \t*_#]{0,6}\n"
    r"|(?:最终)?答案\s?(?:是|为|[:：])\s?"
)
_PHRASE = re.compile(
    rf"(?<![a-z])(?:{_CONCLUSIONS}answer|(?:{_QUALIFIED})(?:choice|option))(?:\s(?:to|for|choice|option|here|based|in|given)(?!\w)[^\n:]{{0,80}}?)?"
    r"\s(?:is|are|would\sbe|should\sbe|must\sbe|=)(?:\stherefore|\sthus|\sthen)?(?!\s(?:not|in|to|that|the\sone|wrong|correct|incorrect|right|valid|invalid|"
    r"unclear|clear|unique|consistent|different|likely)(?!\w)(?!\s{0,3}\())[\s:*_]{1,8}"
)
_UNSURE = re.compile(r"(?:which|whether|what|if|no|not)(?:\s\w{1,12})?\s(?:the\s)?$")
_STEMS = ("answer", "choice", "option", "response", "decision", "guess", "ans:")
_SAFE_BREAK = re.compile(r"[.!?](?=\s|$|[\"'*)])|[\n。]")


def _phrased(low: str, start: int, end: int) -> list[tuple[int, int]]:
    """What follows the last "Answer:" line or "the answer is"."""
    words = _STEMS if low.isascii() else (*_STEMS, "答案")
    stems = [at for word in words for at in mentions(low, word, start, end, 24)]
    for at in sorted(stems, reverse=True)[:64]:
        begin = max(start, at - 30)
        window = low[begin : min(end, at + 160)]
        for pattern, is_label in ((_LABEL, True), (_PHRASE, False)):
            match = next((m for m in pattern.finditer(window) if m.start() <= at - begin < m.end()), None)
            if match and not _UNSURE.search(window, 0, match.start()):
                a = begin + match.end()
                fence = a + _lead(low[a : a + 8], " \n")
                if low.startswith("```", fence):
                    a = low.find("\n", fence) + 1 or a
                b = _end_of_phrase(low, a, end, own_line=is_label)
                if "and confidence" in match[0] and low.rfind(",", a, b) > a:  # "B, 85%"
                    b = low.rfind(",", a, b)
                if low[a:b].strip(" \t*_$."):
                    return [(a, b)]
    return []


_VERDICTS = (" correct", " right", " best", " choose", " pick", " select", " go with", "option", "choice")
_CHOSEN = re.compile(
    r"(?<![a-z])(?:(?:option|choice)\s[*_]{0,2}\(?([a-j])\)?[*_]{0,2}\s(?:is|would\sbe|seems)\s(?:the\s)?(?:most\s\w{1,12}\s)?"
    r"(?:correct|right|best|answer)|(?:\(([a-j])\)|([a-j])\)?)\sis\sthe\s(?:correct|right|best)\s(?:answer|option|choice)"
    r"|\(([a-j])\)\sis\s(?:correct|right)(?![a-z])"
    r"|i(?:\swould|\swill|'d|'ll)?\s(?:choose|pick|select|go\swith)\s(?:option\s|choice\s)?[*_]{0,2}\(?([a-j])\)?(?![\w']))"
)


def _chosen(low: str, start: int, end: int) -> list[tuple[int, int]]:
    """The letter that is said to be the right one: "option D is correct", "I choose B"."""
    tail = max(start, end - 600)
    if not any(low.find(word, tail, end) >= 0 for word in _VERDICTS):
        return []
    found = list(_CHOSEN.finditer(low, tail, end))
    return [found[-1].span(found[-1].lastindex or 0)] if found else []


def _end_of_phrase(low: str, a: int, end: int, *, own_line: bool) -> int:
    """Where an answer in running text stops: at its sentence's or line's end; a label's may come after it."""
    if own_line:
        a += _lead(low[a : min(end, a + 100)], " \t\n*")
    limit = min(end, a + 400)
    if low.startswith(("$$", "\\["), a):
        close = low.find("$$" if low[a] == "$" else "\\]", a + 2, limit)
        return close + 2 if close >= 0 else limit
    for stop in _SAFE_BREAK.finditer(low, a, limit):
        head = low[a : stop.start()].strip(" *(")
        if low[stop.start()] == "." and ((len(head) == 1 and head.isalpha()) or (head.isdigit() and own_line)):
            continue  # "B. bank"
        return stop.start()
    return limit


def _tabled(low: str, start: int, end: int) -> list[tuple[int, int]]:
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
        found: list[tuple[int, int]] = []
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
_ABROAD_STEMS = ("antwort", "réponse", "respuesta", "resposta", "risposta", "ответ", "答え", "答案", "정답")
_ABROAD = re.compile(
    r"(?:antwort|réponse|respuesta|resposta|risposta|ответ|答え|答案|정답)(?:\s(?:finale?|correcta?|correcte|corretta))?"
    r"[*_]{0,2}\s?(?:ist|lautet|est|es|é|è|应该是|是|为|は|은|[:：=])[\s*_]{0,4}(?=\S)"
)
_ABROAD_END = re.compile(r"(?:です|だ|입니다|이다)?[.。]?\s*$")


def _abroad(low: str, start: int, end: int) -> list[tuple[int, int]]:
    """What follows "Die Antwort ist", "Réponse :", "答えは" and their like."""
    stems = [at for word in _ABROAD_STEMS for at in mentions(low, word, start, end, 8)]
    for at in sorted(stems, reverse=True):
        if match := _ABROAD.match(low, at, min(end, at + 60)):
            stop = _end_of_phrase(low, match.end(), end, own_line=True)
            tail = _ABROAD_END.search(low, max(match.end(), stop - 8), stop)
            return [(match.end(), tail.start() if tail else stop)]
    return []


_FORMS = (_tagged, _keyed, _boxed, _hashed, _phrased, _tabled, _abroad, _chosen)

# ---- no explicit form: the text is the answer, or its last sentence ends in one

_NUMBER = re.compile(r"(?<![\w.])[-−]?[$€£¥]?\s?[-−]?(?:\d[\d,]{0,40}(?:\.\d{1,20})?|\.\d{1,20})(?:\s?/\s?\d{1,9})?%?")
_CONFIDENCE_LINE = re.compile(
    r"(?<![a-z])(?:conf(?:idence)?|prob(?:ability)?)(?![a-z])[^\n]{0,200}|<confidence[^\n]{0,100}"
)


_BARE_TAGS = re.compile(r"</?[a-z]{1,20}>")


def _implied(text: str, low: str, start: int, end: int, choices: int | None) -> Stated[str] | None:
    """An answer that nothing announces: a text of one short line, or what its last sentence comes to."""
    tail = max(start, end - 600)
    found = "conf" in low[tail:end] or "prob" in low[tail:end]
    found = _CONFIDENCE_LINE.search(low, tail, end) if found else None
    if found and found.start() > start and found.end() + 40 >= end:
        end = found.start()
    end = start + len(low[start:end].rstrip(" \t\n\r*_`|-"))
    start += _lead(low[start:end], " \t\n\r")
    if start >= end:
        return None
    one_line = end - start <= 60 and "\n" not in low[start:end]
    if one_line and low[end - 1] not in ":=+?" and _BARE_TAGS.sub("", low[start:end]).strip("<>/ "):
        sentence = _last_number(text, low, start, end) if low.count(" ", start, end) > 3 else None
        return sentence or _cleaned(text, start, end, choices)
    if low[end - 1] not in ".!)]$%}\"'" or low.endswith(("...", "####", " $", "=$"), start, end):
        return None  # cut off in the middle
    return _lettered_paragraph(low, start, end, choices) or _last_number(text, low, start, end)


_DRESSED = re.compile(r"(?<![\w(])\(([a-j])\)\s")
_SENTENCE_END = re.compile(r"[.!?]\s|\n")
_ABBREVIATED = ("mr", "mrs", "ms", "dr", "st")
_ASIDE = re.compile(
    r"(?:\b(?:in|for|after|every|per|within|over|first|next|last|full|during|than|by|step|day|week)|[,(])\s$"
)


def _lettered_paragraph(low: str, start: int, end: int, choices: int | None) -> Stated[str] | None:
    """The letter of the only choice that the last paragraph names: "they experience (D) getting hurt."."""
    begin = max(low.rfind("\n\n", start, end), start, end - 600)
    named = [] if choices == 0 or low.find("(", begin, end) < 0 else list(_DRESSED.finditer(low, begin, end))
    if not named or len({match[1] for match in named}) > 1:
        return None
    return Stated(named[-1][1].upper(), *named[-1].span(1))


def _last_number(text: str, low: str, start: int, end: int) -> Stated[str] | None:
    """What a last sentence comes to.

    The number after its last "=", else the last amount of money, else the last number but asides ("in 5 weeks").
    """
    tail = max(start, end - 400)
    ends = [m for m in _SENTENCE_END.finditer(low, tail, end - 1) if not low.endswith(_ABBREVIATED, tail, m.start())]
    begin = ends[-1].end() if ends else tail
    equals = low.rfind("=", begin, end)
    if equals >= 0 and (result := _NUMBER.search(low, equals, end)):
        return _cleaned(text, *result.span(), 0)
    numbers = list(_NUMBER.finditer(low, begin, end))
    money = [m for m in numbers if any(sign in m[0] for sign in "$€£¥")]
    plain = [m for m in numbers if not _ASIDE.search(low, max(begin, m.start() - 10), m.start())]
    chosen = (money or plain or numbers)[-1:]
    return _cleaned(text, *chosen[0].span(), 0) if chosen else None


# ---- taking off what is not the answer


def _lead(text: str, characters: str) -> int:
    """How many of its first characters are among `characters`."""
    return len(text) - len(text.lstrip(characters))


_WRAPPED = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|boxed|fbox|mbox|operatorname)\s?\{", re.I)
_CONFIDENCE_TAIL = re.compile(
    r"[\s,;.(]{1,3}(?:(?:and|with)\s)?(?:a\s|an\s|my\s|the\s)?(?:\d{1,3}%\s)?confidence(?!\s(?:interval|limit|band))(?:\slevel)?"
    r"(?:\s(?:in|for)\s[\w\s]{1,30})?\s{0,2}(?:of|is|:|=|\)|$)",
    re.I,
)
_SAYS = re.compile(
    rf"^(?:[^\n.!?]|\.(?=\S)){{0,300}}?(?<![a-z])(?<!this\s)(?<!that\s){_CONCLUSIONS}(?:answer|choice|option)(?:\schoice|\soption)?\s(?:is|would\sbe)[\s:]{{1,3}}(?=\S)",
    re.I,
)
_FIELD = re.compile(
    r"^\s{0,4}(?:final[ _]answer|answer|result|solution|response|decision|choice)\s{0,2}[:=]\s{0,4}([^\n]{1,300})", re.I
)
_EDGE = " \t\r\n*`_"
_PAIRS = (
    ("$$", "$$"),
    ("$", "$"),
    ("\\(", "\\)"),
    ("\\[", "\\]"),
    ('"', '"'),
    ("'", "'"),
    ("“", "”"),
    ("<<", ">>"),
)


def _cleaned(text: str, start: int, end: int, choices: int | None) -> Stated[str] | None:
    """The span with its markup taken off, as a found answer; None where nothing is left."""
    start, end = _inner(text, start, min(end, start + _LONGEST))
    low_end = min(end, start + 700)
    if text.find("onfidence", start, low_end) >= 0 and (tail := _CONFIDENCE_TAIL.search(text, start + 1, low_end)):
        start, end = _inner(text, start, tail.start())
    wordy = end - start > 7 and any(c in text[start:low_end] for c in " :=")
    for pattern, group in ((_FIELD, 1), (_SAYS, 0)) if wordy else ():
        if end - start > 1 and (match := pattern.match(text[start : min(end, start + 700)])):
            stop = min(start + match.end(1), end) if group else end
            start, end = _inner(text, start + (match.start(1) if group else match.end()), stop)
    if (box := text.rfind("\\boxed{", start, end)) >= 0:
        close = _closing(text, box + 6, end)
        if close > 0:
            start, end = _inner(text, box + 7, close)
    if not text[start:end].strip():
        return None
    written = text[start:end]
    letter = choice_letter(written, choices) if end - start <= 400 else None
    return Stated(letter or (written if "\\\\" in written else written.replace("\\ ", " ")), start, end)


def _inner(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without the wrappers around it, at most eight deep."""
    for _ in range(8):
        if start < end and text[start].isalnum() and text[end - 1].isalnum():
            break
        before = (start, end)
        start += _lead(text[start:end], _EDGE)
        end = start + len(text[start:end].rstrip(_EDGE))
        if end > start and text[end - 1] in ".,;" and not text.endswith("..", start, end):
            end -= 1
        if text.startswith("\\", end - 1, end) and end > start:
            end -= 1
        for left, right in _PAIRS:
            if (
                end - start >= len(left) + len(right)
                and text.startswith(left, start, end)
                and text.endswith(right, start, end)
            ):
                inside = text[start + len(left) : end - len(right)].replace("\\$", "")
                if left not in inside and right not in inside:
                    start, end = start + len(left), end - len(right)
        if text.startswith("\\$", start, end):
            start += 2
        elif text.startswith("$", start, end) and text.find("$", start + 1, end) < 0:
            start += 1  # a currency sign, or the rest of a pair
        elif text.startswith("$", end - 1, end) and text.find("$", start, end - 1) < 0:
            end -= 1
        if (match := _WRAPPED.match(text, start, end)) and _closing(text, match.end() - 1, end) == end - 1:
            start, end = match.end(), end - 1
        if (start, end) == before:
            break
    return start, end


_LONE = re.compile(r"(?:(?:option|choice|answer|letter)\s{0,2})?[(\[{]?\s?([A-Z])\s?[)\]}]?[.):]?", re.I)
_LETTERED = re.compile(
    r"(?:(?:option|choice|answer)\s{0,2})?(?:[(\[]([A-Z])[)\]][\s:.,-]{0,4}|([A-Z])(?:\s?[):]|\.(?=\s)|\s[-–—]\s|,?\s(?=because|since|as\s|which))\s{0,4})(?=\S)",
    re.I,
)
_TRAILING = re.compile(r"\s\(?(?:option|choice|answer)?\s?\(([A-Z])\)$|\s\((?:option|choice|answer)\s([A-Z])\)$", re.I)
_ANOTHER = re.compile(r"(?:\band\b|\bor\b|[,;/&]|\n)\s{0,3}(?:option\s)?(?:\([A-Z]\)|[A-Z][).:])")


_MARKUP = re.compile(r"\\text(?:bf|it)?|\\mathrm|\*\*|[{}*]")


def choice_letter(answer: str, choices: int | None = None) -> str | None:
    """The letter of a choice in any of its dresses (B, (b), B) bank, Option B, bank (B)), else None.

    Where the number of choices is not known, only capitals A to J are letters, but for a lone "(b)" or "b)".
    """
    if choices == 0 or (answer[:1].isdigit() and not answer.endswith(")")):
        return None
    text = _MARKUP.sub("", answer).replace("\\ ", " ").strip(" _`$\\.,")
    if match := _LONE.fullmatch(text):
        letter = match[1]
        dressed = len(text) > 1
    elif match := _LETTERED.match(text):
        if _ANOTHER.search(text, match.end()):
            return None
        letter = match[1] or match[2]
        dressed = True
        if letter.islower() and choices is None:
            return None
    elif len(text) <= 120 and (match := _TRAILING.search(text)):
        letter, dressed = match[1] or match[2], True
    else:
        return None
    if letter.islower() and not (dressed or choices):
        return None
    index = ord(letter.upper()) - ord("A")
    return letter.upper() if index < (choices or 10) else None
