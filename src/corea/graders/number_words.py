"""Numbers and operations in English words, rewritten in digits and signs.

`in_digits`: "twenty-one days" as "21 days", "two thirds" as "(2/3)"; `in_signs`: "square root of two" as "\\sqrt 2".
"""

import re

_SMALL = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen"""
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_VALUES = {word: i for i, word in enumerate(_SMALL.split())} | {
    word: 20 + 10 * i for i, word in enumerate(_TENS.split())
}
_SCALES = {"dozen": 12, "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_PARTS = {"half": 2, "halve": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7} | {
    "eighth": 8, "ninth": 9, "tenth": 10, "hundredth": 100, "thousandth": 1000
}  # fmt: skip

_WORD = rf"(?:{'|'.join((*_VALUES, *_SCALES))})(?![a-z'’])"
_ANY = re.compile(rf"(?<![\w.])(?:{_WORD}|an?\s+{_WORD}|(?:{'|'.join(_PARTS)})s?\b)", re.I)
_RUN = re.compile(
    rf"(?<![\w.,])(?<!\d\s)(?:an?\s+(?=(?:{'|'.join(_SCALES)})\b))?{_WORD}(?:(?:\s+and\s+|[\s-]{{1,3}}){_WORD})*", re.I
)
_COUNTED_ONE = re.compile(
    r"(?:^|[=:{(,]|\b(?:is|are|was|were|be|about|exactly|only|just|minus|negative|approximately|has|have|had|needs|takes|leaves|gets))\s*$",
    re.I,
)
_PART = re.compile(rf"(?<![\w.,/-])(?P<count>\d{{1,4}}|an?)[\s-]{{1,3}}(?P<part>{'|'.join(_PARTS)})s?(?![a-z])", re.I)
_HALF = re.compile(
    r"(?<![^={,(])\s*half(?=\s*(?:[.,})]|$))|(?<=about\s)half$|(?<![\w-])half(?=\s+(?:an?\s|of\s+[$€£¥]?\d))", re.I
)
_HALF_SCALE = re.compile(rf"(?<![\w-])half\s+an?\s+({'|'.join(_SCALES)})(?![a-z])", re.I)
_MIXED = re.compile(r"(?<![\w.,/-])(\d{1,9})\s+and\s+\(?(?!0)(\d{1,4})/(\d{1,4})(?![\d/])\)?")
_OF = re.compile(r"(?<![\w.,/-])\(?(\d{1,4}/\d{1,4}|\d{1,3}(?:\.\d{1,9})?\s?%)\)?\s+of\s+(?=[$€£¥]?\d)")
"""A part of a number: "(1/2) of 18", "20% of 150"."""


def in_digits(text: str) -> str:
    """The text with its spelled-out numbers in digits; the words of two numbers stay two numbers."""
    if _ANY.search(text):
        text = _words_in_digits(text)
    return _OF.sub(r"(\1) * ", _MIXED.sub(lambda m: f"({m[1]}+{m[2]}/{m[3]})", text))


_ROOT = re.compile(r"(?<![\w\\])(?:the\s+)?(square|cube)\s+root\s+of\s+(?=\S)", re.I)
_SCALED = re.compile(rf"(?<=\d)\s+({'|'.join(_SCALES)})(?![a-z])", re.I)
_OPERATIONS = {
    "plus or minus": "±", "to the power of": "^", "multiplied by": "*", "divided by": "/", "plus": "+", "minus": "-",
    "negative": "-", "times": "*", "over": "/", "squared": "^2", "cubed": "^3", "factorial": "!",
}  # fmt: skip
_OPERATION = re.compile(rf"(?<![\w\\])(?:{'|'.join(_OPERATIONS)})(?!\w)".replace(" ", r"\s+"), re.I)
_PREFIXES = ("±", "-")


def in_signs(text: str) -> str:
    """The text with its spelled-out numbers in digits and its spelled-out operations as signs."""
    if not _WORDY.search(text):
        return text
    plain = _ROOT.sub(lambda match: r"\sqrt " if match[1].lower() == "square" else r"\cbrt ", in_digits(text))
    plain = _SCALED.sub(lambda match: f" * {_SCALES[match[1].lower()]}", plain)
    return _OPERATION.sub(_operation, plain)


_WORDY = re.compile(r"[A-Za-z]{3}")


def _operation(match: re.Match[str]) -> str:
    """The sign of an operation, where there is something for it to operate on."""
    sign = _OPERATIONS[" ".join(match[0].lower().split())]
    return f" {sign} " if sign in _PREFIXES or match.string[: match.start()].strip() else match[0]


def _words_in_digits(text: str) -> str:
    text = _HALF_SCALE.sub(lambda match: str(_SCALES[match[1].lower()] // 2), text)
    text = _RUN.sub(_run, text)
    text = _PART.sub(_part, text)
    return _HALF.sub("(1/2)", text)


def _run(match: re.Match[str]) -> str:
    """A run of number words in digits; "one" stays a word where it counts nothing ("the blue one", "one of them")."""
    words = re.findall(r"[a-z]+", match[0].lower())
    after = match.string[match.end() :]
    if words == ["one"] and not _starts_part(after):
        counted = _COUNTED_ONE.search(match.string, 0, match.start()) and not re.match(r"\s+of\b", after)
        return "1" if counted else match[0]
    return " and ".join(map(str, _numbers(words)))


def _starts_part(after: str) -> bool:
    return re.match(rf"[\s-]{{1,3}}(?:{'|'.join(_PARTS)})", after, re.I) is not None


def _numbers(words: list[str]) -> list[int]:
    """The numbers that number words state, read from left to right: one, unless they do not fit together."""
    numbers, total, current, room = list[int](), 0, 0, 0
    for i, word in enumerate(words):
        if word in ("a", "an"):
            continue
        if word == "and":
            room = room if words[i - 1] in _SCALES else 0
        elif word in _VALUES:
            if not 0 < _VALUES[word] < room and i:
                numbers.append(total + current)
                total = current = 0
            current += _VALUES[word]
            room = 10 if word in _TENS.split() else 0
        elif _SCALES[word] < 1000:
            current, room = max(current, 1) * _SCALES[word], 100 if word == "hundred" else 0
        else:
            total, current, room = total + max(current, 1) * _SCALES[word], 0, 1000
    return [*numbers, total + current]


def _part(match: re.Match[str]) -> str:
    """A fraction in digits; as many parts as a whole or more are things: "36 quarters" are coins."""
    count = 1 if match["count"].lower() in ("a", "an") else int(match["count"])
    whole = _PARTS[match["part"].lower()]
    return match[0] if count >= whole else f"({count}/{whole})"
