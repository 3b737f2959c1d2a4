"""The cascades of a configuration share their backends, and one read anew keeps those that did not change."""

from typing import Any

import pytest

from corea.build import BackendCache, build_all
from corea.config import parse_config
from corea.errors import ConfigError
from corea.signals.agreement import Agreement


def tree(replies: str = "a") -> dict[str, Any]:
    return {
        "stages": {
            "small": {"backend": {"kind": "fake", "model": "s", "replies": replies}},
            "large": {"backend": {"kind": "fake", "model": "l"}},
        },
        "cascades": {"both": {"stages": ["small", "large"]}, "one": {"stages": ["large"]}},
        "prices": {name: {"input_usd_per_mtok": "1", "output_usd_per_mtok": "1"} for name in ("s", "l")},
    }


def test_cascades_share_their_backends() -> None:
    cascades, backends = build_all(parse_config(tree()), BackendCache())
    assert list(cascades) == ["both", "one"]
    assert cascades["both"].stages[1].backend is cascades["one"].stages[0].backend
    assert len(backends) == 2


def test_what_did_not_change_is_kept() -> None:
    shared = BackendCache()
    _, (small, large) = build_all(parse_config(tree()), shared)
    _, (small_again, large_again) = build_all(parse_config(tree("b")), shared)
    assert large_again is large
    assert small_again is not small


def test_a_second_opinion_is_one_greedy_sample_of_another_model_at_its_price() -> None:
    asked = tree()
    asked["stages"]["other"] = {"backend": {"kind": "fake", "model": "o"}}
    asked["stages"]["small"]["second_opinion"] = "other"
    asked["prices"]["o"] = {"input_usd_per_mtok": "3", "output_usd_per_mtok": "5"}
    small = build_all(parse_config(asked), BackendCache())[0]["both"].stages[0]
    second = small.second_opinion
    assert isinstance(second, Agreement)
    assert (second.backend.model, second.k, second.sampling.temperature) == ("o", 1, 0)
    price = small.price_of(second.backend)
    assert price is not None
    assert (price.input_usd_per_mtok, price.output_usd_per_mtok) == (3, 5)
    asked["stages"]["small"]["second_opinion"] = "small"
    with pytest.raises(ConfigError, match="got the stage itself, expected another model"):
        build_all(parse_config(asked), BackendCache())


@pytest.mark.parametrize(
    ("sampling", "kept"), [({}, False), ({"logprobs": True}, True), ({"top_logprobs": 5}, True), ({"seed": 1}, False)]
)
def test_log_probabilities_that_the_settings_ask_for_stay_in_traces(sampling: dict[str, Any], kept: bool) -> None:
    asked = tree()
    asked["stages"]["small"] |= {"signal": "expected", "sampling": sampling}
    small = build_all(parse_config(asked), BackendCache())[0]["both"].stages[0]
    assert (small.keep_logprobs, small.sampling.top_logprobs) == (kept, 20)
