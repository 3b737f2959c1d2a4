"""Conversations that were deferred and stay so for a while."""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field

from corea.gateway.chat.request import ChatRequest


@dataclass(slots=True)
class SessionAffinity:
    """Remembers deferred conversations, the newest `capacity` of them, each for a number of further requests.

    A conversation is the `corea.session` that a request names, else its messages up to the first answer in it, which
    later requests repeat; always together with the key that asks.
    """

    capacity: int = 10_000
    left: OrderedDict[str, int] = field(default_factory=OrderedDict[str, int])

    def session(self, request: ChatRequest, key_id: str | None) -> str:
        """What stands for the request's conversation."""
        digest = hashlib.sha256(f"{key_id}\0{request.model}\0".encode())
        if request.controls.session is not None:
            digest.update(b"named\0" + request.controls.session.encode())
        else:
            for message in request.messages:
                if message.role == "assistant":
                    break
                digest.update(f"{message.role}\0{message.content}\0".encode())
        return digest.hexdigest()

    def holds(self, session: str) -> bool:
        """Whether the conversation is to stay deferred; counts one request of it."""
        turns = self.left.get(session, 0)
        if turns <= 1:
            self.left.pop(session, None)
        else:
            self.left[session] = turns - 1
        return turns > 0

    def keep(self, session: str, turns: int) -> None:
        """The conversation was deferred: so are its next `turns` requests."""
        self.left[session] = turns
        self.left.move_to_end(session)
        while len(self.left) > self.capacity:
            self.left.popitem(last=False)
