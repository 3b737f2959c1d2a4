"""The sampling of a stage for a request: its own, and the request's."""

from dataclasses import is_dataclass, replace
from typing import Any

from corea.backends.openai.wire import LIMIT_FIELDS
from corea.cascade import Cascade
from corea.gateway.chat.request import FORMS, WITH_TOOLS, ChatRequest
from corea.gateway.chat.visible import tags_of
from corea.policies.threshold import Threshold
from corea.protocols import Policy
from corea.stage import Mode, Stage
from corea.types import Sampling

AS_ASKED = Sampling()
ABOUT_THE_USER = ("user", "metadata", "safety_identifier")
PENALTIES = ("presence_penalty", "frequency_penalty")
PASSED_TO_ALL = frozenset({*ABOUT_THE_USER, *WITH_TOOLS, *FORMS})  # the latter two only reach stages that accept them


def at_threshold(policy: Policy | None, tau: float) -> Policy:
    """The policy with another threshold; one without a threshold is replaced."""
    if policy is not None and is_dataclass(policy) and not isinstance(policy, type) and hasattr(policy, "tau"):
        changes: dict[str, Any] = {"tau": tau}
        return replace(policy, **changes)
    return Threshold(tau)


def as_asked(cascade: Cascade) -> Cascade:
    """The cascade whose last stage sets nothing of its own: it is asked as the client asks."""
    last = cascade.stages[-1]
    if not _passes_through(last) or last.sampling == AS_ASKED:
        return cascade
    return replace(cascade, stages=(*cascade.stages[:-1], replace(last, sampling=AS_ASKED)))


def _passes_through(stage: Stage) -> bool:
    """True for a stage on a server that has no prompt and whose text has no tags."""
    local = getattr(stage.backend, "capabilities", None) is not None
    return stage.prompt is None and not local and not tags_of(stage)


def stage_for(stage: Stage, request: ChatRequest, *, last: bool, direct: bool) -> Stage:
    """The stage with the request's own settings; the same object if it has none."""
    tagged = not last or (bool(request.stop) and not direct and bool(tags_of(stage)))
    own = AS_ASKED if last and _passes_through(stage) else stage.sampling
    sampling = _sampling(own, request, last=last, tagged=tagged, chat=stage.mode is Mode.CHAT)
    tau = request.controls.threshold
    if tau is not None:
        return replace(stage, sampling=sampling, policy=at_threshold(stage.policy, tau))
    return stage if sampling is stage.sampling else replace(stage, sampling=sampling)


def _sampling(own: Sampling, request: ChatRequest, *, last: bool, tagged: bool, chat: bool) -> Sampling:
    """The sampling of a stage for a request.

    The last stage uses the request's settings. An earlier one keeps its own temperature and top_p (its confidence was
    calibrated with them), and of further fields is sent those about the user, those that it was declared to accept and
    those that the operator forces. `stop` would cut tags off: it is sent where there are none, else applied to the
    visible text. max_tokens caps every stage: a truncated draft has no confidence, and is deferred. In
    `mode = "chat"` an earlier stage is also sent the request's stop, and its temperature, top_p and penalties where it
    sets none itself.
    """
    body, limit = request.body, request.max_tokens
    if not (request.extra or request.sets_sampling):
        return own
    if not last:
        capped = limit if own.max_tokens is None else own.max_tokens if limit is None else min(limit, own.max_tokens)
        further = [key for key in PENALTIES if key not in own.extra] if chat else []
        allowed = {*PASSED_TO_ALL, *request.forced, *further}
        passed = {k: v for k, v in request.extra.items() if k in allowed}
        return replace(
            own,
            max_tokens=capped,
            temperature=body.temperature if chat and own.temperature is None else own.temperature,
            top_p=body.top_p if chat and own.top_p is None else own.top_p,
            seed=own.seed if body.seed is None else body.seed,
            stop=request.stop or own.stop if chat else own.stop,
            extra={**own.extra, **passed},
        )
    limits = {name: given for name in LIMIT_FIELDS if (given := getattr(body, name)) is not None}
    return replace(
        own,
        max_tokens=own.max_tokens if limit is None else limit,
        temperature=own.temperature if body.temperature is None else body.temperature,
        top_p=own.top_p if body.top_p is None else body.top_p,
        seed=own.seed if body.seed is None else body.seed,
        stop=own.stop if tagged else request.stop or own.stop,
        logprobs=own.logprobs or bool(body.logprobs),
        top_logprobs=max(own.top_logprobs, body.top_logprobs or 0),
        extra={**own.extra, **request.extra, **limits},
    )
