"""What the recipes are given to train on."""

import json
from pathlib import Path
from typing import Any

import pytest

from corea.demo import bundled_questions
from corea.errors import ConfigError, DataError
from corea.graders import AutoGrader
from corea.train.data import DataSettings, draw
from corea.types import Question


def test_a_limit_draws_the_same_questions_each_time(tmp_path: Path) -> None:
    rows = [{"id": str(n), "question": f"{n} + 1 = ?", "answer": str(n + 1)} for n in range(50)]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    table = {"name": "jsonl", "path": str(tmp_path / "train.jsonl"), "limit": 5}
    first = [q.id for q in draw("t", table, "train", 1)]
    assert len(set(first)) == 5
    assert first == [q.id for q in draw("t", table, "train", 1)]
    assert first != [q.id for q in draw("t", table, "train", 2)]


def test_splits_of_the_bundled_questions_share_none() -> None:
    material = DataSettings(
        questions={"name": "bundled", "split": "validation", "n": 30},
        held_out={"name": "bundled", "split": "test", "n": 30},
        prompt="plain",
    )
    learn, held_out, grader, prompt = material.load()
    assert not {q.text for q in learn} & {q.text for q in held_out}
    assert all(grader.grade(q, f"<answer>{q.reference}</answer>").correct for q in learn)
    assert prompt.user == "{question}"


def test_each_question_is_graded_by_its_own_kind_of_answer() -> None:
    number, words = Question.of("?", id="n"), Question.of("?", id="w")
    rows = [
        (Question(id=q.id, messages=q.messages, reference=reference), text)
        for q, reference, text in [
            (words, "Max", "<answer>max</answer>"),
            (number, "-5", "<answer>5</answer>"),
            (number, "1000", "<answer>1,000</answer>"),
        ]
    ]
    assert [v.correct for v in AutoGrader().grade_many(rows)] == [True, False, True]


@pytest.mark.parametrize(
    ("row", "grader", "message"),
    [
        ({"answer": "banana"}, "number", r"own\.jsonl:2: question 'b': the reference 'banana' is no number"),
        ({"answer": ""}, None, r"own\.jsonl:2: question 'b' has no reference"),
        ({"answer": "F", "choices": ["a cat", "a dog"]}, None, r"own\.jsonl:2: .*'F' names none of the options A to B"),
        ({"answer": "5", "answer_type": "nummer"}, None, r"own\.jsonl:2: .*answer_type: got 'nummer', expected one of"),
    ],
)
def test_what_cannot_be_graded_stops_training_before_it_begins(
    tmp_path: Path, row: dict[str, Any], grader: str | None, message: str
) -> None:
    rows = [{"id": "a", "question": "1+1?", "answer": "2"}, {"id": "b", "question": "2+2?", **row}]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, rows)))
    table = {"name": "jsonl", "path": str(tmp_path / "own.jsonl"), "split": "train"}
    held_out = {"name": "bundled", "split": "test", "n": 3}
    with pytest.raises(DataError, match=message):
        DataSettings(questions=table, held_out=held_out, grader=grader).load()
    with pytest.raises(DataError, match=message):
        DataSettings(questions=held_out, held_out=table, grader=grader).load()


def test_a_published_dataset_under_another_grader_is_checked_too(tmp_path: Path) -> None:
    (tmp_path / "any.jsonl").write_text('{"problem": "Expand.", "answer": "east", "unique_id": "a/1.json"}\n')
    table = {"name": "math500", "path": str(tmp_path / "any.jsonl"), "split": "test"}
    assert len(draw("t", table, "train", 1)) == 1
    with pytest.raises(DataError, match=r"any\.jsonl: dataset math500, .* 'math500-a-1': .*'east' is no number"):
        draw("t", table, "train", 1, grader="number")


def test_a_misspelt_grader_stops_training_before_it_begins() -> None:
    table = {"name": "bundled", "split": "test", "n": 3}
    with pytest.raises(ConfigError, match="grader: got 'maht'"):
        DataSettings(questions=table, held_out=table, grader="maht").load()


def test_backbones_can_be_trained_on_deepmath_with_repeated_questions(tmp_path: Path) -> None:
    rows = [{"question": f"What is {n} + 1?", "final_answer": str(n + 1)} for n in range(1000)]
    (tmp_path / "deepmath.jsonl").write_text("\n".join(map(json.dumps, [*rows, rows[3], rows[500]])))
    table = {"name": "deepmath", "path": str(tmp_path / "deepmath.jsonl")}
    learn, held_out, grader, _ = DataSettings(questions={**table, "limit": 900}, held_out=table).load()
    assert (len(learn), len({q.id for q in learn})) == (900, 900)
    assert not {q.text for q in learn} & {q.text for q in held_out}
    assert grader.grade(learn[0], f"<answer>{learn[0].reference}</answer>").correct
    assert not grader.grade(learn[0], f"<answer>{learn[0].reference}\\pi</answer>").correct


def test_olympiadbenchs_kinds_of_answers_do_not_stop_training(tmp_path: Path) -> None:
    kinds = ("Numerical", "Tuple", "Equation", "Interval", "Expression")
    rows = [{"id": n, "question": f"{n}?", "final_answer": ["7"], "answer_type": kind} for n, kind in enumerate(kinds)]
    (tmp_path / "any.jsonl").write_text("\n".join(map(json.dumps, rows)))
    questions = draw("t", {"name": "olympiadbench", "path": str(tmp_path / "any.jsonl"), "split": "test"}, "train", 1)
    verdicts = AutoGrader().grade_many(
        [(q, f"<answer>{said}</answer>") for q in questions for said in ("7", "7!", "-7")]
    )
    assert [v.correct for v in verdicts] == [True, False, False] * 5


def jsonl(folder: Path, name: str, n: int) -> dict[str, Any]:
    rows = [{"id": f"{name}-{i}", "question": f"{name} {i} ?", "answer": "1"} for i in range(n)]
    (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return {"name": "jsonl", "path": str(folder / f"{name}.jsonl")}


def test_a_mix_has_its_share_of_every_source(tmp_path: Path) -> None:
    few, many = jsonl(tmp_path, "few", 30), jsonl(tmp_path, "many", 90)
    made = {"name": "bundled", "split": "test", "share": 0.5}
    table = {"limit": 100, "mix": [{**few, "share": 0.2}, {**many, "share": 0.3}, made]}
    questions = draw("t", table, "train", 1)
    assert [sum(q.id.startswith(name) for q in questions) for name in ("few", "many", "slm-test")] == [20, 30, 50]
    assert questions == draw("t", table, "train", 1)
    assert questions[50:] == bundled_questions("test", 50)  # as many as are needed are made, and no others


BUNDLED = {"name": "bundled", "split": "test"}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"limit": None}, r"t\.limit: got None, expected the number of questions"),
        ({"name": "jsonl"}, r"t\.name: got a value next to mix"),
        ({"mix": {"share": 1}}, r"t\.mix: got .* expected tables"),
        ({"mix": [{**BUNDLED}]}, r"t\.mix\[0\]\.share: got None"),
        (
            {"mix": [{"name": "bundled", "split": "test", "share": 0.4}]},
            r"t\.mix: the shares add up to 0\.4, expected 1",
        ),
        (
            {"mix": [{"name": "bundled", "split": "test", "share": 1, "limit": 3}]},
            r"t\.mix\[0\]\.limit: got a value, expected none",
        ),
        (
            {"mix": [{"name": "bundled", "split": "test", "share": 1, "n": 3}]},
            r"got 3 questions, expected 10 \(share 1 of 10\)",
        ),
        ({"mix": [{"name": "bundeld", "share": 1}]}, "Did you mean 'bundled'"),
        ({"mix": [{"share": 1}]}, r"t\.mix\[0\]: name is missing"),
    ],
)
def test_a_wrong_mix_is_named(changed: dict[str, Any], says: str) -> None:
    table = {"limit": 10, "mix": [{**BUNDLED, "share": 1}], **changed}
    with pytest.raises(ConfigError, match=says):
        draw("t", table, "train", 1)


def test_a_dataset_without_a_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="name is missing"):
        draw("train.questions", {"path": "x"}, "train", 1)
