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

Open-ended answers have no correctness, and their texts nearly always differ. There a judge compares the two, D is what
people say (1: they prefer the last model's answer, -1: the kept one, 0: a tie), stored as `correct` of both models (the
preferred one right, both for a tie), and the judge's verdicts J stand for it on all rows: they fit the map, lay out the
path, and from `ENOUGH_TO_COMPARE` labels on sharpen the test (`rectified`). The guarantee is about D, whatever J is.

Source: Angelopoulos et al. 2023, arXiv:2301.09633 (prediction-powered inference), and arXiv:2311.01453 (PPI++); here
with exact tests in the place of their normal intervals, and the nuisance as Berger and Boos 1994 (JASA 89(427)).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np

from corea.calibrate.exact_tests import exact_drop_pvalue, mean_pvalue, share_lower, share_pvalue, share_upper
from corea.calibrate.rules import CascadeAnswers, Rules, ScoredTable
from corea.calibrate.targets import Targets, cost_pvalue
from corea.errors import ConfigError, DataError
from corea.metrics import Interval, paired_share_interval
from corea.metrics.arrays import Floats
from corea.records.table import OutcomeTable

SHARE_RISK = 0.1  # of delta: the probability that P(K and X) is outside its bound
WORTH_LABELLING = 8.0  # rows are labelled up to a share kept and different of so many times the drop
ODD_SAMPLE = 0.0002  # chance at which gold labels drawn at random are refused, on each side
MISS = 0.05  # chance that an interval misses
WORTH_JUDGED = 3.0  # with a judge: up to a drop by its verdicts of so many times the one asked for
ENOUGH_TO_COMPARE = 200  # labels among the kept and different from which the judge sharpens the test
TRUST, TRUST_SPREAD = 0.5, 5.0  # weight of a verdict before any label is seen, which counts for about ten labels
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
    risk, share = SHARE_RISK * delta, _bound_of_share(different, n, drop, delta)
    if share < drop:
        return risk
    limit = drop if not within else drop / share if share > 0 else 0.0
    if not gold or decisive == 0 or not -1 < limit < 1:
        return 1.0
    return min(1.0, risk + exact_drop_pvalue(losses, gains, gold, limit))


def _bound_of_share(different: int, n: int, drop: float, delta: float) -> float:
    """The bound of P(K and X) that is unfavourable for this drop, which fails with a tenth of delta."""
    return (share_upper if drop > 0 else share_lower)(different, n, SHARE_RISK * delta)


def rectified(said: Floats, judged: Floats, others: Floats) -> Floats:
    """(n,) values with the mean of `said`, which vary less where a judge agrees with people.

    Each label takes with it an equal part of the judge's verdicts on unlabelled rows: D - w (J - mean of J there). The
    rows are draws of one population, so that the mean is that of D for any weight w; w is the slope of D on J over the
    labels before, from 0 to 1.

    Args:
        said: (n,) D of the labelled rows, in random order. `judged`: (n,) J there. `others`: (m,) J elsewhere, m >= n.

    Returns:
        Each in [-3, 3].

    Source: Angelopoulos et al. 2023, arXiv:2301.09633, with the weight of arXiv:2311.01453, chosen from the labels
    before as in Csillag et al. 2025, arXiv:2502.04294; in equal parts, so that values are independent given the weight.
    """
    n, part = len(said), np.arange(len(others)) * len(said) // len(others)
    gap = judged - np.bincount(part, weights=others, minlength=n) / np.bincount(part, minlength=n)
    slope = (TRUST * TRUST_SPREAD + np.cumsum(said * gap)) / (TRUST_SPREAD + np.cumsum(gap * gap))
    weight = np.clip(np.concatenate([[TRUST], slope[:-1]]), 0.0, 1.0)
    return said - weight * gap


@dataclass(frozen=True, slots=True, kw_only=True)
class FewLabels:
    """Which rows are labelled, and on which the answers differ; arrays are (N,).

    Args:
        gold: True where both models' answers are labelled.
        different: True where the two answers differ; unknown answers count as such.
        only_different: Gold labels were given only where answers differ.
        judged: A judge's verdicts, as in `ModelOutcomes`; None: labels are grades.
    """

    gold: Any
    different: Any
    only_different: bool
    judged: Any = None

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
        only = bool(gold.any() and not (gold & ~different).any())
        found = cls(gold=gold, different=different, only_different=only, judged=small.judged)
        found.check_verdicts()
        found.proxy(table).check()
        found.check_share()
        if found.only_different and targets.max_risk is not None and found.judged is None:
            raise ConfigError("few labels: --max-risk needs gold labels drawn from all rows, got only differing ones")
        return found

    def check_verdicts(self) -> None:
        """Refuses a judge from whom no order of the answers can be learnt."""
        if self.judged is not None and not 0 < int((self.judged > 0).sum()) < len(self.judged):
            side = "every" if (self.judged > 0).all() else "no"
            raise DataError(
                f"judge: it prefers the large model's answer to {side} draft, expected to some; see its replies in the "
                "folder of the answers, and change its prompt or model"
            )

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
        judged = None if self.judged is None else self.judged[at]
        return replace(self, gold=self.gold[at], different=self.different[at], judged=judged)

    def proxy(self, table: OutcomeTable) -> OutcomeTable:
        """The table with agreement with the last model in the place of correctness, or the judge's verdicts."""
        if self.judged is not None:
            first, last = labels_of(self.judged)
            return table.change(0, correct=first).change(-1, correct=last)
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
        asked = score >= worth_labelling(fit, targets)
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
        least = max(lowest, worth_labelling(fit, targets))
        path = [rules for rules in path if rules[0] is not None and least <= rules[0].limit]
        if targets.max_drop is None:
            return path
        different = ~(fit.table.first.agreement == 1)
        share = [float((np.asarray(fit.outcome(rules).kept) & different).mean()) for rules in path]
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
            found["max_drop"] = self.drop_pvalue(targets.max_drop, targets.delta, test, kept)
        if targets.max_risk is not None:
            labelled = kept & self.gold  # where a judge is, equal answers are not labelled, and none is worse
            wrong = int((test.table.first.correct[labelled] < 0.5).sum())
            found["max_risk"] = share_pvalue(wrong, int(labelled.sum()), targets.max_risk)
        if targets.max_cost_usd is not None:
            found["max_cost_usd"] = cost_pvalue(targets, outcome, cap_usd)
        return found

    def drop_pvalue(self, drop: float, delta: float, test: ScoredTable, kept: Any) -> float:
        """p-value of the drop being missed by rules that keep these rows, at level `delta` only."""
        (losses, gains, labelled), decisive = self.counts(test, kept), kept & self.different
        within = not (self.gold & ~self.different).any()
        others = int(decisive.sum()) - labelled
        if self.judged is not None and within and others >= labelled >= ENOUGH_TO_COMPARE:
            share = _bound_of_share(int(decisive.sum()), len(test), drop, delta)
            if share > drop and share > 0 and -share < drop:
                at, risk = decisive & self.gold, SHARE_RISK * delta
                said = (test.table.last.correct - test.table.first.correct)[at]
                values = rectified(said, self.judged[at], self.judged[decisive & ~self.gold])
                return min(1.0, risk + mean_pvalue(values, drop / share, low=-3.0, high=3.0, delta=delta - risk))
        return few_label_drop_pvalue(
            int(decisive.sum()), len(test), losses, gains, labelled if within else int(self.gold.sum()), drop,
            delta=delta, within=within, decisive=labelled,
        )  # fmt: skip

    def counts(self, test: ScoredTable, kept: Any) -> tuple[int, int, int]:
        """Losses, gains and rows, of the gold rows that are kept and different."""
        at = kept & self.gold & self.different
        gap = (test.table.last.correct - test.table.first.correct)[at]
        return int((gap > 0.5).sum()), int((gap < -0.5).sum()), int(np.sum(at))

    def agreement(self, test: ScoredTable) -> float | None:
        """Share of the labelled rows at which the judge says what people say; None without a judge or a label."""
        if self.judged is None or not self.gold.any():
            return None
        said = (test.table.last.correct - test.table.first.correct)[self.gold]
        return float(np.mean(np.sign(self.judged[self.gold]) == said))

    def worth(self, test: ScoredTable, fit: ScoredTable, targets: Targets) -> Any:
        """Indices of the rows of the test whose labels are worth having, by a map and path of the rows that fitted."""
        with np.errstate(invalid="ignore"):
            return np.flatnonzero(self.different & (test.scores[0] >= worth_labelling(fit, targets)))

    def enough(self, test: ScoredTable, fit: ScoredTable, targets: Targets) -> int | None:
        """Labels, selected for these targets, that would probably (4 in 5) certify some saving; None: not known.

        From the judge's verdicts, corrected by what the labels there are say on average; a normal approximation.
        """
        if self.judged is None or targets.max_drop is None:
            return None
        score, d = np.where(np.isnan(test.scores[0]), -np.inf, test.scores[0]), targets.max_drop
        said, known = test.table.last.correct - test.table.first.correct, self.gold & self.different
        labelled = int(known.sum()) >= ENOUGH_GOLD
        shift = float((said - self.judged)[known].mean()) if labelled else 0.0
        region = self.worth(test, fit, targets)
        region = region[np.argsort(-score[region], kind="stable")]  # equal scores: a share of them may be kept
        z = NormalDist().inv_cdf(1 - (1 - SHARE_RISK) * targets.delta) + NormalDist().inv_cdf(0.8)
        needed: list[float] = []
        for count in np.unique((np.arange(0.05, 1.01, 0.05) * len(region)).astype(int))[-20:]:
            kept = region[: max(count, 1)]
            saves = float(test.table.last.cost_usd[kept].sum() - test.table.first.full_cost_usd.sum())
            limit = d / _bound_of_share(len(kept), len(test), d, targets.delta)
            gap = limit - float(self.judged[kept].mean()) - shift
            spread = float(np.std(said[known] if labelled else self.judged[kept]))
            if gap > 0 and saves > 0:
                needed.append(max((z * max(spread, 0.1) / gap) ** 2, ENOUGH_GOLD) * len(region) / len(kept))
        return round(min(needed)) if needed else None

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


def labels_of(preferred: Floats) -> tuple[Floats, Floats]:
    """`correct` of the first and the last model for preferences: 1 the last one's answer, -1 the first's, 0 a tie."""
    known = ~np.isnan(preferred)
    return np.where(known, preferred <= 0, np.nan), np.where(known, preferred >= 0, np.nan)


def worth_labelling(fit: ScoredTable, targets: Targets) -> float:
    """The score under which no rule worth trying keeps answers, by agreement, or by a judge's verdicts."""
    score, models = fit.scores[0], fit.table
    order = np.argsort(-np.where(np.isnan(score), -np.inf, score), kind="stable")
    times = WORTH_LABELLING if models.first.judged is None else WORTH_JUDGED
    drop = np.cumsum((models.last.correct - models.first.correct)[order]) / len(fit)
    inside = np.flatnonzero((drop <= times * max(targets.max_drop or 0.0, 0.0)) & ~np.isnan(score[order]))
    return float(score[order][int(inside[-1]) if len(inside) else 0])
