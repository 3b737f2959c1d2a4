"""The threshold policy: its edge, its ties, and what it does when nothing was stated."""

from typing import Any

import pytest

from corea.errors import ConfigError
from corea.policies.pre_policies import SkipCategories, SkipLong
from corea.policies.threshold import Threshold, uniform_of
from corea.types import Confidence, Decision, Question

QUESTION = Question.of("?", id="q")


def sure(value: float | None) -> Confidence:
    return Confidence(value=value, signal="test")


@pytest.mark.parametrize(("value", "decision"), [(0.8, "keep"), (0.81, "keep"), (0.79, "defer"), (None, "defer")])
def test_keeps_at_tau_and_above_and_defers_what_is_unstated(value: float | None, decision: str) -> None:
    assert Threshold(0.8).decide(QUESTION, sure(value)) == decision


def test_nan_is_unstated_and_unstated_can_be_kept() -> None:
    assert Threshold(0.0).decide(QUESTION, sure(float("nan"))) is Decision.DEFER
    assert Threshold(0.5, unstated=Decision.KEEP).decide(QUESTION, sure(None)) is Decision.KEEP


def test_a_share_of_a_tie_is_kept_and_the_same_one_each_time() -> None:
    policy = Threshold(0.9, tie_fraction=0.3)
    questions = [Question.of("?", id=f"q{i}") for i in range(4000)]
    kept = [policy.decide(q, sure(0.9)) is Decision.KEEP for q in questions]
    assert sum(kept) / 4000 == pytest.approx(0.3, abs=0.03)
    assert kept == [policy.decide(q, sure(0.9)) is Decision.KEEP for q in questions]
    assert policy.decide(QUESTION, sure(0.91)) is Decision.KEEP


def test_a_larger_share_keeps_all_that_a_smaller_one_kept() -> None:
    questions = [Question.of("?", id=f"q{i}") for i in range(500)]
    few = {q.id for q in questions if Threshold(0.9, 0.2).decide(q, sure(0.9)) is Decision.KEEP}
    many = {q.id for q in questions if Threshold(0.9, 0.6).decide(q, sure(0.9)) is Decision.KEEP}
    assert few < many


def test_the_draw_is_pinned_so_that_old_artefacts_stay_true() -> None:
    assert uniform_of("gsm8k-test-0001") == pytest.approx(0.0877914899, abs=1e-9)


def test_below_the_lower_threshold_a_person_is_asked() -> None:
    policy = Threshold(0.8, abstain_below=0.2)
    assert [policy.decide(QUESTION, sure(v)).value for v in (0.1, 0.2, 0.8)] == ["abstain", "defer", "keep"]


@pytest.mark.parametrize(
    "settings", [{"tau": 1.2}, {"tau": 0.5, "tie_fraction": 2}, {"tau": 0.5, "abstain_below": 0.6}]
)
def test_numbers_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="policy threshold"):
        Threshold(**settings)


def test_pre_policies_skip_by_category_and_by_length() -> None:
    law = Question(id="q", messages=QUESTION.messages, category="law")
    assert SkipCategories(("law",)).decide(law) is Decision.DEFER
    assert SkipCategories(("law",)).decide(QUESTION) is Decision.KEEP
    assert SkipLong(3).decide(Question.of("four")) is Decision.DEFER
    assert SkipLong(4).decide(Question.of("four")) is Decision.KEEP
