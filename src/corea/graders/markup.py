"""Text without markup: LaTeX commands as the signs that they draw; case and signs stay as they are."""

import re
from collections.abc import Callable

from corea.graders.text import unified

_PLAIN = re.compile(r"[A-Za-z0-9 '-]*")
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
    (re.compile(r"\\(?:text(?:bf|it|rm)?|mathrm|mathbf|mathit|operatorname|mbox|boxed|ce)\s?\{([^{}]*)\}"), r"\1"),
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
    if _PLAIN.fullmatch(text):
        return " ".join(text.split())
    plain = text
    for pattern, replacement in _MARKUP if _MARKED.search(text) else ():
        plain = pattern.sub(replacement, plain)
    plain = unified(plain)
    return " ".join(plain.split()).rstrip(".,;").strip() or text.strip()
