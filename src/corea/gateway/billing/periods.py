"""Budgets of a key: over its whole life, and per day, week and month of the UTC calendar."""

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple

from corea.gateway.billing.keys import ApiKey
from corea.gateway.errors import GatewayError
from corea.types import ZERO_USD

EPOCH = date(1970, 1, 1)
DAY_SECONDS = 86_400
DAYS_KEPT = 31  # the longest period
WHOSE = {"key": "this key's", "group": "this key's group's"}  # by role
NO_BUDGETS = {"day": None, "week": None, "month": None}


class BudgetLeft(NamedTuple):
    """One budget of a key.

    Args:
        period: "day", "week" or "month"; "" is the key's whole life.
        left_usd: Neither spent nor, yet, reserved.
        days_left: Until the period ends; 0 for the whole life.
    """

    period: str
    usd: Decimal
    left_usd: Decimal
    days_left: int


def budgets_left(key: ApiKey, spent: Decimal, by_day: Mapping[int, Decimal], today: int) -> list[BudgetLeft]:
    """The rest of every budget that a key has.

    Args:
        spent: Over the key's whole life.
        by_day: Its spending by day since 1970.
        today: The present day.
    """
    found: list[BudgetLeft] = []
    if key.budget_usd is not None:
        found.append(BudgetLeft("", key.budget_usd, key.budget_usd - spent, 0))
    periods = {"day": key.budget_day_usd, "week": key.budget_week_usd, "month": key.budget_month_usd}
    if periods == NO_BUDGETS:  # as most keys have
        return found
    for period, (first, end) in calendar_periods(today).items():
        if (budget := periods[period]) is not None:
            used = sum((usd for day, usd in by_day.items() if day >= first), ZERO_USD)
            found.append(BudgetLeft(period, budget, budget - used, end - today))
    return found


def budgets_of(key: ApiKey, spent: Decimal, used: Mapping[str, Decimal], day: int, today: int) -> list[BudgetLeft]:
    """The rest of every budget that a key has.

    Args:
        spent: Over the key's whole life.
        used: By period, in the one that holds `day`.
        day: Of the last booking, since 1970, as `today`.
    """
    found = [BudgetLeft("", key.budget_usd, key.budget_usd - spent, 0)] if key.budget_usd is not None else []
    for period, (first, end) in calendar_periods(today).items():
        if (budget := getattr(key, f"budget_{period}_usd")) is not None:
            found.append(BudgetLeft(period, budget, budget - (used[period] if day >= first else ZERO_USD), end - today))
    return found


def calendar_periods(today: int) -> dict[str, tuple[int, int]]:
    """First day of the present day, week (from Monday) and month, and of the next one."""
    now = EPOCH + timedelta(today)
    monday = today - now.weekday()
    next_month = (now.replace(day=28) + timedelta(4)).replace(day=1)
    month = today - now.day + 1, (next_month - EPOCH).days
    return {"day": (today, today + 1), "week": (monday, monday + 7), "month": month}


def check_budgets(
    budgets: list[BudgetLeft], reserved: Decimal, reserve: Decimal, now: float, whose: str = "this key's"
) -> None:
    """Checks that each budget covers a request.

    Args:
        reserved: By requests under way.
        reserve: By this one.
        now: Seconds since 1970.

    Raises:
        GatewayError: 429, one does not.
    """
    for budget in budgets:
        left, named = budget.left_usd, f"budget per {budget.period}" if budget.period else "budget"
        if reserve <= left - reserved:
            continue
        if reserve <= left:
            message = f"${reserved:f} of the ${left:f} left of {whose} {named} is reserved by running requests."
            retry = (("retry-after", "1"),)
            raise GatewayError(429, message, "rate_limit_error", "budget_reserved", headers=retry)
        message = f"This request may cost ${reserve:f}, and ${max(left, ZERO_USD):f} is left of {whose} {named}"
        wait = budget.days_left * DAY_SECONDS - int(now % DAY_SECONDS)
        retry = (("retry-after", str(wait)),) if budget.period else ()
        raise GatewayError(
            429, f"{message} of ${budget.usd:f}.", "insufficient_quota", "insufficient_quota", headers=retry
        )
