"""Configuration that a command works with: the file named, else corea.toml here, else the bundled pair's."""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from corea.build import BuiltCascade, build, bundled_config
from corea.cascade import Cascade
from corea.cli.options import CascadeOptions
from corea.config import Config, load_config, settings
from corea.errors import ConfigError
from corea.gateway.ops.settings import GatewaySettings

DEFAULT = Path("corea.toml")
BUNDLED_NOTE = (
    "No corea.toml here, so the bundled pair answers: two tiny models that know only small arithmetic, word and logic "
    "problems. `corea init` writes a corea.toml that points COREA at real models."
)


def find_config(path: Path | None, overrides: list[str] | None) -> tuple[Config, bool]:
    """The configuration, and True if it is the bundled pair's."""
    if path is None and DEFAULT.exists():
        path = DEFAULT
    if path is None:
        return bundled_config(tuple(overrides or ())), True
    return load_config(path, overrides or ()), False


def build_cascade(options: CascadeOptions) -> tuple[BuiltCascade, Config, bool]:
    """The cascade that the options name, its configuration, and True if that is the bundled pair's."""
    config, bundled = find_config(options.config, options.set_)
    config = with_calibration(config, options.cascade, options.calibration, force=options.force)
    return build(config, options.cascade), config, bundled


def with_calibration(config: Config, name: str | None, calibration: Path | None, *, force: bool) -> Config:
    """The configuration with a calibration file of the command line at one cascade, in place of its own."""
    name, wanted = config.cascade(name)
    if calibration is not None:
        wanted = replace(wanted, calibration=str(calibration.resolve()))
    wanted = replace(wanted, force=wanted.force or force)
    if wanted.calibration is None:
        if force:
            raise ConfigError("--force: got it without a calibration, expected one to force; give --calibration FILE")
        return config
    return replace(config, cascades={**config.cascades, name: wanted})


def settings_of_answers(config: Config, built: BuiltCascade) -> dict[str, Any]:
    """Settings that decide the answers of a built cascade, by the keys of its configuration."""
    from corea.run.answer_settings import answer_settings

    calibration = config.cascade(built.name)[1].calibration
    artefact = None if calibration is None else sha256(config.path(calibration).read_bytes()).hexdigest()[:16]
    declared = {stage.name: config.stages[stage.name].backend for stage in built.cascade.stages}
    return answer_settings(built.uncalibrated, declared=declared, calibration=artefact and f"sha256:{artefact}")


def worker_parts(options: CascadeOptions) -> tuple[Cascade, dict[str, Any]]:
    """The cascade of a worker, and the settings that decide its answers."""
    built, config, _ = build_cascade(options)
    return built.cascade, settings_of_answers(config, built)


def for_workers(options: CascadeOptions) -> CascadeOptions:
    """The same options wherever a worker starts: with absolute paths."""
    config = options.config or (DEFAULT if DEFAULT.exists() else None)
    calibration = options.calibration
    return replace(
        options,
        config=None if config is None else config.absolute(),
        calibration=None if calibration is None else calibration.absolute(),
    )


def find_gateway(config: Config) -> GatewaySettings:
    """Settings of `[gateway]`."""
    return settings(f"{config.source}: gateway", GatewaySettings, config.gateway)


def state_folder(config: Config, *, bundled: bool) -> Path:
    """Base folder of `gateway.storage.path`: the configuration's, or the current one for the bundled pair."""
    return Path() if bundled else config.base
