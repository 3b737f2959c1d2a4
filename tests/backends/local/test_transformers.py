"""The transformers backend on a tiny random model: what it writes is what the embedded form of it writes."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from corea.errors import BackendError, ConfigError
from corea.types import Completion, Question, Sampling

pytest.importorskip("torch")
pytest.importorskip("transformers")

from corea.backends.local.onnx import OnnxBackend, OnnxSettings
from corea.backends.local.transformers import HFBackend, HFSettings

TINY = Path(__file__).parents[1] / "tiny"
QUESTIONS = [Question.of(f"Tom has {i} apples" + " and more" * (i % 4), id=str(i)) for i in range(12)]
GREEDY = Sampling(temperature=0, max_tokens=16, logprobs=True, top_logprobs=2)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Two threads for so small a model only wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def settings() -> HFSettings:
    return HFSettings(name=str(TINY / "hf"), device="cpu")


@pytest.fixture
async def backend(settings: HFSettings) -> AsyncIterator[HFBackend]:
    made = HFBackend(settings)
    yield made
    await made.close()


async def together(backend: HFBackend | OnnxBackend, sampling: Sampling) -> list[Completion]:
    return await asyncio.gather(*(backend.complete(question, sampling) for question in QUESTIONS))


async def test_it_writes_what_the_embedded_form_writes(backend: HFBackend) -> None:
    embedded = OnnxBackend(OnnxSettings(folder=str(TINY / "onnx"), threads=1))
    for sampling in (GREEDY, Sampling(temperature=1, top_p=0.9, seed=5, max_tokens=16)):
        ours, theirs = await together(backend, sampling), await together(embedded, sampling)
        assert [c.text for c in ours] == [c.text for c in theirs]
        assert [c.usage for c in ours] == [c.usage for c in theirs]
        assert [c.finish_reason for c in ours] == [c.finish_reason for c in theirs]
    await embedded.close()


async def test_a_batch_comes_out_as_one_by_one(backend: HFBackend) -> None:
    alone = [await backend.complete(question, GREEDY) for question in QUESTIONS]
    assert [c.text for c in await together(backend, GREEDY)] == [c.text for c in alone]


async def test_tokens_join_to_the_text(backend: HFBackend) -> None:
    for completion in await together(backend, GREEDY):
        assert completion.logprobs is not None
        assert "".join(token.token for token in completion.logprobs) == completion.text
        assert all(token.logprob == token.top[0][1] for token in completion.logprobs)


async def test_it_is_transformers_own_greedy_generation(backend: HFBackend) -> None:
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(TINY / "hf")
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(TINY / "hf", dtype="float32")
    chat = [{"role": "user", "content": QUESTIONS[0].text}]
    prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    tokens = model.generate(**prompt, max_new_tokens=16, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    got = await backend.complete(QUESTIONS[0], GREEDY)
    assert got.text == tokenizer.decode(tokens, skip_special_tokens=True)
    assert got.usage.completion_tokens == len(tokens)


async def test_scores_agree_with_the_embedded_form(backend: HFBackend) -> None:
    embedded = OnnxBackend(OnnxSettings(folder=str(TINY / "onnx"), threads=1))
    numbers = [f"{k / 100:.2f}" for k in range(0, 101, 7)] + ["NA", ""]
    ours = await backend.score(QUESTIONS[0], "<confidence>", numbers)
    assert ours == pytest.approx(await embedded.score(QUESTIONS[0], "<confidence>", numbers), abs=1e-4)
    assert ours[-1] == 0
    await embedded.close()


async def test_a_stream_is_the_text_in_pieces(backend: HFBackend) -> None:
    *pieces, last = [piece async for piece in backend.stream(QUESTIONS[2], GREEDY)]
    assert isinstance(last, Completion)
    assert "".join(str(piece) for piece in pieces) == last.text


async def test_what_cannot_be_loaded_is_one_clear_line(tmp_path: Path) -> None:
    shutil.copytree(TINY / "hf", tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.safetensors").unlink()
    backend = HFBackend(HFSettings(name=str(tmp_path), model="small"))
    with pytest.raises(BackendError, match=r"small: .* cannot be loaded: ") as caught:
        await backend.complete(QUESTIONS[0], GREEDY)
    assert "\n" not in str(caught.value)
    await backend.close()


def test_settings_are_checked_before_torch_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no config\.json"):
        HFSettings(name=str(tmp_path))
    with pytest.raises(ConfigError, match="dtype: got 'half', expected one of auto"):
        HFSettings(name="some/model", dtype="half")


def test_the_name_is_the_hubs_or_the_folders_last_part(settings: HFSettings) -> None:
    assert HFBackend(settings).model == "hf"
    assert HFBackend(HFSettings(name="Qwen/Qwen2.5-0.5B-Instruct")).model == "Qwen/Qwen2.5-0.5B-Instruct"
