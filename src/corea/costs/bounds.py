"""The most that a question can cost: set aside of a budget, in batch runs and in the gateway, before it is asked.

A prompt has at most as many tokens as bytes (every tokenizer in use takes at least one byte a token), plus what a chat
template adds. Attempts that fail may be billed too, so each call counts as often as its backend tries. The bound rests
on the price table and on `max_tokens`: a server that charges more than its listed price passes it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any, cast

import msgspec

from corea.costs.signal_calls import SignalCalls, signal_calls
from corea.costs.token_estimate import IN_PROMPT
from corea.prices import EXACT, Price
from corea.prompts import lettered, with_draft
from corea.stage import Stage, total
from corea.types import ANSWERS, LIMITS, Message, NativeRequest, Question, Sampling

TEMPLATE_TOKENS = 128  # what a chat template adds to a conversation: gpt-oss about 100, others 5 to 30 ...
MESSAGE_TOKENS = 16  # ... and to each message: its role and marks
TOOL_TOKENS = 600  # and to one with tools: Claude up to 530 (docs.anthropic.com, "Tool use", pricing)
PICTURE_TOKENS = 4096  # OpenAI's largest picture is 1,445 tokens in high detail, other servers' somewhat more
RETOKENIZED = 4  # of a text that a model wrote: its tokens, as another model's tokenizer may count them

_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundAssumptions:
    """Assumptions where a stage sets no limit or has no price; None: then no bound is known.

    Args:
        max_tokens: The most that a call without a limit writes.
        usd_per_call: The most that a call without a price costs.
    """

    max_tokens: int | None = None
    usd_per_call: Decimal | None = None


NOTHING_ASSUMED = BoundAssumptions()


def question_bound(
    stages: Sequence[Stage], question: Question, assumed: BoundAssumptions = NOTHING_ASSUMED
) -> Decimal | None:
    """The most that a question costs if every stage is asked and writes all it may; None where that is not known."""
    return total(stage_bounds(stages, question, assumed))


def stage_bounds(
    stages: Sequence[Stage],
    question: Question,
    assumed: BoundAssumptions = NOTHING_ASSUMED,
    *,
    draft: str | None = None,
) -> list[Decimal | None]:
    """The most that each stage costs, the calls of its signal included.

    Args:
        draft: The text that is passed to the first of these stages, where it is known already.
    """
    bounds: list[Decimal | None] = []
    plain = request_tokens(question) + len(lettered(question.choices).encode())
    draft_tokens = 0 if draft is None else _note_tokens() + len(draft.encode())
    for stage in stages:
        added = 0 if stage.prompt is None or stage.prompt.is_plain else stage.prompt.size + MESSAGE_TOKENS
        prompt = plain + draft_tokens + added
        limit = answer_limit(stage.sampling, assumed)
        bounds.append(_stage_bound(stage, prompt, limit, assumed))
        if stage.pass_draft:  # the words around it, and itself; it stays until another one takes its place
            draft_tokens = max(draft_tokens, _note_tokens() + RETOKENIZED * (limit or 0))
    return bounds


def _stage_bound(stage: Stage, prompt: int, limit: int | None, assumed: BoundAssumptions) -> Decimal | None:
    worst = _call_bound(stage.price, stage.backend, stage.sampling, prompt, limit, assumed)
    for calls in signal_calls(stage.signal):
        price = stage.price_of(calls.backend)
        written = answer_limit(calls.sampling, assumed)
        one = _call_bound(price, calls.backend, calls.sampling, _signal_prompt(calls, prompt, limit), written, assumed)
        if worst is None or one is None:
            return None
        worst = EXACT.add(worst, EXACT.multiply(one, calls.times))
    return worst


def _signal_prompt(calls: SignalCalls, prompt: int, limit: int | None) -> int:
    """The prompt of a signal's call: it may show the model the answer."""
    return prompt + RETOKENIZED * (limit or 0) + len(calls.words.encode()) + TEMPLATE_TOKENS


def _call_bound(
    price: Price | None, backend: Any, sampling: Sampling, prompt: int, limit: int | None, assumed: BoundAssumptions
) -> Decimal | None:
    """One completion, with all attempts at it."""
    if price is None:
        one = assumed.usd_per_call
    elif limit is None:
        one = None
    else:
        one = price.at_most(prompt + _extra_tokens(sampling), limit * _answers(sampling))
    attempts = attempts_at_most(backend)
    return one if one is None or attempts == 1 else EXACT.multiply(one, attempts)


def attempts_at_most(backend: Any) -> int:
    """The most requests that a backend sends for one completion: 1 + its `max_retries`, if any."""
    settings = getattr(backend, "settings", backend)
    return 1 + int(getattr(settings, "max_retries", 0) or 0)


def unbounded(stages: Sequence[Stage]) -> tuple[Stage, str] | None:
    """The first stage whose cost has no bound, and the setting that it lacks: "price" or the name of a limit."""
    for stage in stages:
        calls = signal_calls(stage.signal)
        if stage.price is None:
            return stage, "price"
        if answer_limit(stage.sampling, NOTHING_ASSUMED) is None:
            return stage, "sampling.max_tokens"
        if any(stage.price_of(each.backend) is None for each in calls):
            return stage, "signal price"
        if any(answer_limit(each.sampling, NOTHING_ASSUMED) is None for each in calls):
            return stage, "signal.sampling.max_tokens"
    return None


def request_tokens(question: Question, sampling: Sampling = Sampling()) -> int:  # noqa: B008  # frozen
    """More tokens than any tokenizer makes of a request: its messages and the tools it offers."""
    written = sum(_message_tokens(message) for message in question.messages)
    if question.native is not None:  # of which the messages may lack a part
        written = max(written, MESSAGE_TOKENS * len(question.messages) + _native_tokens(question.native))
    return TEMPLATE_TOKENS + written + _extra_tokens(sampling)


def _native_tokens(native: NativeRequest) -> int:
    """More tokens than a request of another API has, but for its functions: see `_extra_tokens`."""
    long = {name: value for name, value in native.body.items() if isinstance(value, str | list | dict)}
    given, tools = [v for name, v in long.items() if name not in ("model", *IN_PROMPT)], long.get("tools")
    offered = cast(list[Any], tools) if isinstance(tools, list) else []
    given += [t for t in offered if isinstance(t, dict) and cast(Any, t).get("type") not in (None, "function")]
    found, waiting = sum(len(_encode(value)) for value in given), list[Any](given)
    while waiting:  # without recursion, since a client chooses the depth
        value: Any = waiting.pop()
        if _is_picture(value):
            found += PICTURE_TOKENS - len(_encode(value))
        elif isinstance(value, dict | list):
            waiting += cast(dict[str, Any], value).values() if isinstance(value, dict) else cast(list[Any], value)
    return found


@cache
def _note_tokens() -> int:
    """The words around a draft, and a message of their own."""
    return request_tokens(with_draft(Question(id="", messages=()), "")) - TEMPLATE_TOKENS


def _message_tokens(message: Message) -> int:
    if message.raw is None:
        return MESSAGE_TOKENS + len(message.content.encode("utf-8", "surrogatepass"))
    content = message.raw.get("content")
    parts = cast(list[Any], content) if isinstance(content, list) else []
    pictures = sum(_is_picture(part) for part in parts)
    kept = {**message.raw, "content": [part for part in parts if not _is_picture(part)]} if pictures else message.raw
    return MESSAGE_TOKENS + pictures * PICTURE_TOKENS + len(_encode(kept))


def _is_picture(part: Any) -> bool:
    return isinstance(part, Mapping) and cast(Mapping[str, Any], part).get("type") in (
        "image_url",
        "input_image",
        "image",
    )


def _extra_tokens(sampling: Sampling) -> int:
    if not sampling.extra:
        return 0
    return sum(TOOL_TOKENS + len(_encode(sampling.extra[name])) for name in IN_PROMPT if sampling.extra.get(name))


def answer_limit(sampling: Sampling, assumed: BoundAssumptions) -> int | None:
    """The most tokens of one answer: of all limits that are sent the largest, as servers differ in which one rules."""
    if not sampling.extra:
        return sampling.max_tokens or assumed.max_tokens
    given = [sampling.extra[name] for name in LIMITS if name in sampling.extra]
    return max([*given, sampling.max_tokens or 0]) or assumed.max_tokens


def _answers(sampling: Sampling) -> int:
    if not sampling.extra:
        return 1
    return max([1, *(sampling.extra[name] for name in ANSWERS if name in sampling.extra)])
