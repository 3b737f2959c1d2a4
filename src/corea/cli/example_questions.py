"""Questions to try things out with: bundled problems with their answers, as JSON lines."""

import json
from pathlib import Path


def write_examples(path: Path, count: int, *, split: str) -> None:
    """Writes the first `count` bundled questions of a split."""
    from corea.demo import bundled_questions

    rows = [
        {"id": q.id, "question": q.text, "answer": q.reference, "category": q.category, "meta": dict(q.meta)}
        for q in bundled_questions(split, count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
