"""Checks of a draft as signals (1: it passes, 0: it fails), and their composition with another signal.

    [[stages.small.validators]]
    kind = "valid_json"

The request's `response_format` and `tools` are in the question's `meta["request"]`: see `corea.stage.as_measured`.
`check_worker` is the process that matches expressions and schemas.
"""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

from corea.errors import ConfigError
from corea.graders.pool import WorkerLimits, WorkerPool, shared_pool
from corea.parsing import is_refusal, is_visibly_blank, visible_text
from corea.protocols import Signal
from corea.registry import need_extra
from corea.signals.check_worker import schema_validator
from corea.signals.measured import REQUEST, measured
from corea.signals.tokens import wants_logprobs
from corea.types import Completion, Confidence, Question

LIMITS = WorkerLimits(seconds=0.5, memory_mb=512)  # a text and a rule that take longer are not a match
FILTERS = frozenset((
    "content_filter", "content_filtered", "guardrail_intervened",  # OpenAI and Azure; Bedrock
    "refusal", "sensitive",  # Anthropic, Zhipu
    "safety", "recitation", "blocklist", "prohibited_content", "spii", "image_safety",  # Gemini
))  # fmt: skip
"""Finish reasons of a text that a filter ended, in lower case with underscores."""
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Validated:
    """Another signal's value times the score of each validator; a draft that fails one whole is deferred.

    A validator takes `weight * (1 - score)` of the confidence away. What leaves nothing makes the value None, names the
    validator, and spares the calls of the other signal. A score that could not be measured counts as 0.

    Args:
        inner: None: the value is that of the validators alone.
        others: The validators by name; any signal can be one.
        weights: By name, above 0 and at most 1.
    """

    inner: Signal | None
    others: Mapping[str, Signal]
    weights: Mapping[str, float]
    checks: str = field(init=False)  # what a calibration is bound to

    def __post_init__(self) -> None:
        plain = {name: [_plain(signal), self.weights[name]] for name, signal in self.others.items()}
        object.__setattr__(self, "checks", json.dumps([_plain(self.inner), plain], sort_keys=True, default=str))

    @property
    def logprobs_wanted(self) -> bool:
        """True if one of its signals reads log-probabilities."""
        return any(wants_logprobs(signal) for signal in (self.inner, *self.others.values()))

    @property
    def top_logprobs_wanted(self) -> int:
        """The most alternatives that one of its signals reads."""
        return max(int(getattr(each, "top_logprobs_wanted", 0) or 0) for each in (self.inner, *self.others.values()))

    async def measure(self, question: Question, completion: Completion) -> Confidence:
        factor, calls, notes = 1.0, list[Completion](), list[str]()
        for name, signal in self.others.items():
            found = await measured(signal, question, completion)
            calls += found.calls
            score = found.value or 0.0
            factor *= 1 - self.weights[name] * (1 - score)
            if score < 1:
                notes.append(f"{name}: {found.reason or f'score {score:g}'}")
            if factor <= 0:
                return Confidence(value=None, signal=name, reason=notes[-1], calls=tuple(calls))
        if self.inner is None:
            return Confidence(value=factor, signal="validators", reason="; ".join(notes), calls=tuple(calls), spans=())
        found = await measured(self.inner, question, completion)
        value = None if found.value is None else found.value * factor
        reason = "; ".join(filter(None, (found.reason, *notes)))
        every = (*calls, *found.calls)
        return Confidence(value=value, signal=found.signal, reason=reason, calls=every, spans=found.spans)


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchesRegex:
    """A regular expression of Python that is found in the text, in a process of its own with a time limit.

    Args:
        pattern: Searched anywhere; flags are written in it, as `(?is)`.
        absent: It must not be found.
        visible: The text is read without thinking and tags, as `mode = "answer"` shows it.
    """

    pattern: str
    absent: bool = False
    visible: bool = True

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ConfigError(f"signal regex: got {self.pattern!r}, expected a regular expression ({error})") from error

    async def measure(self, question: Question, completion: Completion) -> Confidence:
        text = _text(completion, visible=self.visible)
        outcome = await _passes({"pattern": self.pattern}, text)
        found, undecided = outcome.equal, outcome.reason not in ("", "no match")
        if undecided or found == self.absent:
            why = outcome.reason if undecided else "found" if found else "not found"
            return _failed("regex", f"{self.pattern[:_SHOWN]!r} {why}")
        return _passed("regex")


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidJson:
    """JSON that fits a schema: the configured one, else the one that the request's `response_format` asks for.

    Without a configured one, a request that asks for no JSON passes whatever its text is.

    Args:
        schema: A JSON schema, for every text; `{}` is any JSON.
        path: A file with it instead.
        visible: The text is read without thinking and tags, as `mode = "answer"` shows it.
    """

    schema: Mapping[str, Any] | None = None
    path: str | None = None
    visible: bool = True
    _configured: Any = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        need_extra("signal valid_json", "jsonschema_rs")
        schema = self.schema
        if self.path is not None:
            if schema is not None:
                raise ConfigError("signal valid_json: got schema and path, expected one of them")
            try:
                schema = json.loads(Path(self.path).read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise ConfigError(f"signal valid_json: path {self.path!r}: {error}; expected a JSON schema") from error
        if schema is not None:
            try:
                schema_validator(schema)
            except ValueError as error:
                raise ConfigError(f"signal valid_json: got a schema that is not one: {error}") from error
        object.__setattr__(self, "_configured", schema)

    async def measure(self, question: Question, completion: Completion) -> Confidence:
        schema = wanted_schema(_request(question)) if self._configured is None else self._configured
        if schema is None:
            return _passed("valid_json", "no JSON is asked for")
        outcome = await _passes({"schema": schema}, _text(completion, visible=self.visible))
        return _passed("valid_json") if outcome.equal else _failed("valid_json", outcome.reason)


@dataclass(frozen=True, slots=True)
class ValidToolCall:
    """Tool calls of known tools with arguments that are JSON and fit the tool's parameters.

    A text without a call passes, unless `tool_choice` requires one.
    """

    def __post_init__(self) -> None:
        need_extra("signal valid_tool_call", "jsonschema_rs")

    async def measure(self, question: Question, completion: Completion) -> Confidence:
        request, calls = _request(question), _tool_calls(completion)
        known, chosen = _tools(request), _required_tool(request)
        if chosen is not None and not calls:
            return _failed("valid_tool_call", f"no call, expected one of {chosen or 'any tool'}")
        for name, arguments in calls:
            if name not in known:
                return _failed("valid_tool_call", f"calls {name[:_SHOWN]!r}, expected one of {', '.join(known) or '-'}")
            if chosen and name != chosen:
                return _failed("valid_tool_call", f"calls {name!r}, expected {chosen}")
            schema = {"type": "object", "allOf": [known[name]]}
            outcome = await _passes({"schema": schema}, arguments)
            if not outcome.equal:
                return _failed("valid_tool_call", f"arguments of {name}: {outcome.reason}")
        return _passed("valid_tool_call")


@dataclass(frozen=True, slots=True, kw_only=True)
class NotRefused:
    """A text, or a tool call, that is neither empty nor a refusal, and that no content filter ended.

    Args:
        visible: The text is read without thinking and tags, as `mode = "answer"` shows it.
    """

    visible: bool = True

    async def measure(self, question: Question, completion: Completion) -> Confidence:
        text = _text(completion, visible=self.visible)
        if is_filtered(completion):
            return _failed("not_refused", "ended by a content filter, or marked as a refusal")
        if is_visibly_blank(text):
            calls = _tool_calls(completion)
            return _passed("not_refused") if calls else _failed("not_refused", "the text is empty")
        first = text.strip().partition("\n\n")[0]
        if is_refusal(first) or is_refusal(text):
            return _failed("not_refused", f"a refusal: {' '.join(first.split())[:_SHOWN]!r}")
        return _passed("not_refused")


def failed_validator(confidence: Confidence) -> bool:
    """True for the missing value of a draft that a validator deferred: its reason begins with the validator's name."""
    return confidence.value is None and confidence.reason.startswith(f"{confidence.signal}: ")


def is_filtered(completion: Completion) -> bool:
    """True where a content filter ended it, or the server marks it as a refusal (OpenAI's field of that name)."""
    reason = (completion.finish_reason or "").lower().replace("-", "_")
    return reason in FILTERS or (completion.raw is not None and bool(completion.raw.get("refusal")))


def wanted_schema(request: Mapping[str, Any]) -> Any:
    """The JSON schema that a request asks for; True for any JSON, None where it asks for none.

    Source: OpenAI's `response_format`; vLLM's `guided_json` and `structured_outputs`; llama.cpp's `json_schema`.
    """
    form, outputs = _mapping(request.get("response_format")), _mapping(request.get("structured_outputs"))
    if form.get("type") == "json_schema":
        inner = _mapping(form.get("json_schema"))
        return inner.get("schema", form.get("schema", True))
    if form.get("type") == "json_object":
        return form.get("schema", True)  # llama.cpp and Together put one here
    for found in (request.get("guided_json"), outputs.get("json"), request.get("json_schema")):
        if found is not None:
            return _decoded(found) if isinstance(found, str) else found
    return None


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text  # which is not a schema, so that nothing fits it


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast(Mapping[str, Any], value) if isinstance(value, Mapping) else {}


def _items(value: Any) -> list[Mapping[str, Any]]:
    """The objects of a list."""
    return [_mapping(each) for each in cast(Sequence[Any], value)] if isinstance(value, list | tuple) else []


def _request(question: Question) -> Mapping[str, Any]:
    return _mapping(question.meta.get(REQUEST))


def _tools(request: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of each offered tool by its name; True where it declares none."""
    found = [_mapping(each.get("function")) for each in _items(request.get("tools"))]
    found += _items(request.get("functions"))
    return {str(each["name"]): each.get("parameters") or True for each in found if "name" in each}


def _required_tool(request: Mapping[str, Any]) -> str | None:
    """The tool that must be called, "" for any; None where none must."""
    choice = request.get("tool_choice", request.get("function_call"))
    if isinstance(choice, Mapping):
        named = _mapping(choice)
        return str(_mapping(named.get("function")).get("name") or named.get("name") or "")
    return "" if choice == "required" else None


def _tool_calls(completion: Completion) -> list[tuple[str, str]]:
    """Name and arguments of each call."""
    raw = completion.raw or {}
    found = [_mapping(each.get("function")) for each in _items(raw.get("tool_calls"))]
    found += [_mapping(raw["function_call"])] if raw.get("function_call") else []
    return [(str(each.get("name") or ""), str(each.get("arguments") or "")) for each in found]


def _text(completion: Completion, *, visible: bool) -> str:
    return visible_text(completion.text) if visible else completion.text


def _passed(name: str, reason: str = "") -> Confidence:
    return Confidence(value=1.0, signal=name, reason=reason, spans=())


def _failed(name: str, reason: str) -> Confidence:
    return Confidence(value=0.0, signal=name, reason=reason, spans=())


async def _passes(rule: Mapping[str, Any], text: str) -> Any:
    """The outcome of a rule on a text, from a worker process."""
    return await asyncio.get_running_loop().run_in_executor(_threads(), _pool().compare, json.dumps(rule), text)


def _pool() -> WorkerPool:
    return shared_pool(LIMITS, "corea.signals.check_worker", remembered=0)


@cache
def _threads() -> ThreadPoolExecutor:
    """One thread a worker, so that other users of the loop's own threads need not wait for these."""
    return ThreadPoolExecutor(LIMITS.processes, "corea-validators")


def _plain(signal: Any) -> Any:
    """A signal's kind and settings as JSON can hold them; not the model that it asks."""
    if not is_dataclass(signal):
        return None if signal is None else type(signal).__qualname__
    values = {f.name: getattr(signal, f.name) for f in fields(signal) if f.name != "backend"}
    hashed = sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:16]
    return f"{type(signal).__qualname__}:{hashed}"
