"""A cascade as a chat model of LangChain, in this process; needs the extra `langchain`.

`ChatCorea` answers as the gateway does, by the same code: tools and structured output go past the stages that do not
declare them, and the tags that a prompt asks for are not in the text.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, convert_to_openai_messages
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.output_parsers.openai_tools import make_invalid_tool_call, parse_tool_call
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import PrivateAttr, SkipValidation

from corea.background import background
from corea.build import BackendCache, build_all
from corea.cascade import Cascade
from corea.config import load_config, settings
from corea.errors import BackendError, ConfigError
from corea.gateway.billing.auth import OpenAccounts
from corea.gateway.chat.request import JSON, chat_request
from corea.gateway.chat.routing import RoutingTable
from corea.gateway.chat.service import ChatService
from corea.gateway.errors import GatewayError
from corea.gateway.ops.settings import GatewaySettings

T = TypeVar("T")
Tool = dict[str, Any] | type | Callable[..., Any] | BaseTool
SHOWN = ("role", "content", "tool_calls")


class ChatCorea(BaseChatModel):
    """A chat model that asks a cascade; `response_metadata["corea"]` has the stage, its confidence and the cost.

    Args:
        config: A configuration file with the cascades; its table `[gateway]` says what each stage accepts.
        cascade: One that was built in Python, in place of a file.
        model: A name that the gateway would serve: a cascade, a stage as "cascade/stage". The first cascade by default.
        temperature: Of the stages' models; None leaves their own.
        max_tokens: Limit of an answer.
        stop: Texts at which the visible answer ends.

    Raises:
        ConfigError: The file is invalid, or there is no such model.
    """

    config: Path = Path("corea.toml")
    cascade: SkipValidation[Cascade] | None = None
    model: str = ""
    temperature: float | None = None
    max_tokens: int | None = None
    stop: list[str] | None = None
    _service: ChatService = PrivateAttr()

    def __init__(self, **fields: Any) -> None:
        """Builds the cascades; no model is asked or loaded yet."""
        super().__init__(**fields)
        gateway = GatewaySettings()
        if self.cascade is not None:
            cascades: Mapping[str, Cascade] = {self.cascade.name: self.cascade}
        else:
            config = load_config(self.config)
            cascades, _ = build_all(config, BackendCache())
            gateway = settings(f"{config.source}: gateway", GatewaySettings, config.gateway)
        self.model = self.model or next(iter(cascades))
        self._service = ChatService(RoutingTable(cascades, gateway), gateway, OpenAccounts())
        try:
            self._service.routes.find(self.model)
        except GatewayError as error:
            raise ConfigError(error.message) from error

    @property
    def _llm_type(self) -> str:
        return "corea"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": self.model, "temperature": self.temperature, "max_tokens": self.max_tokens}

    def bind_tools(
        self, tools: Sequence[Tool], *, tool_choice: str | bool | dict[str, Any] | None = None, **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The model with tools that it may call.

        Args:
            tool_choice: "auto", "none", "required" ("any" and True are the same), a tool's name, or OpenAI's object.
        """
        if tool_choice is not None:
            kwargs["tool_choice"] = _choice(tool_choice)
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return background.run(self._answer(self._body(messages, stop, kwargs)))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return await self._answer(self._body(messages, stop, kwargs))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        chunks = self._chunks(self._body(messages, stop, kwargs))
        try:
            while (chunk := background.run(_next(chunks))) is not None:
                if run_manager:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk
        finally:
            background.run(_closed(chunks))

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        async for chunk in self._chunks(self._body(messages, stop, kwargs)):
            if run_manager:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    def _body(self, messages: list[BaseMessage], stop: list[str] | None, others: dict[str, Any]) -> JSON:
        """A chat request in OpenAI's form."""
        fields = {"temperature": self.temperature, "max_tokens": self.max_tokens, "stop": stop or self.stop or None}
        others = {name: value for name, value in others.items() if name != "ls_structured_output_format"}
        given = {name: value for name, value in fields.items() if value is not None}
        return {"model": self.model, **given, "messages": convert_to_openai_messages(messages), **others}

    async def _answer(self, body: JSON) -> ChatResult:
        try:
            state = await self._service.admit(chat_request(body), None)
            answer, _ = await self._service.answer(state, asyncio.Event().wait)
        except GatewayError as error:
            raise _raised(error) from error
        return _result(json.loads(answer))

    async def _chunks(self, body: JSON) -> AsyncIterator[ChatGenerationChunk]:
        body = {**body, "stream": True, "stream_options": {"include_usage": True}}
        arrived: asyncio.Queue[bytes | None] = asyncio.Queue()

        async def send(message: Mapping[str, Any]) -> None:
            arrived.put_nowait(message.get("body", b""))

        async def ask() -> None:
            try:
                state = await self._service.admit(chat_request(body), None)
                await self._service.stream(state, asyncio.Event().wait, send)
            finally:
                arrived.put_nowait(None)

        asking = asyncio.create_task(ask())
        try:
            while (events := await arrived.get()) is not None:
                for event in events.split(b"\n\n"):
                    if event.startswith(b"data: {"):
                        yield _chunk(json.loads(event.removeprefix(b"data: ")))
            await asking
        except GatewayError as error:
            raise _raised(error) from error
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)


async def _next(chunks: AsyncIterator[T]) -> T | None:
    return await anext(chunks, None)


async def _closed(chunks: Any) -> None:
    await chunks.aclose()


def _choice(choice: str | bool | dict[str, Any]) -> str | dict[str, Any]:
    """OpenAI's `tool_choice` for LangChain's."""
    if not isinstance(choice, str):
        return choice if isinstance(choice, dict) else "required" if choice else "none"
    if choice == "any":
        return "required"
    return choice if choice in ("auto", "none", "required") else {"type": "function", "function": {"name": choice}}


def _result(answer: JSON) -> ChatResult:
    """LangChain's form of a whole answer."""
    choice = answer["choices"][0]
    message, calls, invalid = choice["message"], list[Any](), list[Any]()
    for call in message.get("tool_calls") or ():
        try:
            calls.append(parse_tool_call(call, return_id=True))
        except Exception as error:  # arguments that are not JSON
            invalid.append(make_invalid_tool_call(call, str(error)))
    made = AIMessage(
        content=message.get("content") or "",
        tool_calls=calls,
        invalid_tool_calls=invalid,
        additional_kwargs={name: value for name, value in message.items() if name not in SHOWN},
        usage_metadata=_usage(answer["usage"]),
        response_metadata=_metadata(answer["corea"], choice["finish_reason"]),
    )
    return ChatResult(generations=[ChatGeneration(message=made)])


def _chunk(event: JSON) -> ChatGenerationChunk:
    """LangChain's form of one event of a stream.

    Raises:
        GatewayError: The stream broke off.
    """
    if (error := event.get("error")) is not None:
        raise GatewayError(502, error["message"], error["type"], error["code"], error["param"])
    choice: JSON = event["choices"][0] if event["choices"] else {"delta": {}}
    delta, ended, usage = choice["delta"], event.get("corea"), event.get("usage")
    calls = [
        tool_call_chunk(
            name=call.get("function", {}).get("name"), args=call.get("function", {}).get("arguments"),
            id=call.get("id"), index=call.get("index"),
        )
        for call in delta.get("tool_calls") or ()
    ]  # fmt: skip
    made = AIMessageChunk(
        content=delta.get("content") or "",
        tool_call_chunks=calls,
        additional_kwargs={name: value for name, value in delta.items() if name not in SHOWN},
        usage_metadata=_usage(usage) if usage else None,
        response_metadata=_metadata(ended, choice["finish_reason"]) if ended else {},
        chunk_position="last" if usage else None,
    )
    return ChatGenerationChunk(message=made)


def _metadata(corea: JSON, finish_reason: str | None) -> dict[str, Any]:
    return {"model_name": corea["model"], "model_provider": "corea", "finish_reason": finish_reason, "corea": corea}


def _usage(usage: JSON) -> UsageMetadata:
    return UsageMetadata(
        input_tokens=usage["prompt_tokens"],
        output_tokens=usage["completion_tokens"],
        total_tokens=usage["total_tokens"],
        input_token_details={"cache_read": usage["prompt_tokens_details"]["cached_tokens"]},
        output_token_details={"reasoning": usage["completion_tokens_details"]["reasoning_tokens"]},
    )


def _raised(error: GatewayError) -> Exception:
    """COREA's error for one of the gateway: of a model's server, or of the request."""
    retryable = error.status == 429 or error.status >= 500
    return (
        BackendError(error.message, status=error.status, retryable=retryable)
        if retryable
        else ConfigError(error.message)
    )
