"""Equality of two answers: form by form, down to expressions. Every verdict is True, False, or None where undecided."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from corea.graders.algebra.equality import all_of, any_of, expressions_equal, proportional
from corea.graders.algebra.expression import DEGREE, Node, number
from corea.graders.algebra.forms import (
    ALL_REALS,
    NO_SOLUTION,
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
from corea.graders.algebra.phrasing import condition_of
from corea.graders.algebra.reader import read_structure
from corea.graders.units import Unit


def answers_equal(reference: str, answer: str, *, precise: bool = False) -> bool | None:
    """True if an answer equals the reference, in any of their readings.

    Args:
        precise: See `expressions_equal`.
    """
    (variable, members), (other, others) = condition_of(reference), condition_of(answer)
    if members and others and members != others:
        return False
    renamed = (other, variable) if variable and other and variable != other else None
    return any_of(
        _AnswerComparison(precise).equal(wanted, said)
        for wanted in read_structure(reference)
        for said in read_structure(answer, renamed)
    )


@dataclass(frozen=True, slots=True)
class _AnswerComparison:
    """Comparison of a reference with an answer, one method for each pair of forms."""

    precise: bool

    def expressions(self, wanted: Node, said: Node) -> bool | None:
        return expressions_equal(wanted, said, precise=self.precise)

    def proportional(self, wanted: Node, said: Node, *, positive: bool = False) -> bool | None:
        return proportional(wanted, said, positive=positive, precise=self.precise)

    def equal(self, wanted: Answer, said: Answer) -> bool | None:
        """True if two answers are equal."""
        if wanted == said and not isinstance(wanted, Value):
            return True
        if isinstance(wanted, Assigned) or isinstance(said, Assigned):
            return self.named(wanted, said)
        if isinstance(wanted, Value) and isinstance(said, Value):
            return self.values(wanted, said)
        if isinstance(wanted, Union | NumberInterval) or isinstance(said, Union | NumberInterval):
            return self.sets(wanted, said)
        if isinstance(wanted, Matrix) or isinstance(said, Matrix):
            return self.matrices(wanted, said)
        if isinstance(wanted, Items) or isinstance(said, Items):
            return self.lists(wanted, said)
        if isinstance(wanted, Relation) and isinstance(said, Relation) and wanted.sign == said.sign:
            return self.proportional(wanted.difference, said.difference, positive=wanted.sign != "=")
        if isinstance(wanted, Congruence) or isinstance(said, Congruence):
            return self.congruences(wanted, said)
        if isinstance(wanted, Based) and isinstance(said, Value):
            return said.node == number(int(wanted.digits)) if wanted.digits.isdigit() and not said.percent else False
        return False

    def named(self, wanted: Answer, said: Answer) -> bool | None:
        """Equality where at least one is "name = value": by its value, or as an equation."""
        if isinstance(wanted, Assigned) and isinstance(said, Assigned):
            if _names_agree(wanted.name, said.name):
                return self.equal(wanted.answer, _with_argument(said, wanted.name))
        elif isinstance(wanted, Assigned) and not isinstance(said, Relation):
            return self.equal(wanted.answer, said)
        elif isinstance(said, Assigned) and not isinstance(wanted, Relation):
            return self.equal(wanted, said.answer)
        equations = [_equation(side) for side in (wanted, said)]
        if equations[0] is None or equations[1] is None:
            return False
        return self.proportional(equations[0], equations[1])

    def values(self, wanted: Value, said: Value) -> bool | None:
        """Equality of two values: units must agree where both have one, and a percent sign may mean a hundredth."""
        a, b = wanted.node, said.node
        if wanted.unit and said.unit:
            if not wanted.unit.agrees(said.unit):
                return False
            b = _converted(b, said.unit, wanted.unit)
        elif wanted.unit or said.unit:
            return any_of([self.expressions(a, b), self.angles(wanted, said)])
        if wanted.percent == said.percent:
            return self.expressions(a, b)
        hundredth = number(Fraction(1, 100))
        scaled = (Node("*", (a, hundredth)), b) if wanted.percent else (a, Node("*", (b, hundredth)))
        return any_of([self.expressions(a, b), self.expressions(*scaled)])

    def angles(self, wanted: Value, said: Value) -> bool | None:
        """Equality of degrees on one side and a multiple of pi on the other: 30° is \\pi/6."""
        degrees, other = (wanted, said) if wanted.unit else (said, wanted)
        in_degrees = degrees.unit and degrees.unit.dimension == "angle" and degrees.unit.factor == 1
        if not in_degrees or not any(node.name == "pi" for node in other.node.walk()):
            return False
        return self.expressions(Node("*", (degrees.node, DEGREE)), other.node)

    def sets(self, wanted: Answer, said: Answer) -> bool | None:
        """Equality where at least one is an interval or a union of sets."""
        if isinstance(wanted, Union) and isinstance(said, Union):
            return self.unordered(wanted.parts, said.parts)
        a, b = as_interval(wanted), as_interval(said)
        if a is None or b is None:
            return False
        ends = [self.expressions(a.low, b.low), self.expressions(a.high, b.high)]
        return all_of([_closed(a) == _closed(b), *ends])

    def matrices(self, wanted: Answer, said: Answer) -> bool | None:
        """Equality where at least one is a matrix; a single row or column is also a tuple."""
        is_vector = isinstance(wanted, Items) or isinstance(said, Items)
        a, b = (_rows(side, flat=is_vector) for side in (wanted, said))
        if not a or not b or [len(row) for row in a] != [len(row) for row in b]:
            return False
        return all_of(self.ordered(row, other) for row, other in zip(a, b, strict=True))

    def lists(self, wanted: Answer, said: Answer) -> bool | None:
        """Equality where at least one is a list, set, tuple or ratio."""
        if not isinstance(wanted, Items) or not isinstance(said, Items):
            return self.singleton(wanted, said)
        kinds = {wanted.brackets, said.brackets}
        if kinds == {":"}:
            return self.ratios(wanted.items, said.items)
        if kinds <= {"", "{"}:
            if kinds == {""} and _ELLIPSIS in (*wanted.items, *said.items):
                return self.ordered(wanted.items, said.items)
            reduced = [self.distinct(side.items) if side.brackets else side.items for side in (wanted, said)]
            return self.unordered(*reduced)
        if len(kinds) == 1 or kinds in ({"(", "<"}, {"(", ""}, {"<", ""}):
            return self.ordered(_values_of(wanted), _values_of(said))
        return False

    def singleton(self, wanted: Answer, said: Answer) -> bool | None:
        """Equality of a list and another form: a set of one is that one, and the empty set means no solution."""
        listed, other = (wanted, said) if isinstance(wanted, Items) else (said, wanted)
        assert isinstance(listed, Items)
        if listed.brackets != "{" or isinstance(other, Opaque):
            return False
        if len(listed.items) != 1 or listed.items[0] == NO_SOLUTION:
            return False
        return self.equal(listed.items[0], other)

    def ratios(self, wanted: Sequence[Answer], said: Sequence[Answer]) -> bool | None:
        """Equality of two ratios: in proportion, or as written where they may be times of the day."""
        written = self.ordered(wanted, said)
        a = [item.node for item in wanted if isinstance(item, Value) and not item.unit]
        b = [item.node for item in said if isinstance(item, Value) and not item.unit]
        if written or len(a) != len(wanted) or len(b) != len(said) or len(a) != len(b):
            return written
        crossed = ((Node("*", (x, b[0])), Node("*", (y, a[0]))) for x, y in zip(a[1:], b[1:], strict=True))
        return any_of([written, all_of(self.expressions(x, y) for x, y in crossed)])

    def congruences(self, wanted: Answer, said: Answer) -> bool | None:
        """Equality where at least one is a residue class; a plain number is one where it is the same residue."""
        if isinstance(wanted, Congruence) and isinstance(said, Congruence):
            residues = [Node("mod", (side.residue, side.modulus)) for side in (wanted, said)]
            return all_of([self.expressions(wanted.modulus, said.modulus), self.expressions(*residues)])
        congruence, other = (wanted, said) if isinstance(wanted, Congruence) else (said, wanted)
        assert isinstance(congruence, Congruence)
        if not isinstance(other, Value) or other.unit or other.percent:
            return False
        least = Node("mod", (congruence.residue, congruence.modulus))
        return all_of([self.expressions(congruence.residue, other.node), self.expressions(least, other.node)])

    def ordered(self, wanted: Sequence[Answer], said: Sequence[Answer]) -> bool | None:
        """Equality item by item."""
        if len(wanted) != len(said):
            return False
        return all_of(self.equal(a, b) for a, b in zip(wanted, said, strict=True))

    def unordered(self, wanted: Sequence[Answer], said: Sequence[Answer]) -> bool | None:
        """Equality of each item with one of the other side's."""
        if len(wanted) != len(said):
            return False
        left, unsure = list(said), False
        for item in wanted:
            found = [self.equal(item, other) for other in left]
            if True in found:
                left.pop(found.index(True))
            elif None in found:
                unsure = True
            else:
                return False
        return None if unsure else True

    def distinct(self, items: Sequence[Answer]) -> list[Answer]:
        """The items without repetitions."""
        kept: list[Answer] = []
        for item in items:
            if not any(self.equal(item, other) for other in kept):
                kept.append(item)
        return kept


def _converted(node: Node, old: Unit, new: Unit) -> Node:
    """A value in another unit of its dimension; a radian is 180/pi degrees."""
    ratio = old.factor / new.factor
    if ratio == 1:
        return node
    if new.dimension == "angle":
        return Node("/" if ratio > 1 else "*", (node, DEGREE))
    return Node("*", (node, number(ratio)))


def _with_argument(said: Assigned, wanted: str) -> Answer:
    """The value of f(t) = ... in the variable that the wanted name has."""
    old, new = (_ARGUMENT.search(name) for name in (said.name, wanted))
    if not old or not new or not isinstance(said.answer, Value):
        return said.answer
    return Value(said.answer.node.renamed(old[1], new[1]), said.answer.unit, said.answer.percent)


_ARGUMENT = re.compile(r"\( ([a-z]) \)$")


def _names_agree(a: str, b: str) -> bool:
    """True if two names may be of one thing: the same, or one of a function (y = x^2, f(x) = x^2) or in words."""
    return a == b or "(" in a or "(" in b or any(name.replace(" ", "").isalpha() and len(name) > 2 for name in (a, b))


def _equation(answer: Answer) -> Node | None:
    """Left minus right."""
    if isinstance(answer, Relation):
        return answer.difference if answer.sign == "=" else None
    if isinstance(answer, Assigned) and isinstance(answer.answer, Value) and len(answer.name) == 1:
        return Node("-", (Node("variable", name=answer.name), answer.answer.node))
    return None


def _closed(interval: NumberInterval) -> tuple[bool, bool]:
    """Closedness of both ends; an infinite one is always open."""
    return (
        interval.low_closed and interval.low != ALL_REALS.low,
        interval.high_closed and interval.high != ALL_REALS.high,
    )


def _rows(answer: Answer, *, flat: bool) -> Sequence[Sequence[Answer]]:
    """The rows of a matrix, or a tuple as one; if `flat`, of a column too, and none of a matrix with more of both."""
    if not isinstance(answer, Matrix):
        return (answer.items,) if isinstance(answer, Items) and answer.brackets in ("(", "<") else ()
    if not flat:
        return answer.rows
    is_vector = len(answer.rows) == 1 or all(len(row) == 1 for row in answer.rows)
    return ([cell for row in answer.rows for cell in row],) if is_vector else ()


_ELLIPSIS = Opaque("…")
"""An item of a list whose order counts."""


def _values_of(items: Items) -> Sequence[Answer]:
    """The items; for "a = 3, b = 5" only their values, if the names differ."""
    named = [item for item in items.items if isinstance(item, Assigned)]
    if len(named) == len(items.items) == len({item.name for item in named}):
        return [item.answer for item in named]
    return items.items
