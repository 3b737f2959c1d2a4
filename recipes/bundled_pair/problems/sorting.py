"""Comparing and sorting numbers, counting letters, and who comes first: little arithmetic or none."""

from itertools import pairwise
from random import Random

from recipes.bundled_pair.problems.problem import Problem, checked
from recipes.bundled_pair.problems.style import Style, number

COMPARE_SIZES: dict[int, tuple[tuple[int, int], ...]] = {
    1: ((2, 2),),
    2: ((2, 3), (3, 2)),
    3: ((5, 2), (4, 3)),
    4: ((8, 3), (6, 4)),
    5: ((10, 3), (9, 4)),
}
COMPARE_HOME = ("Which is {}: {}?", "Find the {} of {}.")
COMPARE_WIDE = ("Of these numbers, name the {}: {}", "What is the {} number here? {}")
SORT_SIZES: dict[int, tuple[tuple[int, int], ...]] = {
    1: ((3, 1), (3, 2)),
    2: ((4, 2),),
    3: ((5, 2), (4, 3)),
    4: ((6, 3), (5, 4)),
    5: ((10, 2), (8, 3), (7, 4)),
}
SORT_HOME = ("Sort in {} order: {}.", "Put in {} order: {}.")
SORT_WIDE = ("Sort these numbers in {} order: {}", "Arrange the numbers so that the order is {}: {}.")
COUNT_LENGTH = {1: (3, 4), 2: (4, 6), 3: (7, 9), 4: (20, 25), 5: (26, 30)}
COUNT_HOME = ("How many times is {} in: {}?", "Count the letter {} in: {}.")
COUNT_WIDE = ("How many times does the letter {} appear in the text: {}?", "How often do you see {} here? {}")
ORDER_PEOPLE = {1: 2, 2: 3, 3: 4, 4: 5, 5: 6}
ORDER_WORDS = (("taller", "shorter", "tallest", "shortest"), ("older", "younger", "oldest", "youngest"))
ORDER_WIDE_WORDS = (("faster", "slower", "fastest", "slowest"), ("richer", "poorer", "richest", "poorest"))
ORDER_HOME = ("Who is the {}?", "Who is {}?")
ORDER_WIDE = ("Name the {} one.", "Which of them is the {}?")


def distinct(rng: Random, count: int, digits: int) -> list[int]:
    """Different numbers of exactly so many digits; from four digits on, all but the last two are the same."""
    found: list[int] = []
    alike = number(rng, digits) // 100 * 100
    while len(found) < count:
        value = number(rng, digits) if digits < 4 else alike + rng.randrange(100)
        if value not in found:
            found.append(value)
    return found


def compare(rng: Random, level: int, style: Style) -> Problem:
    """The largest or smallest of a few numbers, found by keeping the best so far."""
    values = distinct(rng, *rng.choice(COMPARE_SIZES[level]))
    largest = rng.random() < 0.5
    word = ("largest" if largest else "smallest") if len(values) > 2 else ("larger" if largest else "smaller")
    listed = ", ".join(map(str, values)) if len(values) > 2 else f"{values[0]} or {values[1]}"
    text = style.wording(rng, COMPARE_HOME, COMPARE_WIDE).format(word, listed)
    best, steps = values[0], str(values[0])
    for value in values[1:]:
        best = max(best, value) if largest else min(best, value)
        steps += f" {best}"
    problem = Problem(kind="compare", level=level, text=text, steps=steps, answer=steps.split()[-1])
    return checked(problem, str(sorted(values)[-1 if largest else 0]))


def sort(rng: Random, level: int, style: Style) -> Problem:
    """Numbers in ascending or descending order, one taken out at a time."""
    values = distinct(rng, *rng.choice(SORT_SIZES[level]))
    ascending = rng.random() < 0.6
    word = "ascending" if ascending else "descending"
    text = style.wording(rng, SORT_HOME, SORT_WIDE).format(word, ", ".join(map(str, values)))
    left, taken = list(values), list[int]()
    while left:
        taken.append(min(left) if ascending else max(left))
        left.remove(taken[-1])
    steps = ("<" if ascending else ">").join(map(str, taken))
    problem = Problem(kind="sort", level=level, text=text, steps=steps, answer=", ".join(map(str, taken)))
    return checked(problem, ", ".join(map(str, sorted(values, reverse=not ascending))))


def count(rng: Random, level: int, style: Style) -> Problem:
    """How often a letter stands in a spelled-out word: named first, then a number after each time it is met."""
    letters = rng.sample("abcdefghijklmnoprstuw", rng.randint(2, 4))
    word = [rng.choice(letters) for _ in range(rng.randint(*COUNT_LENGTH[level]))]
    wanted = rng.choice(letters)
    text = style.wording(rng, COUNT_HOME, COUNT_WIDE).format(wanted, " ".join(word))
    seen, steps = 0, f"is {wanted}:"
    for letter in word:
        seen += letter == wanted
        steps += f" {letter}{seen}" if letter == wanted else f" {letter}"
    problem = Problem(kind="count", level=level, text=text, steps=steps, answer=str(seen))
    return checked(problem, str("".join(word).count(wanted)))


def order(rng: Random, level: int, style: Style) -> Problem:
    """The tallest (oldest, ...) person, from statements about neighbours, out of order from level 3 on."""
    people = style.names(rng, ORDER_PEOPLE[level])
    more, less, most, least = style.wording(rng, ORDER_WORDS, ORDER_WIDE_WORDS)
    facts = [
        f"{a} is {more} than {b}." if rng.random() < 0.6 else f"{b} is {less} than {a}." for a, b in pairwise(people)
    ]
    if level >= 3:
        rng.shuffle(facts)
    top = rng.random() < 0.5
    word = (most if top else least) if len(people) > 2 else (more if top else less)
    ask = style.wording(rng, ORDER_HOME[:1] if len(people) > 2 else ORDER_HOME[1:], ORDER_WIDE).format(word)
    steps = ", ".join(people)
    answer = people[0] if top else people[-1]
    problem = Problem(kind="order", level=level, text=" ".join([*facts, ask]), steps=steps, answer=answer)
    beaten = {a if f" {more} " in fact else b for fact in facts for b, a in [(fact.split()[0], fact[:-1].split()[-1])]}
    first = next(name for name in people if name not in beaten)
    return checked(problem, first) if top else problem
