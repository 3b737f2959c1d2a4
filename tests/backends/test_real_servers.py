"""The OpenAI-compatible backend against servers that nobody here wrote, on loopback, with the tiny random model.

transformers' `serve` comes with corea[local] (and fastapi, uvicorn). llama.cpp's server needs an interpreter that has
`xllamacpp` (llama.cpp's own server code in a wheel) and `gguf`: name it in COREA_LLAMACPP_PYTHON.
"""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from corea.backends.openai.client import OpenAIBackend, OpenAISettings
from corea.errors import BackendError
from corea.types import Completion, Question, Sampling

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
    return whole, [str(piece) for piece in pieces], last


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
        await backend.complete(QUESTION, Sampling(max_tokens=4, extra={"response_format": "no object"}))
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
