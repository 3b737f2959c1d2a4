"""Numbers and sums of them, in digits and in words.

`NUMBER` and `literal`: a number in digits, as people write them: 1,234.50, 1.234,50, $4.00, 85 %, 3 1/2, \\frac{7}{2},
1.2e5, 3 million. `evaluate`: a sum, exactly: 6*7, 2^10, -(7), 5!, √49, 10 minus 4. Both take signs and powers in ASCII.
`in_digits`: "twenty-one days" as "21 days", "two thirds" as "(2/3)"; `in_signs`: "square root of two" as "\\sqrt 2".
"""

import re
from fractions import Fraction

from msgspec import Struct

from corea.graders.algebra.evaluation import Exact
from corea.parsing.numbers import NUMBER_WORDS, TENS

_MOST_NESTED = 40  # brackets and powers of a text


class Operand(Struct, frozen=True):
    """A number, and where its text ends. `percent`: a percent sign stood after it (50 % has value 50)."""

    value: Fraction
    end: int
    percent: bool = False
    currency: str = ""

    @property
    def share(self) -> Fraction:
        """The value in a sum: 50 % of something is half of it."""
        return self.value / 100 if self.percent else self.value


_MAGNITUDES = {
    12: "dozen",
    100: "hundred 百",
    10**3: "thousand tausend mille 千 k",
    10**4: "万 萬",
    10**5: "lakh lakhs",
    10**6: "million millions millionen mio millón millones milhão milhões milione milioni mn m",
    10**7: "crore crores",
    10**8: "亿 億",
    10**9: "billion billions milliard milliards milliarde milliarden mrd bilhão bilhões bn b",
    10**12: "trillion trillions tn",
}
_MAGNITUDE = {word: value for value, words in _MAGNITUDES.items() for word in words.split()}
_LONG = "|".join(sorted((word for word in _MAGNITUDE if len(word) > 1), key=len, reverse=True))
_CURRENCY = r"(?:(?:US|CA|AU|NZ|HK|R)?\$|[€£¥₹₽₩₺₫₴]|(?<!\w)(?:USD|EUR|GBP|CHF|INR|JPY|CNY|CAD|AUD|Rs\.?)(?!\w))"
_SPACED = r"\d{1,3}(?:[ \u00a0\u2009\u202f]\d{3})+(?!\d)(?:[.,]\d{1,60})?"
_UNSPACED = r"\d(?:(?:[\d.,]|['’](?=\d{3}(?!\d))){0,200}\d)?|[.,]\d{1,60}"
_DIGITS = rf"(?:{_SPACED}|{_UNSPACED})"
NUMBER = re.compile(
    rf"""(?P<sign>[-+]\s?)?
    (?:(?P<currency>{_CURRENCY})\s?(?P<sign2>-)?)?
    (?:
      (?P<mixed>\d{{1,9}}\s?(?=\\frac)|\d{{1,9}}\s(?=\d{{1,9}}/\d))?
      (?:\\frac\s?(?:\{{\s?(?P<over>-?{_DIGITS})\s?\}}\s?\{{\s?(?P<under>-?{_DIGITS})\s?\}}|(?P<over1>\d)\s?(?P<under1>\d))
        |(?P<over2>\d{{1,30}}(?:\.\d{{1,30}})?)\s?/\s?(?P<under2>\d{{1,30}}(?:\.\d{{1,30}})?)(?![\d/^]|[.,]\d|\s?\*\*))
    | (?P<digits>{_DIGITS})
      (?:\s?(?:\\times|\\cdot|×|x|\*)\s?10\s?(?:\^|\*\*)\s?(?:\{{\s?(?P<power>[-+]?\d{{1,3}})\s?\}}|(?P<power1>[-+]?\d{{1,3}}))
        |[eE](?P<exponent>[-+]?\d{{1,3}})(?!\w))?
    )
    (?P<percent>\s?%|\s?(?:per\s?cent|pct|percentage\spoints?)(?!\w))?
    (?:\s?(?P<magnitude>{_LONG}|(?<=\s)k)(?!\w)|(?P<cjk>[万萬亿億千百])
      |(?P<short>(?-i:[kKMB]|bn|mn|tn)|(?(currency)\s?[mMkKbB]n?|(?!)))(?![\w^]))?""",
    re.VERBOSE | re.IGNORECASE,
)


def literal(match: re.Match[str], *, decimal_comma: bool) -> Operand | None:
    """The number that a match of `NUMBER` writes; None where its separators fit no notation, or it divides by 0."""
    if match["digits"]:
        value = _digits(match["digits"], decimal_comma)
        value = value and value * Fraction(10) ** int(match["power"] or match["power1"] or match["exponent"] or 0)
    else:
        over = _digits(match["over"] or match["over1"] or match["over2"], decimal_comma)
        under = _digits(match["under"] or match["under1"] or match["under2"], decimal_comma)
        value = over / under if over is not None and under else None
        if value is not None and match["mixed"]:
            value += int(match["mixed"])
    if value is None:
        return None
    if magnitude := match["magnitude"] or match["cjk"] or match["short"]:
        value *= _MAGNITUDE[magnitude.strip().lower()]
    negative = ((match["sign"] or "").strip() == "-") != bool(match["sign2"])
    return Operand(-value if negative else value, match.end(), match["percent"] is not None, match["currency"] or "")


_GROUPED = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+|[1-9]\d?(?:,\d{2})+,\d{3}")


def _digits(written: str, decimal_comma: bool) -> Fraction | None:
    """Digits with separators: of two kinds the last is decimal; "1,234" is grouped, "12,5" and "0,850" are decimal."""
    negative = written.startswith("-")
    digits = re.sub(r"[ '’\u00a0\u2009\u202f-]", "", written)
    commas, dots = digits.count(","), digits.count(".")
    if commas and dots:
        decimal, group = (",", ".") if digits.rfind(",") > digits.rfind(".") else (".", ",")
        whole = digits[: digits.find(decimal)].replace(group, ",")
        if digits.count(decimal) > 1 or not _GROUPED.fullmatch(whole):
            return None
        digits = digits.replace(group, "").replace(decimal, ".")
    elif commas:
        if _GROUPED.fullmatch(digits):
            digits = digits.replace(",", "")
        elif commas == 1 and decimal_comma:
            digits = digits.replace(",", ".")
        else:
            return None
    elif dots > 1:
        if not re.fullmatch(r"[1-9]\d{0,2}(?:\.\d{3})+", digits):
            return None
        digits = digits.replace(".", "")
    return Fraction(digits) * (-1 if negative else 1)


def evaluate(text: str, at: int = 0) -> Operand | None:
    """The longest sum that starts at `text[at]`, as one number; None where none does, or it has no exact value."""
    return _sum(text, at, 1) if sum(map(text.count, "({|√^*")) <= _MOST_NESTED else None


_OPERATOR = re.compile(
    r"\s*(\*\*|\^|[-+*×·⋅/÷]|\\times|\\cdot|\\div|(?<=\s)(?:x|plus|minus|times|over|divided by|multiplied by)(?=\s))\s*"
)
_WORD_OPERATIONS = {
    "plus or minus": "±", "to the power of": "^", "multiplied by": "*", "divided by": "/", "plus": "+", "minus": "-",
    "negative": "-", "times": "*", "over": "/", "squared": "^2", "cubed": "^3", "factorial": "!",
}  # fmt: skip
_OPERATIONS = _WORD_OPERATIONS | {"+": "+", "-": "-", "/": "/", "÷": "/", "\\div": "/", "^": "^", "**": "^"}
"""Signs and words of operations; other signs multiply."""
_BINDS = {"+": 1, "-": 1, "*": 2, "/": 2, "^": 3}
_POSTFIX = re.compile(r"!(?![!=])|\s(squared|cubed)(?!\w)")


def _sum(text: str, at: int, least: int) -> Operand | None:
    """Precedence climbing: the operand at `at` and all operators after it that bind at least as tightly as `least`."""
    left = _operand(text, at)
    while left and (operator := _OPERATOR.match(text, left.end)):
        operation = _OPERATIONS.get(operator[1], "*")
        binds = _BINDS[operation]
        if binds < least or (operator[1] == "-" and _is_range(text, left, operator)):
            break
        right = _sum(text, operator.end(), binds if binds == 3 else binds + 1)
        if right is None:
            break
        value = _computed(operation, left.share, right.share)
        left = None if value is None else Operand(value, right.end)
    return left


def _is_range(text: str, left: Operand, operator: re.Match[str]) -> bool:
    """True if "3-4" or "3 - 4" may mean from 3 to 4."""
    match = NUMBER.match(text, operator.end())
    right = literal(match, decimal_comma=True) if match else None
    return operator[0] == "-" or (right is not None and left.share <= right.share)


def _operand(text: str, at: int) -> Operand | None:
    """A number, a bracketed sum or a root, with what binds to it: signs before it, ! or "squared" after it."""
    if sign := _SIGN.match(text, at):
        inner = _sum(text, sign.end(), 3)
        return inner and Operand(-inner.value if sign[1] else inner.value, inner.end, inner.percent, inner.currency)
    found = _bracketed(text, at)
    if found is None:
        match = NUMBER.match(text, at)
        found = literal(match, decimal_comma=True) if match else None
    while found and (postfix := _POSTFIX.match(text, found.end)):
        is_factorial, power = postfix[0] == "!", Fraction(2 if postfix[1] == "squared" else 3)
        value = _computed("factorial", found.value) if is_factorial else _computed("^", found.value, power)
        found = None if value is None else Operand(value, postfix.end())
    return found


_SIGN = re.compile(r"(?:(-|minus\s|negative\s)|\+)\s?(?=[\d(√.\\$€£¥₹|])", re.I)
_OPENING = re.compile(r"(\(|\{|\||√\s?|\\sqrt\s?|sqrt\s?(?=\())\s?")
_CLOSING = {"(": ")", "{": "}", "|": "|"}


def _bracketed(text: str, at: int) -> Operand | None:
    opening = _OPENING.match(text, at)
    if opening is None:
        return None
    if opening[1][0] in "√\\s":
        inner = _operand(text, opening.end())
        value = inner and _computed("root", inner.value, Fraction(2))
        return None if inner is None or value is None else Operand(value, inner.end)
    inner = evaluate(text, opening.end())
    if inner is None:
        return None
    end = inner.end + (text[inner.end : inner.end + 1] == " ")
    if text[end : end + 1] != _CLOSING[opening[1]]:
        return None
    return Operand(abs(inner.value) if opening[1] == "|" else inner.value, end + 1, inner.percent, inner.currency)


_EXACT = Exact(bits=4000)  # of a power's result; a person's number is shorter


def _computed(operation: str, *args: Fraction) -> Fraction | None:
    """The value of an operation; None where it has none, no exact one, or a long one."""
    try:
        value: Fraction = _EXACT.apply(operation, *args)
    except ArithmeticError:
        return None
    return value


_SCALES = {word: _MAGNITUDE[word] for word in ("dozen", "hundred", "thousand", "million", "billion", "trillion")}
_PARTS = {"half": 2, "halve": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7} | {
    "eighth": 8, "ninth": 9, "tenth": 10, "hundredth": 100, "thousandth": 1000
}  # fmt: skip

_WORD = rf"(?:{'|'.join((*NUMBER_WORDS, *_SCALES))})(?![a-z'’])"
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
    r"((?:^|[={,(:$]|\b(?:about|approximately|approx|around|roughly|exactly|nearly|only|is|are|equals|of|to|or|and))\s*)"
    r"half(?=\s*(?:[.,;:$})]|$))|(?<![\w-])half(?=\s+(?:an?\s|of\s+[$€£¥]?\d))",
    re.I,
)
"""A half, alone after what may lead to it, or of a number."""
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
_OPERATION = re.compile(rf"(?<![\w\\])(?:{'|'.join(_WORD_OPERATIONS)})(?!\w)".replace(" ", r"\s+"), re.I)
_PREFIXES = ("±", "-")


def in_signs(text: str) -> str:
    """The text with its spelled-out numbers in digits and its spelled-out operations as signs."""
    if not _WORDY.search(text):
        return text
    plain = _ROOT.sub(lambda match: r"\sqrt " if match[1].lower() == "square" else r"\cbrt ", in_digits(text))
    plain = _SCALED.sub(lambda match: f" * {_SCALES[match[1].lower()]}", plain)
    return _OPERATION.sub(_operation, plain)


_WORDY = re.compile(r"(?<![A-Za-z\\])[A-Za-z]{3}")


def _operation(match: re.Match[str]) -> str:
    """The sign of an operation, where there is something for it to operate on."""
    sign = _WORD_OPERATIONS[" ".join(match[0].lower().split())]
    return f" {sign} " if sign in _PREFIXES or match.string[: match.start()].strip() else match[0]


def _words_in_digits(text: str) -> str:
    text = _HALF_SCALE.sub(lambda match: str(_SCALES[match[1].lower()] // 2), text)
    text = _RUN.sub(_run, text)
    text = _PART.sub(_part, text)
    return _HALF.sub(lambda match: (match[1] or "") + "(1/2)", text)


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
        elif word in NUMBER_WORDS:
            if not 0 < NUMBER_WORDS[word] < room and i:
                numbers.append(total + current)
                total = current = 0
            current += NUMBER_WORDS[word]
            room = 10 if word in TENS else 0
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
