"""Mixtures of problems: those of the small model, the wider range of the large one, and others.

| world | kinds | levels | wording |
|---|---|---|---|
| slm | nine | 1-4 | home: what the small model is trained on, "in domain" |
| slm_lessons | the same, with more made-up names and few of level 4: what its cold start is taught | 1-4 | home |
| rl | the same, and a few strange ones | 1-4, the hard ones oftener; made-up names; words made unreadable | home |
| odd | the strange part of rl alone | 1-4 | home |
| ood | the same nine | 1-4 with new names, things and letters (70 %), 1-4 in new wordings (15 %), 5 | home and wide |
| far | four others | 1-5 | home |
| llm | all thirteen | 1-5 | home and wide |

A problem's *text* decides its split, so a text that a model trained on is never one it is measured on.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from random import Random

from corea.errors import ConfigError, unknown_name
from corea.types import Message, Question
from recipes.bundled_pair.problems import arithmetic, out_of_distribution, sorting, stories, unseen
from recipes.bundled_pair.problems.problem import Problem
from recipes.bundled_pair.problems.style import UNTAUGHT_NAMES, Style, foreign_word, invented_word, varied_word

Generator = Callable[[Random, int, Style], Problem]
KINDS: Mapping[str, Generator] = {
    "chain": arithmetic.chain,
    "product": arithmetic.product,
    "gcd": arithmetic.gcd,
    "equation": arithmetic.equation,
    "story": stories.story,
    "compare": sorting.compare,
    "sort": sorting.sort,
    "count": sorting.count,
    "order": sorting.order,
}
FAR_KINDS: Mapping[str, Generator] = {
    "remainder": unseen.remainder,
    "sequence": unseen.sequence,
    "reverse": unseen.reverse,
    "spread": unseen.spread,
}
STRANGE_KINDS: Mapping[str, Generator] = {
    "digits": out_of_distribution.digits,
    "middle": out_of_distribution.middle,
    "clock": out_of_distribution.clock,
    "last_letter": out_of_distribution.last_letter,
    "tale": out_of_distribution.tale,
}
NAMING_KINDS = {name: KINDS[name] for name in ("story", "order", "equation")}  # their problems name something
WEIGHTS = {"chain": 2.0, "product": 2.0, "story": 2.0, "gcd": 0.5, "tale": 3.0}  # every other kind: 1


HOME = Style()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A share of a world: kinds, chances of levels 1 to 5, and the words they are put in.

    Args:
        garbled: True if one to three words of each problem are replaced by made-up ones (`garble`).
    """

    share: float
    levels: tuple[float, float, float, float, float]
    kinds: Mapping[str, Generator]
    style: Style = HOME
    garbled: bool = False


USUAL = (0.3, 0.27, 0.13, 0.3, 0.0)
MILD = (0.4, 0.35, 0.1, 0.15, 0.0)
MASTERED = (0.3, 0.36, 0.31, 0.03, 0.0)
HARD = (0.17, 0.18, 0.25, 0.4, 0.0)
UNTAUGHT = Style(  # nor is any of it in the world beyond
    invented=0.8, make_up=foreign_word, people=UNTAUGHT_NAMES, odd_letters=0.8, letters="iijjllooCEISXYZ"
)
ODD = (
    Part(share=0.14, levels=USUAL, kinds={k: KINDS[k] for k in ("order", "equation")}, style=UNTAUGHT),
    Part(share=0.05, levels=USUAL, kinds={"story": stories.story}, style=UNTAUGHT),
    Part(share=0.1, levels=USUAL, kinds=KINDS, garbled=True),
    Part(share=0.14, levels=(0.25, 0.25, 0.25, 0.25, 0), kinds=STRANGE_KINDS),
)
ANY_NAME = Style(invented=0.7, make_up=varied_word, odd_letters=0.6)
WORLDS: Mapping[str, tuple[Part, ...]] = {
    "slm": (Part(share=1, levels=USUAL, kinds=KINDS),),
    "slm_lessons": (
        Part(share=0.7, levels=MASTERED, kinds=KINDS),
        Part(share=0.3, levels=MASTERED, kinds=NAMING_KINDS, style=ANY_NAME),
    ),
    "rl": (Part(share=0.66, levels=HARD, kinds=KINDS), *ODD),
    "odd": ODD,
    "ood": (
        Part(share=0.7, levels=MILD, kinds=NAMING_KINDS, style=Style(words=1)),
        Part(share=0.15, levels=MILD, kinds=KINDS, style=Style(wide=1, negative=True)),
        Part(share=0.15, levels=(0, 0, 0, 0, 1), kinds=KINDS),
    ),
    "far": (Part(share=1, levels=(0.2, 0.2, 0.2, 0.2, 0.2), kinds=FAR_KINDS),),
    "llm": (
        Part(share=0.5, levels=(0.1, 0.15, 0.2, 0.45, 0.1), kinds=KINDS),
        Part(share=0.43, levels=(0.15, 0.2, 0.2, 0.25, 0.2), kinds=KINDS, style=Style(wide=0.8, negative=True)),
        Part(share=0.07, levels=(0.2, 0.2, 0.2, 0.2, 0.2), kinds=FAR_KINDS, style=Style(wide=0.3)),
    ),
}
SPLITS = ("train", "train", "train", "train", "train", "train", "train", "train", "validation", "test")


def split_of(text: str) -> str:
    """The split that a problem's text belongs to, wherever and whenever it is met: 8 of 10 train, 1, 1."""
    return SPLITS[hashlib.blake2b(text.encode(), digest_size=4).digest()[0] % len(SPLITS)]


def problem(world: str, rng: Random) -> Problem:
    """One problem of a world, whatever its split."""
    if world not in WORLDS:
        raise unknown_name("tasks.world", world, list(WORLDS))
    parts = WORLDS[world]
    part = rng.choices(parts, weights=[p.share for p in parts])[0]
    names = list(part.kinds)
    kind = rng.choices(names, weights=[WEIGHTS.get(name, 1.0) for name in names])[0]
    level = rng.choices((1, 2, 3, 4, 5), weights=part.levels)[0]
    made = part.kinds[kind](rng, level, part.style)
    return garble(made, rng) if part.garbled else made


def garble(made: Problem, rng: Random) -> Problem:
    """The same problem with one to three of its words, not its numbers, made unreadable: the answer stays."""
    words = made.text.split()
    for place in rng.sample(range(len(words)), min(len(words), rng.randint(1, 3))):
        if words[place].isalpha() and len(words[place]) > 1 and words[place] != made.answer:
            words[place] = invented_word(rng)
    return replace(made, text=" ".join(words))


def sample(world: str, n: int, seed: int, *, split: str = "train", unique: bool | None = None) -> list[Question]:
    """So many questions of a world, the same for the same seed.

    Args:
        split: "train", "validation" or "test"; a text belongs to exactly one of them, in every world.
        unique: True if no text may come twice; by default everywhere but in "train".

    Returns:
        Questions with `reference` the answer, `category` the kind, and `meta` {"level", "steps", "answer_type"}.
    """
    if split not in SPLITS:
        raise unknown_name("tasks.split", split, sorted(set(SPLITS)))
    rng = Random(f"{world}/{split}/{seed}")
    unique = split != "train" if unique is None else unique
    seen: set[str] = set()
    questions: list[Question] = []
    tries = 0
    while len(questions) < n:
        tries += 1
        if tries > 200 * n + 1000:
            raise ConfigError(f"tasks.sample: world {world!r} has no {n} different {split} questions; ask for fewer")
        made = problem(world, rng)
        if split_of(made.text) != split or (unique and made.text in seen):
            continue
        seen.add(made.text)
        questions.append(question(made, f"{world}-{split}-{seed}-{len(questions)}"))
    return questions


def question(made: Problem, id: str) -> Question:
    """A generated problem as the record that the rest of COREA reads."""
    kind = "number" if made.answer.removeprefix("-").isdigit() else "text"
    return Question(
        id=id,
        messages=(Message("user", made.text),),
        reference=made.answer,
        category=made.kind,
        meta={"level": made.level, "steps": made.steps, "answer_type": kind},
    )
