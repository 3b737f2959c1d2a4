"""Cuts: candidate thresholds between and within the values of a score, and what each keeps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from corea.calibrate.tables import Pairs
from corea.metrics.arrays import Floats
from corea.policies.threshold import uniform_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Keep where the score is above tau, and a share `tie_keep` of those at tau.

    Args:
        skip: Categories for which the small model is not asked at all.
        abstain_below: Scores under it go to a person; None: none do.
    """

    tau: float
    tie_keep: float = 1.0
    skip: tuple[str, ...] = ()
    abstain_below: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Rows with their scores and the fixed draws that decide ties; arrays are (N,).

    Args:
        slices: The names of the categories; empty where none was recorded.
        slice_of: Each row's place in `slices`.
    """

    pairs: Pairs
    score: Floats
    draw: Floats
    slices: tuple[str, ...]
    slice_of: Any

    @classmethod
    def of(cls, pairs: Pairs, score: Floats) -> "Sample":
        """With the draws that the policy will make for these very ids."""
        slices, slice_of = (), np.zeros(len(pairs), dtype=int)
        if pairs.category is not None:
            slices, slice_of = np.unique(pairs.category.astype(str), return_inverse=True)
        draw = np.array([uniform_of(str(key)) for key in pairs.ids])
        return cls(pairs=pairs, score=score, draw=draw, slices=tuple(map(str, slices)), slice_of=slice_of)

    def __len__(self) -> int:
        return len(self.score)

    def take(self, at: Any) -> "Sample":
        """The rows at these places."""
        return replace(
            self, pairs=self.pairs.take(at), score=self.score[at], draw=self.draw[at], slice_of=self.slice_of[at]
        )

    def asked(self, cut: Cut) -> Any:
        """(N,) whether the small model is asked."""
        if not cut.skip or not self.slices:
            return np.ones(len(self), dtype=bool)
        return np.array([name not in cut.skip for name in self.slices])[self.slice_of]

    def kept(self, cut: Cut) -> Any:
        """(N,) whether the small model's answer is kept."""
        if cut.tie_keep >= 1:
            kept = self.score >= cut.tau
        else:
            kept = (self.score > cut.tau) | ((self.score == cut.tau) & (self.draw < cut.tie_keep))
        return kept & self.asked(cut) if cut.skip else kept

    def abstained(self, cut: Cut) -> Any:
        """(N,) whether neither answers."""
        if cut.abstain_below is None:
            return np.zeros(len(self), dtype=bool)
        return (self.score < cut.abstain_below) & self.asked(cut) & ~self.kept(cut)

    def cost(self, cut: Cut) -> Floats:
        """(N,) USD a question: the small model where asked, the large one where it answers."""
        deferred = ~(self.kept(cut) | self.abstained(cut))
        return self.pairs.slm_cost * self.asked(cut) + self.pairs.llm_cost * deferred

    def correct(self, cut: Cut) -> Floats:
        """(N,) whether the cascade's answer is right; an abstention counts as not wrong (a person answers)."""
        out = np.where(self.kept(cut), self.pairs.slm_correct, self.pairs.llm_correct)
        return np.where(self.abstained(cut), 1.0, out)


NOTHING = Cut(tau=float("inf"), tie_keep=0.0)


def cuts_at(score: Floats, coverages: Sequence[float]) -> list[Cut]:
    """Cuts that would keep these shares of the scores, cautious to bold; between distinct values where there is room.

    Shares that fall inside a tie keep a part of it, in steps of 0.05.
    """
    measured = np.sort(score[~np.isnan(score)])[::-1]
    found: dict[Cut, None] = {}
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
            found[Cut(tau=tau, tie_keep=share)] = None
    return list(found)
