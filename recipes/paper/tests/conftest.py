"""Two models with known answers: a small one that is sure when it is right, and a large one that is always right."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from corea.prices import Price
from corea.prompts import load_prompt
from corea.protocols import Backend, Signal
from corea.signals.verbalized import Verbalized
from corea.types import Completion, Question, Sampling, Usage
from recipes.paper.answer_cache import AnswerCache, Identity
from recipes.paper.answers import question_hash
from recipes.paper.collect import Model
from recipes.paper.session import compare
from recipes.paper.settings import CompareSettings, DatasetSettings, ModelSettings
from recipes.paper.splits import DatasetSplits


@dataclass
class Counting:
    """Answers a sum; counts its calls. Wrong where `wrong` says so, and then less sure."""

    model: str
    wrong: Callable[[int], bool]
    fail_after: int = 10**9
    calls: int = 0

    async def complete(self, question: Question, sampling: Sampling) -> Completion:
        from corea.errors import BackendError

        self.calls += 1
        if self.calls > self.fail_after:
            raise BackendError("is down", backend=self.model)
        number = int(question.id.removeprefix("q"))
        answer = 2 * number + (1 if self.wrong(number) else 0)
        sure = 0.3 + 0.01 * (number % 20) if self.wrong(number) else 0.9 - 0.02 * (number % 10)
        text = f"<think>{number} + {number}</think><answer>{answer}</answer><confidence>{sure:.2f}</confidence>"
        return Completion(text=text, model=self.model, usage=Usage(prompt_tokens=10, completion_tokens=20))


def questions(first: int, last: int) -> tuple[Question, ...]:
    return tuple(
        Question.of(f"What is {i} + {i}? {'Carefully.' if i % 3 == 0 else ''}", id=f"q{i}", reference=str(2 * i))
        for i in range(first, last)
    )


ASKED = DatasetSplits(name="sums", fit=questions(0, 150), judge=questions(150, 300), seed_of={})
PRICE = {"small": Decimal(1), "large": Decimal(10)}


@dataclass
class World:
    """A comparison's parts, and the backends to count calls on."""

    folder: Path
    backends: dict[str, Counting] = field(default_factory=dict[str, Counting])
    opened: list[str] = field(default_factory=list[str])

    def settings(self, **changes: Any) -> CompareSettings:
        declared = ModelSettings(backend={"kind": "fake"})
        values: dict[str, Any] = {
            "models": dict.fromkeys(self.backends, declared),
            "datasets": {"sums": DatasetSettings(kind="jsonl")},
            "reference": "SLM-Verb",
            "ours": "slm",
            "max_drops": (0.0, 0.02),
            "operate_at": 0.0,
        }
        return CompareSettings(**{**values, **changes})

    def model(
        self, role: str, *, revision: str = "1", further: Mapping[str, Signal] | None = None, **runs: Any
    ) -> Model:
        backend = self.backends[role]
        signals: dict[str, Signal] = {"verbalized": Verbalized(), **(further or {})} if role != "llm" else {}

        def open_it() -> tuple[Backend, Mapping[str, Signal]]:
            self.opened.append(role)
            return backend, signals

        prompt = load_prompt("plain")
        identity = Identity(
            model=backend.model,
            revision=revision,
            prompt_sha256=prompt.sha256,
            sampling={},
            signals=dict.fromkeys(signals),
        )
        usd = PRICE["large" if role == "llm" else "small"]
        return Model(
            role=role,
            cache=AnswerCache(self.folder / "traces", identity),
            open=open_it,
            sampling=Sampling(),
            prompt=prompt,
            price=Price(input_usd_per_mtok=usd, output_usd_per_mtok=usd),
            **runs,
        )

    def compare(
        self, asked: DatasetSplits = ASKED, models: Sequence[Model] | None = None, **changes: Any
    ) -> dict[str, Any]:
        from recipes.paper.provenance import provenance

        box = provenance(command="recipes.paper compare x.toml", config="name = 'x'", config_sha256="0")
        models = [self.model(role) for role in self.backends] if models is None else models
        absent = {role: f"[models.{role}] is not in the configuration" for role in ("rlvr", "brier", "l1")}
        return asyncio.run(compare(self.settings(**changes), models, absent, [asked], self.folder, box))


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.backends["slm"] = Counting("small", lambda i: i % 3 == 0)
    made.backends["llm"] = Counting("large", lambda i: False)
    return made


def row(results: dict[str, Any], name: str) -> dict[str, Any]:
    return next(c for c in results["datasets"][0]["cells"] if c["method"] == name)


__all__ = ["ASKED", "Counting", "World", "question_hash", "questions", "row"]
