"""A second opinion: its column and cost from recorded rows, its early exit, and the same cascade live."""

import asyncio
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from corea import Cascade, Question, Stage
from corea.backends.fake import FakeBackend
from corea.calibrate import FitOptions, OutcomeTable, Targets, fit
from corea.calibrate.artefact import Calibration
from corea.calibrate.binding import bind, binding_of
from corea.calibrate.fitting import counted
from corea.calibrate.rules import ScoredTable, ThresholdRule
from corea.errors import ConfigError, DataError
from corea.evaluate.apply import apply_calibration
from corea.evaluate.promise import retest
from corea.metrics.score_map import SECOND_OPINION, BlendMap, LinearModel
from corea.policies.threshold import Threshold
from corea.prices import Price
from corea.records.answer import AnswerSet, RecordedAnswer
from corea.records.join import OPINION_COST, join_answers, with_second_opinion
from corea.signals.agreement import Agreement
from corea.signals.verbalized import Verbalized
from corea.types import Sampling

GREEDY = Sampling(temperature=0)


def answer(key: str, text: str | None, cost: float, confidence: float = 0.5, *, right: float = 1.0) -> RecordedAnswer:
    return RecordedAnswer(
        id=key, correct=right, answer=text, numbers={"confidence": confidence, "cost_usd": cost}
    )  # fmt: skip


def answer_set(model: str, *answers: RecordedAnswer) -> AnswerSet:
    return AnswerSet(answers={each.id: each for each in answers}, model=model)


def test_the_column_compares_answers_and_carries_the_other_model_s_cost() -> None:
    first = answer_set(
        "a", answer("1", "1/2", 1.0), answer("2", "B", 1.0), answer("3", None, 1.0), answer("4", "7", 1.0),
        answer("5", "7", 1.0),
    )  # fmt: skip
    other = answer_set(
        "b", answer("1", "0.5", 0.25), answer("2", "C", 0.5), answer("3", "7", 0.75), answer("4", None, 2)
    )
    found = with_second_opinion(first, other).answers
    assert list(found) == ["1", "2", "3", "4"]
    assert [found[key].numbers.get(SECOND_OPINION) for key in found] == [1.0, 0.0, None, 0.0]
    assert [found[key].numbers[OPINION_COST] for key in found] == [0.25, 0.5, 0.0, 2.0]
    with pytest.raises(DataError, match="no question of a has an answer of b"):
        with_second_opinion(first, answer_set("b", answer("9", "1", 1.0)))


# the logit is 4 confidence + 2 second_opinion - 3, less what the other features weigh: nothing
MAP = BlendMap(
    confidences=["confidence", SECOND_OPINION], length="", categories={}, category_default=[0, 0, 0, 0],
    right=LinearModel(mean=[0.0] * 6, scale=[1.0] * 6, weights=[4.0, 2.0, 0.0, 0.0, 0.0, 0.0], bias=-3.0),
)  # fmt: skip


def rows() -> OutcomeTable:
    """Confidences 0.1, 0.5, 0.5, 1.0: at a score of 0.5 the second opinion decides the two in the middle alone."""
    keys, stated = ("1", "2", "3", "4"), (0.1, 0.5, 0.5, 1.0)
    first = answer_set("a", *(answer(k, "A", 0.001, c) for k, c in zip(keys, stated, strict=True)))
    other = answer_set("b", *(answer(k, text, 0.0002) for k, text in zip(keys, "AABB", strict=True)))
    last = answer_set("l", *(answer(k, "A", 0.02) for k in keys))
    return join_answers([with_second_opinion(first, other), last])


def test_it_is_paid_for_only_where_it_can_change_the_decision() -> None:
    table = rows()
    assert table.first.opinion_model == "b"
    scored, rule = ScoredTable.mapped(table, [MAP]), ThresholdRule(tau=0.5)
    assert scored.opinion_asked(0, rule).tolist() == [False, True, True, False]
    outcome = scored.outcome((rule,))
    assert outcome.stage.tolist() == [1, 0, 1, 0]
    assert np.round(outcome.cost_usd, 10).tolist() == [0.021, 0.0012, 0.0212, 0.001]
    never = scored.take([0, 3])
    assert never.outcome((rule,)).cost_usd.sum() == pytest.approx(0.022, abs=1e-12)
    with pytest.raises(ConfigError, match=r"a question costs 0\.0212"):
        Targets(max_cost_usd=1.0, cost_cap_usd=0.0211).cap(table)


def simulated(n: int, *, seed: int = 0) -> OutcomeTable:
    """A weak confidence, and a second model that agrees mostly where the first is right."""
    rng = np.random.default_rng(seed)
    small, large = (rng.random(n) < 0.7).astype(float), (rng.random(n) < 0.9).astype(float)
    stated = np.round(np.clip(0.5 + 0.2 * (small - 0.5) + 0.2 * rng.normal(size=n), 0, 1), 2)
    agrees = (rng.random(n) < np.where(small > 0.5, 0.9, 0.08)).astype(float)
    table = OutcomeTable.from_arrays(
        correct=np.column_stack([small, large]), cost_usd=[1e-3, 2e-2], confidence=stated,
        ids=[f"q{seed}-{i}" for i in range(n)],
    )  # fmt: skip
    signals = {"confidence": stated, SECOND_OPINION: agrees}
    return table.change(0, signals=signals, opinion_cost_usd=np.full(n, 1e-3), opinion_model="second")


def found(n: int = 2000) -> Calibration:
    return fit(simulated(n), Targets(max_drop=0.05), FitOptions(map="linear"))


def test_a_live_cascade_asks_and_decides_as_the_artefact_does(tmp_path: Path) -> None:
    calibration = replace(found(), stages=(replace(found().stages[0], map=MAP, threshold=ThresholdRule(tau=0.5)),))
    calibration.save(tmp_path / "c.json")
    price, dearer = (Price(input_usd_per_mtok=Decimal(usd), output_usd_per_mtok=Decimal(usd)) for usd in (1, 3))

    def cascade(second: Agreement | None, stated: float) -> Cascade:
        text = f"<answer>4</answer><confidence>{stated}</confidence>"
        small = Stage(
            name="small", backend=FakeBackend("small", text), signal=Verbalized(),
            policy=Threshold(0.5), price=price, second_opinion=second, second_price=dearer,
        )  # fmt: skip
        large = FakeBackend("large", "<answer>5</answer>")
        return Cascade(stages=(small, Stage(name="large", backend=large, price=price)))

    for text, stated, calls, answered in (
        ("4", 0.1, 0, "5"),
        ("4", 0.5, 1, "4"),
        ("6", 0.5, 1, "5"),
        ("6", 1.0, 0, "4"),
    ):
        second = FakeBackend("second", f"<answer>{text}</answer>")
        bound = bind(cascade(Agreement(second, k=1, sampling=GREEDY), stated), tmp_path / "c.json")
        trace = asyncio.run(bound.ask(Question.of("What?")))
        confidence = trace.steps[0].confidence
        assert trace.answer == answered
        assert confidence is not None
        assert len(confidence.calls) == calls
        drafts = [step.completion for step in trace.steps if step.completion is not None]
        tokens = [
            sum((each.usage.prompt_tokens, each.usage.completion_tokens)) for each in (*drafts, *confidence.calls)
        ]
        per_token = [1] * len(drafts) + [3] * calls
        assert trace.cost_usd == sum(Decimal(n * usd) for n, usd in zip(tokens, per_token, strict=True)) / 10**6
    with pytest.raises(ConfigError, match="reads second_opinion"):
        bind(cascade(None, 0.5), tmp_path / "c.json")
    other = Agreement(FakeBackend("third"), k=1, sampling=GREEDY)
    with pytest.raises(ConfigError, match="slm_second_opinion is 'third', calibrated for 'second'"):
        bind(cascade(other, 0.5), tmp_path / "c.json")
    assert binding_of(cascade(other, 0.5))[0].second_opinion == "third"


def test_what_is_certified_holds_on_fresh_rows_with_its_cost() -> None:
    calibration, fresh = found(), simulated(20_000, seed=7)
    assert calibration.certified
    answers = calibration.apply(fresh)
    assert (fresh.last.correct - answers.correct).mean() <= 0.05
    scored = ScoredTable.mapped(fresh, [calibration.stages[0].map])
    rule = calibration.rules[0]
    assert rule is not None
    asked = scored.opinion_asked(0, rule)
    paid = 1e-3 + 1e-3 * asked + 2e-2 * ~answers.kept
    assert np.allclose(answers.cost_usd, paid, rtol=1e-12)


def test_fresh_rows_confirm_or_break_a_calibration_or_leave_it_open() -> None:
    calibration, fresh = found(), simulated(6000, seed=8)
    assert retest(calibration, fresh).verdicts == {"max_drop": "met"}
    assert retest(calibration, fresh.take(np.arange(100))).verdicts == {"max_drop": "open"}
    worse = fresh.change(0, correct=fresh.first.correct * (np.random.default_rng(0).random(6000) < 0.8))
    result = retest(calibration, worse)
    assert result.contradicted == ["max_drop"]
    applied = apply_calibration(calibration, worse)  # one test
    assert (applied["verdicts"], applied["contradicted"]) == (result.verdicts, result.contradicted)
    assert applied["headline"] == result.headline
    assert result.p_met["max_drop"] < 0.01
    with pytest.raises(DataError, match="all 2,000 rows calibrated"):
        retest(calibration, simulated(2000))


def test_calibrating_again_on_the_same_rows_is_counted_and_said() -> None:
    table, once = simulated(2000), found()
    assert once.data.attempts == 1
    assert counted(found(), [once]).data.attempts == 1  # the same settings, the same result
    other = fit(table, Targets(max_drop=0.06), FitOptions(map="linear", seed=1))
    again = counted(other, [once])
    assert again.data.attempts == 2
    assert again.sentence == f"{other.sentence}; attempt 2 on these rows: 90 % confidence over all attempts"
    third = fit(table, Targets(max_drop=0.07), FitOptions(map="linear"))
    assert counted(third, [once, other]).data.attempts == 3  # two files that do not know of each other
    assert counted(found(), [once, again]).data.attempts == 2
    assert counted(fit(simulated(2000, seed=3), Targets(max_drop=0.05)), [once, again]).data.attempts == 1
