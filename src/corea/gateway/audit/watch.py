"""The detectors of a cascade over live traffic: their state in the database, and the alarms."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from corea.calibrate.artefact import Calibration, load
from corea.calibrate.monitor import Detector, Monitor
from corea.cascade import Cascade
from corea.errors import ConfigError
from corea.gateway.audit.store import (
    DrawnRow,
    LabelRow,
    MonitorRow,
    label_rows,
    monitor_rows,
    save_monitor,
    start_monitor,
)
from corea.gateway.audit.traffic import read_facts
from corea.gateway.billing.connection import SqlConnection
from corea.gateway.ops.settings import GatewaySettings
from corea.stage import Mode

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
        judged: That artefact is about people's preferences: the two answers are compared by its judge.
        monitor: None where there is nothing to compare traffic with.
        outdated: Another server has started detectors for another calibration: this one shows them nothing.
        new_alarm: Names of the detectors that have alarmed and were not reported yet.
    """

    cascade: str
    calibration: str | None = None
    monitor: Monitor | None = None
    every: float = 10_000.0
    row: MonitorRow | None = None
    changed: bool = False
    outdated: bool = False
    new_alarm: str | None = None
    judged: bool = False

    @classmethod
    def of(cls, cascade: str, found: Calibration | None, every: float, judge: str | None = None) -> "CascadeWatch":
        """The watch of a cascade; without detectors where its artefact has no shares to watch.

        Args:
            judge: The model that compares answers here; None: there is none, and no judged artefact is watched.

        Raises:
            ConfigError: Another model judged at calibration.
        """
        if found is None:
            return cls(cascade, None, None, every)
        by = found.guarantee.labels.judge if found.judged and found.guarantee.labels is not None else None
        if by is not None and judge is not None and judge != by:
            raise ConfigError(
                f"gateway.audit.judge: cascade {cascade} was calibrated with the verdicts of {by!r}, got {judge!r}; "
                "name that one in [calibrate.judge], or calibrate again"
            )
        watched = found.watched is not None and (by is None or judge is not None)
        monitor = Monitor.of_calibration(found, every=every) if watched else None
        return cls(cascade, found.digest, monitor, every, judged=by is not None)

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

    def refresh(self, connection: SqlConnection, now: float, *, begin: bool = False) -> None:
        """Takes the stored state, which another server, or an acknowledgement, may have changed.

        Args:
            begin: The calibration is new here: detectors of another one are replaced.
        """
        if self.monitor is None:
            return
        stored = {row.cascade: row for row in monitor_rows(connection)}.get(self.cascade)
        if stored is None or (begin and stored.bounds != self.bounds):
            start_monitor(connection, self.cascade, self.bounds, now, None)
            stored = {row.cascade: row for row in monitor_rows(connection)}[self.cascade]
        self.row, self.changed = stored, False
        self.outdated = stored.bounds != self.bounds
        if not self.outdated:
            self._resume(msgspec.json.decode(stored.detectors, type=dict[str, DetectorState]))

    def _resume(self, states: dict[str, DetectorState]) -> None:
        for detector in self._detectors:
            found = states.get(detector.name)
            nothing = {"seen": 0, "total": 0.0, "alarmed_at": None, "evidence": [0.0] * len(detector.stakes[0])}
            detector.resume(nothing if found is None else msgspec.to_builtins(found))

    def observe(self, name: str, value: float) -> None:
        """Adds an observation to a detector, if there is one of this name."""
        for detector in self._detectors:
            if detector.name == name and not self.outdated:
                detector.observe(value)
                self.changed = True

    def evidence(self) -> dict[str, DetectorState]:
        """The detectors by name."""
        return {each.name: state_of(each) for each in self._detectors}

    def save(self, connection: SqlConnection, now: float) -> None:
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


def gap_of(row: DrawnRow, label: LabelRow | None) -> float | None:
    """The last stage's correctness minus the served answer's: 1, 0 or -1; None where a label does not settle it.

    Two answers that are the same are right or wrong together. Of two that differ, one that is right makes the other
    wrong; where the served one is wrong, the label must say of the last stage's too. Of texts that a judge compares
    both may be right, so that a label must always say of both; the judge's own verdict is never a label.
    """
    if not row.kept or row.differ is None:
        return None
    if not row.differ:
        return 0.0
    if label is None or label.served not in (0.0, 1.0):
        return None
    if label.reference is None and read_facts(row.facts).judge:
        return None
    reference = 0.0 if label.served and label.reference is None else label.reference
    return None if reference not in (0.0, 1.0) else reference - label.served


def observe_label(connection: SqlConnection, watch: CascadeWatch, row: DrawnRow) -> bool:
    """Shows the loss on a drawn question to the detector of labels, once; True if it is settled now."""
    if not row.settled:
        found = label_rows(connection, "trace_id = ? AND sampled = 1", row.trace_id)
        gaps = [gap for label in found or [None] if (gap := gap_of(row, label)) is not None]
        if gaps:
            watch.observe("labelled", gaps[-1])
            row.settled = True
    return row.settled


def watches_of(
    cascades: Mapping[str, Cascade],
    calibrations: Mapping[str, Path],
    settings: GatewaySettings,
    judge: str | None = None,
) -> dict[str, CascadeWatch]:
    """The detectors of each cascade.

    Args:
        calibrations: The artefact of each cascade that has one.
        judge: The model that compares the answers of judged ones.

    Raises:
        ConfigError, DataError: An artefact cannot be read, or was made with another judge.
    """
    found = {name: load(path) for name, path in calibrations.items()}
    return {name: CascadeWatch.of(name, found.get(name), settings.audit.every, judge) for name in cascades}


def audit_lines(cascades: Mapping[str, Cascade], settings: GatewaySettings) -> list[str]:
    """Lines about an audit that finds nothing."""
    if not settings.audit.share or settings.storage.store_text or settings.audit.judge:
        return []
    chats = [name for name, each in cascades.items() if any(stage.mode is Mode.CHAT for stage in each.stages)]
    return [
        f"gateway.audit: {name} answers chats, whose texts people must compare, so none of its answers is audited; "
        "set gateway.storage.store_text = true, or gateway.audit.judge = true"
        for name in chats
    ]
