"""Which model a configuration's signals ask, what that costs, and what is counted as free."""

from decimal import Decimal
from typing import Any

import pytest

from corea.backends.fake import FakeBackend
from corea.build import BackendCache, build, build_all
from corea.config import parse_config
from corea.errors import ConfigError
from corea.ledger import Ledger
from corea.prices import Price
from corea.types import Question

TEN = {"input_usd_per_mtok": "10", "output_usd_per_mtok": "20"}
CHECK = {"kind": "self_check"}


def tree(signal: Any = "verbalized", prices: tuple[str, ...] = ("s", "l", "c"), **stages: Any) -> dict[str, Any]:
    return {
        "cascade": {"stages": ["small", "large"]},
        "stages": {
            "small": {"backend": fake("s"), "signal": signal},
            "large": {"backend": fake("l")},
            **stages,
        },
        "prices": {model: {**TEN, "usd_per_request": str(n)} for n, model in enumerate(prices)},
    }


def fake(model: str, reply: str = "<answer>4</answer>") -> dict[str, Any]:
    return {"kind": "fake", "model": model, "replies": reply}


def server(model: str, url: str) -> dict[str, Any]:
    return {"kind": "openai", "model": model, "base_url": url}


def signal_price(signal: Any, **stages: Any) -> Price | None:
    return build(parse_config(tree(signal, **stages))).cascade.stages[0].signal_price


def test_a_signal_that_asks_its_own_stage_has_that_stages_price() -> None:
    assert signal_price(CHECK) is None
    assert signal_price({**CHECK, "backend": "small"}) is None


@pytest.mark.parametrize(
    ("backend", "per_request"),
    [("large", 1), ("outside", 2), (fake("c"), 2)],
)
def test_a_signal_that_asks_another_model_has_that_models_price(backend: Any, per_request: int) -> None:
    price = signal_price({**CHECK, "backend": backend}, outside={"backend": fake("c")})
    assert price is not None
    assert price.usd_per_request == per_request


def test_a_stage_outside_the_cascade_is_asked_by_signals_only() -> None:
    config = parse_config(tree({**CHECK, "backend": "outside"}, outside={"backend": fake("c", "Yes")}))
    built = build(config)
    assert [stage.name for stage in built.cascade.stages] == ["small", "large"]
    backend = built.cascade.stages[0].signal.backend  # type: ignore[union-attr]
    assert isinstance(backend, FakeBackend)
    assert backend.model == "c"


async def test_it_is_closed_with_the_cascade_and_shared_with_the_gateways_other_cascades() -> None:
    config = parse_config(tree({**CHECK, "backend": "outside"}, outside={"backend": fake("c", "Yes")}))
    cascades, backends = build_all(config, BackendCache())
    assert {backend.model for backend in backends} == {"s", "l", "c"}
    closed: list[str] = []

    async def close() -> None:
        closed.append("c")

    checker = cascades["corea"].stages[0].signal.backend  # type: ignore[union-attr]
    checker.close = close
    await cascades["corea"].close()
    assert closed == ["c"]


def test_the_price_of_a_table_can_be_named() -> None:
    price = signal_price({**CHECK, "backend": fake("unheard-of"), "price": "c"})
    assert price is not None
    assert price.usd_per_request == 2


@pytest.mark.parametrize(
    ("signal", "message"),
    [
        ({**CHECK, "backend": "lorge"}, "Did you mean 'large'"),
        ({**CHECK, "backend": 3}, "expected the name of a stage, or a table"),
        ({**CHECK, "backend": {"model": "c"}}, "expected the name of a stage, or a table"),
        ({**CHECK, "price": "c"}, "got it without a backend"),
        ({**CHECK, "backend": server("strange-model", "https://api.example.com/v1")}, "no price is known"),
    ],
)
def test_a_checker_that_cannot_be_is_refused_in_one_line(signal: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        build(parse_config(tree(signal)))
    assert "\n" not in str(caught.value)


def test_without_prices_a_checkers_cost_is_unknown_not_its_stages() -> None:
    signal = {**CHECK, "backend": server("strange-model", "https://api.example.com/v1")}
    stage = build(parse_config(tree(signal)), need_prices=False).cascade.stages[0]
    assert stage.price_of(stage.signal.backend) is None  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "backend",
    [
        fake("mine"),
        server("qwen2.5:7b", "http://localhost:11434/v1"),
        server("Qwen/Qwen2.5-7B-Instruct", "http://10.0.0.7:8000/v1"),
        server("m", "http://gpu-box:8000/v1"),
    ],
)
async def test_a_model_on_hardware_of_ones_own_is_free_and_every_trace_says_so(backend: dict[str, Any]) -> None:
    table = tree()
    table["stages"]["large"]["backend"] = backend
    cascade = build(parse_config(table)).cascade
    flag = f"no price: counted as free: {backend['model']}"
    assert cascade.stages[1].price is not None
    assert cascade.stages[1].price.assumed_free
    assert cascade.flags == (flag,)


async def test_the_ledger_counts_the_flags_of_its_traces() -> None:
    cascade = build(parse_config(tree(prices=("s",)))).cascade
    ledger = Ledger()
    for n in range(3):
        ledger.add(await cascade.ask(Question.of(f"{n}?")))
    assert ledger.as_dict()["flags"] == {"no price: counted as free: l": 3}
    assert ledger.counted_as_free == ["no price: counted as free: l"]
    assert ledger.cost_usd > Decimal(0)


@pytest.mark.parametrize("url", ["https://api.example.com/v1", "http://8.8.8.8/v1"])
def test_a_remote_model_without_a_price_is_an_error(url: str) -> None:
    table = tree()
    table["stages"]["large"]["backend"] = server("strange-model", url)
    with pytest.raises(ConfigError, match="no price is known for model 'strange-model'"):
        build(parse_config(table))


def test_a_checker_counted_as_free_is_flagged_too() -> None:
    signal = {**CHECK, "backend": fake("mine")}
    assert build(parse_config(tree(signal))).cascade.flags == ("no price: counted as free: mine",)
