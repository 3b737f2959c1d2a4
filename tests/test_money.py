"""Money is read by one rule, whoever writes it, and what is no amount is refused where it stands."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from corea.calibrate.targets import Targets
from corea.cli.console import amount
from corea.cli.rows import prices_of
from corea.config import parse_config
from corea.errors import ConfigError
from corea.gateway.billing.keys import KeyLimits
from corea.gateway.chat.request import parse_chat
from corea.gateway.errors import GatewayError
from corea.gateway.ops.settings import GatewayBudgets
from corea.money import parse_usd
from corea.prices import read_price
from corea.run.budget import Budget

NO_AMOUNTS = [
    "nan", "sNaN", "inf", "-inf", "Infinity", "1e400", "-1e400", "1e-400", "-0.01", "1e13", "0." + "1" * 61,
    "2,50", "2.50 EUR", "", "$", "--1", "0x10", "one",
]  # fmt: skip


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("2.50", "2.50"), ("$2.50", "2.50"), (" 0.000001 ", "0.000001"), ("1e-6", "0.000001"), ("1e12", "1e12"),
        (0, "0"), (3, "3"), (0.1, "0.1"), (0.1 + 0.2, "0.30000000000000004"), (1e-7, "0.0000001"),
        ("-0", "0"), ("0e400", "0"), ("1.5" + "0" * 100, "1.5"), (Decimal("0.15"), "0.15"),
    ],
)  # fmt: skip
def test_an_amount_is_what_was_written(written: Any, amount: str) -> None:
    assert parse_usd(written) == Decimal(amount)
    assert not parse_usd(written).is_signed()


@pytest.mark.parametrize("written", [*NO_AMOUNTS, True, None, [], float("nan"), float("inf"), -1, Decimal("NaN")])
def test_what_is_no_amount_is_refused(written: Any) -> None:
    with pytest.raises(ValueError, match=r"an amount in USD"):
        parse_usd(written)


def gateway_control(text: str) -> Any:
    body = {"model": "corea", "messages": [{"role": "user", "content": "?"}], "corea": {"max_cost_usd": text}}
    return parse_chat(json.dumps(body).encode())


def run_budget(text: str) -> Any:
    stages = {"a": {"backend": {"kind": "fake"}}}
    return parse_config({"stages": stages, "run": {"budget_usd": text}}).run.budget_usd


READERS: dict[str, Callable[[str], Any]] = {
    "--budget-usd": amount,
    "config: run.budget_usd": run_budget,
    'prices."m".input_usd_per_mtok': lambda text: read_price(
        "m", {"input_usd_per_mtok": text, "output_usd_per_mtok": 1}
    ),
    'prices."m".tokens_per_second': lambda text: read_price(
        "m", {"machine_usd_per_hour": 1, "tokens_per_second": text}
    ),
    "--price": lambda text: prices_of([f"m={text}/1"]),
    "corea.max_cost_usd": gateway_control,
}


@pytest.mark.parametrize("written", NO_AMOUNTS)
@pytest.mark.parametrize("where", READERS)
def test_it_is_refused_in_one_line_that_names_the_place(where: str, written: str) -> None:
    with pytest.raises((ConfigError, GatewayError)) as caught:
        READERS[where](written)
    said = str(caught.value)
    assert said.startswith(f"{where}: got ")
    assert "\n" not in said
    assert len(said) < 200


@pytest.mark.parametrize("value", ["NaN", "-0.01", "1e400", "1e-400"])
def test_amounts_that_programs_hand_over_are_checked_too(value: str) -> None:
    with pytest.raises(ConfigError, match=r"^budget_usd: got"):
        KeyLimits(budget_usd=Decimal(value))
    with pytest.raises(ConfigError, match=r"^budget-usd: got"):
        Budget(Decimal(value))
    with pytest.raises(ConfigError, match=r"^gateway.budgets.default_reserve_usd: got"):
        GatewayBudgets(default_reserve_usd=Decimal(value))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.01, 1e300])
@pytest.mark.parametrize("name", ["max_cost_usd", "value_usd", "abstain_usd", "cost_cap_usd"])
def test_goals_in_money_are_amounts(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"^{name.replace('_', '-')}: got .*an amount in USD"):
        Targets(**{"value_usd": 1.0, name: value})


def test_a_price_has_at_most_nine_decimals_and_a_very_slow_machine_is_very_dear() -> None:
    with pytest.raises(ConfigError, match="at most 9 decimals; round it"):
        read_price("m", {"input_usd_per_mtok": "0.0000000001", "output_usd_per_mtok": "1"})
    slow = read_price("m", {"machine_usd_per_hour": "36e9", "tokens_per_second": "1e-9"})
    assert slow.machine_usd_per_mtok == Decimal("1e22")
