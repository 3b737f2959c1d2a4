"""The value of a short formula without variables, as a float: to compare within a tolerance, and for nothing else."""

import ast
import math
import operator
import re
from collections.abc import Callable

_LONGEST = 200  # characters
_OPERATORS: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: math.pow,
}
_FUNCTIONS: dict[str, Callable[[float], float]] = {
    "sqrt": math.sqrt, "ln": math.log, "exp": math.exp, "sin": math.sin, "cos": math.cos, "tan": math.tan,
}  # fmt: skip
_CONSTANTS = {"pi": math.pi, "e": math.e}
_INNER = r"\{([^{}]*)\}"
_REWRITES = (
    (re.compile(r"\\(?:left|right|displaystyle|[,;:! ])|\$"), " "),
    (re.compile(r"\\[dtc]frac"), r"\\frac"),
    (re.compile(r"\\frac\s*(\d)\s*(\d)"), r"((\1)/(\2))"),
    (re.compile(r"\\(?:cdot|times)(?![a-z])|×|·"), "*"),
    (re.compile(r"\\div(?![a-z])|÷"), "/"),
    (re.compile(r"\\sqrt\s*(\d)"), r"\\sqrt{\1}"),
    (re.compile(r"π|\\pi(?![a-z])"), " pi "),
    (re.compile(r"[−–]"), "-"),
    (re.compile(r"(?<=\d),(?=\d{3}(?!\d))"), ""),
)
_NESTED = (
    (re.compile(rf"\\frac\s*{_INNER}\s*{_INNER}"), r"((\1)/(\2))"),
    (re.compile(rf"\\sqrt\s*\[(\d)\]\s*{_INNER}"), r"((\2)**(1/\1))"),
    (re.compile(rf"\\sqrt\s*{_INNER}"), r"sqrt(\1)"),
    (re.compile(rf"\^\s*{_INNER}"), r"**(\1)"),
)
_READABLE = re.compile(r"[0-9a-zA-Z\\{}()\[\]+\-*/^.,!:; $×·÷π−–√≈=]*")
_MIXED = re.compile(r"\d\s*\\[dt]?frac|\d\s+\d")  # 3\frac{1}{2} is 3.5 or 1.5: not for us to say
_BEFORE = re.compile(r"(?:[a-zA-Z]\s*)?(?:=|\\approx|≈|about\b|approximately\b)\s*")
_PRODUCT = re.compile(r"(?<=[\d)])\s*(?=[a-z(])|(?<=\bpi)\s+(?=[\d(a-z])|(?<=\))\s*(?=\d)")


def value_of(formula: str) -> float | None:
    """The value, such as 4.123 of "\\sqrt{17}" or 78.5 of "25\\pi"; None of what is no such formula."""
    formula = _BEFORE.sub("", formula.strip(" $"), count=1)
    if len(formula) > _LONGEST or not _READABLE.fullmatch(formula) or _MIXED.search(formula):
        return None
    try:
        found = _value(ast.parse(_as_python(formula), mode="eval").body)
    except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError):
        return None
    return found if math.isfinite(found) else None


def _as_python(formula: str) -> str:
    text = formula.strip().rstrip(".")
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    before = ""
    while before != text:
        before = text
        for pattern, replacement in _NESTED:
            text = pattern.sub(replacement, text)
    text = re.sub(r"\\(?=[a-z])", " ", text).replace("^", "**")
    return _PRODUCT.sub("*", text).strip()


def _value(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return float(value)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return float(_OPERATORS[type(op)](_value(left), _value(right)))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand)
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in _FUNCTIONS:
            return _FUNCTIONS[name](_value(argument))
        case _:
            raise ValueError("is no formula of numbers")
