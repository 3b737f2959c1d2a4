"""Values of an expression: as exact fractions, or in floating point with the digits of a module."""

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from corea.graders.algebra.expression import Node

BITS = 64_000
"""Size of a whole number that is computed exactly."""

Scalar = Any
"""A Fraction, float, complex, or mpmath number: the arithmetic works on all alike."""
SamplePoint = Mapping[str, Fraction]
_LARGEST = 1e9  # logarithm of a power


class Undefined(ArithmeticError):
    """Raised where an expression has no (real) value: 1/0, or the square root of -1."""


class Inexact(ArithmeticError):
    """Raised where a value is not a fraction, or is one too long to compute."""


class Arithmetic:
    """A kind of arithmetic; `scale` is the largest summand so far, relative to which a difference is judged."""

    functions: Mapping[str, Callable[..., Scalar]]

    def __init__(self, natural_log: bool = True) -> None:
        self.scale: Any = 0
        self.natural_log = natural_log

    def number(self, value: Fraction) -> Scalar:
        raise NotImplementedError

    def constant(self, name: str) -> Scalar:
        raise NotImplementedError

    def power(self, base: Scalar, exponent: Scalar) -> Scalar:
        raise NotImplementedError

    def value(self, node: Node, point: SamplePoint) -> Scalar:
        """The value at a point.

        Raises:
            Undefined, Inexact: There is none, or none that this arithmetic computes. ArithmeticError, ValueError: As
                its functions raise them.
        """
        if node.op == "number":
            return self.number(node.value)
        if node.op == "variable":
            return self.number(point[node.name])
        if node.op == "constant":
            return self.constant(node.name)
        args = list[Scalar]()
        for arg in node.args:  # no comprehension: it would take a frame more at each level
            args.append(self.value(arg, point))
        return self.checked(self.apply(node.op, *args))

    def checked(self, value: Scalar) -> Scalar:
        """The value, if it is one that this arithmetic knows."""
        return value

    def apply(self, name: str, *args: Scalar) -> Scalar:
        """The value of an operation or function; see `value`."""
        match name:
            case "+" | "-":
                self.scale = max(self.scale, abs(args[0]), abs(args[1]))
                return args[0] + args[1] if name == "+" else args[0] - args[1]
            case "*":
                return args[0] * args[1]
            case "/":
                return args[0] / _nonzero(args[1])
            case "^":
                return self.power(*args)
            case "negative":
                return -args[0]
            case "sec" | "csc" | "cot":
                return 1 / _nonzero(self.apply({"sec": "cos", "csc": "sin", "cot": "tan"}[name], *args))
            case "log" if len(args) == 1 and self.natural_log:
                return self.apply("ln", args[0])
            case "log" | "lg":
                argument, *base = args
                below = self.apply("ln", base[0] if base else self.number(Fraction(10)))
                return self.apply("ln", argument) / _nonzero(below)
            case _:
                return self.function(name, args)

    def function(self, name: str, args: Sequence[Scalar]) -> Scalar:
        """The value of one of `functions`; see `value`."""
        if name not in self.functions:
            raise Inexact(name)
        if name in ("sin", "cos", "tan"):
            if abs(args[0]) > 1e20:
                raise Inexact("too large for its digits")
            self.scale = max(self.scale, 1)
        return self.functions[name](*args)


def _nonzero(value: Scalar) -> Scalar:
    if value == 0:
        raise Undefined("division by zero")
    return value


def _exact_root(value: Fraction, degree: Fraction) -> Fraction:
    if degree.denominator != 1 or not 0 < degree < 100:
        raise Inexact("root")
    n = int(degree)
    if value < 0:
        if n % 2 == 0:
            raise Undefined("an even root of a negative number")
        return -_exact_root(-value, degree)
    return Fraction(_whole_root(value.numerator, n), _whole_root(value.denominator, n))


def _whole_root(value: int, n: int) -> int:
    if value.bit_length() > 3000:
        raise Inexact("root")
    root = math.isqrt(value) if n == 2 else round(value ** (1 / n)) if value.bit_length() < 1000 else 0
    if root**n != value:
        raise Inexact("root")
    return root


def _whole(value: Fraction, most: int = 10**9) -> int:
    if value.denominator != 1:
        raise Inexact("not whole")
    if abs(value) > most:
        raise Inexact("too long")
    return int(value)


def _factorial(value: Fraction) -> Fraction:
    n = _whole(value, 10_000)
    if n < 0:
        raise Undefined("factorial of a negative number")
    return Fraction(math.factorial(n))


def _binomial(n: Fraction, k: Fraction) -> Fraction:
    if _whole(k, 2000) < 0 or _whole(n, 20_000) < 0:
        raise Inexact("binomial")
    return Fraction(math.comb(int(n), int(k)))


def _remainder(a: Fraction, b: Fraction) -> Fraction:
    return a - b * math.floor(a / _nonzero(b))


_EXACT_FUNCTIONS: Mapping[str, Callable[..., Scalar]] = {
    "abs": abs,
    "floor": lambda x: Fraction(math.floor(x)),
    "ceil": lambda x: Fraction(math.ceil(x)),
    "factorial": _factorial,
    "binom": _binomial,
    "mod": _remainder,
    "gcd": lambda *xs: Fraction(math.gcd(*(_whole(x, 10**60) for x in xs))),
    "lcm": lambda *xs: Fraction(math.lcm(*(_whole(x, 10**60) for x in xs))),
    "max": lambda *xs: max(xs),
    "min": lambda *xs: min(xs),
    "root": _exact_root,
}


class Exact(Arithmetic):
    """Fractions."""

    def __init__(self, natural_log: bool = True, bits: int = BITS) -> None:
        super().__init__(natural_log)
        self.bits = bits
        self.functions = _EXACT_FUNCTIONS

    def number(self, value: Fraction) -> Scalar:
        return value

    def constant(self, name: str) -> Scalar:
        raise Inexact(name)

    def checked(self, value: Scalar) -> Scalar:
        if max(value.numerator.bit_length(), value.denominator.bit_length()) > 2 * self.bits:
            raise Inexact("too long")
        return value

    def power(self, base: Scalar, exponent: Scalar) -> Scalar:
        if exponent.denominator == 2 or (exponent.denominator != 1 and exponent.denominator < 100 and base > 0):
            base, exponent = _exact_root(base, Fraction(exponent.denominator)), Fraction(exponent.numerator)
        n = _whole(exponent)
        size = max(base.numerator.bit_length(), base.denominator.bit_length())
        if abs(base) != 1 and base != 0 and size * abs(n) > self.bits:
            raise Inexact("too long")
        if base == 0 and n <= 0:
            raise Undefined("0 to a power that is not positive")
        return base**n if abs(base) != 1 else base ** (n % 2)


class Floating(Arithmetic):
    """Values of a module such as `math`, `cmath` or `mpmath`; with `real`, only real ones."""

    def __init__(self, module: Any, *, real: bool, natural_log: bool = True) -> None:
        super().__init__(natural_log)
        self.module: Any = module
        self.real: bool = real
        short = {f"arc{name}": f"a{name}" for name in ("sin", "cos", "tan")}
        same = {name: name for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh", "exp")} | short | {"ln": "log"}
        functions: dict[str, Any] = {ours: getattr(module, theirs) for ours, theirs in same.items()}
        functions |= {"root": self.root, "cbrt": lambda x: self.root(x, 3), "abs": abs}
        functions |= {"arccot": lambda x: module.pi / 2 - module.atan(x)}
        if real:
            functions |= {"max": lambda *xs: max(xs), "min": lambda *xs: min(xs), "mod": lambda a, b: a % b}
            functions |= {"floor": module.floor, "ceil": module.ceil}
            functions |= {"factorial": lambda x: module.gamma(x + 1), "binom": self.binomial}
        self.functions: Mapping[str, Callable[..., Scalar]] = functions

    def number(self, value: Fraction) -> Scalar:
        one = self.module.pi / self.module.pi
        return one * value.numerator / value.denominator

    def constant(self, name: str) -> Scalar:
        if name in ("pi", "e"):
            return +getattr(self.module, name)
        if name == "i" and not self.real:
            return self.module.sqrt(-1)
        raise Undefined(name)

    def power(self, base: Scalar, exponent: Scalar) -> Scalar:
        if base == 0 and not (abs(exponent) > 0 and exponent.real > 0):
            raise Undefined("0 to a power that is not positive")
        if base != 0 and abs(exponent) * abs(self.module.log(abs(base))) > _LARGEST:
            raise Inexact("too long")
        return base**exponent

    def root(self, value: Scalar, degree: Scalar) -> Scalar:
        if self.real and value < 0 and degree % 2 == 1:
            return -((-value) ** (1 / degree))
        return self.power(value, 1 / degree) if value else value

    def binomial(self, n: Scalar, k: Scalar) -> Scalar:
        gamma = self.module.gamma
        return gamma(n + 1) / gamma(k + 1) / gamma(n - k + 1)

    def checked(self, value: Scalar) -> Scalar:
        if self.real and (isinstance(value, complex) or (hasattr(value, "imag") and value.imag != 0)):
            raise Undefined("not real")
        return value
