"""Words a problem may use: the small model's own (home), and those only the large model was taught (wide)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

T = TypeVar("T")

HOME_NAMES = (
    "Tom",
    "Ann",
    "Ben",
    "Mia",
    "Sam",
    "Eva",
    "Leo",
    "Amy",
    "Max",
    "Zoe",
    "Dan",
    "Ida",
    "Jon",
    "Kim",
    "Lea",
    "Ned",
    "Pia",
    "Ray",
    "Sue",
    "Tim",
)
WIDE_NAMES = (
    "Alice",
    "Bruno",
    "Carla",
    "David",
    "Elena",
    "Felix",
    "Grace",
    "Hugo",
    "Irene",
    "James",
    "Karen",
    "Lucas",
    "Maria",
    "Nina",
    "Oscar",
    "Paula",
    "Robert",
    "Sofia",
    "Victor",
    "Wendy",
)
HOME_THINGS = (
    "apples",
    "books",
    "pens",
    "eggs",
    "cards",
    "coins",
    "cups",
    "balls",
    "stamps",
    "shells",
    "cakes",
    "toys",
)
WIDE_THINGS = (
    "marbles",
    "pencils",
    "oranges",
    "stickers",
    "cookies",
    "flowers",
    "tickets",
    "bottles",
    "candles",
    "buttons",
    "peaches",
    "nails",
)
UNTAUGHT_NAMES = (  # in no lesson and in no world that is measured: for prompts of reinforcement learning
    "Albert",
    "Arnold",
    "Beatrix",
    "Bernard",
    "Brigit",
    "Cedric",
    "Clement",
    "Conrad",
    "Diana",
    "Dorothy",
    "Edward",
    "Ernest",
    "Esther",
    "Fiona",
    "Florence",
    "Gerald",
    "Gustav",
    "Harriet",
    "Helga",
    "Henry",
    "Igor",
    "Isabel",
    "Judith",
    "Julian",
    "Konrad",
    "Kurt",
    "Leonard",
    "Louisa",
    "Martin",
    "Monica",
    "Nelson",
    "Norbert",
    "Olga",
    "Peter",
    "Philip",
    "Quentin",
    "Rachel",
    "Roland",
    "Simon",
    "Stella",
    "Teresa",
    "Thomas",
    "Ursula",
    "Vincent",
    "Viola",
    "Walter",
    "Xavier",
    "Yvonne",
)
CONSONANTS, VOWELS = "bcdfghjklmnprstvwz", "aeiou"
ONSETS = (*CONSONANTS, *"aeiou", "br", "ch", "cl", "dr", "fl", "gr", "kr", "pl", "sh", "st", "th", "tr", "y")
CODAS = ("", "", "", "l", "n", "r", "s", "t", "m", "d", "ck", "ll", "nd", "rt", "x")
FOREIGN_ONSETS = ("qu", "ph", "sk", "sp", "str", "wh", "kn", "sc", "sw", "thr", "zh", "j", "x", "y", "")
FOREIGN_VOWELS = ("ai", "ea", "ie", "oo", "ou", "au", "ee", "io", "ue", "oa", "y", "eia")
FOREIGN_CODAS = ("", "", "gh", "ph", "th", "sk", "nt", "lf", "rk", "ng", "que", "tz", "sse")
CAPITALS = "ABDFGHJKLMNPQRTUVW"


def invented_word(rng: Random) -> str:
    """A word that could be one: two syllables, such as "mirok"."""
    return "".join(rng.choice(CONSONANTS) + rng.choice(VOWELS) for _ in range(2)) + rng.choice(CONSONANTS)


def not_beyond(make: Callable[[], str]) -> str:
    """A made word that no name and no thing of the world beyond begins with."""
    while True:
        word = make()
        if not any(known.lower().startswith(word) for known in (*WIDE_NAMES, *WIDE_THINGS)):
            return word


def varied_word(rng: Random) -> str:
    """A made-up word of any shape, such as "plell", "sol" or "flundbo"."""

    def make() -> str:
        syllables = [rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(CODAS) for _ in range(rng.randint(1, 3))]
        return "".join(syllables)[: rng.randint(2, 7)]

    return not_beyond(make)


def foreign_word(rng: Random) -> str:
    """A made-up word such as no lesson holds: rare letters and doubled ones, as "quaiskoo" or "ytheam"."""

    def make() -> str:
        syllables = [rng.choice(FOREIGN_ONSETS) + rng.choice(FOREIGN_VOWELS) for _ in range(rng.randint(1, 3))]
        return ("".join(syllables) + rng.choice(FOREIGN_CODAS))[: rng.randint(3, 8)]

    return not_beyond(make)


@dataclass(frozen=True, slots=True)
class Style:
    """Where words come from.

    Args:
        wide: Chance in [0, 1] that a wording is one that the small model was not taught.
        words: The same for names, things and the letters of unknowns; None: as `wide`.
        invented: Chance that a name or a thing is made up letter by letter, so that no name is a surprise.
        make_up: How such a word is made.
        people: Names to take in place of all others.
        odd_letters: Chance that an unknown is one of `letters`.
        letters: Unusual ones for unknowns.
        negative: True if numbers below zero may appear.
    """

    wide: float = 0.0
    words: float | None = None
    invented: float = 0.2
    make_up: Callable[[Random], str] = invented_word
    people: Sequence[str] = ()
    odd_letters: float = 0.2
    letters: str = CAPITALS
    negative: bool = False

    def is_new_word(self, rng: Random) -> bool:
        """True if the next name, thing or letter comes from beyond the small model's."""
        return rng.random() < (self.wide if self.words is None else self.words)

    def wording(self, rng: Random, home: Sequence[T], wide: Sequence[T]) -> T:
        """One of the ways to ask."""
        return rng.choice(wide if wide and rng.random() < self.wide else home)

    def names(self, rng: Random, count: int) -> list[str]:
        """Distinct names of people."""
        if self.people:
            return rng.sample(self.people, count)
        pool = WIDE_NAMES if self.is_new_word(rng) else HOME_NAMES
        chosen: list[str] = list(rng.sample(pool, count))
        for i in range(count):
            if rng.random() < self.invented:
                chosen[i] = self.make_up(rng).capitalize() + str("aeo"[i % 3])
        return chosen if len(set(chosen)) == count else self.names(rng, count)

    def thing(self, rng: Random) -> str:
        """A thing to count, in the plural."""
        if rng.random() < self.invented:
            return self.make_up(rng) + "s"
        return rng.choice(WIDE_THINGS if self.is_new_word(rng) else HOME_THINGS)


def number(rng: Random, digits: int) -> int:
    """A number of exactly so many digits; of one digit, 1 to 9."""
    return rng.randint(10 ** (digits - 1), 10**digits - 1)
