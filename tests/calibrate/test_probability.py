"""The probability beside the score that decides, in traces and rows of a run; and inputs unlike all that fitted."""

from pathlib import Path

import numpy as np
import pytest

from corea.backends.fake import FakeBackend
from corea.calibrate import Calibration, FitOptions, OutcomeTable, Targets, fit, load
from corea.calibrate.binding import bind
from corea.calibrate.maps import fit_score
from corea.cascade import Cascade
from corea.metrics import expected_calibration_error
from corea.metrics.score_map import BlendMap, apply_map, outside
from corea.policies.threshold import Threshold
from corea.run.output import flat
from corea.run.shortcomings import Shortcomings
from corea.signals.verbalized import Verbalized
from corea.stage import Stage
from corea.types import OUTSIDE, Confidence, Decision, Question, Sampling, Trace

from .simulated import simulated_pairs

TARGETS = Targets(max_drop=0.05)


def unsure(n: int, *, seed: int = 0, start: int = 0) -> OutcomeTable:
    """A small model whose stated confidence is much further from 1 than its accuracy, and a large one."""
    rng = np.random.default_rng([seed, n])
    stated = rng.integers(1, 101, n) / 100
    correct = np.column_stack([rng.random(n) < 0.95 * stated**0.3, rng.random(n) < 0.9])
    return OutcomeTable.from_arrays(
        correct=correct, cost_usd=[1e-5, 1e-3], confidence=stated, ids=[f"q{start + i}" for i in range(n)]
    )


@pytest.fixture(scope="module")
def found() -> Calibration:
    made = fit(unsure(3000), TARGETS, FitOptions(map="identity"))
    assert made.certified
    return made


async def asked(found: Calibration, path: Path, texts: list[str], **given: object) -> list[Trace]:
    found.save(path / "c.json")
    stages = (
        Stage(
            name="small", backend=FakeBackend("small", lambda question: texts[int(question.id[1:])]),
            sampling=Sampling(), signal=Verbalized(), policy=Threshold(0.5),
        ),
        Stage(name="large", backend=FakeBackend("large", lambda _: "<answer>yes</answer>"), sampling=Sampling()),
    )  # fmt: skip
    bound = bind(Cascade(stages=stages), path / "c.json")
    return [await bound.ask(Question.of("?", id=f"q{i}")) for i in range(len(texts))]


async def test_a_trace_holds_the_probability_and_what_decided(found: Calibration, tmp_path: Path) -> None:
    values = [k / 100 for k in range(1, 101)]
    texts = [f"<answer>yes</answer><confidence>{value}</confidence>" for value in values]
    traces = await asked(found, tmp_path, texts)
    stage = found.stages[0]
    assert stage.threshold is not None
    table = OutcomeTable.from_arrays(
        correct=np.ones((100, 2)), cost_usd=[1.0, 1.0], confidence=values, ids=[f"q{i}" for i in range(100)]
    )
    assert [trace.stage == "small" for trace in traces] == found.apply(table).kept.tolist()
    wanted = apply_map(stage.probability, {"confidence": np.array(values)})
    for trace, value, probability in zip(traces, values, wanted, strict=True):
        first = trace.steps[0]
        assert first.confidence is not None
        assert (first.confidence.score, first.confidence.value) == (value, pytest.approx(probability))
        assert first.threshold == stage.threshold.tau
    row = flat(traces[-1])
    assert (row["score"], row["threshold"]) == (1.0, stage.threshold.tau)
    assert row["confidence"] == pytest.approx(wanted[-1])
    assert traces[0].steps[-1].threshold is None  # the last stage decides nothing


def test_the_confidence_of_unseen_rows_is_calibrated_where_the_stated_one_is_not(found: Calibration) -> None:
    fresh = unsure(20_000, seed=5, start=10**6)
    after = apply_map(found.stages[0].probability, {"confidence": fresh.first.confidence})
    assert expected_calibration_error(fresh.first.confidence, fresh.first.correct) > 0.2
    assert expected_calibration_error(after, fresh.first.correct) < 0.06  # of 200 rows
    assert found.report is not None
    assert found.report.score_quality.ece is None  # a score is not a probability
    assert found.report.score_quality.auroc is not None


def test_a_threshold_is_compared_with_the_score_where_there_is_one() -> None:
    question, policy = Question.of("?"), Threshold(0.5)
    assert policy.decide(question, Confidence(value=0.9, signal="x", score=0.4)) is Decision.DEFER
    assert policy.decide(question, Confidence(value=0.1, signal="x", score=0.6)) is Decision.KEEP
    assert Threshold(float("inf")).threshold_for(question) is None


def test_a_confidence_far_outside_those_that_fitted_has_no_score() -> None:
    pairs = simulated_pairs(2000, columns=True)
    name = list(pairs.first.signals)[-1]
    narrow = {**pairs.first.signals, name: 0.2 + 0.5 * pairs.first.signals[name]}
    for kind in ("linear", "trees"):
        stored, crossed = fit_score(pairs.change(0, signals=narrow), kind=kind)
        assert isinstance(stored, BlendMap)
        low, high = stored.ranges[name]
        least, most = np.nanmin(narrow[name]), np.nanmax(narrow[name])
        assert (low / (1 - low), high / (1 - high)) == pytest.approx((least / (1 - least) / 2, 2 * most / (1 - most)))
        assert np.isnan(crossed).mean() < 0.1
        columns = {key: values[:5].copy() for key, values in pairs.change(0, signals=narrow).columns(0).items()}
        columns[name] = np.array([0.5, least, most, 1.0, 0.01])
        assert np.isnan(apply_map(stored, columns)).tolist() == [False, False, False, True, True]
        assert outside(stored, columns)[name].tolist() == [False, False, False, True, True]


async def test_such_answers_are_deferred_counted_and_named(tmp_path: Path) -> None:
    pairs = unsure(3000)
    pairs = pairs.change(0, completion_tokens=np.random.default_rng(0).integers(400, 600, 3000).astype(float))
    found = fit(pairs, TARGETS)
    (trace,) = await asked(found, tmp_path, ["<answer>yes</answer><confidence>1</confidence>"])
    confidence, tokens = trace.steps[0].confidence, trace.steps[0].completion
    assert confidence is not None
    assert tokens is not None
    assert (confidence.value, confidence.score, trace.stage) == (None, None, "large")
    assert confidence.reason == f"{OUTSIDE}: completion_tokens {tokens.usage.completion_tokens}; deferred"
    counted = Shortcomings()
    counted.add(trace)
    assert counted.as_dict()["outside_calibration"] == {"small": 1}
    assert counted.as_dict()["no_confidence_stated"] == {}


def test_an_artefact_without_newer_fields_still_loads(found: Calibration, tmp_path: Path) -> None:
    from hashlib import sha256

    import msgspec

    plain = msgspec.to_builtins(replace_rows(found)) | {"digest": ""}
    assert "rows" not in plain["data"]
    bare = msgspec.json.encode(plain)
    digest = b'"digest":"sha256:' + sha256(bare).hexdigest().encode() + b'"}'
    (tmp_path / "old.json").write_bytes(msgspec.json.format(bare.replace(b'"digest":""}', digest), indent=1))
    assert load(tmp_path / "old.json").stages == found.stages


def replace_rows(found: Calibration) -> Calibration:
    from msgspec.structs import replace as changed

    return changed(found, data=changed(found.data, rows=""))
