"""LiteLLM, pydantic-ai, instructor and `llm`, unchanged, against a gateway: python others.py BASE_URL KEY.

Runs in .venv/clients (`make clients`), without COREA: see requirements.txt.
"""

# pyright: reportMissingImports=false

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

URL, KEY = sys.argv[1:]
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # no request for the prices of today

import instructor  # noqa: E402
import litellm  # noqa: E402
import openai  # noqa: E402
from pydantic import BaseModel  # noqa: E402
from pydantic_ai import Agent, NativeOutput  # noqa: E402
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel  # noqa: E402
from pydantic_ai.providers.openai import OpenAIProvider  # noqa: E402

LARGE = "It is nineteen, surely."
EASY, HARD = "easy: 12 + 7?", "hard: 12 + 7?"
PARAMETERS = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}}
TOOLS = [{"type": "function", "function": {"name": "add", "parameters": PARAMETERS}}]


class Sum(BaseModel):
    """12 + 7."""

    sum: int


def ask(text):
    """The messages of a question."""
    return [{"role": "user", "content": text}]


def of_litellm():
    """Whole, streamed, a tool, an error."""
    server = {"model": "openai/corea", "api_base": URL, "api_key": KEY, "num_retries": 0}
    kept = litellm.completion(messages=ask(EASY), **server)
    assert kept.choices[0].message.content == "19", kept
    assert kept.usage.total_tokens > 0
    pieces = litellm.completion(messages=ask(HARD), stream=True, **server)
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == LARGE
    [call] = litellm.completion(messages=ask(EASY), tools=TOOLS, **server).choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("add", {"a": 12, "b": 7})
    assert litellm.responses(input=HARD, **server).output[0].content[0].text == LARGE
    try:
        litellm.completion(messages=ask("status 429"), **server)
    except litellm.RateLimitError:
        return
    raise AssertionError("no RateLimitError")


def of_pydantic_ai():
    """Whole, streamed and a loop with a tool, by both of OpenAI's APIs; a form of the answer."""
    provider = OpenAIProvider(base_url=URL, api_key=KEY)
    for kind in (OpenAIChatModel, OpenAIResponsesModel):
        model = kind("corea", provider=provider)
        assert Agent(model).run_sync(EASY).output == "19"
        assert Agent(model).run_sync(HARD).output == LARGE
        asyncio.run(streams(Agent(model)))
        added = []
        agent = Agent(model, tools=[adder(added)])
        assert agent.run_sync(EASY).output == LARGE
        assert added == [(12, 7)]
        assert Agent(model, output_type=NativeOutput(Sum)).run_sync(EASY).output == Sum(sum=19)


def adder(added):
    """A tool that notes its calls in `added`."""

    def add(a: int, b: int) -> int:
        added.append((a, b))
        return a + b

    return add


async def streams(agent):
    """The pieces of a streamed answer."""
    async with agent.run_stream(HARD) as result:
        assert [text async for text in result.stream_text()][-1] == LARGE


def of_instructor():
    """A form of the answer."""
    client = instructor.from_openai(
        openai.OpenAI(base_url=URL, api_key=KEY, max_retries=0), mode=instructor.Mode.JSON_SCHEMA
    )
    assert client.create(model="corea", messages=ask(EASY), response_model=Sum, max_retries=0).sum == 19


def of_llm():
    """The command line, whole and streamed."""
    with tempfile.TemporaryDirectory() as folder:
        model = f"- model_id: corea\n  model_name: corea\n  api_base: {URL}\n  api_key_name: corea\n"
        (Path(folder) / "extra-openai-models.yaml").write_text(model)
        command = [sys.executable, "-m", "llm", "-m", "corea", "--key", KEY, "--no-log"]
        environment = {**os.environ, "LLM_USER_PATH": folder}
        for words, said in (([HARD], LARGE), ([HARD, "--no-stream"], LARGE), ([EASY], "19")):
            done = subprocess.run([*command, *words], env=environment, capture_output=True, text=True, timeout=60)
            assert (done.returncode, done.stdout.strip()) == (0, said), done


for check in (of_litellm, of_pydantic_ai, of_instructor, of_llm):
    check()
    print(f"ok: {check.__name__[3:]}")
print("all passed")
