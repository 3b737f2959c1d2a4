"""A configuration as a running gateway holds it, until it is reloaded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from corea.cascade import Cascade
from corea.gateway.audit.calls import PairJudge
from corea.gateway.audit.watch import CascadeWatch, watches_of
from corea.gateway.ops.settings import GatewaySettings
from corea.protocols import Backend


@dataclass(frozen=True, slots=True)
class LiveConfig:
    """A configuration with its built cascades.

    Args:
        base: The folder that `settings.storage.path` is relative to.
        digest: The start of the configuration's SHA-256.
        backends: Those of all cascades; an unchanged one is the same object after a reload.
        calibrations: The artefact of each cascade that has one.
        judge: Compares answers for the audit, where `gateway.audit.judge` says so.
    """

    settings: GatewaySettings
    cascades: Mapping[str, Cascade]
    backends: tuple[Backend, ...]
    base: Path = Path()
    digest: str = ""
    calibrations: Mapping[str, Path] = field(default_factory=dict[str, Path])
    judge: PairJudge | None = None

    def watches(self) -> dict[str, CascadeWatch]:
        """The audit's detectors of each cascade."""
        judge = None if self.judge is None else self.judge.model
        return watches_of(self.cascades, self.calibrations, self.settings, judge)

    @property
    def path(self) -> Path | None:
        """The SQLite file; None is a temporary one, or a database elsewhere."""
        storage = self.settings.storage
        return self.base / storage.path if storage.path and storage.url is None else None
