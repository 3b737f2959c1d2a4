"""The words around an answer: a sentence that states it, and a condition after it."""

import re

from corea.graders.units import is_hedge

_MEMBER = re.compile(
    r"[,;]?\s*(?:\\q?quad\s*)?(?:\\text\{\s*(?:where|for|with)\s*\}|where|for|with)?\s*[($]*\s*([a-z])\s*(?:\\in|∈)\s*"
    r"(?:\\mathbb\s*\{?([ZNQR])\}?|([ℤℕℚℝ])|(Z|N|Q|R))\s*[)$]*\s*\.?$"
)


_TAIL = 80  # characters in which a condition is looked for


def condition_of(text: str) -> tuple[str, str]:
    """The variable and the set of a condition at the end: "k\\pi, k \\in \\mathbb{Z}" has ("k", "Z")."""
    text = " ".join(text.split())
    match = _MEMBER.search(text, max(0, len(text) - _TAIL))
    if not match or not match.start():
        return "", ""
    return match[1], {"ℤ": "Z", "ℕ": "N", "ℚ": "Q", "ℝ": "R"}.get(match[3], match[2] or match[4] or "")


_CONDITION = re.compile(
    r",?\s*(?:\\text\{)?\s*(?:where|for (?:all|any|some|every|each|integers?|positive integers?))\b[^.]*\.?\s*$"
)
"""What is said of a variable after the answer: "where k is an integer"."""


def without_condition(text: str) -> str:
    """An answer without what is said of its variables after it."""
    member = _MEMBER.search(text, max(0, len(text) - _TAIL))
    return _CONDITION.sub("", text[: member.start()] if member and member.start() else text)


DECIMAL_COMMA = re.compile(r"(-?\d+),(\d{4,}|\d{1,2}(?=\s*[^\W\d])|(?<=^0,)\d+)(\s*[^\W\d][^\d,]*)?")
"""A number with a decimal comma: at least four digits after it, or a unit, or nothing but a zero before it."""


_PLAIN_WORD = re.compile(r"(?<![A-Za-z\\])[A-Za-z]{2,}(?![A-Za-z(])")
_COMMAND = re.compile(r"\\(?:text|mbox|mathrm|begin|end)\s*\{[^{}]*\}|\\[a-zA-Z]+")
_VERB = re.compile(r"(?<![a-z])(?:is|are|was|be|equals)\s+(?:equal\s+to\s+|therefore\s+|exactly\s+)?(?=\S)")


def subject_of(answer: str) -> str:
    """What a sentence says its subject is ("The degree of f(x) is 3": "3"), or its only value with the words after it.

    What is no sentence stays whole, and so does a sentence whose last value may belong to a condition.
    """
    if len(_PLAIN_WORD.findall(_COMMAND.sub(" ", answer))) < 3:
        return answer
    verbs = list(_VERB.finditer(answer))
    if verbs:
        hedges = list(_HEDGED.finditer(answer))
        safe = not hedges or sum(verb.start() > hedges[-1].start() for verb in verbs) >= 2
        return answer[verbs[-1].end() :] if safe else answer
    values = list(_DIGITS.finditer(answer))
    before = answer[: values[0].start()] if values else ""
    if len(values) != 1 or not _LEADS_TO_VALUE.fullmatch(before) or is_hedge(before.split()):
        return answer
    return answer[values[0].start() :]


_DIGITS = re.compile(r"[$€£¥]?\d[\d.,]*")
_LEADS_TO_VALUE = re.compile(r"(?:[A-Za-z']+,?\s+){2,}")
_HEDGED = re.compile(
    r"(?<![a-z\\])(?:if|unless|otherwise|when|while|but|or|either|instead|rather|because|since|maybe|perhaps|could|might|"
    r"may|possibly|neither|nor|isn't|aren't|wasn't)(?![a-z])",
    re.IGNORECASE,
)
"""Words with which a sentence's last value may not be its answer."""


def has_operator(text: str) -> bool:
    """Whether an integral, sum, product or limit is written in a text."""
    return _OPERATOR.search(text) is not None


_OPERATOR = re.compile(r"\\(?:i*int|oint|sum|prod|lim)(?![a-z])|[∫∑∏]")
