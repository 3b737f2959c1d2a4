"""Operator's settings: `[gateway]` of corea.toml and its tables."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from enum import StrEnum
from operator import attrgetter
from typing import Any

from corea.errors import ConfigError, unknown_name
from corea.gateway.ops.policies import RequestPolicy
from corea.money import read_usd
from corea.secrets import shown_url

CONTROLS = ("threshold", "max_cost_usd", "stage", "raw")
POSTGRES = ("postgresql://", "postgres://")
LOG_FORMATS = ("text", "json")
LOG_LEVELS = ("debug", "info", "warning", "error")
ALARM_FLAG = "audit alarm: everything is deferred"  # of a trace
CAPABILITIES = ("tools", "images", "structured")
FIXED = (
    "host", "port", "storage.path", "storage.url", "storage.on_database_down", "traces", "limits.max_head_bytes",
    "limits.max_connections", "timeouts.read_seconds", "timeouts.write_seconds", "timeouts.idle_seconds",
)  # fmt: skip


def check_numbers(table: str, settings: Any, *, zero: tuple[str, ...] = ()) -> None:
    """Checks that the numbers of a settings table are above 0, or at least 0 for those in `zero`.

    Raises:
        ConfigError: One is not; names its key.
    """
    for name in [f.name for f in fields(settings)]:
        value = getattr(settings, name)
        if isinstance(value, int | float) and not (value > 0 or (name in zero and value == 0)):
            expected = "at least 0" if name in zero else "a number above 0"
            if not isinstance(value, bool):
                raise ConfigError(f"{table}.{name}: got {value}, expected {expected}")


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayLimits:
    """`[gateway.limits]`: the most that one request, or all together, may take.

    Args:
        max_head_bytes: A longer request line with headers is refused with 431.
        max_body_bytes: A longer body is refused with 413.
        max_concurrency: Further requests are refused at once with 429 and Retry-After.
        max_connections: Further connections are closed at once.
    """

    max_head_bytes: int = 32_768
    max_body_bytes: int = 4_000_000
    max_concurrency: int = 512
    max_connections: int = 4096

    def __post_init__(self) -> None:
        check_numbers("gateway.limits", self)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayTimeouts:
    """`[gateway.timeouts]`.

    Args:
        request_seconds: A request that takes longer is ended with a 504.
        read_seconds: A request that takes longer to arrive is refused with a 408.
        write_seconds: A client that accepts no data for this long is disconnected (Linux only).
        idle_seconds: A connection without a request is closed after this time.
        keep_alive_seconds: Longest silence of a stream before an SSE comment is sent.
        notice_seconds: Time after SIGTERM in which requests are still accepted while /readyz returns 503, so that a
            load balancer can route elsewhere.
        drain_seconds: Time that running requests then have to finish.
    """

    request_seconds: float = 600.0
    read_seconds: float = 30.0
    write_seconds: float = 60.0
    idle_seconds: float = 75.0
    keep_alive_seconds: float = 10.0
    notice_seconds: float = 0.0
    drain_seconds: float = 30.0

    def __post_init__(self) -> None:
        check_numbers("gateway.timeouts", self, zero=("notice_seconds",))


class OnDatabaseDown(StrEnum):
    """Treatment of requests while PostgreSQL cannot be reached."""

    REFUSE = "refuse"
    ADMIT = "admit"


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayStorage:
    """`[gateway.storage]`: the database of keys, spending and decisions.

    Args:
        path: The SQLite file; "" is a temporary one, deleted at the end.
        url: A PostgreSQL database that several servers share, instead: "postgresql://user@host:5432/database".
        on_database_down: While that is away: "refuse" requests with a 503, or "admit" those with a known key, beyond
            their budgets too, and book them later.
        store_text: Store prompts and answers with each decision.
        redact: "package.module:function", str -> str, applied to every stored text.
        retention_days: Older decisions are deleted; 0 keeps them all. Spending is never deleted.
    """

    path: str = "corea.db"
    url: str | None = None
    on_database_down: OnDatabaseDown = OnDatabaseDown.REFUSE
    store_text: bool = False
    redact: str | None = None
    retention_days: int = 30

    def __post_init__(self) -> None:
        check_numbers("gateway.storage", self, zero=("retention_days",))
        if self.url is not None and not self.url.startswith(POSTGRES):
            raise ConfigError(
                "gateway.storage.url: got another address, expected postgresql://user@host:5432/database; "
                "an SQLite file is named by path"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayBudgets:
    """`[gateway.budgets]`: reserves where nothing else bounds a cost.

    Args:
        default_reserve_usd: Reserved for a call whose price is not known.
        default_reserve_tokens: Reserved for an answer that neither the request nor its stage limits.
    """

    default_reserve_usd: Decimal = Decimal("0.01")
    default_reserve_tokens: int = 4096

    def __post_init__(self) -> None:
        read_usd("gateway.budgets.default_reserve_usd", self.default_reserve_usd)
        check_numbers("gateway.budgets", self)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySecurity:
    """`[gateway.security]`.

    Args:
        allow: Fields that a request may set in its `corea` object. Without "stage", no stage can be asked directly,
            by name ("corea/0") neither; a passthrough is the operator's own choice and stays.
        origins: Origins of web pages that may ask from a browser (CORS), such as "https://app.example"; "*" is any.
    """

    allow: tuple[str, ...] = CONTROLS
    origins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.allow:
            if name not in CONTROLS:
                raise ConfigError(f"gateway.security.allow: got {name!r}, expected some of {', '.join(CONTROLS)}")
        for origin in self.origins:
            if origin != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/]+", origin):
                raise ConfigError(f"gateway.security.origins: got {origin!r}, expected one such as https://app.example")


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayCache:
    """`[gateway.cache]`: the exact response cache.

    Args:
        entries: Capacity in answers; 0 is off.
        max_bytes: Capacity in bytes of the answers, as JSON.
        seconds: Lifetime of an answer.
    """

    entries: int = 0
    max_bytes: int = 64_000_000
    seconds: float = 3600.0

    def __post_init__(self) -> None:
        check_numbers("gateway.cache", self, zero=("entries",))


class OnAlarm(StrEnum):
    """The reaction of a cascade to an alarm of its audit."""

    REPORT = "report"  # it goes on as it is
    DEFER = "defer"  # the last stage answers everything until a person acknowledges the alarm


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayAudit:
    """`[gateway.audit]`: checks on kept answers, and the watch for a change.

    Args:
        share: Share of the questions that are drawn, whatever they are; a kept one of these is also asked of the last
            stage, in the background. 0 asks none.
        budget_day_usd: The most that these calls may cost per day (UTC).
        concurrency: Such calls at once.
        every: Observations for one false alarm of a detector, on average at least.
        on_alarm: `report`, or `defer`: the last stage answers everything until `corea audit --acknowledge`.
        webhook: URL to which an alarm is posted as JSON.
        webhook_seconds: Time limit of one attempt to post it.
        reviewers: Sources of feedback whose labels were given to drawn answers whatever they said, such as those of
            people who label the list of `corea audit --select-for-labelling`. These alone test a guarantee.
        judge: The model of `[calibrate.judge]` compares the answers of chats, and of cascades calibrated with it: two
            calls for each kept question that is drawn, within the budget.
    """

    share: float = 0.0
    budget_day_usd: Decimal = Decimal(1)
    concurrency: int = 2
    every: float = 10_000.0
    on_alarm: OnAlarm = OnAlarm.REPORT
    webhook: str | None = None
    webhook_seconds: float = 10.0
    reviewers: tuple[str, ...] = ("review",)
    judge: bool = False

    def __post_init__(self) -> None:
        check_numbers("gateway.audit", self, zero=("share",))
        read_usd("gateway.audit.budget_day_usd", self.budget_day_usd)
        if self.share > 1:
            raise ConfigError(f"gateway.audit.share: got {self.share}, expected a share from 0 to 1; 0.05 is 5 %")
        if self.every <= 1:
            raise ConfigError(f"gateway.audit.every: got {self.every}, expected a number above 1")
        if self.webhook is not None and not re.fullmatch(r"https?://[^\s/]+\S*", self.webhook):
            raise ConfigError("gateway.audit.webhook: got another text, expected an address such as https://host/path")


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayLogs:
    """`[gateway.logs]`: the log, on standard error.

    Args:
        format: "text" or "json", one line a record.
        level: "debug", "info", "warning" or "error".
        access: A line for each HTTP request.
        error_texts: Also write the messages of models' servers, plug-ins and bugs, which may quote prompts and answers.
        repeat_seconds: A failure of one kind is written once in this time, with the number of those left out.
    """

    format: str = "text"
    level: str = "info"
    access: bool = False
    error_texts: bool = False
    repeat_seconds: float = 10.0

    def __post_init__(self) -> None:
        for name, known in (("format", LOG_FORMATS), ("level", LOG_LEVELS)):
            if getattr(self, name) not in known:
                raise unknown_name(f"gateway.logs.{name}", getattr(self, name), list(known))
        check_numbers("gateway.logs", self)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayMetrics:
    """`[gateway.metrics]`: what `/metrics` shows beside the counts of requests.

    Args:
        keys: Budget and spending of each API key by its id: one set of series a key.
    """

    keys: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayTraces:
    """`[gateway.traces]`: spans by OpenTelemetry's GenAI conventions; needs the extra `otel`.

    Args:
        endpoint: URL for OTLP over HTTP, such as "http://localhost:4318/v1/traces"; "" is off. Its headers are in the
            environment variable OTEL_EXPORTER_OTLP_HEADERS.
        service: `service.name`.
        sample: Share of the requests without a sampled `traceparent` that are traced.
        content: Write prompts and answers into the spans.
    """

    endpoint: str = ""
    service: str = "corea"
    sample: float = 1.0
    content: bool = False

    def __post_init__(self) -> None:
        if self.endpoint and not re.match(r"https?://[^/]", self.endpoint):
            expected = "a URL such as http://localhost:4318/v1/traces"
            raise ConfigError(f"gateway.traces.endpoint: got {shown_url(self.endpoint)!r}, expected {expected}")
        if not 0 <= self.sample <= 1:
            raise ConfigError(f"gateway.traces.sample: got {self.sample}, expected 0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """`[gateway]`: the settings of `corea serve`.

    Args:
        host: Without API keys only loopback is allowed.
        port: 0 takes a free one, which the first line of output names.
        accepts: By stage, its capabilities beside text: "tools", "images" (also sound and files), "structured"
            (response_format). An earlier stage without what a request needs is skipped; the last one never is.
        passthrough: Model names that go straight to a stage, unchanged: {"gpt-4.1": "large"}.
        aliases: Further names of models: {"claude-sonnet-*" = "corea", "claude-opus-*" = "corea/large"}; `*` is any
            text. Like a passthrough, an alias of a stage is the operator's own choice.
        policies: The operator's policies by name.
        sticky_turns: Further requests of a deferred conversation that skip the small model; 0 is off.
        hedge_seconds: Time after which the last stage is asked in parallel with the earlier ones; the first answer
            wins, and the other call is cancelled and booked. None is off.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    accepts: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    passthrough: Mapping[str, str] = field(default_factory=dict[str, str])
    aliases: Mapping[str, str] = field(default_factory=dict[str, str])
    sticky_turns: int = 0
    hedge_seconds: float | None = None
    limits: GatewayLimits = GatewayLimits()
    timeouts: GatewayTimeouts = GatewayTimeouts()
    storage: GatewayStorage = GatewayStorage()
    budgets: GatewayBudgets = GatewayBudgets()
    security: GatewaySecurity = GatewaySecurity()
    cache: GatewayCache = GatewayCache()
    logs: GatewayLogs = GatewayLogs()
    metrics: GatewayMetrics = GatewayMetrics()
    traces: GatewayTraces = GatewayTraces()
    audit: GatewayAudit = GatewayAudit()
    policies: Mapping[str, RequestPolicy] = field(default_factory=dict[str, RequestPolicy])

    def __post_init__(self) -> None:
        for stage, kinds in self.accepts.items():
            for kind in kinds:
                if kind not in CAPABILITIES:
                    known = ", ".join(CAPABILITIES)
                    raise ConfigError(f"gateway.accepts.{stage}: got {kind!r}, expected some of {known}")
        check_numbers("gateway", self, zero=("port", "sticky_turns"))
        if self.port > 65535:
            raise ConfigError(f"gateway.port: got {self.port}, expected 0 to 65535")


def needing_restart(before: GatewaySettings, after: GatewaySettings) -> list[str]:
    """A line for each changed setting that a reload cannot apply."""
    changed = [name for name in FIXED if attrgetter(name)(before) != attrgetter(name)(after)]
    return [f"gateway.{name}: was changed; that needs a restart" for name in changed]
