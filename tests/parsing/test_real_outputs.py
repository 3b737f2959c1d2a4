"""Recorded outputs of real models, if COREA_DATA names their folder (it is not shipped)."""

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corea.parsing import read_answer, read_confidence

DATA = os.environ.get("COREA_DATA")
pytestmark = pytest.mark.skipif(not DATA, reason="COREA_DATA names no data folder")

# Formats with no answer to read: what they ask for is only a confidence.
NO_ANSWER = ("out_of_ten_sentence", "probability_percent")


def rows(name: str) -> Iterator[dict[str, Any]]:
    with gzip.open(Path(DATA or "") / name, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def test_stated_confidences_are_read_exactly() -> None:
    clear = [r for r in rows("outputs/verbalized_confidence_outputs.jsonl.gz") if not r["ambiguous"]]
    missed = [(r["id"], r["confidence"], read_confidence(r["text"])) for r in clear]
    missed = [m for m in missed if m[1] != m[2]]
    assert len(missed) <= 0.01 * len(clear), missed
    assert not missed


def test_stated_answers_are_read() -> None:
    """Labels are "as written"; ours are trimmed of markup, and of all but the letter of a choice."""

    def same(label: str | None, read: str | None) -> bool:
        if label is None or read is None:
            return label is read
        plain, trimmed = (s.replace("$", "").replace(" ", "").rstrip(".").lower() for s in (label, read))
        return (
            trimmed == plain
            or (len(read) == 1 and read.isalpha() and read in label)
            or (trimmed in plain and len(trimmed) > 1)
        )

    clear = [r for r in rows("outputs/verbalized_confidence_outputs.jsonl.gz") if not r["ambiguous"]]
    clear = [r for r in clear if r["format"] not in NO_ANSWER]
    missed = [(r["id"], r["answer"], read_answer(r["text"])) for r in clear]
    missed = [m for m in missed if not same(m[1], m[2])]
    assert len(missed) <= 0.01 * len(clear), missed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("commonsenseqa_re2_openai", 0),
        ("commonsenseqa_rlcr_qwen2.5-7b", 2),  # a sentence inside the tag, not recorded: "I am 0.9 confident"
        ("gsm8k_anytime_qwen2.5-math-1.5b", 0),
        ("gsm8k_itu_qwen2.5-math-1.5b", 0),
        ("gsm8k_re2_openai", 0),
        ("gsm8k_routellm", 0),
        ("math500_rlcr_qwen2.5-7b", 3),  # doubled tags, not recorded
        ("math500_itu", 0),
        ("olympiadbench_itu", 0),
    ],
)
def test_confidences_agree_with_what_traces_recorded(name: str, most: int) -> None:
    missed = []
    for row in rows(f"traces/{name}.jsonl.gz"):
        if not row.get("response") or row.get("confidence_kind") not in ("verbalized", "none", None):
            continue
        read, recorded = read_confidence(row["response"]), row.get("confidence")
        same = read == recorded if read is None or recorded is None else abs(read - recorded) <= 1e-6
        if not same:
            missed.append((row["id"], row["variant"], recorded, read))
    assert len(missed) <= most, missed
