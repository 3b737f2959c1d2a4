"""Limits that are none, and request fields that would ask another model, are refused where they are configured."""

from typing import Any

import pytest
from tests.costs.scene import make_cascade

from corea.costs.bounds import stage_bounds
from corea.errors import ConfigError
from corea.types import Question, Sampling

URL = "http://127.0.0.1:1/v1"


def small(**sampling: Any) -> dict[str, Any]:
    return {"sampling": sampling}


@pytest.mark.parametrize("limit", [-1, -10_000, 0])
def test_a_limit_below_1_is_refused(limit: int) -> None:
    said = (
        f"config: stages.small.sampling: max_tokens: got {limit}, expected a whole number of at least 1; "
        "leave it out for no limit"
    )
    with pytest.raises(ConfigError) as caught:
        make_cascade(URL, small=small(max_tokens=limit))
    assert str(caught.value) == said


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "n_predict", "n", "best_of"])
@pytest.mark.parametrize("value", [-1, 0, "5000", 5000.0, True, None, [1]])
def test_a_count_among_the_extra_fields_that_is_none_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        make_cascade(URL, small=small(max_tokens=100, extra={name: value}))
    assert str(caught.value) == (
        f"config: stages.small.sampling: extra.{name}: got {value!r}, expected a whole number of at least 1; "
        "leave it out for the server's own"
    )


@pytest.mark.parametrize("signal", ["self_check", "agreement"])
def test_so_it_is_at_a_signal_that_asks_a_model(signal: str) -> None:
    with pytest.raises(ConfigError, match=r"signal.*max_tokens: got -1, expected a whole number of at least 1"):
        make_cascade(URL, {"kind": signal, "sampling": {"max_tokens": -1}})


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("model", "large", "COREA sets it itself"),
        ("messages", [], "COREA sets it itself"),
        ("stream", True, "COREA sets it itself"),
        ("stream_options", {"include_usage": False}, "COREA sets it itself"),
        ("models", ["small", "large"], "a stage has one model, with its price"),
        ("fallbacks", ["large"], "a stage has one model, with its price"),
    ],
)
def test_a_field_that_would_ask_something_else_is_refused(name: str, value: Any, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_cascade(URL, small=small(max_tokens=30, extra={name: value}))
    assert str(caught.value) == f"config: stages.small.sampling: extra.{name}: got it, expected it left out: {why}"


def test_of_two_limits_that_are_sent_the_larger_one_counts() -> None:
    def bound(**sampling: Any) -> Any:
        stages = make_cascade(URL, small=small(**sampling)).stages
        return stage_bounds(stages[:1], Question.of("what is number 1"))

    assert bound(max_tokens=900, extra={"max_completion_tokens": 50}) == bound(max_tokens=900)
    assert bound(max_tokens=50, extra={"n_predict": 900}) == bound(max_tokens=900)


def test_what_servers_add_of_their_own_is_passed_through() -> None:
    extra = {"chat_template_kwargs": {"enable_thinking": False}, "top_k": 20, "n": 2, "max_completion_tokens": 5}
    assert Sampling(extra=extra).extra == extra
