import gzip
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from corea.datasets import load_dataset, make_dataset
from corea.errors import ConfigError, DataError
from corea.graders import grade_each, grader_name

DATA = Path(__file__).parent / "data"


def test_gsm8k_takes_the_number_after_the_mark_and_drops_its_commas() -> None:
    rolls, savings = load_dataset("gsm8k", path=str(DATA / "gsm8k-test.jsonl"))
    assert (rolls.reference, rolls.id, rolls.meta["steps"]) == ("38", "gsm8k-test-00000", 2)
    assert savings.reference == "1250"
    assert savings.text.startswith("Rina saves $250")


def test_math500_names_its_questions_as_the_source_does() -> None:
    first = load_dataset("math500", path=str(DATA / "math500-test.jsonl"))[0]
    assert (first.id, first.reference, first.category) == ("math500-algebra-9001", "x^2+2x", "Algebra")


def test_olympiadbench_joins_several_answers() -> None:
    questions = load_dataset("olympiadbench", path=str(DATA / "olympiadbench-test.jsonl"))
    assert [q.reference for q in questions] == ["-5,7", "97"]
    assert questions[0].meta["is_multiple_answer"] is True
    assert [grader_name(q) for q in questions] == ["olympiad", "olympiad"]


def test_commonsenseqa_reads_the_hubs_shape_and_the_authors_own() -> None:
    hub, own = load_dataset("commonsenseqa", path=str(DATA / "commonsenseqa-test.jsonl"))
    assert (hub.reference, hub.choices[1], hub.meta["concept"]) == ("B", "fridge", "milk")
    assert (own.reference, own.choices[4], own.text) == ("E", "umbrella", "What does one open in the rain?")


def test_options_are_left_to_the_prompt() -> None:
    assert load_dataset("commonsenseqa", path=str(DATA / "commonsenseqa-test.jsonl"))[0].text == (
        "Where would one keep milk cold?"
    )


def test_gpqa_places_the_right_option_by_the_records_id() -> None:
    questions = load_dataset("gpqa", path=str(DATA / "gpqa-test.csv"))
    right = [q.choices[ord(q.reference or "") - ord("A")] for q in questions]
    assert right == ["electron", "thymine", "7"]
    assert [q.reference for q in questions] == ["A", "B", "C"]
    assert all(q.meta["private"] for q in questions)
    assert questions == load_dataset("gpqa", path=str(DATA / "gpqa-test.csv"))


def test_mmlu_pro_has_up_to_ten_options() -> None:
    planet, supply = load_dataset("mmlu_pro", path=str(DATA / "mmlu_pro-test.jsonl"))
    assert (planet.reference, planet.choices[2], len(planet.choices)) == ("C", "Mercury", 10)
    assert (supply.reference, supply.category) == ("A", "economics")


def test_deepmath_sets_questions_aside_by_their_text_alone() -> None:
    path = str(DATA / "deepmath.jsonl")
    split = {
        name: {q.id for q in load_dataset("deepmath", split=name, path=path)}
        for name in ("train", "validation", "test")
    }
    assert sum(len(ids) for ids in split.values()) == 699
    assert not split["train"] & (split["test"] | split["validation"]) | (split["test"] & split["validation"])
    assert 0 < len(split["test"]) < 15


def deepmath(folder: Path, *rows: tuple[str, str]) -> str:
    written = [{"question": text, "final_answer": answer, "difficulty": 5.0, "topic": "T"} for text, answer in rows]
    (folder / "deepmath.jsonl").write_text("\n".join(map(json.dumps, written)))
    return str(folder / "deepmath.jsonl")


def test_deepmaths_repeated_questions_are_dropped_and_counted_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [(f"Is {n} + 0 = {n}?", "Yes") for n in range(300)]
    again = [("Is 7  + 0 =\n7?", "Yes"), ("is 7+0=7?", "No"), ("Is 8 + 0 = 8?", "Yes")]
    path = deepmath(tmp_path, *rows, *again)
    loaded = {name: load_dataset("deepmath", split=name, path=path) for name in ("train", "validation", "test")}
    assert sum(map(len, loaded.values())) == 300
    texts = [q.text for questions in loaded.values() for q in questions]
    assert ("Is 7 + 0 = 7?" in texts, "is 7+0=7?" in texts) == (True, False)
    assert [record.getMessage() for record in caplog.records] == [
        "dataset DeepMath-103K: 3 of 303 questions repeat an earlier one and were dropped"
    ] * 3  # once for each split that was loaded


def test_deepmaths_yes_agrees_with_true_and_its_no_with_false(tmp_path: Path) -> None:
    path = deepmath(tmp_path, *((f"Is {n} odd?", answer) for n, answer in enumerate(("Yes", "False", "\\text{No}"))))
    yes, no, also_no = load_dataset("deepmath", split="train", path=path)
    said = [(yes, "True"), (yes, "False"), (no, "No"), (no, "true"), (also_no, "false"), (also_no, "Yes")]
    verdicts = grade_each([(question, f"<answer>{answer}</answer>") for question, answer in said])
    assert [v.correct for v in verdicts] == [True, False, True, False, True, False]


def test_of_a_parquet_file_only_the_needed_columns_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    pyarrow = pytest.importorskip("pyarrow")
    rows = [{"question": f"{n}?", "final_answer": str(n), "topic": "T", "r1_solution_1": "long"} for n in range(5000)]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "train.parquet")
    read: list[list[str]] = []
    whole = parquet.ParquetFile.iter_batches

    def noted(self: Any, size: int, columns: list[str]) -> Any:
        read.append(columns)
        return whole(self, size, columns=columns)

    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", noted)
    assert len(load_dataset("deepmath", split="train", path=str(tmp_path / "train.parquet"))) > 4900
    assert read == [["question", "final_answer", "topic"]]


def test_of_the_hub_only_the_needed_columns_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = ModuleType("datasets")
    asked: list[list[str]] = []

    class Table(list[dict[str, Any]]):
        column_names = ("question", "final_answer", "difficulty", "topic", "r1_solution_1")

        def select_columns(self, names: list[str]) -> "Table":
            asked.append(names)
            return self

    hub.load_dataset = lambda *_, **__: Table([{"question": "1?", "final_answer": "1"}])  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "datasets", hub)
    assert len(load_dataset("deepmath", split="train")) == 1
    assert asked == [["difficulty", "final_answer", "question", "topic"]]


def test_a_row_that_names_its_dataset_is_graded_as_that_dataset_is(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "question": "?", "answer": "9", "dataset": "math500", "answer_type": "number"},
        {"id": "b", "question": "?", "answer": "9", "dataset": "my own", "answer_type": "number"},
        {"id": "c", "question": "?", "answer": "9", "dataset": "math500", "grader": "text"},
        {"id": "d", "question": "?", "answer": "9", "dataset": "gsm8k"},
        {"id": "e", "question": "?", "answer": "9"},
    ]
    (tmp_path / "any.jsonl").write_text("\n".join(map(json.dumps, rows)))
    loaded = load_dataset("jsonl", path=str(tmp_path / "any.jsonl"))
    assert [grader_name(q) for q in loaded] == ["maths", "number", "text", "number", "number"]
    named = load_dataset("jsonl", path=str(tmp_path / "any.jsonl"), grader="maths")
    assert {grader_name(q) for q in named} == {"maths"}


@pytest.mark.parametrize(
    ("name", "row", "options", "message"),
    [
        ("jsonl", {"answer": "banana", "answer_type": "number"}, {}, "the reference 'banana' is no number"),
        ("jsonl", {"answer": "banana"}, {"grader": "number"}, "the reference 'banana' is no number"),
        ("jsonl", {"answer": "F", "choices": ["a cat", "a dog"]}, {}, "'F' names none of the options A to B"),
        ("jsonl", {"answer": " "}, {}, "the reference ' ' is empty"),
        ("jsonl", {"answer": ""}, {"labelled": True}, "has no reference, expected one to grade by"),
        ("jsonl", {"answer": "5", "answer_type": "Nummerical"}, {}, "answer_type: got 'Nummerical', expected one of"),
        ("jsonl", {"answer": "5", "grader": "numbr"}, {}, "grader: got 'numbr', expected one of .*'number'"),
        ("gsm8k", {"answer": "so #### banana"}, {}, "the reference 'banana' is no number"),
        ("olympiadbench", {"final_answer": ["3"], "error": "small"}, {}, "the tolerance 'small' is no number"),
        ("deepmath", {"final_answer": "$$"}, {}, "has no number or symbol"),
    ],
)
def test_a_reference_that_cannot_be_graded_is_named_with_its_line(
    tmp_path: Path, name: str, row: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    split = "train" if name == "deepmath" else "test"
    good = {"answer": "so #### 4", "final_answer": "4"} if name != "jsonl" else {"answer": "4"}
    rows = [{"question": "2+2?", **good}, {"question": "3+3?", **row}]
    (tmp_path / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(DataError, match=rf"{split}\.jsonl:2: .*{message}"):
        load_dataset(name, split=split, path=str(tmp_path / f"{split}.jsonl"), **options)


def test_a_grader_that_does_not_exist_is_refused_before_any_row_is_used() -> None:
    with pytest.raises(ConfigError, match=r"grader: got 'numbr'.*Did you mean 'number'"):
        load_dataset("jsonl", path=str(DATA / "own-test.jsonl"), grader="numbr")
    with pytest.raises(ConfigError, match=r"grader: got 'numbr'.*Did you mean 'number'"):
        load_dataset("gsm8k", path=str(DATA / "gsm8k-test.jsonl"), grader="numbr")


def test_ones_own_rows_may_have_choices_messages_or_no_answer() -> None:
    sums, colour, chat, free = load_dataset("jsonl", path=str(DATA / "own-test.jsonl"))
    assert (sums.id, sums.reference, sums.category) == ("q1", "42", "sums")
    assert (colour.id, colour.choices) == ("line-2", ("red", "dog"))
    assert (len(chat.messages), chat.text, chat.meta) == (2, "Name the capital of France.", {"answer_type": "text"})
    assert (free.reference, free.text) == (None, "Say something.")


def test_ones_own_csv_holds_choices_as_json() -> None:
    wet, two = load_dataset("jsonl", path=str(DATA / "own-test.csv"))
    assert (wet.text, wet.choices, wet.reference) == ('Which, then, is "wet"?', ("fire", "water"), "B")
    assert (two.choices, two.reference) == ((), "2")


@pytest.mark.parametrize("name", ["jsonl", "gsm8k"])
def test_the_recorded_form_is_read_by_any_dataset(name: str) -> None:
    four, fruit = load_dataset(name, path=str(DATA / "recorded-test.jsonl"))
    assert (four.id, four.reference, four.meta["answer_type"]) == ("made-0", "4", "number")
    assert (fruit.choices, fruit.meta["answer_type"]) == (("stone", "pear"), "choice")


def test_a_folder_holds_a_file_for_each_split(tmp_path: Path) -> None:
    (tmp_path / "main").mkdir()
    for split in ("train", "test"):
        rows = (DATA / f"gsm8k-{split}.jsonl").read_bytes()
        (tmp_path / "main" / f"{split}-00000-of-00001.jsonl.gz").write_bytes(gzip.compress(rows))
    assert len(load_dataset("gsm8k", split="train", path=str(tmp_path))) == 1
    assert len(load_dataset("gsm8k", split="test", path=str(tmp_path))) == 2


def test_parquet_and_json_arrays_are_read_like_json_lines(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    pyarrow = pytest.importorskip("pyarrow")
    rows = [json.loads(line) for line in (DATA / "mmlu_pro-test.jsonl").read_text().splitlines()]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "test.parquet")
    (tmp_path / "test.json").write_text(json.dumps(rows))
    wanted = load_dataset("mmlu_pro", path=str(DATA / "mmlu_pro-test.jsonl"))
    assert load_dataset("mmlu_pro", path=str(tmp_path / "test.parquet")) == wanted
    assert load_dataset("mmlu_pro", path=str(tmp_path / "test.json")) == wanted


def test_by_name_the_hub_is_asked_for_the_stated_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    hub = ModuleType("datasets")

    def load(name: str, config: str | None, *, split: str, revision: str) -> list[dict[str, Any]]:
        asked.append((name, config, split, revision))
        return [json.loads(line) for line in (DATA / "commonsenseqa-test.jsonl").read_text().splitlines()]

    hub.load_dataset = load  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "datasets", hub)
    assert len(load_dataset("commonsenseqa", split="test")) == 2
    assert asked == [("tau/commonsense_qa", None, "validation", "94630fe30dad47192a8546eb75f094926d47e155")]


def test_without_the_hubs_package_a_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ConfigError, match=r"needs the package 'datasets'.*or give the path of a local file"):
        load_dataset("gsm8k")


def test_a_hub_that_cannot_be_reached_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = ModuleType("datasets")

    def load(*_: object, **__: object) -> None:
        raise ConnectionError("no route")

    hub.load_dataset = load  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "datasets", hub)
    with pytest.raises(DataError, match=r"openai/gsm8k@e53f048856ff could not be loaded .ConnectionError: no route"):
        load_dataset("gsm8k")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"question": "1+1?", "answer": "2"}\n', r"test.jsonl:1: .*no '####'"),
        ('{"question": "1+1?"}\n', r"test.jsonl:1: the row has no 'answer' but question"),
        ('{"question": ', r"test.jsonl:1: not JSON"),
        ("\n[1]\n", r"test.jsonl:2: got list, expected a JSON object"),
        ("", "has no questions"),
    ],
)
def test_a_bad_row_is_named_with_its_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "test.jsonl").write_text(content)
    with pytest.raises(DataError, match=message):
        load_dataset("gsm8k", path=str(tmp_path / "test.jsonl"))


def test_two_questions_of_one_id_are_refused(tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text('{"id": 1, "question": "a"}\n{"id": "1", "question": "b"}\n')
    with pytest.raises(DataError, match=r"test.jsonl:2: question '1' comes twice"):
        load_dataset("jsonl", path=str(tmp_path / "test.jsonl"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "dev"}, "got the split 'dev', expected one of train, test"),
        ({"split": "test", "path": str(DATA / "gsm8k-train.jsonl")}, "the name says 'train'"),
        ({"path": str(DATA / "nowhere.jsonl")}, "no such file or folder"),
        ({"path": str(DATA)}, "expected one file whose name begins with 'test'"),
        ({"path": str(DATA / "NOTICE")}, "got no suffix, expected a name in .jsonl"),
        ({"pth": "x"}, "got the option 'pth', expected one of path$"),
    ],
)
def test_what_a_user_gets_wrong_is_said(options: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, DataError), match=message):
        load_dataset("gsm8k", **options)


def test_ones_own_questions_need_a_path() -> None:
    with pytest.raises(ConfigError, match="path is not set"):
        make_dataset("jsonl").load("test")
