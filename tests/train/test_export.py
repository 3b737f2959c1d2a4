"""Export: the two forms of a model answer alike, and what is written is the same each time."""

import hashlib
import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

from corea.errors import ConfigError, TrainError
from corea.train.export import Precision, export, prove_equal
from corea.types import Question, replace

TINY = Path(__file__).parents[1] / "backends" / "tiny"
QUESTIONS = [Question.of(f"Ann has {i} pens and buys {i % 7} more.", id=f"q{i}") for i in range(30)]


def test_both_forms_of_the_tiny_model_answer_alike() -> None:
    report = prove_equal(TINY / "hf", TINY / "onnx", QUESTIONS, max_tokens=24)
    assert (report.questions, report.equal, report.differences, report.all_equal) == (30, 30, (), True)
    assert report.tokens > 300
    assert report.largest_logprob_gap < 1e-4


def another_model(folder: Path) -> Path:
    """The embedded form of the tiny model with one matrix negated."""
    import onnx
    from onnx import numpy_helper

    shutil.copytree(TINY / "onnx", folder)
    model = onnx.load(str(folder / "model.onnx"))
    weight = next(t for t in model.graph.initializer if "down_proj" in t.name)
    weight.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weight), weight.name))
    onnx.save_model(model, str(folder / "model.onnx"))
    return folder


def test_another_model_is_found_to_differ(tmp_path: Path) -> None:
    report = prove_equal(TINY / "hf", another_model(tmp_path / "other"), QUESTIONS[:5], max_tokens=24)
    assert not report.all_equal
    assert {d.reason for d in report.differences} == {"text"}
    assert all(d.expected != d.got for d in report.differences)


def test_the_models_own_prompt_is_asked_and_lost_accuracy_is_counted(tmp_path: Path) -> None:
    prompted, other = tmp_path / "hf", another_model(tmp_path / "other")
    shutil.copytree(TINY / "hf", prompted)
    (prompted / "corea_prompt.txt").write_text("Count on your fingers: {question}\n")
    plainly, *_ = prove_equal(TINY / "hf", other, QUESTIONS[:1], max_tokens=24).differences
    asked, *_ = prove_equal(prompted, other, QUESTIONS[:1], max_tokens=24).differences
    assert plainly.expected != asked.expected  # the same question, answered to another prompt
    labelled = [replace(QUESTIONS[0], reference=asked.expected, meta={"grader": "text"})]
    report = prove_equal(prompted, other, labelled, max_tokens=24)
    assert (report.graded, report.right, report.right_exported) == (1, 1, 0)
    assert prove_equal(prompted, TINY / "onnx", labelled, max_tokens=24).all_equal


def test_no_question_proves_nothing() -> None:
    assert not prove_equal(TINY / "hf", TINY / "onnx", []).all_equal


def test_the_committed_embedded_form_has_the_hashes_it_lists() -> None:
    listed = {
        name: digest
        for digest, name in (line.split("  ") for line in (TINY / "onnx/SHA256SUMS").read_text().splitlines())
    }
    found = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in (TINY / "onnx").iterdir()}
    del found["SHA256SUMS"]
    assert listed == found


def test_what_cannot_be_exported_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no config\.json; expected a Hugging Face model folder"):
        export(tmp_path, tmp_path / "out")
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(ConfigError, match="holds something else"):
        export(TINY / "hf", tmp_path)
    with pytest.raises(ConfigError, match="precision: got 'int7', expected one of float32, float16"):
        export(TINY / "hf", tmp_path / "out", precision="int7")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_export_proves_itself_and_is_the_same_each_time(tmp_path: Path) -> None:
    first = export(TINY / "hf", tmp_path / "a", questions=QUESTIONS, max_tokens=24)
    assert first.proof is not None
    assert first.proof.all_equal
    again = export(TINY / "hf", tmp_path / "a")
    assert again.sha256 == first.sha256
    half = export(TINY / "hf", tmp_path / "b", precision=Precision.FLOAT16, questions=QUESTIONS, must_be_equal=False)
    # the rotary tables and the graph keep their size
    assert (tmp_path / "b/model.onnx").stat().st_size < 0.75 * (tmp_path / "a/model.onnx").stat().st_size
    assert half.proof is not None
    assert half.proof.largest_logprob_gap < 0.1


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_form_that_answers_differently_is_refused_and_not_written(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="of 30 answers differ between the two forms, expected none; first q"):
        export(TINY / "hf", tmp_path / "out", precision=Precision.INT4, questions=QUESTIONS)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_architecture_that_the_builder_does_not_know_is_one_clear_line(tmp_path: Path) -> None:
    shutil.copytree(TINY / "hf", tmp_path / "hf")
    config = tmp_path / "hf/config.json"
    config.write_text(config.read_text().replace("Qwen2ForCausalLM", "OddForCausalLM"))
    with pytest.raises(ConfigError, match="the model builder of onnxruntime-genai refuses it: ") as caught:
        export(tmp_path / "hf", tmp_path / "out")
    assert "\n" not in str(caught.value)
