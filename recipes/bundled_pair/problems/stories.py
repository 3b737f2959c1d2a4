"""Word problems of one to three steps."""

from collections.abc import Callable
from random import Random

from recipes.bundled_pair.problems.arithmetic import multiplied
from recipes.bundled_pair.problems.problem import Problem, checked, last_number
from recipes.bundled_pair.problems.style import Style

SIZES = {1: 12, 2: 50, 3: 60, 4: 20_000, 5: 50_000}  # level: largest number of a count
Story = tuple[str, str, int]  # text, steps, answer by plain arithmetic
StoryTemplate = Callable[[Random, int, str, str, str], Story]


def in_a_box(rng: Random, top: int) -> int:
    """How many things lie in each box."""
    return rng.randint(2, min(max(9, top // 3), 999))


def packed(boxes: int, each: int, top: int) -> str:
    """The product's steps; with large numbers it is one, and hard."""
    return multiplied(each, boxes, whole=top > 1000)


def gain(rng: Random, top: int, a: str, _b: str, thing: str) -> Story:
    """x + y."""
    x, y = rng.randint(1, top), rng.randint(1, top)
    verb = rng.choice(("buys", "finds", "gets", "wins"))
    ask = rng.choice((f"How many {thing} does {a} have now?", "How many?", f"How many {thing} now?"))
    return f"{a} has {x} {thing} and {verb} {y} more. {ask}", f"{x}+{y}={x + y}", x + y


def loss(rng: Random, top: int, a: str, _b: str, thing: str) -> Story:
    """(y + z) - y."""
    y, z = rng.randint(1, top), rng.randint(0, top)
    verb = rng.choice(("loses", "sells", "gives away"))
    ask = rng.choice((f"How many {thing} are left?", "How many are left?", f"How many {thing} does {a} have now?"))
    return f"{a} has {y + z} {thing} and {verb} {y}. {ask}", f"{y + z}-{y}={z}", z


def together(rng: Random, top: int, a: str, b: str, thing: str) -> Story:
    """x + y, of two people."""
    x, y = rng.randint(1, top), rng.randint(1, top)
    return (
        f"{a} has {x} {thing}. {b} has {y} {thing}. How many {thing} do they have together?",
        f"{x}+{y}={x + y}",
        x + y,
    )


def boxes(rng: Random, top: int, a: str, _b: str, thing: str) -> Story:
    """x * y."""
    x, y = rng.randint(2, 9), rng.randint(2, max(9, top // 3))
    return f"{a} has {x} boxes with {y} {thing} each. How many {thing}?", multiplied(x, y), x * y


def share(rng: Random, top: int, a: str, _b: str, thing: str) -> Story:
    """x * y / x."""
    x, y = rng.randint(2, 9), rng.randint(1, max(9, top // 5))
    text = f"{a} shares {x * y} {thing} among {x} friends. How many {thing} does each get?"
    return text, f"{x * y}/{x}={y}", y


def gain_then_loss(rng: Random, top: int, a: str, b: str, thing: str) -> Story:
    """x + y - z."""
    x, y = rng.randint(1, top), rng.randint(1, top)
    z = rng.randint(1, x + y)
    text = f"{a} has {x} {thing}, buys {y} more and gives {z} to {b}. How many {thing} does {a} have now?"
    return text, f"{x}+{y}={x + y} {x + y}-{z}={x + y - z}", x + y - z


def boxes_and_more(rng: Random, top: int, a: str, _b: str, thing: str) -> Story:
    """x * y + z."""
    x, y, z = rng.randint(2, 9), in_a_box(rng, top), rng.randint(1, top)
    text = f"{a} has {x} boxes with {y} {thing} each and {z} more. How many {thing} in all?"
    return text, f"{packed(x, y, top)} {x * y}+{z}={x * y + z}", x * y + z


def compared(rng: Random, top: int, a: str, b: str, thing: str) -> Story:
    """x + (x + y)."""
    x, y = rng.randint(1, top), rng.randint(1, top)
    text = f"{a} has {x} {thing}. {b} has {y} more than {a}. How many {thing} do they have together?"
    return text, f"{x}+{y}={x + y} {x}+{x + y}={2 * x + y}", 2 * x + y


def received(rng: Random, top: int, a: str, b: str, thing: str) -> Story:
    """x + y, in a wording that only the large model is taught."""
    x, y = rng.randint(1, top), rng.randint(1, top)
    text = f"There were {x} {thing} in the bag of {a}. Then {b} put in {y} of them. "
    text += f"How many {thing} does the bag hold?"
    return text, f"{x}+{y}={x + y}", x + y


def spent(rng: Random, top: int, a: str, _b: str, thing: str) -> Story:
    """(y + z) - y, likewise."""
    y, z = rng.randint(1, top), rng.randint(0, top)
    text = f"After using {y} of the {y + z} {thing} on the table, {a} wonders how many remain. "
    text += "What is the number?"
    return text, f"{y + z}-{y}={z}", z


def rows(rng: Random, top: int, a: str, _b: str, thing: str) -> Story:
    """x * y, likewise."""
    x, y = rng.randint(2, 9), rng.randint(2, max(9, top // 3))
    text = f"{a} puts {thing} in {x} rows of {y}. What is the total number of {thing}?"
    return text, multiplied(x, y), x * y


def price(rng: Random, top: int, a: str, _b: str, thing: str) -> Story:
    """x * y + z, likewise."""
    x, y = rng.randint(2, 9), in_a_box(rng, top)
    z = rng.randint(1, top)
    text = f"{a} buys {x} {thing} for {y} dollars each and pays {z} dollars for a bus. How many dollars is that?"
    return text, f"{packed(x, y, top)} {x * y}+{z}={x * y + z}", x * y + z


def two_days(rng: Random, top: int, a: str, _b: str, thing: str) -> Story:
    """x + y + z, likewise."""
    x, y, z = (rng.randint(1, top) for _ in range(3))
    text = f"On Monday {a} sold {x} {thing}, on Tuesday {y}, and on Friday {z}. How many {thing} were sold?"
    return text, f"{x}+{y}={x + y} {x + y}+{z}={x + y + z}", x + y + z


def boxes_lost_and_found(rng: Random, top: int, a: str, b: str, thing: str) -> Story:
    """x * y - z + w."""
    x, y = rng.randint(2, 9), in_a_box(rng, top)
    z, w = rng.randint(1, x * y), rng.randint(1, top)
    text = f"{a} has {x} boxes with {y} {thing} each, gives {z} to {b} and buys {w} more. "
    text += f"How many {thing} in all?"
    steps = f"{packed(x, y, top)} {x * y}-{z}={x * y - z} {x * y - z}+{w}={x * y - z + w}"
    return text, steps, x * y - z + w


ONE_STEP: tuple[StoryTemplate, ...] = (gain, gain, loss, together, boxes, share)
TWO_STEPS: tuple[StoryTemplate, ...] = (gain_then_loss, boxes_and_more, compared)
WIDE_ONE_STEP: tuple[StoryTemplate, ...] = (received, spent, rows)
WIDE_MORE_STEPS: tuple[StoryTemplate, ...] = (price, two_days)
THREE_STEPS: tuple[StoryTemplate, ...] = (boxes_lost_and_found, boxes_and_more, compared, gain_then_loss)


def story(rng: Random, level: int, style: Style) -> Problem:
    """A word problem: one step up to level 2, two at level 3, then three or larger numbers."""
    a, b = style.names(rng, 2)
    home = ONE_STEP if level <= 2 else TWO_STEPS if level == 3 else THREE_STEPS
    teller = style.wording(rng, home, WIDE_ONE_STEP if level <= 2 else WIDE_MORE_STEPS)
    text, steps, answer = teller(rng, SIZES[level], a, b, style.thing(rng))
    problem = Problem(kind="story", level=level, text=text, steps=steps, answer=last_number(steps))
    return checked(problem, str(answer))
