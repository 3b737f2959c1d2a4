"""Session affinity: deferred conversations that skip the small model for a while."""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from corea.gateway.chat.request import ChatRequest
from corea.types import Message

_encode = msgspec.json.Encoder(order="sorted").encode


SESSION_FIELDS = ("session_id", "conversation_id", "thread_id")


@dataclass(slots=True)
class SessionAffinity:
    """Remembers the newest `capacity` deferred conversations, each for a number of further requests.

    A conversation is the session that a request names, in a header or a field; else its history up to the last but one
    user turn, which was the whole of an earlier request (up to its own last user turn). Always together with the key.
    """

    capacity: int = 10_000
    turns_left: OrderedDict[str, int] = field(default_factory=OrderedDict[str, int])

    def is_deferred(self, request: ChatRequest, key_id: str | None) -> bool:
        """True if the request's conversation stays deferred."""
        return self._turns(request, key_id) > 0

    def take_turn(self, request: ChatRequest, key_id: str | None) -> None:
        """Counts an admitted request as one of its conversation's turns."""
        self.keep(request, key_id, self._turns(request, key_id) - 1)

    def keep(self, request: ChatRequest, key_id: str | None, turns: int) -> None:
        """Keeps the request's conversation deferred for its next `turns` requests."""
        named = session_of(request)
        key = _digest(request, key_id, named, _last_user(request.messages))
        self.turns_left[key] = turns
        self.turns_left.move_to_end(key)
        while len(self.turns_left) > self.capacity:
            self.turns_left.popitem(last=False)

    def _turns(self, request: ChatRequest, key_id: str | None) -> int:
        messages, named = request.messages, session_of(request)
        last = _last_user(messages)
        if named is not None:
            return self.turns_left.get(_digest(request, key_id, named, 0), 0)
        if last < len(messages):  # tools were called since the last user turn: the same turn goes on
            return self.turns_left.get(_digest(request, key_id, None, last), 0)
        before = _last_user(messages[: last - 1]) if last else 0
        return self.turns_left.get(_digest(request, key_id, None, before), 0) if before else 0


def session_of(request: ChatRequest) -> str | None:
    """The session that a request names: `corea.session` (also from a header), else in `metadata`; None without one."""
    if request.controls.session is not None:
        return request.controls.session
    metadata = request.extra.get("metadata")
    if isinstance(metadata, dict):
        for name in SESSION_FIELDS:
            if isinstance(value := metadata.get(name), str) and value:  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
                return value
    return None


def _last_user(messages: Sequence[Message]) -> int:
    """The number of messages up to and including the last user turn; 0 without one."""
    return next((i for i in range(len(messages), 0, -1) if messages[i - 1].role == "user"), 0)


def _digest(request: ChatRequest, key_id: str | None, named: str | None, messages: int) -> str:
    """Digest of a conversation and key.

    Args:
        messages: The number of messages that identify it, where no session is named.
    """
    digest = hashlib.sha256(f"{key_id}\0{request.body.model}\0".encode())
    if named is not None:
        digest.update(b"named\0" + named.encode("utf-8", "surrogatepass"))
        return digest.hexdigest()
    for message in request.messages[:messages]:
        digest.update(_encode((message.role, message.content, message.raw)))
    return digest.hexdigest()
