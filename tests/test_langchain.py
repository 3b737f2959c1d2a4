"""`ChatCorea`, by LangChain's own standard tests and by what it gives beside them."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk
from langchain_core.tools import tool
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from corea.backends.fake import FakeBackend
from corea.cascade import Cascade
from corea.errors import BackendError, BackendRefused, ConfigError
from corea.langchain import ChatCorea
from corea.policies.threshold import Threshold
from corea.signals.verbalized import Verbalized
from corea.stage import Stage
from corea.types import Completion, Question, Sampling, Usage

SURE = "<think>It is 19.</think><answer>nineteen</answer><confidence>0.9</confidence>"
UNSURE = "<answer>18</answer><confidence>0.1</confidence>"
VALUES = {"integer": 3, "number": 1.5, "boolean": True, "array": [], "object": {}}


class Large:
    """A model that calls the first tool that it is offered, with arguments of the right types, and then says 19."""

    model = "large-model"

    def __init__(self) -> None:
        self.asked: list[tuple[Question, Sampling]] = []

    async def complete(self, question: Question, sampling: Sampling) -> Completion:
        self.asked.append((question, sampling))
        tools, usage = sampling.extra.get("tools"), Usage(prompt_tokens=9, completion_tokens=2)
        if not tools or question.messages[-1].role == "tool" or sampling.extra.get("tool_choice") == "none":
            return Completion(text="It is 19.", model=self.model, usage=usage, finish_reason="stop")
        function = tools[0]["function"]
        fields = function.get("parameters", {}).get("properties", {})
        text = question.messages[-1].content
        arguments = json.dumps({name: _value(field, text) for name, field in fields.items()})
        call = {"id": "call_1", "type": "function", "function": {"name": function["name"], "arguments": arguments}}
        raw = {"tool_calls": [call]}
        return Completion(text="", model=self.model, usage=usage, finish_reason="tool_calls", raw=raw)


def _value(field: dict[str, Any], text: str) -> Any:
    kinds = [kind.get("type") for kind in (field, *field.get("anyOf", ()))]
    return text if "string" in kinds else next((VALUES[kind] for kind in kinds if kind in VALUES), None)


def cascade(small: Any = SURE, large: Any = None) -> Cascade:
    first = Stage(name="small", backend=FakeBackend("small-model", small), signal=Verbalized(), policy=Threshold(0.8))
    return Cascade(stages=(first, Stage(name="large", backend=large or Large())), name="pair")


class TestUnit(ChatModelUnitTests):
    """LangChain's tests without calls."""

    @property
    def chat_model_class(self) -> type[ChatCorea]:
        return ChatCorea

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"cascade": cascade()}


class TestCalls(ChatModelIntegrationTests):
    """LangChain's tests with calls, all of them to scripted models."""

    @property
    def chat_model_class(self) -> type[ChatCorea]:
        return ChatCorea

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"cascade": cascade()}


def test_the_kept_answer_comes_without_its_tags_and_with_what_the_cascade_knows() -> None:
    answer = ChatCorea(cascade=cascade()).invoke("12 + 7?")
    assert answer.content == "nineteen"
    told = answer.response_metadata
    assert (told["model_name"], told["corea"]["stage"], told["corea"]["confidence"]) == ("small-model", "small", 0.9)


async def test_the_same_whole_and_streamed_sync_and_async() -> None:
    for small, content, stage in ((SURE, "nineteen", "small"), (UNSURE, "It is 19.", "large")):
        model = ChatCorea(cascade=cascade(small))
        added = [AIMessageChunk(content="")]
        for chunk in await asyncio.to_thread(lambda model=model: list(model.stream("12 + 7?"))):
            added.append(added[-1] + chunk)
        streamed = [chunk async for chunk in model.astream("12 + 7?")]
        whole = await model.ainvoke("12 + 7?")
        assert whole.content == content
        assert added[-1].content == "".join(str(chunk.content) for chunk in streamed) == content
        assert added[-1].response_metadata["corea"]["stage"] == whole.response_metadata["corea"]["stage"] == stage
        assert added[-1].usage_metadata == whole.usage_metadata


def test_a_call_of_a_tool_comes_from_the_last_stage_and_its_result_goes_back() -> None:
    @tool
    def add(a: int, b: int) -> int:
        """Adds."""
        return a + b

    large = Large()
    model = ChatCorea(cascade=cascade(large=large)).bind_tools([add], tool_choice="any")
    asked = model.invoke("12 + 7?")
    assert [(call["name"], call["args"]) for call in asked.tool_calls] == [("add", {"a": 3, "b": 3})]
    assert large.asked[0][1].extra["tool_choice"] == "required"
    result = add.invoke(asked.tool_calls[0])
    assert model.invoke(["12 + 7?", asked, result]).content == "It is 19."
    sent = large.asked[1][0].messages
    assert [(message.role, message.content) for message in sent] == [
        ("user", "12 + 7?"),
        ("assistant", ""),
        ("tool", "6"),
    ]


def test_arguments_that_are_no_json_are_an_invalid_call() -> None:
    class Broken(Large):
        async def complete(self, question: Question, sampling: Sampling) -> Completion:
            call = {"id": "c", "type": "function", "function": {"name": "add", "arguments": "{"}}
            return Completion(text="", model="m", usage=Usage(), raw={"tool_calls": [call]})

    answer = ChatCorea(cascade=cascade(UNSURE, Broken())).invoke("12 + 7?")
    assert (answer.tool_calls, answer.invalid_tool_calls[0]["args"]) == ([], "{")


def test_errors_are_coreas_own() -> None:
    down = ChatCorea(cascade=cascade(BackendRefused("down"), FakeBackend(replies=BackendRefused("down"))))
    with pytest.raises(BackendError, match=r"(?i)model"):
        down.invoke("12 + 7?")
    with pytest.raises(BackendError, match=r"(?i)model"):
        list(down.stream("12 + 7?"))
    with pytest.raises(ConfigError, match="got 'other', expected one of pair"):
        ChatCorea(cascade=cascade(), model="other")
    with pytest.raises(ConfigError, match="temperature"):
        ChatCorea(cascade=cascade(), temperature=9.0).invoke("12 + 7?")


def test_a_configuration_file_names_its_cascades(tmp_path: Path) -> None:
    file = tmp_path / "corea.toml"
    file.write_text(
        '[cascade]\nname = "main"\nstages = ["only"]\n[stages.only.backend]\nkind = "fake"\nreplies = "19"\n'
    )
    assert ChatCorea(config=file).invoke("12 + 7?").content == "19"
    with pytest.raises(ConfigError, match="write one with `corea init`"):
        ChatCorea(config=tmp_path / "none.toml")
