"""What each server sends and takes, byte for byte, as its documentation has it: tests/golden/dialects."""

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.fakes.server import SSE, Bytes, FakeServer, serving
from yarl import URL

from corea.backends.openai.client import OpenAIBackend, OpenAISettings
from corea.errors import BackendError
from corea.types import Completion, Question, Sampling, StreamPart

GOLDEN = Path(__file__).parents[1] / "golden" / "dialects"
KEY = "golden-key-0123456789"
QUESTION = Question.of("What is 2 + 2?")
SAMPLING = Sampling(max_tokens=64, seed=7)


class Dialect:
    """One golden file: named sections of exact bytes."""

    def __init__(self, path: Path) -> None:
        head, *sections = re.split(rb"^=== (.+)\n", path.read_bytes(), flags=re.MULTILINE)
        self.sources = re.findall(rb"^# source: (\S+)", head, flags=re.MULTILINE)
        self.sections = dict(zip((name.decode() for name in sections[::2]), sections[1::2], strict=True))

    def bytes(self, name: str) -> bytes:
        return self.sections[name].removesuffix(b"\n")

    def json(self, name: str) -> Any:
        return json.loads(self.sections[name])

    @property
    def settings(self) -> OpenAISettings:
        return msgspec.convert(self.json("settings"), OpenAISettings)

    def backend(self, server: FakeServer) -> OpenAIBackend:
        """This dialect's backend, talking to a server that stands in for the real host."""
        own = URL(self.settings.base_url)
        here = URL(server.base_url).with_path(own.path, keep_query=False)
        pinned = {
            "max_tokens_field": self.settings.limit_field,
            "seed_field": self.settings.seed_name or "none",
            "key_style": "bearer",
        }
        if self.settings.key_header("/chat/completions") != "Authorization":
            pinned["key_style"] = "api-key"
        told = {**self.json("settings"), "base_url": str(here), "max_retries": 0, **pinned}
        return OpenAIBackend(msgspec.convert(told, OpenAISettings))


@pytest.fixture(params=sorted(path.stem for path in GOLDEN.glob("*.txt")))
def dialect(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Dialect:
    monkeypatch.setenv("GOLDEN_KEY", KEY)
    return Dialect(GOLDEN / f"{request.param}.txt")


def facts(completion: Completion, expected: dict[str, Any]) -> dict[str, Any]:
    """The completion in the form of a file's expectations; only what that file speaks of."""
    usage = completion.usage
    told = {
        "text": completion.text,
        "model": completion.model,
        "usage": [usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens, usage.reasoning_tokens],
        "finish_reason": completion.finish_reason,
        "reasoning": completion.reasoning,
        "logprobs": [[token.token, token.logprob] for token in completion.logprobs or ()],
        "cost_usd": completion.cost_usd,
        "kept": sorted(key for key, value in (completion.raw or {}).items() if value and key != "content"),
    }
    assert not usage.estimated
    return {key: told[key] for key in expected}


def wanted(dialect: Dialect) -> dict[str, Any]:
    expected = {"reasoning": "", "logprobs": [], "cost_usd": None, "kept": [], **dialect.json("expected")}
    if expected["cost_usd"] is not None:
        expected["cost_usd"] = Decimal(expected["cost_usd"])
    return expected


def test_every_file_cites_its_sources(dialect: Dialect) -> None:
    assert all(source.startswith(b"https://") for source in dialect.sources)
    assert dialect.sources


def test_requests_go_to_the_documented_path(dialect: Dialect) -> None:
    url = URL(dialect.settings.url, encoded=True)
    assert url.raw_path_qs == dialect.bytes("path").decode()


async def test_a_request_has_the_documented_bytes_and_headers(dialect: Dialect) -> None:
    async with serving(Bytes(dialect.bytes("whole"))) as server:
        backend = dialect.backend(server)
        await backend.complete(QUESTION, SAMPLING)
        await backend.close()
    asked = server.requests[0]
    assert asked.raw == dialect.bytes("request")
    headers = dialect.json("headers")
    assert {name: asked.headers.get(name) for name in headers} == headers
    assert ("Authorization" in asked.headers) == ("Authorization" in headers)
    assert ("api-key" in asked.headers) == ("api-key" in headers)


async def test_a_whole_answer_is_understood(dialect: Dialect) -> None:
    async with serving(Bytes(dialect.bytes("whole"))) as server:
        backend = dialect.backend(server)
        completion = await backend.complete(QUESTION, SAMPLING)
        await backend.close()
    assert facts(completion, wanted(dialect)) == wanted(dialect)


@pytest.mark.parametrize("split_bytes", [0, 1, 13])
async def test_a_streamed_answer_is_understood_however_it_is_cut(dialect: Dialect, split_bytes: int) -> None:
    async with serving(Bytes(dialect.sections["stream"], SSE, split_bytes=split_bytes)) as server:
        backend = dialect.backend(server)
        *pieces, completion = [piece async for piece in backend.stream(QUESTION, SAMPLING)]
        await backend.close()
    assert isinstance(completion, Completion)
    assert "".join(piece.text if isinstance(piece, StreamPart) else str(piece) for piece in pieces) == completion.text
    assert facts(completion, wanted(dialect)) == wanted(dialect)
    assert server.requests[0].body["stream_options"] == {"include_usage": True}


async def test_its_refusal_becomes_one_line_with_what_to_do(dialect: Dialect) -> None:
    name = next(name for name in dialect.sections if name.startswith("refusal"))
    status = int(name.split()[1])
    async with serving(Bytes(dialect.bytes(name), status=status)) as server:
        backend = dialect.backend(server)
        with pytest.raises(BackendError) as caught:
            await backend.complete(QUESTION, SAMPLING)
        await backend.close()
    error = caught.value
    assert error.status == status
    assert error.retryable == (status >= 500)
    assert re.search(r": got .+; (see|set|add|name|lower|the server failed)", str(error))
    assert KEY not in str(error) + str(error.body)
