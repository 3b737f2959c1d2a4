"""A server with a batch API, OpenAI's and Anthropic's, that loses answers or dies when told, and keeps a bill.

    async with BatchServer(answer) as server:
        server.faults = {"create": "lose"}      # the first creation is done, and its answer lost
        server.fates["What is 3"] = ["expired"] # the first result of that question
        ... base_url=server.base_url ...
        server.created, server.batch_tokens, server.live_tokens

Its steps: upload, create, list, look, fetch, cancel, chat. Its tokens are words.
"""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

CREATED = 1_700_000_000


@dataclass(slots=True)
class Batch:
    """One batch as the server has it."""

    id: str
    requests: list[dict[str, Any]]
    metadata: dict[str, str]
    looks: int = 0
    status: str = "in_progress"
    output: list[bytes] = field(default_factory=list)
    errors: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class BatchServer:
    """The server.

    Attributes:
        answer: The reply to a question's text.
        faults: By step: "lose" does it and cuts the connection, "die" cuts before, "busy" answers 500; used once.
        fates: By a question's text: what happens to its next results: "expired", "garbage", "missing", "wrong id",
            "unreadable", "twice", or a status.
        looks_needed: Looks at a batch before it has ended.
        ends_as: How batches end.
        on_step: Awaited before and after each step, with its name and "before" or "after".
    """

    answer: Callable[[str], str]
    faults: dict[str, str] = field(default_factory=dict)
    fates: dict[str, list[Any]] = field(default_factory=dict)
    looks_needed: int = 2
    ends_as: str = "completed"
    steps: Counter[str] = field(default_factory=Counter)
    files: dict[str, bytes] = field(default_factory=dict)
    batches: list[Batch] = field(default_factory=list)
    batch_tokens: Counter[str] = field(default_factory=Counter)
    live_tokens: Counter[str] = field(default_factory=Counter)
    on_step: Callable[[str, str], Awaitable[None]] | None = None
    created_at: float = 4_000_000_000.0
    base_url: str = ""
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> "BatchServer":
        app = web.Application(client_max_size=300 * 2**20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.base_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    @property
    def created(self) -> int:
        """Batches that were created."""
        return len(self.batches)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path, method = request.path.removeprefix("/v1"), request.method
        if path.startswith("/no/"):
            return web.json_response({"error": {"message": "no such path"}}, status=404)
        raw = await request.read() if path != "/files" else b""
        step = self._step(path, method)
        self.steps[step] += 1
        fault = self.faults.pop(step, None)
        if self.on_step is not None:
            await self.on_step(step, "before")
        if fault == "busy":
            return web.json_response({"error": {"message": "busy"}}, status=500)
        if fault != "die":
            done = await self._upload(request) if step == "upload" else self._do(step, path, request, raw)
            if self.on_step is not None:
                await self.on_step(step, "after")
            if fault is None:
                return done
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    def _step(self, path: str, method: str) -> str:
        if path == "/files":
            return "upload"
        if path.endswith("/cancel"):
            return "cancel"
        if path.endswith(("/content", "/results")):
            return "fetch"
        if path.endswith("/batches"):
            return "create" if method == "POST" else "list"
        return "look" if "/batches/" in path else "chat"

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        assert form["purpose"] == "batch"
        name = f"file-{len(self.files)}"
        self.files[name] = form["file"].file.read()  # pyright: ignore
        return web.json_response({"id": name})

    def _do(self, step: str, path: str, request: web.Request, raw: bytes) -> web.Response:
        anthropic = path.startswith("/messages")
        parts = path.strip("/").split("/")
        if step == "chat":
            return web.json_response(self.reply(json.loads(raw), self.live_tokens))
        if step == "create":
            body = json.loads(raw)
            lines = body["requests"] if anthropic else map(json.loads, self.files[body["input_file_id"]].splitlines())
            self.batches.append(Batch(f"batch-{self.created}", list(lines), body.get("metadata", {})))
            return web.json_response(self._state(self.batches[-1], anthropic=anthropic))
        if step == "list":
            for batch in self.batches:
                self._work(batch, anthropic=anthropic)
            data = [self._state(batch, anthropic=anthropic) for batch in reversed(self.batches)]
            after = request.query.get("after") or request.query.get("after_id")
            data = data[next((n for n, each in enumerate(data, 1) if each["id"] == after), 0) :]
            page = {"data": data[:1], "has_more": len(data) > 1, "last_id": data[0]["id"] if data else None}
            return web.json_response(page)
        if step == "fetch" and not anthropic:
            batch = self._batch(parts[1].rpartition("-")[0])
            lines = batch.output if parts[1].endswith("-output") else batch.errors
            return web.Response(body=b"\n".join(lines))
        batch = self._batch(parts[2] if anthropic else parts[1])
        if step == "fetch":
            return web.Response(body=b"\n".join([*batch.output, *batch.errors]))
        if step == "cancel":
            self._end(batch, anthropic=anthropic, cancelled=True)
        else:
            self._work(batch, anthropic=anthropic)
        return web.json_response(self._state(batch, anthropic=anthropic))

    def finish(self, batch: Batch) -> None:
        """Ends a batch, with its results in one piece."""
        self._end(batch, anthropic=False)
        batch.output = [b"\n".join(batch.output)]

    def _work(self, batch: Batch, *, anthropic: bool) -> None:
        batch.looks += 1
        if batch.looks >= self.looks_needed and batch.status == "in_progress":
            self._end(batch, anthropic=anthropic)

    def _batch(self, identity: str) -> Batch:
        return next(batch for batch in self.batches if batch.id == identity)

    def _state(self, batch: Batch, *, anthropic: bool) -> dict[str, Any]:
        if anthropic:
            ended = batch.status != "in_progress"
            return {
                "id": batch.id, "processing_status": "ended" if ended else "in_progress",
                "created_at": "2096-10-02T07:06:40Z", "results_url": "https://elsewhere/results" if ended else None,
                "request_counts": {"processing": len(batch.requests), "succeeded": 0},
            }  # fmt: skip
        there = batch.status in ("completed", "expired", "cancelled")
        return {
            "id": batch.id, "status": batch.status, "created_at": self.created_at, "metadata": batch.metadata,
            "output_file_id": f"{batch.id}-output" if there and batch.output else None,
            "error_file_id": f"{batch.id}-error" if there and batch.errors else None,
            "errors": {"data": [{"message": "too many enqueued tokens"}]} if batch.status == "failed" else None,
            "request_counts": {"total": len(batch.requests)},
        }  # fmt: skip

    def _end(self, batch: Batch, *, anthropic: bool, cancelled: bool = False) -> None:
        batch.status = "cancelled" if cancelled else self.ends_as
        self.ends_as = "completed"
        if batch.status == "failed":
            return
        for number, request in enumerate(reversed(batch.requests)):  # in another order than they came
            body = request["params"] if anthropic else request["body"]
            fates = self.fates.get(body["messages"][-1]["content"], [])
            fate = fates.pop(0) if fates else ("expired" if cancelled and number else None)
            if batch.status == "expired" and number % 2:
                fate = "expired"
            self._result(batch, request["custom_id"], body, fate, anthropic=anthropic)

    def _result(self, batch: Batch, identity: str, body: dict[str, Any], fate: Any, *, anthropic: bool) -> None:
        if fate == "expired" or isinstance(fate, int):
            batch.errors.append(json.dumps(_refusal(identity, fate, anthropic=anthropic)).encode())
            return
        reply = self.reply(body, self.batch_tokens, anthropic=anthropic)
        if fate == "unreadable":
            reply = {"usage": reply["usage"], "type": "message", "choices": []}
        if fate == "wrong id":
            identity = f"somebody-{identity}"
        line = {"custom_id": identity, "response": {"status_code": 200, "body": reply}, "error": None}
        if anthropic:
            line = {"custom_id": identity, "result": {"type": "succeeded", "message": reply}}
        if fate != "missing":
            batch.output.append(b"\xff{ no json" if fate == "garbage" else json.dumps(line).encode())
        if fate == "twice":
            batch.output.append(json.dumps(line).replace(reply["model"], "other").encode())

    def reply(
        self, body: dict[str, Any], bill: Counter[str] | None = None, *, anthropic: bool = False
    ) -> dict[str, Any]:
        """A reply in the form of an API, put on a bill (by default of batches)."""
        bill = self.batch_tokens if bill is None else bill
        texts = [message["content"] for message in body["messages"]]
        text = self.answer(texts[-1])
        prompt, written = sum(len(each.split()) for each in (*texts, body.get("system") or "")), len(text.split())
        bill["calls"] += 1
        bill[f"{body['model']} in"] += prompt
        bill[f"{body['model']} out"] += written
        if anthropic:
            return {
                "id": "msg", "type": "message", "role": "assistant", "model": body["model"], "stop_reason": "end_turn",
                "content": [{"type": "text", "text": text}],
                "usage": {"input_tokens": prompt, "output_tokens": written},
            }  # fmt: skip
        return {
            "id": "chat", "object": "chat.completion", "created": 0, "model": body["model"],
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
            "usage": {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written},
        }  # fmt: skip


def _refusal(identity: str, fate: Any, *, anthropic: bool) -> dict[str, Any]:
    if anthropic:
        if fate == "expired":
            return {"custom_id": identity, "result": {"type": "expired"}}
        kind = "invalid_request_error" if fate == 400 else "api_error"
        error = {"type": "error", "error": {"type": kind, "message": "refused"}}
        return {"custom_id": identity, "result": {"type": "errored", "error": error}}
    if fate == "expired":
        error = {"code": "batch_expired", "message": "This request could not be executed in time."}
        return {"custom_id": identity, "response": None, "error": error}
    body = {"error": {"message": "refused", "code": None}}
    return {"custom_id": identity, "response": {"status_code": fate, "body": body}, "error": None}


@contextmanager
def running_batches(answer: Callable[[str], str]) -> Iterator[BatchServer]:
    """A server that runs in a thread of its own, so that it outlives its clients."""
    loop = asyncio.new_event_loop()
    server = BatchServer(answer)
    loop.run_until_complete(server.__aenter__())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.__aexit__(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
