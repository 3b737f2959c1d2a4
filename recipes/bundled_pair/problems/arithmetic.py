"""Chains of + and -, products, greatest common divisors, and equations in one unknown."""

import math
from random import Random

from recipes.bundled_pair.problems.problem import Problem, checked, last_number
from recipes.bundled_pair.problems.style import Style, number

CHAIN_SIZES: dict[int, tuple[tuple[int, int], ...]] = {  # level: (terms, digits), one pair chosen
    1: ((2, 1), (2, 2)),
    2: ((2, 2), (3, 1), (3, 2)),
    3: ((4, 2), (2, 3)),
    4: ((3, 4), (4, 4), (2, 5)),
    5: ((10, 2), (4, 5), (6, 4)),
}
CHAIN_HOME = ("What is {}?", "Compute {}.", "{} = ?", "Work out {}.")
CHAIN_WIDE = (
    "Find the value of {}.",
    "Calculate {}.",
    "State the final answer to the following arithmetic problem: {} =",
    "Please add this up: {}",
    "How much is {}?",
)
PRODUCT_SIZES: dict[int, tuple[tuple[int, int], ...]] = {
    1: ((1, 1),),
    2: ((2, 1),),
    3: ((3, 1),),
    4: ((2, 2), (3, 2)),
    5: ((4, 2), (5, 1)),
}
PRODUCT_HOME = ("What is {}?", "Compute {}.", "{} = ?", "Multiply: {}.")
PRODUCT_WIDE = (
    "Find the product {}.",
    "Calculate {}.",
    "Solve the following multiplication: {}. Give only the result as your final answer.",
    "How much is {}?",
)
GCD_LARGEST = {1: 20, 2: 25, 3: 40, 4: 200, 5: 600}
GCD_HOME = (
    "What is the gcd of {} and {}?",
    "Find the greatest common divisor of {} and {}.",
    "gcd({}, {}) = ?",
)
GCD_WIDE = (
    "Which is the largest number that divides both {} and {}?",
    "Give the highest common factor of {} and {}.",
    "Find the Greatest Common Divisor (GCD) of these numbers: {}, {}. Give only the GCD as your final answer.",
)
EQUATION_HOME = ("Solve {} for {}.", "If {}, what is {}?", "{}. Find {}.")
EQUATION_WIDE = ("Solve for {1}: {0}", "Which {1} makes {0} true?", "Given that {}, determine {}.")


def chain(rng: Random, level: int, style: Style) -> Problem:
    """Sums and differences, worked from the left; below zero only where the style allows it."""
    terms, digits = rng.choice(CHAIN_SIZES[level])
    values, written, steps = [number(rng, digits)], "", ""
    for _ in range(terms - 1):
        value = number(rng, rng.choice((digits, max(1, digits - 1))) if terms > 2 else digits)
        minus = rng.random() < 0.5 and (style.negative or value <= sum(values))
        values.append(-value if minus else value)
    running = values[0]
    written = str(running)
    for value in values[1:]:
        sign = "-" if value < 0 else "+"
        written += f" {sign} {abs(value)}"
        steps += f" {running}{sign}{abs(value)}={running + value}"
        running += value
    if rng.random() < 0.15:
        written = written.replace(" ", "")
    text = style.wording(rng, CHAIN_HOME, CHAIN_WIDE).format(written)
    problem = Problem(kind="chain", level=level, text=text, steps=steps.strip(), answer=last_number(steps))
    return checked(problem, str(sum(values)))


def multiplied(a: int, b: int, *, whole: bool = False) -> str:
    """The steps of a product: each digit (`whole`: all of `a`) by each digit of `b`, added up as they come."""
    pairs = [(x, y) for x in ([a] if whole else by_places(a)) for y in by_places(b)]
    parts = [x * y for x, y in pairs]
    steps = [f"{x}*{y}={x * y}" for x, y in pairs]
    running = parts[0]
    for part in parts[1:]:
        steps.append(f"{running}+{part}={running + part}")
        running += part
    return " ".join(steps)


def by_places(value: int) -> list[int]:
    """347 -> [300, 40, 7]; zeros left out."""
    digits = str(value)
    return [int(d) * 10 ** (len(digits) - i - 1) for i, d in enumerate(digits) if d != "0"] or [0]


def product(rng: Random, level: int, style: Style) -> Problem:
    """Two factors; the larger ones in fewer and harder steps."""
    sizes = rng.choice(PRODUCT_SIZES[level])
    a, b = (number(rng, digits) for digits in rng.sample(sizes, 2))
    sign = rng.choice((" * ", " * ", "*", " x "))
    text = style.wording(rng, PRODUCT_HOME, PRODUCT_WIDE).format(f"{a}{sign}{b}")
    steps = multiplied(a, b, whole=level > 3)
    problem = Problem(kind="product", level=level, text=text, steps=steps, answer=last_number(steps))
    return checked(problem, str(a * b))


def gcd(rng: Random, level: int, style: Style) -> Problem:
    """Euclid's algorithm, a remainder a step."""
    largest = GCD_LARGEST[level]
    factor = rng.choice([1, *range(2, max(3, largest // 3))])
    a, b = (factor * rng.randint(1, max(2, largest // factor)) for _ in range(2))
    text = style.wording(rng, GCD_HOME, GCD_WIDE).format(a, b)
    high, low, steps = max(a, b), min(a, b), ""
    while low:
        steps += f" {high}%{low}={high % low}"
        high, low = low, high % low
    problem = Problem(kind="gcd", level=level, text=text, steps=steps.strip(), answer=str(high))
    return checked(problem, str(math.gcd(a, b)))


def equation(rng: Random, level: int, style: Style) -> Problem:
    """One unknown, a whole number: x + a = b, a*x = b, then a*x + b = c with larger numbers."""
    letter = rng.choice("abcdefghkmpqrstuvwxyz" if style.is_new_word(rng) else "xxxyzn")
    letter = letter if rng.random() >= style.odd_letters else rng.choice(style.letters)
    x, a = rng.randint(1, (9, 30, 20, 150, 300)[level - 1]), rng.randint(2, (9, 9, 9, 12, 15)[level - 1])
    b = rng.randint(1, (10, 50, 50, 500, 999)[level - 1])
    form = rng.choice(("plus", "minus", "times") if level <= 2 else ("both", "both less"))
    if form == "plus":
        total = x + b
        written, steps = f"{letter} + {b} = {total}", f"{total}-{b}={x}"
    elif form == "minus":
        total = x - b
        if total < 0 and not style.negative:
            x, total = x + b, x
        written, steps = f"{letter} - {b} = {total}", f"{total}+{b}={x}"
    elif form == "times":
        total = a * x
        written, steps = f"{a}*{letter} = {total}", f"{total}/{a}={x}"
    elif form == "both":
        total = a * x + b
        written = f"{a}*{letter} + {b} = {total}" if rng.random() >= style.wide else f"{b} + {a}*{letter} = {total}"
        steps = f"{total}-{b}={total - b} {total - b}/{a}={x}"
    else:
        b = b if style.negative else rng.randint(1, min(b, a * x))
        total = a * x - b
        written, steps = f"{a}*{letter} - {b} = {total}", f"{total}+{b}={total + b} {total + b}/{a}={x}"
    text = style.wording(rng, EQUATION_HOME, EQUATION_WIDE).format(written, letter)
    problem = Problem(kind="equation", level=level, text=text, steps=steps, answer=last_number(steps))
    left, right = written.replace(letter, f"({x})").split("=")
    assert eval(left) == int(right), written  # our own digits and signs only: the unknown put back in
    return checked(problem, str(x))
