"""Kinds that the small model is never taught: the large model knows them; the small one should doubt."""

from random import Random

from recipes.bundled_pair.problems.problem import Problem, checked, last_number
from recipes.bundled_pair.problems.style import Style

LARGEST = {1: 20, 2: 40, 3: 70, 4: 99, 5: 200}


def remainder(rng: Random, level: int, style: Style) -> Problem:
    """The remainder of a division."""
    a, b = rng.randint(5, LARGEST[level]), rng.randint(2, 9)
    text = style.wording(rng, ("What is the remainder when {} is divided by {}?",), ("{} mod {} = ?",)).format(a, b)
    steps = f"{a - a % b}/{b}={a // b} {a}-{a - a % b}={a % b}"
    problem = Problem(kind="remainder", level=level, text=text, steps=steps, answer=last_number(steps))
    return checked(problem, str(a % b))


def sequence(rng: Random, level: int, style: Style) -> Problem:
    """The next number of an even progression."""
    start, gap, length = rng.randint(1, LARGEST[level]), rng.randint(2, 4 * level), rng.randint(3, 5)
    values = [start + gap * i for i in range(length)]
    if rng.random() < 0.3:
        values.reverse()
    gap = values[1] - values[0]
    wording = style.wording(rng, ("Which number comes next: {}, ?",), ("Continue the sequence {}",))
    sign = "+" if gap > 0 else "-"
    steps = f"{values[1]}-{values[0]}={gap} {values[-1]}{sign}{abs(gap)}={values[-1] + gap}"
    problem = Problem(
        kind="sequence",
        level=level,
        text=wording.format(", ".join(map(str, values))),
        steps=steps,
        answer=last_number(steps),
    )
    return checked(problem, str(2 * values[-1] - values[-2]))


def reverse(rng: Random, level: int, style: Style) -> Problem:
    """Letters written backwards."""
    letters = [rng.choice("abcdefghijklmnoprstuw") for _ in range(2 + level)]
    text = style.wording(rng, ("Write backwards: {}",), ("Reverse the letters {}",)).format(" ".join(letters))
    taken: list[str] = []
    for letter in letters:
        taken.insert(0, letter)
    answer = " ".join(taken)
    problem = Problem(kind="reverse", level=level, text=text, steps=str(len(letters)), answer=answer)
    return checked(problem, " ".join(reversed(letters)))


def spread(rng: Random, level: int, style: Style) -> Problem:
    """Largest minus smallest."""
    values = rng.sample(range(1, LARGEST[level]), 2 + (level + 1) // 2)
    listed = ", ".join(map(str, values))
    text = style.wording(rng, ("What is the range of {}?",), ("How far apart are the extremes of {}?",)).format(listed)
    steps = f"{max(values)}-{min(values)}={max(values) - min(values)}"
    problem = Problem(kind="spread", level=level, text=text, steps=steps, answer=last_number(steps))
    ordered = sorted(values)
    return checked(problem, str(ordered[-1] - ordered[0]))
