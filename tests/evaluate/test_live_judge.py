"""The most that judging one pair can cost: what the audit's budget sets aside before the answer is known."""

from decimal import Decimal
from typing import Any

import pytest

from corea.backends.fake import FakeBackend
from corea.evaluate.judge import Judge, load_judge_prompt
from corea.evaluate.live_judge import LiveJudge
from corea.prices import Price
from corea.stage import Stage
from corea.types import Question, Sampling

PRICE = Price(input_usd_per_mtok=Decimal(1), output_usd_per_mtok=Decimal(2), source="test")
ASKED = Question.of("Write to me.")


def most(answer_tokens: int = 0, draft: str = "A draft.", **sampling: Any) -> Decimal:
    stage = Stage(name="judge", backend=FakeBackend("judge-model"), sampling=Sampling(**sampling), price=PRICE)
    judge = LiveJudge(judge=Judge(stage, load_judge_prompt(None)), seconds=5.0, assumed_tokens=50)
    return judge.most_usd(ASKED, draft, answer_tokens) * 10**6


@pytest.mark.parametrize(
    ("sampling", "tokens"),
    [
        ({}, 50),
        ({"max_tokens": 8}, 8),
        ({"max_tokens": 8, "extra": {"max_completion_tokens": 1000}}, 1000),  # of two limits the larger one
        ({"max_tokens": 8, "extra": {"n": 3}}, 24),
    ],
)
def test_a_reply_is_bounded_by_all_that_the_sampling_asks_for(sampling: dict[str, Any], tokens: int) -> None:
    assert most(**sampling) - most(max_tokens=1) == 2 * 2 * (tokens - 1)


def test_both_orders_read_the_question_the_draft_and_the_longest_answer() -> None:
    assert most(1000) - most(0) == 2 * 1000
    assert most(draft="A draft of ä.") - most(draft="A draft.") == 2 * 6  # bytes
