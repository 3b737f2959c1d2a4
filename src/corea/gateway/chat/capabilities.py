"""Capabilities of stages beside text: "tools", "images" (also sound and files), "structured" (a required form).

Constraints that no stage can declare (LAST_ALONE in `request`) have their field's name: only a last stage gets them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import msgspec

from corea.cascade import Cascade
from corea.errors import ConfigError, unknown_name
from corea.gateway.errors import unsupported
from corea.protocols import Backend
from corea.stage import Stage
from corea.types import NativeRequest


def check_accepts(accepts: Mapping[str, tuple[str, ...]], stages: Sequence[Stage]) -> None:
    """Checks `gateway.accepts`.

    Raises:
        ConfigError: There is no such stage, or its backend takes text only.
    """
    for name, kinds in accepts.items():
        named = [stage for stage in stages if stage.name == name]
        if not named:
            raise unknown_name("gateway.accepts", name, sorted({stage.name for stage in stages}))
        for stage in named:
            if lacking := _lacks(stage.backend, kinds):
                raise ConfigError(
                    f"gateway.accepts.{name}: got {lacking[0]!r}, expected a capability of {stage.backend.model}, "
                    "which takes text only; leave it out"
                )


def declaring(cascade: Cascade, needs: Mapping[str, str], accepts: Mapping[str, tuple[str, ...]]) -> Cascade:
    """The cascade without the earlier stages that do not declare the capabilities that a request needs."""
    if not needs:
        return cascade
    *earlier, last = cascade.stages
    left = [*(s for s in earlier if needs.keys() <= set(accepts.get(s.name, ()))), last]
    return without_stages(cascade, left, _has(needs))


def capable(cascade: Cascade, needs: Mapping[str, str]) -> Cascade:
    """The cascade without the stages whose backend lacks a capability that a request needs.

    Raises:
        GatewayError: None is left; names the field.
    """
    if not needs:
        return cascade
    left = [stage for stage in cascade.stages if not _lacks(stage.backend, needs)]
    if not left:
        last = cascade.stages[-1]
        need = _lacks(last.backend, needs)[0]
        raise unsupported(needs[need], f"{last.backend.model} ({cascade.name}/{last.name}) takes no {need}")
    return without_stages(cascade, left, _has(needs))


def passed_through(cascade: Cascade, native: NativeRequest | None) -> NativeRequest | None:
    """The client's own request, where the last stage's server speaks its API; else the stage is asked by chat.

    Nothing may stand before the request then (a prompt), and no other stage may have the same backend. A hedged cascade
    streams whole answers, so it always asks by chat.

    Raises:
        GatewayError: The request has a field that no chat request can carry; names the field.
    """
    if native is None:
        return None
    *earlier, last = cascade.stages
    speaks = native.api in getattr(last.backend, "apis", ()) and last.prompt is None and cascade.in_order
    if speaks and all(stage.backend is not last.backend for stage in earlier):
        return msgspec.structs.replace(native, server=last.backend)
    for name, why in native.only.items():
        raise unsupported(name, why)
    return None


def _has(needs: Iterable[str]) -> str:
    return f"the request has {', '.join(sorted(needs))}"


def without_stages(cascade: Cascade, stages: Sequence[Stage], why: str) -> Cascade:
    """The cascade of only these of its stages, with a flag that says why."""
    if len(stages) == len(cascade.stages):
        return cascade
    skipped = ", ".join(stage.name for stage in cascade.stages if stage not in stages)
    return replace(cascade, stages=tuple(stages), flags=(*cascade.flags, f"{skipped} not asked: {why}"))


def _lacks(backend: Backend, needs: Iterable[str]) -> list[str]:
    """The capabilities that a backend declares to lack; one that declares none passes everything on."""
    capabilities: frozenset[str] | None = getattr(backend, "capabilities", None)
    return [] if capabilities is None else [need for need in needs if need not in capabilities]
