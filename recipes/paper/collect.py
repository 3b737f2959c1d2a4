"""Asks one model the questions that are not in its cache, measures every signal, grades and stores the answers."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from corea.errors import BackendError
from corea.graders import grade_each, grader_name
from corea.prices import Price
from corea.prompts import Prompt
from corea.protocols import Backend, Signal
from corea.signals.measured import measured
from corea.types import Completion, Confidence, Question, Sampling, Usage, Verdict
from recipes.paper.answer_cache import AnswerCache, Row
from recipes.paper.answers import Answers, question_hash

CHUNK = 64  # rows graded and stored together, and lost in a crash; twice the concurrency where that is more


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model of the comparison.

    Args:
        role: "slm", "rlvr", "brier", "l1", "llm", or a custom one.
        open: Makes its backend and signals; called only if a question must be asked.
        probe: Makes the backend that reads the hidden states of its answers; None: they are not stored.
        seeds: The seeds whose questions it answers, where a role has a training run for each; None: all.
        trained: The seed of its training run, where a role has several.
    """

    role: str
    cache: AnswerCache
    open: Callable[[], tuple[Backend, Mapping[str, Signal]]]
    sampling: Sampling
    prompt: Prompt
    price: Price
    probe: Callable[[], Backend] | None = None
    seeds: frozenset[int] | None = None
    trained: int | None = None

    def serves(self, seed: int) -> bool:
        """True if it answers the questions drawn with this seed."""
        return self.seeds is None or seed in self.seeds


async def collect(
    model: Model, questions: Sequence[Question], *, concurrency: int = 32, on_row: Callable[[], None] = lambda: None
) -> str | None:
    """Asks the questions missing in the cache, and regrades answers of another grader without asking the model.

    Returns:
        None, or the last error where questions could not be answered; they are asked again the next time.
    """
    model.cache.rewrite(_regraded(model, questions))
    missing = [q for q in {question_hash(q): q for q in questions}.values() if question_hash(q) not in model.cache.rows]
    if not missing:
        return None
    backend, signals = model.open()
    room, failed, chunk = asyncio.Semaphore(concurrency), "", max(CHUNK, 2 * concurrency)

    async def one(question: Question) -> tuple[Question, Completion, dict[str, Confidence]] | BackendError:
        asked = model.prompt.render(question)
        async with room:
            try:
                completion = await backend.complete(asked, model.sampling)
            except BackendError as error:
                return error
            return question, completion, {name: await measured(s, asked, completion) for name, s in signals.items()}

    try:
        for start in range(0, len(missing), chunk):
            done = await asyncio.gather(*(one(q) for q in missing[start : start + chunk]))
            good = [d for d in done if not isinstance(d, BackendError)]
            failed = next((str(d) for d in done if isinstance(d, BackendError)), failed)
            model.cache.add(_rows(good))
            for _ in done:
                on_row()
    finally:
        for signal_or_backend in (backend, *signals.values()):
            if close := getattr(signal_or_backend, "close", None):
                await close()
    return failed or None


def _rows(done: Sequence[tuple[Question, Completion, dict[str, Confidence]]]) -> list[tuple[str, Row]]:
    verdicts = grade_each([(question, completion.text) for question, completion, _ in done])
    return [
        (question_hash(question), {**_row(question, completion, confidences), **_grade(question, verdict)})
        for (question, completion, confidences), verdict in zip(done, verdicts, strict=True)
    ]


def _grade(question: Question, verdict: Verdict) -> Row:
    return {
        "answer": verdict.extracted,
        "correct": int(verdict.correct),
        "gold": question.reference,
        "grader": grader_name(question),
    }


def _regraded(model: Model, questions: Sequence[Question]) -> list[tuple[str, Row]]:
    """The stored rows that were graded by another grader, or against another reference, than the question now has."""
    stored = [(q, row) for q in questions if (row := model.cache.rows.get(question_hash(q)))]
    stale = [(q, row) for q, row in stored if (row.get("grader"), row.get("gold")) != (grader_name(q), q.reference)]
    verdicts = grade_each([(q, row["response"]) for q, row in stale])
    return [(question_hash(q), {**row, **_grade(q, v)}) for (q, row), v in zip(stale, verdicts, strict=True)]


def _row(question: Question, completion: Completion, confidences: Mapping[str, Confidence]) -> Row:
    usage = completion.usage
    first = next(iter(confidences.values()), None)
    return {
        "id": question.id,
        "model": completion.model,
        "response": completion.text,
        "confidence": first.value if first else None,
        "confidence_kind": first.signal if first else "none",
        "confidences": {name: c.value for name, c in confidences.items()},
        "reasons": {name: c.reason for name, c in confidences.items() if c.value is None},
        "signal_tokens": {
            name: [sum(x.usage.prompt_tokens for x in c.calls), sum(x.usage.completion_tokens for x in c.calls)]
            for name, c in confidences.items()
            if c.calls
        },
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "tokens_estimated": usage.estimated,
        "latency_ms": round(1000 * completion.seconds, 3),
        "finish_reason": completion.finish_reason,
    }


def answered(model: Model, questions: Sequence[Question]) -> list[bool]:
    """True for each question that the cache has an answer to."""
    return [question_hash(q) in model.cache.rows for q in questions]


def answers(model: Model, questions: Sequence[Question], hidden: Mapping[str, Any] | None = None) -> Answers:
    """The stored answers to questions that are all in the cache, priced."""
    rows = [model.cache.rows[question_hash(q)] for q in questions]
    names = list(dict.fromkeys(name for row in rows for name in row["confidences"]))

    def cost(prompt: int, completion: int) -> float:
        return float(model.price.cost(Usage(prompt_tokens=prompt, completion_tokens=completion)))

    def signal_cost(row: Row, name: str) -> float:
        return cost(*row["signal_tokens"][name]) if name in row["signal_tokens"] else 0.0

    def value(row: Row, name: str) -> float:
        found = row["confidences"].get(name)
        return float("nan") if found is None else float(found)

    vectors = None if hidden is None else np.array([hidden[row["question_sha256"]] for row in rows], dtype=float)
    return Answers(
        correct=np.array([float(row["correct"]) for row in rows]),
        cost_usd=np.array([cost(row["prompt_tokens"], row["completion_tokens"]) for row in rows]),
        confidence={name: np.array([value(row, name) for row in rows]) for name in names},
        signal_cost_usd={name: np.array([signal_cost(row, name) for row in rows]) for name in names},
        tokens=np.array([float(row["completion_tokens"]) for row in rows]),
        texts=tuple(row["response"] for row in rows),
        extracted=tuple(row["answer"] for row in rows),
        hidden=vectors,
        reasons={n: next((row["reasons"][n] for row in rows if n in row["reasons"]), "") for n in names},
    )
