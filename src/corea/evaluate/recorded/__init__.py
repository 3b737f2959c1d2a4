"""Real recorded outputs that come with the package, so that a cascade can be seen on real input with no model."""

import gzip
import json
from pathlib import Path

from corea.datasets import with_grader
from corea.types import Message, Question

FOLDER = Path(__file__).parent
CONFIG = FOLDER / "corea.toml"


def questions() -> list[Question]:
    """The GSM8K test questions that both models answered, in the order of their ids."""
    with gzip.open(FOLDER / "gsm8k_small.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [
        with_grader(
            Question(
                id=row["id"],
                messages=(Message("user", row["question"]),),
                reference=row["gold"],
                meta={"dataset": row["dataset"]},
            )
        )
        for row in rows
    ]
