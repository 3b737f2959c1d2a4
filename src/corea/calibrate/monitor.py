"""Watches live traffic for a change: e-detectors on facts that a cascade has, or that an audit gives it.

Without labels, two facts tell that a model or the questions have changed: how often the two answers differ where a
question was deferred (both are there for free), and where a kept one was audited by asking the large model too. With
labels, the guarantee itself is tested: the accuracy lost on kept answers.

A detector sums evidence against "the mean is inside its bounds", for each start that the change may have had, long ago
or just now. Where nothing changes, its false alarms come at most once in `every` observations on average, and within n
observations with probability at most n / every, whatever the order and the dependence on the past.

Source: Shin, Ramdas and Rinaldo 2022, arXiv:2203.03532 (e-detectors; Shiryaev-Roberts form).
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from corea.calibrate.artefact import Calibration
from corea.errors import ConfigError
from corea.metrics.arrays import Floats

BETS = np.array(
    [0.02, 0.05, 0.1, 0.2, 0.4]
)  # shares of the largest admissible bet; each is a detector, they are averaged


@dataclass(slots=True, kw_only=True)
class Detector:
    """Alarms when the mean of observations rises above `high` or falls below `low`.

    Args:
        name: Of what is observed.
        low, high: Bounds of the mean where nothing has changed; None: that side is not watched.
        least, most: Bounds of one observation.
        every: Observations for one false alarm, on average at least.
    """

    name: str
    low: float | None = None
    high: float | None = None
    least: float = 0.0
    most: float = 1.0
    every: float = 10_000.0
    seen: int = 0
    total: float = 0.0
    alarmed_at: int | None = None
    _evidence: Floats = field(init=False)
    _bets: Floats = field(init=False)
    _centres: Floats = field(init=False)

    def __post_init__(self) -> None:
        if not self.every > 1 or (self.low is None and self.high is None):
            raise ConfigError(
                f"monitor {self.name}: got every = {self.every}, low = {self.low}, high = {self.high}, expected every "
                "above 1 and a bound on one side at least"
            )
        bets, centres = list[Floats](), list[Floats]()
        for bound, side in ((self.high, 1.0), (self.low, -1.0)):
            if bound is None:
                continue
            if not self.least < bound < self.most:
                raise ConfigError(
                    f"monitor {self.name}: got the bound {bound}, expected one between {self.least} and {self.most}"
                )
            room = bound - self.least if side > 0 else self.most - bound
            bets.append(side * BETS / room)
            centres.append(np.full(len(BETS), bound))
        self._bets, self._centres = np.concatenate(bets), np.concatenate(centres)
        self._evidence = np.zeros(len(self._bets))

    @property
    def mean(self) -> float:
        """Of the observations so far; NaN without any."""
        return self.total / self.seen if self.seen else float("nan")

    @property
    def evidence(self) -> float:
        """Of a change, in [0, inf); the alarm comes at `every`."""
        return float(self._evidence.mean())

    @property
    def stakes(self) -> tuple[Floats, Floats]:
        """(K,) the bets whose evidence is averaged, and the bound that each bets against."""
        return self._bets, self._centres

    def observe(self, value: float) -> bool:
        """Adds an observation; True from the first alarm on.

        Raises:
            ConfigError: It is out of its bounds.
        """
        if not self.least <= value <= self.most:
            raise ConfigError(
                f"monitor {self.name}: got {value}, expected an observation from {self.least} to {self.most}"
            )
        self.seen, self.total = self.seen + 1, self.total + value
        self._evidence = (self._evidence + 1.0) * (1.0 + self._bets * (value - self._centres))
        if self.alarmed_at is None and self.evidence >= self.every:
            self.alarmed_at = self.seen
        return self.alarmed_at is not None

    def state(self) -> dict[str, Any]:
        """The values that `resume` needs, as plain ones."""
        return {
            "seen": self.seen, "total": self.total, "alarmed_at": self.alarmed_at, "evidence": self._evidence.tolist(),
        }  # fmt: skip

    def resume(self, state: dict[str, Any]) -> None:
        """Resumes from a `state` of a detector with the same bounds.

        Raises:
            ConfigError: It is of another detector.
        """
        evidence = np.array(state["evidence"], dtype=np.float64)
        if evidence.shape != self._evidence.shape:
            raise ConfigError(f"monitor {self.name}: got a state of other bounds, expected its own; start again")
        self.seen, self.total, self.alarmed_at = state["seen"], state["total"], state["alarmed_at"]
        self._evidence = evidence


@dataclass(slots=True, kw_only=True)
class Monitor:
    """The detectors of a calibrated cascade of two models.

    Args:
        deferred: Answers that differ, of deferred questions; None where these are not compared.
        audited: Answers that differ, of kept questions that the large model was asked too; with a judge, those to which
            it prefers the large model's.
        labelled: Accuracy lost, of kept questions with a label: 1 only the large model right, -1 only the small.
    """

    deferred: Detector | None
    audited: Detector
    labelled: Detector | None = None

    @classmethod
    def of(
        cls,
        *,
        deferred_differ: tuple[float, float] | None,
        kept_differ: tuple[float, float],
        kept_share: float,
        max_drop: float | None = None,
        every: float = 10_000.0,
    ) -> "Monitor":
        """Detectors for these bounds of the shares at calibration.

        Args:
            deferred_differ, kept_differ: Bounds of the share of answers that differ, of deferred and of kept questions.
            kept_share: Of all questions; the loss on kept ones is then at most `max_drop / kept_share`.
            every: For each detector.
        """
        deferred = labelled = None
        if deferred_differ is not None:
            low, high = _inside(deferred_differ)
            deferred = Detector(name="deferred", low=low, high=high, every=every)
        if max_drop is not None and kept_share > max(max_drop, 0.0):
            labelled = Detector(name="labelled", high=max_drop / kept_share, least=-1.0, every=every)
        return cls(
            deferred=deferred,
            audited=Detector(name="audited", high=_inside(kept_differ)[1], every=every),
            labelled=labelled,
        )

    @classmethod
    def of_calibration(cls, found: Calibration, *, every: float = 10_000.0) -> "Monitor":
        """Detectors for a calibrated cascade.

        Raises:
            ConfigError: The artefact has no shares to watch.
        """
        if (watched := found.watched) is None:
            raise ConfigError(
                "monitor: got a calibration without shares to watch, expected a certified one of two models whose "
                "answers were recorded; calibrate again with the field answer"
            )
        return cls.of(
            deferred_differ=watched.deferred_differ, kept_differ=watched.kept_differ, kept_share=watched.kept_share,
            max_drop=found.guarantee.targets.max_drop, every=every,
        )  # fmt: skip

    @property
    def detectors(self) -> tuple[Detector, ...]:
        """All that there are."""
        return tuple(each for each in (self.deferred, self.audited, self.labelled) if each is not None)

    @property
    def alarms(self) -> tuple[str, ...]:
        """Names of the detectors that have alarmed."""
        return tuple(each.name for each in self.detectors if each.alarmed_at is not None)


def _inside(bounds: tuple[float, float]) -> tuple[float, float]:
    """Bounds of a share, kept off 0 and 1, where a bet on more would have no limit."""
    return max(bounds[0], 1e-3), min(bounds[1], 1 - 1e-3)
