"""The forms in which a text announces its answer: each finds spans of the folded text, the best first."""

import re

from corea.reading.text import CONCLUSIONS, LONGEST, QUALIFIED, closing_brace, lead, mentions


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


def _boxed(low: str, start: int, end: int) -> list[tuple[int, int]]:
    """The content of the last `\\boxed{}` that is closed; of boxes in a row, the last."""
    limit = end
    for at in mentions(low, "boxed", start, end)[:16]:
        begin = at + 5
        while begin < limit and low[begin] == " " and begin < at + 8:
            begin += 1
        if begin < limit and low[begin] == "{":
            close = closing_brace(low, begin, min(limit, begin + LONGEST))
            if close > begin + 1 and low[begin + 1 : close].strip():
                return [(begin + 1, close)]
        limit = at
    return []


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
    rf"(?:^|[\n>.|*_#-])[ \t>*_#|-]{{0,8}}{CONCLUSIONS}(?:answer|response|decision|choice|guess|ans)"
    r"(?:\s(?:is|choice|option|and\sconfidence(?:\s?\([^()\n]{1,20}\))?))?[ \t*_]{0,6}[:=][ \t*_]{0,8}"
    r"|(?:^|\n)[ \t]{0,3}[#*_]{1,6}[ \t]{0,2}(?:final\s|short\s)?answer[ \t*_#]{0,6}\n"
    r"|(?:最终)?答案\s?(?:是|为|[:：])\s?"
)
_PHRASE = re.compile(
    rf"(?<![a-z])(?:{CONCLUSIONS}answer|(?:{QUALIFIED})(?:choice|option))(?:\s(?:to|for|choice|option|here|based|in|given)(?!\w)[^\n:]{{0,80}}?)?"
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
                fence = a + lead(low[a : a + 8], " \n")
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
        a += lead(low[a : min(end, a + 100)], " \t\n*")
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


FORMS = (_tagged, _keyed, _boxed, _hashed, _phrased, _tabled, _abroad, _chosen)
