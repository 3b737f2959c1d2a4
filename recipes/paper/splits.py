"""A dataset's questions, the calibration and the evaluation part kept apart, and the guard against contamination."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from corea.datasets import DATASETS, load_dataset, overlap
from corea.graders import count_graders, grader_name, graders_in_words
from corea.registry import resolve
from corea.types import Question, replace
from recipes.paper.answers import question_hash
from recipes.paper.settings import DatasetSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSplits:
    """A dataset's questions in their two parts.

    Args:
        seed_of: By question hash, the seed it was drawn with; -1 where none was.
        trained_on: Questions a model may have been trained on, for the contamination guard.
        dropped: Questions left out of the fitting part because they are in the evaluation part too.
    """

    name: str
    fit: tuple[Question, ...]
    judge: tuple[Question, ...]
    seed_of: Mapping[str, int]
    trained_on: tuple[Question, ...] = ()
    dropped: int = 0
    publishable: bool = True
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def seed(self, question: Question) -> int:
        """Seed that a question was drawn with; -1 where none was."""
        return self.seed_of.get(question_hash(question), -1)


def load_splits(name: str, declared: DatasetSettings, seeds: Sequence[int]) -> DatasetSplits:
    """A dataset's questions, with the calibration and the evaluation part kept apart.

    Raises:
        DataError: A file or row is invalid, or a reference cannot be read by its question's grader.
    """
    draws: list[dict[str, Any]] = [{"seed": s} for s in seeds] if declared.seeded else [{}]
    fit: dict[str, Question] = {}
    judge: dict[str, Question] = {}
    train: dict[str, Question] = {}
    seed_of: dict[str, int] = {}
    repeated = 0
    for draw in draws:
        options = {**declared.options, **draw}
        loaded = load_dataset(declared.kind, split=declared.judge, labelled=True, **options)
        if declared.fit_on is not None:
            own, other = loaded, list[Question]()
        elif declared.fit is not None:
            own, other = loaded, load_dataset(declared.kind, split=declared.fit, labelled=True, **options)
        else:
            own = [q for q in loaded if _uniform(q) >= declared.fit_share]
            other = [q for q in loaded if _uniform(q) < declared.fit_share]
        for part, questions in ((judge, own), (fit, other)):
            chosen = sorted(questions, key=_uniform)[: declared.limit or None]
            repeated += len(chosen) - len({question_hash(q) for q in chosen})
            part |= {h: q for q in chosen if (h := question_hash(q)) not in part}
        for question in (*own, *other):
            seed_of.setdefault(question_hash(question), int(draw.get("seed", -1)))
    for trained in declared.trained_on:
        seen = load_dataset(declared.kind, **{**declared.options, **trained})
        train.update({question_hash(q): q for q in seen})
    dropped = len(fit.keys() & judge.keys())
    fit = {key: q for key, q in fit.items() if key not in judge}
    source = getattr(resolve(f"datasets.{name}", declared.kind, DATASETS), "source", None)
    facts = {} if source is None else {"source": f"{source.hub}@{source.revision[:12]}", "licence": source.licence}
    return DatasetSplits(
        name=name,
        fit=_distinct(fit),
        judge=_distinct(judge),
        seed_of=seed_of,
        trained_on=tuple(train.values()),
        dropped=dropped,
        publishable=source is None or source.publishable,
        facts={
            "kind": declared.kind,
            "judge": declared.judge,
            "fit": declared.fit or declared.fit_on or "a part of judge",
            "graders": graders_in_words(count_graders(map(grader_name, (*fit.values(), *judge.values())))),
            **({"repeated": repeated} if repeated else {}),
            **facts,
        },
    )


def load_all(datasets: Mapping[str, DatasetSettings], seeds: Sequence[int]) -> list[DatasetSplits]:
    """Every dataset's questions; one with `fit_on` is fitted on that other one's, without those that it judges.

    Raises:
        DataError: As `load_splits`.
    """
    loaded = {name: load_splits(name, declared, seeds) for name, declared in datasets.items()}
    for name, declared in datasets.items():
        if declared.fit_on is not None:
            own, donor = loaded[name], loaded[declared.fit_on]
            judged = {question_hash(q) for q in own.judge}
            fit = tuple(q for q in donor.fit if question_hash(q) not in judged)
            seed_of = {**donor.seed_of, **own.seed_of}
            loaded[name] = dataclasses.replace(own, fit=fit, seed_of=seed_of, dropped=len(donor.fit) - len(fit))
    return list(loaded.values())


def _distinct(questions: Mapping[str, Question]) -> tuple[Question, ...]:
    """The questions with unique ids: draws of several seeds may share ids."""
    seen: set[str] = set()
    out: list[Question] = []
    for key, question in questions.items():
        out.append(replace(question, id=f"{question.id}-{key[:6]}") if question.id in seen else question)
        seen.add(question.id)
    return tuple(out)


def _uniform(question: Question) -> float:
    return int(question_hash(question)[8:20], 16) / 16**12


def contamination(asked: DatasetSplits) -> dict[str, Any]:
    """Evaluation questions whose text is in the calibration or training questions (8-grams, 70 %)."""
    found = {
        what: overlap(questions, asked.judge)
        for what, questions in (("calibration", asked.fit), ("training", asked.trained_on))
    }
    return {
        what: {
            "compared_with": len(asked.fit if what == "calibration" else asked.trained_on),
            "flagged": len(hits),
            "share": len(hits) / max(len(asked.judge), 1),
            "identical": sum(1 for hit in hits if hit.share == 1.0),
            "first_ids": [hit.id for hit in hits[:5]],
        }
        for what, hits in found.items()
    }
