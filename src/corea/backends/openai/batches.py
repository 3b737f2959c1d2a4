"""Batch APIs of providers: a file of requests goes up, its results can be fetched within a day, for less money.

    api = batches_of(backend, where, True, folder)
    api.line(custom_id, question, sampling)     # one request of the file
    await api.create(path, key)                 # not idempotent: look for the key with `candidates` first
    await api.look(batch_id)                    # its state
    await api.fetch(output, path)               # its results: JSON lines in any order
    api.result(line, question, sampling)        # a completion, or the error of this one request

Source: https://platform.openai.com/docs/api-reference/batch,
https://docs.anthropic.com/en/api/creating-message-batches
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import aiohttp
import msgspec

from corea.backends.openai import errors, wire
from corea.backends.openai.api_keys import KeyRedactor
from corea.backends.openai.client import OpenAIBackend
from corea.backends.openai.settings import CHAT_PATH, OpenAISettings
from corea.errors import BackendError
from corea.types import Completion, Question, Sampling

KEY_FIELD = "corea"  # of a batch's metadata
PIECE = 1 << 18  # bytes of a file read at once
NO_KEYS = KeyRedactor(())
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})  # OpenAI's
NOT_RUN = frozenset({"batch_expired", "batch_cancelled", "expired", "canceled"})  # of one request: it cost nothing

_decode = msgspec.json.decode


class BatchState(msgspec.Struct, frozen=True, kw_only=True):
    """A batch as its server describes it.

    Args:
        total: Its requests; 0 where that is not said.
        outputs: Paths of its results, once `ended`.
        error: The reason why the whole of it failed, "" if it did not.
        key: As given to `create`; None where the server keeps none: the results' ids then tell whose it is.
    """

    id: str
    status: str
    ended: bool
    total: int = 0
    outputs: tuple[str, ...] = ()
    error: str = ""
    key: str | None = None


class BatchApi(Protocol):
    """A provider's batch API, for one model.

    Args:
        head, joint, tail: Bytes of a file before, between and after its requests.
        max_lines, max_bytes: Limits of one file.
    """

    backend: OpenAIBackend
    head: bytes
    joint: bytes
    tail: bytes
    max_lines: int
    max_bytes: int

    def line(self, custom_id: str, question: Question, sampling: Sampling) -> bytes: ...

    async def create(self, path: Path, key: str) -> str: ...

    def candidates(self, since: float) -> AsyncIterator[BatchState]:
        """Batches created since then, newest first (seconds since 1970, by this machine's clock)."""
        ...

    async def look(self, batch_id: str) -> BatchState: ...

    async def fetch(self, output: str, path: Path) -> None:
        """Appends the results to a file."""
        ...

    async def cancel(self, batch_id: str) -> None: ...

    def result(self, line: bytes, question: Question, sampling: Sampling) -> Completion | BackendError: ...


class _Identified(msgspec.Struct):
    custom_id: str


_read_id = msgspec.json.Decoder(_Identified).decode


def custom_id_of(line: bytes) -> str | None:
    """The id of a line of results; None where it cannot be read."""
    try:
        return _read_id(line).custom_id
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


class ApiServer:
    """Requests to one server beside its chats."""

    def __init__(self, backend: OpenAIBackend) -> None:
        self.backend = backend
        self.settings: OpenAISettings = backend.settings
        self.headers: Mapping[str, str] = {}

    async def json(self, method: str, path: str, data: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        """The decoded body of a response."""
        body = msgspec.json.encode(data) if isinstance(data, dict) else data
        response, redactor = await self.backend.http.send(method, path, body, {**self.headers, **(headers or {})})
        try:
            received = redactor.hide_bytes(await self._read(response))
            if response.status != 200:
                raise errors.status_error(self.settings, response, received, redactor)
        finally:
            response.release()
        try:
            return _decode(received)
        except msgspec.DecodeError as error:
            raise errors.unreadable_error(self.settings, received, str(error)) from error

    async def fetch(self, output: str, path: Path) -> None:
        """Appends the body of a response to a file; a broken one leaves the file as it was."""
        response, redactor = await self.backend.http.send("GET", output, None, self.headers)
        try:
            if response.status != 200:
                raise errors.status_error(self.settings, response, await self._read(response), redactor)
            with path.open("ab") as file:
                size = file.tell()
                try:
                    async for piece in response.content.iter_chunked(PIECE):
                        file.write(redactor.hide_bytes(piece))
                except (aiohttp.ClientError, OSError, TimeoutError) as error:
                    file.truncate(size)
                    raise errors.body_error(self.settings, error, response.status) from error
                file.write(b"\n")
        finally:
            response.release()

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        try:
            return await asyncio.wait_for(response.read(), self.settings.total_timeout_seconds)
        except TimeoutError as error:
            raise errors.total_timeout_error(self.settings) from error
        except (aiohttp.ClientError, OSError) as error:
            raise errors.body_error(self.settings, error, response.status) from error

    def refused(self, error: Any, status: int | None, *, body: bytes = b"") -> BackendError:
        """The error of one request."""
        read = wire.error_of(error)
        spent = errors.billed_completion(self.settings, body) if body else None
        found = errors.server_error(self.settings, read, NO_KEYS, status=status, spent=spent)
        found.retryable = found.retryable or read.code in NOT_RUN
        return found


class ChatBatches(ApiServer):
    """OpenAI's Batch API, also of other servers that have it."""

    head: bytes = b""
    joint: bytes = b"\n"
    tail: bytes = b"\n"
    max_lines: int = 50_000
    max_bytes: int = 200_000_000

    def line(self, custom_id: str, question: Question, sampling: Sampling) -> bytes:
        """One request."""
        body = msgspec.Raw(self.backend.chat_body(question, sampling))
        fields = {"custom_id": custom_id, "method": "POST", "url": f"/v1{CHAT_PATH}", "body": body}
        return msgspec.json.encode(fields)

    async def create(self, path: Path, key: str) -> str:
        """Uploads the file, creates the batch, and returns its id."""
        with path.open("rb") as file:
            form = aiohttp.FormData({"purpose": "batch"})
            form.add_field("file", file, filename=path.name, content_type="application/jsonl")
            payload = form()
            uploaded = await self.json("POST", "/files", payload, {"Content-Type": payload.headers["Content-Type"]})
        wanted = {
            "input_file_id": uploaded["id"],
            "endpoint": f"/v1{CHAT_PATH}",
            "completion_window": "24h",
            "metadata": {KEY_FIELD: key},
        }
        return str((await self.json("POST", "/batches", wanted))["id"])

    async def candidates(self, since: float) -> AsyncIterator[BatchState]:
        """Batches created since then."""
        after = ""
        while True:
            page = await self.json("GET", f"/batches?limit=100{after}")
            for each in page.get("data") or ():
                if (each.get("created_at") or since) < since:
                    return
                yield self._state(each)
            if not page.get("has_more") or not page.get("data"):
                return
            after = f"&after={quote(str(page['data'][-1]['id']))}"

    async def look(self, batch_id: str) -> BatchState:
        """The state of a batch."""
        return self._state(await self.json("GET", f"/batches/{quote(batch_id, safe='')}"))

    async def cancel(self, batch_id: str) -> None:
        """Asks for an end; finished requests are charged, and their results come."""
        await self.json("POST", f"/batches/{quote(batch_id, safe='')}/cancel")

    def result(self, line: bytes, question: Question, sampling: Sampling) -> Completion | BackendError:
        """The result of one request."""
        read = _decode(line, type=_ChatResult)
        if read.response is None or read.response.status_code != 200:
            status = None if read.response is None else read.response.status_code
            body = b"" if read.response is None else bytes(read.response.body)
            return self.refused(read.error or _object(body), status, body=body)
        return self.backend.completion_of(bytes(read.response.body), question, sampling)

    def _state(self, batch: Any) -> BatchState:
        status, named = str(batch.get("status")), (batch.get("output_file_id"), batch.get("error_file_id"))
        faults = (batch.get("errors") or {}).get("data") or [] if isinstance(batch.get("errors"), dict) else []
        error = "; ".join(str(each.get("message")) for each in faults[:3]) or "the batch failed"
        return BatchState(
            id=str(batch["id"]),
            status=status,
            ended=status in ENDED,
            total=(batch.get("request_counts") or {}).get("total") or 0,
            outputs=tuple(f"/files/{quote(each, safe='')}/content" for each in named if each),
            error=wire.one_line(error) if status == "failed" else "",
            key=(batch.get("metadata") or {}).get(KEY_FIELD, ""),
        )


class _ChatResponse(msgspec.Struct):
    status_code: int = 0
    body: msgspec.Raw = msgspec.Raw(b"{}")


class _ChatResult(msgspec.Struct):
    response: _ChatResponse | None = None
    error: Any = None


def _object(body: bytes) -> Any:
    try:
        return _decode(body) if body else "no response"
    except msgspec.DecodeError:
        return body.decode("utf-8", "replace")
