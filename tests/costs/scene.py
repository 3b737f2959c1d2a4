"""Cascades over a scripted server that keeps its own bill, and the bill beside what was booked."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tests.fakes.server import Act, Asked, Bytes, Charge, Fail, Hang, Say

from corea.build import build
from corea.cascade import Cascade
from corea.config import parse_config
from corea.prices import Price
from corea.types import Completion, Trace, Usage

Tokens = tuple[int, ...]
PRICES = {
    "small": Price(input_usd_per_mtok=Decimal(1), output_usd_per_mtok=Decimal(2)),
    "large": Price(
        input_usd_per_mtok=Decimal(10),
        output_usd_per_mtok=Decimal(20),
        cached_input_usd_per_mtok=Decimal(1),
        cache_write_usd_per_mtok=Decimal("12.5"),
    ),
    "checker": Price(input_usd_per_mtok=Decimal(4), output_usd_per_mtok=Decimal(8)),
}
FIELDS = ("input_usd_per_mtok", "output_usd_per_mtok", "cached_input_usd_per_mtok", "cache_write_usd_per_mtok")
BY_LARGE = {"kind": "self_check", "backend": "large"}


def backend(url: str, model: str, **settings: Any) -> dict[str, Any]:
    """A backend's table."""
    return {"kind": "openai", "model": model, "base_url": url, "backoff_base_seconds": 0, "max_retries": 2} | settings


def by_checker(url: str, **options: Any) -> dict[str, Any]:
    """A signal that asks a model outside the cascade, three times."""
    sampling = {"temperature": 0.8, "max_tokens": 20}
    return {"kind": "agreement", "k": 3, "sampling": sampling, "backend": backend(url, "checker")} | options


def tables(
    url: str, signal: Any = "verbalized", *, small: Mapping[str, Any] | None = None, **settings: Any
) -> dict[str, Any]:
    """A configuration of two stages on one server, with prices."""
    sampling = {"max_tokens": 30}
    first = {"backend": backend(url, "small", **settings), "sampling": sampling, "signal": signal, "threshold": 0.5}
    return {
        "cascade": {"name": "corea", "stages": ["small", "large"]},
        "stages": {
            "small": {**first, "prompt": "plain", **(small or {})},
            "large": {"backend": backend(url, "large", **settings), "sampling": sampling, "prompt": "plain"},
        },
        "prices": {
            model: {name: str(rate) for name in FIELDS if (rate := getattr(price, name)) is not None}
            for model, price in PRICES.items()
        },
    }


def make_cascade(url: str, signal: Any = "verbalized", **more: Any) -> Cascade:
    """A cascade as a configuration makes it."""
    return build(parse_config(tables(url, signal, **more))).cascade


def number(asked: Asked) -> int:
    """The number in a question such as "what is number 7"."""
    found = re.search(rb"number (\d+)", asked.raw)
    assert found is not None
    return int(found[1])


def answer(asked: Asked) -> Say:
    """What the models say, all of them told: right, and unsure of every third."""
    n = number(asked)
    if asked.question.startswith("Is the answer above right?"):
        return Say("No" if n % 3 == 0 else "Yes")
    if asked.body["model"] == "checker":
        return Say(f"<answer>{n if n % 3 else -1}</answer>")
    return Say(f"so it is <answer>{n}</answer><confidence>{0.2 if n % 3 == 0 else 0.9}</confidence>")


@dataclass
class Moody:
    """Tells usage in every server's way, and fails first where a number says so; all that it bills, it tells."""

    tries: Counter[bytes] = field(default_factory=Counter)

    def __call__(self, asked: Asked) -> Act:
        self.tries[asked.raw] += 1
        n, said, prompt = number(asked), answer(asked), asked.prompt_tokens
        words = len(said.text.split())
        if self.tries[asked.raw] == 1 and n % 6 == 1:
            usage = {"prompt_tokens": prompt, "completion_tokens": 4}
            return Fail(503, body={"error": {"message": "overloaded"}, "usage": usage})
        if self.tries[asked.raw] == 1 and n % 6 == 2:
            usage = {"prompt_tokens": prompt, "completion_tokens": 5}
            return Bytes(json.dumps({"usage": usage}).encode()[:-1] + b', "choices": [{"mess', billed=5)
        usage, charge = SERVERS[n % len(SERVERS)](prompt, words)
        return Say(said.text, usage=usage, charge=charge)


def _openai(prompt: int, words: int) -> tuple[Any, Any]:
    details = {"cached_tokens": 3, "cache_write_tokens": 2}
    usage = {"prompt_tokens": prompt + 5, "completion_tokens": words, "prompt_tokens_details": details}
    return usage, {"prompt": prompt + 5, "cached": 3, "cache_write": 2}


def _anthropic(prompt: int, words: int) -> tuple[Any, Any]:
    usage = {"input_tokens": prompt, "output_tokens": words, "cache_creation_input_tokens": 40}
    return {**usage, "cache_read_input_tokens": 7}, {"prompt": prompt + 47, "cached": 7, "cache_write": 40}


def _gemini(prompt: int, words: int) -> tuple[Any, Any]:
    usage = {"prompt_tokens": prompt, "completion_tokens": words, "total_tokens": prompt + words + 50}
    return usage, {"completion": words + 50, "reasoning": 50}


def _xai(prompt: int, words: int) -> tuple[Any, Any]:
    usage = {"prompt_tokens": prompt, "completion_tokens": words, "total_tokens": prompt + words + 9}
    return {**usage, "completion_tokens_details": {"reasoning_tokens": 9}}, {"completion": words + 9, "reasoning": 9}


def _null(prompt: int, words: int) -> tuple[Any, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": None, "total_tokens": prompt + words}, {}


SERVERS: list[Callable[[int, int], tuple[Any, Any]]] = [_openai, _anthropic, _gemini, _xai, _null]


def told(charges: Iterable[Charge]) -> dict[str, Tokens]:
    """The bill by model, as far as the server told it."""
    return _sums((charge.model, charge.tokens) for charge in charges if charge.told)


def booked(traces: Iterable[Trace]) -> dict[str, Tokens]:
    """What the traces say was used, by model, estimates left out."""
    used = (pair for trace in traces for completion in completions(trace) for pair in _usages(completion))
    return _sums((model, _tokens(usage)) for model, usage in used if not usage.estimated)


def completions(trace: Trace) -> list[Completion]:
    """All calls of a trace."""
    own = [step.completion for step in trace.steps if step.completion is not None]
    return own + [call for step in trace.steps if step.confidence for call in step.confidence.calls]


def bill_usd(charges: Iterable[Charge]) -> Decimal:
    """What the server charges in money."""
    return sum((_usd(charge) for charge in charges), Decimal(0))


def _usd(charge: Charge) -> Decimal:
    prompt, cached, written, completion, reasoning = charge.tokens
    usage = Usage(
        prompt_tokens=prompt, cached_tokens=cached, cache_write_tokens=written, completion_tokens=completion,
        reasoning_tokens=reasoning,
    )  # fmt: skip
    return PRICES[charge.model].cost(usage)


def _usages(completion: Completion) -> list[tuple[str, Usage]]:
    wasted = [] if completion.wasted is None else [(completion.model, completion.wasted)]
    return [(completion.model, completion.usage), *wasted]


def _tokens(usage: Usage) -> Tokens:
    return (
        usage.prompt_tokens, usage.cached_tokens, usage.cache_write_tokens, usage.completion_tokens,
        usage.reasoning_tokens,
    )  # fmt: skip


def _sums(pairs: Iterable[tuple[str, Tokens]]) -> dict[str, Tokens]:
    sums: dict[str, Tokens] = {}
    for model, tokens in pairs:
        sums[model] = tuple(map(sum, zip(sums.get(model, (0,) * len(tokens)), tokens, strict=True)))
    return {model: tokens for model, tokens in sums.items() if any(tokens)}


def hanging(when: Callable[[Asked], bool]) -> Callable[[Asked], Act]:
    """Answers, but never where `when` says so."""
    return lambda asked: Hang() if when(asked) else answer(asked)


def checking(asked: Asked) -> bool:
    """Whether a request is a signal's."""
    return asked.body["model"] == "checker" or asked.question.startswith("Is the answer above right?")
