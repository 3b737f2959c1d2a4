"""Settings of `OpenAIBackend`: one model on one OpenAI-compatible server."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from urllib.parse import quote, urlencode, urlsplit

from corea.backends.openai.addresses import split_url
from corea.backends.openai.api_keys import variable_name
from corea.errors import ConfigError
from corea.secrets import HIDDEN, Secret, marked, may_be_key, shown, shown_url
from corea.types import Sampling

AZURE_HOSTS = (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")
KEY_HEADER = re.compile(
    r"(?:^|[_-])(?:api[_-]?key|key|token|secret|password|auth|authorization|cookie)$", re.IGNORECASE
)
CHAT = "chat"
CHAT_PATH = "/chat/completions"
PATHS = {  # after `base_url`, of each API
    CHAT: CHAT_PATH,
    "messages": "/messages",
    "responses": "/responses",
    "completions": "/completions",
    "embeddings": "/embeddings",
}
PLAIN_SAMPLING: dict[str, float] = {"top_k": -1, "top_p": 1.0, "min_p": 0.0}
COUNT_PATH = f"{PATHS['messages']}/count_tokens"
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token of RFC 9110, section 5.6.2


class KeyStyle(StrEnum):
    """The header that carries the key."""

    AUTO = "auto"  # `api-key` for Azure, `x-api-key` for messages to Anthropic, else a bearer token
    BEARER = "bearer"  # Authorization: Bearer KEY
    API_KEY = "api-key"  # api-key: KEY
    X_API_KEY = "x-api-key"  # x-api-key: KEY


class MaxTokensField(StrEnum):
    """The request field that limits the completion; OpenAI's reasoning models refuse the old one."""

    AUTO = "auto"  # max_completion_tokens at OpenAI and Azure, else max_tokens
    OLD = "max_tokens"
    NEW = "max_completion_tokens"


class SeedField(StrEnum):
    """The request field that carries the seed."""

    AUTO = "auto"  # random_seed at Mistral, else seed
    SEED = "seed"
    RANDOM_SEED = "random_seed"
    NONE = "none"  # the server refuses a seed; none is sent


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAISettings:
    """One model on one server.

    Args:
        model: Its name on the server. On Azure only for prices and traces; `azure_deployment` selects.
        base_url: Up to and including `/v1`; with `azure_deployment` the bare resource (`https://NAME.openai.azure.com`).
            In a configuration also a list: the same model on several servers.
        api_key_env: The NAME of the environment variable that holds the key; None for a server without keys.
        key_style: The key's header: `Authorization` with a bearer token, `api-key` or `x-api-key`; auto: by the host.
        headers: Further headers, without secrets.
        headers_env: Further headers whose values are secrets: header name to environment variable name.
        organization, project: OpenAI's headers of those names.
        apis: The server's APIs: chat, completions, embeddings, messages, responses; the gateway passes a request in one
            of them on as it came, and translates a message or response into a chat for any other server.
        cache_control: The server takes Anthropic's `cache_control` in chat requests, as OpenRouter and LiteLLM do; it
            is then kept in translated requests.
        azure_deployment: The deployment; makes the path `/openai/deployments/NAME/chat/completions`.
        api_version: The `api-version` query parameter (Azure).
        max_tokens_field: The request field that limits a completion, also where a client of the gateway named another;
            auto: the new one at OpenAI and Azure, else the client's, or the old one.
        seed_field: The request field of the seed; "none" for a server that refuses one.
        plain_sampling: Draws from the model's own probabilities: `top_k`, `top_p` and `min_p` are sent so that they cut
            nothing off, unless `sampling` sets them. For llama.cpp (which else keeps 40 tokens, those of a top_p of
            0.95 and above a min_p of 0.05), vLLM and SGLang (which else take the model's own); others refuse it.
        stream: `complete` streams too: the time of the first token is measured, and proxies see no long silence.
        stream_usage: Ask for usage at the end of a stream; False for an old server that refuses `stream_options`.
        connect_timeout_seconds: To open a connection.
        first_byte_timeout_seconds: From there until the first byte of the response; without streaming that comes when
            the completion is finished, so allow time for reasoning.
        total_timeout_seconds: One whole attempt.
        max_retries: Further attempts after the first.
        backoff_base_seconds, backoff_cap_seconds: Attempt n + 1 waits up to base * 2^(n-1), at most the cap.
        retry_after_cap_seconds: The longest Retry-After that is followed.
        breaker_failures: Failures in a row (no connection, timeout, 5xx) that open the circuit breaker.
        breaker_cool_down_seconds: Time that it then refuses calls before it admits one.
        wait_when_open: Wait for the cool-down instead of failing at once: for batch runs.
        max_connections: The size of the connection pool; a call beyond it waits for a free one.
        proxy: URL of an HTTP proxy.
    """

    model: str
    base_url: str = "https://api.openai.com/v1"
    api_key_env: str | None = None
    key_style: KeyStyle = KeyStyle.AUTO
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    headers_env: Mapping[str, str] = field(default_factory=dict[str, str])
    organization: str | None = None
    project: str | None = None
    apis: tuple[str, ...] = (CHAT,)
    cache_control: bool = False
    azure_deployment: str | None = None
    api_version: str | None = None
    max_tokens_field: MaxTokensField = MaxTokensField.AUTO
    seed_field: SeedField = SeedField.AUTO
    plain_sampling: bool = False
    stream: bool = False
    stream_usage: bool = True
    connect_timeout_seconds: float = 10.0
    first_byte_timeout_seconds: float = 300.0
    total_timeout_seconds: float = 600.0  # as OpenAI's own client
    max_retries: int = 4
    backoff_base_seconds: float = 0.5
    backoff_cap_seconds: float = 20.0
    retry_after_cap_seconds: float = 60.0
    breaker_failures: int = 20  # below the default concurrency of a run, above what one hiccup of a pool gives
    breaker_cool_down_seconds: float = 15.0
    wait_when_open: bool = False
    max_connections: int = 128
    proxy: str | None = None

    def __post_init__(self) -> None:
        parts = split_url("base_url", self.base_url)
        if parts.username is not None or parts.query or parts.fragment:
            raise ConfigError(
                f"base_url: got a user, password or query in the URL of {parts.hostname}, expected none; name the "
                "variable that holds the key in api_key_env, and a version in api_version"
            )
        for name, variable in (("api_key_env", self.api_key_env), *self.headers_env.items()):
            if variable is not None:
                variable_name(
                    variable,
                    name if name == "api_key_env" else f"headers_env.{name if not may_be_key(name) else HIDDEN}",
                )
        for name in (*self.headers, *self.headers_env):
            if not HEADER_NAME.fullmatch(name) or may_be_key(name):
                raise ConfigError(f"headers: got {shown(name)} as a header's name, expected one such as X-Team")
        if secret := next((name for name in self.headers if KEY_HEADER.search(name)), None):
            raise ConfigError(
                f"headers: got {secret!r}, expected no key in a file; put it into an environment variable and name "
                "that in api_key_env or headers_env"
            )
        object.__setattr__(self, "base_url", marked(self.base_url))  # no repr shows a key in its path
        if self.proxy is not None:
            with_user = split_url("proxy", self.proxy).username is not None
            object.__setattr__(self, "proxy", Secret(self.proxy) if with_user else self.proxy)
        if self.azure_deployment and not self.api_version:
            raise ConfigError("api_version is missing: azure_deployment needs it, such as '2024-10-21'")
        for name in self.apis:
            if name not in PATHS:
                raise ConfigError(f"apis: got {name!r}, expected some of {', '.join(PATHS)}")
        for name in ("connect_timeout_seconds", "first_byte_timeout_seconds", "total_timeout_seconds"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name}: got {getattr(self, name)}, expected more than 0")
        for name, least in (("max_retries", 0), ("breaker_failures", 1), ("max_connections", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name}: got {getattr(self, name)}, expected at least {least}")
        for name in ("backoff_base_seconds", "backoff_cap_seconds", "breaker_cool_down_seconds"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name}: got {getattr(self, name)}, expected 0 or more")

    @property
    def on_azure(self) -> bool:
        """True for Azure, by the host's name or because a deployment is set."""
        return self.azure_deployment is not None or (urlsplit(self.base_url).hostname or "").endswith(AZURE_HOSTS)

    @property
    def at_mistral(self) -> bool:
        """True for Mistral's own API, which refuses fields that it does not know."""
        return urlsplit(self.base_url).hostname == "api.mistral.ai"

    @property
    def seed_name(self) -> str | None:
        """The request field that carries the seed; None if the server takes none."""
        if self.seed_field is SeedField.AUTO:
            return (SeedField.RANDOM_SEED if self.at_mistral else SeedField.SEED).value
        return None if self.seed_field is SeedField.NONE else self.seed_field.value

    def sent(self, sampling: Sampling) -> Sampling:
        """The sampling settings that are sent for these: with `plain_sampling`, in full."""
        if not self.plain_sampling or sampling.temperature == 0:
            return sampling
        own = {} if sampling.top_p is None else {"top_p": sampling.top_p}
        return replace(sampling, extra={**PLAIN_SAMPLING, **own, **sampling.extra})

    @property
    def url(self) -> str:
        """The URL of chat requests."""
        return self.url_of(CHAT_PATH)

    def url_of(self, path: str) -> str:
        """The URL of requests in an API, by its path after `base_url`."""
        base = self.base_url.rstrip("/").removesuffix(CHAT_PATH)
        if self.azure_deployment:
            base = f"{base.removesuffix('/openai')}/openai/deployments/{quote(self.azure_deployment, safe='')}"
        query = f"?{urlencode({'api-version': self.api_version})}" if self.api_version else ""
        return f"{base}{path}{query}"

    @property
    def limit_field(self) -> str:
        """The request field that carries `max_tokens`."""
        return (self.only_limit_field or MaxTokensField.OLD).value

    @property
    def only_limit_field(self) -> MaxTokensField | None:
        """The only field for `max_tokens` that the server is known to take; None where that is not known."""
        if self.max_tokens_field is not MaxTokensField.AUTO:
            return self.max_tokens_field
        if self.api_version and self.api_version[:7] < "2024-09":
            return MaxTokensField.OLD  # Azure has the new field since o1, 2024-09-01-preview
        if self.at_mistral:
            return MaxTokensField.OLD
        new = self.on_azure or urlsplit(self.base_url).hostname == "api.openai.com"
        return MaxTokensField.NEW if new else None

    def key_header(self, path: str) -> str:
        """The header of the key in requests to a path; "Authorization" takes it as a bearer token."""
        if self.key_style is KeyStyle.BEARER:
            return "Authorization"
        if self.key_style is not KeyStyle.AUTO:
            return self.key_style.value
        if self.on_azure:
            return KeyStyle.API_KEY.value
        at_anthropic = path.startswith(PATHS["messages"]) and urlsplit(self.base_url).hostname == "api.anthropic.com"
        return KeyStyle.X_API_KEY.value if at_anthropic else "Authorization"

    @property
    def where(self) -> str:
        """The model and server, for messages."""
        return f"{self.model} at {shown_url(self.base_url)}"
