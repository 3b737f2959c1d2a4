"""A plug may return anything: it is named in one line."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from tests.signals.helpers import QUESTION, Stub, wrote

from corea.cascade import Cascade
from corea.errors import ConfigError
from corea.policies.threshold import Threshold
from corea.signals.calibrated_signal import Mapped
from corea.signals.measured import measured
from corea.stage import Stage
from corea.types import Completion, Confidence, Question, Status


class Plug:
    """A signal that returns what it was given."""

    def __init__(self, returned: Any) -> None:
        self.returned = returned

    async def measure(self, question: Question, completion: Completion) -> Confidence:
        return self.returned


WHERE = f"signal {Plug.__module__}.Plug"


def valued(value: Any, **fields: Any) -> Confidence:
    return Confidence(value=value, signal="plug", **fields)


RANGE = "expected a number from 0 to 1, or None and a reason"
WRONG = [
    (
        None,
        "measure returned None, expected a Confidence; where it cannot be computed, one with value None and a reason",
    ),
    (0.8, "measure returned 0.8, expected a Confidence"),
    ("0.8", "measure returned '0.8', expected a Confidence"),
    ({"value": 0.8}, "measure returned {'value': 0.8} (dict), expected a Confidence"),
    (valued("0.8"), f"got value '0.8', {RANGE}"),
    (valued(float("nan")), f"got value nan, {RANGE}"),
    (valued(float("inf")), f"got value inf, {RANGE}"),
    (valued(True), f"got value True, {RANGE}"),
    (valued(1.2), f"got value 1.2, {RANGE}"),
    (valued(-0.1), f"got value -0.1, {RANGE}"),
    (valued(85), f"got value 85 (int), {RANGE}"),
    (valued(Decimal("0.5")), f"got value Decimal('0.5') (Decimal), {RANGE}"),
    (valued([0.5]), f"got value [0.5] (list), {RANGE}"),
    (valued(np.array([0.5])), f"got value array([0.5]) (ndarray), {RANGE}"),
    (valued(0.5, calls=["x"]), "got calls ['x'] (list), expected a tuple of Completion"),
]


@pytest.mark.parametrize(("returned", "said"), WRONG)
async def test_what_is_no_confidence_is_named_in_one_line(returned: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        await measured(Plug(returned), QUESTION, wrote("4"))
    assert str(caught.value).startswith(f"{WHERE}: {said}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "kept"),
    [(0.25, 0.25), (0, 0.0), (1, 1.0), (np.float32(0.5), 0.5), (np.float64(0.5), 0.5), (Fraction(1, 4), 0.25),
     (1 + 1e-12, 1.0), (-1e-12, 0.0), (None, None)],
)  # fmt: skip
async def test_numbers_from_0_to_1_become_floats(value: Any, kept: float | None) -> None:
    found = (await measured(Plug(valued(value, reason="why")), QUESTION, wrote("4"))).value
    assert found == kept
    assert type(found) is type(kept)


async def test_a_measure_that_is_no_coroutine_is_named() -> None:
    class Plain:
        def measure(self, question: Question, completion: Completion) -> Confidence:
            return valued(0.5)

    with pytest.raises(ConfigError, match="Plain: measure is not a coroutine function, expected `async def measure`"):
        await measured(Plain(), QUESTION, wrote("4"))  # type: ignore[arg-type]


@pytest.mark.parametrize(("returned", "said"), WRONG)
async def test_in_a_cascade_the_question_fails_with_that_line(returned: Any, said: str) -> None:
    small = Stage(name="small", backend=Stub(wrote("4")), signal=Plug(returned), policy=Threshold(0.5))
    cascade = Cascade(stages=(small, Stage(name="large", backend=Stub(wrote("4")))))
    (trace,) = [trace async for trace in cascade.ask_many([QUESTION])]
    assert trace.status is Status.FAILED
    assert (trace.error or "").startswith(f"ConfigError: {WHERE}: {said}")


async def test_a_signal_behind_a_calibrated_map_is_checked_too() -> None:
    with pytest.raises(ConfigError, match=r"Plug: got value 1\.2"):
        await Mapped(Plug(valued(1.2)), {"kind": "identity"}).measure(QUESTION, wrote("4"))
