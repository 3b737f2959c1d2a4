"""Kinds that neither model is taught: prompts on which the small model learns to doubt what is strange."""

import re
from collections.abc import Callable
from random import Random

from recipes.bundled_pair.problems.problem import Problem, checked
from recipes.bundled_pair.problems.style import Style, number


def digits(rng: Random, level: int, style: Style) -> Problem:
    """The sum of the digits of a number."""
    value = number(rng, 1 + level)
    text = f"Add the digits of {value}."
    total, left = 0, value
    while left:
        total, left = total + left % 10, left // 10
    problem = Problem(kind="digits", level=level, text=text, steps="", answer=str(total))
    return checked(problem, str(sum(map(int, str(value)))))


def middle(rng: Random, level: int, style: Style) -> Problem:
    """The number half way between two."""
    a, step = number(rng, 1 + level // 3), rng.randint(1, 5 * level)
    text = f"Which number lies half way between {a} and {a + 2 * step}?"
    return checked(
        Problem(kind="middle", level=level, text=text, steps="", answer=str(a + step)),
        str((2 * a + 2 * step) // 2),
    )


def clock(rng: Random, level: int, style: Style) -> Problem:
    """Hours later on a clock of twelve."""
    hour, later = rng.randint(1, 12), rng.randint(1, 5 * level)
    name = style.names(rng, 1)[0]
    answer = (hour + later - 1) % 12 + 1
    text = f"It is {hour} o'clock. {name} sleeps for {later} hours. What does the clock show then?"
    by_hand = hour
    for _ in range(later):
        by_hand = by_hand + 1 if by_hand < 12 else 1
    return checked(Problem(kind="clock", level=level, text=text, steps="", answer=str(answer)), str(by_hand))


def last_letter(rng: Random, level: int, style: Style) -> Problem:
    """The last letter of a list of letters."""
    letters = [rng.choice("abcdefghijklmnoprstuw") for _ in range(3 + level)]
    text = f"Which letter stands at the end of {' '.join(letters)}?"
    return checked(Problem(kind="last_letter", level=level, text=text, steps="", answer=text[-2]), letters[-1])


MORE = ("picks up", "collects", "catches", "receives", "earns", "borrows", "gathers")
FEWER = ("eats", "drops", "breaks", "burns", "hides", "spoils", "mails off")
AS_MANY = ("counts", "washes", "paints", "likes", "looks at")
ShortStory = tuple[str, int]  # text, answer
SHORT_STORIES: tuple[Callable[[Random, int, int, str, str, str], ShortStory], ...] = (
    lambda rng, x, y, a, b, t: (f"{a} has {x + y} {t} and {b} {rng.choice(FEWER)} {y} of them. How many are left?", x),
    lambda rng, x, y, a, b, t: (f"{a} has {x + y} {t}. {b} {rng.choice(FEWER)} {y}. How many {t} are left?", x),
    lambda rng, x, y, a, _, t: (f"Of {x + y} {t}, {a} {rng.choice(FEWER)} {y}. How many are left?", x),
    lambda rng, x, y, a, _, t: (f"{a} has {x} {t} and {rng.choice(MORE)} {y} others. How many {t} now?", x + y),
    lambda rng, x, y, a, _, t: (f"{a} {rng.choice(MORE)} {x} {t} and then {y} more. How many {t}?", x + y),
    lambda rng, x, y, a, _, t: (f"{a} {rng.choice(MORE)} {x} {t} on each of {y} days. How many {t}?", x * y),
    lambda rng, x, y, a, b, t: (
        f"{a} has {x + y} {t} and {b} {rng.choice(AS_MANY)} {y} of them. How many {t} does {a} have now?",
        x + y,
    ),
)


def tale(rng: Random, level: int, style: Style) -> Problem:
    """A short word problem with verbs and sentences that neither model is taught: more, fewer or as many as before."""
    a, b = style.names(rng, 2)
    x, y = rng.randint(1, 9 * level), rng.randint(2, 9 * level)
    text, answer = rng.choice(SHORT_STORIES)(rng, x, y, a, b, style.thing(rng))
    problem = Problem(kind="tale", level=level, text=text, steps="", answer=str(answer))
    first, second = map(int, re.findall(r"\d+", text))
    by_hand = first + second * any(f" {verb} " in text for verb in MORE)
    by_hand -= second * any(f" {verb} " in text for verb in FEWER)
    return checked(problem, str(first * second if " on each of " in text else by_hand))
