"""Text answers: equal when normalised, or similar by the words that they share.

Signs that carry meaning stay: C++ is not C, -5 is not 5, 10% is not 10, and x > y is not x < y.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from corea.errors import ConfigError
from corea.parsing import find_answer
from corea.parsing.text import STYLED
from corea.types import Question, Verdict

_WORDS_ONLY = re.compile(r"[A-Za-z]{2,}(?: [A-Za-z]{2,})*\.?")
_UNIFIED = str.maketrans(
    dict.fromkeys("−–—‑‐", "-") | dict.fromkeys("’‘`´ʼ′", "'") | {"⁄": "/", "∕": "/", "″": "''", "٫": ".", "٬": ","}
)
_RAISED = re.compile(r"[²³¹⁰⁴-⁹⁺⁻ⁿⁱ]+")
_CHARGE = re.compile(r"(?<=[A-Za-z\d)\]])\^\{?(\d?[-+])\}?(?![\w(]|\s[\w(])")
_UNITED_STATES = re.compile(r"\bU\.\s?S(?:\.\s?A)?\b\.?|\bUSA?\b")
_INITIALS = re.compile(r"\b[^\W\d_](?:\.\s?[^\W\d_]\b(?!['’]))+\.?")
_ARTICLE = re.compile(r"(?:(?<!\S)(?:[Tt]he|THE|[Aa]n|AN|a)|(?<!.)A)\s+(?=[^\W_])")
_KEPT_SIGNS = frozenset("+-*/^=%#@\\!.,:")
_GROUPED = re.compile(r"(?<![\w.,])[1-9]\d{0,2}(?:,\d{3})+(?![\d,])")
_PUNCTUATION = (
    (re.compile(r"\*\*|['\"]"), ""),
    (re.compile(r"\s?&\s?"), " and "),
    (re.compile(r"(?<![^\W_])!|!(?=[^\W\d_])|(?<=[^\W\d_]{2})!"), " "),  # 5! and n! are factorials, "Yes!" is none
    (re.compile(r"(?<!\d)[,:]|[,:](?!\d)"), " "),  # 1,5 and 3:45 keep theirs, and 3.5 its point
    (re.compile(r"\.(?!\w)|(?<=\S)\.(?!\d)|(?<=[^\W\d_])\.(?=\d)"), " "),
    (re.compile(r"(?<=[^\W_]{2})-+(?=[^\W\d_])|(?<=[^\W\d_]{2})-+(?=\w)|(?<=[^\W_])-+(?=[^\W\d_]{2})"), " "),
    (re.compile(r"(?<=[^\W_]{2}) -+ (?=[^\W_]{2})|^-+\s"), " "),
    (re.compile(r"(?<=[^\W_]) ([-+*/^=<>≤≥≠×÷]|[<>!]=) (?=[^\W_])"), r"\1"),
    (re.compile(r"(?<=\d)\s+(?=[%°])|(?<=[$€£¥#])\s+(?=\d)"), ""),
)


def normalise(text: str) -> str:
    """Lower case, no punctuation, no English articles, single spaces; accents and signs that carry meaning as written.

    Initials are joined (U.K. is UK), and all ways to write U.S. are one. Where nothing else is left, the signs are.

    Source: the normalisation of SQuAD's evaluation (Rajpurkar et al. 2016, arXiv:1606.05250), with signs kept.
    """
    kept = text if _WORDS_ONLY.fullmatch(text) and "US" not in text else _joined(text)
    bare = _ARTICLE.sub("", kept).casefold().rstrip(".")
    if not _WORDS_ONLY.fullmatch(bare):
        bare = _without_punctuation(bare)
    return " ".join(bare.split()) or "".join(text.casefold().split())


def unified(text: str) -> str:
    """The text with one form for what Unicode writes in several: x² as x^2, Na⁺ as Na+, H₂O as H2O, dashes as -."""
    if not text.isascii():
        raised = _RAISED.sub(lambda match: "^" + match[0], text)
        text = unicodedata.normalize("NFKC", raised.translate(_UNIFIED)).translate(_UNIFIED)
    return _CHARGE.sub(r"\1", text) if "^" in text else text


_UNMARKED = re.compile(r"[A-Za-z0-9 '-]*")
_COMMANDS = {
    "times": "×", "cdot": "·", "div": "÷", "pm": "±", "le": "≤", "leq": "≤", "ge": "≥", "geq": "≥", "ne": "≠",
    "neq": "≠", "lt": "<", "gt": ">", "infty": "∞", "pi": "π", "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ",
    "theta": "θ", "lambda": "λ", "mu": "μ", "sigma": "σ", "omega": "ω", "degree": "°", "circ": "°", "to": "→",
    "rightarrow": "→", "cup": "∪", "cap": "∩", "in": "∈", "sqrt": "√", "left": "", "right": "", "displaystyle": "",
    "quad": " ", "land": "∧", "wedge": "∧", "lor": "∨", "vee": "∨", "neg": "¬", "lnot": "¬", "sin": "sin", "cos": "cos",
    "tan": "tan", "log": "log", "ln": "ln", "exp": "exp", "lim": "lim", "max": "max", "min": "min",
}  # fmt: skip
_MARKUP: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"\*\*|__|\\[()\[\]]|\\[,!;:]"), ""),
    (re.compile(r"\$(?=\S)([^$]+)(?<=\S)\$(?!\d)"), r"\1"),
    (re.compile(r"\\([$%#&{} ])"), r"\1"),
    (re.compile(STYLED + r"\{([^{}]*)\}"), r"\1"),
    (
        re.compile(r"\\[dtc]?frac\s?\{(\w+)\}\s?\{(\w+)\}|\\[dtc]?frac\s?(\d)\s?(\d)"),
        lambda m: f"{m[1] or m[3]}/{m[2] or m[4]}",
    ),
    (re.compile(r"\\([a-zA-Z]+)"), lambda m: _COMMANDS.get(m[1], m[0])),
    (re.compile(r"([\^_√])\{(-?\w+|\w?[-+]|°)\}"), r"\1\2"),
    (re.compile(r"\^(?=°)|(?<=[A-Za-z)])_(?=\d|\w(?!\w))"), ""),
    (re.compile(r">="), "≥"),
    (re.compile(r"<="), "≤"),
    (re.compile(r"!="), "≠"),
)


_MARKED = re.compile(r"[\\$*_^<>!√]")


def as_written(text: str) -> str:
    """The text without markup, LaTeX commands as their signs, single spaces; case and signs stay."""
    if _UNMARKED.fullmatch(text):
        return " ".join(text.split())
    plain = text
    for pattern, replacement in _MARKUP if _MARKED.search(text) else ():
        plain = pattern.sub(replacement, plain)
    plain = unified(plain)
    return " ".join(plain.split()).rstrip(".,;").strip() or text.strip()


def _joined(text: str) -> str:
    """The text unified, with its initials joined: J. K. as JK, U.S. as USA."""
    plain = unified(text.strip())
    if "U" in plain:
        plain = _UNITED_STATES.sub("USA", plain)
    return _INITIALS.sub(lambda match: re.sub(r"[.\s]", "", match[0]), plain) if "." in plain else plain


def _without_punctuation(text: str) -> str:
    plain = _GROUPED.sub(lambda match: match[0].replace(",", ""), text)
    for pattern, replacement in _PUNCTUATION:
        plain = pattern.sub(replacement, plain)
    return "".join(char if char.isalnum() or _is_sign(char) else " " for char in plain)


def _is_sign(char: str) -> bool:
    """True if a character carries meaning: +, %, $, ≤, °; not quotation marks, brackets or emoji."""
    return char in _KEPT_SIGNS or unicodedata.category(char) in ("Sc", "Sm", "Mn", "Mc") or char in "°♯♭"


def answer_with_currency(text: str) -> str | None:
    """The answer with the dollar sign before it, which reading takes off as markup: "$10" is not "10"."""
    stated = find_answer(text, choices=0)
    if stated is None:
        return None
    return "$" + stated.value if is_priced(text, stated.start, stated.end) else stated.value


def is_priced(text: str, start: int, end: int) -> bool:
    """True if a dollar sign that opens no formula stands directly before `text[start:end]`."""
    before = text[max(0, start - 2) : start]
    return before.endswith("$") and before != "$$" and text[start : start + 1].isdigit() and text[end : end + 1] != "$"


def word_f1(answer: str, reference: str) -> float:
    """Harmonic mean of precision and recall over normalised words, in [0, 1]; two empty texts are alike.

    Source: Rajpurkar et al. 2016, arXiv:1606.05250, sec. 6.1.
    """
    said, wanted = normalise(answer).split(), normalise(reference).split()
    if not said or not wanted:
        return float(said == wanted)
    shared = sum((Counter(said) & Counter(wanted)).values())
    return 2 * shared / (len(said) + len(wanted))


@dataclass(frozen=True, slots=True)
class ExactTextGrader:
    """Right when answer and reference are equal after `normalise`."""

    def grade(self, question: Question, text: str) -> Verdict:
        extracted = answer_with_currency(text)
        if extracted is None:
            return Verdict(False, None, "no answer found")
        said = normalise(extracted)
        return Verdict(said == normalise(question.reference or "") != "", extracted)


@dataclass(frozen=True, slots=True)
class TextF1Grader:
    """Right when the words of answer and reference have an F1 of at least `threshold`."""

    threshold: float = 0.8

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ConfigError(f"grader text_f1: threshold is {self.threshold}, expected more than 0, at most 1")

    def grade(self, question: Question, text: str) -> Verdict:
        extracted = answer_with_currency(text)
        if extracted is None:
            return Verdict(False, None, "no answer found")
        f1 = word_f1(extracted, question.reference or "")
        return Verdict(f1 >= self.threshold, extracted, f"F1 {f1:.3f}")
