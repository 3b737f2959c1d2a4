"""What a stage can take beside text: "tools", "images" (or sound, files), "structured" (an answer in a given form)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from corea.cascade import Cascade
from corea.errors import ConfigError, unknown_name
from corea.gateway.faults import unsupported
from corea.protocols import Backend
from corea.stage import Stage


def check_accepts(accepts: Mapping[str, tuple[str, ...]], stages: Sequence[Stage]) -> None:
    """Looks over `gateway.accepts`.

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
                    f"gateway.accepts.{name}: got {lacking[0]!r}, expected what {stage.backend.model} can take: it is "
                    "a model in this process, for text only; leave it out"
                )


def declared(cascade: Cascade, needs: Mapping[str, str], accepts: Mapping[str, tuple[str, ...]]) -> Cascade:
    """The cascade without the earlier stages that do not declare what the request needs."""
    if not needs:
        return cascade
    *earlier, last = cascade.stages
    return _only(cascade, [*(s for s in earlier if needs.keys() <= set(accepts.get(s.name, ()))), last], needs)


def able(cascade: Cascade, needs: Mapping[str, str]) -> Cascade:
    """The cascade without the stages whose backend cannot take what the request needs.

    Raises:
        Fault: None is left; names the field.
    """
    if not needs:
        return cascade
    left = [stage for stage in cascade.stages if not _lacks(stage.backend, needs)]
    if not left:
        last = cascade.stages[-1]
        need = _lacks(last.backend, needs)[0]
        raise unsupported(needs[need], f"{last.backend.model} ({cascade.name}/{last.name}) takes no {need}")
    return _only(cascade, left, needs)


def _only(cascade: Cascade, stages: Sequence[Stage], needs: Mapping[str, str]) -> Cascade:
    if len(stages) == len(cascade.stages):
        return cascade
    skipped = ", ".join(stage.name for stage in cascade.stages if stage not in stages)
    flag = f"{skipped} not asked: the request has {', '.join(sorted(needs))}"
    return replace(cascade, stages=tuple(stages), flags=(*cascade.flags, flag))


def _lacks(backend: Backend, needs: Iterable[str]) -> list[str]:
    """What of `needs` a backend says it cannot take; one that says nothing passes on whatever there is."""
    capabilities: frozenset[str] | None = getattr(backend, "capabilities", None)
    return [] if capabilities is None else [need for need in needs if need not in capabilities]
