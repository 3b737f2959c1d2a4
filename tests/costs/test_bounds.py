"""The bound: nothing that a server can bill is above it, and it is no looser than its parts."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corea.backends.fake import FakeBackend
from corea.cascade import Cascade
from corea.costs.bounds import (
    MESSAGE_TOKENS,
    PICTURE_TOKENS,
    RETOKENIZED,
    TEMPLATE_TOKENS,
    BoundAssumptions,
    question_bound,
    request_tokens,
    stage_bounds,
    unbounded,
)
from corea.costs.signal_calls import signal_calls
from corea.policies.threshold import Threshold
from corea.prices import Price
from corea.prompts import load_prompt, with_draft
from corea.run.budget import WorstCase
from corea.signals.agreement import Agreement
from corea.signals.calibrated_signal import Mapped
from corea.signals.expected import Expected
from corea.signals.self_check import SelfCheck
from corea.signals.verbalized import Verbalized
from corea.stage import Stage
from corea.types import Completion, Decision, Message, Question, Sampling, Step, Usage

CHEAP = Price(input_usd_per_mtok=Decimal(1), output_usd_per_mtok=Decimal(2))
DEAR = Price(input_usd_per_mtok=Decimal(10), output_usd_per_mtok=Decimal(20))
ASKED = Question.of("What is 12 + 7?")
PROMPT = TEMPLATE_TOKENS + MESSAGE_TOKENS + 15  # bytes


class Retrying(FakeBackend):
    """A backend that tries so often again."""

    def __init__(self, model: str, max_retries: int) -> None:
        super().__init__(model, "4")
        self.max_retries = max_retries


def stage(price: Price | None = CHEAP, *, signal: Any = None, retries: int = 0, **more: Any) -> Stage:
    sampling = more.pop("sampling", Sampling(max_tokens=50))
    policy = Threshold(0.5) if signal is not None else None
    return Stage(
        name=more.pop("name", "small"), backend=Retrying(more.pop("model", "small"), retries), price=price,
        signal=signal, policy=policy, sampling=sampling, **more,
    )  # fmt: skip


def test_one_call_is_the_prompt_in_bytes_and_all_it_may_write() -> None:
    assert stage_bounds([stage()], ASKED) == [CHEAP.at_most(PROMPT, 50)]


def test_each_attempt_may_be_billed() -> None:
    assert stage_bounds([stage(retries=4)], ASKED) == [5 * CHEAP.at_most(PROMPT, 50)]


def test_a_prompts_own_words_count() -> None:
    prompt = load_prompt("default")
    (bound,) = stage_bounds([stage(prompt=prompt)], ASKED)
    exact = request_tokens(prompt.render(ASKED))
    assert bound is not None
    assert CHEAP.at_most(exact, 50) <= bound <= CHEAP.at_most(exact + MESSAGE_TOKENS, 50)


def test_a_draft_is_part_of_the_next_stages_prompt_and_of_those_after_it() -> None:
    stages = [stage(pass_draft=True), stage(name="middle"), stage(DEAR, name="large")]
    bounds = stage_bounds(stages, ASKED)
    exact = request_tokens(with_draft(ASKED, "")) + RETOKENIZED * 50
    assert bounds[0] == CHEAP.at_most(PROMPT, 50)
    for bound, price in zip(bounds[1:], (CHEAP, DEAR), strict=True):
        assert bound is not None
        assert price.at_most(exact, 50) <= bound <= price.at_most(exact + 2 * MESSAGE_TOKENS, 50)


def test_a_draft_that_is_known_counts_as_it_is() -> None:
    (bound,) = stage_bounds([stage(DEAR)], ASKED, draft="it is 19")
    exact = request_tokens(with_draft(ASKED, "it is 19"))
    assert bound is not None
    assert DEAR.at_most(exact, 50) <= bound <= DEAR.at_most(exact + MESSAGE_TOKENS, 50)


@pytest.mark.parametrize("name", ["tools", "functions", "response_format"])
def test_what_a_server_writes_into_the_prompt_counts(name: str) -> None:
    schema = [{"name": "f", "description": "x" * 500}]
    plain, asked = stage(), stage(sampling=Sampling(max_tokens=50, extra={name: schema}))
    (less,), (more,) = stage_bounds([plain], ASKED), stage_bounds([asked], ASKED)
    assert less is not None
    assert more is not None
    assert more - less >= 500 * Decimal("0.000001")


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_a_limit_among_the_requests_own_fields_overrules_the_setting(field: str) -> None:
    asked = stage(sampling=Sampling(max_tokens=50, extra={field: 900}))
    assert stage_bounds([asked], ASKED) == [CHEAP.at_most(PROMPT, 900)]


@given(text=st.text(max_size=80), turns=st.integers(0, 3), choices=st.lists(st.text(max_size=9), max_size=4).map(tuple))
@pytest.mark.parametrize("name", ["default", "answer_only", "plain", "confidence_first"])
def test_the_prompt_that_is_sent_is_never_more_than_what_is_reckoned(
    name: str, text: str, turns: int, choices: tuple[str, ...]
) -> None:
    prompt = load_prompt(name)
    said = tuple(Message(role, text) for _ in range(turns) for role in ("system", "user", "assistant"))
    question = Question(id="q", messages=(*said, Message("user", text)), choices=choices)
    (bound,) = stage_bounds([stage(prompt=prompt)], question)
    assert bound is not None
    assert CHEAP.at_most(request_tokens(prompt.render(question)), 50) <= bound


def test_several_answers_are_all_billed() -> None:
    assert stage_bounds([stage(sampling=Sampling(max_tokens=50, extra={"n": 3}))], ASKED) == [
        CHEAP.at_most(PROMPT, 150)
    ]


def test_a_picture_is_no_text() -> None:
    parts = [
        {"type": "text", "text": "what is this"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}},
    ]
    shown = Question(id="q", messages=(Message("user", "what is this", raw={"role": "user", "content": parts}),))
    assert PICTURE_TOKENS < request_tokens(shown) < PICTURE_TOKENS + 500


def test_a_signals_calls_are_bounded_by_the_model_that_is_asked() -> None:
    checker = Retrying("large", 1)
    check = SelfCheck(checker, sampling=Sampling(max_tokens=8))
    cascade = Cascade(stages=(stage(signal=check), stage(DEAR, name="large", model="large")))
    bounds = stage_bounds(cascade.stages, ASKED)
    asked = PROMPT + RETOKENIZED * 50 + len(check.ask) + TEMPLATE_TOKENS
    assert bounds[0] == CHEAP.at_most(PROMPT, 50) + 2 * DEAR.at_most(asked, 8)


def test_a_calibrated_signal_asks_as_often_as_the_one_inside() -> None:
    inner = Agreement(Retrying("small", 0), k=4, sampling=Sampling(max_tokens=20, temperature=1.0))
    mapped = Mapped(inner, {"kind": "identity", "inputs": ["confidence"]})
    assert [(call.times, call.sampling.max_tokens) for call in signal_calls(mapped)] == [(4, 20)]
    assert stage_bounds([stage(signal=mapped)], ASKED) == stage_bounds([stage(signal=inner)], ASKED)


@pytest.mark.parametrize("signal", [None, Verbalized(), Expected(backend=FakeBackend("m", "4"))])
def test_a_signal_that_reads_the_completion_asks_nobody(signal: Any) -> None:
    assert signal_calls(signal) == []


@pytest.mark.parametrize(
    ("stages", "what"),
    [
        ([stage()], None),
        ([stage(None)], "price"),
        ([stage(sampling=Sampling())], "sampling.max_tokens"),
        ([stage(signal=SelfCheck(FakeBackend("stranger", "Yes")))], "signal price"),
        ([stage(signal=Agreement(FakeBackend("small", "4")))], "signal.sampling.max_tokens"),
    ],
)
def test_where_no_bound_is_known_it_says_what_lacks(stages: list[Stage], what: str | None) -> None:
    lacking = unbounded(stages)
    assert (lacking[1] if lacking else None) == what
    assert (question_bound(stages, ASKED) is None) == (what is not None)


def test_what_is_assumed_takes_the_place_of_what_lacks() -> None:
    assumed = BoundAssumptions(max_tokens=100, usd_per_call=Decimal("0.01"))
    stages = [stage(sampling=Sampling()), stage(None, name="large", retries=2)]
    assert stage_bounds(stages, ASKED, assumed) == [CHEAP.at_most(PROMPT, 100), Decimal("0.03")]


@given(
    text=st.text(min_size=1, max_size=200), written=st.integers(0, 50), attempts=st.integers(1, 3),
    cached=st.integers(0, 50), stored=st.integers(0, 50),
)  # fmt: skip
def test_no_server_can_bill_more_than_the_bound(
    text: str, written: int, attempts: int, cached: int, stored: int
) -> None:
    """One token a byte is the worst that a tokenizer does."""
    price = replace(DEAR, cache_write_usd_per_mtok=Decimal("12.5"), cached_input_usd_per_mtok=Decimal(1))
    question = Question.of(text)
    (bound,) = stage_bounds([stage(price, retries=2)], question)
    usage = Usage(
        prompt_tokens=len(text.encode()) + 60, cached_tokens=cached, cache_write_tokens=stored,
        completion_tokens=written,
    )  # fmt: skip
    assert bound is not None
    assert attempts * price.cost(usage) <= bound


def test_a_question_in_flight_counts_what_was_spent_and_the_stage_that_is_asked() -> None:
    stages = (stage(signal=Verbalized(), pass_draft=True), stage(DEAR, name="large"))
    cascade = Cascade(stages=stages)
    money = WorstCase(cascade, ASKED)
    first, second = stage_bounds(stages, ASKED)
    assert first is not None
    assert second is not None
    assert (money.now_at_most_usd, money.at_most_usd) == (first, first + second)
    draft = Completion(text="it is 18", model="small")
    step = Step(stage="small", completion=draft, decision=Decision.DEFER, cost_usd=Decimal("0.000030"))
    assert money.goes_on(step)
    money.advance(step)
    (known,) = stage_bounds(stages[1:], ASKED, draft="it is 18")
    assert known is not None
    assert (money.now_at_most_usd, money.at_most_usd) == (Decimal("0.00003") + known,) * 2
    assert money.at_most_usd < first + second
    assert not money.goes_on(Step(stage="large", completion=draft, decision=Decision.KEEP))
