"""What every signal in the table keeps to. To register one is to be tested."""

import asyncio
import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corea.errors import BackendTimeout
from corea.registry import resolve
from corea.signals import SIGNALS
from corea.signals.tokens import used_logprobs, wants_logprobs
from corea.types import Completion, Confidence, Question, Sampling, TokenLogprob

QUESTION = Question.of("What is 2 + 2?")
ODD = [
    *(
        "",
        " ",
        "<",
        "<answer>",
        "<answer></answer>",
        "<confidence>",
        "<think>",
        "\\boxed{",
        "\x00\x1f",
        "🙂" * 50,
        "NA",
    ),
    *("0.5", "CONF: 0.", "Confidence: 150%", "a" * 5000, "<answer>4</answer>\nConfidence: ８５％"),
    "<answer>4</answer><confidence>0.8</confidence>",
]


class Echo:
    """A backend that repeats one reply, or fails."""

    model = "echo"

    def __init__(self, reply: Completion | None) -> None:
        self.reply = reply

    async def complete(self, question: Question, sampling: Sampling) -> Completion:
        if self.reply is None:
            raise BackendTimeout("too slow")
        return self.reply


class ScoringEcho(Echo):
    async def score(self, question: Question, prefix: str, continuations: Sequence[str]) -> list[float]:
        return [-math.log(len(continuations))] * len(continuations)


def build(name: str, backend: Any) -> Any:
    signal = resolve("test", name, SIGNALS)
    needs = "backend" in {field.name for field in dataclasses.fields(signal)}
    return signal(backend=backend) if needs else signal()


def completion_of(text: str, *, logprobs: bool) -> Completion:
    """A completion whose tokens are its characters, each with an alternative."""
    tokens = tuple(TokenLogprob(c, -0.3, ((c, -0.3), ("1", -1.5))) for c in text) if logprobs else None
    return Completion(text=text, model="test", logprobs=tokens)


def measure(name: str, text: str, *, logprobs: bool, backend: Any) -> Confidence:
    return asyncio.run(build(name, backend).measure(QUESTION, completion_of(text, logprobs=logprobs)))


def keeps_to_it(confidence: Confidence, name: str) -> None:
    assert isinstance(confidence, Confidence)
    assert confidence.signal == name
    if confidence.value is None:
        assert confidence.reason  # it says why
    else:
        assert 0 <= confidence.value <= 1


@pytest.mark.parametrize("logprobs", [False, True])
@pytest.mark.parametrize("text", ODD)
@pytest.mark.parametrize("name", sorted(SIGNALS))
def test_gives_a_probability_or_none_and_why_on_odd_text(name: str, text: str, logprobs: bool) -> None:
    for backend in (Echo(completion_of("Yes", logprobs=logprobs)), ScoringEcho(completion_of(text, logprobs=logprobs))):
        keeps_to_it(measure(name, text, logprobs=logprobs, backend=backend), name)


@pytest.mark.parametrize("name", sorted(SIGNALS))
@given(text=st.text(max_size=80), reply=st.text(max_size=20), logprobs=st.booleans())
@settings(max_examples=30, deadline=None)
def test_gives_a_probability_or_none_and_why_on_any_text(name: str, text: str, reply: str, logprobs: bool) -> None:
    backend = Echo(completion_of(reply, logprobs=logprobs))
    keeps_to_it(measure(name, text, logprobs=logprobs, backend=backend), name)


@pytest.mark.parametrize("name", sorted(SIGNALS))
def test_a_backend_that_fails_is_no_crash(name: str) -> None:
    keeps_to_it(measure(name, "<answer>4</answer>", logprobs=False, backend=Echo(None)), name)


@pytest.mark.parametrize("name", sorted(SIGNALS))
def test_is_frozen_and_returns_the_calls_that_it_made(name: str) -> None:
    reply = completion_of("<answer>4</answer> Yes", logprobs=False)
    signal = build(name, Echo(reply))
    assert signal.__dataclass_params__.frozen
    confidence = measure(name, "<answer>4</answer>", logprobs=False, backend=Echo(reply))
    assert all(call is reply for call in confidence.calls)
    assert bool(confidence.calls) == (name in ("self_check", "agreement"))


@pytest.mark.parametrize("text", ODD)
@pytest.mark.parametrize("name", sorted(SIGNALS))
def test_measures_the_same_on_the_log_probabilities_that_it_says_it_used(name: str, text: str) -> None:
    backend = Echo(completion_of("Yes", logprobs=False))
    signal, completion = build(name, backend), completion_of(text, logprobs=True)
    first = asyncio.run(signal.measure(QUESTION, completion))
    kept = used_logprobs(completion, signal, first)
    if first.value is not None:
        assert asyncio.run(signal.measure(QUESTION, kept)) == first
    if getattr(signal, "top_logprobs_wanted", 0) == 0 and wants_logprobs(signal):
        assert not any(token.top for token in kept.logprobs or ())
