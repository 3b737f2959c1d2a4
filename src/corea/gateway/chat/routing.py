"""From a checked request to the cascade that answers it: the model's name, and the request's own settings."""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from corea.backends.openai.deployments import SESSION
from corea.backends.openai.settings import CHAT
from corea.cascade import Cascade, new_id
from corea.costs.bounds import BoundAssumptions, request_tokens, stage_bounds
from corea.errors import ConfigError, unknown_name
from corea.gateway.chat.capabilities import capable, check_accepts, declaring, passed_through, without_stages
from corea.gateway.chat.request import ChatRequest
from corea.gateway.chat.sampling import as_asked, stage_for
from corea.gateway.chat.visible import VisibleText, tags_of
from corea.gateway.errors import GatewayError, bad_field, unsupported
from corea.gateway.ops.affinity import session_of
from corea.gateway.ops.settings import ALARM_FLAG, CONTROLS, GatewaySettings, OnAlarm
from corea.hedge import hedged
from corea.policies.threshold import threshold_of
from corea.stage import Stage
from corea.types import LIMITS, Question

WITHOUT_CATEGORY = Question.of("")
LEAST_DRAFT_TOKENS = 64  # a draft's reasoning, answer and confidence with their tags


class RequestPlan(msgspec.Struct, frozen=True, kw_only=True):  # made in a tenth of a dataclass's time
    """Cascade and question of one request.

    Args:
        raw: The text is returned as written, with its tags.
        threshold: The threshold at the first stage, where there is one.
        lowered: The limit of tokens that `max_cost_usd` allows, where that is below the request's.
        alarm: The cascade has an alarm of its audit that no one has acknowledged.
    """

    route: str
    cascade: Cascade
    question: Question
    raw: bool
    threshold: float | None
    lowered: int | None = None
    alarm: OnAlarm | None = None
    request: ChatRequest
    settings: GatewaySettings

    def visible(self, stage: str | None) -> VisibleText:
        """The filter of a stage's text."""
        found = None if self.raw else next((s for s in self.cascade.stages if s.name == stage), None)
        if found is None:
            return VisibleText()
        tags = tags_of(found)
        sent = not tags and found is self.cascade.stages[-1]  # then its server has applied them
        return VisibleText(tags, () if sent else self.request.stop)

    @property
    def reserve_usd(self) -> Decimal:
        """Upper bound of the answer's cost, as far as prices and limits are known."""
        return sum(worst_costs(self.cascade.stages, self.question, self.settings), Decimal(0))

    @property
    def reserve_tokens(self) -> int:
        """Upper estimate of the answer's tokens: four bytes of prompt a token, and each stage's limit."""
        longest = self.settings.budgets.default_reserve_tokens
        return sum(
            request_tokens(self.question, stage.sampling) // 4 + (stage.sampling.max_tokens or longest)
            for stage in self.cascade.stages
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRoute:
    """The meaning of one model name.

    Args:
        name: The cascade's.
        direct: A single stage, asked without our prompt.
        chat: The last stage's server speaks chat completions.
        default: The cascade for a request that sets nothing.
        threshold: The first stage's, in the default cascade.
    """

    name: str
    cascade: Cascade
    direct: bool
    chat: bool
    default: Cascade
    threshold: float | None


class RoutingTable:
    """The names of models: each cascade, each stage as "name/0" or "name/stage", each passthrough, each alias."""

    def __init__(self, cascades: Mapping[str, Cascade], settings: GatewaySettings) -> None:
        self.cascades = cascades
        self.settings = settings
        directly: dict[str, ModelRoute] = {}
        for name, cascade in cascades.items():
            for number, stage in enumerate(cascade.stages):
                direct = self._route(name, _direct(cascade, stage), direct=True)
                directly[f"{name}/{number}"] = directly[f"{name}/{stage.name}"] = direct
        self._known: dict[str, ModelRoute] = directly.copy() if "stage" in settings.security.allow else {}
        known = sorted({stage.name for cascade in cascades.values() for stage in cascade.stages})
        check_accepts(settings.accepts, [stage for cascade in cascades.values() for stage in cascade.stages])
        for model, wanted in settings.passthrough.items():
            found = [name for name, c in cascades.items() if any(s.name == wanted for s in c.stages)]
            if not found:
                raise unknown_name(f"gateway.passthrough.{model}", wanted, known)
            if model in cascades:
                raise ConfigError(
                    f"gateway.passthrough.{model}: got the name of a cascade, expected another one; rename either"
                )
            self._known[model] = directly[f"{found[0]}/{wanted}"]
        self._known |= {name: self._route(name, cascade, direct=False) for name, cascade in cascades.items()}
        self._patterns: dict[str, ModelRoute] = {}
        for alias, model in settings.aliases.items():
            named = self._known.get(model) or directly.get(model)
            if named is None:
                raise unknown_name(f"gateway.aliases.{alias}", model, [*self._known, *directly])
            if alias in self._known:
                raise ConfigError(f"gateway.aliases.{alias}: got the name of a model here, expected another one")
            (self._patterns if "*" in alias else self._known)[alias] = named

    def _route(self, name: str, cascade: Cascade, *, direct: bool) -> ModelRoute:
        *earlier, last = cascade.stages
        if last.prompt is not None and last.prompt.is_plain:  # so that its server can be sent what came
            cascade = replace(cascade, stages=(*earlier, replace(last, prompt=None)))
        threshold, default = first_threshold(cascade), self._hedged(as_asked(cascade))
        chat = CHAT in getattr(last.backend, "apis", (CHAT,))
        return ModelRoute(name=name, cascade=cascade, direct=direct, chat=chat, default=default, threshold=threshold)

    def _hedged(self, cascade: Cascade) -> Cascade:
        seconds = self.settings.hedge_seconds
        return hedged(cascade, seconds) if seconds is not None and len(cascade.stages) > 1 else cascade

    def names(self) -> list[str]:
        """Every name that `model` may have."""
        numbered = [f"{name}/{i}" for name, cascade in self.cascades.items() for i in range(len(cascade.stages))]
        numbered = [name for name in numbered if name in self._known]
        aliases = [alias for alias in self.settings.aliases if alias in self._known]
        return [*self.cascades, *numbered, *self.settings.passthrough, *aliases]

    def find(self, model: str, shown: "Callable[[str, ModelRoute], bool]" = lambda name, route: True) -> ModelRoute:
        """The route of a model name.

        Args:
            shown: True for the names that the error may list.

        Raises:
            GatewayError: 404, there is no such model.
        """
        if (known := self._known.get(model)) is not None:
            return known
        for pattern, route in self._patterns.items():
            if fnmatchcase(model, pattern):
                return route
        names = [name for name in self.names() if shown(name, self._known[name])]
        message = f"model: got {model[:80]!r}, expected one of {', '.join(names) or 'none: this key may use no model'}."
        raise GatewayError(404, message, param="model", code="model_not_found")

    def plan(
        self,
        request: ChatRequest,
        *,
        sticky: bool = False,
        question_id: str | None = None,
        alarm: OnAlarm | None = None,
    ) -> RequestPlan:
        """The plan of a request.

        A request with tools, images (or sound, files), a required form or another constraint skips each stage that does
        not declare it in `gateway.accepts`. The last stage, and one asked directly, is sent whatever the request holds.
        A backend that takes text only (a model in this process) is never sent more: if no other stage is left, the
        request is refused.

        Args:
            sticky: The conversation stays deferred: only the last stage is asked, as after an `alarm` that defers.
            question_id: None is a new one.

        Raises:
            GatewayError: The model is unknown, or the request sets something that is not allowed or not possible.
        """
        route = self.find(request.body.model)
        why = ALARM_FLAG if alarm is OnAlarm.DEFER else "sticky" if sticky else None
        if request.plain and why is None:
            cascade, threshold, lowered = route.default, route.threshold, None
        else:
            cascade, lowered = self._adapted(route, request, last=why)
            threshold = first_threshold(cascade)
        native = passed_through(cascade, request.native)
        if native is None and not route.chat:
            message = f"model: {request.body.model[:80]!r} answers no chats."
            raise GatewayError(404, message, param="model", code="model_not_found")
        return RequestPlan(
            route=route.name,
            cascade=cascade,
            question=Question(
                id=question_id or new_id(), messages=request.messages, meta=_session(request), native=native
            ),
            lowered=lowered,
            alarm=alarm,
            raw=route.direct or bool(request.controls.raw),
            threshold=threshold,
            request=request,
            settings=self.settings,
        )

    def _adapted(self, route: ModelRoute, request: ChatRequest, *, last: str | None) -> tuple[Cascade, int | None]:
        """The route's cascade with the request's settings, and the limit of `max_cost_usd`; `last` flags it alone."""
        controls, cascade = request.controls, route.cascade
        for control in CONTROLS:
            if getattr(controls, control) not in (None, False) and control not in self.settings.security.allow:
                raise unsupported(f"corea.{control}", "the operator does not allow it")
        if controls.stage is not None:
            if controls.stage not in [s.name for s in cascade.stages]:
                raise bad_field("corea.stage", controls.stage, f"one of {', '.join(s.name for s in cascade.stages)}")
            cascade = replace(cascade, stages=tuple(s for s in cascade.stages if s.name == controls.stage))
        if not route.direct:
            cascade = _exactly_asked(declaring(cascade, _needs(route, request), self.settings.accepts), request)
            cascade = _with_room(cascade, request.max_tokens)
        cascade = capable(cascade, request.needs)
        if last is not None and len(cascade.stages) > 1:
            cascade = replace(cascade, stages=cascade.stages[-1:], flags=(*cascade.flags, last))
        stages = tuple(
            stage_for(stage, request, last=route.direct or number == len(cascade.stages), direct=route.direct)
            for number, stage in enumerate(cascade.stages, 1)
        )
        lowered = None
        if controls.max_cost_usd is not None:
            question = Question(id="", messages=request.messages, native=request.native)
            stages, lowered = self._affordable(stages, question, controls.max_cost_usd)
        if len(stages) < len(cascade.stages) or any(a is not b for a, b in zip(stages, cascade.stages, strict=True)):
            cascade = replace(cascade, stages=stages)
        return self._hedged(cascade), lowered

    def _affordable(
        self, stages: tuple[Stage, ...], question: Question, limit: Decimal
    ) -> tuple[tuple[Stage, ...], int | None]:
        """The first stages that can be paid for in the worst case; the answer of the last of them is kept.

        Where the first cannot, it may write fewer tokens: the second value is then its limit.
        """
        spent, kept = Decimal(0), 0
        for stage, cost in zip(stages, worst_costs(stages, question, self.settings), strict=True):
            if stage.price is None and not kept:
                raise unsupported("corea.max_cost_usd", f"stage {stage.name} has no price")
            spent += cost
            if spent > limit or stage.price is None:
                break
            kept += 1
        if kept:
            return stages[:kept], None
        first = stages[0]

        def cost_at(tokens: int) -> Decimal:
            return sum(worst_costs([_at_most(first, tokens)], question, self.settings), Decimal(0))

        least = LEAST_DRAFT_TOKENS if tags_of(first) else 1
        if cost_at(least) > limit:
            expected = f"at least {cost_at(least)} (the first stage's worst-case cost with max_tokens {least})"
            raise bad_field("corea.max_cost_usd", str(limit), expected)
        most = first.sampling.max_tokens or self.settings.budgets.default_reserve_tokens
        lowered = least + bisect_right(range(least + 1, most), limit, key=cost_at)
        return (_at_most(first, lowered),), lowered


def is_alias(aliases: Mapping[str, str], model: str) -> bool:
    """True if a model's name is an alias, or fits one with `*`."""
    return model in aliases or any("*" in alias and fnmatchcase(model, alias) for alias in aliases)


def worst_costs(stages: Sequence[Stage], question: Question, settings: GatewaySettings) -> list[Decimal]:
    """Upper bounds of each stage's cost."""
    bounds = stage_bounds(stages, question, bound_assumptions(settings))
    return [bound for bound in bounds if bound is not None]  # none is None, since something is assumed


def bound_assumptions(settings: GatewaySettings) -> BoundAssumptions:
    """Assumptions on calls without a limit or a price."""
    budgets = settings.budgets
    return BoundAssumptions(max_tokens=budgets.default_reserve_tokens, usd_per_call=budgets.default_reserve_usd)


def first_threshold(cascade: Cascade) -> float | None:
    """The threshold at the first of several stages, if it has one; a request has no category."""
    return threshold_of(cascade.stages[0].policy, WITHOUT_CATEGORY) if len(cascade.stages) > 1 else None


def _direct(cascade: Cascade, stage: Stage) -> Cascade:
    bare = replace(stage, prompt=None, signal=None, policy=None, pre_policy=None)
    return replace(cascade, stages=(bare,))


def _needs(route: ModelRoute, request: ChatRequest) -> dict[str, str]:
    """Capabilities that an earlier stage must declare; log-probabilities, which none can, come from the last one."""
    if not (request.body.logprobs or request.body.top_logprobs):
        return request.needs
    if tags_of(route.cascade.stages[-1]):
        raise unsupported("logprobs", f"they would belong to a text with tags; ask a stage directly, as {route.name}/0")
    return {**request.needs, "logprobs": "logprobs"}


def _exactly_asked(cascade: Cascade, request: ChatRequest) -> Cascade:
    """The cascade whose last stage gets a request with tools or a required form as it came: no prompt, no draft."""
    if not request.needs.keys() - {"images"}:
        return cascade
    *earlier, last = cascade.stages
    if last.prompt is None and not any(stage.pass_draft for stage in earlier):
        return cascade
    plain = [replace(stage, pass_draft=False) if stage.pass_draft else stage for stage in earlier]
    return replace(cascade, stages=(*plain, replace(last, prompt=None)))


def _with_room(cascade: Cascade, limit: int | None) -> Cascade:
    """The cascade without the earlier stages that need more tokens for their tags than a request permits."""
    if limit is None or limit >= LEAST_DRAFT_TOKENS:
        return cascade
    *earlier, last = cascade.stages
    left = [s for s in earlier if not tags_of(s) or limit >= (s.sampling.max_tokens or LEAST_DRAFT_TOKENS)]
    return without_stages(cascade, [*left, last], f"max_tokens {limit} is too few for a draft")


def _at_most(stage: Stage, tokens: int) -> Stage:
    own = stage.sampling
    extra = {name: min(value, tokens) if name in LIMITS else value for name, value in own.extra.items()}
    return replace(stage, sampling=replace(own, max_tokens=min(own.max_tokens or tokens, tokens), extra=extra))


def _session(request: ChatRequest) -> Mapping[str, Any]:
    return {} if (named := session_of(request)) is None else {SESSION: named}
