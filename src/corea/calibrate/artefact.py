"""The calibration artefact: one JSON file that binds a threshold to everything it was certified for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec

from corea.errors import ConfigError, DataError, unknown_name
from corea.metrics.score_map import inputs_of
from corea.policies.calibrated import Calibrated
from corea.policies.pre_policies import SkipCategories
from corea.registry import resolve
from corea.signals import FROM_THE_COMPLETION, SIGNALS
from corea.signals.calibrated_signal import Mapped
from corea.signals.tokens import with_logprobs
from corea.version import VERSION

ARTEFACT_VERSION = 2
CERTIFIED, INFEASIBLE = "certified", "infeasible"
AnyCascade = TypeVar("AnyCascade")


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What `corea calibrate` found, whole.

    Args:
        verdict: "certified" or "infeasible".
        threshold: tau, tie_fraction, skip_categories, abstain_below of the score; None when infeasible: defer all.
        guarantee: The goals, delta, the test, its rows and p-values, and the promise as a sentence.
        expected: Figures on the rows of the test, each as {value, low, high} at 95 %.
        binding: Names, revisions, prompt and sampling of both models, and the signal; what is None was not known.
        map: The score's map as plain numbers; `probability` the one from score to the chance of being right.
        health: The signal's health, with its verdict in words.
        report: Held-out figures: reliability before and after, baselines, categories.
        groups: A threshold for each slice, where asked for; it replaces `threshold` there.
        tiers: For a cascade of three or more models: model, map and threshold of each stage before the last (a
            threshold of None: that stage is not asked). `threshold` and `map` are then the first one's.
        advice: What to do next, in sentences.
    """

    verdict: str
    threshold: Mapping[str, Any] | None
    guarantee: Mapping[str, Any]
    expected: Mapping[str, Any]
    binding: Mapping[str, Any]
    map: Mapping[str, Any]
    probability: Mapping[str, Any]
    health: Mapping[str, Any]
    report: Mapping[str, Any]
    data: Mapping[str, Any]
    advice: tuple[str, ...] = ()
    sentence: str = ""
    groups: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tiers: tuple[Mapping[str, Any], ...] = ()
    created: str = ""
    corea_version: str = VERSION
    version: int = ARTEFACT_VERSION

    @property
    def certified(self) -> bool:
        """Whether a threshold that saves anything is promised."""
        return self.verdict == CERTIFIED

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def write(self, path: str | Path) -> None:
        """Writes the artefact, readable by people."""
        Path(path).write_bytes(msgspec.json.format(msgspec.json.encode(self.as_dict()), indent=1) + b"\n")

    @classmethod
    def read(cls, path: str | Path) -> "Calibration":
        """The artefact of a file.

        Raises:
            ConfigError: There is no such file.
            DataError: It is none, or of another version.
        """
        try:
            found = msgspec.json.decode(Path(path).read_bytes())
        except FileNotFoundError as error:
            raise ConfigError(f"{path}: no such calibration; make it with `corea calibrate`") from error
        except (OSError, msgspec.DecodeError) as error:
            raise DataError(
                f"not a calibration ({error}), expected what `corea calibrate` wrote", path=str(path)
            ) from error
        if not isinstance(found, dict) or "verdict" not in found or "guarantee" not in found:
            raise DataError("not a calibration, expected an object with verdict and guarantee", path=str(path))
        values = cast(dict[str, Any], found)
        if values.get("version") != ARTEFACT_VERSION:
            raise DataError(
                f"calibration version {values.get('version')!r}, expected {ARTEFACT_VERSION}; calibrate again",
                path=str(path),
            )
        known = {each.name for each in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise DataError(
                f"calibration has unknown parts {unknown}, expected {sorted(known)}; calibrate again", path=str(path)
            )
        values |= {name: tuple(values.get(name, ())) for name in ("advice", "tiers")}
        return cls(**values)


def now() -> str:
    """The date and time, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


# --- binding --------------------------------------------------------------------------------------------------------


def binding_of(cascade: Any) -> dict[str, Any]:
    """What a cascade's answers depend on: its models, how they are asked, and the signals of all but the last.

    Values that cannot be seen (the revision behind an API) are None, and are then not compared.
    """
    found: dict[str, Any] = {"stages": len(cascade.stages)}
    for index, stage in enumerate(cascade.stages):
        last = index == len(cascade.stages) - 1
        role = "llm" if last else "slm" if index == 0 else f"tier{index + 1}"
        found[role] = stage.backend.model
        settings = getattr(stage.backend, "settings", None)
        found[f"{role}_revision"] = getattr(stage.backend, "revision", None) or getattr(settings, "revision", None)
        found[f"{role}_prompt"] = None if stage.prompt is None else f"sha256:{stage.prompt.sha256[:16]}"
        found[f"{role}_sampling"] = _sampling(stage.sampling)
        if not last:
            found["signal" if index == 0 else f"{role}_signal"] = _signal(stage.signal)
    return found


def differences(calibrated: Mapping[str, Any], configured: Mapping[str, Any]) -> list[str]:
    """What differs between an artefact's binding and a configuration's; unknown (None) differs from nothing."""
    return [
        f"{name} is {configured[name]!r}, calibrated for {calibrated[name]!r}"
        for name in calibrated
        if name in configured and calibrated[name] is not None and configured[name] is not None
        and calibrated[name] != configured[name]
    ]  # fmt: skip


def bind(cascade: AnyCascade, path: str | Path, *, force: bool = False) -> AnyCascade:
    """The cascade with an artefact's map, threshold and pre-policy at its first stage, or at each before the last.

    An infeasible artefact makes it defer all to the last, as nothing is promised of the others. Each trace is flagged.

    Args:
        cascade: A `corea.cascade.Cascade`.
        force: Goes on where artefact and configuration differ; every trace is then flagged "calibration forced".

    Raises:
        ConfigError: Artefact and configuration differ, naming how; or the map reads what this signal does not give.
        DataError: The file is no artefact.
    """
    known = cast(Any, cascade)
    found = Calibration.read(path)
    parts = found.tiers or ({"map": found.map, "threshold": found.threshold},)
    differing = differences({"stages": len(parts) + 1, **found.binding}, binding_of(known))
    if differing and not force:
        raise ConfigError(
            f"calibration {path}: {'; '.join(differing)}; calibrate again for this configuration, or give --force"
        )
    flags = ["calibrated" if found.certified else "calibration infeasible: everything is deferred"]
    stages: list[Any] = []
    for index, stage in enumerate(known.stages):
        if index >= len(parts) or stage is known.stages[-1]:
            stages.append(stage)
        elif found.tiers and found.certified and parts[index]["threshold"] is None:
            flags.append(f"calibration: stage {stage.name} does not pay and is not asked")
        else:
            stages.append(_bound(stage, parts[index], found.groups, where=str(path)))
    flags += ["calibration forced: " + "; ".join(differing)] if differing else []
    return cast(AnyCascade, replace(known, stages=tuple(stages), flags=(*known.flags, *flags)))


def _bound(stage: Any, part: Mapping[str, Any], groups: Mapping[str, Any], *, where: str) -> Any:
    """A stage with the map and threshold of its part of the artefact, and the log-probabilities that the map needs."""
    wanted = [name for name in inputs_of(part["map"]) if name in FROM_THE_COMPLETION]
    signal = Mapped(stage.signal, part["map"], others=free_signals(wanted), where=where)
    skip = tuple((part["threshold"] or {}).get("skip_categories", ()))
    return replace(
        stage,
        signal=signal,
        policy=Calibrated.of(part["threshold"], groups),
        pre_policy=SkipCategories(skip) if skip else stage.pre_policy,
        sampling=with_logprobs(stage.sampling, signal),
    )


def free_signals(names: Sequence[str]) -> dict[str, Any]:
    """Signals by name that read the completion alone, so that they cost nothing.

    Raises:
        ConfigError: One needs more than the completion, or is none.
    """
    for name in names:
        if name not in FROM_THE_COMPLETION:
            raise unknown_name("signals", name, FROM_THE_COMPLETION)
    return {name: resolve("signals", name, SIGNALS)() for name in names}


def _signal(signal: Any) -> dict[str, Any] | None:
    """A signal's kind and its plain settings; not what only says when it may stop early."""
    signal = signal.inner if isinstance(signal, Mapped) else signal
    if signal is None:
        return None
    plain = {each.name: getattr(signal, each.name) for each in fields(signal)} if is_dataclass(signal) else {}
    kept = {k: v for k, v in plain.items() if k != "threshold" and isinstance(v, str | int | float)}
    return {"kind": type(signal).__name__, **kept}


def _sampling(sampling: Any) -> dict[str, Any]:
    """The settings that shape an answer; those that only ask for log-probabilities do not."""
    names = ("max_tokens", "temperature", "top_p", "stop")
    return {name: list(value) if isinstance(value := getattr(sampling, name), tuple) else value for name in names}
