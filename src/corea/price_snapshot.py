"""Prices of the snapshot in the `genai-prices` package, as `corea.prices` has them. Imported when used."""

from datetime import datetime
from decimal import ROUND_UP, Decimal
from typing import Any

from genai_prices import __version__
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ConditionalPrice, ModelInfo, ModelPrice, Provider, StartDateConstraint

from corea.types import ZERO_USD

Fields = dict[str, Any]  # of a Price, its tiers as fields of theirs
NOT_IN_TIERS = ("reasoning_usd_per_mtok",)
STEP = Decimal(1).scaleb(-9)  # of a price
HALF, HALF_IN_BATCH = Decimal("0.5"), ("anthropic/", "openai/")  # providers whose batch API charges half


def from_snapshot(model: str, provider: str | None, api_url: str | None, at: datetime) -> Fields | None:
    """The fields of a model's Price; None where the snapshot has none."""
    snapshot = get_snapshot()
    tries = [(model, provider, None if provider else api_url)]
    seller, slash, rest = model.partition("/")
    if slash and provider is None and api_url is None:
        tries.append((rest, seller, None))
    for name, provider_id, url in tries:
        try:
            found = snapshot.find_provider_model(name, None, provider_id, url)
        except LookupError:
            continue
        if (price := _converted(*found, at)) is not None:
            return price
    return None


def _converted(provider: Provider, info: ModelInfo, at: datetime) -> Fields | None:
    """A snapshot's entry as the fields of a Price; None where it has no price for text tokens.

    Where a price depends on the time of day, the highest is taken, so that a total is never too small.
    """
    entries = info.prices if isinstance(info.prices, list) else [ConditionalPrice(prices=info.prices)]
    dated = [e for e in entries if not isinstance(e.constraint, StartDateConstraint) or e.constraint.active(at)]
    since = [n for n, e in enumerate(dated) if e.constraint is None or isinstance(e.constraint, StartDateConstraint)]
    current = dated[since[-1] :] if since else dated or entries[:1]  # later entries take precedence over earlier ones
    source = f"{provider.id}/{info.id}, genai-prices {__version__}"
    prices = [p for p in (_one_price(e.prices, source) for e in current) if p is not None]
    return max(prices, key=lambda p: (p["output_usd_per_mtok"], p["input_usd_per_mtok"]), default=None)


def _one_price(entry: ModelPrice, source: str) -> Fields | None:
    columns = {
        "input_usd_per_mtok": entry.input_mtok,
        "output_usd_per_mtok": entry.output_mtok,
        "cached_input_usd_per_mtok": entry.cache_read_mtok,
        "cache_write_usd_per_mtok": entry.cache_write_mtok,
        "cache_write_1h_usd_per_mtok": entry.cache_write_1h_mtok,
        "reasoning_usd_per_mtok": entry.output_reasoning_mtok,
    }
    if columns["input_usd_per_mtok"] is None or columns["output_usd_per_mtok"] is None:
        return None
    base: dict[str, Any] = {
        name: _rounded(_at_length(value, 0)) for name, value in columns.items() if value is not None
    }
    starts = sorted({tier.start for v in columns.values() for tier in getattr(v, "tiers", ())})
    tiers = tuple(
        {n: _rounded(_at_length(v, start + 1)) for n, v in columns.items() if v is not None and n not in NOT_IN_TIERS}
        | {"above_prompt_tokens": start}
        for start in starts
    )
    per_thousand = entry.requests_kcount
    per_request = _rounded(_at_length(per_thousand, 0).scaleb(-3)) if per_thousand is not None else ZERO_USD
    batch = HALF if source.startswith(HALF_IN_BATCH) else None
    return {**base, "tiers": tiers, "usd_per_request": per_request, "batch": batch, "source": source}


def _at_length(value: Any, prompt_tokens: int) -> Decimal:
    """A snapshot's price at a prompt length: a Decimal, or one with tiers that hold above their start."""
    if isinstance(value, Decimal):
        return value
    reached = [tier.price for tier in value.tiers if prompt_tokens > tier.start]
    return reached[-1] if reached else value.base


def _rounded(value: Decimal) -> Decimal:
    return value.quantize(STEP, rounding=ROUND_UP).normalize() + 0
