"""All ways over all splits of a pair: half of the questions calibrate, the other half judges."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from corea.calibrate import FitOptions
from corea.metrics.score_map import apply_map
from recipes.neighbours import cascades, routers
from recipes.neighbours.installed import available, run
from recipes.neighbours.problem import MAX_DROP, Choice, Fit, Outcome, Rows, cheapest_threshold, outcome

BLEND, ROUTED = FitOptions(), FitOptions(map="identity", router=True)
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to decide, and what it needs of the rows."""

    name: str
    kind: str
    fit: Fit
    needs_text: bool = False
    needs_opinion: bool = False

    def applies(self, rows: Rows) -> bool:
        """True if the rows have what it needs."""
        stated = not np.isnan(rows.table.first.confidence).all()
        if self.kind == "cascade" and not stated:
            return False
        return (bool(rows.texts) or not self.needs_text) and (rows.opinions is not None or not self.needs_opinion)


WAYS = (
    Way(
        name="COREA, stated", kind="cascade",
        fit=cascades.corea(FitOptions(map="identity"), view=cascades.stated_only),
    ),
    Way(name="COREA, blend", kind="cascade", fit=cascades.corea(BLEND)),
    Way(
        name="COREA, second opinion", kind="cascade", needs_opinion=True,
        fit=cascades.corea(BLEND, view=cascades.with_opinion),
    ),
    Way(name="COREA, router and threshold", kind="cascade", needs_text=True, fit=cascades.corea(ROUTED)),
    Way(name="published COREA rule", kind="cascade", fit=cascades.published_corea),
    Way(name="validation threshold, stated", kind="cascade", fit=cascades.validation_stated),
    Way(name="validation threshold, blend", kind="cascade", fit=cascades.validation),
    Way(name="UCCI", kind="cascade", fit=cascades.ucci),
    Way(name="FrugalGPT", kind="cascade", fit=cascades.frugal),
    Way(
        name="COREA, router", kind="router", needs_text=True,
        fit=cascades.corea(ROUTED, view=cascades.nothing_stated),
    ),
    Way(name="kNN", kind="router", needs_text=True, fit=routers.trained(routers.knn)),
    Way(name="SVM", kind="router", needs_text=True, fit=routers.trained(routers.svm)),
    Way(name="MLP", kind="router", needs_text=True, fit=routers.trained(routers.mlp)),
    Way(name="matrix factorisation", kind="router", needs_text=True, fit=routers.trained(routers.factorised)),
    Way(name="RouteLLM, similarity-weighted", kind="router", needs_text=True, fit=routers.similarity_weighted),
    Way(name="random", kind="bound", fit=routers.at_random),
    Way(name="best single model", kind="bound", fit=routers.best_single),
    Way(name="oracle", kind="bound", fit=routers.oracle),
)  # fmt: skip


def halves(n: int, splits: int) -> list[tuple[Any, Any]]:
    """Row indices that calibrate and that judge, by seed."""
    orders = [np.random.default_rng(seed).permutation(n) for seed in range(splits)]
    return [(order[: n // 2], order[n // 2 :]) for order in orders]


def measure(
    rows: Rows, *, splits: int, environments: Path | None = None, only: str = "", say: Say = print
) -> list[dict[str, Any]]:
    """The figures of each way that the rows allow.

    Args:
        environments: A folder with the neighbours' environments; None: none is run.
        only: Of the ways that need no environment, the one with this name; "": all.
    """
    cuts, found = halves(len(rows), splits), list[dict[str, Any]]()
    for way in WAYS:
        if way.applies(rows) and only in ("", way.name):
            found.append(summary(way.name, way.kind, *_judged(rows, cuts, way.fit)))
            say(line(found[-1]))
    there = available(environments) if environments and not only else []
    for name in there:
        if environments and (name in ("mapie", "automix") or _texts_for(name, rows)):
            found += _installed(environments, name, rows, cuts)
            say("\n".join(map(line, [each for each in found if each.get("package") == name])))
    return found


def _texts_for(name: str, rows: Rows) -> bool:
    return bool(rows.texts) and (name == "litellm" or rows.drafts is not None)


def _judged(rows: Rows, cuts: Sequence[tuple[Any, Any]], fit: Fit) -> tuple[list[Outcome], list[float]]:
    each, times = list[Outcome](), list[float]()
    for seed, (seen, unseen) in enumerate(cuts):
        decide, new = fit(rows.take(seen), seed), rows.take(unseen)
        start = time.perf_counter()
        choice = None if decide is None else decide(new)
        times += [] if decide is None else [1000 * (time.perf_counter() - start) / len(new)]
        each.append(outcome(new, choice))
    return each, times


def _installed(folder: Path, name: str, rows: Rows, cuts: Sequence[tuple[Any, Any]]) -> list[dict[str, Any]]:
    if name in ("litellm", "cascadeflow"):
        return _fixed(folder, name, rows, cuts)
    answers = run(folder, name, {"splits": [_split(rows, seed, *cut) for seed, cut in enumerate(cuts)]})
    found = list[dict[str, Any]]()
    for way, choices in answers.items():
        each = [
            outcome(rows.take(unseen), None if kept is None else Choice.cascade(kept))
            for (_, unseen), (kept, _) in zip(cuts, choices, strict=True)
        ]
        found.append(summary(way, "cascade", each, [ms for kept, ms in choices if kept is not None], package=name))
    return found


def _split(rows: Rows, seed: int, seen: Any, unseen: Any) -> dict[str, Any]:
    stored, rest, score = cascades.shared_score(rows.take(seen), seed)
    new = apply_map(stored, rows.take(unseen).table.columns(0))
    first, last = rest.table.first, rest.table.last
    return {
        "score": np.clip(np.nan_to_num(score), 0, 1).tolist(), "unseen": np.clip(np.nan_to_num(new), 0, 1).tolist(),
        "small": first.correct.tolist(), "large": last.correct.tolist(), "max_drop": MAX_DROP,
        "costs": [float(first.cost_usd.mean()), float(last.cost_usd.mean())],
    }  # fmt: skip


def _fixed(folder: Path, name: str, rows: Rows, cuts: Sequence[tuple[Any, Any]]) -> list[dict[str, Any]]:
    """A check that learns nothing: as shipped, and with a threshold of its score by validation."""
    drafts = [] if name == "litellm" else list(rows.drafts)
    answer = run(folder, name, {"texts": rows.texts, "drafts": drafts})
    before, title = name == "litellm", {"litellm": "LiteLLM complexity router"}.get(name, name)
    make = Choice.route if before else Choice.cascade
    keep, score = np.array(answer["keep"], dtype=bool), np.array(answer["score"])
    shipped, learnt = list[Outcome](), list[Outcome]()
    for seen, unseen in cuts:
        new = rows.take(unseen)
        tau = cheapest_threshold(score[seen], rows.take(seen), before=before)
        shipped.append(outcome(new, make(keep[unseen])))
        learnt.append(outcome(new, None if tau is None else make(score[unseen] >= tau)))
    kind = "router" if before else "cascade"
    said = partial(summary, package=name)
    return [
        said(f"{title}, as shipped", kind, shipped, [answer["ms"]]),
        said(f"{title}, score with a validation threshold", kind, learnt, [answer["ms"]]),
    ]


def summary(name: str, kind: str, each: list[Outcome], ms: list[float], *, package: str = "") -> dict[str, Any]:
    """The figures of one way over all splits; the interval is the median over the splits of each end."""
    saving, drop = (np.array([getattr(one, field) for one in each]) for field in ("saving", "drop"))
    return {
        "way": name, "kind": kind, "package": package, "splits": len(each),
        "saving_median": float(np.median(saving)), "saving_low": float(saving.min()),
        "saving_high": float(saving.max()), "saving_mean": float(saving.mean()),
        "interval": [float(np.median([getattr(one.interval, end) for one in each])) for end in ("low", "high")],
        "drop_mean": float(drop.mean()), "drop_high": float(drop.max()),
        "broken": int((drop > MAX_DROP + 1e-9).sum()), "chosen": int((saving != 0).sum()),
        "ms": float(np.median(ms)) if ms else None,
    }  # fmt: skip


def line(found: dict[str, Any]) -> str:
    """One way's figures in words."""
    ms = "-" if found["ms"] is None else f"{found['ms']:.4f}"
    return (
        f"  {found['way']:52} saving {found['saving_median']:7.1%} ({found['saving_low']:.1%} to "
        f"{found['saving_high']:.1%}), lost {100 * found['drop_mean']:.2f} points, broken {found['broken']} of "
        f"{found['splits']}, {ms} ms"
    )
