"""Prices of tokens: exact decimal arithmetic in USD, without floats between a price and a total.

A model's price comes from the user's own table, else from the snapshot in the `genai-prices` package. A self-hosted
model in neither is counted as free and flagged; any other is an error before the first call. Prices have at most 9
decimals, so every cost is a finite decimal and sums are exact.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from decimal import ROUND_UP, Context, Decimal, Inexact, InvalidOperation
from ipaddress import ip_address
from sys import maxsize
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

from corea.errors import ConfigError, unknown_name
from corea.money import decimals_of, read_usd
from corea.types import ZERO_USD, Usage

EXACT = Context(prec=120, traps=[Inexact, InvalidOperation])  # rounding raises an error
WIDE = Context(prec=120)
DECIMALS = 9  # of a price; costs then have at most 15, well below the 28 digits of Decimal's default context
STEP = Decimal(1).scaleb(-DECIMALS)
SECONDS_PER_HOUR = 3600
MTOK = Decimal(1_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTier:
    """Prices that hold for a whole request once its prompt is longer than `above_prompt_tokens`."""

    above_prompt_tokens: int
    input_usd_per_mtok: Decimal
    output_usd_per_mtok: Decimal
    cached_input_usd_per_mtok: Decimal | None = None
    cache_write_usd_per_mtok: Decimal | None = None
    cache_write_1h_usd_per_mtok: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The price of one model's tokens.

    Args:
        input_usd_per_mtok, output_usd_per_mtok: For a million prompt tokens, and a million completion tokens.
        cached_input_usd_per_mtok: For prompt tokens that came from a cache; None: as other prompt tokens.
        cache_write_usd_per_mtok: For prompt tokens written to a cache (Anthropic's cost more); None: as others.
        cache_write_1h_usd_per_mtok: For those that are kept for an hour; None: as other cache writes.
        reasoning_usd_per_mtok: For reasoning tokens; None: as other completion tokens.
        usd_per_request: For each request, in addition.
        usd_per_web_search, usd_per_tool_call: For a tool's call at the server; None: unknown, the cost is incomplete.
        tiers: Higher prices of long prompts, by increasing length: each has `above_prompt_tokens` and token prices.
        machine_usd_per_hour: Price of the machine; with `tokens_per_second` it replaces token prices.
        tokens_per_second: Completion tokens per second of the machine over all its requests, measured on similar work;
            this includes the time for prompts, so prompts cost nothing extra.
        batch: The part of the token prices that the provider's batch API charges; None: not known.
        source: Origin of the price, for readers.
        assumed_free: A self-hosted model without a known price; its tokens are counted as free.
    """

    input_usd_per_mtok: Decimal = ZERO_USD
    output_usd_per_mtok: Decimal = ZERO_USD
    cached_input_usd_per_mtok: Decimal | None = None
    cache_write_usd_per_mtok: Decimal | None = None
    cache_write_1h_usd_per_mtok: Decimal | None = None
    reasoning_usd_per_mtok: Decimal | None = None
    usd_per_request: Decimal = ZERO_USD
    usd_per_web_search: Decimal | None = None
    usd_per_tool_call: Decimal | None = None
    tiers: tuple[PriceTier, ...] = ()
    machine_usd_per_hour: Decimal | None = None
    tokens_per_second: Decimal | None = None
    batch: Decimal | None = None
    source: str = "given"
    assumed_free: bool = False
    _scale: int = field(default=0, init=False, repr=False, compare=False)
    _calls: tuple[int, ...] = field(default=(), init=False, repr=False, compare=False)
    _rates: "tuple[_Rates, ...]" = field(default=(), init=False, repr=False, compare=False)
    _highest: "tuple[_HighestRates, ...]" = field(default=(), init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in MONEY_FIELDS:
            _check_number(name, getattr(self, name), self.source)
        for tier in self.tiers:
            for name in TIER_FIELDS:
                _check_number(f"tiers.{name}", getattr(tier, name), self.source)
        if (self.machine_usd_per_hour is None) != (self.tokens_per_second is None):
            raise ConfigError(
                f"price of {self.source}: got one of machine_usd_per_hour, tokens_per_second, both are needed"
            )
        if self.tokens_per_second is not None:
            if not self.tokens_per_second.is_finite() or self.tokens_per_second <= 0:
                raise ConfigError(
                    f"price of {self.source}: tokens_per_second: got {self.tokens_per_second}, expected > 0"
                )
            if self.input_usd_per_mtok or self.output_usd_per_mtok:
                raise ConfigError(
                    f"price of {self.source}: got a machine-hour and token prices, expected one of the two"
                )
        self._whole_rates()

    @property
    def in_batch(self) -> "Price | None":
        """The price by the provider's batch API; None where that is not known. Requests and tools cost the same."""
        if self.batch is None:
            return self if self.assumed_free else None
        whole, rates = self.batch, (*TIER_FIELDS, "reasoning_usd_per_mtok", "machine_usd_per_hour")

        def cut(rated: Any, names: tuple[str, ...]) -> dict[str, Decimal]:
            found = {name: getattr(rated, name) for name in names}
            return {name: EXACT.multiply(rate, whole) for name, rate in found.items() if rate is not None}

        tiers = tuple(replace(tier, **cut(tier, TIER_FIELDS)) for tier in self.tiers)
        return replace(self, **cut(self, rates), tiers=tiers, batch=None, source=f"{self.source}, {whole} in a batch")

    @property
    def machine_usd_per_mtok(self) -> Decimal:
        """USD per million completion tokens of a machine priced by the hour, rounded up to 9 decimals."""
        if self.machine_usd_per_hour is None or self.tokens_per_second is None:
            return ZERO_USD
        per_second = WIDE.divide(self.machine_usd_per_hour * MTOK, SECONDS_PER_HOUR)
        return WIDE.divide(per_second, self.tokens_per_second).quantize(STEP, rounding=ROUND_UP, context=WIDE)

    def cost(self, usage: Usage, *, requests: int = 1) -> Decimal:
        """The exact cost in USD of the tokens of `requests` calls; the prompt tokens choose the tier."""
        rates, prompt = self._rates[0], usage.prompt_tokens
        for tier in self._rates[1:]:
            if prompt > tier.above:
                rates = tier
        request, search, tool = self._calls
        units = rates.fresh * prompt + rates.written * usage.completion_tokens
        units += request * requests + search * usage.web_searches + tool * usage.tool_calls
        if usage.cached_tokens or usage.cache_write_tokens:  # parts of the whole, whatever a server says
            cached = min(usage.cached_tokens, prompt)
            stored = min(usage.cache_write_tokens, prompt - cached)
            units += (rates.cached - rates.fresh) * cached + (rates.stored - rates.fresh) * stored
            units += (rates.stored_1h - rates.stored) * min(usage.cache_write_1h_tokens, stored)
        if usage.reasoning_tokens:
            units += (rates.reasoning - rates.written) * min(usage.reasoning_tokens, usage.completion_tokens)
        return EXACT.scaleb(units, -self._scale) if units else ZERO_USD

    def at_most(self, prompt_tokens: int, max_tokens: int) -> Decimal:
        """An upper bound in USD for one call with at most so many prompt tokens and tokens to write."""
        units = 0
        for rates in self._highest:
            if rates.above and rates.above >= prompt_tokens:
                break
            units = max(units, rates.read * min(rates.end, prompt_tokens) + rates.written * max_tokens)
        return EXACT.scaleb(units + self._calls[0], -self._scale)

    def _whole_rates(self) -> None:
        """Sets the rates as whole numbers of 10 ** -scale USD, with which a cost is whole-number arithmetic."""
        output = self.output_usd_per_mtok if self.machine_usd_per_hour is None else self.machine_usd_per_mtok
        columns = [(0, output, self), *((t.above_prompt_tokens, t.output_usd_per_mtok, t) for t in self.tiers)]
        tokens = [getattr(rates, name) for _, _, rates in columns for name in TIER_FIELDS]
        tokens += [output, self.reasoning_usd_per_mtok]
        decimals = max(decimals_of(rate) for rate in tokens if rate is not None)
        calls = (self.usd_per_request, self.usd_per_web_search or ZERO_USD, self.usd_per_tool_call or ZERO_USD)
        scale = max(decimals + 6, *map(decimals_of, calls))

        def whole(*rates: Decimal | None) -> int:
            """The first rate that is given, per token."""
            return next(int(EXACT.scaleb(rate, scale - 6)) for rate in rates if rate is not None)

        rates = tuple(
            _Rates(
                above,
                fresh=whole(column.input_usd_per_mtok),
                cached=whole(column.cached_input_usd_per_mtok, column.input_usd_per_mtok),
                stored=whole(column.cache_write_usd_per_mtok, column.input_usd_per_mtok),
                stored_1h=whole(
                    column.cache_write_1h_usd_per_mtok, column.cache_write_usd_per_mtok, column.input_usd_per_mtok
                ),
                written=whole(output),
                reasoning=whole(self.reasoning_usd_per_mtok, output),
            )
            for above, output, column in columns
        )
        object.__setattr__(self, "_scale", scale)
        object.__setattr__(self, "_calls", tuple(int(EXACT.scaleb(usd, scale)) for usd in calls))
        object.__setattr__(self, "_rates", rates)
        ends = (*(each.above for each in rates[1:]), maxsize)
        highest = (
            _HighestRates(
                each.above,
                end,
                read=max(each.fresh, each.cached, each.stored, each.stored_1h),
                written=max(each.written, each.reasoning),
            )
            for each, end in zip(rates, ends, strict=True)
        )
        object.__setattr__(self, "_highest", tuple(highest))


class _Rates(NamedTuple):
    """Rates of prompts longer than `above` tokens, as whole numbers of a price's smallest unit."""

    above: int
    fresh: int
    cached: int
    stored: int
    stored_1h: int
    written: int
    reasoning: int


class _HighestRates(NamedTuple):
    """The highest rates of prompts longer than `above` tokens, up to `end`."""

    above: int
    end: int
    read: int
    written: int


TIER_FIELDS = tuple(f.name for f in fields(PriceTier) if "usd_per" in f.name)
MONEY_FIELDS = tuple(f.name for f in fields(Price) if "usd_per" in f.name)


def _check_number(name: str, value: Decimal | None, source: str) -> None:
    if value is None:
        return
    where = f"price of {source}: {name}"
    if not isinstance(value, Decimal):  # pyright: ignore[reportUnnecessaryIsInstance]  # a float here would be silent
        raise ConfigError(f"{where}: got {value!r}, expected a Decimal, so that sums stay exact")
    read_usd(where, value, decimals=DECIMALS)


COUNTED_AS_FREE = "no price: counted as free"
FREE = Price(source=COUNTED_AS_FREE, assumed_free=True)
MAKERS = ("anthropic", "google", "openai", "x-ai")  # of models that cannot be self-hosted ...
OPEN_WEIGHTS = ("oss", "gemma")  # ... except these


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Prices by model name: the user's own first, then the snapshot of `genai-prices`, never updated online.

    Args:
        own: `[prices."MODEL"]` tables of a configuration: the fields of `Price` as strings or numbers, or
            Prices.
        at: The day of the snapshot's prices; by default today.
        snapshot: False uses only `own`.
    """

    own: Mapping[str, Any] = field(default_factory=dict[str, Any])
    at: datetime | None = None
    snapshot: bool = True

    def __post_init__(self) -> None:
        for model, table in self.own.items():
            read_price(model, table)  # reports a bad entry now, not at the first call

    def lookup(self, model: str, *, provider: str | None = None, api_url: str | None = None) -> Price:
        """The price of a model.

        Args:
            model: The server's name of it, or "provider/model", such as "openrouter/openai/gpt-4o".
            provider: The provider, where several sell the model.
            api_url: The server's address. A model at a local address has no public price: it must be in the
                user's own table.

        Raises:
            ConfigError: There is none; the message has the lines to add.
        """
        if model in self.own:
            return read_price(model, self.own[model])
        if self.snapshot and not (api_url and is_local(api_url)):
            from corea.price_snapshot import from_snapshot  # brings pydantic

            found = from_snapshot(model, provider, api_url, self.at or datetime.now(UTC))
            if found is not None:
                tiers = tuple(PriceTier(**tier) for tier in found.pop("tiers"))
                return Price(**found, tiers=tiers)
        raise ConfigError(
            f"prices: no price is known for model {model!r}; add to corea.toml: "
            f'[prices."{model}"] with input_usd_per_mtok = "..." and output_usd_per_mtok = "..." '
            '(USD per million tokens; "0" where tokens cost nothing), or '
            'machine_usd_per_hour = "..." and tokens_per_second = "..."'
        )

    def lookup_self_hosted(self, model: str, *, in_process: bool = False) -> Price:
        """The price of a model at an address on this machine or network, or in this process.

        A model in no table is free and flagged. A local server may also be a proxy to a paid API; that is certain where
        only its maker can run the model, which is an error.

        Raises:
            ConfigError: There is no price, and it is such a model.
        """
        if model in self.own:
            return read_price(model, self.own[model])
        if in_process or not self._only_its_maker_runs(model):
            return FREE
        raise ConfigError(
            f"prices: model {model!r} is only sold by its maker, so the server on this network must be a proxy to an "
            f'API that costs; add [prices."{model}"] to corea.toml, or price = "PROVIDER/MODEL" to its stage, such as '
            'price = "openai/gpt-4o"'
        )

    def _only_its_maker_runs(self, model: str) -> bool:
        name = model.rpartition("/")[2].lower()
        if not self.snapshot or any(part in name for part in OPEN_WEIGHTS):
            return False
        from corea.price_snapshot import from_snapshot

        return any(from_snapshot(name, maker, None, self.at or datetime.now(UTC)) for maker in MAKERS)


def read_price(model: str, table: Any) -> Price:
    """A Price from one table of a configuration. A float counts as the decimal that was written.

    Raises:
        ConfigError: A key is unknown, or a value is not a number.
    """
    where = f'prices."{model}"'
    if isinstance(table, Price):
        return table
    if not isinstance(table, Mapping) or not table:
        raise ConfigError(f"{where}: got {table!r}, expected a table with input_usd_per_mtok and output_usd_per_mtok")
    entries = cast(Mapping[str, Any], table)
    known = (*MONEY_FIELDS, "tokens_per_second", "batch")
    values: dict[str, Decimal] = {}
    for key, value in entries.items():
        if key not in known:
            raise unknown_name(f"{where}: key", key, known)
        values[key] = read_usd(f"{where}.{key}", value, decimals=DECIMALS)
    if "machine_usd_per_hour" not in values and "tokens_per_second" not in values:
        for key in ("input_usd_per_mtok", "output_usd_per_mtok"):
            if key not in values:
                raise ConfigError(
                    f'{where}: {key} is missing; add {key} = "..." (USD per million tokens; "0" is allowed)'
                )
    return replace(Price(source=f"{model} (own table)"), **values)


def is_local(url: str) -> bool:
    """True for an address on this machine or a private network."""
    host = urlsplit(url if "://" in url else f"//{url}").hostname or ""
    try:
        return ip_address(host).is_private
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".local", ".internal")) or "." not in host
