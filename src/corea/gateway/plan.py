"""From a checked request to the cascade that will answer it: what the `model` names, and what the request changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from decimal import Decimal
from typing import Any

import msgspec

from corea.cascade import Cascade, new_id
from corea.costs.bounds import BoundAssumptions, request_tokens, stage_bounds
from corea.errors import unknown_name
from corea.gateway.abilities import able, check_accepts, declared
from corea.gateway.faults import Fault, bad_field, unsupported
from corea.gateway.settings import GatewaySettings
from corea.gateway.wire import ChatRequest
from corea.hedge import hedged
from corea.policies.threshold import Threshold
from corea.protocols import Policy
from corea.stage import Stage
from corea.types import Question, Sampling


class Plan(msgspec.Struct, frozen=True, kw_only=True):  # made in a tenth of a dataclass's time
    """How one request will be answered.

    Args:
        raw: The text goes out as it was written, tags and all.
        threshold: The threshold at the first stage, where there is one.
    """

    route: str
    cascade: Cascade
    question: Question
    raw: bool
    threshold: float | None
    request: ChatRequest
    settings: GatewaySettings

    @property
    def reserve_usd(self) -> Decimal:
        """The most that the answer can cost, as far as prices and limits tell."""
        return sum(worst_costs(self.cascade.stages, self.question, self.settings), Decimal(0))

    @property
    def reserve_tokens(self) -> int:
        """The most tokens that it may be expected to use: four bytes of prompt a token, and each stage's limit."""
        longest = self.settings.default_reserve_tokens
        return sum(
            request_tokens(self.question, stage.sampling) // 4 + (stage.sampling.max_tokens or longest)
            for stage in self.cascade.stages
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What one name of a model stands for.

    Args:
        name: The cascade's.
        direct: A single stage is asked as it is, without our prompt.
        usual: The cascade as a request that sets nothing has it asked.
        threshold: The first stage's, in the usual cascade.
    """

    name: str
    cascade: Cascade
    direct: bool
    usual: Cascade
    threshold: float | None


class Routes:
    """The models that the server offers: each cascade, each stage as "name/0" or "name/stage", each passthrough."""

    def __init__(self, cascades: Mapping[str, Cascade], settings: GatewaySettings) -> None:
        self.cascades = cascades
        self.settings = settings
        self._known: dict[str, Route] = {}
        for name, cascade in cascades.items():
            for number, stage in enumerate(cascade.stages):
                direct = self._route(name, _direct(cascade, stage), direct=True)
                self._known[f"{name}/{number}"] = self._known[f"{name}/{stage.name}"] = direct
        known = sorted({stage.name for cascade in cascades.values() for stage in cascade.stages})
        check_accepts(settings.accepts, [stage for cascade in cascades.values() for stage in cascade.stages])
        for model, wanted in settings.passthrough.items():
            found = [name for name, c in cascades.items() if any(s.name == wanted for s in c.stages)]
            if not found:
                raise unknown_name(f"gateway.passthrough.{model}", wanted, known)
            self._known[model] = self._known[f"{found[0]}/{wanted}"]
        self._known |= {name: self._route(name, cascade, direct=False) for name, cascade in cascades.items()}

    def _route(self, name: str, cascade: Cascade, *, direct: bool) -> Route:
        usual = self._hedged(cascade)
        return Route(name=name, cascade=cascade, direct=direct, usual=usual, threshold=first_threshold(cascade))

    def _hedged(self, cascade: Cascade) -> Cascade:
        seconds = self.settings.hedge_seconds
        return hedged(cascade, seconds) if seconds is not None and len(cascade.stages) > 1 else cascade

    def names(self) -> list[str]:
        """Every name that a request may give as `model`."""
        numbered = [f"{name}/{i}" for name, cascade in self.cascades.items() for i in range(len(cascade.stages))]
        return [*self.cascades, *numbered, *self.settings.passthrough]

    def find(self, model: str) -> Route:
        """What a name stands for.

        Raises:
            Fault: 404, there is no such model.
        """
        known = self._known.get(model)
        if known is None:
            message = f"model: got {model[:80]!r}, expected one of {', '.join(self.names())}."
            raise Fault(404, message, param="model", code="model_not_found")
        return known

    def plan(self, request: ChatRequest, *, sticky: bool = False) -> Plan:
        """How to answer a request.

        The rule for what a stage can take: a request with tools, images (or sound, files) or a response_format skips
        each stage that does not declare it in `gateway.accepts`. The last stage, and one asked directly, is sent
        whatever the request holds. A backend that takes text only (a model in this process) is never sent more: where
        no other stage is left, the request is refused.

        Args:
            sticky: The conversation was deferred before and stays so: only the last stage is asked.

        Raises:
            Fault: The model is not known, or the request asks for what is not allowed or not possible.
        """
        route = self.find(request.model)
        if request.plain and not sticky:
            cascade, threshold = route.usual, route.threshold
        else:
            cascade = self._as_asked(route, request, sticky=sticky)
            threshold = first_threshold(cascade)
        return Plan(
            route=route.name,
            cascade=cascade,
            question=Question(id=new_id(), messages=request.messages),
            raw=route.direct or request.controls.raw,
            threshold=threshold,
            request=request,
            settings=self.settings,
        )

    def _as_asked(self, route: Route, request: ChatRequest, *, sticky: bool) -> Cascade:
        """The route's cascade with all that the request changes."""
        controls, cascade = request.controls, route.cascade
        for control in ("threshold", "max_cost_usd", "stage", "raw"):
            if getattr(controls, control) not in (None, False) and control not in self.settings.allow:
                raise unsupported(f"corea.{control}", "the operator does not allow it")
        if controls.stage is not None:
            if controls.stage not in [s.name for s in cascade.stages]:
                raise bad_field("corea.stage", controls.stage, f"one of {', '.join(s.name for s in cascade.stages)}")
            cascade = replace(cascade, stages=tuple(s for s in cascade.stages if s.name == controls.stage))
        if not route.direct:
            if request.logprobs or request.top_logprobs:
                why = f"they would be of a text with tags; ask a stage directly, as {route.name}/0"
                raise unsupported("logprobs", why)
            cascade = declared(cascade, request.needs, self.settings.accepts)
        cascade = able(cascade, request.needs)
        if sticky and len(cascade.stages) > 1:
            cascade = replace(cascade, stages=cascade.stages[-1:], flags=(*cascade.flags, "sticky"))
        stages = tuple(
            _asked(stage, request, last=route.direct or number == len(cascade.stages))
            for number, stage in enumerate(cascade.stages, 1)
        )
        if controls.max_cost_usd is not None:
            worst = worst_costs(stages, Question(id="", messages=request.messages), self.settings)
            stages = _affordable(stages, worst, controls.max_cost_usd)
        if len(stages) < len(cascade.stages) or any(a is not b for a, b in zip(stages, cascade.stages, strict=True)):
            cascade = replace(cascade, stages=stages)
        return self._hedged(cascade)


def worst_costs(stages: Sequence[Stage], question: Question, settings: GatewaySettings) -> list[Decimal]:
    """The most that each stage can cost."""
    assumed = BoundAssumptions(max_tokens=settings.default_reserve_tokens, usd_per_call=settings.default_reserve_usd)
    bounds = stage_bounds(stages, question, assumed)
    return [bound for bound in bounds if bound is not None]  # all of them, since something is assumed


def at_threshold(policy: Policy | None, tau: float) -> Policy:
    """The policy with another threshold; one that has none of its own is replaced."""
    if policy is not None and is_dataclass(policy) and not isinstance(policy, type) and hasattr(policy, "tau"):
        changes: dict[str, Any] = {"tau": tau}
        return replace(policy, **changes)
    return Threshold(tau)


def first_threshold(cascade: Cascade) -> float | None:
    """The threshold at the first of several stages, where it has one."""
    tau = getattr(cascade.stages[0].policy, "tau", None) if len(cascade.stages) > 1 else None
    return float(tau) if tau is not None else None


def _direct(cascade: Cascade, stage: Stage) -> Cascade:
    bare = replace(stage, prompt=None, signal=None, policy=None, pre_policy=None)
    return replace(cascade, stages=(bare,))


def _asked(stage: Stage, request: ChatRequest, *, last: bool) -> Stage:
    """The stage as this request wants it asked; the same object where it wants nothing of its own."""
    sampling = _sampling(stage.sampling, request, last=last)
    tau = request.controls.threshold
    if tau is not None:
        return replace(stage, sampling=sampling, policy=at_threshold(stage.policy, tau))
    return stage if sampling is stage.sampling else replace(stage, sampling=sampling)


def _sampling(own: Sampling, request: ChatRequest, *, last: bool) -> Sampling:
    """What a stage is asked to write with.

    The last stage takes the request's settings as they are. An earlier one keeps its own temperature and top_p (its
    confidence was calibrated with them) and is sent neither stop nor further fields that could cut its tags off;
    max_tokens caps every stage: a draft cut short has no confidence, and is deferred.
    """
    limit = request.max_tokens
    if not (request.extra or request.settings):
        return own
    if not last:
        capped = limit if own.max_tokens is None else own.max_tokens if limit is None else min(limit, own.max_tokens)
        passed = {k: v for k, v in request.extra.items() if k in ("user", "metadata", "safety_identifier")}
        return replace(
            own,
            max_tokens=capped,
            seed=own.seed if request.seed is None else request.seed,
            extra={**own.extra, **passed},
        )
    return replace(
        own,
        max_tokens=own.max_tokens if limit is None else limit,
        temperature=own.temperature if request.temperature is None else request.temperature,
        top_p=own.top_p if request.top_p is None else request.top_p,
        seed=own.seed if request.seed is None else request.seed,
        stop=request.stop or own.stop,
        logprobs=own.logprobs or request.logprobs,
        top_logprobs=max(own.top_logprobs, request.top_logprobs),
        extra={**own.extra, **request.extra},
    )


def _affordable(stages: tuple[Stage, ...], worst: list[Decimal], limit: Decimal) -> tuple[Stage, ...]:
    """As many of the first stages as can be paid for at worst; what the last of them says is then kept."""
    spent, kept = Decimal(0), 0
    for stage, cost in zip(stages, worst, strict=True):
        if stage.price is None:
            raise unsupported("corea.max_cost_usd", f"stage {stage.name} has no price")
        spent += cost
        if spent > limit:
            break
        kept += 1
    if not kept:
        raise bad_field("corea.max_cost_usd", str(limit), f"at least {spent} (what the first stage may cost)")
    return stages[:kept]
