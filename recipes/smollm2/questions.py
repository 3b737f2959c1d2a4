"""Easy arithmetic and word problems, of which a model of 135M parameters answers about half: with their steps."""

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass

from corea.errors import ConfigError
from corea.types import Message, Question

NAMES = {"He": ("Tom", "Ben", "Omar", "Luis", "Jack", "Ravi", "Paul"), "She": ("Anna", "Mia", "Sara", "Lena", "Julia")}
THINGS = ("apples", "pens", "books", "cards", "stamps", "shells", "coins", "marbles", "stickers", "eggs")
CONTAINERS = ("boxes", "bags", "baskets", "packs")
SPLITS = {"train": range(8), "validation": range(8, 9), "test": range(9, 10)}  # of ten parts of all texts, by hash

Problem = tuple[str, str, int]  # question, steps, answer


def _name(rng: random.Random) -> tuple[str, str]:
    pronoun = rng.choice(sorted(NAMES))
    return rng.choice(NAMES[pronoun]), pronoun


def _number(rng: random.Random) -> int:
    """One, two or three digits, equally often."""
    return rng.randint(*rng.choice(((2, 9), (10, 99), (100, 999))))


def addition(rng: random.Random) -> Problem:
    a, b = _number(rng), _number(rng)
    return f"What is {a} + {b}?", f"{a} + {b} = {a + b}", a + b


def subtraction(rng: random.Random) -> Problem:
    b, a = sorted((_number(rng), _number(rng)))
    return f"What is {a} - {b}?", f"{a} - {b} = {a - b}", a - b


def multiplication(rng: random.Random) -> Problem:
    a, b = rng.randint(2, 12), rng.randint(2, rng.choice((9, 30)))
    return f"What is {a} * {b}?", f"{a} * {b} = {a * b}", a * b


def chain(rng: random.Random) -> Problem:
    a, b, c = rng.randint(5, 60), rng.randint(2, 30), rng.randint(2, 30)
    sum_, sign = a + b, rng.choice("+-")
    c = min(c, sum_)
    answer = sum_ + c if sign == "+" else sum_ - c
    return f"What is {a} + {b} {sign} {c}?", f"{a} + {b} = {sum_}; {sum_} {sign} {c} = {answer}", answer


def bought(rng: random.Random) -> Problem:
    (name, pronoun), thing = _name(rng), rng.choice(THINGS)
    a, b = rng.randint(3, 60), rng.randint(2, 40)
    text = f"{name} has {a} {thing}. {pronoun} buys {b} more. How many {thing} does {name} have now?"
    return text, f"{a} + {b} = {a + b}", a + b


def gave_away(rng: random.Random) -> Problem:
    (name, _), thing = _name(rng), rng.choice(THINGS)
    b, a = sorted((rng.randint(2, 60), rng.randint(3, 90)))
    text = f"{name} has {a} {thing} and gives {b} of them away. How many {thing} are left?"
    return text, f"{a} - {b} = {a - b}", a - b


def containers(rng: random.Random) -> Problem:
    (name, _), thing, box = _name(rng), rng.choice(THINGS), rng.choice(CONTAINERS)
    a, b = rng.randint(2, 9), rng.randint(2, 12)
    text = f"{name} has {a} {box} with {b} {thing} each. How many {thing} does {name} have in all?"
    return text, f"{a} * {b} = {a * b}", a * b


def shared(rng: random.Random) -> Problem:
    (name, _), thing = _name(rng), rng.choice(THINGS)
    b, share = rng.randint(2, 9), rng.randint(2, 12)
    text = f"{name} shares {b * share} {thing} equally among {b} friends. How many {thing} does each friend get?"
    return text, f"{b * share} / {b} = {share}", share


def two_steps(rng: random.Random) -> Problem:
    (name, pronoun), thing, box = _name(rng), rng.choice(THINGS), rng.choice(CONTAINERS)
    a, b, c = rng.randint(2, 6), rng.randint(2, 9), rng.randint(2, 20)
    more = rng.random() < 0.5
    c = c if more else min(c, a * b)
    change = f"finds {c} more" if more else f"gives {c} away"
    answer = a * b + c if more else a * b - c
    text = f"{name} has {a} {box} with {b} {thing} each. {pronoun} {change}. How many {thing} does {name} have now?"
    return text, f"{a} * {b} = {a * b}; {a * b} {'+' if more else '-'} {c} = {answer}", answer


def compared(rng: random.Random) -> Problem:
    (name, _), (other, _), thing = _name(rng), _name(rng), rng.choice(THINGS)
    other = other if other != name else "Emil"
    a, b = rng.randint(3, 60), rng.randint(2, 30)
    text = f"{name} has {a} {thing}. {other} has {b} more than {name}. How many {thing} do they have together?"
    return text, f"{a} + {b} = {a + b}; {a} + {a + b} = {2 * a + b}", 2 * a + b


KINDS: tuple[Callable[[random.Random], Problem], ...] = (
    addition, subtraction, multiplication, chain, bought, gave_away, containers, shared, two_steps, compared
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class EasyMaths:
    """`n` questions of ten kinds in turn, the same for the same seed; no text is in two splits, and none comes twice.

    `meta["steps"]` is a short solution, for a cold start. Source: this project, Apache-2.0.
    """

    n: int = 1000
    seed: int = 2026

    def load(self, split: str) -> list[Question]:
        """Split "train", "validation" or "test"."""
        if split not in SPLITS:
            raise ConfigError(f"dataset EasyMaths: got the split {split!r}, expected one of {', '.join(SPLITS)}")
        rng = random.Random(f"{self.seed} {split}")
        found: dict[str, Question] = {}
        for tried in range(100 * self.n):
            if len(found) == self.n:
                break
            kind = KINDS[tried % len(KINDS)]
            text, steps, answer = kind(rng)
            part = int(hashlib.sha256(text.encode()).hexdigest(), 16) % 10
            if part in SPLITS[split] and text not in found:
                found[text] = Question(
                    id=f"{split}-{self.seed}-{len(found):05}",
                    messages=(Message("user", text),),
                    reference=str(answer),
                    category=kind.__name__,
                    meta={"steps": steps, "grader": "number"},
                )
        if len(found) < self.n:
            raise ConfigError(f"dataset EasyMaths: got n = {self.n}, expected at most {len(found)} for split {split}")
        return list(found.values())
