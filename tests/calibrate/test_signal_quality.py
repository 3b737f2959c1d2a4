"""The verdict on a signal, in words."""

import numpy as np
import pytest

from corea.calibrate.signal_quality import signal_quality

RNG = np.random.default_rng(0)
RIGHT = (RNG.random(2000) < 0.6).astype(float)
NOISE = RNG.normal(size=2000)


def stated(sharp: float) -> np.ndarray:
    return 1 / (1 + np.exp(-(sharp * (RIGHT - 0.5) + NOISE)))


@pytest.mark.parametrize(
    ("sharp", "verdict", "words"),
    [
        (3.0, "good", "good at telling right from wrong (AUROC 0.9"),
        (0.9, "fair", "fair at telling"),
        (0.4, "weak", "weak at telling"),
        (0.0, "unusable", "no better than chance"),
        (-1.0, "unusable", "inverted: surer answers are wrong more often"),
    ],
)
def test_the_verdict_follows_the_auroc(sharp: float, verdict: str, words: str) -> None:
    found = signal_quality(stated(sharp), RIGHT)
    assert found.verdict == verdict
    assert words in found.words


def test_a_signal_at_the_ceiling_on_one_value_is_told_so() -> None:
    found = signal_quality(np.where(RIGHT > 0.5, 1.0, np.where(NOISE > 0, 1.0, 0.7)), RIGHT)
    assert (found.at_ceiling, found.distinct) == (pytest.approx(0.8, abs=0.03), 2)
    assert "share one value" in found.words
    assert "overconfident by" in found.words


def test_what_could_not_be_read_is_counted() -> None:
    found = signal_quality(np.where(NOISE > 1, np.nan, stated(2.0)), RIGHT)
    assert found.unstated == pytest.approx((NOISE > 1).mean())
    assert "state no value that could be read" in found.words
    assert signal_quality(np.full(10, np.nan), RIGHT[:10]).verdict == "unusable"


def test_one_class_only_says_which() -> None:
    found = signal_quality(np.where(RIGHT > 0.5, stated(1.0), np.nan), RIGHT)
    assert (found.verdict, found.auroc) == ("fair", None)
    assert (
        found.words
        == f"every answer with a value is right, {100 * (1 - RIGHT.mean()):.0f} % have none and are deferred"
    )
    found = signal_quality(stated(1.0), np.zeros(2000))
    assert (found.verdict, found.words) == ("unusable", "every answer with a value is wrong")
