"""The settings that decide a run's answers: they must not change when the run is resumed.

    settings = answer_settings(cascade)        # a plain tree, which the journal keeps
    differences(kept, settings)                # ["stages.small.sampling.temperature: 0.0 -> 0.7"]

How a server is reached, waited for and paid (`NOT_DECISIVE`), prices, budgets and concurrency are not among them.
Everything else is, also what a plug of another package declares. Secrets are kept as a short hash and never shown.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from hashlib import blake2b
from typing import Any, cast

import msgspec

from corea.backends import BACKENDS
from corea.backends.openai.api_keys import LOOKS_SECRET
from corea.cascade import Cascade
from corea.policies import POLICIES, PRE_POLICIES
from corea.secrets import shown_url
from corea.signals import SIGNALS
from corea.stage import Mode, Stage
from corea.types import Sampling

NOT_DECISIVE = frozenset((
    "api_key_env", "key_style", "headers_env", "organization", "project", "proxy",
    "stream", "stream_usage",
    "connect_timeout_seconds", "first_byte_timeout_seconds", "total_timeout_seconds",
    "max_retries", "backoff_base_seconds", "backoff_cap_seconds", "retry_after_cap_seconds",
    "breaker_failures", "breaker_cool_down_seconds", "wait_when_open", "max_connections",
    "max_batch", "max_batch_tokens", "threads", "latency_seconds",
))  # fmt: skip
PATH_KEYS = ("folder", "path", "name")
NAMES = {target: name for table in (BACKENDS, SIGNALS, POLICIES, PRE_POLICIES) for name, target in table.items()}
SECRET_KEY = re.compile(r"(key|token|secret|password|passwd|auth|authorization|credentials?|cookie)$", re.IGNORECASE)
SECRET = "secret:"
NOT_SET = object()
SHOWN = 60  # characters of a value in a message
DIFFERENCES_SHOWN = 3


def answer_settings(
    cascade: Cascade, *, declared: Mapping[str, Mapping[str, Any]] | None = None, calibration: str | None = None
) -> dict[str, Any]:
    """Everything that decides the answers of a cascade, as a tree of plain values.

    Args:
        declared: By stage, the options of its backend as a configuration has them: for a backend without settings to
            look at.
        calibration: The hash of the artefact that will decide, where `cascade` is as it was before it.
    """
    described = _Described({id(stage.backend): stage.name for stage in cascade.stages})
    stages = {stage.name: described.stage(stage, (declared or {}).get(stage.name, {})) for stage in cascade.stages}
    whole = {
        "cascade": {
            "stages": list(stages),
            "on_last_down": cascade.on_last_down.value,
            "calibration": calibration,
            "hedge_seconds": getattr(cascade, "hedge_seconds", None),
        },
        "stages": stages,
    }
    return msgspec.json.decode(msgspec.json.encode(whole))  # as a journal gives it back


@dataclass(frozen=True, slots=True)
class _Described:
    """Makes plain values of a cascade's parts.

    Args:
        stage_names: By the identity of their backends: a signal may ask the model of a stage, which then is described
            there.
    """

    stage_names: Mapping[int, str]

    def stage(self, stage: Stage, declared: Mapping[str, Any]) -> dict[str, Any]:
        """The settings that decide the answers of one stage."""
        prompt = stage.prompt
        return {
            "backend": self._backend(stage.backend, declared),
            "sampling": self._plain(stage.sampling),
            "signal": self._plain(stage.signal),
            "policy": self._plain(stage.policy),
            "pre_policy": self._plain(stage.pre_policy),
            "prompt": None if prompt is None else {"system": prompt.system, "user": prompt.user},
            "on_error": stage.on_error.value,
            "pass_draft": stage.pass_draft,
            "confidence_first": stage.confidence_first,
            "mode": stage.mode.value if stage.mode is Mode.CHAT else None,
        }

    def _backend(self, backend: Any, declared: Mapping[str, Any]) -> dict[str, Any]:
        own = getattr(backend, "settings", None)
        options = dict(_fields(own) if is_dataclass(own) else declared)
        options.update({key: declared[key] for key in PATH_KEYS if key in declared})  # as its file says it
        options = {key: value for key, value in options.items() if key not in NOT_DECISIVE and key != "kind"}
        if isinstance(headers := options.get("headers"), Mapping):
            options["headers"] = {name: _hidden(value) for name, value in cast(Mapping[str, Any], headers).items()}
        if isinstance(url := options.get("base_url"), str):
            options["base_url"] = shown_url(url.rstrip("/"))  # with and without a slash, it is the same server
        options["model"] = backend.model
        options["revision"] = getattr(backend, "revision", None)
        return {"kind": _kind(backend), **cast(dict[str, Any], self._plain(options))}

    def _plain(self, value: Any, key: str = "") -> Any:
        """Any value as JSON can hold it; objects become their kind and fields."""
        if isinstance(value, Enum):
            return self._plain(value.value, key)
        if isinstance(value, str):
            return _hidden(value) if SECRET_KEY.search(key) or LOOKS_SECRET.search(value) else str(value)
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping):
            return {str(k): self._plain(v, str(k)) for k, v in cast(Mapping[Any, Any], value).items()}
        if isinstance(value, Sequence):
            return [self._plain(each, key) for each in cast(Sequence[Any], value)]
        if isinstance(value, Sampling):
            return self._plain(_fields(value))
        if is_dataclass(value):
            return {"kind": _kind(value), **cast(dict[str, Any], self._plain(_fields(value)))}
        if id(value) in self.stage_names:
            return {"stage": self.stage_names[id(value)]}
        return self._backend(value, {}) if hasattr(value, "model") else {"kind": _kind(value)}


def _fields(value: Any) -> dict[str, Any]:
    return {f.name: getattr(value, f.name) for f in fields(value)}


def _kind(value: Any) -> str:
    target = f"{type(value).__module__}:{type(value).__qualname__}"
    return NAMES.get(target, target)


def _hidden(value: Any) -> str:
    return SECRET + blake2b(str(value).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


# --- differences ----------------------------------------------------------------------------------------------------


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The keys that differ, each with its value before and now."""
    old, new = dict(_leaves(before)), dict(_leaves(now))
    return [
        f"{key}: {_shown(old.get(key, NOT_SET), new.get(key, NOT_SET))}"
        for key in {**old, **new}
        if old.get(key, NOT_SET) != new.get(key, NOT_SET)
    ]


def in_one_line(found: Sequence[str]) -> str:
    """The first few differences, and the number of the others."""
    more = len(found) - DIFFERENCES_SHOWN
    return "; ".join(found[:DIFFERENCES_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(cast(Mapping[str, Any], value), f"{prefix}{key}.")
        elif value not in (None, {}, []):
            yield f"{prefix}{key}", value


def _shown(old: Any, new: Any) -> str:
    """Both values; of long ones the part where they begin to differ."""
    texts = [_text(old), _text(new)]
    if "(not shown)" in texts:
        return "changed (a secret, not shown)"
    if max(map(len, texts)) > SHOWN:
        same = next((n for n, (a, b) in enumerate(zip(*texts, strict=False)) if a != b), min(map(len, texts)))
        start = max(0, same - SHOWN // 4)
        texts = [_cut(text, start) for text in texts]
    return f"{texts[0]} -> {texts[1]}"


def _text(value: Any) -> str:
    if value is NOT_SET:
        return "not set"
    if isinstance(value, str) and value.startswith(SECRET):
        return "(not shown)"
    return json.dumps(value, ensure_ascii=False)


def _cut(text: str, start: int) -> str:
    end = start + SHOWN
    return ("..." if start else "") + text[start:end] + ("..." if end < len(text) else "")
