"""Few-label calibration: the last model's answers as reference on all rows, corrected by few gold labels.

Where the two answers are the same, keeping the small model's changes nothing: the drop there is 0, known without any
label. So with D the drop of one row, K that an answer is kept and X that the two differ,

    mean D = P(K and X) * mean(D | K and X)

The first factor is seen on all rows; only the second needs gold labels. This is prediction-powered inference with the
prediction "D = 1 where kept and different": the correction D - prediction is 0 on all other rows, so gold labels are
best spent where the answers differ (`labels_to_select`), and a few hundred do for many thousand rows.

Finite samples: except for a tenth of delta, P(K and X) is under its exact upper bound u (all rows); a missed target
mean D >= d then means mean(D | K and X) >= d / u, which the exact paired test rejects on the gold rows among the kept
and different at the rest of the level. If u < d no label is needed at all: the guarantee holds whoever is right.
Where gold labels were drawn from all rows, the exact paired test on those rows takes the place of the conditional one:
it sees the same few differing rows, and loses less to their being few.

Source: Angelopoulos et al. 2023, arXiv:2301.09633 (prediction-powered inference), and arXiv:2311.01453 (PPI++); here
with exact tests in the place of their normal intervals, and the nuisance as Berger and Boos 1994 (JASA 89(427)).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np

from corea.calibrate.exact_tests import exact_drop_pvalue, share_lower, share_pvalue, share_upper
from corea.calibrate.rules import CascadeAnswers, Rules, ScoredTable
from corea.calibrate.targets import Targets, cost_pvalue
from corea.errors import ConfigError, DataError
from corea.metrics import Interval, paired_share_interval
from corea.records.table import OutcomeTable

SHARE_RISK = 0.1  # of delta: the probability that P(K and X) is outside its bound
WORTH_LABELLING = 8.0  # rows are labelled up to a share kept and different of so many times the drop
ODD_SAMPLE = 0.0002  # chance at which gold labels drawn at random are refused, on each side
MISS = 0.05  # chance that an interval misses
SURE, ENOUGH_GOLD = 0.7, 20  # of the drop: no label is needed; gold labels expected among the kept and different


def few_label_drop_pvalue(
    different: int,
    n: int,
    losses: int,
    gains: int,
    gold: int,
    drop: float,
    *,
    delta: float = 0.05,
    within: bool = True,
    decisive: int | None = None,
) -> float:
    """p-value of "the cascade's accuracy is `drop` or more below the last model's", at level `delta` only.

    Args:
        different: Of all n rows, those kept where the two answers differ.
        losses, gains: Of the gold rows, those kept where only the last, or only the small model is right.
        gold: Labelled rows: `within` those kept and different, else of all rows, labelled at random.
        decisive: Of the gold rows, those kept and different; without one only a share below the drop is certified.
        delta: The level of the test: a tenth of it is spent on the share of different answers.
    """
    risk = SHARE_RISK * delta
    share = share_upper(different, n, risk) if drop > 0 else share_lower(different, n, risk)
    if share < drop:
        return risk
    limit = drop if not within else drop / share if share > 0 else 0.0
    if not gold or decisive == 0 or not -1 < limit < 1:
        return 1.0
    return min(1.0, risk + exact_drop_pvalue(losses, gains, gold, limit))


@dataclass(frozen=True, slots=True, kw_only=True)
class FewLabels:
    """Which rows are labelled, and on which the answers differ; arrays are (N,).

    Args:
        gold: True where both models' answers are labelled.
        different: True where the two answers differ; unknown answers count as such.
        only_different: Gold labels were given only where answers differ.
    """

    gold: Any
    different: Any
    only_different: bool

    @classmethod
    def of(cls, table: OutcomeTable, targets: Targets) -> "FewLabels":
        """The labels of a table whose correctness is NaN where there is none.

        Gold rows must be drawn at random: from all rows, or (no gold row agrees) from those whose answers differ.

        Raises:
            ConfigError: A target that needs more labels.
            DataError: Rows that cannot be used.
        """
        small, last = table.first, table.last
        if targets.value_usd is not None:
            raise ConfigError("few labels: got --value, which needs a label on every row; use --max-drop, or label all")
        if small.agreement is None or np.isnan(small.agreement).all():
            raise DataError("few labels: the rows have no answers to compare, expected the field answer in both files")
        table.check_ids()
        gold = ~np.isnan(small.correct) & ~np.isnan(last.correct)
        different = ~(small.agreement == 1)
        odd = gold & ~different & (small.correct != last.correct)
        if odd.any():
            raise DataError(
                f"few labels: question {table.ids[np.flatnonzero(odd)[0]]!r}: the answers are the same but one label "
                "is right and one wrong, expected the same label; correct it"
            )
        found = cls(gold=gold, different=different, only_different=bool(gold.any() and not (gold & ~different).any()))
        found.proxy(table).check()
        found.check_share()
        if found.only_different and targets.max_risk is not None:
            raise ConfigError("few labels: --max-risk needs gold labels drawn from all rows, got only differing ones")
        return found

    def check_share(self) -> None:
        """Refuses gold labels, said to be drawn from all rows, among which far more or fewer answers differ."""
        gold, among = int(self.gold.sum()), int((self.gold & self.different).sum())
        share = float(self.different.mean())
        if not gold or self.only_different:
            return
        if not share_lower(among, gold, ODD_SAMPLE) <= share <= share_upper(among, gold, ODD_SAMPLE):
            raise DataError(
                f"few labels: of the {gold:,} labelled rows {100 * among / gold:.1f} % have different answers, of all "
                f"{100 * share:.1f} %, expected labels drawn at random; draw them, or use --select-for-labelling"
            )

    def check_scores(self, test: ScoredTable) -> None:
        """Refuses gold labels whose scores are far higher or lower than those of the rows that they stand for.

        Of all rows, or where only different answers are labelled of those from the least labelled score on. The
        mean rank of a random sample is normal, with the variance of drawing without replacement.
        """
        score = np.where(np.isnan(test.scores[0]), -1.0, test.scores[0])
        rows = np.ones(len(test), dtype=bool)
        if self.only_different:
            rows = self.different & (score >= self.least_labelled(test))
        gold, n = self.gold[rows], int(rows.sum())
        count = int(gold.sum())
        if not 0 < count < n:
            return
        _, value, times = np.unique(score[rows], return_inverse=True, return_counts=True)
        rank = (np.cumsum(times) - (times - 1) / 2)[value]
        spread = float(np.sqrt(rank.var(ddof=1) / count * (1 - count / n)))
        z = float(rank[gold].mean() - rank.mean()) / spread if spread else 0.0
        if abs(z) > NormalDist().inv_cdf(1 - ODD_SAMPLE):
            side = "higher" if z > 0 else "lower"
            raise DataError(
                f"few labels: the scores of the {count:,} labelled rows are {side} than those of the rows that they "
                f"stand for (by {abs(z):.1f} standard errors), expected labels drawn at random; draw them, or use "
                "--select-for-labelling"
            )

    def least_labelled(self, test: ScoredTable) -> float:
        """The least score of a labelled row: thresholds below it would rest on rows that no label stands for."""
        score = test.scores[0][self.gold]
        return float(np.nanmin(score)) if self.gold.any() and not np.isnan(score).all() else -np.inf

    @property
    def held_out(self) -> Any:
        """(N,) True for rows that must not fit: gold labels drawn from all rows."""
        return np.zeros_like(self.gold) if self.only_different else self.gold

    def take(self, at: Any) -> "FewLabels":
        """The rows at these indices."""
        return replace(self, gold=self.gold[at], different=self.different[at])

    def proxy(self, table: OutcomeTable) -> OutcomeTable:
        """The table with agreement with the last model in the place of correctness."""
        return table.change(0, correct=1.0 - self.different).change(-1, correct=np.ones(len(table)))

    def notes(self, part_a: Any) -> tuple[str, ...]:
        """Remarks on labels that could not be used, given the rows that fitted the map."""
        lost = int(self.gold[part_a].sum())
        text = f"{lost} gold labels are on rows that fitted the map and were not used; see --select-for-labelling"
        return (text,) if lost else ()

    def limit_notes(self, test: ScoredTable, fit: ScoredTable, targets: Targets) -> tuple[str, ...]:
        """A remark where the labels end at a higher score than these targets ask for, by more than chance."""
        if not self.only_different or targets.max_drop is None:
            return ()
        score, lowest = test.scores[0][self.different], self.least_labelled(test)
        asked = score >= worth_labelling(fit, targets)[0]
        beyond = float((score[asked] < lowest).mean()) if asked.any() else 0.0
        if beyond * int(self.gold.sum()) <= -np.log(ODD_SAMPLE):  # (1 - beyond) ** labels is the chance of none there
            return ()
        return (
            f"no threshold below the score {lowest:.4g}, the least of a labelled answer, was tested: the labels were "
            f"selected for a smaller drop than {100 * targets.max_drop:g} points; select more with this one",
        )

    def worth_testing(self, path: Sequence[Rules], fit: ScoredTable, targets: Targets, *, lowest: float) -> list[Rules]:
        """The path without the rules between those that need no label and those where enough labels are expected.

        Nor those below `lowest`, as `least_labelled` gives it: ids selected for a smaller drop end there.

        One failure ends the sequence, and with a handful of labels a rule fails by bad luck.
        """
        if not self.only_different:
            return list(path)
        least = max(lowest, worth_labelling(fit, targets)[0])
        path = [rules for rules in path if rules[0] is not None and least <= rules[0].limit]
        if targets.max_drop is None:
            return path
        wrong = fit.table.first.correct < 0.5
        share = [float((np.asarray(fit.outcome(rules).kept) & wrong).mean()) for rules in path]
        rate = int(self.gold.sum()) / max(share, default=1.0) if any(share) else 0.0
        worth = [s <= SURE * targets.max_drop or s * rate >= ENOUGH_GOLD for s in share]
        return [rules for rules, good in zip(path, worth, strict=True) if good] or path

    def pvalues(
        self, targets: Targets, test: ScoredTable, outcome: CascadeAnswers, *, cap_usd: float
    ) -> dict[str, float]:
        """p-value of each target being missed; the cost needs no label, a risk those of the kept gold rows."""
        kept = np.asarray(outcome.kept)
        found: dict[str, float] = {}
        if targets.max_drop is not None:
            losses, gains, labelled = self.counts(test, kept)
            within = not (self.gold & ~self.different).any()
            found["max_drop"] = few_label_drop_pvalue(
                int((kept & self.different).sum()), len(test), losses, gains,
                labelled if within else int(self.gold.sum()), targets.max_drop, delta=targets.delta, within=within,
                decisive=labelled,
            )  # fmt: skip
        if targets.max_risk is not None:
            labelled = kept & self.gold
            wrong = int((test.table.first.correct[labelled] < 0.5).sum())
            found["max_risk"] = share_pvalue(wrong, int(labelled.sum()), targets.max_risk)
        if targets.max_cost_usd is not None:
            found["max_cost_usd"] = cost_pvalue(targets, outcome, cap_usd)
        return found

    def counts(self, test: ScoredTable, kept: Any) -> tuple[int, int, int]:
        """Losses, gains and rows, of the gold rows that are kept and different."""
        at = kept & self.gold & self.different
        gap = (test.table.last.correct - test.table.first.correct)[at]
        return int((gap > 0.5).sum()), int((gap < -0.5).sum()), int(np.sum(at))

    def drop_interval(self, test: ScoredTable, kept: Any) -> Interval:
        """The drop of rules that keep these rows, at 95 %: the share kept and different times the mean drop there.

        A tenth of the 5 % is spent on exact bounds of the share, the rest on the mean over its labelled rows. Without
        one the value assumes that all are losses, and the interval reaches from all gains to all losses.
        """
        n, different, at = len(test), int((kept & self.different).sum()), kept & self.gold & self.different
        if not at.any():
            most = share_upper(different, n, MISS)
            return Interval(different / n, -most, most)
        least, most = (bound(different, n, SHARE_RISK * MISS / 2) for bound in (share_lower, share_upper))
        z = NormalDist().inv_cdf(1 - (1 - SHARE_RISK) * MISS / 2)
        gap = paired_share_interval(test.table.last.correct[at], test.table.first.correct[at], z=z)
        ends = [share * end for share in (least, most) for end in (gap.low, gap.high)]
        return Interval(different / n * gap.value, min(ends), max(ends))


def worth_labelling(fit: ScoredTable, targets: Targets) -> tuple[float, float]:
    """(score, share): no rule worth trying keeps scores under it, and the share of rows above that differ."""
    limit = WORTH_LABELLING * max(targets.max_drop or 0.0, 0.0)
    score = fit.scores[0]
    order = np.argsort(-np.where(np.isnan(score), -np.inf, score), kind="stable")
    share = np.cumsum(fit.table.first.correct[order] < 0.5) / len(fit)
    inside = np.flatnonzero((share <= limit) & ~np.isnan(score[order]))
    at = int(inside[-1]) if len(inside) else 0
    return float(score[order][at]), float(share[at])
