"""Data of `corea demo` that ships with the package: questions for the bundled pair, and recorded outputs.

`recorded/` has the outputs of two real models on GSM8K, with a configuration that replays them (`RECORDED_CONFIG`).
The questions are short reasoning problems with checked answers, of the kinds that the pair was trained for;
`recipes/bundled_pair/pack_questions.py` generated them. Splits: "test" is what `corea demo` asks, "validation" what
`corea calibrate` asks without files, "examples" what `corea init --questions` writes, and "export" what `corea export`
asks both forms of a model.
"""

import gzip
import json
from pathlib import Path

from corea.errors import ConfigError, unknown_name
from corea.types import Message, Question

FOLDER = Path(__file__).parent
FILE = FOLDER / "questions.jsonl.gz"
RECORDED = FOLDER / "recorded"
RECORDED_CONFIG = RECORDED / "corea.toml"
SPLITS = ("test", "validation", "examples", "export")


def bundled_questions(split: str, count: int | None = None) -> list[Question]:
    """The first `count` questions of a split, or all of them.

    Returns:
        Questions with `reference` the answer, `category` the kind of problem, and `meta` {"level", "answer_type"}.

    Raises:
        ConfigError: There is no such split, or it has fewer questions.
    """
    if split not in SPLITS:
        raise unknown_name("bundled questions: split", split, SPLITS)
    with gzip.open(FILE, "rt", encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if row["split"] == split]
    if count is not None and not 0 <= count <= len(rows):
        raise ConfigError(
            f"bundled questions: got {count} of split {split!r}, expected 0 to {len(rows)}; "
            "recipes/bundled_pair generates more"
        )
    return [
        Question(
            id=row["id"],
            messages=(Message("user", row["question"]),),
            reference=row["answer"],
            category=row["category"],
            meta={"level": row["level"], "answer_type": answer_type(row["answer"])},
        )
        for row in rows[:count]
    ]


def answer_type(answer: str) -> str:
    """Gives "number" for a whole number, else "text"; it chooses the grader."""
    return "number" if answer.removeprefix("-").isdigit() else "text"
