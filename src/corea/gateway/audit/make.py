"""Makes the audit of a configuration."""

from collections.abc import Mapping
from pathlib import Path

from corea.calibrate.artefact import load
from corea.cascade import Cascade
from corea.gateway.audit.watch import CascadeWatch
from corea.gateway.ops.settings import GatewaySettings
from corea.stage import Mode


def watches_of(
    cascades: Mapping[str, Cascade], calibrations: Mapping[str, Path], settings: GatewaySettings
) -> dict[str, CascadeWatch]:
    """The detectors of each cascade.

    Args:
        calibrations: The artefact of each cascade that has one.

    Raises:
        ConfigError, DataError: An artefact cannot be read.
    """
    found = {name: load(path) for name, path in calibrations.items()}
    return {name: CascadeWatch.of(name, found.get(name), settings.audit.every) for name in cascades}


def audit_lines(cascades: Mapping[str, Cascade], settings: GatewaySettings) -> list[str]:
    """Lines about an audit that finds nothing."""
    if not settings.audit.share or settings.storage.store_text:
        return []
    chats = [name for name, each in cascades.items() if any(stage.mode is Mode.CHAT for stage in each.stages)]
    return [
        f"gateway.audit: {name} answers chats, whose texts people must compare, so none of its answers is audited; "
        "set gateway.storage.store_text = true"
        for name in chats
    ]
