"""What every dataset promises, on small files of its source's shape; to register one is to test it here."""

import json
from pathlib import Path
from typing import Any

import pytest

from corea.datasets import DATASETS, load_dataset, make_dataset, overlap
from corea.errors import ConfigError
from corea.graders import GRADERS, grade_each, grader_name
from corea.types import Question

DATA = Path(__file__).parents[1] / "datasets" / "data"
SPLITS = {
    "gsm8k": ("train", "test"),
    "math500": ("test",),
    "olympiadbench": ("test",),
    "commonsenseqa": ("train", "test"),
    "gpqa": ("test",),
    "deepmath": ("train", "validation", "test"),
    "mmlu_pro": ("validation", "test"),
    "jsonl": ("test",),
    "recorded": ("test",),
    "bundled": ("test", "validation", "examples", "export"),
}
CASES = [(name, split) for name in DATASETS for split in SPLITS[name]]
PUBLISHED = [name for name in DATASETS if name not in ("jsonl", "recorded", "bundled")]


def options(name: str, split: str) -> dict[str, Any]:
    if name == "bundled":
        return {"n": 40}
    if name == "recorded":
        return {}
    if name == "deepmath":
        return {"path": str(DATA / "deepmath.jsonl")}
    stem = "own" if name == "jsonl" else name
    return {"path": str(next(DATA.glob(f"{stem}-{split}.[jc]s*")))}


def questions(name: str, split: str) -> list[Question]:
    return load_dataset(name, split=split, **options(name, split))


@pytest.mark.parametrize(("name", "split"), CASES)
def test_ids_are_unique_and_texts_are_there(name: str, split: str) -> None:
    loaded = questions(name, split)
    assert loaded
    assert len({q.id for q in loaded}) == len(loaded)
    assert all(q.text.strip() for q in loaded)


@pytest.mark.parametrize(("name", "split"), CASES)
def test_loading_twice_gives_the_same(name: str, split: str) -> None:
    assert questions(name, split) == questions(name, split)


def in_the_prompts_format(answer: str | None) -> str:
    return f"<think>x</think><answer>{answer}</answer><confidence>0.90</confidence>"


@pytest.mark.parametrize(("name", "split"), CASES)
def test_every_reference_is_right_by_the_grader_that_the_product_decides_on(name: str, split: str) -> None:
    loaded = [q for q in questions(name, split) if q.reference is not None][:60]
    verdicts = grade_each([(q, in_the_prompts_format(q.reference)) for q in loaded])
    assert [(q.id, q.reference, v) for q, v in zip(loaded, verdicts, strict=True) if not v.correct] == []


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_dataset_declares_the_grader_of_its_questions(name: str) -> None:
    declared = make_dataset(name).source.grader  # pyright: ignore[reportAttributeAccessIssue]
    for split in SPLITS[name]:
        for question in questions(name, split):
            assert question.meta["grader"] == declared
            assert grader_name(question) in (declared, "yes_no")


CORRUPTED = ("\\sqrt{%s}", "%s\\pi", "%sx", "%s!", "-%s", "%s^2", "2 \\cdot %s", "\\frac{%s}{2}", "\\log %s")
WHOLE = (9, 42, 144, 2000, 97)


@pytest.mark.parametrize("name", ["math500", "olympiadbench", "deepmath"])
def test_no_corruption_of_a_whole_number_is_right_in_a_dataset_of_mathematics(name: str, tmp_path: Path) -> None:
    loaded = mathematics(name, tmp_path, [str(number) for number in WHOLE])
    rows = [(q, form % q.reference) for q in loaded for form in CORRUPTED]
    verdicts = grade_each([(q, in_the_prompts_format(answer)) for q, answer in rows])
    assert [(q.reference, answer) for (q, answer), v in zip(rows, verdicts, strict=True) if v.correct] == []
    equal = grade_each([(q, in_the_prompts_format(f"\\frac{{{2 * int(q.reference or 0)}}}{{2}}")) for q in loaded])
    assert [v.correct for v in equal] == [True] * len(WHOLE)


@pytest.mark.parametrize("name", ["math500", "olympiadbench", "deepmath"])
def test_a_flipped_sign_is_wrong_where_the_reference_has_no_latex(name: str, tmp_path: Path) -> None:
    flipped = {"6+9i": "6-9i", "-2 + 7i": "2 + 7i", "2k": "-2k", "5x - 7y": "5x + 7y", "-5": "5", "x+1": "x-1"}
    loaded = mathematics(name, tmp_path, list(flipped))
    verdicts = grade_each([(q, in_the_prompts_format(flipped[q.reference or ""])) for q in loaded])
    assert [q.reference for q, v in zip(loaded, verdicts, strict=True) if v.correct] == []


def mathematics(name: str, folder: Path, references: list[str]) -> list[Question]:
    """Questions of a dataset of mathematics with these references, loaded as the product does."""
    text, answer = ("problem", "answer") if name == "math500" else ("question", "final_answer")
    row = {"is_multiple_answer": False, "unit": None, "error": None, "answer_type": "Numerical"}
    rows = [{**row, text: f"Find the number {i}.", answer: r} for i, r in enumerate(references)]
    (folder / "any.jsonl").write_text("\n".join(map(json.dumps, rows)))
    path = str(folder / "any.jsonl")
    return [question for split in SPLITS[name] for question in load_dataset(name, split=split, path=path)]


@pytest.mark.parametrize("name", [name for name in DATASETS if len(SPLITS[name]) > 1])
def test_splits_share_no_question(name: str) -> None:
    loaded = {split: questions(name, split) for split in SPLITS[name]}
    first, *others = loaded
    for other in others:
        assert not {q.id for q in loaded[first]} & {q.id for q in loaded[other]}
        assert overlap(loaded[first], loaded[other], share=1.0) == []


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_source_states_where_it_is_from(name: str) -> None:
    source = make_dataset(name).source  # pyright: ignore[reportAttributeAccessIssue]
    assert source.hub.count("/") == 1
    assert len(source.revision) == 40
    assert source.licence
    assert source.grader in GRADERS
    assert tuple(source.splits) == SPLITS[name]


@pytest.mark.parametrize("name", ["gpqa", "math500"])
def test_what_must_not_be_published_says_so(name: str) -> None:
    assert not make_dataset(name).source.publishable  # pyright: ignore[reportAttributeAccessIssue]


def test_a_misspelt_dataset_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'gsm8k'"):
        load_dataset("gsm8")
