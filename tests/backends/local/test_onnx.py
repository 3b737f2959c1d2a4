"""The embedded backend on a tiny random model (see tiny/remake.py): batching, sampling, stopping, probabilities."""

import asyncio
import json
import math
import shutil
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from corea.backends.local.onnx import ByteDecoder, OnnxBackend, OnnxSettings, byte_pieces
from corea.backends.local.worker import RunningBatch  # pyright: ignore[reportPrivateUsage]
from corea.errors import BackendError, ConfigError
from corea.types import Completion, Message, Question, Sampling, replace

TINY = Path(__file__).parents[1] / "tiny" / "onnx"
GREEDY = Sampling(temperature=0, max_tokens=30)
LONG = Sampling(temperature=0, max_tokens=1000)
FULL = Sampling(temperature=0, max_tokens=30, logprobs=True, top_logprobs=3)
QUESTIONS = [Question.of(f"Tom has {i} apples" + " and more" * (i % 5), id=str(i)) for i in range(40)]


def backend_with(**settings: Any) -> OnnxBackend:
    return OnnxBackend(OnnxSettings(folder=str(TINY), threads=1, **settings))


@pytest.fixture
async def backend() -> AsyncIterator[OnnxBackend]:
    made = backend_with()
    yield made
    await made.close()


async def together(backend: OnnxBackend, sampling: Sampling, questions: list[Question] = QUESTIONS) -> list[Completion]:
    return await asyncio.gather(*(backend.complete(question, sampling) for question in questions))


async def one_by_one(backend: OnnxBackend, sampling: Sampling, questions: list[Question]) -> list[Completion]:
    return [await backend.complete(question, sampling) for question in questions]


def texts(completions: list[Completion]) -> list[str]:
    return [completion.text for completion in completions]


async def test_a_batch_of_different_lengths_comes_out_as_one_by_one(backend: OnnxBackend) -> None:
    batched, alone = await together(backend, FULL), await one_by_one(backend, FULL, QUESTIONS)
    assert texts(batched) == texts(alone)
    assert [c.usage for c in batched] == [c.usage for c in alone]
    assert {c.finish_reason for c in batched} == {"stop", "length"}
    for one, other in zip(batched, alone, strict=True):
        assert one.logprobs is not None
        assert other.logprobs is not None
        gaps = [abs(a.logprob - b.logprob) for a, b in zip(one.logprobs, other.logprobs, strict=True)]
        assert max(gaps, default=0) < 1e-4


async def test_greedy_text_is_the_same_with_and_without_probabilities(backend: OnnxBackend) -> None:
    assert texts(await together(backend, GREEDY)) == texts(await together(backend, FULL))


async def test_samplings_may_differ_within_a_batch(backend: OnnxBackend) -> None:
    kinds = [GREEDY, FULL, Sampling(temperature=1, seed=1, max_tokens=12), Sampling(temperature=0.5, seed=2, top_p=0.8)]
    pairs = [(question, kinds[i % 4]) for i, question in enumerate(QUESTIONS[:16])]
    mixed = await asyncio.gather(*(backend.complete(*pair) for pair in pairs))
    assert texts(mixed) == [(await backend.complete(*pair)).text for pair in pairs]


async def test_a_seed_gives_each_question_its_own_reply_again_whatever_the_batch(backend: OnnxBackend) -> None:
    seeded = Sampling(temperature=1, seed=7, max_tokens=20)
    first = texts(await together(backend, seeded))
    assert first == texts(await together(backend_with(max_batch=3), seeded))
    assert first != texts(await together(backend, Sampling(temperature=1, seed=8, max_tokens=20)))
    assert len(set(first)) == len(first)


async def test_without_a_seed_two_replies_differ(backend: OnnxBackend) -> None:
    free = Sampling(temperature=1, max_tokens=20)
    assert len(set(texts(await together(backend, free, [QUESTIONS[0]] * 8)))) == 8


async def test_sampled_tokens_follow_the_models_probabilities(backend: OnnxBackend) -> None:
    one = Sampling(temperature=1, max_tokens=1, logprobs=True, top_logprobs=1)
    drawn = [await together(backend, Sampling(temperature=1, max_tokens=1, seed=s), [QUESTIONS[0]]) for s in range(400)]
    [sample] = await together(backend, one, [QUESTIONS[0]])
    assert sample.logprobs is not None
    [(token, logprob)] = sample.logprobs[0].top
    share = sum(c.text == token for [c] in drawn) / 400
    p = math.exp(logprob)
    assert abs(share - p) < 4 * math.sqrt(p * (1 - p) / 400)


async def test_usage_is_what_the_model_read_and_wrote(backend: OnnxBackend) -> None:
    got = await together(backend, GREEDY)
    assert [c.usage.prompt_tokens for c in got] == [len(await backend.prompt_tokens(q)) for q in QUESTIONS]
    assert all(c.usage.completion_tokens == 30 for c in got if c.finish_reason == "length")
    assert all(c.usage.completion_tokens <= 30 for c in got if c.finish_reason == "stop")


async def test_tokens_join_to_the_text_and_alternatives_come_best_first(backend: OnnxBackend) -> None:
    for completion in await together(backend, FULL):
        assert completion.logprobs is not None
        assert "".join(token.token for token in completion.logprobs) == completion.text
        for token in completion.logprobs:
            assert [p for _, p in token.top] == sorted((p for _, p in token.top), reverse=True)
            assert token.logprob == token.top[0][1]


async def test_a_stop_string_ends_the_reply_before_it(backend: OnnxBackend) -> None:
    [whole] = await together(backend, GREEDY, [QUESTIONS[3]])
    stop = whole.text[8:10]
    cut = await backend.complete(
        QUESTIONS[3], Sampling(temperature=0, max_tokens=30, stop=("~never~", stop), logprobs=True)
    )
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.finish_reason == "stop"
    assert cut.usage.completion_tokens < whole.usage.completion_tokens
    assert cut.logprobs is not None
    assert "".join(token.token for token in cut.logprobs) == cut.text


async def test_a_stream_gives_the_text_in_pieces_and_the_same_completion(backend: OnnxBackend) -> None:
    whole = await backend.complete(QUESTIONS[1], GREEDY)
    for stop in ((), (whole.text[6:9],)):
        sampling = Sampling(temperature=0, max_tokens=30, stop=stop)
        *pieces, last = [piece async for piece in backend.stream(QUESTIONS[1], sampling)]
        assert isinstance(last, Completion)
        assert "".join(str(piece) for piece in pieces) == last.text
        assert len(pieces) > 1
        assert last.text == (whole.text[: whole.text.index(stop[0])] if stop else whole.text)
        assert last.first_token_seconds is not None
        assert 0 < last.first_token_seconds <= last.seconds


async def test_scores_are_the_probabilities_that_generation_saw(backend: OnnxBackend) -> None:
    first = await backend.complete(QUESTIONS[0], Sampling(temperature=0, max_tokens=1, logprobs=True, top_logprobs=100))
    assert first.logprobs is not None
    top = {token: logprob for token, logprob in first.logprobs[0].top if token.isascii() and token}
    assert len(top) > 20
    scores = await backend.score(QUESTIONS[0], "", [*top, ""])
    assert scores == pytest.approx([*top.values(), 0.0], abs=1e-4)


async def test_scores_of_all_next_tokens_sum_to_one_and_a_chain_multiplies(backend: OnnxBackend) -> None:
    pieces = byte_pieces(TINY)
    assert pieces is not None
    question, digits = QUESTIONS[0], [str(d) for d in range(10)]
    chained = await backend.score(question, "<confidence>0.", [a + b for a in digits for b in digits])
    firsts = await backend.score(question, "<confidence>0.", digits)
    seconds = [await backend.score(question, f"<confidence>0.{a}", digits) for a in digits]
    assert chained == pytest.approx([f + s for f, row in zip(firsts, seconds, strict=True) for s in row], abs=1e-4)
    assert sum(map(math.exp, firsts)) < 1


async def test_a_caller_who_gives_up_leaves_the_others_alone(backend: OnnxBackend) -> None:
    expected = texts(await together(backend, GREEDY, QUESTIONS[:6]))
    tasks = [asyncio.create_task(backend.complete(question, GREEDY)) for question in QUESTIONS[:6]]
    await asyncio.sleep(0)
    tasks[2].cancel()
    got = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(got[2], asyncio.CancelledError)
    assert [c.text for c in got if isinstance(c, Completion)] == expected[:2] + expected[3:]


async def test_newcomers_do_not_wait_for_a_straggler(backend: OnnxBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    async def ask(question: Question, tokens: int) -> None:
        await backend.complete(question, Sampling(temperature=0, max_tokens=tokens))
        done.append(question.id)

    endless = next(
        q for q, c in zip(QUESTIONS, await together(backend, LONG), strict=True) if c.finish_reason == "length"
    )
    newcomers_wait, step = threading.Event(), RunningBatch.step

    def held(batch: object) -> object:
        assert newcomers_wait.wait(60)
        return step(batch)  # type: ignore[arg-type]

    worker = backend._worker  # pyright: ignore[reportPrivateUsage]
    while worker.busy:  # with the last of the batch before, whose answers are here
        await asyncio.sleep(0.001)
    monkeypatch.setattr(RunningBatch, "step", held)
    straggler = asyncio.create_task(ask(replace(endless, id="long"), 220))
    while not worker.busy:
        assert not straggler.done(), straggler
        await asyncio.sleep(0.001)
    newcomers = [asyncio.create_task(ask(question, 3)) for question in QUESTIONS[:8]]
    while len(worker.waiting) < 8:
        await asyncio.sleep(0.001)
    newcomers_wait.set()
    await asyncio.gather(straggler, *newcomers)
    assert done[-1] == "long"


async def test_a_prompt_longer_than_the_context_is_refused_alone(backend: OnnxBackend) -> None:
    long = Question.of("much " * 400, id="long")
    got = await asyncio.gather(*(backend.complete(q, GREEDY) for q in (QUESTIONS[0], long)), return_exceptions=True)
    assert isinstance(got[0], Completion)
    assert isinstance(got[1], BackendError)
    assert "question long: got a prompt of" in str(got[1])
    assert "context of 256" in str(got[1])


async def test_a_reply_ends_where_the_context_does(backend: OnnxBackend) -> None:
    got = await together(backend, LONG)
    full = [c for c in got if c.finish_reason == "length"]
    assert full
    assert {c.usage.total_tokens for c in full} == {256}


async def test_a_conversation_is_put_in_the_models_own_format(backend: OnnxBackend) -> None:
    turns = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    tokens = await backend.prompt_tokens(Question(id="chat", messages=turns))
    ids = {a["content"]: a["id"] for a in json.loads((TINY / "tokenizer.json").read_text())["added_tokens"]}
    assert [t for t in tokens if t in (ids["<|user|>"], ids["<|assistant|>"], ids["<|end|>"])] == [
        ids["<|user|>"], ids["<|assistant|>"], ids["<|end|>"], ids["<|user|>"], ids["<|assistant|>"],
    ]  # fmt: skip


async def test_callers_in_several_event_loops_are_served(backend: OnnxBackend) -> None:
    def in_own_loop(question: Question) -> str:
        return asyncio.run(backend.complete(question, GREEDY)).text

    got = await asyncio.gather(*(asyncio.to_thread(in_own_loop, question) for question in QUESTIONS[:4]))
    assert got == texts(await together(backend, GREEDY, QUESTIONS[:4]))


async def test_a_closed_backend_refuses() -> None:
    backend = backend_with()
    await backend.complete(QUESTIONS[0], GREEDY)
    await backend.close()
    with pytest.raises(BackendError, match="has been closed"):
        await backend.complete(QUESTIONS[0], GREEDY)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("genai_config.json", "has no genai_config.json; give one"),
        ("model.onnx", "has no model.onnx"),
        ("tokenizer.json", "has no tokenizer.json"),
        ("tokenizer_config.json", "has no tokenizer_config.json"),
    ],
)
def test_a_missing_file_is_named_before_anything_is_loaded(tmp_path: Path, missing: str, message: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(TINY, folder)
    (folder / missing).unlink()
    with pytest.raises(ConfigError, match=message):
        OnnxSettings(folder=str(folder))


def test_a_missing_weight_file_and_a_missing_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="which is not a folder"):
        OnnxSettings(folder=str(tmp_path / "none"))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="run `corea export`"):
        OnnxSettings(folder=str(tmp_path))
    shutil.copytree(TINY, tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.onnx").write_bytes(b"...model.onnx.data...")
    with pytest.raises(ConfigError, match=r"has no model\.onnx\.data, which its model needs"):
        OnnxSettings(folder=str(tmp_path))


async def test_a_broken_model_file_is_one_clear_line(tmp_path: Path) -> None:
    shutil.copytree(TINY, tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.onnx").write_bytes(b"no model")
    backend = OnnxBackend(OnnxSettings(folder=str(tmp_path), model="broken"))
    with pytest.raises(BackendError, match=r"broken: .* cannot be loaded: ") as caught:
        await backend.complete(QUESTIONS[0], GREEDY)
    assert "\n" not in str(caught.value)
    await backend.close()


@pytest.mark.parametrize("setting", [{"max_batch": 0}, {"threads": 0}, {"max_tokens": 0}])
def test_a_setting_out_of_range_is_named(setting: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(setting))}: got 0, expected at least 1"):
        OnnxSettings(folder=str(TINY), **setting)


def test_a_batch_that_the_library_does_not_take_is_refused_before_any_call() -> None:
    assert OnnxSettings(folder=str(TINY), max_batch=32).max_batch == 32
    with pytest.raises(ConfigError, match="max_batch: got 64, expected at most 32: onnxruntime-genai takes no more"):
        OnnxSettings(folder=str(TINY), max_batch=64)


def test_bytes_become_characters_when_the_last_of_them_has_come() -> None:
    pieces = {0: "é".encode()[:1], 1: "é".encode()[1:], 2: b"a", 3: b""}
    decoder = ByteDecoder(pieces)
    assert [decoder.add(token) for token in (0, 1, 2, 3, 0, 2, 0)] == ["", "é", "a", "", "", "\ufffda", ""]
    assert decoder.end() == "\ufffd"


def test_every_byte_has_its_piece() -> None:
    pieces = byte_pieces(TINY)
    assert pieces is not None
    assert {bytes([b]) for b in range(256)} <= set(pieces.values())
    added = json.loads((TINY / "tokenizer.json").read_text())["added_tokens"]
    assert {token for token, piece in pieces.items() if not piece} == {a["id"] for a in added if a["special"]}


async def test_text_that_names_a_token_the_model_lacks_fails_alone(backend: OnnxBackend) -> None:
    odd = Question.of("say <|endoftext|>", id="odd")  # transformers adds this one to every Qwen2 tokenizer
    got = await asyncio.gather(*(backend.complete(q, GREEDY) for q in (odd, QUESTIONS[0])), return_exceptions=True)
    assert isinstance(got[0], BackendError)
    assert "question odd: got token 293, expected one below 293" in str(got[0])
    assert isinstance(got[1], Completion)
