"""Amounts of money in settings, files and requests, parsed exactly by one rule."""

from decimal import Decimal, InvalidOperation
from typing import Any

from corea.errors import ConfigError

MOST_USD = Decimal(10) ** 12  # no bill is higher, and ...
DECIMALS = 60  # ... none finer, so that every sum of amounts is exact (`corea.prices.EXACT` has 120 digits)


def read_usd(where: str, value: Any, *, decimals: int = DECIMALS) -> Decimal:
    """The amount of a setting or option.

    Raises:
        ConfigError: It is none; the message begins with `where`.
    """
    try:
        return parse_usd(value, decimals=decimals)
    except ValueError as error:
        raise ConfigError(f"{where}: got {_shown(value)}, expected {error}") from None


def parse_usd(value: Any, *, decimals: int = DECIMALS) -> Decimal:
    """An amount in USD of at least 0: a text such as "2.50" or "$2.50", or a number (a float counts as it is written).

    Raises:
        ValueError: It is none; the message is what is expected instead.
    """
    found = _decimal(value)
    if not found.is_finite() or found < 0:
        raise ValueError("an amount in USD of at least 0, such as 2.50")
    if found > MOST_USD:
        raise ValueError(f"an amount in USD of at most {MOST_USD:,}")
    if not found:
        return Decimal(0)
    if decimals_of(found) > decimals:
        raise ValueError(f"an amount in USD with at most {decimals} decimals; round it")
    return found


def usd_text(amount: Decimal | None) -> str | None:
    """An amount as plain digits, exact; None stays None."""
    return None if amount is None else format(amount, "f")


def _decimal(value: Any) -> Decimal:
    if isinstance(value, str):
        value = value.strip().removeprefix("$")
    elif isinstance(value, float):
        value = float.__repr__(value)  # what was written, of numpy's floats too
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError("an amount in USD such as 2.50")
    try:
        return Decimal(value)
    except InvalidOperation:
        raise ValueError("an amount in USD such as 2.50") from None


def decimals_of(amount: Decimal) -> int:
    """The number of decimals without trailing zeros."""
    if not amount:
        return 0
    _, digits, exponent = amount.as_tuple()
    zeros = len(digits) - len("".join(map(str, digits)).rstrip("0"))
    return max(0, -int(exponent) - zeros)


def _shown(value: Any) -> str:
    text = str(value) if isinstance(value, Decimal) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
