"""Unit costs of a run in shards: to check the rows, to grant a part of the budget, to merge.

python bench/shards.py [--json] [--rows 100000]
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from corea.datasets.question_source import QuestionSource
from corea.run.answer_settings import answer_settings
from corea.run.grants import Grants
from corea.run.merge import merge_shards
from corea.run.row_checks import OnBadRow
from corea.run.runner import run_batch
from corea.run.shards import folder_of, plan_shards
from run import AtOnce, cascade, write_questions

SHARDS, GRANTS = 4, 2000


def measure(rows: int) -> dict[str, Any]:
    """Processor and elapsed time, in microseconds each."""
    with tempfile.TemporaryDirectory(dir=".") as name:  # on a disk, not in memory
        folder = Path(name)
        questions, output = str(folder / "questions.jsonl"), str(folder / "answers.jsonl")
        write_questions(folder / "questions.jsonl", rows)
        asked, costs = cascade(AtOnce()), {}
        began = time.process_time()
        plan = plan_shards(QuestionSource(questions), SHARDS, OnBadRow.STOP)
        costs["check_processor_us"] = 1e6 * (time.process_time() - began) / rows
        for number in range(1, SHARDS + 1):
            asyncio.run(run_batch(asked, questions, output, shard=plan.shard(number)))
        began = time.process_time()
        merged = merge_shards(output, answer_settings(asked))
        costs["merge_processor_us"] = 1e6 * (time.process_time() - began) / rows
        assert merged.done == rows
        journals = sum(path.stat().st_size for path in folder_of(output).glob("*.journal"))
        book = Grants(folder / "grants", Decimal(GRANTS), SHARDS)
        began = time.perf_counter()
        for number in range(GRANTS):
            book.grant(1 + number % SHARDS, Decimal(number // SHARDS), Decimal(1))
        costs["grant_elapsed_us"] = 1e6 * (time.perf_counter() - began) / GRANTS
        book.close()
        return {
            "rows": rows,
            "journal_bytes_a_row": round(journals / rows),
            "output_bytes_a_row": round(Path(output).stat().st_size / rows),
            **{key: round(value, 2) for key, value in costs.items()},
        }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    given = parser.parse_args()
    result = measure(given.rows)
    print(json.dumps(result) if given.json else "\n".join(f"{key}: {value}" for key, value in result.items()))


if __name__ == "__main__":
    main()
