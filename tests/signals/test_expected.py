"""The expected stated confidence: by hand, on mixtures of forms, and against brute force on the bundled small model."""

import math
import re

import pytest
from tests.signals.helpers import QUESTION, ScoringStub, Stub, tokens, wrote
from tests.signals.mixtures import CUTS, PLACES, Mixture, ScoringMixture

from corea.errors import BackendError, ConfigError
from corea.parsing import read_confidence
from corea.signals.expected import Expected
from corea.signals.tokens import keep_spans
from corea.types import Completion, Question, TokenLogprob

MIXTURES: list[dict[str, float]] = [
    {"1": 0.85, "0.50": 0.15},
    {"1.00": 0.6, "0.95": 0.4},
    {"0.85": 0.4, "0.9": 0.3, "0.95": 0.2, "1.0": 0.1},
    {"1": 0.5, "1.0": 0.3, "0.9": 0.2},
    {"0": 0.3, "0.1": 0.3, "0.05": 0.4},
    {"0.8": 0.6, "0.85": 0.4},
    {".85": 0.5, "0.85": 0.3, "0.9": 0.2},
    {"0.85": 0.5, "85%": 0.5},
    {"95%": 0.5, "0.95": 0.2, "90%": 0.3},
    {"95": 0.5, "90": 0.3, "100": 0.2},
    {"95%": 0.6, "100%": 0.3, "5%": 0.1},
    {"1%": 0.5, "2%": 0.5},
    {"1": 0.5, "100%": 0.25, "15%": 0.25},
    {"85%": 0.5, "85": 0.2, "0.16": 0.3},
    {"10/10": 0.5, "99": 0.5},
    {"8/10": 0.5, "9/10": 0.5},
    {"8.5/10": 0.4, "9/10": 0.4, "9.5/10": 0.2},
    {"1/10": 0.5, "10/10": 0.5},
    {"0.9": 0.45, "0.1": 0.35, "7/10": 0.2},
    {"0,85": 0.5, "0,9": 0.5},
]


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("numbers", MIXTURES, ids=" ".join)
async def test_exact_scores_see_every_form_that_carries_mass(numbers: dict[str, float], place: str, cut: str) -> None:
    model = ScoringMixture(numbers, place, cut)
    for text in model.texts:
        confidence = await Expected(model).measure(QUESTION, wrote(text))
        assert confidence.value == pytest.approx(model.truth, abs=0.01), (text, confidence.reason)


SAME_SCALE = [numbers for numbers in MIXTURES if not any(set("%/") & set(number) for number in numbers)]


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("numbers", SAME_SCALE, ids=" ".join)
async def test_from_a_servers_tokens_the_truth_is_within_the_bounds_or_there_is_no_value(
    numbers: dict[str, float], place: str, cut: str
) -> None:
    model = Mixture(numbers, place, cut)
    for text in model.texts:
        confidence = await Expected().measure(QUESTION, model.wrote(text))
        bounds = re.search(r"from (\d\.\d+) to (\d\.\d+)", confidence.reason)
        if confidence.value is None and "was not seen, more than" in confidence.reason:
            continue  # " " in the place of " .": the number behind it is not shown at all
        if bounds is None:  # nothing was cut off
            assert confidence.value == pytest.approx(model.truth, abs=0.01), text
        else:
            low, high = float(bounds[1]), float(bounds[2])
            assert low - 0.001 <= model.truth <= high + 0.001, (text, confidence.reason)
            assert confidence.value is None or low - 0.001 <= confidence.value <= high + 0.001
            assert (confidence.value is None) == (high - low > 0.1)


@pytest.mark.parametrize("percent", range(5, 100, 5))
async def test_it_does_not_jump_where_another_number_becomes_the_likelier(percent: int) -> None:
    share = percent / 100
    model = Mixture({"1.00": share, "0.95": 1 - share}, PLACES[0], "characters")
    likelier = max(model.texts, key=lambda text: model.texts[text])
    value = (await Expected().measure(QUESTION, model.wrote(likelier))).value
    if 0.5 <= share < 0.9:
        assert value is None  # what follows "0" is not shown, and may be anything from 0 to 0.99
    else:
        assert value == pytest.approx(model.truth, abs=0.006)


async def test_an_alternative_first_digit_does_not_take_over_the_written_tail() -> None:
    model = Mixture({"1.00": 0.6, "0.95": 0.4}, "<confidence>{}</confidence>", "digits")
    confidence = await Expected().measure(QUESTION, model.wrote("<confidence>1.00</confidence>"))
    assert confidence.value is None
    assert confidence.reason == (
        "the last digits of 40.0% were not seen: from 0.600 to 0.996; expected at most 0.1 apart"
    )
    lenient = await Expected(most_width=0.5).measure(QUESTION, model.wrote("<confidence>1.00</confidence>"))
    assert lenient.value == pytest.approx(0.6 + 0.4 * 0.945)  # as near to what was seen as may be


async def test_unseen_last_digits_count_as_their_middle() -> None:
    completion = tokens(
        "<confidence>", "0", ".", ("8", {"8": 0.5, "9": 0.3, "6": 0.2}), ("5", {"5": 0.6, "0": 0.4}), "</confidence>"
    )  # fmt: skip
    confidence = await Expected().measure(QUESTION, completion)
    assert confidence.value == pytest.approx(0.5 * 0.83 + 0.3 * 0.945 + 0.2 * 0.645)
    assert confidence.reason == "the last digits of 50.0% were not seen: from 0.805 to 0.850"


@pytest.mark.parametrize(
    ("completion", "value"),
    [
        (tokens("CONF: ", ("0", {"0": 0.75, "1": 0.25}), ".", "8", "0", "\n"), 0.75 * 0.8 + 0.25),
        (tokens("CONF: ", "0.", ("85", {"85": 0.5, "9": 0.25, "70": 0.25}), "\n"), 0.425 + 0.225 + 0.175),
        (tokens("CONF:", (" 0", {" 0": 0.9, " 1": 0.1}), ".", ("8", {"8": 1.0}), "\n"), 0.9 * 0.8 + 0.1),
        (tokens("CONF: ", ("0.8", {"0.8": 0.5, "0.9": 0.5}), "\n"), 0.85),
        (tokens("CONF: ", (".8", {".8": 0.5, ".6": 0.5}), "\n"), 0.7),
        (tokens("CONF: ", ("85", {"85": 0.5, "95": 0.5}), "%\n"), 0.9),
        (tokens("CONF: ", ("85%", {"85%": 0.5, "95%": 0.25, "100%": 0.25}), "\n"), 0.9125),
        (tokens("CONF: ", ("8", {"8": 0.5, "9": 0.25, "100": 0.25}), "5", "%\n"), 0.425 + 0.25 * 0.945 + 0.25),
        (tokens("CONF: ", ("8", {"8": 0.5, "6": 0.5}), "/10\n"), 0.7),
        (tokens("CONF: ", "0", ".", ("8", {"8": 1.0}), ("\n", {"\n": 0.5, "5": 0.5})), 0.825),
        (tokens("CONF: ", "0", ".", "8", ("5", {"5": 0.5, "\n": 0.5}), "\n"), 0.825),
        (tokens("CONF: 0.2 at first.\n", "CONF: ", ("0.8", {"0.8": 0.9, "high": 0.1}), "\n"), 0.8),
        (tokens("CONF: ", ("0.8", {"0.8": 0.6, "▁0.9": 0.4}), "\n"), 0.84),
        (tokens("CONF: ", "1", ("\n", {"\n": 0.9, "%": 0.1})), 0.901),
        (tokens("CONF:", (" ", {" ": 0.5, " .": 0.5}), ("1.00", {"1.00": 1.0}), "\n"), None),
        (tokens("Confidence: ", ("eighty", {"eighty": 0.9, "ninety": 0.1}), "-five percent"), 0.85),
    ],
)  # fmt: skip
async def test_any_cut_into_tokens(completion: Completion, value: float | None) -> None:
    confidence = await Expected().measure(QUESTION, completion)
    assert confidence.value == (None if value is None else pytest.approx(value)), confidence.reason


async def test_too_little_seen_is_none() -> None:
    completion = tokens("CONF: ", "0", ".", ("8", {"8": 0.5, "7": 0.1}), "\n")
    confidence = await Expected().measure(QUESTION, completion)
    assert confidence.value is None
    assert confidence.reason.startswith("40.0% of the probability was not seen, more than the 20.0% allowed")
    lenient = await Expected(most_unseen=0.5).measure(QUESTION, completion)
    assert lenient.value == pytest.approx((0.5 * 0.8 + 0.1 * 0.7) / 0.6)
    assert lenient.reason.startswith("40.0% of the probability was not seen; ")


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        (wrote("<answer>4</answer>"), "the text states no confidence"),
        (wrote("CONF: 0.8\n"), "no token probabilities at the stated number"),
        (wrote("CONF: 0.8", logprobs=(TokenLogprob("CONF: ", 0.0), TokenLogprob("0.8", -0.1))), "no alternatives"),
    ],
)
async def test_it_says_why_it_is_none(completion: Completion, reason: str) -> None:
    confidence = await Expected().measure(QUESTION, completion)
    assert confidence.value is None
    assert reason in confidence.reason


async def test_the_tokens_it_used_are_enough_to_measure_it_again() -> None:
    model = Mixture({"0.85": 0.4, "0.9": 0.3, "0.95": 0.3}, "So it is 4.\n" + PLACES[1] + "Done.", "digits")
    completion = model.wrote("So it is 4.\nCONF: 0.85\nDone.")
    first = await Expected().measure(QUESTION, completion)
    assert first.spans is not None
    kept = keep_spans(completion, first.spans)
    assert "".join(token.token for token in kept.logprobs or ()) == " 0.85\n"
    assert await Expected().measure(QUESTION, kept) == first


# ---- exact scores


async def test_a_backend_that_scores_is_asked_once_behind_the_text_before_the_number() -> None:
    backend = ScoringStub({"0.80": 0.5, "0.85": 0.25, "1.00": 0.25})
    signal = Expected(backend)
    confidence = await signal.measure(QUESTION, wrote("<answer>4</answer><confidence>0.85</confidence>"))
    assert confidence.value == pytest.approx(0.4 + 0.2125 + 0.25)
    assert backend.prefixes == ["<answer>4</answer><confidence>"]
    assert signal.top_logprobs_wanted == 0
    assert Expected(Stub()).top_logprobs_wanted == 20


async def test_probability_on_no_number_is_reported() -> None:
    confidence = await Expected(ScoringStub({"0.80": 0.5})).measure(QUESTION, wrote("CONF: 0.80\n"))
    assert confidence.value is None
    assert confidence.reason.startswith("50.0% of the probability was not seen")
    lenient = await Expected(ScoringStub({"0.80": 0.5}), most_unseen=0.6).measure(QUESTION, wrote("CONF: 0.80\n"))
    assert lenient.value == pytest.approx(0.8)


async def test_a_scorer_that_leaves_numbers_out_is_named() -> None:
    class Short(ScoringStub):
        async def score(self, question: Question, prefix: str, continuations: list[str]) -> list[float]:
            return [0.0]

    with pytest.raises(BackendError, match="score: got 1 numbers, expected one for each of"):
        await Expected(Short({})).measure(QUESTION, wrote("CONF: 0.80\n"))


@pytest.mark.parametrize("wrong", [math.nan, 0.5, math.inf])
async def test_a_score_that_is_no_log_probability_is_named(wrong: float) -> None:
    class Off(ScoringStub):
        async def score(self, question: Question, prefix: str, continuations: list[str]) -> list[float]:
            return [wrong] * len(continuations)

    with pytest.raises(BackendError, match=f"score: got {wrong}, expected natural-log probabilities, at most 0"):
        await Expected(Off({})).measure(QUESTION, wrote("CONF: 0.80\n"))


@pytest.mark.parametrize("wrong", [{"most_unseen": 1.0}, {"most_unseen": -0.1}, {"most_width": 1.1}])
def test_limits_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Expected(**wrong)


async def test_on_the_bundled_model_it_is_the_brute_force_expectation() -> None:
    from corea.build import build, bundled_config

    cascade = build(bundled_config()).cascade
    backend, question = cascade.stages[0].backend, Question.of("Tom has 12 apples and buys 7 more. How many?")
    try:
        completion = await backend.complete(question, cascade.stages[0].sampling)
        value = (await Expected(backend).measure(question, completion)).value
        prefix = completion.text[: completion.text.rindex("<confidence>") + len("<confidence>")]
        truth = await brute_force(backend, question, prefix)
    finally:
        await cascade.close()
    assert value == pytest.approx(truth, abs=0.001)


async def brute_force(backend: object, question: Question, prefix: str) -> float:
    """The mean over every number that the model may write, character by character, down to a millionth."""
    characters = [*"0123456789.,%"]
    ended: dict[str, float] = {}
    begun = {"": 1.0}
    while begun:
        number, reached = begun.popitem()
        scores = await backend.score(question, prefix + number, characters)  # type: ignore[attr-defined]
        masses = {number + c: reached * math.exp(logprob) for c, logprob in zip(characters, scores, strict=True)}
        begun |= {longer: mass for longer, mass in masses.items() if mass > 1e-6}
        if number:
            ended[number] = reached - math.fsum(masses.values())
    values = {number: read_confidence(f"<confidence>{number}</confidence>") for number in ended}
    known = {number: value for number, value in values.items() if value is not None}
    assert math.fsum(ended[number] for number in known) > 0.999
    return math.fsum(ended[n] * v for n, v in known.items()) / math.fsum(ended[n] for n in known)
