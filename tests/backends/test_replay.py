"""Replay gives what was recorded, estimates what was not and says so, and guesses nothing."""

import gzip
import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from corea.backends.replay import ReplayBackend, ReplaySettings
from corea.costs.token_estimate import tokens_of_length
from corea.errors import BackendError, ConfigError, DataError
from corea.types import Completion, Question, Sampling, Usage

ANY = Sampling()


def row(id: str = "q1", **more: Any) -> dict[str, Any]:
    return {"id": id, "model": "m", "variant": "t1", "question": "What is 2+2?", "response": "It is 4.\n#### 4", **more}


def recording(folder: Path, *rows: Any, name: str = "rows.jsonl") -> str:
    text = "".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows)
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return str(path)


async def replayed(path: str, id: str = "q1", **settings: str) -> Completion:
    return await ReplayBackend(ReplaySettings(path=path, **settings)).complete(Question.of("?", id=id), ANY)


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
async def test_a_recorded_answer_is_given_with_all_that_was_recorded(tmp_path: Path, name: str) -> None:
    full = row(confidence=0.8, correct=1, prompt_tokens=11, completion_tokens=7, cost_usd=0.0012, latency_ms=250)
    got = await replayed(recording(tmp_path, full, name=name))
    assert (got.text, got.model, got.confidence) == ("It is 4.\n#### 4", "m", 0.8)
    assert got.usage == Usage(prompt_tokens=11, completion_tokens=7)
    assert (got.cost_usd, got.seconds) == (Decimal("0.0012"), 0.25)
    assert got.raw is not None
    assert got.raw["recorded"]["correct"] == 1
    assert "response" not in got.raw["recorded"]


async def test_token_counts_that_were_not_recorded_are_estimated_and_marked(tmp_path: Path) -> None:
    got = await replayed(recording(tmp_path, row(prompt_tokens=None, completion_tokens=None)))
    assert got.usage == Usage(prompt_tokens=3, completion_tokens=4, estimated=True)  # 12 and 15 characters
    assert [tokens_of_length(n) for n in (0, 1, 4, 5)] == [0, 1, 1, 2]


async def test_the_prompt_is_estimated_from_the_messages_asked_where_no_question_was_recorded(tmp_path: Path) -> None:
    backend = ReplayBackend(ReplaySettings(path=recording(tmp_path, row(question=None, completion_tokens=5))))
    got = await backend.complete(Question.of("x" * 40, id="q1"), ANY)
    assert got.usage == Usage(prompt_tokens=10, completion_tokens=5, estimated=True)


async def test_a_row_without_its_response_gets_a_text_that_reads_as_its_answer(tmp_path: Path) -> None:
    from corea.parsing import read_answer

    got = await replayed(recording(tmp_path, row(response=None, answer="B", confidence=0.4, response_chars=400)))
    assert (got.text, got.confidence, read_answer(got.text)) == ("<answer>B</answer>", 0.4, "B")
    assert got.raw is not None
    assert got.raw["text_synthesised"] is True
    assert got.usage.completion_tokens == 100


async def test_a_question_without_a_row_is_an_error_and_not_a_guess(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"'q2', which has no recorded answer in .* among 1; ask only") as caught:
        await replayed(recording(tmp_path, row()), id="q2")
    assert not caught.value.retryable


def test_two_answers_to_a_question_are_an_error_with_its_line(tmp_path: Path) -> None:
    path = recording(tmp_path, row(), row("q2"), row())
    with pytest.raises(DataError, match=r"a second answer to 'q1', the first is at .*:1") as caught:
        ReplayBackend(ReplaySettings(path=path))
    assert (caught.value.path, caught.value.line) == (path, 3)


async def test_model_and_variant_choose_the_rows(tmp_path: Path) -> None:
    recording(tmp_path, row(), row(variant="t2", response="five"), name="a.jsonl")
    recording(tmp_path, row(model="n", response="six"), name="b.jsonl.gz")
    chosen = {"path": str(tmp_path), "model": "m", "variant": "t2"}
    assert (await replayed(**chosen)).text == "five"
    assert (await replayed(str(tmp_path), model="n", name="other")).model == "other"
    with pytest.raises(ConfigError, match=r"match 2 recordings; .*: 'm', 't1'; 'm', 't2'"):
        ReplayBackend(ReplaySettings(path=str(tmp_path), model="m"))
    with pytest.raises(ConfigError, match=r"match none; .*'m', 't1'; 'm', 't2'; 'n', 't1'"):
        ReplayBackend(ReplaySettings(path=str(tmp_path), model="M"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "rows.jsonl:2: not JSON"),
        ("[1]", "expected a JSON object"),
        ('{"id": "a"}', "model: got None"),
        (json.dumps(row("q2", confidence=80)), "confidence: got 80"),
        (json.dumps(row("q2", completion_tokens=-1)), "completion_tokens: got -1"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        ReplayBackend(ReplaySettings(path=recording(tmp_path, row(), line)))
    assert caught.value.line == 2


def test_a_missing_file_and_an_empty_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="which is not a file"):
        ReplayBackend(ReplaySettings(path=str(tmp_path / "none.jsonl")))
    with pytest.raises(ConfigError, match=r"holds no \.jsonl"):
        ReplayBackend(ReplaySettings(path=str(tmp_path)))


async def test_a_recorded_answer_is_streamed_as_its_text_and_then_the_completion(tmp_path: Path) -> None:
    backend = ReplayBackend(ReplaySettings(path=recording(tmp_path, row())))
    completion = await backend.complete(Question.of("?", id=row()["id"]), ANY)
    streamed = [piece async for piece in backend.stream(Question.of("?", id=row()["id"]), ANY)]
    assert streamed == [completion.text, completion]


@pytest.mark.skipif("COREA_DATA" not in os.environ, reason="COREA_DATA names no data folder")
async def test_the_real_recordings_are_replayed_whole() -> None:
    folder = Path(os.environ["COREA_DATA"]) / "traces"
    file = folder / "gsm8k_anytime_qwen2.5-math-1.5b.jsonl.gz"
    model = "Qwen2.5-Math-1.5B-Instruct + QLoRA (main adapter)"
    backend = ReplayBackend(ReplaySettings(path=str(file), model=model, variant="t2"))
    assert len(backend) == 914
    got = await backend.complete(Question.of("?", id="gsm8k-test-0000"), ANY)
    assert got.raw is not None
    assert got.raw["recorded"]["gold"] == "18"
    small = ReplaySettings(path=str(folder / "mmlu_pro_verbalized_small.jsonl.gz"), model="Qwen3-4B")
    assert len(ReplayBackend(small)) == 8067
