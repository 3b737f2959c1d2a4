"""An OpenAI-compatible server that does what it is told, on loopback, and counts what it would have billed.

    async with FakeServer() as server:                          # answers "ready" to everything
        server.script = [Fail(429, retry_after="2"), Say("4")]  # in order; when used up, `server.otherwise`
        server.otherwise = lambda asked: Say(asked.question)    # an act, or a function of the request
        ... base_url=server.base_url ...
        server.requests[0].body, server.billed.calls, server.charges    # its own bill, by call

For benches: `with running() as url:` runs it in a thread of its own, `python -m tests.fakes.server` in a process of its
own (it prints its URL). Its tokens are words.
"""

import argparse
import asyncio
import json
import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

SSE = "text/event-stream"
PATHS = ("/chat/completions", "/messages", "/messages/count_tokens", "/responses", "/completions", "/embeddings")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request that came."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: dict[str, Any]
    raw: bytes

    @property
    def question(self) -> str:
        """The text of the last message."""
        content = self.body["messages"][-1]["content"] if self.body.get("messages") else ""
        return content if isinstance(content, str) else json.dumps(content)

    @property
    def prompt_tokens(self) -> int:
        """Words of all messages, or of the text of another API."""
        texts = [message.get("content") for message in self.body.get("messages", ())]
        return sum(len(str(text or "").split()) for text in (*texts, self.body.get("input"), self.body.get("prompt")))

    @property
    def streamed(self) -> bool:
        """Whether a stream was asked for."""
        return bool(self.body.get("stream"))


@dataclass(slots=True)
class Bill:
    """What the server would have charged for."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def add(self, prompt: int, completion: int) -> None:
        """One more call."""
        self.calls += 1
        self.prompt_tokens += prompt
        self.completion_tokens += completion


@dataclass(slots=True)
class Charge:
    """What the server charges for one request, by kind as OpenAI counts; grows while a stream is written.

    Args:
        told: The client was sent the usage object, whole. What is not told was in flight, or broke.
    """

    model: str
    prompt: int = 0
    cached: int = 0
    cache_write: int = 0
    completion: int = 0
    reasoning: int = 0
    told: bool = False

    @property
    def tokens(self) -> tuple[int, int, int, int, int]:
        """Prompt, cached, written to a cache, completion, reasoning."""
        return self.prompt, self.cached, self.cache_write, self.completion, self.reasoning


@dataclass(frozen=True, slots=True, kw_only=True)
class _Act:
    """What all acts have: a wait before the first byte."""

    delay_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Say(_Act):
    """Answers, streamed if that was asked for.

    Args:
        text: Billed word by word.
        usage: The usage object; True counts words, None leaves it out.
        charge: What is charged where `usage` is given: the fields of `Charge`.
        logprob: Of each word, with `top_logprobs` alternatives if asked; None gives null, as most servers do.
        message: Further fields of the message or of the first delta.
        fields: Further fields of the response, or of the last chunk.
        between_seconds: Waited before each piece of a stream: a slow drip.
        split_bytes: Writes a stream in pieces of so many bytes, whatever they cut through; 0 writes whole events.
        break_after: Cuts the connection after so many words of a stream, or half the body.
        clean_break: Ends the stream there instead, without a finish reason or [DONE].
        comment: A keep-alive comment before each event.
        done: Whether a stream ends in [DONE].
    """

    text: str = "ready"
    usage: Mapping[str, Any] | bool | None = True
    charge: Mapping[str, int] = field(default_factory=dict)
    reasoning: str = ""
    reasoning_field: str = "reasoning_content"
    finish_reason: str | None = None
    logprob: float | None = None
    model: str | None = None
    message: Mapping[str, Any] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    between_seconds: float = 0.0
    split_bytes: int = 0
    break_after: int | None = None
    clean_break: bool = False
    comment: str = ""
    done: bool = True


@dataclass(frozen=True, slots=True)
class Fail(_Act):
    """An error status; `retry_after` is written as it is, seconds or an HTTP date."""

    status: int
    message: str = "the fake server was told to fail"
    code: str | None = None
    retry_after: str | None = None
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reset(_Act):
    """Resets the connection before any byte; `billed` words are charged all the same."""

    billed: int = 0


@dataclass(frozen=True, slots=True)
class Hang(_Act):
    """Never answers (until the client gives up)."""


@dataclass(frozen=True, slots=True)
class Bytes(_Act):
    """Exactly these bytes: garbage, or a recorded response. `billed` is the completion tokens charged for it."""

    body: bytes
    content_type: str = "application/json"
    status: int = 200
    billed: int | None = None
    split_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Drip(_Act):
    """The beginning of a stream, and then nothing (until the client gives up)."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Echo(_Act):
    """Gives the request's own headers and body back, in an error or as the answer: what a careless server does."""

    status: int = 401


Act = Say | Fail | Reset | Hang | Drip | Bytes | Echo
Otherwise = Act | Callable[[Asked], Act]


class FakeServer:
    """The server; see the top of this file.

    Attributes:
        script: Acts for the next requests, taken from the front.
        otherwise: The act when the script is used up.
        keys: The keys it takes, as bearer token or `api-key`; empty takes any, or none.
        requests: Everything that was asked.
        billed: What it would have charged for.
        charges: The same, request by request.
        hung_up: Requests whose client went away before the end.
        running, peak: Requests under way now, and at most.
        hanging: Those that will never be answered.
        connections: Connections opened so far.
        free: Requests are held before their answers while it is not set.
    """

    def __init__(self, otherwise: Otherwise | None = None, *, keys: Sequence[str] = (), record: bool = True) -> None:
        self.script: list[Act] = []
        self.otherwise: Otherwise = otherwise or Say()
        self.keys = tuple(keys)
        self.requests: list[Asked] = []
        self.billed = Bill()
        self.charges: list[Charge] = []
        self.hung_up = 0
        self.running = 0
        self.hanging = 0
        self.peak = 0
        self.connections = 0
        self.base_url = ""
        self.free = asyncio.Event()
        self.free.set()
        self._record = record
        self._runner: web.AppRunner | None = None
        self._seen: set[int] = set()

    async def __aenter__(self) -> "FakeServer":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self, port: int = 0) -> str:
        """Listens; returns the base URL."""
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0, handler_cancellation=True)
        await self._runner.setup()
        listener = socket.create_server(("127.0.0.1", port))
        await web.SockSite(self._runner, listener, backlog=1024).start()
        self.base_url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        return self.base_url

    async def stop(self) -> None:
        """Stops listening and cuts what is open."""
        if self._runner:
            await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        if request.transport is not None and id(request.transport) not in self._seen:
            self._seen.add(id(request.transport))
            self.connections += 1
        if request.path.endswith("/models"):
            return web.json_response({"object": "list", "data": [{"id": "fake", "object": "model"}]})
        if not request.path.endswith(PATHS):
            return web.json_response({"detail": "Not Found"}, status=404)
        asked = Asked(request.path, request.query, request.headers, json.loads(raw), raw)
        if self._record:
            self.requests.append(asked)
        if self.keys and _key(request) not in self.keys:
            return _error(Fail(401, "Incorrect API key provided", "invalid_api_key"))
        if self.script:
            act = self.script.pop(0)
        else:
            act = self.otherwise(asked) if callable(self.otherwise) else self.otherwise
        self.running += 1
        self.peak = max(self.peak, self.running)
        charge = Charge(str(asked.body.get("model", "fake")))
        try:
            if act.delay_seconds:
                await asyncio.sleep(act.delay_seconds)
            await self.free.wait()
            return await self._perform(act, asked, request, charge)
        except (asyncio.CancelledError, ConnectionError):
            self.hung_up += 1
            charge.prompt = charge.prompt or asked.prompt_tokens  # it had begun to read
            raise
        finally:
            self.running -= 1
            if any(charge.tokens):
                self.charges.append(charge)

    async def _perform(self, act: Act, asked: Asked, request: web.Request, charge: Charge) -> web.StreamResponse:
        match act:
            case Say():
                answer = self._stream if asked.streamed else self._say
                return await answer(act, asked, request, charge)
            case Fail():
                if isinstance(act.body, Mapping) and "usage" in act.body:
                    charge.prompt, charge.completion = asked.prompt_tokens, act.body["usage"]["completion_tokens"]
                    charge.told = True
                return _error(act)
            case Reset():
                if act.billed:
                    self.billed.add(asked.prompt_tokens, act.billed)
                    charge.prompt, charge.completion = asked.prompt_tokens, act.billed
                return _cut(request)
            case Hang():
                return await self._hang()
            case Drip():
                response = web.StreamResponse(headers={"Content-Type": SSE})
                await response.prepare(request)
                await response.write(act.body)
                return await self._hang()
            case Bytes():
                if act.billed is not None:
                    self.billed.add(asked.prompt_tokens, act.billed)
                    charge.prompt, charge.completion = asked.prompt_tokens, act.billed
                    charge.told = b'"usage"' in act.body
                return await _bytes(act, request)
            case Echo():
                told = {"headers": dict(asked.headers), "body": asked.body}
                if act.status == 200:
                    return await self._say(Say(json.dumps(told)), asked, request, charge)
                return web.json_response({"error": {"message": json.dumps(told), "echo": told}}, status=act.status)

    async def _hang(self) -> web.StreamResponse:
        self.hanging += 1
        await asyncio.Event().wait()
        raise AssertionError

    async def _say(self, act: Say, asked: Asked, request: web.Request, charge: Charge) -> web.StreamResponse:
        words, cut = _limited(act.text, asked)
        _fill(charge, act, asked, len(words))
        self.billed.add(asked.prompt_tokens, len(words) + len(act.reasoning.split()))
        message: dict[str, Any] = {"role": "assistant", "content": "".join(words), **act.message}
        if act.reasoning:
            message[act.reasoning_field] = act.reasoning
        reply: dict[str, Any] = {
            **_head(act, asked, "chat.completion"),
            "choices": [
                {
                    "index": 0,
                    "message": message,
                    "logprobs": {"content": [_token(act, asked, w) for w in words]} if _wanted(act, asked) else None,
                    "finish_reason": act.finish_reason or ("length" if cut else "stop"),
                }
            ],
            **act.fields,
        }
        if act.usage is not None:
            reply["usage"] = _usage(act, asked, len(words))
        body = json.dumps(reply).encode()
        if act.break_after is not None:
            response = web.StreamResponse(
                headers={"Content-Length": str(len(body)), "Content-Type": "application/json"}
            )
            await response.prepare(request)
            await response.write(body[: len(body) // 2])
            await asyncio.sleep(0.01)  # else the reset overtakes what was written
            return _cut(request)
        charge.told = act.usage is not None
        return web.Response(body=body, content_type="application/json", headers=act.headers)

    async def _stream(self, act: Say, asked: Asked, request: web.Request, charge: Charge) -> web.StreamResponse:
        words, cut = _limited(act.text, asked)
        head = _head(act, asked, "chat.completion.chunk")
        response = web.StreamResponse(headers={"Content-Type": SSE, **act.headers})
        await response.prepare(request)

        async def send(choices: list[Any], **fields: Any) -> None:
            event = f"data: {json.dumps({**head, 'choices': choices, **fields})}\n\n"
            await _write(response, (f": {act.comment}\n\n{event}" if act.comment else event).encode(), act.split_bytes)

        prompt = asked.prompt_tokens
        self.billed.add(prompt, 0)
        charge.prompt = prompt
        await send([{"index": 0, "delta": {"role": "assistant", "content": "", **act.message}, "finish_reason": None}])
        for thought in act.reasoning.split(" ") if act.reasoning else ():
            self.billed.completion_tokens += 1
            charge.completion += 1
            charge.reasoning += 1
            await send([{"index": 0, "delta": {act.reasoning_field: thought + " "}, "finish_reason": None}])
        for number, word in enumerate(words):
            if number == act.break_after:
                await asyncio.sleep(0.01)  # else the reset overtakes what was written
                return response if act.clean_break else _cut(request)
            if act.between_seconds:
                await asyncio.sleep(act.between_seconds)
            self.billed.completion_tokens += 1
            charge.completion += 1
            logprobs = {"content": [_token(act, asked, word)]} if _wanted(act, asked) else None
            await send([{"index": 0, "delta": {"content": word}, "logprobs": logprobs, "finish_reason": None}])
        reason = act.finish_reason or ("length" if cut else "stop")
        await send([{"index": 0, "delta": {}, "finish_reason": reason}], **act.fields)
        if act.usage is not None and (asked.body.get("stream_options") or {}).get("include_usage"):
            await send([], usage=_usage(act, asked, len(words)))
            _fill(charge, act, asked, len(words))
            charge.told = True
        if act.done:
            await _write(response, b"data: [DONE]\n\n", act.split_bytes)
        return response


def _words(text: str) -> list[str]:
    first, *rest = text.split(" ")
    return [first, *(" " + word for word in rest)] if text else []


def _limited(text: str, asked: Asked) -> tuple[list[str], bool]:
    words = _words(text)
    limit = asked.body.get("max_tokens") or asked.body.get("max_completion_tokens")
    return (words[:limit], len(words) > limit) if limit else (words, False)


def _head(act: Say, asked: Asked, kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-fake", "object": kind, "created": 0, "model": act.model or asked.body.get("model", "fake")}


def _usage(act: Say, asked: Asked, words: int) -> Mapping[str, Any]:
    if not isinstance(act.usage, bool):
        return act.usage or {}
    thought = len(act.reasoning.split())
    prompt, completion = asked.prompt_tokens, words + thought
    usage: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    if thought:
        usage["completion_tokens_details"] = {"reasoning_tokens": thought}
    return usage


def _fill(charge: Charge, act: Say, asked: Asked, words: int) -> None:
    """Writes a whole answer into its charge."""
    thought = len(act.reasoning.split())
    charge.prompt, charge.completion, charge.reasoning = asked.prompt_tokens, words + thought, thought
    for name, count in act.charge.items():
        setattr(charge, name, count)


def _wanted(act: Say, asked: Asked) -> bool:
    return act.logprob is not None and bool(asked.body.get("logprobs"))


def _token(act: Say, asked: Asked, word: str) -> dict[str, Any]:
    top = [{"token": word, "logprob": act.logprob, "bytes": list(word.encode())}]
    top += [
        {"token": f"alt{i}", "logprob": -10.0 - i, "bytes": None} for i in range(1, asked.body.get("top_logprobs") or 0)
    ]
    return {**top[0], "top_logprobs": top if asked.body.get("top_logprobs") else []}


def _key(request: web.Request) -> str:
    return request.headers.get("api-key") or request.headers.get("Authorization", "").removeprefix("Bearer ")


def _error(act: Fail) -> web.Response:
    headers = dict(act.headers)
    if act.retry_after is not None:
        headers["Retry-After"] = act.retry_after
    body = act.body if act.body is not None else {"error": {"message": act.message, "type": "fake", "code": act.code}}
    return web.json_response(body, status=act.status, headers=headers)


def _cut(request: web.Request) -> web.StreamResponse:
    """Resets the connection: with linger 0 the kernel sends RST, not a polite end."""
    transport = request.transport
    if transport is not None:
        raw: socket.socket | None = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()


async def _bytes(act: Bytes, request: web.Request) -> web.StreamResponse:
    if act.content_type != SSE and not act.split_bytes:
        return web.Response(body=act.body, status=act.status, headers={"Content-Type": act.content_type})
    response = web.StreamResponse(status=act.status, headers={"Content-Type": act.content_type})
    await response.prepare(request)
    await _write(response, act.body, act.split_bytes)
    return response


async def _write(response: web.StreamResponse, data: bytes, split: int) -> None:
    for start in range(0, len(data), split or len(data)):
        await response.write(data[start : start + (split or len(data))])
        if split:
            await asyncio.sleep(0)


@asynccontextmanager
async def serving(
    *script: Act, otherwise: Otherwise | None = None, keys: Sequence[str] = ()
) -> AsyncIterator[FakeServer]:
    """A server with a script, in this event loop."""
    async with FakeServer(otherwise, keys=keys) as server:
        server.script = list(script)
        yield server


@contextmanager
def running(otherwise: Otherwise | None = None, *, record: bool = False) -> Iterator[str]:
    """The URL of a server that runs in a thread of its own, for code that has its own event loop."""
    loop = asyncio.new_event_loop()
    server = FakeServer(otherwise, record=record)
    url = loop.run_until_complete(server.start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield url
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def main() -> None:
    """Serves until it is killed, and prints its URL first."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--text", default="<answer>4</answer>\n<confidence>0.9</confidence>")
    parser.add_argument("--delay-seconds", type=float, default=0.0)
    options = parser.parse_args()

    async def serve() -> None:
        server = FakeServer(Say(options.text, delay_seconds=options.delay_seconds), record=False)
        print(await server.start(options.port), flush=True)
        await asyncio.Event().wait()

    asyncio.run(serve())


if __name__ == "__main__":
    main()
