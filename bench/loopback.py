"""A server on loopback that answers every chat completion at once, in a process of its own.

It parses no more of a request than its length, so that the client, not the server, is what a benchmark measures.
"""

import asyncio
import json
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

REPLY = (
    "<think>Each of the four boxes holds six eggs, so there are 24 in all. Seven are taken out: 24 - 7 = 17. "
    "Checking: 17 + 7 = 24, and 24 / 6 = 4 boxes.</think>\n<answer>17</answer>\n<confidence>0.9</confidence>"
)
BODY = json.dumps(
    {
        "id": "chatcmpl-0",
        "object": "chat.completion",
        "created": 1,
        "model": "loopback",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": REPLY}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 180, "completion_tokens": 70, "total_tokens": 250},
    }
).encode()
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


class Answering(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, the same answer for every request."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # pyright: ignore[reportAttributeAccessIssue]
        self.data = b""

    def data_received(self, data: bytes) -> None:
        self.data += data
        while (end := self.data.find(b"\r\n\r\n")) >= 0:
            head = self.data[:end].lower()
            length = 0
            if (at := head.find(b"content-length:")) >= 0:
                length = int(head[at + 15 :].split(b"\r\n", 1)[0])
            if len(self.data) < end + 4 + length:
                return
            body, self.data = self.data[end + 4 : end + 4 + length], self.data[end + 4 + length :]
            self.respond(body)

    def respond(self, body: bytes) -> None:
        """Answers one request."""
        self.transport.write(RESPONSE)


async def _serve(tell: Connection) -> None:
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0)
    tell.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def _main(tell: Connection) -> None:
    try:
        asyncio.run(_serve(tell))
    except KeyboardInterrupt:
        pass


@contextmanager
def loopback() -> Iterator[str]:
    """The base URL of a running server, ended afterwards."""
    context = multiprocessing.get_context("spawn")
    hear, tell = context.Pipe(duplex=False)
    process = context.Process(target=_main, args=(tell,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{hear.recv()}/v1"
    finally:
        process.terminate()
        process.join()
