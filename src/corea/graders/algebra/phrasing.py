"""Words: around an answer (a sentence that states it, a condition after it), and as the answer."""

import re
from collections.abc import Sequence

from corea.graders.algebra.forms import ALL_REALS, NO_SOLUTION, Answer, Words
from corea.graders.algebra.notation import MathToken
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
"""A condition on a variable after the answer: "where k is an integer"."""


def without_condition(text: str) -> str:
    """An answer without the condition on its variables after it."""
    member = _MEMBER.search(text, max(0, len(text) - _TAIL))
    return _CONDITION.sub("", text[: member.start()] if member and member.start() else text)


DECIMAL_COMMA = re.compile(r"(-?\d+),(\d{4,}|\d{1,2}(?=\s*[^\W\d])|(?<=^0,)\d+)(\s*[^\W\d][^\d,]*)?")
"""A number with a decimal comma: at least four digits after it, or a unit, or nothing but a zero before it."""


_PLAIN_WORD = re.compile(r"(?<![A-Za-z\\])[A-Za-z]{2,}(?![A-Za-z(])")
_COMMAND = re.compile(r"\\(?:text|mbox|mathrm|begin|end)\s*\{[^{}]*\}|\\[a-zA-Z]+")
_VERB = re.compile(r"(?<![a-z])(?:is|are|was|be|equals)\s+(?:equal\s+to\s+|therefore\s+|exactly\s+)?(?=\S)")


def subject_of(answer: str) -> str:
    """The predicate of a sentence ("The degree of f(x) is 3": "3"), or its only value with the words after it.

    Other texts stay whole, and so does a sentence whose last value may belong to a condition.
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
    """True if an integral, sum, product or limit is written in a text."""
    return _OPERATOR.search(text) is not None


_OPERATOR = re.compile(r"\\(?:i*int|oint|sum|prod|lim)(?![a-z])|[∫∑∏]")


def read_words(tokens: Sequence[MathToken]) -> Answer | None:
    """An answer in words; None where the tokens are mathematics."""
    texts = [token.text.lower().replace("’", "'") for token in tokens]
    text = " ".join(text for text in texts if text not in ("the", "a", "an", ".", "'"))
    known = _SAME_WORDS.get(text)
    if known is not None:
        return known
    has_word = any(
        token.kind == "word"
        and (token.text.istitle() or len(token.text) > 3 or token.upright or token.text.lower() in _SHORT)
        for token in tokens
    )
    is_words = all(token.kind in ("word", "letter") or token.text in "-'.," for token in tokens)
    has_list = any(token.text == "," or token.text.lower() in ("and", "or") for token in tokens)
    is_capitals = len(tokens) == 1 and tokens[0].kind == "word" and tokens[0].text.isupper()
    if (is_words and has_word and not has_list) or is_capitals:
        return Words(text)
    return None


_SHORT_TEXT = "yes no odd red"
_SHORT = frozenset(_SHORT_TEXT.split())
_SAME_WORDS: dict[str, Answer] = {
    **dict.fromkeys(
        ["no solution", "no solutions", "no real solution", "no real solutions", "none", "empty set", "∅", "❴ ❵",
         "no such number exists", "no solution exists", "no solutions exist", "there is no solution",
         "there are no solutions", "no real roots"], NO_SOLUTION
    ),
    **dict.fromkeys(
        ["all real numbers", "all reals", "reals", "real numbers", "all x", "every real number", "any real number",
         "set of all real numbers", "set of real numbers"], ALL_REALS
    ),
    **dict.fromkeys(["undefined", "dne", "does not exist", "limit does not exist", "not defined"], Words("undefined")),
    **dict.fromkeys(["yes", "true"], Words("yes")),
    **dict.fromkeys(["no", "false"], Words("no")),
}  # fmt: skip
