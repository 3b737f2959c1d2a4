"""Each signal that reads a completion alone, on completions worked out by hand."""

import pytest
from tests.signals.helpers import QUESTION, tokens, wrote

from corea.signals.logprob import AnswerTokenProbability, MeanTokenProbability
from corea.signals.tokens import keep_spans
from corea.signals.verbalized import Verbalized
from corea.types import TokenLogprob

# ---- verbalized


async def test_verbalized_is_the_stated_number() -> None:
    confidence = await Verbalized().measure(QUESTION, wrote("<answer>4</answer><confidence>0.85</confidence>"))
    assert (confidence.value, confidence.signal) == (0.85, "verbalized")


async def test_verbalized_falls_back_to_a_recorded_number_and_says_so() -> None:
    confidence = await Verbalized().measure(QUESTION, wrote("#### 4", confidence=0.7))
    assert (confidence.value, confidence.reason) == (0.7, "recorded with the answer")
    stated = await Verbalized().measure(QUESTION, wrote("#### 4\nCONF: 0.9", confidence=0.7))
    assert stated.value == 0.9


async def test_verbalized_without_a_number_is_none_and_why() -> None:
    confidence = await Verbalized().measure(QUESTION, wrote("#### 4"))
    assert (confidence.value, confidence.reason) == (None, "the text states no confidence")


# ---- token probabilities


async def test_mean_token_probability_is_the_arithmetic_mean() -> None:
    completion = tokens(("4", {"4": 0.5}), ("!", {"!": 0.9}))
    confidence = await MeanTokenProbability().measure(QUESTION, completion)
    assert confidence.value == pytest.approx(0.7)


async def test_answer_token_probability_is_the_product_over_the_answer() -> None:
    completion = tokens("<answer>", ("1", {"1": 0.8}), ("2", {"2": 0.5}), "</answer>", ("<", {"<": 0.1}))
    confidence = await AnswerTokenProbability().measure(QUESTION, completion)
    assert confidence.value == pytest.approx(0.4)


async def test_answer_token_probability_of_a_choice_is_its_letters() -> None:
    completion = tokens("<answer>", ("B", {"B": 0.6}), (")", {")": 0.5}), (" bank", {" bank": 0.3}), "</answer>")
    confidence = await AnswerTokenProbability().measure(QUESTION, completion)
    assert confidence.value == pytest.approx(0.6)


@pytest.mark.parametrize("signal", [MeanTokenProbability(), AnswerTokenProbability()])
async def test_token_signals_without_probabilities_are_none_and_why(signal: MeanTokenProbability) -> None:
    confidence = await signal.measure(QUESTION, wrote("<answer>4</answer>"))
    assert confidence.value is None
    assert "token probabilities" in confidence.reason
    assert signal.logprobs_wanted


async def test_tokens_that_do_not_join_to_the_text_are_not_used() -> None:
    completion = wrote("<answer>4</answer>", logprobs=(TokenLogprob("else", -0.1),))
    assert (await AnswerTokenProbability().measure(QUESTION, completion)).value is None


async def test_a_mean_over_some_of_the_tokens_is_refused() -> None:
    kept = keep_spans(tokens("<answer>", ("4", {"4": 0.5}), "</answer>"), [(8, 9)])
    confidence = await MeanTokenProbability().measure(QUESTION, kept)
    assert (confidence.value, confidence.reason) == (
        None,
        "only some token probabilities were kept; keep all with sampling.logprobs = true",
    )


async def test_answer_token_probability_can_be_measured_again_on_the_tokens_it_used() -> None:
    completion = tokens("So ", "<answer>", ("1", {"1": 0.8}), ("2", {"2": 0.5}), "</answer>")
    first = await AnswerTokenProbability().measure(QUESTION, completion)
    assert first.spans == ((11, 13),)
    kept = keep_spans(completion, first.spans or ())
    assert [token.token for token in kept.logprobs or ()] == ["1", "2"]
    assert (await AnswerTokenProbability().measure(QUESTION, kept)).value == first.value == pytest.approx(0.4)
