"""OpenAI's chat responses: bodies, events and headers, of a trace."""

import time
from typing import Any
from urllib.parse import quote

from corea.gateway.chat.request import JSON, encode_json
from corea.gateway.chat.request_state import RequestState
from corea.types import Completion, Decision, Status, Trace, Usage

Headers = list[tuple[str, str]]
SSE_DONE = b"data: [DONE]\n\n"
SSE_COMMENT = b": still working\n\n"


def total_usage(trace: Trace) -> Usage:
    """What was really used: every stage's completion, billed retries and the signals' calls."""
    total: Usage | None = None
    for step in trace.steps:
        for completion in (step.completion, *(step.confidence.calls if step.confidence else ())):
            if completion is not None:
                total = completion.usage if total is None else total + completion.usage
                if completion.wasted is not None:
                    total = total + completion.wasted
    return total or Usage()


def usage_object(trace: Trace) -> JSON:
    """The `usage` of a response: totals as OpenAI counts them, and a breakdown by stage."""
    total = total_usage(trace)
    return {
        "prompt_tokens": total.prompt_tokens,
        "completion_tokens": total.completion_tokens,
        "total_tokens": total.total_tokens,
        "prompt_tokens_details": {
            "cached_tokens": total.cached_tokens,
            "cache_write_tokens": total.cache_write_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": total.reasoning_tokens},
        "corea_stages": [
            {
                "stage": step.stage,
                "prompt_tokens": step.completion.usage.prompt_tokens,
                "completion_tokens": step.completion.usage.completion_tokens,
                "cost_usd": step.cost_usd,
            }
            for step in trace.steps
            if step.completion is not None
        ],
    }


def corea_object(trace: Trace, *, threshold: float | None, cached: bool = False) -> JSON:
    """The `corea` object of a response: who answered, how sure, at what cost."""
    confidence = first_confidence(trace)
    return {
        "trace_id": trace.trace_id,
        "stage": trace.stage,
        "model": answering_model(trace),
        "confidence": confidence,
        "threshold": threshold,
        "deferred": trace.deferred,
        "fallback": trace.status is Status.FALLBACK,
        "cost_usd": trace.cost_usd,
        "baseline_cost_usd": trace.baseline_cost_usd,
        "baseline_estimated": trace.baseline_estimated,
        "saved_usd": trace.saved_usd,
        "cached": cached,
        "flags": list(trace.flags),
    }


def first_confidence(trace: Trace) -> float | None:
    """The confidence that decided: the last one that any stage's signal measured."""
    for step in reversed(trace.steps):
        if step.confidence is not None:
            return step.confidence.value
    return None


def answering_completion(trace: Trace) -> Completion | None:
    """The completion whose text was returned."""
    for step in reversed(trace.steps):
        if step.stage == trace.stage and step.completion is not None and step.error is None:
            return step.completion
    return None


def answering_model(trace: Trace) -> str | None:
    """The name of the model whose text was returned."""
    completion = answering_completion(trace)
    return completion.model if completion else None


def completion_object(trace: Trace, *, model: str, text: str, finish: str, corea: JSON) -> JSON:
    """A whole, non-streamed chat completion."""
    message: JSON = {"role": "assistant", "content": text}
    completion = answering_completion(trace)
    if completion is not None and completion.raw and "tool_calls" in completion.raw:
        message = {**completion.raw, "content": text or None, "role": "assistant"}
    choice: JSON = {
        "index": 0,
        "message": message,
        "finish_reason": finish,
        "logprobs": logprobs_object(completion),
    }
    return {
        "id": f"chatcmpl-{trace.trace_id}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [choice],
        "usage": usage_object(trace),
        "corea": corea,
    }


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


def chunk_object(
    chunk_id: str, model: str, created: int, *, delta: JSON, finish: str | None = None, **more: Any
) -> JSON:
    """One chunk of a stream."""
    return {
        "id": chunk_id,
        "object": "chat.completion.chunk",
        "created": created,
        "model": model,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}],
        **more,
    }


def sse(value: JSON) -> bytes:
    """One server-sent event."""
    return b"data: " + encode_json(value) + b"\n\n"


def headers_of(progress: RequestState, trace: Trace | None) -> Headers:
    """What is known when the headers go out; the last chunk of a stream has it all."""
    plan = progress.plan
    headers: Headers = [("x-corea-trace-id", plan.question.id), ("x-corea-cascade", header_text(plan.route))]
    if progress.cached:
        headers.append(("x-corea-cached", "true"))
    stage, confidence = (trace.stage, first_confidence(trace)) if trace is not None else _so_far(progress)
    if stage is not None:
        headers.append(("x-corea-stage", header_text(stage)))
    if confidence is not None:
        headers.append(("x-corea-confidence", f"{confidence:.6g}"))
    if plan.threshold is not None:
        headers.append(("x-corea-threshold", f"{plan.threshold:.6g}"))
    if trace is not None and trace.cost_usd is not None:
        headers.append(("x-corea-cost-usd", f"{trace.cost_usd:f}"))
    if trace is not None and trace.saved_usd is not None:
        headers.append(("x-corea-saved-usd", f"{trace.saved_usd:f}"))
    return headers


def _so_far(progress: RequestState) -> tuple[str | None, float | None]:
    """Who speaks, and how sure, while the answer is still being written."""
    steps, kept = progress.steps, progress.kept
    if kept is not None:
        return kept[0], kept[1].value
    confidence = next((step.confidence.value for step in reversed(steps) if step.confidence is not None), None)
    if steps and steps[-1].decision is Decision.KEEP:
        return steps[-1].stage, confidence
    # its text can only be the last stage's: nothing of a draft is ever given
    return progress.plan.cascade.stages[-1].name if progress.text else None, confidence


def header_text(text: str) -> str:
    """A name as it may stand in a header: anything but printable ASCII is percent-encoded."""
    return text if text.isascii() and text.isprintable() else quote(text)


def finish_reason(trace: Trace) -> str:
    """The answering completion's finish reason; an abstention counts as "content_filter", for want of a nearer word."""
    if trace.status is Status.ABSTAINED:
        return "content_filter"
    completion = answering_completion(trace)
    return (completion.finish_reason if completion else None) or "stop"
