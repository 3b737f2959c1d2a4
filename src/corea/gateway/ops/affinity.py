"""Session affinity: deferred conversations that skip the small model for a while."""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field

from corea.gateway.chat.request import ChatRequest


@dataclass(slots=True)
class SessionAffinity:
    """Remembers the newest `capacity` deferred conversations, each for a number of further requests.

    A conversation is the `corea.session` that a request names, else its messages up to the first answer in it, which
    later requests repeat; always together with the key.
    """

    capacity: int = 10_000
    turns_left: OrderedDict[str, int] = field(default_factory=OrderedDict[str, int])

    def take_turn(self, request: ChatRequest, key_id: str | None) -> bool:
        """True if the request's conversation stays deferred; counts as one of its turns."""
        session = session_of(request, key_id)
        turns = self.turns_left.get(session, 0)
        if turns <= 1:
            self.turns_left.pop(session, None)
        else:
            self.turns_left[session] = turns - 1
        return turns > 0

    def keep(self, request: ChatRequest, key_id: str | None, turns: int) -> None:
        """Keeps the request's conversation deferred for its next `turns` requests."""
        session = session_of(request, key_id)
        self.turns_left[session] = turns
        self.turns_left.move_to_end(session)
        while len(self.turns_left) > self.capacity:
            self.turns_left.popitem(last=False)


def session_of(request: ChatRequest, key_id: str | None) -> str:
    """Digest of the request's conversation and key."""
    digest = hashlib.sha256(f"{key_id}\0{request.body.model}\0".encode())
    if request.controls.session is not None:
        digest.update(b"named\0" + request.controls.session.encode())
    else:
        for message in request.messages:
            if message.role == "assistant":
                break
            digest.update(f"{message.role}\0{message.content}\0".encode())
    return digest.hexdigest()
