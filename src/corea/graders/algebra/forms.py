"""The forms that a mathematical answer has: a value, a list, an interval, an equation, a matrix, words, ..."""

from dataclasses import dataclass

from corea.graders.algebra.expression import Node
from corea.graders.units import Unit


@dataclass(frozen=True, slots=True)
class Value:
    """One expression, with a unit or a percent sign where one stands after it."""

    node: Node
    unit: Unit | None = None
    percent: bool = False


@dataclass(frozen=True, slots=True)
class Words:
    """An answer in words, in lower case and without articles."""

    text: str


@dataclass(frozen=True, slots=True)
class Items:
    """Several answers, in brackets of a kind.

    "" is a bare list and "{" a set, neither with an order; "(", "[" and "<" are tuples, ":" a ratio, "::" a time.
    """

    brackets: str
    items: "tuple[Answer, ...]"


@dataclass(frozen=True, slots=True)
class NumberInterval:
    """All numbers from `low` to `high`."""

    low: Node
    high: Node
    low_closed: bool = False
    high_closed: bool = False


@dataclass(frozen=True, slots=True)
class Union:
    """A union of intervals and sets."""

    parts: "tuple[Answer, ...]"


@dataclass(frozen=True, slots=True)
class Assigned:
    """A value with a name: "x = 5", "f(x) = x^2", "Area = 5"."""

    name: str
    answer: "Answer"


@dataclass(frozen=True, slots=True)
class Relation:
    """Left minus right of an equation ("=") or an inequality ("<", "≤"; the smaller side is subtracted)."""

    sign: str
    difference: Node


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of a matrix."""

    rows: tuple[tuple["Answer", ...], ...]


@dataclass(frozen=True, slots=True)
class Based:
    """Digits in a stated base: 2516_8."""

    digits: str
    base: int


@dataclass(frozen=True, slots=True)
class Congruence:
    """A residue class: x ≡ 3 (mod 7)."""

    residue: Node
    modulus: Node


@dataclass(frozen=True, slots=True)
class Opaque:
    """Tokens that are none of the above."""

    text: str


Answer = Value | Words | Items | NumberInterval | Union | Assigned | Relation | Matrix | Based | Congruence | Opaque

NO_SOLUTION = Words("no solution")
ALL_REALS = NumberInterval(Node("negative", (Node("constant", name="infty"),)), Node("constant", name="infty"))
INFINITY = ALL_REALS.high


def as_interval(answer: Answer) -> NumberInterval | None:
    """The interval that "(a, b)", "[a, b)" and their like may be."""
    if isinstance(answer, NumberInterval):
        return answer
    if not isinstance(answer, Items) or len(answer.items) != 2 or answer.brackets not in ("(", "[", "[)", "(]"):
        return None
    low, high = answer.items
    if not isinstance(low, Value) or not isinstance(high, Value):
        return None
    return NumberInterval(low.node, high.node, answer.brackets in ("[", "[)"), answer.brackets in ("[", "(]"))


def is_opaque(answer: Answer) -> bool:
    """True if any part of an answer could not be read."""
    if isinstance(answer, Items):
        return any(is_opaque(item) for item in answer.items)
    if isinstance(answer, Assigned):
        return is_opaque(answer.answer)
    return isinstance(answer, Opaque)
