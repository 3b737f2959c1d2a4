"""`corea serve`: the OpenAI-compatible server."""

import asyncio
import socket
import sys
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corea.cli.console import EXIT_INTERRUPTED
from corea.cli.options import CalibrationOption, ConfigOption, ForceOption, SetOption
from corea.errors import ConfigError

if TYPE_CHECKING:
    from corea.build import BackendCache
    from corea.config import Config
    from corea.evaluate.live_judge import LiveJudge
    from corea.gateway.ops.settings import GatewaySettings

FEW_RETRIES: dict[str, int | float] = {"max_retries": 1, "retry_after_cap_seconds": 1.0}


def serve(
    config: ConfigOption = None,
    set_: SetOption = None,
    calibration: CalibrationOption = None,
    force: ForceOption = False,
    host: Annotated[str | None, typer.Option(help="Address to listen on; other than loopback needs a key.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes on this machine; more than one needs gateway.storage.url.")
    ] = 1,
    worker: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Serve the cascades to any OpenAI client. SIGHUP reloads the configuration, SIGTERM stops gracefully."""
    from corea.build import BackendCache, build_all
    from corea.cli.advice import refuse_unknown_inputs
    from corea.cli.configuration import BUNDLED_NOTE, find_config, find_gateway, state_folder, with_calibration
    from corea.registry import resolve

    server = resolve("corea serve", "corea.gateway.server.serve:serve", {})  # says which extra is missing
    loaded = resolve("corea serve", "corea.gateway.server.serve:LiveConfig", {})
    backends = BackendCache()

    def read() -> "tuple[Config, bool]":
        found, bundled = find_config(config, set_)
        return for_clients(with_calibration(found, None, calibration, force=force)), bundled

    def load() -> Any:
        found, bundled = read()
        settings = _at(find_gateway(found), host, port)
        cascades, shared = build_all(found, backends)
        judge = audit_judge(found, settings, backends)
        shared = shared if judge is None else backends.end()
        for cascade in cascades.values():
            refuse_unknown_inputs(cascade, "corea serve")
        digest = sha256(repr(found).encode()).hexdigest()[:16]
        calibrations = {n: found.path(c.calibration) for n, c in found.cascades.items() if c.calibration is not None}
        return loaded(settings, cascades, shared, state_folder(found, bundled=bundled), digest, calibrations, judge)

    found, bundled = read()
    if worker is None and bundled:
        say(BUNDLED_NOTE)
    if worker is None:
        asyncio.run(_warn(found))
    if worker is not None:
        place = resolve("corea serve", "corea.gateway.server.workers:WorkerPlace", {}).read(worker)
        listening = socket.socket(fileno=place.descriptor)
        interrupted = server(
            load, say=say if place.first else lambda line: None, listening=listening, workers=place.folder
        )
    elif workers > 1:
        from corea.gateway.server.workers import serve_workers, this_command

        interrupted = serve_workers(_at(find_gateway(found), host, port), workers, this_command())
    else:
        interrupted = server(load, say=say)
    if interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)


def _at(settings: "GatewaySettings", host: str | None, port: int | None) -> "GatewaySettings":
    """The settings with the command line's address."""
    return replace(settings, host=host or settings.host, port=settings.port if port is None else port)


async def _warn(config: "Config") -> None:
    """Warns of stages in `mode = "chat"` whose server gives nothing that their signal reads."""
    from corea.build import build
    from corea.cli.advice import blind_stages
    from corea.stage import Mode

    for name in [name for name, each in config.cascades.items() if each.mode is Mode.CHAT]:
        cascade = build(config, name).cascade  # of its own: connections belong to an event loop
        for line in await blind_stages(cascade):
            say(line)
        await cascade.close()


def for_clients(config: "Config") -> "Config":
    """The configuration with fewer retries where a stage sets none: a client that waits has retries of its own."""
    stages = {
        name: replace(stage, backend={**FEW_RETRIES, **stage.backend}) if stage.backend["kind"] == "openai" else stage
        for name, stage in config.stages.items()
    }
    return replace(config, stages=stages)


def audit_judge(config: "Config", settings: "GatewaySettings", backends: "BackendCache") -> "LiveJudge | None":
    """The model of `[calibrate.judge]`, where the audit is to compare answers by it.

    Raises:
        ConfigError: It is wanted and not configured, or has no price or key.
    """
    if not settings.audit.judge:
        return None
    from corea.calibrate.settings import CalibrateSettings
    from corea.cli.calibrate_live import configured_judge
    from corea.config import settings as read_settings
    from corea.evaluate.live_judge import LiveJudge

    wanted = read_settings(f"{config.source}: calibrate", CalibrateSettings, dict(config.calibrate)).judge
    if wanted.backend is None:
        raise ConfigError(
            f"{config.source}: gateway.audit.judge: got true and no [calibrate.judge], expected the model that "
            "compares answers; add that table"
        )
    judge = configured_judge(config, wanted, backends)
    judge.stage.check()
    return LiveJudge(
        judge=judge, seconds=settings.timeouts.request_seconds, assumed_tokens=settings.budgets.default_reserve_tokens
    )


def say(line: str) -> None:
    """Prints a line for the operator."""
    print(line, file=sys.stderr, flush=True)
