"""Real clients, unchanged, against a running gateway: openai's, LangChain's, curl, Java's, npm packages, and others."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from pydantic import BaseModel
from tests.clients.scene import LARGE, reply
from tests.fakes.gateway import GatewayProcess, make_key, serving, upstream, write_config
from tests.fakes.server import FakeServer

CLIENTS = Path(__file__).parents[1] / "clients"
EASY: Any = [{"role": "user", "content": "easy: 12 + 7?"}]
HARD: Any = [{"role": "user", "content": "hard: 12 + 7?"}]
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "add",
            "parameters": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}},
        },
    }
]


@pytest.fixture(scope="module")
def far() -> Iterator[FakeServer]:
    with upstream(reply, record=True) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(far: FakeServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("gateway")
    write_config(folder, far.base_url)
    with serving(folder, key=make_key(folder)) as running:
        yield running


@pytest.fixture
def client(gateway: GatewayProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=gateway.url, api_key=gateway.key, max_retries=0, timeout=20) as made:
        yield made


@pytest.fixture
async def async_client(gateway: GatewayProcess) -> Any:
    async with openai.AsyncOpenAI(base_url=gateway.url, api_key=gateway.key, max_retries=0, timeout=20) as made:
        yield made


def ask(text: str) -> Any:
    return [{"role": "user", "content": text}]


def test_openai_a_kept_answer(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="corea", messages=EASY)
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("19", "stop")
    assert answer.model == "corea"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    assert answer.model_extra is not None
    assert {k: answer.model_extra["corea"][k] for k in ("stage", "confidence", "threshold", "deferred")} == {
        "stage": "small", "confidence": 0.9, "threshold": 0.8, "deferred": False
    }  # fmt: skip


def test_openai_a_deferred_answer_and_its_headers(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="corea", messages=HARD)
    assert raw.parse().choices[0].message.content == LARGE
    assert (raw.headers["x-corea-stage"], raw.headers["x-corea-confidence"]) == ("large", "0.2")
    assert float(raw.headers["x-corea-cost-usd"]) > 0


def test_openai_controls_go_in_the_extra_body(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="corea", messages=HARD, extra_body={"corea": {"threshold": 0.1}})
    assert answer.choices[0].message.content == "18"


def test_openai_a_stage_is_a_model_of_its_own(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="corea/1", messages=EASY)
    assert answer.choices[0].message.content == LARGE
    assert {"corea", "corea/0", "corea/1"} <= {model.id for model in client.models.list()}
    assert client.models.retrieve("corea/0").id == "corea/0"


@pytest.mark.parametrize(("messages", "text"), [(EASY, "19"), (HARD, LARGE)])
def test_openai_streams(client: openai.OpenAI, messages: Any, text: str) -> None:
    with client.chat.completions.create(
        model="corea", messages=messages, stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == text
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens > 0
    assert all(c.usage is None for c in chunks[:-1])
    assert len({c.id for c in chunks}) == 1


def test_openai_stream_helper(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="corea", messages=HARD) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    assert kinds[-1] == "content.done"
    assert final.choices[0].message.content == LARGE


async def test_openai_async(async_client: openai.AsyncOpenAI) -> None:
    answer = await async_client.chat.completions.create(model="corea", messages=EASY)
    assert answer.choices[0].message.content == "19"
    stream = await async_client.chat.completions.create(model="corea", messages=HARD, stream=True)
    assert "".join([c.choices[0].delta.content or "" async for c in stream]) == LARGE


def test_openai_tools_go_to_the_large_model_and_its_call_comes_back(client: openai.OpenAI, far: FakeServer) -> None:
    far.requests.clear()
    answer = client.chat.completions.create(model="corea", messages=EASY, tools=TOOLS, tool_choice="auto")
    calls = answer.choices[0].message.tool_calls
    assert calls is not None
    assert answer.choices[0].finish_reason == "tool_calls"
    assert (calls[0].id, calls[0].function.name) == ("call_1", "add")  # type: ignore[union-attr]
    assert json.loads(calls[0].function.arguments) == {"a": 12, "b": 7}  # type: ignore[union-attr]
    assert [r.body["model"] for r in far.requests] == ["large"]
    assert (far.requests[0].body["tools"], far.requests[0].body["tool_choice"]) == (TOOLS, "auto")
    followed = [*EASY, answer.choices[0].message, {"role": "tool", "tool_call_id": "call_1", "content": "19"}]
    after = client.chat.completions.create(model="corea", messages=followed, tools=TOOLS)
    assert after.choices[0].message.content == LARGE
    assert far.requests[-1].body["messages"][-1] == followed[-1]


def test_openai_streamed_tools(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="corea", messages=EASY, tools=TOOLS) as stream:
        final = stream.get_final_completion()
    calls = final.choices[0].message.tool_calls
    assert calls is not None
    assert [(c.function.name, json.loads(c.function.arguments)) for c in calls] == [("add", {"a": 12, "b": 7})]


def test_openai_structured_output(client: openai.OpenAI) -> None:
    class Sum(BaseModel):
        sum: int

    answer = client.chat.completions.parse(model="corea", messages=EASY, response_format=Sum)
    assert answer.choices[0].message.parsed == Sum(sum=19)


@pytest.mark.parametrize(
    ("changes", "kind", "code", "param"),
    [
        ({"model": "gpt-9"}, openai.NotFoundError, "model_not_found", "model"),
        ({"n": 2}, openai.BadRequestError, "unsupported_parameter", "n"),
        ({"temperature": 3}, openai.BadRequestError, "invalid_value", "temperature"),
        ({"messages": []}, openai.BadRequestError, "invalid_value", "messages"),
        ({"messages": ask("status 429")}, openai.RateLimitError, "upstream_rate_limited", None),
        ({"messages": ask("status 500")}, openai.InternalServerError, "upstream_error", None),
        ({"messages": ask("status 422")}, openai.UnprocessableEntityError, "upstream_refused", None),
        ({"messages": ask("status 401")}, openai.InternalServerError, "upstream_error", None),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_openai_errors(
    client: openai.OpenAI, changes: Any, kind: Any, code: str, param: str | None, stream: bool
) -> None:
    body = {"model": "corea", "messages": EASY, **changes}
    with pytest.raises(kind) as caught:
        client.chat.completions.create(**body, stream=stream)
    assert (caught.value.code, caught.value.param) == (code, param)


def test_openai_a_stream_that_breaks_raises(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(model="corea", messages=ask("broken"), stream=True)
    with pytest.raises(openai.APIError, match="broke off"):
        list(stream)


def test_openai_a_wrong_key_is_refused(gateway: GatewayProcess) -> None:
    with openai.OpenAI(base_url=gateway.url, api_key="corea-wrong", max_retries=0) as other:
        with pytest.raises(openai.AuthenticationError) as caught:
            other.chat.completions.create(model="corea", messages=EASY)
        assert caught.value.code == "invalid_api_key"


def test_openai_a_client_that_gives_up_stops_the_upstream(client: openai.OpenAI, far: FakeServer) -> None:
    client_disconnected = far.hung_up
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.3).chat.completions.create(model="corea", messages=ask("hang"))
    deadline = time.monotonic() + 10
    while far.hung_up == client_disconnected:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_openai_retries_by_itself_what_may_help(gateway: GatewayProcess, far: FakeServer) -> None:
    far.requests.clear()
    patient = openai.OpenAI(base_url=gateway.url, api_key=gateway.key, max_retries=1)
    with patient, pytest.raises(openai.RateLimitError):
        patient.chat.completions.create(model="corea/1", messages=ask("status 429"))
    assert len(far.requests) == 2


@pytest.fixture
async def langchain(gateway: GatewayProcess) -> Any:
    from langchain_openai import ChatOpenAI
    from pydantic import SecretStr

    made = ChatOpenAI(model="corea", base_url=gateway.url, api_key=SecretStr(gateway.key), max_retries=0)
    yield made
    await made.root_async_client.close()


async def test_langchain_asks_and_streams(langchain: Any) -> None:
    answer = langchain.invoke("easy: 12 + 7?")
    assert (answer.content, answer.response_metadata["finish_reason"]) == ("19", "stop")
    assert answer.usage_metadata["total_tokens"] > 0
    assert "".join(chunk.content for chunk in langchain.stream("hard: 12 + 7?")) == LARGE
    assert (await langchain.ainvoke("hard: 12 + 7?")).content == LARGE


def test_langchain_keeps_the_headers(gateway: GatewayProcess) -> None:
    from langchain_openai import ChatOpenAI
    from pydantic import SecretStr

    key = SecretStr(gateway.key)
    made = ChatOpenAI(model="corea", base_url=gateway.url, api_key=key, include_response_headers=True)
    headers = made.invoke("hard: 12 + 7?").response_metadata["headers"]
    assert (headers["x-corea-stage"], headers["x-corea-confidence"]) == ("large", "0.2")
    assert float(headers["x-corea-cost-usd"]) > 0


def test_langchain_binds_tools(langchain: Any) -> None:
    answer = langchain.bind_tools(TOOLS).invoke("easy: 12 + 7?")
    assert [(call["name"], call["args"]) for call in answer.tool_calls] == [("add", {"a": 12, "b": 7})]


def curl(gateway: GatewayProcess, body: Any, *words: str) -> str:
    command = [
        "curl", "-sS", "--max-time", "20", f"{gateway.url}/chat/completions", "-H", "content-type: application/json",
        "-H", f"authorization: Bearer {gateway.key}", "-d", json.dumps(body), *words,
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_asks_and_streams(gateway: GatewayProcess) -> None:
    whole = json.loads(curl(gateway, {"model": "corea", "messages": EASY}))
    assert whole["choices"][0]["message"] == {"role": "assistant", "content": "19"}
    events = curl(gateway, {"model": "corea", "messages": HARD, "stream": True}, "-N").split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    pieces = [json.loads(event.removeprefix("data: ")) for event in events[:-2]]
    assert pieces[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(p["choices"][0]["delta"].get("content", "") for p in pieces) == LARGE
    status = curl(gateway, {"model": "nope", "messages": EASY}, "-o", "/dev/null", "-w", "%{http_code}")
    assert status == "404"


@pytest.mark.skipif(shutil.which("javac") is None or shutil.which("java") is None, reason="needs a JDK")
def test_javas_client_asks_with_its_upgrade_to_http_2(gateway: GatewayProcess, far: FakeServer, tmp_path: Path) -> None:
    subprocess.run(["javac", "-d", str(tmp_path), str(CLIENTS / "Ask.java")], check=True, timeout=60)
    long: Any = [{"role": "user", "content": "easy: " + "größer " * 4000}]  # of more than one packet
    bodies = [
        {"model": "corea", "messages": EASY},
        {"model": "corea", "messages": long},
        {"model": "corea", "messages": HARD, "stream": True},
        {"model": "nope", "messages": EASY},
    ]
    command = ["java", "-cp", str(tmp_path), "Ask", gateway.url, gateway.key, *map(json.dumps, bodies)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line[:3] for line in lines] == ["200", "200", "200", "404"]
    for line in lines[:2]:
        assert json.loads(line[4:])["choices"][0]["message"]["content"] == "19"
    assert any(asked.question == long[0]["content"] for asked in far.requests)
    assert "data: [DONE]" in lines[2]
    assert json.loads(lines[3][4:])["error"]["code"] == "model_not_found"


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "script"),
    [("openai", "check.mjs"), ("@ai-sdk/openai", "ai.mjs"), ("@ai-sdk/openai-compatible", "compatible.mjs")],
)
def test_npm_packages(gateway: GatewayProcess, package: str, script: str) -> None:
    if shutil.which("node") is None or not (CLIENTS / "node_modules" / package).is_dir():
        pytest.skip(f"needs node and the npm package {package}; `make clients` brings it")
    done = subprocess.run(
        ["node", script, gateway.url, gateway.key], cwd=CLIENTS, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert "all passed" in done.stdout


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize(
    ("variable", "script"), [("COREA_CLIENTS_PYTHON", "others.py"), ("COREA_FRAMEWORKS_PYTHON", "frameworks.py")]
)
def test_python_packages_in_an_environment_of_their_own(gateway: GatewayProcess, variable: str, script: str) -> None:
    python = os.environ.get(variable)
    if python is None:
        pytest.skip(f"needs an environment with its packages in {variable}; `make clients` brings it")
    command = [python, str(CLIENTS / script), gateway.url, gateway.key]
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=bare)
    assert done.returncode == 0, done.stderr
    assert "all passed" in done.stdout
