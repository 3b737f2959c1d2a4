"""Threshold rules: candidates between and within the values of a score, and what a cascade returns with them.

`Rules` hold one `ThresholdRule` for each stage before the last, None for a stage that is not asked; two models are the
case of one rule.
"""

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from corea.errors import DataError
from corea.metrics.arrays import Floats
from corea.metrics.score_map import SECOND_OPINION, ScoreMap, among, apply_map, inputs_of, opinion_scores, outside
from corea.policies.calibrated import GroupRule, ThresholdRule
from corea.policies.router import QuestionModel, router_scores
from corea.policies.threshold import uniform_of
from corea.records.table import OutcomeTable

Rules = tuple[ThresholdRule | None, ...]
PERSON = -1  # the answering stage where neither model answers
NOTHING = ThresholdRule(tau=math.inf, tie_fraction=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredTable:
    """A table with a score for each stage before the last, and the fixed draws that decide ties; arrays are (N,).

    Args:
        scores: By stage; NaN where nothing was measured.
        draws: The draws that the policy will make for these very ids.
        slices: The names of the categories; empty where none was recorded.
        slice_of: Each row's index in `slices`.
        routes: The router's scores of the questions; None without a router.
        opinions: By stage, the scores if a second opinion differs and if it agrees, None where the map reads none;
            empty where no stage has one. It is asked, and paid for, where these two lead to different decisions.
    """

    table: OutcomeTable
    scores: tuple[Floats, ...]
    draws: Floats
    slices: tuple[str, ...]
    slice_of: Any
    routes: Floats | None = None
    opinions: tuple[tuple[Floats, Floats] | None, ...] = ()

    @classmethod
    def of(cls, table: OutcomeTable, *scores: Floats) -> "ScoredTable":
        """A table with these scores, one a stage."""
        slices, slice_of = (), np.zeros(len(table), dtype=int)
        if table.categories is not None:
            slices, slice_of = np.unique(table.categories.astype(str), return_inverse=True)
        draws = np.array([uniform_of(str(key)) for key in table.ids])
        return cls(table=table, scores=scores, draws=draws, slices=tuple(map(str, slices)), slice_of=slice_of)

    @classmethod
    def mapped(
        cls,
        table: OutcomeTable,
        maps: Sequence[ScoreMap],
        categories: Container[str] | None = None,
        router: QuestionModel | None = None,
    ) -> "ScoredTable":
        """A table with the scores of stored maps; the rest as in `with_maps`."""
        return cls.of(table).with_maps(maps, categories, router)

    def with_maps(
        self,
        maps: Sequence[ScoreMap],
        categories: Container[str] | None = None,
        router: QuestionModel | None = None,
    ) -> "ScoredTable":
        """The same rows with the scores of stored maps.

        Args:
            categories: Rows of others, or of none, have no score; None: the category plays no part.
            router: Scores the questions.

        Raises:
            DataError: The router has no text to read.
        """
        scores = [apply_map(stored, self.table.columns(stage)) for stage, stored in enumerate(maps)]
        if categories is not None:
            known = among(self.table.categories, categories, len(self))
            scores = [np.where(known, score, np.nan) for score in scores]
        found = replace(self, scores=tuple(scores)).with_opinions(maps)
        if router is None:
            return found
        if (texts := self.table.texts) is None:
            raise DataError("router: the rows have no text of the question, expected the field question; record it")
        return replace(found, routes=router_scores(router, list(texts)))

    def with_opinions(self, maps: Sequence[ScoreMap]) -> "ScoredTable":
        """The same rows with both scores that a second opinion could lead to; of the maps that read one."""
        opinions = [
            opinion_scores(stored, self.table.columns(stage)) if SECOND_OPINION in inputs_of(stored) else None
            for stage, stored in enumerate(maps)
        ]
        return replace(self, opinions=tuple(opinions) if any(each is not None for each in opinions) else ())

    def __len__(self) -> int:
        return len(self.table)

    @property
    def stages(self) -> range:
        """Indices of the stages before the last."""
        return range(len(self.scores))

    def take(self, at: Any) -> "ScoredTable":
        """The rows at these indices."""
        return replace(
            self, table=self.table.take(at), scores=tuple(score[at] for score in self.scores), draws=self.draws[at],
            slice_of=self.slice_of[at], routes=None if self.routes is None else self.routes[at],
            opinions=tuple(None if each is None else (each[0][at], each[1][at]) for each in self.opinions),
        )  # fmt: skip

    def in_slice(self, name: str) -> "ScoredTable":
        """The rows of one category."""
        return self.take(np.flatnonzero(self.slice_of == self.slices.index(name)) if name in self.slices else [])

    # --- one stage ---

    def asked(self, stage: int, rule: ThresholdRule) -> Any:
        """(N,) True where the stage is asked if it is reached."""
        asked = np.ones(len(self), dtype=bool)
        if rule.skip_categories and self.slices:
            asked = np.array([name not in rule.skip_categories for name in self.slices])[self.slice_of]
        return asked if rule.ask_above is None or self.routes is None else asked & (self.routes >= rule.ask_above)

    def kept(self, stage: int, rule: ThresholdRule) -> Any:
        """(N,) True where the stage's answer is kept if it is reached."""
        kept = self._above(self.scores[stage], rule)
        return kept & self.asked(stage, rule) if rule.skip_categories or rule.ask_above is not None else kept

    def _above(self, score: Floats, rule: ThresholdRule) -> Any:
        tau = rule.limit
        if rule.tie_fraction >= 1:
            return score >= tau
        return (score > tau) | ((score == tau) & (self.draws < rule.tie_fraction))

    def opinion_asked(self, stage: int, rule: ThresholdRule) -> Any:
        """(N,) True where the stage, if it is asked, needs a second opinion: where it can change the decision."""
        if not self.opinions or (scores := self.opinions[stage]) is None:
            return np.zeros(len(self), dtype=bool)
        kept = [self._above(score, rule) for score in scores]
        below = -math.inf if rule.abstain_below is None else rule.abstain_below
        left = [(score < below) & ~above for score, above in zip(scores, kept, strict=True)]
        return ((kept[0] != kept[1]) | (left[0] != left[1])) & self.asked(stage, rule)

    def _abstained(self, stage: int, rule: ThresholdRule, below: float, kept: Any) -> Any:
        return (self.scores[stage] < below) & self.asked(stage, rule) & ~kept

    # --- the cascade ---

    def outcome(self, rules: Rules) -> "CascadeAnswers":
        """Answering stage, cost and correctness of each question."""
        models, last = self.table.models, len(self.scores)
        stage = np.full(len(self), last)
        for index in reversed(self.stages):
            if (rule := rules[index]) is not None:
                kept = self.kept(index, rule)
                if rule.abstain_below is not None:
                    stage = np.where(self._abstained(index, rule, rule.abstain_below, kept), PERSON, stage)
                stage = np.where(kept, index, stage)
        cost = np.where(stage == last, models[-1].cost_usd, 0.0)
        for index in self.stages:
            if (rule := rules[index]) is not None:
                reached = (stage >= index) | (stage == PERSON)
                cost = cost + np.where(reached & self.asked(index, rule), models[index].cost_usd, 0.0)
                if (extra := models[index].opinion_cost_usd) is not None:
                    cost = cost + np.where(reached & self.opinion_asked(index, rule), extra, 0.0)
        correct = np.where(stage == PERSON, 1.0, models[-1].correct)  # a person's answer counts as right
        for index in self.stages:
            correct = np.where(stage == index, models[index].correct, correct)
        return CascadeAnswers(stage=stage, last=last, cost_usd=cost, correct=correct)

    def last_alone(self) -> "CascadeAnswers":
        """The last model answers every question, and no other one is asked."""
        last = len(self.scores)
        return CascadeAnswers(
            stage=np.full(len(self), last), last=last, cost_usd=self.table.last.cost_usd.copy(),
            correct=self.table.last.correct.copy(),
        )  # fmt: skip

    def by_group(self, groups: Mapping[str, GroupRule]) -> "CascadeAnswers":
        """The first stage with a threshold for each category; without one only the last model is asked.

        A category that has no entry is asked at both, and deferred.
        """
        out = self.outcome((NOTHING,))
        for name, group in groups.items():
            at = np.flatnonzero(among(self.table.categories, (name,), len(self)))
            if len(at):
                rows = self.take(at)
                part = rows.last_alone() if group.threshold is None else rows.outcome((group.threshold,))
                out.stage[at], out.cost_usd[at], out.correct[at] = part.stage, part.cost_usd, part.correct
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeAnswers:
    """Answers of a cascade to N questions; arrays are (N,).

    Args:
        stage: The index of the answering stage; `PERSON` where neither model answers.
        last: The index of the last stage.
        cost_usd: Every model that was asked.
        correct: 1.0 where the returned answer is right; a question left to a person counts as right.
    """

    stage: Any
    last: int
    cost_usd: Floats
    correct: Floats

    @property
    def kept(self) -> Any:
        """(N,) True where a stage before the last answers."""
        return (self.stage >= 0) & (self.stage < self.last)

    def take(self, at: Any) -> "CascadeAnswers":
        """The answers to the questions at these indices."""
        return replace(self, stage=self.stage[at], cost_usd=self.cost_usd[at], correct=self.correct[at])

    @property
    def abstained(self) -> Any:
        """(N,) True where a person should answer."""
        return self.stage == PERSON


def unlike_rows(table: OutcomeTable, maps: Sequence[ScoreMap], categories: Container[str] | None) -> dict[str, Any]:
    """(N,) True where an input of a map is unlike all that fitted it, so that the row is deferred; by input.

    Args:
        categories: As in `ScoredTable.with_maps`.
    """
    found: dict[str, Any] = {}
    for index, stored in enumerate(maps):
        for name, unlike in outside(stored, table.columns(index)).items():
            found[name] = found.get(name, False) | unlike
    if categories is not None:
        found["category"] = ~among(table.categories, categories, len(table))
    return found


def rules_at(score: Floats, coverages: Sequence[float]) -> list[ThresholdRule]:
    """Rules that would keep these shares of the scores, cautious to bold; between distinct values where possible.

    Shares that fall inside a tie keep a part of it, in steps of 0.05.
    """
    measured = np.sort(score[~np.isnan(score)])[::-1]
    found: dict[ThresholdRule, None] = {}
    for coverage in coverages:
        want = coverage * len(score)
        k = min(int(np.ceil(want)), len(measured))
        if k < 1:
            continue
        tau = float(measured[k - 1])
        above = int(np.searchsorted(-measured, -tau, side="left"))
        ties = int(np.searchsorted(-measured, -tau, side="right")) - above
        share = 1.0 if ties == 1 else round(min(1.0, (min(want, len(measured)) - above) / ties) * 20) / 20
        if share >= 1.0 and above + ties < len(measured):
            tau = float((tau + measured[above + ties]) / 2)
        elif share <= 0 and above:
            tau, share = float((tau + measured[above - 1]) / 2), 1.0
        if share > 0:
            found[ThresholdRule(tau=tau, tie_fraction=share)] = None
    return list(found)
