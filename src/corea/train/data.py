"""Data of a training run: datasets by name, the prompt, and the grader."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from corea.datasets import DATASETS, load_dataset
from corea.errors import ConfigError
from corea.graders import AutoGrader, load_grader
from corea.prompts import Prompt, load_prompt
from corea.protocols import Grader
from corea.registry import resolve
from corea.types import Question


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSettings:
    """The tables `[questions]` and `[held_out]`, the grader and the prompt of a training configuration.

    Args:
        questions: `name` and options of a dataset of `corea.datasets`, its `split`, and `limit`: that many, at random.
            Or `limit` and `mix`: several such tables, each with its `share` of the whole.
        held_out: The same, for measuring; it must share no question with `questions`.
        grader: For all questions; by default each question's own (`corea.graders.grader_name`).
        prompt: A built-in prompt's name, or a path.
        seed: Of the random choice of `limit` questions.
    """

    questions: Mapping[str, Any]
    held_out: Mapping[str, Any]
    grader: str | None = None
    prompt: str = "default"
    seed: int = field(default=2026)

    def load(self) -> tuple[list[Question], list[Question], Grader, Prompt]:
        """Questions to learn from, held-out ones, the grader and the prompt.

        Raises:
            ConfigError: A table, a name or a share is wrong. DataError: A question has no reference that its grader
                can read; every answer to it would count as wrong.
        """
        grader = load_grader(self.grader) if self.grader else AutoGrader()
        learn = draw("train.questions", self.questions, "train", self.seed, grader=self.grader)
        held_out = draw("train.held_out", self.held_out, "validation", self.seed, grader=self.grader)
        return learn, held_out, grader, load_prompt(self.prompt)


def draw(where: str, table: Mapping[str, Any], split: str, seed: int, *, grader: str | None = None) -> list[Question]:
    """The questions of a dataset table, all of them gradable; with `limit`, that many, the same for the same seed.

    Args:
        grader: One for all of them; by default each question's own.
    """
    if "mix" in table:
        return mixed(where, table, split, seed, grader=grader)
    options: dict[str, Any] = {"split": split, **table}
    if "name" not in options:
        raise ConfigError(f"{where}: name is missing; add name = ... of a dataset, such as 'deepmath' or 'jsonl'")
    name, limit = options.pop("name"), options.pop("limit", None)
    options = {**options, **({"grader": grader} if grader else {}), "labelled": True}
    questions = load_dataset(name, **options)
    if limit is None or limit >= len(questions):
        return questions
    return Random(seed).sample(questions, limit)


def mixed(where: str, table: Mapping[str, Any], split: str, seed: int, *, grader: str | None = None) -> list[Question]:
    """The questions of a table with `mix`: of each source its `share` of `limit`, one source after the other.

    Raises:
        ConfigError: A share or the limit is missing or wrong, or a source has too few questions.
    """
    limit, sources = table.get("limit"), table["mix"]
    if not isinstance(limit, int) or limit < 1:
        raise ConfigError(f"{where}.limit: got {limit!r}, expected the number of questions of the whole mix")
    if other := sorted(set(table) - {"limit", "mix"}):
        raise ConfigError(f"{where}.{other[0]}: got a value next to mix, expected it in one of the tables of the mix")
    if not isinstance(sources, list) or not all(isinstance(source, Mapping) for source in sources):
        raise ConfigError(f"{where}.mix: got {sources!r}, expected tables with share and name, each [[...mix]]")
    shares = [share_of(f"{where}.mix[{n}]", source) for n, source in enumerate(sources)]
    if abs(sum(shares) - 1) > 1e-6:
        raise ConfigError(f"{where}.mix: the shares add up to {sum(shares):g}, expected 1; change one")
    questions: list[Question] = []
    for n, (share, source) in enumerate(zip(shares, sources, strict=True)):
        wanted = round(share * limit)
        found = draw(f"{where}.mix[{n}]", sized(source, wanted), split, seed, grader=grader)
        if len(found) < wanted:
            raise ConfigError(
                f"{where}.mix[{n}]: got {len(found)} questions, expected {wanted} (share {share:g} of {limit}); "
                "lower the limit or the share"
            )
        questions += found
    return questions


def share_of(where: str, source: Mapping[str, Any]) -> float:
    """The share that a table of a mix states."""
    share = source.get("share")
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        raise ConfigError(f"{where}.share: got {share!r}, expected its part of the whole, above 0 and at most 1")
    if "limit" in source:
        raise ConfigError(f"{where}.limit: got a value, expected none; the share sets the number")
    return float(share)


def sized(source: Mapping[str, Any], wanted: int) -> dict[str, Any]:
    """A table of a mix as one that draws `wanted` questions; a dataset that generates them makes no more."""
    options: dict[str, Any] = {**source, "limit": wanted}
    del options["share"]
    kind = resolve("dataset", options["name"], DATASETS) if "name" in options else None
    return {"n": wanted, **options} if "n" in getattr(kind, "__dataclass_fields__", {}) else options


def data_hash(questions: Sequence[Question]) -> str:
    """A short fingerprint of the questions and their answers, in order."""
    digest = hashlib.sha256()
    for question in questions:
        digest.update(f"{question.text}\x1f{question.reference}\x1e".encode())
    return digest.hexdigest()[:16]


def messages(prompt: Prompt, question: Question) -> list[dict[str, str]]:
    """Messages that a model is sent, for its chat template."""
    return [{"role": m.role, "content": m.content} for m in prompt.render(question).messages]
