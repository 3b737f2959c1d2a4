"""Figures of answered runs and recordings, beside what a cascade must be held against."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from corea.errors import ConfigError
from corea.evaluate.sources import Answer, in_common
from corea.evaluate.table import Pair, Row, SignalQuality, as_dicts, quality, rows
from corea.graders import count_graders
from corea.metrics import wilson_interval
from corea.metrics.arrays import Floats
from corea.policies.threshold import uniform_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one run or recording came to.

    Args:
        pass_at_1: Share right of the answers that were returned; a failed question is wrong.
        coverage: Share kept; 1 - coverage is LLM%. None for one model alone.
        selective_risk: Share wrong of the kept.
        table: Beside random, best single and oracle; None where the large model's answers to kept questions are not
            known (`missing` says what to give).
        graders: How many questions each grader graded; empty where the rows brought their grades.
    """

    name: str
    n: int
    failed: int
    pass_at_1: float
    pass_low: float
    pass_high: float
    mean_cost_usd: float | None
    llm_share: float | None
    coverage: float | None
    selective_risk: float | None
    signal: SignalQuality
    table: list[Row] | None
    missing: str | None
    costs_estimated: bool
    counted_as_free: tuple[str, ...]
    graders: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        made = asdict(self)
        made["table"] = None if self.table is None else as_dicts(self.table)
        return made


def measure(
    name: str, answers: Mapping[str, Answer], against: Mapping[str, Answer] | None = None, *, tau: float | None = None
) -> Measured:
    """The figures of one run or recording.

    Args:
        against: The large model's answers to the same questions; only those that both have are judged.
        tau: Keep at or above it instead of as the run did; needed for a recording with `against`.

    Raises:
        DataError: The files share no question.
        ConfigError: `tau` without `against`.
    """
    if tau is not None and against is None:
        raise ConfigError(
            "--tau: got it without --against, expected the large model's answers too; give --against FILE"
        )
    ids = in_common(answers, [against] if against is not None else [])
    mine = [answers[key] for key in ids]
    confidence = np.array([np.nan if a.confidence is None else a.confidence for a in mine])
    correct = np.array([a.correct for a in mine])
    keep = _kept(mine, confidence, tau)
    large = None if against is None else [against[key] for key in ids]
    returned = _returned(mine, large, keep)
    costs = _costs(mine, large, keep)
    pair = _pair(mine, large, keep, confidence)
    interval = wilson_interval(round(float(returned.sum())), len(mine))
    kept_n = 0.0 if keep is None else float(keep.sum())
    return Measured(
        name=name,
        n=len(mine),
        failed=sum(a.failed for a in mine),
        pass_at_1=float(returned.mean()),
        pass_low=interval.low,
        pass_high=interval.high,
        mean_cost_usd=None if costs is None else float(costs.mean()),
        llm_share=None if keep is None else float(1 - keep.mean()),
        coverage=None if keep is None else float(keep.mean()),
        selective_risk=float((keep * (1 - correct)).sum() / kept_n) if keep is not None and kept_n else None,
        signal=quality(confidence, correct),
        table=rows(pair, keep) if pair is not None and keep is not None else None,
        missing=_missing(pair, keep),
        costs_estimated=any(a.estimated for a in (*mine, *(large or ()))),
        counted_as_free=tuple(dict.fromkeys(line for a in (*mine, *(large or ())) for line in a.counted_as_free)),
        graders=count_graders(a.grader for a in mine if a.grader),
    )


def _kept(mine: list[Answer], confidence: Floats, tau: float | None) -> Floats | None:
    if tau is not None:
        return (np.nan_to_num(confidence, nan=-1.0) >= tau).astype(float)
    if all(a.kept is None for a in mine):
        return None
    return np.array([float(bool(a.kept)) for a in mine])


def _returned(mine: list[Answer], large: list[Answer] | None, keep: Floats | None) -> Floats:
    own = np.array([a.correct for a in mine])
    if keep is None:
        return own
    later = _later(mine, large)
    return np.where(keep > 0, own, later)


def _later(mine: list[Answer], large: list[Answer] | None) -> Floats:
    """Whether the large model is right: as the run saw it, else as the other file has it, else NaN."""
    other = [None] * len(mine) if large is None else [a.correct for a in large]
    seen = [a.later_correct if a.later_correct is not None else o for a, o in zip(mine, other, strict=True)]
    return np.array([np.nan if s is None else s for s in seen], dtype=float)


def _costs(mine: list[Answer], large: list[Answer] | None, keep: Floats | None) -> Floats | None:
    own = _money([a.cost_usd for a in mine])
    if own is None or keep is None:
        return own
    later = _later_costs(mine, large)
    needed = later[keep < 1]
    return None if np.isnan(needed).any() else own + np.where(keep < 1, later, 0.0)


def _later_costs(mine: list[Answer], large: list[Answer] | None) -> Floats:
    other = [None] * len(mine) if large is None else [a.cost_usd for a in large]
    seen = [a.later_cost_usd if a.later_cost_usd is not None else o for a, o in zip(mine, other, strict=True)]
    return np.array([np.nan if s is None else s for s in seen], dtype=float)


def _money(costs: list[float | None]) -> Floats | None:
    return None if any(cost is None for cost in costs) else np.array(costs, dtype=float)


def _pair(mine: list[Answer], large: list[Answer] | None, keep: Floats | None, confidence: Floats) -> Pair | None:
    own, later, later_costs = _money([a.cost_usd for a in mine]), _later(mine, large), _later_costs(mine, large)
    if keep is None or own is None or np.isnan(later).any() or np.isnan(later_costs).any():
        return None
    correct = np.array([a.correct for a in mine])
    return Pair(
        confidence=confidence, small_correct=correct, large_correct=later, small_cost=own, large_cost=later_costs
    )


def _missing(pair: Pair | None, keep: Floats | None) -> str | None:
    if pair is not None:
        return None
    if keep is None:
        return "one model alone; for a cascade give the large model's answers (--against FILE) and a threshold (--tau)"
    return (
        "random deferral, best single and oracle need the large model's answers and costs on the kept questions too; "
        "give a run of it alone with --against FILE (and prices with --price NAME=IN/OUT)"
    )


def split(ids: list[str], share: float = 0.5, salt: str = "split") -> tuple[list[str], list[str]]:
    """Ids in two parts by their hash: the same id is always on the same side."""
    first = [key for key in ids if uniform_of(key, salt) < share]
    chosen = set(first)
    return first, [key for key in ids if key not in chosen]
