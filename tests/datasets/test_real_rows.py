"""The loaders on real rows of their sources; runs where COREA_DATA names their folder."""

import os
from pathlib import Path

import pytest

from corea.datasets import load_dataset, overlap
from corea.graders import grade_each, grader_name

QUESTIONS = Path(os.environ.get("COREA_DATA", "")) / "questions"
pytestmark = pytest.mark.skipif(not os.environ.get("COREA_DATA"), reason="COREA_DATA is not set")
FILES = {
    "gsm8k": ("gsm8k_test", 914, "number"),
    "math500": ("math500", 333, "maths"),
    "olympiadbench": ("olympiadbench_text_math_en", 440, "olympiad"),
    "commonsenseqa": ("commonsenseqa_dev", 808, "choice"),
}


@pytest.mark.parametrize("name", FILES)
def test_real_rows_are_read_and_their_references_graded_right(name: str) -> None:
    file, count, kind = FILES[name]
    loaded = load_dataset(name, split="test", path=str(QUESTIONS / f"{file}.jsonl.gz"))
    assert len(loaded) == count
    assert all(q.reference and q.text.strip() for q in loaded)
    assert {grader_name(q) for q in loaded} <= {kind, "yes_no"}
    if kind in ("maths", "olympiad"):
        pytest.importorskip("math_verify")
    verdicts = grade_each([(q, f"<answer>{q.reference}</answer>") for q in loaded])
    assert [(q.id, q.reference) for q, v in zip(loaded, verdicts, strict=True) if not v.correct] == []


def test_the_guard_finds_no_real_test_question_in_the_training_slice_and_a_planted_one() -> None:
    train = load_dataset("gsm8k", split="train", path=str(QUESTIONS / "gsm8k_train_slice.jsonl.gz"))
    test = load_dataset("gsm8k", split="test", path=str(QUESTIONS / "gsm8k_test.jsonl.gz"))
    assert overlap(train, test) == []
    assert [hit.id for hit in overlap([*train, test[3]], test)] == [test[3].id]
