"""ASGI's `send` of one request, with the headers that every response has."""

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from corea.cascade import new_id
from corea.gateway.apis.api import Api
from corea.gateway.asgi import Scope, Send, send_error
from corea.gateway.chat.reply import header_text
from corea.gateway.chat.request_state import CLIENT_CLOSED_REQUEST
from corea.gateway.errors import GatewayError
from corea.gateway.ops.settings import GatewaySettings
from corea.gateway.server.access import cors_headers

LONGEST_NAME, MOST_NAMES = 80, 50  # of dropped fields, some of which the client has named


@dataclass(slots=True)
class Response:
    """ASGI's `send`, which adds the headers that every response has.

    Args:
        api: The API of the request; None for chat completions and pages.
        dropped: Request fields that the policies dropped.
        untranslated: Request fields of the API that a chat request cannot carry.
        native_stage: The stage that is sent the client's own request, with these fields.
    """

    scope: Scope
    settings: GatewaySettings
    send: Send
    api: Api | None = None
    dropped: Sequence[str] = ()
    untranslated: Sequence[str] = ()
    native_stage: str | None = None
    status: int = CLIENT_CLOSED_REQUEST  # until a response begins
    request_id: str = field(default_factory=new_id)

    async def refuse(self, error: GatewayError) -> None:
        """Sends an error in the form of the request's API."""
        api, body = self.api, error.body()
        await send_error(self, error, api and api.error(body["error"], error.status, self.request_id))

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], *self._added(message["headers"])]
        await self.send(message)

    def _added(self, own: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        request_id = self.request_id.encode()
        added = [(b"x-request-id", request_id)]
        if self.api is not None:
            added.append((b"request-id", request_id))
        if self.dropped or self.untranslated:
            native = self.native_stage is not None and (b"x-corea-stage", _header(self.native_stage)) in own
            names = self.dropped if native else (*self.dropped, *self.untranslated)
            if dropped := sorted({header_text(name[:LONGEST_NAME]) for name in names}):
                added.append((b"x-corea-dropped", ", ".join(dropped[:MOST_NAMES]).encode()))
        added += [(name.encode(), value.encode("latin-1")) for name, value in cors_headers(self.scope, self.settings)]
        return added


def _header(name: str) -> bytes:
    return header_text(name).encode()
