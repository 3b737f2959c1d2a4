"""Session affinity: deferred conversations that skip the small model for a while."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from corea.gateway.chat.request import ChatRequest
from corea.types import Message

_encode = msgspec.json.Encoder(order="sorted").encode


SESSION_FIELDS = ("session_id", "conversation_id", "thread_id")


@dataclass(slots=True)
class SessionAffinity:
    """Remembers the newest `capacity` deferred conversations, each for a number of further requests.

    A conversation is the session that a request names, in a header or a field; else its history up to the answer before
    the last user turn, so that strangers who begin with the same words are distinguished by the answers that they got.
    Always together with the key.

    Args:
        on_keep: Called with what is kept here, so that other replicas `put` it too.
    """

    capacity: int = 10_000
    on_keep: Callable[[str, int], None] = lambda session, turns: None
    turns_left: OrderedDict[str, int] = field(default_factory=OrderedDict[str, int])

    def turns(self, request: ChatRequest, key_id: str | None) -> int:
        """Number of requests, this one included, for which its conversation stays deferred."""
        named, messages = session_of(request), request.messages
        if named is None:
            end = _answered(messages)
            if not end:
                return 0
            answer = messages[end]
            named = _history(messages[:end], answer.content, (answer.raw or {}).get("tool_calls"))
        return self.turns_left.get(_key(request, key_id, named), 0)

    def keep(self, request: ChatRequest, key_id: str | None, turns: int, answer: str, calls: Any = None) -> None:
        """Keeps a request's conversation deferred for its next `turns` requests.

        Args:
            answer: The text that the client got.
            calls: The tool calls that it got.
        """
        named = session_of(request)
        if named is None:
            named = _history(request.messages[: _last_user(request.messages)], answer, calls)
        session = _key(request, key_id, named)
        self.put(session, turns)
        self.on_keep(session, turns)

    def put(self, session: str, turns: int) -> None:
        """Keeps a session deferred for its next `turns` requests."""
        self.turns_left[session] = turns
        self.turns_left.move_to_end(session)
        while len(self.turns_left) > self.capacity:
            self.turns_left.popitem(last=False)


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


def _answered(messages: Sequence[Message]) -> int:
    """The place of the answer before the last user turn, or in it where tools were called since; 0 without one."""
    last = _last_user(messages)
    end = last if last < len(messages) else _last_user(messages[: last - 1]) if last else 0
    return end if end and messages[end].role == "assistant" else 0


def _last_user(messages: Sequence[Message]) -> int:
    """The number of messages up to and including the last user turn; 0 without one."""
    return next((i for i in range(len(messages), 0, -1) if messages[i - 1].role == "user"), 0)


def _history(messages: Sequence[Message], answer: str, calls: Any) -> bytes:
    """Digest of messages and of the answer to them; white space around it, which clients may drop, does not count."""
    ids = [call.get("id") for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    turns = [(message.role, message.content, message.raw) for message in messages]
    return hashlib.sha256(_encode((turns, answer.strip(), ids))).digest()


def _key(request: ChatRequest, key_id: str | None, conversation: str | bytes) -> str:
    digest = hashlib.sha256(f"{key_id}\0{request.body.model}\0".encode())
    named = isinstance(conversation, str)
    digest.update(b"named\0" + conversation.encode("utf-8", "surrogatepass") if named else conversation)
    return digest.hexdigest()
