"""Numbers and sums in words: "minus five", "two thirds", "5 million", "five and a half", "the square root of 2"."""

from collections.abc import Sequence

from corea.graders.algebra.notation import MathToken

_SMALL = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen"""
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_NUMBERS = {word: i for i, word in enumerate(_SMALL.split())} | {
    word: 10 * i for i, word in enumerate(_TENS.split(), start=2)
}
_SIZES = {"dozen": 12, "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_PART = {
    "half": 2, "halves": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8,
    "ninth": 9, "tenth": 10, "hundredth": 100, "thousandth": 1000,
}  # fmt: skip
_PARTS = _PART | {f"{word}s": part for word, part in _PART.items()}
_SIGNS: dict[tuple[str, ...], str] = {
    ("plus",): "+", ("minus",): "-", ("negative",): "-", ("times",): "*", ("multiplied", "by"): "*", ("over",): "/",
    ("divided", "by"): "/", ("squared",): "^2", ("cubed",): "^3", ("to", "the", "power", "of"): "^",
    ("the", "cube", "root", "of"): "\\cbrt", ("cube", "root", "of"): "\\cbrt",
    ("factorial",): "!", ("the", "square", "root", "of"): "\\sqrt", ("square", "root", "of"): "\\sqrt",
    ("plus", "or", "minus"): "±",
}  # fmt: skip
_AND_A = {("and", "a"), ("and", "one")}


def spell_out(tokens: Sequence[MathToken]) -> tuple[MathToken, ...]:
    """The tokens with words for numbers and operations as signs; all other words stay."""
    if not any(token.kind in ("word", "command") or token.text in ("a", "°") for token in tokens):
        return tuple(tokens)
    words = [token.text.lower() if token.kind in ("word", "letter") else "" for token in tokens]
    found: list[MathToken] = []
    at = 0
    while at < len(tokens):
        pieces, length = _spelled(words, at, found)
        found += pieces or tokens[at : at + length]
        at += length
    return tuple(found)


def _spelled(words: list[str], at: int, before: list[MathToken]) -> tuple[list[MathToken], int]:
    """Signs for the words from `at`, and how many words they are."""
    after_number = bool(before) and before[-1].kind == "number"
    word, following = words[at], words[at + 1] if at + 1 < len(words) else ""
    for length in (4, 3, 2, 1):
        sign = _SIGNS.get(tuple(words[at : at + length]))
        if sign and (before or length > 1 or word in ("minus", "negative")):
            return _tokens(sign), length
    if after_number and (word, following) in _AND_A and at + 2 < len(words) and words[at + 2] in _PARTS:
        return _tokens(f"+ 1 / {_PARTS[words[at + 2]]}"), 3
    if after_number and word == "and" and before[-1].text in _POWERS_OF_TEN and following in _NUMBERS:
        return _tokens(f"+ {_NUMBERS[following]}"), 2
    if word in _NUMBERS:
        return _tokens(f"{_joint(before)} {_NUMBERS[word]}"), 1
    if after_number and word in _SIZES:
        return _tokens(f"* {_SIZES[word]}"), 1
    if after_number and word in _PARTS:
        return _tokens(f"/ {_PARTS[word]}"), 1
    if word == "a" and not before and following in _PARTS:
        return _tokens(f"1 / {_PARTS[following]}"), 2
    if word == "half" and not before and not following:
        return _tokens("1 / 2"), 1
    return [], 1


_POWERS_OF_TEN = {"100", "1000"}


def _joint(before: list[MathToken]) -> str:
    """The sign between a number in words and the number before it ("twenty-one", "three hundred five")."""
    if before and before[-1].text == "-" and len(before) > 1 and before[-2].text in {str(10 * i) for i in range(2, 10)}:
        before.pop()
        return "+"
    return "+" if before and before[-1].kind == "number" else ""


def _tokens(signs: str) -> list[MathToken]:
    pieces = signs.replace("^", "^ ").split()
    return [
        MathToken("number" if piece.isdigit() else "command" if piece[0] == "\\" else "sign", piece.lstrip("\\"), True)
        for piece in pieces
    ]
