"""One generated problem: what is asked, short reasoning that answers it, and the answer, checked twice."""

import re
from dataclasses import dataclass

EQUATION = re.compile(r"(?<![\d%*+/=-])(-?\d+)([-+*/%])(-?\d+)=(-?\d+)(?!\d)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A problem with its written reasoning.

    Args:
        kind: The generator's name, such as "chain".
        level: Its difficulty, 1 (small) to 5 (large).
        steps: The reasoning a model is taught to write, such as "12+7=19".
    """

    kind: str
    level: int
    text: str
    steps: str
    answer: str


def checked(problem: Problem, expected: str) -> Problem:
    """The problem itself, once its answer equals one computed another way and each written equation holds.

    Args:
        expected: The answer by a second road (Python's own sum, sorted, math.gcd), not by the written steps.
    """
    assert problem.answer == expected, f"{problem} should answer {expected}"
    for left, sign, right, result in EQUATION.findall(problem.steps):
        a, b, c = int(left), int(right), int(result)
        holds = {"+": a + b == c, "-": a - b == c, "*": a * b == c}
        if sign in "/%" and b:
            holds |= {"/": b * c == a, "%": a % b == c}
        assert holds.get(sign, False), f"{left}{sign}{right}={result} does not hold in {problem}"
    return problem


def last_number(steps: str) -> str:
    """The result of the last written equation: what the reasoning itself arrives at."""
    return steps.rsplit("=", 1)[-1]
