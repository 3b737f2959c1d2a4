"""Keeping a share of a tie: the same questions when calibrating, when evaluating and when a cascade answers."""

from decimal import Decimal
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from corea.backends.fake import FakeBackend
from corea.calibrate import Calibration, Targets, fit, load
from corea.calibrate.binding import bind
from corea.calibrate.rules import ScoredTable, ThresholdRule
from corea.cascade import Cascade, Stage
from corea.evaluate.apply import apply_calibration
from corea.metrics.score_map import IdentityMap
from corea.policies.threshold import Threshold
from corea.prices import Price
from corea.signals.verbalized import Verbalized
from corea.types import Question, Sampling

from .simulated import simulated_pairs

RULE = ThresholdRule(tau=0.9, tie_fraction=0.35)


def artefact() -> Calibration:
    found = fit(simulated_pairs(600), Targets(max_drop=0.1))
    stage = replace(found.stages[0], threshold=RULE, map=IdentityMap())
    return replace(found, verdict="certified", stages=(stage,))


def cascade() -> Cascade:
    def stage(name: str, reply: str, *, last: bool = False) -> Stage:
        return Stage(
            name=name, backend=FakeBackend(name, lambda _: reply), sampling=Sampling(max_tokens=20),
            signal=None if last else Verbalized(), policy=None if last else Threshold(0.5),
            price=Price(output_usd_per_mtok=Decimal(1), source=name),
        )  # fmt: skip

    sure = "<answer>1</answer><confidence>0.9</confidence>"
    return Cascade(stages=(stage("small", sure), stage("large", "<answer>1</answer>", last=True)))


async def test_a_cascade_keeps_the_very_answers_of_a_tie_that_the_calibration_counted(tmp_path: Path) -> None:
    artefact().save(tmp_path / "c.json")
    pairs = simulated_pairs(400, start=5000)
    tied = pairs.change(0, signals={"confidence": np.full(400, 0.9)})
    counted = ScoredTable.of(tied, tied.first.confidence).kept(0, RULE)
    asked = [Question(id=key, messages=Question.of("one?").messages) for key in tied.ids]
    bound = bind(cascade(), tmp_path / "c.json")
    stages = {trace.question_id: trace.stage async for trace in bound.ask_many(asked)}
    assert [stages[key] == "small" for key in tied.ids] == counted.tolist()
    assert 0.28 < counted.mean() < 0.42
    figures = apply_calibration(load(tmp_path / "c.json"), tied)
    assert figures["llm_share"] == 1 - counted.mean()


def test_a_part_of_a_tie_reaches_a_drop_between_two_whole_ones() -> None:
    pairs = simulated_pairs(20_000)
    rows = ScoredTable.of(pairs, pairs.first.confidence)

    def drop(rule: ThresholdRule) -> float:
        return float((pairs.last.correct - rows.outcome((rule,)).correct).mean())

    without, part, whole = (drop(ThresholdRule(tau=0.9, tie_fraction=share)) for share in (0.0, 0.5, 1.0))
    assert without < part < whole
    assert abs(part - (without + whole) / 2) < 0.002
