"""Writes the questions that ship with the package: python -m recipes.bundled_pair.pack_questions"""

import gzip
import json
from collections.abc import Iterator

from corea.demo import FILE
from recipes.bundled_pair.problems import sample

PARTS = {  # split: world, number, seed (used for nothing else), split of the world
    "test": ("slm", 2000, 2032, "test"),
    "validation": ("slm", 1000, 4, "validation"),
    "examples": ("slm", 1000, 11, "validation"),
    "export": ("llm", 500, 200, "validation"),
}


def lines() -> Iterator[str]:
    """One JSON line for each question."""
    for split, (world, count, seed, world_split) in PARTS.items():
        for q in sample(world, count, seed, split=world_split):
            row = {"id": q.id, "split": split, "question": q.text, "answer": q.reference}
            yield json.dumps({**row, "category": q.category, "level": q.meta["level"]}) + "\n"


if __name__ == "__main__":
    FILE.write_bytes(gzip.compress("".join(lines()).encode(), 9, mtime=0))
    print(f"{FILE}: {FILE.stat().st_size:,} bytes")
