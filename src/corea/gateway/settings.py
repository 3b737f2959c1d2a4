"""What an operator sets, in `[gateway]` of corea.toml."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from corea.errors import ConfigError
from corea.money import read_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """The settings of `corea serve`.

    Args:
        host: Without keys only loopback is allowed.
        port: 0 takes a free one, which the first line of output names.
        state: The SQLite file of keys, money and decisions; "" is a temporary one, forgotten at the end.
        accepts: By stage, what it can take beside text: "tools", "images", "structured" (response_format). The last
            stage of a cascade is always asked; an earlier one that cannot take a request is not.
        passthrough: Model names that go straight to a stage, untouched: {"gpt-4.1": "large"}.
        allow: What a request may set in its `corea` object: "threshold", "max_cost_usd", "stage", "raw".
        sticky_turns: A conversation that was deferred skips the small model for so many further requests; 0 is off.
        keep_alive_seconds: An SSE comment is sent when nothing else was for so long.
        request_seconds: A request that takes longer is ended with a 504.
        read_seconds: A head or body that takes longer to come is refused with a 408.
        write_seconds: A client that takes nothing of its answer for so long is cut off (Linux only).
        idle_seconds: A connection without a request is closed after so long.
        notice_seconds: At SIGTERM requests are still taken for so long while /readyz says no, so that a load balancer
            can look elsewhere.
        drain_seconds: After that, requests under way may take so long to finish.
        max_head_bytes: A longer request line with headers is refused with 431.
        max_body_bytes: A longer body is refused with 413.
        max_concurrency: Further requests are refused with 429 and Retry-After at once.
        max_connections: Further connections are closed at once.
        store_text: Store prompts and answers with each decision. Off by default.
        redact: "package.module:function", str -> str, applied to every stored text.
        retention_days: Older decisions are deleted; 0 keeps them all. Money is never deleted.
        cache_entries: How many answers the exact response cache holds; 0 is off.
        cache_seconds: How long a cached answer is good for.
        hedge_seconds: Ask the last stage too when the earlier ones have taken so long; the first answer wins, and
            the other call is cut off and counted. None is off.
        default_reserve_usd: Reserved for a call whose price is not known.
        default_reserve_tokens: Reserved for an answer that neither the request nor its stage limits.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    state: str = "corea.db"
    accepts: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    passthrough: Mapping[str, str] = field(default_factory=dict[str, str])
    allow: tuple[str, ...] = ("threshold", "max_cost_usd", "stage", "raw")
    sticky_turns: int = 0
    keep_alive_seconds: float = 10.0
    request_seconds: float = 600.0
    read_seconds: float = 30.0
    write_seconds: float = 60.0
    idle_seconds: float = 75.0
    notice_seconds: float = 0.0
    drain_seconds: float = 30.0
    max_head_bytes: int = 32_768
    max_body_bytes: int = 4_000_000
    max_concurrency: int = 512
    max_connections: int = 4096
    store_text: bool = False
    redact: str | None = None
    retention_days: int = 30
    cache_entries: int = 0
    cache_seconds: float = 3600.0
    hedge_seconds: float | None = None
    default_reserve_usd: Decimal = Decimal("0.01")
    default_reserve_tokens: int = 4096

    def __post_init__(self) -> None:
        known = {"threshold", "max_cost_usd", "stage", "raw"}
        for name in self.allow:
            if name not in known:
                raise ConfigError(f"gateway.allow: got {name!r}, expected some of {', '.join(sorted(known))}")
        for stage, kinds in self.accepts.items():
            for kind in kinds:
                if kind not in ("tools", "images", "structured"):
                    raise ConfigError(f"gateway.accepts.{stage}: got {kind!r}, expected tools, images or structured")
        positive = (
            "keep_alive_seconds", "request_seconds", "read_seconds", "write_seconds", "idle_seconds", "drain_seconds",
            "max_head_bytes", "max_body_bytes", "max_concurrency", "max_connections", "cache_seconds",
            "default_reserve_tokens",
        )  # fmt: skip
        for name in positive:
            if getattr(self, name) <= 0:
                raise ConfigError(f"gateway.{name}: got {getattr(self, name)}, expected a number above 0")
        for name in ("sticky_turns", "notice_seconds", "retention_days", "cache_entries"):
            if getattr(self, name) < 0:
                raise ConfigError(f"gateway.{name}: got {getattr(self, name)}, expected a number of at least 0")
        read_usd("gateway.default_reserve_usd", self.default_reserve_usd)
        if self.hedge_seconds is not None and not self.hedge_seconds > 0:
            raise ConfigError(f"gateway.hedge_seconds: got {self.hedge_seconds}, expected a number above 0")
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"gateway.port: got {self.port}, expected 0 to 65535")
