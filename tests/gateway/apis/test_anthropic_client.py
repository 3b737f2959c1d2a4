"""The anthropic package, unchanged, against a running gateway: translated, and passed through."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.clients.scene import LARGE, reply
from tests.fakes.gateway import GatewayProcess, make_key, serving, upstream
from tests.fakes.server import Act, Asked, Bytes, FakeServer, Hang
from tests.gateway.apis.messages_wire import TOOL, message, served

anthropic = pytest.importorskip("anthropic")

CONFIG = """
[cascades.corea]
stages = ["small", "large"]
[cascades.native]
stages = ["small", "native"]
{stages}
[stages.small]
threshold = 0.8
[gateway]
port = 0
aliases = {{"claude-sonnet-4-5" = "corea", "claude-opus-*" = "native/native"}}
"""
STAGE = """
[stages.{name}.backend]
kind = "openai"
model = "{name}"
base_url = "{url}"
max_retries = 0
apis = {apis}
[prices.{name}]
input_usd_per_mtok = "1"
output_usd_per_mtok = "2"
"""
APIS = {"small": ["chat"], "large": ["chat"], "native": ["chat", "messages"]}
NATIVE = message({"type": "text", "text": "Natively nineteen."})
EASY: Any = [{"role": "user", "content": "easy: 12 + 7?"}]
HARD: Any = [{"role": "user", "content": "hard: 12 + 7?"}]


def act(asked: Asked) -> Act:
    """The act of the server of all stages."""
    if asked.path.endswith("/count_tokens"):
        return Bytes(b'{"input_tokens": 41}')
    if asked.path.endswith("/messages"):
        return Hang() if "hang" in asked.question else served(NATIVE, asked.streamed)
    return reply(asked)


@pytest.fixture(scope="module")
def far() -> Iterator[FakeServer]:
    with upstream(act, record=True) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(far: FakeServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("gateway")
    stages = "".join(STAGE.format(name=name, url=far.base_url, apis=apis) for name, apis in APIS.items())
    (folder / "corea.toml").write_text(CONFIG.format(stages=stages))
    with serving(folder, key=make_key(folder)) as running:
        yield running


@pytest.fixture
def client(gateway: GatewayProcess) -> Iterator[Any]:
    url = gateway.url.removesuffix("/v1")
    with anthropic.Anthropic(base_url=url, api_key=gateway.key, max_retries=0, timeout=20) as made:
        yield made


@pytest.mark.parametrize(("messages", "text"), [(EASY, "19"), (HARD, LARGE)])
def test_a_kept_and_a_deferred_answer(client: Any, messages: Any, text: str) -> None:
    raw = client.messages.with_raw_response.create(model="claude-sonnet-4-5", max_tokens=500, messages=messages)
    answer = raw.parse()
    assert [(block.type, block.text) for block in answer.content] == [("text", text)]
    assert (answer.model, answer.stop_reason, answer.role) == ("claude-sonnet-4-5", "end_turn", "assistant")
    assert answer._request_id == raw.headers["x-corea-trace-id"]
    assert answer.usage.output_tokens > 0
    with client.messages.stream(model="claude-sonnet-4-5", max_tokens=500, messages=messages) as stream:
        assert "".join(stream.text_stream) == text
        final = stream.get_final_message()
    assert (final.content[0].text, final.stop_reason) == (text, "end_turn")
    assert final.usage.input_tokens == answer.usage.input_tokens


def test_two_turns_with_tools(client: Any, far: FakeServer) -> None:
    asked = {"model": "corea", "max_tokens": 500, "tools": [TOOL]}
    first = client.messages.create(**asked, messages=EASY)
    assert (first.stop_reason, first.content[-1].name, first.content[-1].input) == (
        "tool_use", "add", {"a": 12, "b": 7}
    )  # fmt: skip
    with client.messages.stream(**asked, messages=EASY) as stream:
        again = stream.get_final_message()
    assert [block.to_dict() for block in again.content] == [block.to_dict() for block in first.content]
    result = {"type": "tool_result", "tool_use_id": first.content[-1].id, "content": "19"}
    turns = [*EASY, {"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    second = client.messages.create(**asked, messages=turns)
    assert second.content[0].text == LARGE
    assert far.requests[-1].body["messages"][-1] == {"role": "tool", "tool_call_id": "call_1", "content": "19"}


def test_a_server_that_speaks_the_api_is_passed_through(client: Any, far: FakeServer) -> None:
    asked = {"model": "claude-opus-4-5", "max_tokens": 500, "messages": HARD}
    assert client.messages.create(**asked).to_dict() == NATIVE
    with client.messages.stream(**asked) as stream:
        assert stream.get_final_message().content[0].text == "Natively nineteen."
    assert far.requests[-1].path == "/v1/messages"
    assert client.messages.count_tokens(model="claude-opus-4-5", messages=HARD).input_tokens == 41


def test_tokens_and_models(client: Any) -> None:
    assert client.messages.count_tokens(model="corea", messages=HARD, tools=[TOOL]).input_tokens > 100
    assert "claude-sonnet-4-5" in {model.id for model in client.models.list(limit=1000)}
    assert client.models.retrieve("claude-sonnet-4-5").display_name == "claude-sonnet-4-5"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("changes", "kind", "told"),
    [
        ({"model": "gpt-9"}, "NotFoundError", "not_found_error"),
        ({"max_tokens": 0}, "BadRequestError", "invalid_request_error"),
        ({"messages": [{"role": "user", "content": "status 429"}]}, "RateLimitError", "rate_limit_error"),
        ({"messages": [{"role": "user", "content": "status 500"}]}, "InternalServerError", "api_error"),
        ({"messages": [{"role": "user", "content": "status 503"}]}, "ServiceUnavailableError", "overloaded_error"),
    ],
)
def test_errors(client: Any, changes: Any, kind: str, told: str, stream: bool) -> None:
    body = {"model": "corea", "max_tokens": 500, "messages": EASY, **changes}
    with pytest.raises(getattr(anthropic, kind)) as caught:
        client.messages.create(**body, stream=stream)
    assert caught.value.type == told


def test_a_stream_that_breaks_raises(client: Any) -> None:
    with pytest.raises(anthropic.APIStatusError, match="broke off"):
        list(client.messages.create(
            model="corea", max_tokens=500, messages=[{"role": "user", "content": "broken"}], stream=True
        ))  # fmt: skip


def test_keys_as_either_header(gateway: GatewayProcess) -> None:
    url = gateway.url.removesuffix("/v1")
    with anthropic.Anthropic(base_url=url, auth_token=gateway.key, max_retries=0) as bearer:
        assert bearer.messages.create(model="corea", max_tokens=500, messages=EASY).content[0].text == "19"
    with anthropic.Anthropic(base_url=url, api_key="corea-wrong", max_retries=0) as wrong:
        with pytest.raises(anthropic.AuthenticationError) as caught:
            wrong.messages.create(model="nope", max_tokens=500, messages=EASY)
        assert caught.value.type == "authentication_error"
        with pytest.raises(anthropic.AuthenticationError):
            wrong.messages.count_tokens(model="nope", messages=EASY)


def test_a_client_that_gives_up_stops_the_upstream(client: Any, far: FakeServer) -> None:
    before = far.hung_up
    with pytest.raises(anthropic.APITimeoutError):
        client.with_options(timeout=0.3).messages.create(
            model="claude-opus-4-5", max_tokens=500, messages=[{"role": "user", "content": "hang"}]
        )
    deadline = time.monotonic() + 10
    while far.hung_up == before:
        assert time.monotonic() < deadline
        time.sleep(0.01)
