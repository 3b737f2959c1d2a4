"""Real clients of OpenAI's other APIs, unchanged, against a running gateway: the openai package, LangChain's."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from pydantic import BaseModel
from tests.clients.scene import LARGE, reply
from tests.fakes.gateway import GatewayProcess, make_key, serving, upstream
from tests.fakes.server import SSE, Act, Asked, Bytes, FakeServer
from tests.gateway.apis.test_responses_wire import RESPONSE, as_sse, native_events
from tests.gateway.apis.test_texts_wire import EMBEDDED, WHOLE, chunks

CONFIG = """
[cascades.corea]
stages = ["small", "large"]
[cascades.texts]
stages = ["texts"]
[cascades.native]
stages = ["small", "native"]
{stages}
[gateway]
port = 0
passthrough = {{"text-embedder" = "texts", "base" = "texts"}}
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
APIS = {"small": ["chat"], "large": ["chat"], "texts": ["completions", "embeddings"], "native": ["chat", "responses"]}
TOOLS: Any = [{"type": "function", "name": "add", "parameters": {"type": "object"}, "strict": False}]


class Sum(BaseModel):
    """12 + 7."""

    sum: int


def act(asked: Asked) -> Act:
    """The act of the server of all stages."""
    if asked.path.endswith("/embeddings"):
        return Bytes(json.dumps(EMBEDDED).encode())
    if asked.path.endswith("/responses"):
        return Bytes(as_sse(native_events(RESPONSE)), SSE) if asked.streamed else Bytes(json.dumps(RESPONSE).encode())
    if asked.path.endswith("/chat/completions"):
        return reply(asked)
    return Bytes(chunks(" nine", "teen"), SSE) if asked.streamed else Bytes(json.dumps(WHOLE).encode())


@pytest.fixture(scope="module")
def far() -> Iterator[FakeServer]:
    with upstream(act, record=True) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(far: FakeServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("gateway")
    stages = "".join(STAGE.format(name=n, url=far.base_url, apis=json.dumps(apis)) for n, apis in APIS.items())
    (folder / "corea.toml").write_text(CONFIG.format(stages=stages))
    with serving(folder, key=make_key(folder, "--budget-usd", "5")) as running:
        yield running


@pytest.fixture
def client(gateway: GatewayProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=gateway.url, api_key=gateway.key, max_retries=0, timeout=20) as made:
        yield made


def test_openai_responses_kept_and_deferred(client: openai.OpenAI) -> None:
    kept = client.responses.create(model="corea", input="easy: 12 + 7?", instructions="Be kind.")
    assert (kept.output_text, kept.status, kept.model) == ("19", "completed", "corea")
    assert kept.model_extra is not None
    assert kept.model_extra["corea"]["stage"] == "small"
    deferred = client.responses.create(model="corea", input=[{"role": "user", "content": "hard: 12 + 7?"}])
    assert deferred.output_text == LARGE
    assert deferred.usage is not None
    assert deferred.usage.total_tokens == deferred.usage.input_tokens + deferred.usage.output_tokens > 0


@pytest.mark.parametrize(("text", "said"), [("easy: 12 + 7?", "19"), ("hard: 12 + 7?", LARGE)])
def test_openai_responses_streams(client: openai.OpenAI, text: str, said: str) -> None:
    with client.responses.stream(model="corea", input=text) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == final.output_text == said
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert final.usage is not None


def test_openai_responses_parses_a_form(client: openai.OpenAI) -> None:
    assert client.responses.parse(model="corea", input="easy: 12 + 7?", text_format=Sum).output_parsed == Sum(sum=19)
    with client.responses.stream(model="corea", input="easy: 12 + 7?", text_format=Sum) as stream:
        assert stream.get_final_response().output_parsed == Sum(sum=19)


@pytest.mark.parametrize("stream", [False, True])
def test_openai_responses_loop_with_a_tool(client: openai.OpenAI, stream: bool) -> None:
    history: Any = [{"role": "user", "content": "easy: 12 + 7?"}]
    if stream:
        with client.responses.stream(model="corea", input=history, tools=TOOLS, store=False) as events:
            answer: Any = events.get_final_response()
    else:
        answer = client.responses.create(model="corea", input=history, tools=TOOLS, store=False)
    (call,) = answer.output
    assert (call.type, call.name, json.loads(call.arguments)) == ("function_call", "add", {"a": 12, "b": 7})
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "19"}
    history += [call.model_dump(exclude={"parsed_arguments"}), output]
    assert client.responses.create(model="corea", input=history, tools=TOOLS).output_text == LARGE


async def test_openai_responses_async(gateway: GatewayProcess) -> None:
    async with openai.AsyncOpenAI(base_url=gateway.url, api_key=gateway.key, max_retries=0) as client:
        stream = await client.responses.create(model="corea", input="hard: 12 + 7?", stream=True)
        assert [event.type async for event in stream][-1] == "response.completed"


def test_openai_responses_of_a_server_that_speaks_them(client: openai.OpenAI, far: FakeServer) -> None:
    far.requests.clear()
    with pytest.raises(openai.BadRequestError, match="previous_response_id is not supported here: a stored prompt"):
        client.responses.create(model="native/1", input="12?", previous_response_id="resp_0")
    answer = client.responses.create(model="native/1", input="12?", truncation="auto")
    assert answer.to_dict() == RESPONSE
    with client.responses.stream(model="native", input="hard: 12 + 7?") as stream:
        assert stream.get_final_response().id == "resp_up"
    paths = [asked.path.removeprefix("/v1") for asked in far.requests]
    assert paths == ["/responses", "/chat/completions", "/responses"]
    assert far.requests[0].body == {"model": "native", "input": "12?", "truncation": "auto"}


def test_openai_responses_errors(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="corea", input="12?", previous_response_id="resp_0")
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "previous_response_id")
    with pytest.raises(openai.RateLimitError):
        client.responses.create(model="corea", input="status 429", stream=True)
    events = list(client.responses.create(model="corea", input="broken", stream=True))
    assert events[-1].type == "response.failed"
    assert events[-1].response.error is not None
    assert events[-1].response.error.code == "server_error"


def test_openai_embeddings_and_completions(client: openai.OpenAI) -> None:
    embedded = client.embeddings.create(model="text-embedder", input=["12"], encoding_format="float")
    assert (embedded.data[0].embedding, embedded.usage.prompt_tokens) == ([0.1, -0.25], 5)
    assert client.completions.create(model="base", prompt="12 + 7 =").choices[0].text == " nineteen"
    stream = client.completions.create(model="texts", prompt="12 + 7 =", stream=True)
    assert [chunk.choices[0].text for chunk in stream] == [" nine", "teen"]
    with pytest.raises(openai.NotFoundError, match="apis"):
        client.embeddings.create(model="corea", input="12")


@pytest.fixture
async def langchain(gateway: GatewayProcess) -> Any:
    from langchain_openai import ChatOpenAI
    from pydantic import SecretStr

    made = ChatOpenAI(
        model="corea", base_url=gateway.url, api_key=SecretStr(gateway.key), max_retries=0, use_responses_api=True
    )
    yield made
    await made.root_async_client.close()


async def test_langchain_asks_streams_and_calls_by_responses(langchain: Any) -> None:
    answer = langchain.invoke("easy: 12 + 7?")
    assert (answer.text, answer.usage_metadata["total_tokens"] > 0) == ("19", True)
    chunks = list(langchain.stream("hard: 12 + 7?"))
    assert "".join(chunk.text for chunk in chunks) == LARGE
    assert (await langchain.ainvoke("hard: 12 + 7?")).text == LARGE
    asked = [("user", "easy: 12 + 7?")]
    bound = langchain.bind_tools([{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}])
    called = bound.invoke(asked)
    assert [(call["name"], call["args"]) for call in called.tool_calls] == [("add", {"a": 12, "b": 7})]
    after = bound.invoke(
        [*asked, called, {"role": "tool", "tool_call_id": called.tool_calls[0]["id"], "content": "19"}]
    )
    assert after.text == LARGE
    assert langchain.with_structured_output(Sum).invoke("easy: 12 + 7?") == Sum(sum=19)


async def test_langchain_embeds(gateway: GatewayProcess) -> None:
    from langchain_openai import OpenAIEmbeddings
    from pydantic import SecretStr

    made = OpenAIEmbeddings(
        model="text-embedder", base_url=gateway.url, api_key=SecretStr(gateway.key), check_embedding_ctx_length=False
    )
    assert made.embed_query("12") == [0.1, -0.25]
