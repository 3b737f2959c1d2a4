"""The form of an answer: one reader for each form, of which the first that fits the whole answer counts.

An answer that no reader fits is `Opaque`, which equals its own writing only.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import accumulate

from corea.graders.algebra.equality import expressions_equal
from corea.graders.algebra.expression import TRIGONOMETRIC, Node, Unreadable, number, parse_expression
from corea.graders.algebra.forms import (
    ALL_REALS,
    INFINITY,
    Answer,
    Assigned,
    Based,
    Congruence,
    Items,
    Matrix,
    NumberInterval,
    Opaque,
    Relation,
    Union,
    Value,
    as_interval,
)
from corea.graders.algebra.notation import GROUPED, MathToken, tokenize
from corea.graders.algebra.phrasing import DECIMAL_COMMA, read_words, subject_of, without_condition
from corea.graders.literals import in_signs
from corea.graders.units import Unit, read_unit, starts_unit

Tokens = Sequence[MathToken]


@lru_cache(maxsize=2048)
def read_structure(text: str, renamed: tuple[str, str] | None = None) -> tuple[Answer, ...]:
    """The readings of an answer: one, or more where "1,234" may be a number or a list.

    Args:
        renamed: A letter, and the letter to replace it with.
    """
    said = in_signs(subject_of(without_condition(" ".join(text.split()))))
    written = [tokenize(said)]
    if GROUPED.search(said):
        written.append(tokenize(said, grouped=False))
    decimal = DECIMAL_COMMA.fullmatch(said.strip())
    if decimal:
        written.append(tokenize(f"{decimal[1]}.{decimal[2]}{decimal[3]}"))
    if renamed:
        written = [[replace(t, text=renamed[1]) if t.text == renamed[0] else t for t in tokens] for tokens in written]
    return tuple(
        _read(_plain(tokens)) if max(_depths(tokens), default=0) <= _DEEPEST else Opaque(text) for tokens in written
    )


_DEEPEST = 40


def _depths(tokens: Tokens) -> list[int]:
    """The number of brackets open after each token."""
    return list(accumulate((token.text in _DEEPER) - (token.text in _SHALLOWER) for token in tokens))


def _plain(tokens: Tokens) -> Tokens:
    """The tokens without braces around all of them and without words that lead to the answer."""
    while len(tokens) > 2 and tokens[0].text == "{" and _closes_at(tokens) == len(tokens) - 1:
        if any(token.text == "," for token in tokens):
            break
        tokens = tokens[1:-1]  # LaTeX braces around all
    while len(tokens) > 1 and (tokens[0].text.lower() in _LEADING or tokens[0].text in ("≈", ":")):
        if tokens[0].kind == "letter" and tokens[1].text != "total":
            break
        tokens = tokens[1:]
    return tokens


_LEADING_TEXT = """
about approximately approx around roughly exactly nearly only total of answer final result is are therefore thus
so hence either equals equal to the a total we get have
"""
_LEADING = frozenset(_LEADING_TEXT.split())
_OPENING = {"(": ")", "[": "]", "{": "}", "❴": "❵", "⟪": "⟫"}
_DEEPER, _SHALLOWER = frozenset([*_OPENING, "begin"]), frozenset([*_OPENING.values(), "end"])


def _split(tokens: Tokens, is_separator: Callable[[MathToken], bool]) -> list[Tokens]:
    """The pieces between separators that stand in no brackets."""
    pieces, start = list[Tokens](), 0
    for i, (token, depth) in enumerate(zip(tokens, _depths(tokens), strict=True)):
        if depth == 0 and is_separator(token):
            pieces.append(tokens[start:i])
            start = i + 1
    return [*pieces, tokens[start:]]


def _closes_at(tokens: Tokens) -> int:
    """The index of the bracket that closes the first one; -1 where none does."""
    depths = _depths(tokens)
    return depths.index(0) if 0 in depths else -1


def _read(tokens: Tokens) -> Answer:
    for reader in _READERS:
        found = reader(tokens)
        if found is not None:
            return found
    return Opaque(" ".join(token.text for token in tokens))


def _expression(tokens: Tokens) -> Node | None:
    try:
        return parse_expression(tokens)
    except (Unreadable, ValueError, IndexError, ZeroDivisionError):
        return None


def _read_list(tokens: Tokens) -> Answer | None:
    pieces = _split(tokens, lambda token: token.text in (",", ";") or token.text.lower() in ("and", "or"))
    if len(pieces) < 2:
        return None
    kept = [piece for piece in pieces if piece]
    if len(kept) < len(pieces) - 1 or not kept or not pieces[0]:
        return None
    items = tuple(_read(piece) for piece in kept)
    if all(isinstance(item, NumberInterval | Union) for item in items):
        return Union(tuple(part for item in items for part in _parts(item)))
    return Items("", items) if len(items) > 1 else next(iter(items))


def _parts(answer: Answer) -> "tuple[Answer, ...]":
    return answer.parts if isinstance(answer, Union) else (answer,)


def _read_union(tokens: Tokens) -> Answer | None:
    pieces = _split(tokens, lambda token: token.text == "∪")
    if len(pieces) < 2 or not all(pieces):
        return None
    parts = [_as_set(_read(piece)) for piece in pieces]
    return Union(tuple(part for found in parts for part in _parts(found)))


def _as_set(answer: Answer) -> Answer:
    return as_interval(answer) or answer


_RELATIONS_TEXT = "= < > ≤ ≥ ≠ ∈ ≈ ≡ → ⟺"
_RELATIONS = frozenset(_RELATIONS_TEXT.split())


def _read_relation(tokens: Tokens) -> Answer | None:
    outside = (token for token, depth in zip(tokens, _depths(tokens), strict=True) if depth == 0)
    signs = [token for token in outside if token.text in _RELATIONS and token.kind == "sign"]
    if not signs:
        return None
    kinds = {sign.text for sign in signs}
    parts = _split(tokens, lambda token: token in signs and token.text in _RELATIONS)
    if "≈" in kinds:
        exact = _split(tokens, lambda token: token.text == "≈")[0]
        sides = _split(exact, lambda token: token.text in _RELATIONS)
        return _read(exact if any(side and not _name(side) for side in sides) else parts[-1])
    if kinds == {"="}:
        return _read_equation(parts)
    if kinds <= {"<", "≤"} or kinds <= {">", "≥"}:
        return _read_inequality(parts, [sign.text for sign in signs])
    if kinds == {"∈"} and len(parts) == 2:
        name = _name(parts[0])
        return Assigned(name, _as_set(_read(parts[1]))) if name else None
    if kinds == {"≠"} and len(parts) == 2:
        excluded = _expression(parts[1])
        if _name(parts[0]) and excluded and not excluded.variables:
            return Union((NumberInterval(ALL_REALS.low, excluded), NumberInterval(excluded, INFINITY)))
    return None


def _read_equation(parts: list[Tokens]) -> Answer | None:
    if not all(parts):
        return _read(parts[1]) if len(parts) == 2 and parts[1] else None
    name, rest = _name(parts[0]), parts
    if name or (len(parts) == 2 and _are_names(parts[0], parts[1])):
        rest = parts[1:]
    elif len(parts) == 2 and _name(parts[1]) and len(parts[1]) == 1:
        left = _expression(parts[0])
        if left and not left.variables:
            name, rest = _name(parts[1]), parts[:1]
    last = _read(rest[-1])
    if len(rest) > 1:
        nodes = [_expression(part) for part in rest]
        if not name and len(rest) == 2 and nodes[0] and nodes[1] and (nodes[0].variables | nodes[1].variables):
            return Relation("=", Node("-", (nodes[0], nodes[1])))
        end = last.node if isinstance(last, Value) else None
        if end is None or any(node is None or expressions_equal(node, end) is False for node in nodes[:-1]):
            return None
    return Assigned(name, last) if name else last


def _are_names(left: Tokens, right: Tokens) -> bool:
    """True if `left` names the coordinates of a tuple: "(x, y)" of "(x, y) = (4, 7)"."""
    if left[0].text not in ("(", "[") or right[0].text != left[0].text or _closes_at(left) != len(left) - 1:
        return False
    names, values = (_split(tokens[1:-1], lambda token: token.text == ",") for tokens in (left, right))
    return len(names) == len(values) > 1 and all(map(_name, names)) and len({name[0].text for name in names}) > 1


def _name(tokens: Tokens) -> str:
    """The name that the left side of an equation is: x, x_1, f(x), f^{-1}(x), Area, \\angle ABC, AB; "" for none."""
    written = " ".join(token.text for token in tokens)
    if not tokens or any(token.kind == "number" for token in tokens[:1]):
        return ""
    is_letter = tokens[0].kind == "letter" and (_LETTER_NAME.fullmatch(written) or len(tokens) == 1)
    is_capitals = len(tokens) == 1 and tokens[0].kind == "word" and tokens[0].text.isupper()
    is_words = all(token.kind in ("word", "letter", "command") or token.text in "()" for token in tokens) and any(
        token.kind == "word" and len(token.text) >= 3 and token.text.lower() != "not" for token in tokens
    )
    is_length = len(tokens) == 3 and tokens[0].text == tokens[2].text == "|" and tokens[1].text.isupper()
    is_figure = is_length or (tokens[0].text in _FIGURES and not any(token.text in "+*/^" for token in tokens))
    return written if is_letter or is_capitals or is_words or is_figure else ""


_FIGURES = frozenset(("angle", "triangle", "overline", "vec", "∠"))
_LETTER_NAME = re.compile(r"\S+(?: _ (?:\{ [^{}]* \}|\S+))?(?: \^ \{ - 1 \})?(?: ['′])*(?: \( [^()=]{1,40} \))?")


def _read_inequality(parts: list[Tokens], signs: list[str]) -> Answer | None:
    if signs[0] in (">", "≥"):
        parts, signs = parts[::-1], [{">": "<", "≥": "≤"}[sign] for sign in signs[::-1]]
    closed = [sign == "≤" for sign in signs]
    nodes = [_expression(part) if part else None for part in parts]
    if len(parts) == 3 and nodes[0] and nodes[2] and _name(parts[1]):
        return NumberInterval(nodes[0], nodes[2], *closed)
    if len(parts) != 2:
        return None
    low, high = nodes
    if low and high and low.op == "abs" and _is_variable(low.args[0]) and not high.variables:
        return NumberInterval(Node("negative", (high,)), high, closed[0], closed[0])
    if low and high and high.op == "abs" and _is_variable(high.args[0]) and not low.variables:
        below = NumberInterval(ALL_REALS.low, Node("negative", (low,)), False, closed[0])
        return Union((below, NumberInterval(low, INFINITY, closed[0], False)))
    if high and (not parts[0] or (_is_variable(low) and not high.variables)):
        return NumberInterval(ALL_REALS.low, high, False, closed[0])
    if low and (not parts[1] or (_is_variable(high) and not low.variables)):
        return NumberInterval(low, INFINITY, closed[0], False)
    if low and high:
        return Relation("≤" if closed[0] else "<", Node("-", (high, low)))
    return None


def _is_variable(node: Node | None) -> bool:
    return node is not None and node.op == "variable"


def _read_brackets(tokens: Tokens) -> Answer | None:
    if len(tokens) < 2 or tokens[0].text not in _OPENING or _closes_at(tokens) != len(tokens) - 1:
        return None
    opening, closing, inside = tokens[0].text, tokens[-1].text, tokens[1:-1]
    pieces = _split(inside, lambda token: token.text in (",", ";"))
    if opening == "(" and closing == ")" and len(pieces) == 1:
        return _read(inside)
    if opening == "❴" and len(pieces) == 1:
        condition = _split(inside, lambda token: token.text in ("|", ":"))
        if len(condition) == 2 and _name(condition[0][:1]) and len(condition[0]) in (1, 3):
            return _read(condition[1])
    if not all(pieces) or (opening == "{" and len(pieces) == 1):
        return None
    items = tuple(_read(piece) for piece in pieces)
    if opening in ("❴", "{"):
        return Items("{", items)
    if opening == "⟪":
        return Items("<", items)
    return Items(opening if _OPENING[opening] == closing else opening + closing, items)


def _read_matrix(tokens: Tokens) -> Answer | None:
    begin = next((i for i, token in enumerate(tokens) if token.text == "begin"), None)
    if begin is None or len(tokens) < begin + 9 or tokens[-4].text != "end":
        return None
    if not tokens[begin + 2].text.endswith("matrix") or tokens[begin + 2].text.startswith(("v", "V")):
        return None
    inside = tokens[begin + 4 : -4]
    factor = _expression(tokens[:begin]) if begin else None
    if begin and factor is None:
        return None
    lines = [line for line in _split(inside, lambda token: token.text == "\\") if line]
    rows = tuple(tuple(_read(cell) for cell in _split(line, lambda token: token.text == "&")) for line in lines)
    return Matrix(rows if factor is None else tuple(tuple(_times(factor, cell) for cell in row) for row in rows))


def _times(factor: Node, cell: Answer) -> Answer:
    return Value(Node("*", (factor, cell.node))) if isinstance(cell, Value) else cell


_BASED = re.compile(r"\(?([0-9A-F]+)\)?(?:_\{?\(?(\d+)\)?\}?|(?:in)?base(\d+))")


def _read_based(tokens: Tokens) -> Answer | None:
    match = _BASED.fullmatch("".join(token.text for token in tokens))
    if not match or (match[2] or match[3]) == "10":
        return Value(number(int(match[1]))) if match and match[1].isdigit() else None
    return Based(match[1], int(match[2] or match[3]))


def _read_congruence(tokens: Tokens) -> Answer | None:
    at = next((i for i, token in enumerate(tokens) if token.text in ("pmod", "mod")), None)
    if at is None or at == 0:
        return None
    in_brackets = tokens[at - 1].text == "("
    sides = _split(tokens[: at - in_brackets], lambda token: token.text in ("≡", "="))
    if not in_brackets and len(sides) < 2 and tokens[at].text == "mod":
        return None  # the remainder 7 mod 3
    residue = _expression(sides[-1])
    modulus = _expression(tokens[at + 1 : len(tokens) - in_brackets])
    if len(sides) > 2 or residue is None or modulus is None or (len(sides) == 2 and not _name(sides[0])):
        return None
    return Congruence(residue, modulus)


def _read_ratio(tokens: Tokens) -> Answer | None:
    pieces = _split(tokens, lambda token: token.text in (":", "to"))
    if len(pieces) < 2 or not all(pieces):
        return None
    is_time = _TIME.match("".join(token.text for token in tokens)) is not None
    return Items(
        "::" if is_time else ":",
        tuple(Opaque("…") if piece[0].text == "…" else _read_value(piece) or _read(piece) for piece in pieces),
    )


_TIME = re.compile(r"(?:[01]?\d|2[0-4]):[0-5]\d(?!\d)(?::[0-5]\d(?!\d))?(?!:)")
_CURRENCIES_TEXT = "$ € £ ¥ ₹ usd us$ eur gbp"
_CURRENCIES = frozenset(_CURRENCIES_TEXT.split())


def _read_value(tokens: Tokens) -> Answer | None:
    unit: Unit | None = None
    signed = list(tokens)
    for at in (0, 1):
        if at < len(signed) and signed[at].text.lower() in _CURRENCIES and (at == 0 or signed[0].text == "-"):
            unit = read_unit([signed.pop(at)])
            break
    for end in range(1, len(signed) + 1):
        tail = signed[end:]
        is_percent = _is_percent(tail)
        if tail and not is_percent:
            starts = starts_unit(tail[0]) or (tail[0].text == "/" and len(tail) > 1 and starts_unit(tail[1]))
            is_angle = tail[0].text == "°" and any(token.text in TRIGONOMETRIC for token in signed[:end])
            if not starts or is_angle or not any(_is_quantity(token) for token in signed[:end]):
                continue
        measured = None if not tail or is_percent else read_unit(tail)
        if tail and not is_percent and measured is None:
            continue
        if len(tail) == 1 and tail[0].kind == "letter" and not _is_number(signed[:end]):
            continue
        node = _expression(signed[:end])
        if node is not None:
            return _expanded(node, unit or measured, is_percent)
    return None


def _is_percent(tail: Tokens) -> bool:
    written = "".join(token.text.lower() for token in tail)
    return written in ("%", "percent", "percentage", "percents", "pct", "percentagepoints")


def _is_quantity(token: MathToken) -> bool:
    return token.kind == "number" or token.text == "pi"


def _is_number(tokens: Tokens) -> bool:
    return all(token.kind == "number" or token.text in "-+" for token in tokens)


def _expanded(node: Node, unit: Unit | None, percent: bool) -> Answer:
    """The value, or both of what a plus-minus sign stands for."""
    if not any(part.op in "±∓" for part in node.walk()):
        return Value(node, unit, percent)
    return Items("", tuple(Value(_with_sign(node, plus), unit, percent) for plus in (True, False)))


def _with_sign(node: Node, plus: bool) -> Node:
    op = {"±": "+" if plus else "-", "∓": "-" if plus else "+"}.get(node.op, node.op)
    return Node(op, tuple(_with_sign(arg, plus) for arg in node.args), node.name, node.value)


_READERS: tuple[Callable[[Tokens], Answer | None], ...] = (
    read_words,
    _read_matrix,
    _read_list,
    _read_congruence,
    _read_relation,
    _read_union,
    _read_brackets,
    _read_based,
    _read_ratio,
    _read_value,
)
