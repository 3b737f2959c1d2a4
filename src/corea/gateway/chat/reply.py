"""OpenAI's chat responses: bodies, chunks and headers of a trace."""

import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import reduce
from operator import add
from typing import Any, cast
from urllib.parse import quote

from msgspec import UNSET, Raw, Struct, UnsetType

from corea.gateway.asgi import Headers, encode_json
from corea.gateway.chat.request import JSON
from corea.gateway.chat.request_state import RequestState
from corea.gateway.ops.settings import OnAlarm
from corea.types import Completion, Confidence, Decision, Status, Step, Trace, Usage

SSE_DONE = b"data: [DONE]\n\n"
SSE_COMMENT = b": still working\n\n"


class StageUsage(Struct):
    """Tokens and cost of one stage."""

    stage: str
    prompt_tokens: int
    completion_tokens: int
    cost_usd: Decimal | None


class UsageObject(Struct):
    """`usage` of a response: totals as OpenAI counts them, and a breakdown by stage."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: JSON
    completion_tokens_details: JSON
    corea_stages: list[StageUsage]


class CoreaObject(Struct):
    """`corea` of a response: the answering stage, its confidence, costs.

    `threshold` is for the calibration's `score`, else for the confidence.
    """

    trace_id: str
    stage: str | None
    model: str | None
    confidence: float | None
    score: float | None
    threshold: float | None
    deferred: bool
    fallback: bool
    cost_usd: Decimal | None
    baseline_cost_usd: Decimal | None
    baseline_estimated: bool
    saved_usd: Decimal | None
    cached: bool
    flags: list[str]


class ChatCompletion(Struct):
    """A whole answer."""

    id: str
    created: int
    model: str
    choices: list[JSON]
    usage: UsageObject
    corea: CoreaObject
    object: str = "chat.completion"


class ChunkChoice(Struct):
    """The choice of a chunk."""

    delta: JSON
    finish_reason: str | None = None
    logprobs: Raw | None = None
    index: int = 0


class ChatChunk(Struct):
    """One chunk of a stream."""

    id: str
    created: int
    model: str
    choices: list[ChunkChoice] | list[Raw]
    usage: UsageObject | UnsetType | None = UNSET
    corea: CoreaObject | UnsetType = UNSET
    object: str = "chat.completion.chunk"


def completion_of(state: RequestState, trace: Trace) -> bytes:
    """The whole answer of a trace as JSON: the upstream's message, its text as the client should see it."""
    text, view = trace.text or "", state.plan.visible(trace.stage)
    shown = view.whole(text)
    message: JSON = {"role": "assistant", "content": shown, **other_fields(trace)}
    if shown != text:
        message["content"] = shown
    elif not shown and "tool_calls" in message:
        message["content"] = None
    outside, of_choice = _outside(trace)
    sent = of_choice.pop("logprobs", None)
    asked = state.request.body.logprobs and view.unchanged
    logprobs = (sent or logprobs_object(answering_completion(trace))) if asked else None
    finish = "stop" if view.stopped else finish_reason(trace)
    body = ChatCompletion(
        id=f"chatcmpl-{trace.trace_id}",
        created=int(time.time()),
        model=state.request.body.model,
        choices=[{"index": 0, "message": message, "finish_reason": finish, "logprobs": logprobs, **of_choice}],
        usage=usage_of(trace),
        corea=corea_object(state, trace),
    )
    return with_fields(body, outside)


def shown_text(state: RequestState, trace: Trace) -> str:
    """The text of an answer as the client got it."""
    return state.plan.visible(trace.stage).whole(trace.text or "")


def other_fields(trace: Trace) -> JSON:
    """The fields of the upstream's message beside its role and text, as they came."""
    completion = answering_completion(trace) if trace.status is not Status.ABSTAINED else None
    if completion is None:
        return {}
    return {**dict.fromkeys(completion.reasoning_fields, completion.reasoning), **(completion.raw or {})}


def with_fields(body: Struct, others: Mapping[str, Any]) -> bytes:
    """A body, or a part of one, as JSON, with further fields."""
    encoded = encode_json(body)
    return encoded[:-1] + b"," + encode_json(others)[1:] if others else encoded


def _outside(trace: Trace) -> tuple[JSON, JSON]:
    """The fields around the upstream's choice, and those of the choice."""
    completion = answering_completion(trace)
    return split_outside(completion.outside if completion is not None else None)


def split_outside(outside: Mapping[str, Any] | None) -> tuple[JSON, JSON]:
    """The fields around an upstream's choice that the gateway has none of its own for, and those of the choice."""
    if not outside:
        return {}, {}
    return {k: v for k, v in outside.items() if k not in OURS}, dict(outside.get("choice", {}))


OURS = frozenset({*ChatCompletion.__struct_fields__, "choice"})


def total_usage(trace: Trace) -> Usage:
    """Tokens of every stage."""
    found = [used for step in trace.steps if (used := step_usage(step)) is not None]
    return reduce(add, found) if found else Usage()


def step_usage(step: Step) -> Usage | None:
    """Tokens of a stage's completion, of billed retries and of its signal's calls; None where it made no call."""
    calls = (step.completion, *(step.confidence.calls if step.confidence else ()))
    if len(calls) == 1 and step.completion is not None and step.completion.wasted is None:  # as most
        return step.completion.usage
    found = [used for call in calls if call is not None for used in (call.usage, call.wasted) if used is not None]
    return reduce(add, found) if found else None


def usage_of(trace: Trace) -> UsageObject:
    """The `usage` of a trace, with the further fields that the answering stage's server gave."""
    total, completion = total_usage(trace), answering_completion(trace)
    others: JSON = dict((completion.outside or {}).get("usage", {})) if completion is not None else {}
    prompt, written = (others.pop(name, {}) for name in ("prompt_tokens_details", "completion_tokens_details"))
    usage = UsageObject(
        prompt_tokens=total.prompt_tokens,
        completion_tokens=total.completion_tokens,
        total_tokens=total.total_tokens,
        prompt_tokens_details={
            **prompt,
            "cached_tokens": total.cached_tokens,
            "cache_write_tokens": total.cache_write_tokens,
        },
        completion_tokens_details={**written, "reasoning_tokens": total.reasoning_tokens},
        corea_stages=[
            StageUsage(step.stage, used.prompt_tokens, used.completion_tokens, step.cost_usd)
            for step in trace.steps
            if (used := step_usage(step)) is not None
        ],
    )
    return cast(UsageObject, Raw(with_fields(usage, others))) if others else usage  # a schema has no unknown fields


def corea_object(state: RequestState, trace: Trace) -> CoreaObject:
    """The `corea` object of a trace."""
    completion = answering_completion(trace)
    return CoreaObject(
        trace_id=trace.trace_id,
        stage=trace.stage,
        model=completion.model if completion else None,
        confidence=deciding_confidence(trace),
        score=_score(last_confidence(trace.steps)),
        threshold=state.plan.threshold,
        deferred=trace.deferred,
        fallback=trace.status is Status.FALLBACK,
        cost_usd=trace.cost_usd,
        baseline_cost_usd=trace.baseline_cost_usd,
        baseline_estimated=trace.baseline_estimated,
        saved_usd=trace.saved_usd,
        cached=state.cached,
        flags=list(trace.flags),
    )


def deciding_confidence(trace: Trace) -> float | None:
    """The value of the last confidence that any stage's signal measured."""
    return _value(last_confidence(trace.steps))


def last_confidence(steps: Sequence[Step]) -> Confidence | None:
    """The last confidence that any stage's signal measured."""
    for step in reversed(steps):
        if step.confidence is not None:
            return step.confidence
    return None


def _value(confidence: Confidence | None) -> float | None:
    return None if confidence is None else confidence.value


def _score(confidence: Confidence | None) -> float | None:
    return None if confidence is None else confidence.score


def answering_completion(trace: Trace) -> Completion | None:
    """The completion whose text was returned."""
    for step in reversed(trace.steps):
        if step.stage == trace.stage and step.completion is not None and step.error is None:
            return step.completion
    return None


def finish_reason(trace: Trace) -> str:
    """Finish reason of the answering completion; an abstention is "content_filter", OpenAI's nearest."""
    if trace.status is Status.ABSTAINED:
        return "content_filter"
    completion = answering_completion(trace)
    return (completion.finish_reason if completion else None) or "stop"


def logprobs_object(completion: Completion | None) -> JSON | None:
    """OpenAI's logprobs of a completion; None where it has none."""
    if completion is None or completion.logprobs is None:
        return None
    content = [
        {
            "token": item.token,
            "logprob": item.logprob,
            "bytes": list(item.token.encode()),
            "top_logprobs": [{"token": t, "logprob": p, "bytes": list(t.encode())} for t, p in item.top],
        }
        for item in completion.logprobs
    ]
    return {"content": content, "refusal": None}


def sse(value: Struct | Raw | JSON) -> bytes:
    """One server-sent event."""
    data = encode_json(value)
    if b"\n" in data or b"\r" in data:  # between the values of a server's JSON, which is passed on as it came
        data = data.replace(b"\n", b"").replace(b"\r", b"")
    return b"data: " + data + b"\n\n"


def stage_so_far(state: RequestState) -> str | None:
    """The answering stage while its answer is still being written."""
    return _so_far(state)[0]


def headers_of(state: RequestState, trace: Trace | None) -> Headers:
    """Response headers: of the whole trace, or of what is known when a stream begins."""
    plan = state.plan
    headers: Headers = [("x-corea-trace-id", plan.question.id), ("x-corea-cascade", header_text(plan.route))]
    if state.cached:
        headers.append(("x-corea-cached", "true"))
    stage, found = (trace.stage, last_confidence(trace.steps)) if trace is not None else _so_far(state)
    if stage is not None:
        headers.append(("x-corea-stage", header_text(stage)))
    for name, number in (("confidence", _value(found)), ("score", _score(found))):
        if number is not None:
            headers.append((f"x-corea-{name}", f"{number:.6g}"))
    if plan.threshold is not None:
        headers.append(("x-corea-threshold", f"{plan.threshold:.6g}"))
    if plan.alarm is not None:
        headers.append(("x-corea-audit", "alarm" if plan.alarm is OnAlarm.REPORT else "alarm, deferring"))
    if plan.lowered is not None:
        headers.append(("x-corea-max-tokens", str(plan.lowered)))
    if trace is not None and trace.cost_usd is not None:
        headers.append(("x-corea-cost-usd", f"{trace.cost_usd:f}"))
    if trace is not None and trace.saved_usd is not None:
        headers.append(("x-corea-saved-usd", f"{trace.saved_usd:f}"))
    return headers


def header_text(text: str) -> str:
    """A name as a header value: anything but printable ASCII is percent-encoded."""
    return text if text.isascii() and text.isprintable() else quote(text)


def _so_far(state: RequestState) -> tuple[str | None, Confidence | None]:
    """Answering stage and confidence while the answer is still being written."""
    steps, kept = state.steps, state.kept
    if kept is not None:
        return kept
    confidence = last_confidence(steps)
    if steps and steps[-1].decision is Decision.KEEP:
        return steps[-1].stage, confidence
    # its text can only be the last stage's: nothing of a draft is ever passed on
    return state.plan.cascade.stages[-1].name if state.first_text is not None else None, confidence
