from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corea.baseline_cost import BaselineEstimator
from corea.errors import ConfigError
from corea.ledger import Ledger
from corea.prices import Price, PriceTable, PriceTier, read_price
from corea.types import Completion, Question, Status, Step, Trace, Usage

MINI = Price(
    input_usd_per_mtok=Decimal("0.15"),
    output_usd_per_mtok=Decimal("0.60"),
    cached_input_usd_per_mtok=Decimal("0.075"),
)
TABLE = PriceTable(at=datetime(2026, 11, 1, tzinfo=UTC))

usd = st.integers(0, 10**12).map(lambda n: Decimal(n).scaleb(-9))
tokens = st.integers(0, 10**7)


def test_cached_tokens_are_charged_at_their_own_rate() -> None:
    usage = Usage(prompt_tokens=1000, cached_tokens=400, completion_tokens=100)
    assert MINI.cost(usage) == Decimal("0.00018")  # 600 * 0.15 + 400 * 0.075 + 100 * 0.60, in millionths


def test_reasoning_tokens_have_their_own_rate_where_there_is_one() -> None:
    usage = Usage(completion_tokens=100, reasoning_tokens=60)
    dear = Price(output_usd_per_mtok=Decimal(8), reasoning_usd_per_mtok=Decimal(3))
    assert dear.cost(usage) == Decimal("0.0005")
    assert Price(output_usd_per_mtok=Decimal(8)).cost(usage) == Decimal("0.0008")


def test_a_long_prompt_makes_the_whole_request_dearer() -> None:
    tier = PriceTier(above_prompt_tokens=200_000, input_usd_per_mtok=Decimal(6), output_usd_per_mtok=Decimal(20))
    price = Price(input_usd_per_mtok=Decimal(3), output_usd_per_mtok=Decimal(15), tiers=(tier,))
    assert price.cost(Usage(prompt_tokens=200_000)) == Decimal("0.6")
    assert price.cost(Usage(prompt_tokens=200_001)) == Decimal("1.200006")


def test_a_machine_by_the_hour_costs_by_its_throughput() -> None:
    price = Price(machine_usd_per_hour=Decimal("1.80"), tokens_per_second=Decimal(1000))
    assert price.machine_usd_per_mtok == Decimal("0.5")
    assert price.cost(Usage(prompt_tokens=5000, completion_tokens=2_000_000)) == Decimal(1)
    third = Price(machine_usd_per_hour=Decimal(1), tokens_per_second=Decimal(3))
    assert third.machine_usd_per_mtok == Decimal("92.592592593")  # rounded up once, so that all sums stay exact


def test_a_price_per_request_is_added() -> None:
    assert Price(usd_per_request=Decimal("0.005")).cost(Usage(), requests=3) == Decimal("0.015")


def test_tools_that_ran_at_the_server_cost_what_their_calls_do() -> None:
    usage = Usage(prompt_tokens=1_000_000, web_searches=3, tool_calls=2)
    price = Price(input_usd_per_mtok=Decimal(1), usd_per_web_search=Decimal("0.01"))
    assert price.cost(usage) == Decimal("1.03")
    price = Price(usd_per_web_search=Decimal("0.01"), usd_per_tool_call=Decimal("0.0025"))
    assert price.cost(usage) == Decimal("0.035")
    assert (usage + usage).web_searches == 6


def test_more_cached_than_prompt_tokens_never_gives_money_back() -> None:
    assert MINI.cost(Usage(prompt_tokens=10, cached_tokens=99)) == Decimal("0.00000075")


@given(
    usd,
    usd,
    st.none() | usd,
    st.lists(st.tuples(tokens, tokens, tokens, tokens), max_size=30),
    st.integers(6, 28),
)
def test_the_rows_sum_to_the_total_to_the_last_digit(input_usd, output_usd, cached_usd, calls, precision) -> None:
    price = Price(input_usd_per_mtok=input_usd, output_usd_per_mtok=output_usd, cached_input_usd_per_mtok=cached_usd)
    ledger, micro_nano = Ledger(), 0
    for prompt, cached, completion, reasoning in calls:
        usage = Usage(
            prompt_tokens=prompt,
            cached_tokens=min(cached, prompt),
            completion_tokens=completion,
            reasoning_tokens=min(reasoning, completion),
        )
        with localcontext() as context:
            context.prec = precision  # whatever the caller's context is
            cost = price.cost(usage)
        step = Step(stage="s", completion=Completion(text="", model="m", usage=usage), cost_usd=cost)
        ledger.add(Trace(question_id="q", steps=(step,), status=Status.ANSWERED, cost_usd=cost))
        cached_rate = input_usd if cached_usd is None else cached_usd
        micro_nano += int(input_usd.scaleb(9)) * (prompt - usage.cached_tokens)
        micro_nano += int(cached_rate.scaleb(9)) * usage.cached_tokens + int(output_usd.scaleb(9)) * completion
    assert int(ledger.cost_usd.scaleb(15)) == micro_nano
    assert ledger.stages.get("s") is None or ledger.stages["s"].cost_usd == ledger.cost_usd


@given(usd, usd, st.none() | usd, usd, tokens, tokens, st.data())
def test_no_call_within_the_bound_costs_more_than_at_most(input_usd, output_usd, cached_usd, dear, prompt, most, data):
    tier = PriceTier(above_prompt_tokens=1000, input_usd_per_mtok=dear, output_usd_per_mtok=dear)
    price = Price(
        input_usd_per_mtok=input_usd,
        output_usd_per_mtok=output_usd,
        cached_input_usd_per_mtok=cached_usd,
        tiers=(tier,),
    )
    used = data.draw(st.integers(0, prompt))
    usage = Usage(
        prompt_tokens=used,
        cached_tokens=data.draw(st.integers(0, used)),
        completion_tokens=data.draw(st.integers(0, most)),
    )
    assert price.cost(usage) <= price.at_most(prompt, most)


def test_the_users_own_table_comes_first() -> None:
    table = PriceTable({"gpt-4o-mini": {"input_usd_per_mtok": "9", "output_usd_per_mtok": 0.1}})
    assert table.lookup("gpt-4o-mini").input_usd_per_mtok == Decimal(9)
    assert table.lookup("gpt-4o-mini").output_usd_per_mtok == Decimal("0.1")  # the decimal that was written


def test_the_snapshot_knows_common_models() -> None:
    price = TABLE.lookup("gpt-4o-mini")
    assert (price.input_usd_per_mtok, price.output_usd_per_mtok) == (Decimal("0.15"), Decimal("0.6"))
    assert price.cached_input_usd_per_mtok == Decimal("0.075")
    assert price.source.startswith("openai/gpt-4o-mini, genai-prices")


def test_the_seller_can_be_named_or_told_by_the_address() -> None:
    by_name = TABLE.lookup("openrouter/openai/gpt-4o")
    by_url = TABLE.lookup("openai/gpt-4o", api_url="https://openrouter.ai/api/v1")
    assert by_name == by_url
    assert by_name.source.startswith("openrouter/")


def test_the_snapshots_long_prompt_tiers_are_kept() -> None:
    (tier,) = TABLE.lookup("claude-sonnet-4-5").tiers
    assert (tier.above_prompt_tokens, tier.input_usd_per_mtok) == (200_000, Decimal(6))


def test_of_prices_by_time_of_day_the_dearest_holds() -> None:
    assert TABLE.lookup("deepseek-chat").output_usd_per_mtok == Decimal("1.1")


@pytest.mark.parametrize(
    "url", ["http://localhost:11434/v1", "http://127.0.0.1:8000", "http://10.1.2.3/v1", "http://box/v1"]
)
def test_a_local_server_has_nobodys_public_price(url: str) -> None:
    with pytest.raises(ConfigError, match="no price is known"):
        TABLE.lookup("gpt-4o-mini", api_url=url)


def test_an_unknown_model_says_what_to_add() -> None:
    with pytest.raises(ConfigError) as caught:
        TABLE.lookup("my/model")
    message = str(caught.value)
    assert '[prices."my/model"]' in message
    assert 'input_usd_per_mtok = "..."' in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"input_usd": 1}, "key: got 'input_usd'"),
        ({"input_usd_per_mtok": 1}, "output_usd_per_mtok is missing"),
        ({"input_usd_per_mtok": "cheap", "output_usd_per_mtok": 1}, "got 'cheap'"),
        ({"input_usd_per_mtok": -1, "output_usd_per_mtok": 1}, "at least 0"),
        ({"input_usd_per_mtok": "NaN", "output_usd_per_mtok": 1}, "at least 0"),
        ({"input_usd_per_mtok": "0.1234567891", "output_usd_per_mtok": 1}, "at most 9 decimals"),
        ({"machine_usd_per_hour": 1}, "both are needed"),
        ({"machine_usd_per_hour": 1, "tokens_per_second": 0}, "expected > 0"),
        ({"machine_usd_per_hour": 1, "tokens_per_second": 5, "input_usd_per_mtok": 1}, "one of the two"),
        ({}, "expected a table"),
    ],
)
def test_a_bad_table_is_refused_in_one_line(table: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        PriceTable({"m": table})
    assert "\n" not in str(caught.value)


def test_zero_is_a_price() -> None:
    assert read_price("m", {"input_usd_per_mtok": "0", "output_usd_per_mtok": 0}).cost(Usage(prompt_tokens=9)) == 0


def test_a_float_is_no_price() -> None:
    with pytest.raises(ConfigError, match="expected a Decimal"):
        Price(input_usd_per_mtok=0.1)  # pyright: ignore[reportArgumentType]


def _seen(estimator: BaselineEstimator, characters: int, prompt: int, completion: int) -> None:
    usage = Usage(prompt_tokens=prompt, completion_tokens=completion)
    estimator.observe(Question.of("x" * characters), Completion(text="", model="m", usage=usage))


def test_the_baseline_is_unknown_before_anything_was_measured() -> None:
    assert BaselineEstimator().estimate(Question.of("x"), MINI) is None


def test_the_baseline_follows_the_length_of_the_question() -> None:
    estimator = BaselineEstimator()
    _seen(estimator, 100, 75, 20)  # a fixed part of 50 tokens and one token in four characters
    _seen(estimator, 300, 125, 40)
    usage = estimator.usage(Question.of("x" * 200))
    assert usage == Usage(prompt_tokens=100, completion_tokens=30, estimated=True)
    assert estimator.estimate(Question.of("x" * 200), MINI) == Decimal("0.000033")


def test_one_length_seen_scales_in_proportion() -> None:
    estimator = BaselineEstimator()
    _seen(estimator, 100, 50, 10)
    assert estimator.usage(Question.of("x" * 200)) == Usage(prompt_tokens=100, completion_tokens=10, estimated=True)


WRITING = Price(
    input_usd_per_mtok=Decimal(3),
    output_usd_per_mtok=Decimal(15),
    cached_input_usd_per_mtok=Decimal("0.3"),
    cache_write_usd_per_mtok=Decimal("3.75"),
    cache_write_1h_usd_per_mtok=Decimal(6),
)


def test_prompt_tokens_cost_by_what_a_cache_did_with_them() -> None:
    usage = Usage(
        prompt_tokens=1000, cached_tokens=100, cache_write_tokens=500, cache_write_1h_tokens=200, completion_tokens=10
    )
    fresh, read, five_minutes, an_hour = 400 * 3, 100 * Decimal("0.3"), 300 * Decimal("3.75"), 200 * 6
    assert WRITING.cost(usage) == (fresh + read + five_minutes + an_hour + 150) / Decimal(1_000_000)


@pytest.mark.parametrize(
    ("left_out", "rate"),
    [({"cache_write_1h_usd_per_mtok"}, "3.75"), ({"cache_write_1h_usd_per_mtok", "cache_write_usd_per_mtok"}, "3")],
)
def test_a_rate_that_is_not_given_is_the_next_more_general_one(left_out: set[str], rate: str) -> None:
    price = replace(WRITING, **dict.fromkeys(left_out))
    usage = Usage(prompt_tokens=1000, cache_write_tokens=1000, cache_write_1h_tokens=1000)
    assert price.cost(usage) == Decimal(rate) / 1000


@given(tokens, tokens, tokens, tokens)
def test_cache_writes_are_within_the_bound_and_within_the_prompt(
    prompt: int, read: int, written: int, hour: int
) -> None:
    usage = Usage(
        prompt_tokens=prompt, cached_tokens=read, cache_write_tokens=written, cache_write_1h_tokens=hour
    )  # whatever a server says
    assert 0 <= WRITING.cost(usage) <= WRITING.at_most(prompt, 0)


def test_the_snapshots_rates_of_cache_writes_are_kept_in_every_tier() -> None:
    price = TABLE.lookup("claude-sonnet-4-5")
    assert (price.cache_write_usd_per_mtok, price.cache_write_1h_usd_per_mtok) == (Decimal("3.75"), Decimal(6))
    assert price.tiers[0].cache_write_usd_per_mtok == Decimal("7.5")


def test_a_table_of_ones_own_may_price_cache_writes() -> None:
    table = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2, "cache_write_usd_per_mtok": "1.25"}
    assert read_price("m", table).cost(Usage(prompt_tokens=100, cache_write_tokens=100)) == Decimal("0.000125")


@pytest.mark.parametrize(
    "model",
    [
        "qwen2.5:7b",
        "Qwen/Qwen2.5-7B-Instruct",
        "llama3.2",
        "gpt-oss-20b",
        "openai/gpt-oss-120b",
        "google/gemma-3-4b-it",
        "small",
    ],
)
def test_a_model_that_anyone_can_run_is_free_at_home_and_says_so(model: str) -> None:
    price = TABLE.lookup_self_hosted(model)
    assert price.assumed_free
    assert price.cost(Usage(prompt_tokens=1000, completion_tokens=1000)) == 0
    assert price.source == "no price: counted as free"


@pytest.mark.parametrize(
    "model", ["gpt-4o-mini", "openai/gpt-4o", "claude-sonnet-4-5", "gemini-2.5-flash", "grok-3", "o3"]
)
def test_a_model_that_only_its_maker_runs_is_not_free_behind_a_proxy(model: str) -> None:
    with pytest.raises(ConfigError, match="proxy to an API that costs") as caught:
        TABLE.lookup_self_hosted(model)
    assert "\n" not in str(caught.value)
    assert TABLE.lookup_self_hosted(model, in_process=True).assumed_free


def test_a_price_that_is_given_holds_at_home_too() -> None:
    table = PriceTable({"gpt-4o": {"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}})
    assert not table.lookup_self_hosted("gpt-4o").assumed_free
