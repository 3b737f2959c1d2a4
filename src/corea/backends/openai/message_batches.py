"""Anthropic's Message Batches, and the choice of a server's batch API."""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from corea.backends.openai import wire
from corea.backends.openai.apis import APIS
from corea.backends.openai.batches import NOT_RUN, ApiServer, BatchApi, BatchState, ChatBatches
from corea.backends.openai.client import OpenAIBackend
from corea.backends.openai.messages_api import STATUS
from corea.backends.openai.settings import CHAT, PATHS
from corea.errors import BackendError, ConfigError
from corea.types import LIMITS, Completion, Question, Sampling

ANTHROPIC = "api.anthropic.com"
LEAST_TOKENS = 1024  # of a request without a limit, which must have one
LACKING = ("logprobs", "seed", "n")  # fields of a chat that a message has not

_decode = msgspec.json.decode


def batches_of(backend: Any, where: str) -> BatchApi:
    """The batch API of a backend's server.

    Raises:
        ConfigError: It has none that is known.
    """
    if not isinstance(backend, OpenAIBackend) or backend.settings.azure_deployment:
        raise ConfigError(
            f'{where}.batch: got it with another backend than one address of kind "openai", expected that; leave it '
            "out (Azure: base_url = https://NAME.openai.azure.com/openai/v1, without azure_deployment)"
        )
    settings = backend.settings
    if urlsplit(settings.base_url).hostname == ANTHROPIC or ("messages" in settings.apis and CHAT not in settings.apis):
        return MessageBatches(backend)
    return ChatBatches(backend)


class MessageBatches(ApiServer):
    """Anthropic's Message Batches."""

    head: bytes = b'{"requests":[\n'
    joint: bytes = b",\n"
    tail: bytes = b"\n]}"
    max_lines: int = 100_000
    max_bytes: int = 256_000_000

    def __init__(self, backend: OpenAIBackend) -> None:
        super().__init__(backend)
        self.headers: Mapping[str, str] = APIS["messages"].headers

    def line(self, custom_id: str, question: Question, sampling: Sampling) -> bytes:
        """One request."""
        return msgspec.json.encode({"custom_id": custom_id, "params": self._params(question, sampling)})

    async def create(self, path: Path, key: str) -> str:
        """Creates the batch and returns its id; its key is in the ids of the requests."""
        with path.open("rb") as file:
            return str((await self.json("POST", f"{PATHS['messages']}/batches", file))["id"])

    async def candidates(self, since: float) -> AsyncIterator[BatchState]:
        """Batches created since then."""
        after = ""
        while True:
            page = await self.json("GET", f"{PATHS['messages']}/batches?limit=100{after}")
            for each in page.get("data") or ():
                if datetime.fromisoformat(str(each["created_at"])).timestamp() < since:
                    return
                yield self._state(each)
            if not page.get("has_more") or not page.get("data"):
                return
            after = f"&after_id={quote(str(page['last_id']))}"

    async def look(self, batch_id: str) -> BatchState:
        """The state of a batch."""
        return self._state(await self.json("GET", f"{PATHS['messages']}/batches/{quote(batch_id, safe='')}"))

    async def cancel(self, batch_id: str) -> None:
        """Asks for an end; finished requests are charged, and their results come."""
        await self.json("POST", f"{PATHS['messages']}/batches/{quote(batch_id, safe='')}/cancel")

    def result(self, line: bytes, question: Question, sampling: Sampling) -> Completion | BackendError:
        """The result of one request."""
        read = _decode(line, type=_MessageResult).result
        if read.type == "succeeded":
            return self.backend.completion_of(bytes(read.message), question, sampling, api="messages")
        if read.type in NOT_RUN:
            return self.refused({"code": read.type, "message": f"the request {read.type} in its batch"}, None)
        error = wire.error_of(_decode(read.error))
        return self.refused(error.body, STATUS.get(error.code or "", 500))

    def _params(self, question: Question, sampling: Sampling) -> dict[str, Any]:
        """The fields of a chat request as those of a message."""
        asked: dict[str, Any] = _decode(self.backend.chat_body(question, sampling))
        system = [each["content"] for each in asked["messages"] if each["role"] == "system"]
        turns = [each for each in asked["messages"] if each["role"] != "system"]
        if any(message.raw is not None for message in question.messages):
            raise ConfigError(
                f"{self.settings.where}: question {question.id!r} has more than text, which is not sent in a batch of "
                "messages; expected text, or a stage without batch"
            )
        if wrong := next((name for name in LACKING if name in asked), None):
            raise ConfigError(
                f"{self.settings.where}: got {wrong} in a batch of messages, which has none; leave it out"
            )
        limits = [limit for name in LIMITS if (limit := asked.pop(name, None)) is not None]
        params = {**asked, "messages": turns, "max_tokens": min(limits, default=LEAST_TOKENS)}
        if system:
            params["system"] = "\n\n".join(system)
        if (stop := params.pop("stop", None)) is not None:
            params["stop_sequences"] = [stop] if isinstance(stop, str) else stop
        return params

    def _state(self, batch: Any) -> BatchState:
        ended = batch.get("processing_status") == "ended"
        where = f"{PATHS['messages']}/batches/{quote(str(batch['id']), safe='')}/results"
        return BatchState(
            id=str(batch["id"]),
            status=str(batch.get("processing_status")),
            ended=ended,
            total=sum((batch.get("request_counts") or {}).values()),
            outputs=(where,) if ended and batch.get("results_url") else (),
        )


class _Result(msgspec.Struct):
    type: str
    message: msgspec.Raw = msgspec.Raw(b"{}")
    error: msgspec.Raw = msgspec.Raw(b"{}")


class _MessageResult(msgspec.Struct):
    result: _Result
