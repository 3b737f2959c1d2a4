"""Binds an artefact to a cascade: it is refused for other models, prompts, sampling or signals, and then decides."""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from corea.baseline_cost import CalibrationFacts
from corea.calibrate.artefact import Calibration, StageBinding, StageCalibration, load
from corea.cascade import Cascade
from corea.errors import ConfigError, unknown_name
from corea.metrics.score_map import SECOND_OPINION, inputs_of
from corea.policies.calibrated import Calibrated
from corea.policies.pre_policies import SkipAll, SkipCategories
from corea.policies.router import Router
from corea.prices import Price
from corea.protocols import PrePolicy
from corea.registry import resolve
from corea.signals import FROM_THE_COMPLETION, SIGNALS
from corea.signals.calibrated_signal import CalibratedSignal
from corea.signals.tokens import with_logprobs
from corea.stage import Stage
from corea.types import Sampling

Binding = Sequence[StageBinding]
BOUND = (
    "reported", "revision", "prompt", "sampling", "signal", "signal_name", "base_url", "price", "pass_draft", "mode",
    "second_opinion",
)  # fmt: skip


def binding_of(cascade: Cascade) -> tuple[StageBinding, ...]:
    """The facts behind a cascade's answers: its models, how they are asked, and the signals of all but the last.

    Values that cannot be seen (the revision behind an API) are None, and are then not compared.
    """
    found: list[StageBinding] = []
    for stage in cascade.stages:
        backend: Any = stage.backend
        settings = getattr(backend, "settings", None)
        found.append(
            StageBinding(
                model=backend.model,
                revision=getattr(backend, "revision", None) or getattr(settings, "revision", None),
                prompt=None if stage.prompt is None else f"sha256:{stage.prompt.sha256[:16]}",
                sampling=_sampling(stage.sampling),
                signal=None if stage is cascade.stages[-1] else _signal(stage.signal),
                signal_name=None if stage is cascade.stages[-1] else _name(stage.signal),
                base_url=_address(getattr(settings, "base_url", None)),
                price=_price(stage.price),
                pass_draft=stage.pass_draft,
                mode=stage.mode.value,
                second_opinion=None if stage.second_opinion is None else _model_of(stage.second_opinion),
            )
        )
    return tuple(found)


def differences(calibrated: Binding, configured: Binding) -> list[str]:
    """The differences between an artefact's binding and a configuration's; unknown (None) differs from nothing."""
    if len(calibrated) != len(configured):
        return [f"stages is {len(configured)}, calibrated for {len(calibrated)}"]
    found: list[str] = []
    for index, (own, other) in enumerate(zip(calibrated, configured, strict=True)):
        role = "llm" if index == len(calibrated) - 1 else f"tier{index + 1}" if index else "slm"
        names = {name: f"{role}_{name}" for name in BOUND}
        names |= {"model": role} | ({"signal": "signal"} if index == 0 else {})
        for name in ("model", *BOUND):
            wanted, given = getattr(own, name), getattr(other, name)
            if name == "model" and given == own.reported:
                continue  # a run's rows carry the name that the server stated
            if wanted is not None and given is not None and wanted != given:
                found.append(f"{names[name]} is {given!r}, calibrated for {wanted!r}")
    return found


def bind(cascade: Cascade, path: str | Path, *, force: bool = False) -> Cascade:
    """The cascade with an artefact's maps, thresholds and pre-policies at each stage before the last.

    An infeasible artefact sends all to the last at once, as nothing is guaranteed of the others. Each trace is flagged,
    also where a server states another model than at calibration.

    Args:
        force: Binds although artefact and configuration differ; every trace is then flagged "calibration forced".

    Raises:
        ConfigError: Artefact and configuration differ, naming how; or a map reads what this signal does not give.
        DataError: The file is not a calibration.
    """
    found = load(path)
    differing = differences(found.binding, binding_of(cascade))
    if differing and not force:
        raise ConfigError(
            f"calibration {path}: {'; '.join(differing)}; calibrate again for this configuration, or give --force"
        )
    flags = ["calibrated" if found.certified else "calibration infeasible: everything is deferred"]
    several = len(found.stages) > 1
    stages: list[Stage] = []
    for index, stage in enumerate(cascade.stages):
        reported = found.binding[index].reported if index < len(found.binding) else None
        stage = replace(stage, calibrated_model=reported)
        if index >= len(found.stages) or index == len(cascade.stages) - 1:
            stages.append(stage)
        elif not found.certified:
            stages.append(replace(stage, pre_policy=SkipAll()))
        elif several and found.certified and found.stages[index].threshold is None:
            flags.append(f"calibration: stage {stage.name} does not pay and is not asked")
        else:
            stages.append(_bound(stage, found, found.stages[index], where=str(path)))
    flags += ["calibration forced: " + "; ".join(differing)] if differing else []
    costs = calibration_facts(found)
    return replace(cascade, stages=tuple(stages), flags=(*cascade.flags, *flags), calibrated=costs)


def calibration_facts(found: Calibration) -> CalibrationFacts:
    """The costs that an artefact measured or guarantees, and the column of the category that it reads."""
    expected, guarantee, plain = found.expected, found.guarantee, None
    if "plain_saving" in expected and expected["saving"].value < 1:
        plain = (1 - expected["saving"].value) / (1 - expected["plain_saving"].value)
    facts = CalibrationFacts(category_column=found.data.category_column, plain_share=plain)
    if not found.certified or not guarantee.targets.needs_cap:
        return facts
    return msgspec.structs.replace(
        facts, mean_usd=guarantee.targets.max_cost_usd, cap_usd=guarantee.cost_cap_usd,
        new_inputs_share=guarantee.new_inputs_share,
    )  # fmt: skip


def _bound(stage: Stage, found: Calibration, part: StageCalibration, *, where: str) -> Stage:
    """A stage with its part of the artefact, and the log-probabilities that the map needs."""
    if stage.signal is None:
        raise ConfigError(f"calibration {where}: stage {stage.name} has no signal, expected one; configure it")
    wanted = [name for name in inputs_of(part.map) if name in FROM_THE_COMPLETION]
    others = free_signals(wanted)
    if SECOND_OPINION in inputs_of(part.map) and stage.second_opinion is not None:
        others[SECOND_OPINION] = stage.second_opinion
    policy = Calibrated.of(part.threshold, found.groups)
    signal = CalibratedSignal(
        stage.signal, part.map, needs_answer=part.needs_answer, categories=part.categories,
        others=others, decides=policy.decide, where=where, probability=part.probability,
    )  # fmt: skip
    skip = part.threshold.skip_categories if part.threshold else ()
    skip += tuple(name for name, group in found.groups.items() if group.threshold is None)
    return replace(
        stage,
        signal=signal,
        policy=policy,
        pre_policy=_pre_policy(part, SkipCategories(skip) if skip else stage.pre_policy),
        sampling=with_logprobs(stage.sampling, signal),
    )


def _pre_policy(part: StageCalibration, otherwise: PrePolicy | None) -> PrePolicy | None:
    rule = part.threshold
    if part.router is None or rule is None or rule.ask_above is None:
        return otherwise
    return Router(part.router, rule.ask_above, otherwise)


def free_signals(names: Sequence[str]) -> dict[str, Any]:
    """Signals by name that read the completion alone, so that they cost nothing.

    Raises:
        ConfigError: One needs more than the completion, or does not exist.
    """
    for name in names:
        if name not in FROM_THE_COMPLETION:
            raise unknown_name("signals", name, FROM_THE_COMPLETION)
    return {name: resolve("signals", name, SIGNALS)() for name in names}


def _model_of(signal: Any) -> str | None:
    return getattr(getattr(signal, "backend", None), "model", None)


def _signal(signal: Any) -> dict[str, Any] | None:
    """A signal's kind and its plain settings; not what only says when it may stop early."""
    signal = signal.inner if isinstance(signal, CalibratedSignal) else signal
    if signal is None:
        return None
    plain = {each.name: getattr(signal, each.name) for each in fields(signal)} if is_dataclass(signal) else {}
    kept = {k: v for k, v in plain.items() if k != "threshold" and isinstance(v, str | int | float)}
    kept |= {k: _sampling(v) for k, v in plain.items() if isinstance(v, Sampling)}
    return {"kind": type(signal).__name__, **kept}


def _name(signal: Any) -> str | None:
    """A signal's name in a configuration; None for one of another package."""
    kind = type(signal.inner if isinstance(signal, CalibratedSignal) else signal)
    return next((name for name, where in SIGNALS.items() if where == f"{kind.__module__}:{kind.__name__}"), None)


def _address(url: str | None) -> str | None:
    """A server's address without the keys that it may hold."""
    if url is None:
        return None
    parts = urlsplit(url)
    port = "" if parts.port is None else f":{parts.port}"
    return f"{parts.scheme}://{parts.hostname or ''}{port}"


def _price(price: Price | None) -> dict[str, str] | None:
    """The amounts of a price that are set."""
    if price is None:
        return None
    names = (
        each.name for each in fields(price) if each.name not in ("source", "tiers") and not each.name.startswith("_")
    )
    plain = {name: getattr(price, name) for name in names}
    tiers = {"tiers": str(price.tiers)} if price.tiers else {}
    return {name: str(value) for name, value in plain.items() if value} | tiers


def _sampling(sampling: Any) -> dict[str, Any]:
    """The settings that shape an answer; those that only ask for log-probabilities do not."""
    names = ("max_tokens", "temperature", "top_p", "stop")
    found = {name: list(value) if isinstance(value := getattr(sampling, name), tuple) else value for name in names}
    return {**found, "extra": dict(sampling.extra)} if sampling.extra else found
