"""One comparison from questions to results: asks, splits, fits, evaluates, and stores everything in a folder.

OUT/traces/KEY.jsonl    every answer, by content (see `answer_cache`); KEY.json is its identity; KEY.npz hidden states
OUT/results.json        tables, data of the figures, examples, spending, provenance: the input of the report
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from corea.errors import ConfigError, DataError
from corea.types import Question
from recipes.paper.answer_cache import digest
from recipes.paper.answers import Fitting, Judged, Part, joined, question_hash
from recipes.paper.apply_methods import SeedSplit
from recipes.paper.collect import Model, answered, answers, collect
from recipes.paper.comparison_table import ComparisonInputs, make_table
from recipes.paper.examples import failures, reliability
from recipes.paper.means import means
from recipes.paper.methods import methods
from recipes.paper.probe import hidden_states
from recipes.paper.settings import CompareSettings
from recipes.paper.splits import DatasetSplits, contamination

RESULTS = "results.json"
VERSION = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressHooks:
    """Callbacks for progress: a phase begins with a number of steps, and a step is done."""

    phase: Callable[[str, int], None] = lambda what, steps: None
    step: Callable[[], None] = lambda: None


async def compare(
    settings: CompareSettings,
    models: Sequence[Model],
    missing: Mapping[str, str],
    asked: Sequence[DatasetSplits],
    out: Path,
    provenance: Mapping[str, Any],
    *,
    hooks: ProgressHooks = ProgressHooks(),
) -> dict[str, Any]:
    """Runs a comparison and writes its results.

    Args:
        models: The available ones. `missing`: by role, the reason why others are not.
        provenance: Written into the results as it is.

    Returns:
        The results, as written.
    """
    datasets: list[dict[str, Any]] = []
    called = 0
    for dataset in asked:
        questions = [*dataset.fit, *dataset.judge]
        gone = dict(missing)
        for model in models:
            own = [q for q in questions if model.serves(dataset.seed(q))]
            before = len(model.cache.rows)
            hooks.phase(f"{dataset.name}: {_name(model)}", sum(1 for a in answered(model, own) if not a))
            error = await collect(model, own, concurrency=settings.concurrency, on_row=hooks.step)
            called += len(model.cache.rows) - before
            if error and not any(answered(model, own)):
                gone[model.role] = f"no question could be answered: {error}"
        datasets.append(_judge(settings, [m for m in models if m.role not in gone], gone, dataset, hooks))
    results = {
        "version": VERSION,
        "name": settings.name,
        "reference": settings.reference,
        "operate_at": settings.operate_at,
        "max_drops": settings.max_drops,
        "seeds": settings.seeds,
        "notes": settings.notes,
        "models": {_name(m): _about(m) for m in models},
        "not_there": dict(missing),
        "datasets": datasets,
        "means": means(datasets, {name: each.group for name, each in settings.datasets.items()}, settings.operate_at),
        "model_calls": called,
        "provenance": dict(provenance),
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / RESULTS).write_text(json.dumps(_plain(results), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return results


def read_results(folder: Path) -> dict[str, Any]:
    """The results in a comparison's folder, or in a results file itself."""
    path = folder if folder.is_file() else folder / RESULTS
    try:
        found = cast(dict[str, Any], json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path}: no such file; run `python -m recipes.paper compare CONFIG --out {folder}` first"
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot be read ({error}), expected results of `recipes.paper compare`; name the folder that it wrote",
            path=str(path),
        ) from error
    if found.get("version") != VERSION:
        raise DataError(
            f"got results of version {found.get('version')!r}, expected {VERSION}; run it again, it asks "
            "no model for what is stored",
            path=str(path),
        )
    return found


def _judge(
    settings: CompareSettings,
    models: Sequence[Model],
    gone: Mapping[str, str],
    asked: DatasetSplits,
    hooks: ProgressHooks,
) -> dict[str, Any]:
    """The results of one dataset, over the questions that every model answered."""
    held = frozenset(question_hash(q) for q in asked.judge)
    parts: list[SeedSplit] = []
    for seeds in _apart(models, asked):
        own = [m for m in models if seeds is None or m.serves(min(seeds))]
        fit, judge = (
            _common(own, [q for q in part if seeds is None or asked.seed(q) in seeds])
            for part in (asked.fit, asked.judge)
        )
        if not fit or not judge:
            raise DataError(
                f"compare: dataset {asked.name!r}: got {len(fit)} calibration and {len(judge)} evaluation questions "
                "that every model answered, expected some of each"
            )
        hidden = {m.role: _hidden(m, [*fit, *judge]) for m in own if m.probe}
        answered_by = [{m.role: answers(m, some, hidden.get(m.role)) for m in own} for some in (fit, judge)]
        parts.append(
            SeedSplit(
                fitting=Fitting(questions=fit, answers=answered_by[0], held_out=held),
                judged=Judged(questions=judge, answers=answered_by[1]),
            )
        )
    both = [joined([p.fitting for p in parts]), joined([p.judged for p in parts])]
    inputs = ComparisonInputs(
        dataset=asked.name,
        parts=tuple(parts),
        missing=gone,
        trained={m.role: sum(1 for o in models if o.role == m.role) for m in models},
        reference=settings.reference,
        operate_at=settings.operate_at,
        max_drops=settings.max_drops,
        seed_of=np.array([float(asked.seed(q)) for q in both[1].questions]),
    )
    hooks.phase(f"{asked.name}: figures", len(methods(settings.extra, settings.ours)))
    table, played = make_table(inputs, settings.extra, settings.ours, on_row=lambda name: hooks.step())
    return {
        **asdict(table),
        "publishable": asked.publishable,
        "facts": dict(asked.facts),
        "left_out": len(asked.fit) + len(asked.judge) - sum(len(p) for p in both),
        "dropped_from_fitting": asked.dropped,
        "contamination": contamination(asked),
        "hashes": {"fit": _hash(both[0].questions), "judged": _hash(both[1].questions)},
        "spent": _spent(both),
        "pictures": {name: reliability(p.score, p.own_right) for name, p in played.items() if p.method.score},
        "examples": {name: failures(p, both[1]) for name, p in played.items()} if asked.publishable else {},
    }


def _name(model: Model) -> str:
    return model.role if model.trained is None else f"{model.role}, trained with seed {model.trained}"


def _apart(models: Sequence[Model], asked: DatasetSplits) -> list[frozenset[int] | None]:
    """The seeds whose questions are fitted and evaluated separately: each, where a role was trained with several."""
    if all(m.seeds is None for m in models):
        return [None]
    return [frozenset([seed]) for seed in sorted(set(asked.seed_of.values()))]


def _hidden(model: Model, questions: Sequence[Question]) -> Mapping[str, Any] | None:
    """Hidden states; None where the backend gives none, which the probe's row then reports."""
    try:
        assert model.probe is not None
        return hidden_states(model.cache, model.probe, model.prompt, questions)
    except ConfigError:
        return None


def _common(models: Sequence[Model], questions: Sequence[Question]) -> tuple[Question, ...]:
    there = [answered(m, questions) for m in models]
    return tuple(q for i, q in enumerate(questions) if all(t[i] for t in there))


def _hash(questions: Sequence[Question]) -> str:
    return digest([[question_hash(q), q.reference] for q in questions])[:16]


def _spent(parts: Sequence[Part]) -> dict[str, Any]:
    """Tokens and cost of all answers on this dataset, cached ones included."""
    found: dict[str, Any] = {}
    for role in parts[1].answers:
        both = [part.answers[role] for part in parts]
        found[role] = {
            "questions": sum(len(a.correct) for a in both),
            "completion_tokens": float(sum(a.tokens.sum() for a in both)),
            "answers_usd": float(sum(a.cost_usd.sum() for a in both)),
            "signals_usd": float(sum(c.sum() for a in both for c in a.signal_cost_usd.values())),
        }
    return found


def _about(model: Model) -> dict[str, Any]:
    return {
        "cache": model.cache.identity.key,
        **asdict(model.cache.identity),
        "price": {
            "input_usd_per_mtok": str(model.price.input_usd_per_mtok),
            "output_usd_per_mtok": str(model.price.output_usd_per_mtok),
            "source": model.price.source,
        },
    }


def _plain(value: Any) -> Any:
    """For JSON: NaN becomes null (not known), infinity the text "inf"."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (float, np.floating)):
        number = float(value)
        return None if number != number else "inf" if number == float("inf") else round(number, 10)
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
