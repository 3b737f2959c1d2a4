"""A guard against contamination: questions of an evaluation whose text was already in the training questions."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from corea.types import Question

_WORD = re.compile(r"\w+|[+*/^=<>%]|(?<![^\W\d])[-−](?=\s*\w)")  # a sign of arithmetic is a word: 2 + 3 is not 2 * 3


@dataclass(frozen=True, slots=True)
class Overlap:
    """An evaluation question, the training question that it shares most with, and the share of its word n-grams found
    in any training question."""

    id: str
    train_id: str
    share: float


def overlap(
    train: Iterable[Question], evaluation: Sequence[Question], *, n: int = 8, share: float = 0.7
) -> list[Overlap]:
    """The evaluation questions of which at least `share` of the word n-grams are in the training questions.

    Case, punctuation and spaces do not count; a question of fewer than `n` words must be there whole. Numbers and the
    signs of arithmetic do count, so that the same story with other numbers is another question.

    Source: n = 8 and 70 % as in PaLM's test of contamination (Chowdhery et al. 2022, arXiv:2204.02311, sec. 8).
    """
    wanted: set[tuple[str, ...]] = set()
    grams_of = [_grams(question, n) for question in evaluation]
    for grams in grams_of:
        wanted |= grams
    found: dict[tuple[str, ...], str] = {}
    for question in train:
        for gram in _grams(question, n) & wanted:
            found.setdefault(gram, question.id)
    flagged: list[Overlap] = []
    for question, grams in zip(evaluation, grams_of, strict=True):
        hits = [found[gram] for gram in grams if gram in found]
        if hits and len(hits) >= share * len(grams):
            flagged.append(Overlap(question.id, max(sorted(set(hits)), key=hits.count), len(hits) / len(grams)))
    return flagged


def _words(question: Question) -> list[str]:
    return _WORD.findall(question.text.casefold())


def _grams(question: Question, n: int) -> set[tuple[str, ...]]:
    words = _words(question)
    if len(words) < n:
        return {tuple(words)} if words else set()
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}
