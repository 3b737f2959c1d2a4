"""Equality of expressions by their values at sample points.

Two expressions are equal when they agree at every sample point where both are defined; polynomials and fractions are
compared as exact fractions (so agreement is an identity but for a vanishing chance), all others to 30 of 50 digits.

Source: Schwartz 1980 and Zippel 1979 (identity testing at random points).
"""

import cmath
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from importlib import import_module
from typing import Any
from zlib import crc32

from corea.graders.algebra.evaluation import BITS, Arithmetic, Exact, Floating, Inexact, SamplePoint, Scalar
from corea.graders.algebra.expression import Node

_BITS_AT_POINTS = 4_000
_PIECEWISE = frozenset(("max", "min", "abs", "mod"))
_NEEDS_WHOLE = frozenset(("floor", "ceil", "factorial", "binom", "gcd", "lcm", "mod"))


def sample_points(names: set[str], *, whole: bool, large: bool = False) -> Iterator[SamplePoint]:
    """Values of the variables: whole ones, then (unless `whole`) fractions of both signs, then (if `large`) large ones.

    They follow from the names alone, so that an answer is graded alike each time.
    """
    for i in range(6):
        yield {name: Fraction(2 + (crc32(f"{name} {i}".encode()) % 17)) for name in names}
    for i in range(0 if whole else 6):
        sign = -1 if i % 2 else 1
        yield {name: Fraction(sign * (211 + crc32(f"{i} {name}".encode()) % 7919), 1009) for name in names}
    for i in range(0 if whole else 4):
        yield {name: Fraction((-1) ** i * (11 + crc32(f"{name} {i} small".encode()) % 400), 1013) for name in names}
    for sign in (1, -1) if large else ():
        yield {name: Fraction(sign * (10**9 + crc32(name.encode()) % 7919)) for name in names}


def expressions_equal(a: Node, b: Node, *, precise: bool = False) -> bool | None:
    """True if two expressions have the same value, wherever both are defined; None where undecided.

    Args:
        precise: Also compute with 50 digits, at any cost: for a worker process.
    """
    if a == b:
        return True
    if a.op == b.op == "number" and not (a.name or b.name):
        return a.value == b.value
    infinite = [_infinity(node) for node in (a, b)]
    if any(infinite):
        return infinite[0] == infinite[1]
    return _settle(a, b, _same, precise)


def proportional(a: Node, b: Node, *, positive: bool = False, precise: bool = False) -> bool | None:
    """True if one expression is a constant (not 0; if `positive`, above 0) times the other; None where undecided."""
    return _settle(a, b, partial(_in_proportion, positive=positive), precise)


def any_of(verdicts: Iterable[bool | None]) -> bool | None:
    """True if any is, else None if any is."""
    found = list(verdicts)
    return True if True in found else None if None in found else False


def all_of(verdicts: Iterable[bool | None]) -> bool | None:
    """False if any is, else None if any is."""
    found = list(verdicts)
    return False if False in found else None if None in found else True


def _settle(a: Node, b: Node, agree: "_Agreement", precise: bool) -> bool | None:
    """The verdict of the first arithmetic that decides; of either reading of a logarithm without base."""
    nodes = (*a.walk(), *b.walk())
    is_real = not any(node.op == "constant" and node.name == "i" for node in nodes)
    readings = (True, False) if any(node.op == "log" and len(node.args) == 1 for node in nodes) else (True,)
    return any_of([_settle_one(a, b, agree, precise, is_real, natural_log) for natural_log in readings])


def _settle_one(a: Node, b: Node, agree: "_Agreement", precise: bool, is_real: bool, natural_log: bool) -> bool | None:
    bits = _BITS_AT_POINTS if a.variables or b.variables else BITS
    exact = agree(_ExpressionPair(a, b, Exact(natural_log, bits), 0.0))
    if exact is not None:
        return exact
    floating = Floating(math if is_real else cmath, real=is_real, natural_log=natural_log)
    rough = agree(_ExpressionPair(a, b, floating, 1e-7))
    if rough is False or not precise:
        return False if rough is False else None
    mpmath: Any = import_module("mpmath")  # it has no types
    with mpmath.workdps(50):
        return agree(_ExpressionPair(a, b, Floating(mpmath, real=is_real, natural_log=natural_log), 1e-30))


def _infinity(node: Node) -> int:
    """1 or -1 for infinity and minus infinity, else 0."""
    if node.op == "negative":
        return -_infinity(node.args[0])
    return int(node.op == "constant" and node.name == "infty")


_Agreement = Callable[["_ExpressionPair"], bool | None]


@dataclass(frozen=True, slots=True)
class _ExpressionPair:
    """Two expressions and the arithmetic to compare them with; `tolerance` is relative, and 0 with fractions."""

    a: Node
    b: Node
    arithmetic: Arithmetic
    tolerance: float

    def values(self, *, until_different: bool = False) -> list[tuple[Scalar, Scalar]] | None:
        """Values of both at the points where both have one; None where they cannot be computed, or too few are.

        Args:
            until_different: One pair that differs is enough: only that is given.
        """
        names = self.a.variables | self.b.variables
        whole = any(node.op in _NEEDS_WHOLE for node in (*self.a.walk(), *self.b.walk()))
        found: list[tuple[Scalar, Scalar]] = []
        large = any(node.op in _PIECEWISE for node in (*self.a.walk(), *self.b.walk()))
        for point in sample_points(names, whole=whole, large=large) if names else ({},):
            try:
                pair = (self.arithmetic.value(self.a, point), self.arithmetic.value(self.b, point))
                if until_different and not self.close(*pair):
                    return [pair]
                found.append(pair)
            except Inexact:
                return None
            except OverflowError:
                if not names:
                    return None
            except (ArithmeticError, ValueError):
                continue
        return found if len(found) >= (3 if names else 1) else None

    def close(self, x: Scalar, y: Scalar) -> bool:
        """True if two values are the same."""
        if not self.tolerance:
            return x == y
        return (
            abs(x - y) <= self.tolerance * max(abs(x), abs(y))
            or abs(x - y) <= self.tolerance * self.arithmetic.scale / 100
        )

    def is_finite(self, values: Sequence[tuple[Scalar, Scalar]]) -> bool:
        """True if the values can be compared at all: neither infinite, nor too long for the digits computed."""
        if not self.tolerance:
            return True
        sums = any(node.op in "+-" for node in (*self.a.walk(), *self.b.walk()))
        largest = max(abs(value) for pair in values for value in pair)
        return largest < (math.inf if not sums or self.tolerance > 1e-20 else 10**45)


def _same(comparison: _ExpressionPair) -> bool | None:
    pairs = comparison.values(until_different=True)
    if pairs is None or not comparison.is_finite(pairs):
        return None
    if all(comparison.close(x, y) for x, y in pairs):
        return True
    return len(pairs) == 1 and is_rounding(comparison.a, comparison.b, *pairs[0], exact=not comparison.tolerance)


def _in_proportion(comparison: _ExpressionPair, *, positive: bool = False) -> bool | None:
    pairs = comparison.values()
    if pairs is None or not comparison.is_finite(pairs):
        return None
    ratio = next((x / y for x, y in pairs if x != 0 and y != 0), None)
    if ratio is None:
        return None
    if positive and not ratio.real > 0:
        return False
    return all(comparison.close(x, ratio * y) for x, y in pairs)


def is_rounding(a: Node, b: Node, x: Scalar, y: Scalar, *, exact: bool) -> bool:
    """True if one side is a long decimal that the other rounds (or is cut) to.

    "Long" is six digits for a fraction (0.333333 is 1/3), nine for an irrational number (1.414 is not \\sqrt{2}, and
    3.14159 not \\pi), and fifteen where the other side is a decimal too (0.30000000000000004 is 0.3).
    """
    written = [_decimal(node) for node in (a, b)]
    if not any(written) or a.variables or b.variables:
        return False
    digits = max((text for text in written if text), key=len)
    shown = len(digits.replace(".", "").lstrip("0"))
    if shown >= 15:
        return bool(abs(x - y) <= 1e-14 * max(abs(x), abs(y)))
    unit = Fraction(1, 10 ** len(digits.split(".")[1]))
    return not all(written) and shown >= (6 if exact else 9) and bool(abs(x - y) < (unit if exact else float(unit)))


def _decimal(node: Node) -> str:
    """How a decimal was written; empty for all but a decimal, with or without a sign."""
    return _decimal(node.args[0]) if node.op == "negative" else node.name if node.op == "number" else ""
