"""Agreement of our graders with recorded verdicts: python experiments/grader_agreement.py FOLDER [--list]

FOLDER (or COREA_DATA) holds `traces/*.jsonl.gz` and `questions/*.jsonl.gz`. Left out: rows without response text, rows
on which the two recorded verdicts differ (`disputed`), and rows whose text was cut after it was graded
(`response_truncated`). Question texts are never printed. "judged" leaves out the rows on which we found the file wrong
when we read them (grader_agreement.json).
"""

import argparse
import gzip
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from corea.datasets import with_grader
from corea.datasets.rows import question_from_row
from corea.graders import grade_each, grader_name
from corea.graders.maths import equal_at_once
from corea.types import Question

JUDGEMENTS = Path(__file__).with_suffix(".json")
JUDGED: dict[str, dict[str, list[str]]] = json.loads(JUDGEMENTS.read_text()) if JUDGEMENTS.exists() else {}


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", default=os.environ.get("COREA_DATA"))
    parser.add_argument("--list", action="store_true", help="list each disagreement")
    parser.add_argument("--only", default="", help="files whose name contains this")
    arguments = parser.parse_args()
    if not arguments.folder:
        parser.error("give the data folder, or set COREA_DATA")
    folder = Path(arguments.folder)
    known = {row["id"]: row for path in folder.glob("questions/*.gz") for row in rows_of(path)}
    for path in sorted(folder.glob("traces/*.gz")):
        if arguments.only in path.name:
            compare(path, known, arguments.list)


def is_usable(row: dict[str, Any]) -> bool:
    return bool(
        row.get("response") and row.get("gold") and not row.get("disputed") and not row.get("response_truncated")
    )


def question_of(row: dict[str, Any], known: dict[str, dict[str, Any]]) -> Question:
    """The row's question as the product loads it, with its dataset's grader; the row's own gold is its reference."""
    about = known.get(row["id"], {})
    question = {**about, "question": "(its text was not recorded)", "answer": row["gold"], "dataset": row["dataset"]}
    return with_grader(question_from_row(question, row["id"]))


def compare(path: Path, known: dict[str, dict[str, Any]], listed: bool) -> None:
    rows = [row for row in rows_of(path) if is_usable(row)]
    if not rows:
        return
    asked = [question_of(row, known) for row in rows]
    kind = grader_name(asked[0])
    began = time.perf_counter()
    pairs = [(question, row["response"]) for question, row in zip(asked, rows, strict=True)]
    verdicts = grade_each(pairs)
    seconds = time.perf_counter() - began
    missed = [(row, v) for row, v in zip(rows, verdicts, strict=True) if v.correct != bool(row["correct"])]
    name = path.name.removesuffix(".jsonl.gz")
    file_wrong = JUDGED.get(name, {}).get("the file is wrong", [])
    ours = [row for row, _ in missed if f"{row['id']} {row['model']} {row['variant']}" not in file_wrong]
    share, judged = 1 - len(missed) / len(rows), 1 - len(ours) / len(rows)
    answers = zip(rows, verdicts, strict=True)
    algebra = sum(v.extracted is not None and equal_at_once(row["gold"], v.extracted) is None for row, v in answers)
    hard = algebra if kind in ("maths", "olympiad") else 0
    print(
        f"{name:34} {kind:8} rows {len(rows):6} agree {share:.4%} differ {len(missed):4} "
        f"judged {judged:.4%} {len(ours):4} algebra {hard:4} seconds {seconds:.1f}"
    )
    if listed:
        for row, verdict in missed:
            recorded = f"recorded {row.get('answer')!r} {bool(row['correct'])}"
            found = f"ours {verdict.extracted!r} {verdict.correct} {verdict.reason}"
            print(f"  {row['id']} {row['model']} {row['variant']} | gold {row['gold']!r} | {recorded} | {found}")


if __name__ == "__main__":
    main()
