"""Questions to try things out with: generated problems with their answers, as JSON lines."""

import json
from pathlib import Path


def write_examples(path: Path, count: int, *, seed: int, split: str = "validation") -> None:
    """Writes so many problems of the kinds that the bundled pair knows."""
    from corea.tasks import sample

    rows = [
        {"id": q.id, "question": q.text, "answer": q.reference, "category": q.category, "meta": dict(q.meta)}
        for q in sample("slm", count, seed=seed, split=split)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
