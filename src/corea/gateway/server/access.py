"""Access before any key: addresses and origins that may ask, and names of paths that clients use for ours."""

import ipaddress
import re
from urllib.parse import urlsplit

from corea.errors import ConfigError
from corea.gateway.asgi import JSON_TYPE, Headers, Scope, find_header
from corea.gateway.errors import GatewayError
from corea.gateway.ops.settings import GatewaySettings

CHAT, MODELS = "/v1/chat/completions", "/v1/models"
ADMIN = "/admin/"
PREFIXES = re.compile(
    r"(?:/openai)?(?:/v1)?(?=/(?:chat/completions|models|messages|responses|completions|embeddings)(?:/|$))"
)
AZURE = re.compile(r"/openai/deployments/(.+?)/(chat/completions|completions|embeddings)")
EXPOSED = ", ".join(
    f"x-{name}"
    for name in (
        "request-id", "corea-trace-id", "corea-cascade", "corea-stage", "corea-confidence", "corea-score",
        "corea-threshold", "corea-cost-usd", "corea-saved-usd", "corea-cached", "corea-dropped", "corea-audit",
        "corea-max-tokens", "corea-estimated",
    )
)  # fmt: skip


def known_path(path: str) -> tuple[str, str | None]:
    """A path in our own form, and the model that an Azure client names in it.

    `/chat/completions`, `/openai/v1/chat/completions` (Azure), a doubled or a trailing slash mean the same as ours.
    """
    if path == CHAT:
        return path, None
    path = re.sub("//+", "/", path).rstrip("/") or "/"
    if (deployment := AZURE.fullmatch(path)) is not None:
        return f"/v1/{deployment[2]}", deployment[1]
    return PREFIXES.sub("/v1", path, count=1), None


def is_loopback(host: str) -> bool:
    """True for an address, or a name, of this machine itself."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_host(host: str, *, keys: bool) -> None:
    """Without keys only loopback is allowed.

    Raises:
        ConfigError: It is another address.
    """
    if not keys and not is_loopback(host):
        raise ConfigError(
            f"gateway.host: got {host!r} without any API key, expected loopback (127.0.0.1), since anyone could spend "
            "your money; make a key with `corea keys create`"
        )


def check_local(scope: Scope, settings: GatewaySettings) -> None:
    """Checks a request to a server without keys: a web page in a browser on this machine must not spend.

    A page can send a request to any address, but only with its own `Origin`, or as a form (not JSON); by rebinding a
    name to 127.0.0.1 it can have the same origin, but only with its own name as `Host`.

    Raises:
        GatewayError: 403, `Host` is not loopback or `Origin` is foreign; 415, the body is not JSON.
    """
    host = _text(scope, b"host")
    if not is_loopback(_host_name(f"//{host}")):
        why = f"Host: got {host[:80]!r}, expected a loopback address"
        raise _forbidden(f"{why}, since this server has no API keys; its operator makes one with `corea keys create`.")
    origin = find_header(scope, b"origin")
    if origin is not None and not allowed_origin(scope, settings):
        why = f"Origin: got {origin[:80].decode('latin-1')!r}, expected one that gateway.security.origins names"
        raise _forbidden(f"{why}, since this server has no API keys.")
    if scope["method"] in ("POST", "PATCH"):
        kind = _text(scope, b"content-type").partition(";")[0].strip().lower()
        if kind != JSON_TYPE:
            message = f"Content-Type: got {kind[:80]!r}, expected {JSON_TYPE}."
            raise GatewayError(415, message, code="unsupported_media_type")


def allowed_origin(scope: Scope, settings: GatewaySettings | None = None) -> bool:
    """True for this server's own origin, and for one that the operator's settings, where given, list by name."""
    origin = _text(scope, b"origin")
    if settings is not None and origin in settings.security.origins:
        return True
    parts = urlsplit(origin)
    return parts.scheme in ("http", "https") and parts.netloc == _text(scope, b"host")


def cors_headers(scope: Scope, settings: GatewaySettings) -> Headers:
    """Headers that let a page of a listed origin read the response; none for any other, and none of /admin."""
    origin = find_header(scope, b"origin")
    listed = settings.security.origins
    if origin is None or not listed or ADMIN in scope["path"]:
        return []
    allowed = origin.decode("latin-1")
    if "*" not in listed and allowed not in listed:
        return [("vary", "origin")]
    named = ("access-control-allow-origin", allowed), ("access-control-expose-headers", EXPOSED)
    return [("vary", "origin"), *named]


def preflight_headers(scope: Scope) -> Headers | None:
    """Further headers for a browser's question before the request itself; None if it is not one."""
    if scope["method"] != "OPTIONS" or find_header(scope, b"access-control-request-method") is None:
        return None
    wanted = _text(scope, b"access-control-request-headers") or "authorization, content-type"
    return [
        ("access-control-allow-methods", "GET, POST"),
        ("access-control-allow-headers", wanted),
        ("access-control-max-age", "600"),
    ]


def _host_name(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _text(scope: Scope, header: bytes) -> str:
    return (find_header(scope, header) or b"").decode("latin-1")


def _forbidden(message: str) -> GatewayError:
    return GatewayError(403, message, "permission_error", "local_only")
