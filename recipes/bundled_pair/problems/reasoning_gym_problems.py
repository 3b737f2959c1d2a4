"""Problems that we did not write: the matching kinds of reasoning-gym (Apache-2.0), in sizes of the "ood" world.

The large model was taught wordings like these (never these texts, see `split_of`); the small model was not.
"""

from collections.abc import Mapping
from typing import Any

from corea.errors import ConfigError
from corea.types import Message, Question
from recipes.bundled_pair.problems.mixtures import SPLITS, split_of

GYM_KINDS: Mapping[str, tuple[str, Mapping[str, Any]]] = {  # ours: (theirs, its options)
    "chain": ("chain_sum", {"min_terms": 2, "max_terms": 5, "min_digits": 1, "max_digits": 3}),
    "product": ("products", {"min_digits": 1, "max_digits": 2}),
    "gcd": ("gcd", {"max_value": 300}),
    "equation": ("simple_equations", {"max_terms": 2, "max_value": 30}),
}


def sample_gym(n: int, seed: int, *, split: str = "test") -> list[Question]:
    """So many questions, the kinds in turn; a text belongs to one split, as in every world of ours.

    Raises:
        ConfigError: reasoning-gym is not installed.
    """
    try:
        import reasoning_gym  # pyright: ignore[reportMissingTypeStubs]
    except ModuleNotFoundError as error:
        raise ConfigError(
            "sample_gym: needs reasoning-gym, which is not installed; pip install reasoning-gym"
        ) from error
    assert split in SPLITS
    streams = {
        kind: iter(reasoning_gym.create_dataset(theirs, seed=seed, size=100 * n + 100, **options))
        for kind, (theirs, options) in GYM_KINDS.items()
    }
    seen: set[str] = set()
    questions: list[Question] = []
    while len(questions) < n:
        kind = list(GYM_KINDS)[len(questions) % len(GYM_KINDS)]
        item: Mapping[str, Any] = next(streams[kind])
        text = str(item["question"])
        if text in seen or split_of(text) != split:
            continue
        seen.add(text)
        questions.append(
            Question(
                id=f"gym-{split}-{seed}-{len(questions)}",
                messages=(Message("user", text),),
                reference=str(item["answer"]),
                category=kind,
                meta={"source": f"reasoning-gym {GYM_KINDS[kind][0]}", "answer_type": "number"},
            )
        )
    return questions
