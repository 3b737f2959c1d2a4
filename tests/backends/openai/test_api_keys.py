"""Keys come from the environment, and get nowhere else: not into errors, traces, reprs or logs."""

import html
import logging
import pickle
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.server import SSE, Act, Bytes, Echo, Fail, FakeServer, Reset, Say

import corea
from corea.backends.openai.api_keys import HIDDEN, KeyRedactor
from corea.backends.openai.client import OpenAIBackend, OpenAISettings
from corea.backends.openai.http import Http
from corea.build import build
from corea.cascade import Cascade, Stage
from corea.config import load_config, parse_config
from corea.errors import BackendError, ConfigError
from corea.run.answer_settings import answer_settings
from corea.trace_io import encode
from corea.types import Question, Sampling

KEY = 'sk-te"st/KEY+0123456789<abc>'  # awkward in JSON, in HTML and in a URL
OTHER = "other-secret-9876543210"
QUESTION = Question.of("What is 2 + 2?")

CARELESS: dict[str, Act] = {
    "echo in a 401": Echo(401),
    "echo in a 500": Echo(500),
    "echo in a 400": Echo(400),
    "echo as the answer": Echo(200),
    "the key as plain text": Bytes(f"bad key {KEY}!".encode(), "text/plain", status=401),
    "the key in a page": Bytes(f"<p>{html.escape(KEY, quote=False)}</p>".encode(), "text/html", status=502),
    "half the key, masked": Fail(401, "Incorrect API key provided: sk-te******89<a"),
    "the key in a redirect": Fail(
        307, headers={"Location": "https://x.example/?key=sk-te%22st%2FKEY%2B0123456789%3Cabc%3E"}
    ),
    "the key in the field names": Fail(400, body={"error": {"message": "no", KEY: {OTHER: [KEY]}}}),
    "a cut connection": Reset(),
    "an answer that is no JSON": Bytes(f'{{"oops {OTHER}'.encode()),
    "an error within a stream": Bytes(f'data: {{"error": {{"message": "{OTHER}"}}}}\n\n'.encode(), SSE),
    "the answer": Say(f"your secret is {OTHER} indeed"),
}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", KEY + "\n")  # a line end at the end of a key is a common slip
    monkeypatch.setenv("TEST_OTHER", OTHER)


def backend(url: str, **settings: Any) -> OpenAIBackend:
    told: dict[str, Any] = {"api_key_env": "TEST_KEY", "headers_env": {"X-Other": "TEST_OTHER"}, "max_retries": 0}
    return OpenAIBackend(OpenAISettings(model="m", base_url=url, **told, **settings))


def everything(error: BaseException) -> str:
    """All that anybody would print of an error, its causes included."""
    parts = "".join(traceback.format_exception(error))
    seen: BaseException | None = error
    while seen is not None:
        parts += f"{seen!r} {seen.args} {vars(seen)}"
        seen = seen.__cause__ or seen.__context__
    return parts


@pytest.mark.parametrize("name", CARELESS)
@pytest.mark.parametrize("stream", [False, True])
async def test_no_key_is_in_anything_that_a_careless_server_leads_to(
    name: str, stream: bool, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []
    async with FakeServer(CARELESS[name]) as server:
        asked = backend(server.base_url, stream=stream)
        try:
            shown.append(repr(await asked.complete(QUESTION, Sampling())))
        except BackendError as error:
            assert name != "the answer"
            shown.append(everything(error))
        try:
            shown += [str(piece) async for piece in asked.stream(QUESTION, Sampling())][-1:]  # the completion
        except BackendError as error:
            shown.append(everything(error))
        trace = await Cascade(stages=(Stage(name="only", backend=asked),)).ask(QUESTION)
        shown += [repr(trace), encode(trace).decode(), str(await asked.probe()), repr(asked), repr(vars(asked))]
        shown += [repr(asked.settings), str(asdict(asked.settings)), str(pickle.dumps(asked.settings))]
        await asked.close()
    assert server.requests[0].headers["Authorization"] == f"Bearer {KEY}"
    assert server.requests[0].headers["X-Other"] == OTHER
    shown += [caplog.text, *capfd.readouterr()]
    everywhere = "\n".join(shown)
    for secret in (KEY, OTHER, KEY.replace('"', '\\"'), "0123456789", OTHER[8:], "sk-te*"):
        assert secret not in everywhere


async def test_a_wrong_key_names_the_variable() -> None:
    async with FakeServer(keys=["another"]) as server:
        asked = backend(server.base_url)
        with pytest.raises(BackendError) as caught:
            await asked.complete(QUESTION, Sampling())
        await asked.close()
    assert "see that the environment variable TEST_KEY holds a key that may use this model" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "words"), [(None, "got nothing"), ("  ", "got nothing"), ("a\nb", "got a key with a line")]
)
async def test_a_missing_or_broken_key_names_the_variable(
    value: str | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if value is None:
        monkeypatch.delenv("TEST_KEY")
    else:
        monkeypatch.setenv("TEST_KEY", value)
    asked = backend("http://127.0.0.1:9/v1")
    with pytest.raises(ConfigError, match=f"environment variable TEST_KEY: {words}"):
        await asked.complete(QUESTION, Sampling())
    assert not (await asked.probe()).reachable


async def test_a_key_is_read_anew_at_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    async with FakeServer() as server:
        asked = backend(server.base_url)
        await asked.complete(QUESTION, Sampling())
        monkeypatch.setenv("TEST_KEY", "fresh-key-1234")
        await asked.complete(QUESTION, Sampling())
        await asked.close()
    assert [r.headers["Authorization"] for r in server.requests] == [f"Bearer {KEY}", "Bearer fresh-key-1234"]


def test_nothing_is_read_or_opened_before_the_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_KEY")
    asked = backend("https://unreachable.example/v1")
    assert isinstance(asked, OpenAIBackend)
    assert repr(KeyRedactor((KEY,))) == "KeyRedactor(1)"
    assert Http(asked.settings).settings is asked.settings


def test_short_dummies_are_no_secrets_and_words_stay_whole() -> None:
    dummies = KeyRedactor(("EMPTY", "ollama"))
    assert dummies.hide_bytes(b"ollama is EMPTY") == b"ollama is EMPTY"
    assert (
        KeyRedactor(()).hide("use Bearer authentication; risk-free, ask-me")
        == "use Bearer authentication; risk-free, ask-me"
    )
    assert KeyRedactor(()).hide("got sk-proj-abc123") == f"got sk-{HIDDEN}"


# ---- a key that was pasted where none belongs

PASTED = [
    "sk-proj-abc123DEF456ghi789", "gsk_abcDEF123456789012345678901234567890", "AIzaSyA1234567890abcdefghijklmnopqrstuv",
    "xai_abcdefghijklmnop", "hf_abcdEFGHijklMNOP", "SHORTKEY12345678", "0123456789abcdef0123456789abcdef",
    "abc123def456",
]  # fmt: skip
PLACES: dict[str, Callable[[str], Any]] = {
    "api_key_env": lambda key: key,
    "headers_env": lambda key: {"X-Key": key},
    "headers": lambda key: {key: "x"},
    "key_style": lambda key: key,
    "max_tokens_field": lambda key: key,
    "stream": lambda key: key,
    "max_retries": lambda key: key,
    "base_url": lambda key: key,
    "proxy": lambda key: f"ftp://me:{key}@x.example",
    "api_key": lambda key: key,
    "key": lambda key: [key],
}


def test_a_configuration_file_with_a_key_is_no_exception(tmp_path: Path) -> None:
    key = PASTED[1]
    path = tmp_path / "corea.toml"
    path.write_text(f'[stages.s.backend]\nkind = "openai"\nmodel = "m"\napi_key_env = "{key}"\n')
    with pytest.raises(ConfigError, match=r"api_key_env: got a value that is not the name of an env") as caught:
        build(load_config(path), need_prices=False)
    assert key not in shown_by(caught.value)


def shown_by(error: BaseException) -> str:
    """What a traceback with local variables shows of COREA's own frames, and the message."""
    seen = [str(error), repr(error), repr(error.__cause__), repr(error.__context__)]
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename.startswith(str(Path(corea.__file__).parent)):
            seen += [repr(value) for value in frame.f_locals.values()]
    return "\n".join(seen)


@pytest.mark.parametrize("key", PASTED)
@pytest.mark.parametrize("place", PLACES)
def test_a_key_in_the_wrong_place_is_refused_and_shown_by_no_message_and_no_frame(place: str, key: str) -> None:
    table = {"kind": "openai", "model": "m", place: PLACES[place](key)}
    with pytest.raises(ConfigError) as caught:
        build(parse_config({"stages": {"s": {"backend": table}}}), need_prices=False)
    assert key not in shown_by(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("place", "value", "key"),
    [
        ("base_url", "user:pass-word@x.example/v1", "pass-word"),
        ("base_url", "ftp://user:pass-word@x.example/v1", "pass-word"),
        ("base_url", "http://user:pass-word@x.example:99999/v1", "pass-word"),
        ("base_url", "http://x.example/v1?key=pass-word", "pass-word"),
        ("headers", f"Authorization: Bearer {KEY}", KEY),
        ("headers", {"X-Goog-Api-Key": "pass-word"}, "pass-word"),
        ("headers", {"x_auth_token": "pass-word"}, "pass-word"),
        ("api_key_env", 12345678901234567890, "12345678901234567890"),
    ],
)
def test_a_key_in_a_part_of_a_value_is_not_shown_either(place: str, value: Any, key: str) -> None:
    table = {"kind": "openai", "model": "m", place: value}
    with pytest.raises(ConfigError) as caught:
        build(parse_config({"stages": {"s": {"backend": table}}}), need_prices=False)
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["OPENAI_API_KEY", "HF_TOKEN", "XAI_API_KEY", "MY_KEY_2", "openrouter_api_key", "ASIA_PACIFIC_API_KEY", "KEY1"],
)
def test_the_name_of_a_variable_is_taken(name: str) -> None:
    assert OpenAISettings(model="m", api_key_env=name).api_key_env == name


@pytest.mark.parametrize("segment", ["abc123def456ghi7", "sk-proj-abcdefgh"])
async def test_a_key_in_the_path_of_an_address_is_sent_but_neither_shown_nor_kept(segment: str) -> None:
    async with FakeServer(Bytes(f"Cannot POST /{segment}/v1".encode(), "text/plain", status=404)) as server:
        url = server.base_url.replace("/v1", f"/{segment}/v1")
        table = {"kind": "openai", "model": "m", "base_url": url, "max_retries": 0}
        cascade = build(parse_config({"stages": {"s": {"backend": table}}}), need_prices=False).cascade
        trace = await cascade.ask(QUESTION)
        backend = cascade.stages[0].backend
        shown = [repr(trace), encode(trace).decode(), repr(backend), repr(vars(backend)["settings"])]
        shown.append(str(answer_settings(cascade)))
        await cascade.close()
    assert trace.error is not None
    assert f"/{HIDDEN}/v1" in trace.error
    assert segment not in "\n".join(shown)
