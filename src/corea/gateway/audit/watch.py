"""The detectors of a cascade over live traffic: their state in the database, and the alarms."""

import sqlite3
from dataclasses import dataclass

import msgspec

from corea.calibrate.artefact import Calibration
from corea.calibrate.monitor import Detector, Monitor
from corea.gateway.audit.store import MonitorRow, monitor_rows, save_monitor, start_monitor

MEANING = {
    "deferred": "without labels: a change of a model or of the questions",
    "audited": "without labels: a change of a model or of the questions",
    "labelled": "with labels of reviewers: the promise itself",
}


class DetectorState(msgspec.Struct, kw_only=True):
    """A detector as it is stored, and shown.

    Args:
        seen, total: Observations, and their sum.
        alarmed_at: The observation of the alarm.
        evidence: By bet; the alarm comes where their mean reaches `every`.
        low, high: Bounds of the mean where nothing has changed.
    """

    seen: int
    total: float
    alarmed_at: int | None
    evidence: list[float]
    low: float | None
    high: float | None
    every: float

    @property
    def value(self) -> float:
        """The evidence of a change, in [0, inf)."""
        return sum(self.evidence) / len(self.evidence)


@dataclass(slots=True)
class CascadeWatch:
    """The detectors of one cascade. All methods run on the store's thread; the event loop only reads.

    Args:
        calibration: Digest of the artefact that decides; None: none does.
        monitor: None where there is nothing to compare traffic with.
        new_alarm: Names of the detectors that have alarmed and were not reported yet.
    """

    cascade: str
    calibration: str | None = None
    monitor: Monitor | None = None
    every: float = 10_000.0
    row: MonitorRow | None = None
    changed: bool = False
    new_alarm: str | None = None

    @classmethod
    def of(cls, cascade: str, found: Calibration | None, every: float) -> "CascadeWatch":
        """The watch of a cascade; without detectors where its artefact has no shares to watch."""
        watched = found is not None and found.watched is not None
        monitor = Monitor.of_calibration(found, every=every) if found is not None and watched else None
        return cls(cascade, found.digest if found is not None else None, monitor, every)

    @property
    def alarm(self) -> str | None:
        """Names of the detectors that have alarmed, until someone acknowledges; None: none has."""
        return self.row.alarm if self.row is not None else None

    @property
    def bounds(self) -> str:
        """The detectors' bounds, as text: a state of others is of no use."""
        said = [(each.name, each.low, each.high) for each in self._detectors]
        return f"{self.calibration} {self.every:g} {said}"

    @property
    def _detectors(self) -> tuple[Detector, ...]:
        return self.monitor.detectors if self.monitor is not None else ()

    def refresh(self, connection: sqlite3.Connection, now: float) -> None:
        """Takes the stored state where it is not the present one: at the start, and after an acknowledgement."""
        if self.monitor is None:
            return
        stored = {row.cascade: row for row in monitor_rows(connection)}.get(self.cascade)
        if stored is None or stored.bounds != self.bounds:
            start_monitor(connection, self.cascade, self.bounds, now, None)
            stored = {row.cascade: row for row in monitor_rows(connection)}[self.cascade]
        if self.row is None or self.row.generation != stored.generation:
            self.row, self.changed = stored, False
            self._resume(msgspec.json.decode(stored.detectors, type=dict[str, DetectorState]))

    def _resume(self, states: dict[str, DetectorState]) -> None:
        for detector in self._detectors:
            found = states.get(detector.name)
            nothing = {"seen": 0, "total": 0.0, "alarmed_at": None, "evidence": [0.0] * detector.bets}
            detector.resume(nothing if found is None else msgspec.to_builtins(found))

    def observe(self, name: str, value: float) -> None:
        """Adds an observation to a detector, if there is one of this name."""
        for detector in self._detectors:
            if detector.name == name:
                detector.observe(value)
                self.changed = True

    def evidence(self) -> dict[str, DetectorState]:
        """The detectors by name."""
        return {each.name: state_of(each) for each in self._detectors}

    def save(self, connection: sqlite3.Connection, now: float) -> None:
        """Stores the state, with an alarm if there is one."""
        if self.monitor is None or self.row is None or not self.changed:
            return
        row, alarms = self.row, ", ".join(self.monitor.alarms) or None
        row.detectors = msgspec.json.encode(self.evidence()).decode()
        if alarms != row.alarm:
            row.alarm, row.alarmed_at, self.new_alarm = alarms, row.alarmed_at or now, alarms
        save_monitor(connection, row)
        self.changed = False


def state_of(detector: Detector) -> DetectorState:
    """A detector as it is stored."""
    return DetectorState(**detector.state(), low=detector.low, high=detector.high, every=detector.every)
