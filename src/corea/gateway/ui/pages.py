"""The page at /ui and what it reads: fixed files for everyone, data for holders of an admin key."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import msgspec
from msgspec import Struct

from corea.cascade import Cascade
from corea.gateway.asgi import JSON_TYPE, Headers, Receive, Scope, Send, encode_json, find_header, send_response
from corea.gateway.billing.auth import accounts_unavailable
from corea.gateway.billing.database import DatabaseUnavailable
from corea.gateway.billing.keys import ApiKey
from corea.gateway.chat.request import ChatRequest, parse_chat
from corea.gateway.chat.request_state import RequestState
from corea.gateway.chat.routing import first_threshold
from corea.gateway.errors import GatewayError, bad_field
from corea.gateway.ops.health import breaker_states, servers_of
from corea.gateway.ops.settings import GatewaySettings
from corea.gateway.server.access import allowed_origin
from corea.gateway.server.body import read_body
from corea.gateway.ui.history import History
from corea.signals.calibrated_signal import CalibratedSignal

UI = "/ui"
STATIC = Path(__file__).parent / "static"
JAVASCRIPT = "text/javascript; charset=utf-8"
FILES = {
    "": ("page.html", "text/html; charset=utf-8"),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    **{
        f"/{name}.js": (f"{name}.js", "text/javascript; charset=utf-8")
        for name in ("app", "charts", "elements", "work")
    },
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
SAFE: Headers = [
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
]
MOST_DAYS = 3660.0
LONGEST_QUESTION = 20_000
Ask = Callable[[ChatRequest, str | None], Awaitable[tuple[RequestState, bytes]]]
Unavailable = Callable[[], Awaitable[Mapping[str, str]]]
CheckAdmin = Callable[[str | None], Awaitable[ApiKey]]


class PageQuestion(Struct, forbid_unknown_fields=True, kw_only=True):
    """A question of the playground.

    Args:
        model: A cascade, or one of its stages as `corea/large`.
        key: The API key that pays; None on a server without keys. An admin key asks no model.
    """

    model: str
    question: str
    key: str | None = None


class AskedStep(Struct, kw_only=True):
    """One stage's part in the answer to a question of the playground; `text` as a client would get it."""

    stage: str
    model: str | None
    text: str | None
    confidence: float | None
    score: float | None
    threshold: float | None
    decision: str | None
    cost_usd: float | None
    seconds: float
    error: str | None
    skipped: str | None


class StageHealth(Struct, kw_only=True):
    """A stage as it is now.

    Args:
        model: Its model's name, where its backend has one.
        breakers: State of the circuit breaker of each server; None for one without.
        unavailable: Why it cannot answer now; None where it can, or where that is not known (`checked` is false).
        calls, failed, mean_seconds: Among the newest decisions; None without a call.
    """

    name: str
    model: str | None
    servers: int
    breakers: list[str | None]
    checked: bool
    unavailable: str | None
    calls: int | None = None
    failed: int | None = None
    mean_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class UiPages:
    """Answers requests below /ui.

    Args:
        history: The stored decisions.
        admin: Finds the admin key of a secret, or raises 401.
        cascades: The present ones.
        unavailable: The last stages that cannot answer now, each with the reason.
    """

    history: History
    admin: CheckAdmin
    cascades: Callable[[], Mapping[str, Cascade]]
    unavailable: Unavailable

    async def answer(
        self, path: str, scope: Scope, receive: Receive, send: Send, secret: str | None, settings: GatewaySettings,
        ask: Ask,
    ) -> None:  # fmt: skip
        """Answers one request.

        Args:
            secret: The key of the request.
            ask: Asks a question with an API key, as a client would.

        Raises:
            GatewayError: 401 without an admin key, 403 for a page of another origin, 404, 405, a wrong field, 503.
        """
        name, method = path.removeprefix(UI), scope["method"]
        if name in FILES:
            _check_method(method, "GET", "HEAD")
            file, kind = FILES[name]
            await send_response(send, file_bytes(file), headers=SAFE, content_type=kind)
            return
        if not name.startswith("/api/"):
            raise GatewayError(404, f"{path[:80]} is not served.", code="not_found")
        if find_header(scope, b"origin") is not None and not allowed_origin(scope):
            raise GatewayError(403, "This page is not for other origins.", "permission_error", "local_only")
        await self.admin(secret)
        name = name.removeprefix("/api/")
        if name == "ask":
            _check_method(method, "POST")
            body = encode_json(await asked(await read_body(scope, receive, settings), ask))
        else:
            _check_method(method, "GET", "HEAD")
            query = {key: found[-1] for key, found in parse_qs(scope["query_string"].decode("latin-1")).items()}
            try:
                body = encode_json(await self._data(name, query))
            except DatabaseUnavailable as error:
                raise accounts_unavailable() from error
        await send_response(send, body, headers=SAFE, content_type=JSON_TYPE)

    async def _data(self, name: str, query: Mapping[str, str]) -> Any:
        cascades = self.cascades()
        cascade = query.get("cascade") or None
        if cascade is not None and cascade not in cascades:
            raise bad_field("cascade", cascade, f"one of {', '.join(cascades)}")
        if name == "state":
            return await self._state()
        if name not in ("summary", "thresholds", "reliability", "decisions"):
            raise GatewayError(404, f"/ui/api/{name[:80]} is not served.", code="not_found")
        history, now = self.history, time.time()
        since = now - _days(query.get("days")) * 86_400
        if name == "decisions":
            return {"now": now, "decisions": await asyncio.to_thread(history.newest)}
        if name == "reliability":
            return await asyncio.to_thread(history.reliability, since, cascade)
        if name == "thresholds":
            if cascade is None or len(cascades[cascade].stages) != 2:
                raise bad_field("cascade", cascade, "a cascade of two stages")
            return await asyncio.to_thread(history.thresholds, since, cascade, first_threshold(cascades[cascade]))
        last = {each.stages[-1].name for each in cascades.values()}
        return await asyncio.to_thread(history.summary, now, since, cascade, last)

    async def _state(self) -> dict[str, Any]:
        """The cascades and the health of their stages."""
        unavailable = await self.unavailable()
        traffic = await asyncio.to_thread(self.history.stages)
        found: list[dict[str, Any]] = []
        for name, cascade in self.cascades().items():
            *_, last = cascade.stages
            stages = [
                StageHealth(
                    name=stage.name,
                    model=getattr(getattr(servers_of(stage)[0], "settings", None), "model", None),
                    servers=len(servers_of(stage)),
                    breakers=[None if each is None else str(each) for each in breaker_states(stage)],
                    checked=stage is last,
                    unavailable=unavailable.get(stage.name) if stage is last else None,
                )
                for stage in cascade.stages
            ]
            for stage in stages:
                if (calls := traffic.get(stage.name)) is not None:
                    stage.calls, stage.failed, stage.mean_seconds = calls.calls, calls.failed, calls.mean_seconds
            threshold = first_threshold(cascade)
            known = threshold is not None and math.isfinite(threshold)
            scored = isinstance(cascade.stages[0].signal, CalibratedSignal)  # its threshold is for the score
            shown = {"name": name, "threshold": threshold if known else None, "scored": scored, "stages": stages}
            found.append(shown)
        return {"cascades": found}


async def asked(body: bytes, ask: Ask) -> dict[str, Any]:
    """The steps and the cost of one question, asked as a client would ask it.

    Raises:
        GatewayError: The body is not a question, or it is not answered.
    """
    try:
        wanted = msgspec.json.decode(body, type=PageQuestion)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise GatewayError(400, f"The body is not what is expected: {error}.", code="invalid_value") from error
    if not wanted.question.strip() or len(wanted.question) > LONGEST_QUESTION:
        got = f"{len(wanted.question):,} characters"
        raise bad_field("question", got, f"a question of at most {LONGEST_QUESTION:,} characters")
    chat = {"model": wanted.model, "messages": [{"role": "user", "content": wanted.question}]}
    state, answer = await ask(parse_chat(encode_json(chat)), wanted.key)
    found = msgspec.json.decode(answer)
    return {
        "text": found["choices"][0]["message"].get("content"),
        "corea": found["corea"],
        "steps": _steps(state),
    }


def _steps(state: RequestState) -> list[AskedStep]:
    return [
        AskedStep(
            stage=step.stage,
            model=step.completion.model if step.completion is not None else None,
            text=state.plan.visible(step.stage).whole(step.completion.text) if step.completion is not None else None,
            confidence=step.confidence.value if step.confidence is not None else None,
            score=step.confidence.score if step.confidence is not None else None,
            threshold=step.threshold if step.threshold is not None and math.isfinite(step.threshold) else None,
            decision=step.decision,
            cost_usd=None if step.cost_usd is None else float(step.cost_usd),
            seconds=step.seconds,
            error=step.error_kind,
            skipped=step.skipped,
        )
        for step in state.steps
    ]


@cache
def file_bytes(name: str) -> bytes:
    """A file of the page."""
    return (STATIC / name).read_bytes()


def _days(given: str | None) -> float:
    try:
        days = float(given) if given is not None else 7.0
    except ValueError:
        days = math.nan
    if not 0 < days <= MOST_DAYS:
        raise bad_field("days", given, f"a number above 0, at most {MOST_DAYS:g}")
    return days


def _check_method(method: str, *allowed: str) -> None:
    if method not in allowed:
        headers = (("allow", ", ".join(allowed)),)
        raise GatewayError(405, f"{method} is not served here.", code="method_not_allowed", headers=headers)
