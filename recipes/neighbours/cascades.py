"""Cascades: COREA's ways, and published rules for the threshold of a score of the small model's answer.

Where a rule needs a score, it gets that of COREA's own map, fitted on the same rows as COREA's, and is calibrated on
the rows that COREA tests on: the score is the same, and only the way to the threshold differs.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from corea.calibrate import FitOptions
from corea.calibrate.certify import certify
from corea.calibrate.prepare import prepare
from corea.calibrate.rules import ScoredTable
from corea.errors import ConfigError
from corea.metrics.arrays import Floats
from corea.metrics.score_map import ScoreMap, apply_map
from recipes.neighbours.features import cross_fitted, text_features
from recipes.neighbours.problem import MAX_DROP, TARGET, Choice, Decide, Fit, Rows, cheapest_threshold

TOKEN_SIGNAL = "mean_token_probability"


def corea(options: FitOptions, *, view: Callable[[Rows], Rows] = lambda rows: rows) -> Fit:
    """COREA's certified rules. `view`: the columns that this way may read."""

    def fit(rows: Rows, seed: int) -> Decide | None:
        try:
            found = certify(view(rows).table, TARGET, replace(options, seed=seed))
        except ConfigError:  # too few questions that only the large model answers: nothing to learn a router from
            return None
        if found.rules is None or (rule := found.rules[0]) is None:
            return None

        def decide(new: Rows) -> Choice:
            scored = ScoredTable.mapped(view(new).table, found.prepared.maps, None, found.prepared.router)
            extra, opinion = scored.table.first.opinion_cost_usd, scored.opinion_asked(0, rule)
            spent = 0.0 if extra is None else np.where(opinion, extra, 0.0)
            return Choice(asked=scored.asked(0, rule), kept=scored.kept(0, rule), extra_usd=spent)

        return decide

    return fit


def stated_only(rows: Rows) -> Rows:
    """Of the signals, the stated number alone."""
    plain = {"confidence": rows.table.first.confidence}
    return replace(rows, table=rows.table.change(0, signals=plain, completion_tokens=None))


def with_opinion(rows: Rows) -> Rows:
    """The second opinion too."""
    assert rows.opinions is not None
    return replace(rows, table=rows.opinions)


def nothing_stated(rows: Rows) -> Rows:
    """No signal of the answer: where the small model is asked, its answer is kept."""
    sure = {"confidence": np.ones(len(rows))}
    return replace(rows, table=rows.table.change(0, signals=sure, completion_tokens=None))


def shared_score(rows: Rows, seed: int) -> tuple[ScoreMap, Rows, Floats]:
    """COREA's map, the rows that it was not fitted on, and their scores."""
    ready = prepare(rows.table, FitOptions(seed=seed), target=TARGET.score_target)
    at = {key: i for i, key in enumerate(rows.table.ids)}
    rest = rows.take([at[key] for key in ready.test.table.ids])
    return ready.maps[0], rest, apply_map(ready.maps[0], rest.table.columns(0))


def validation(rows: Rows, seed: int) -> Decide | None:
    """The cheapest threshold that meets the target on validation rows, of the same score, without a test."""
    stored, rest, score = shared_score(rows, seed)
    tau = cheapest_threshold(score, rest)
    return None if tau is None else lambda new: Choice.cascade(apply_map(stored, new.table.columns(0)) >= tau)


def validation_stated(rows: Rows, seed: int) -> Decide | None:
    """The same for the stated number, on all labelled rows."""
    tau = cheapest_threshold(rows.table.first.confidence, rows)
    return None if tau is None else lambda new: Choice.cascade(new.table.first.confidence >= tau)


def published_corea(rows: Rows, seed: int) -> Decide | None:
    """Keep where the stated number is at least the large model's accuracy (the paper's rule)."""
    tau = float(rows.table.last.correct.mean())
    return lambda new: Choice.cascade(new.table.first.confidence >= tau)


def ucci(rows: Rows, seed: int) -> Decide | None:
    """Isotonic regression from a token signal to the probability that the answer is right, on three fifths of the rows.

    The threshold is the cheapest that meets the target on the other rows. The signal is the mean token probability, for
    the margin of the two likeliest tokens; the stated number where no token signal was recorded.

    Source: Kotte 2026, arXiv:2605.18796, sec. 4 and 6.1.
    """
    from sklearn.isotonic import IsotonicRegression

    def signal(some: Rows) -> Floats:
        found = some.table.first.signals.get(TOKEN_SIGNAL, some.table.first.confidence)
        return np.where(np.isnan(found), -1.0, found)

    order, n = np.random.default_rng(seed).permutation(len(rows)), 3 * len(rows) // 5
    fit, choose = rows.take(order[:n]), rows.take(order[n:])
    model = IsotonicRegression(out_of_bounds="clip").fit(signal(fit), fit.table.first.correct)
    tau = cheapest_threshold(model.predict(signal(choose)), choose)
    return None if tau is None else lambda new: Choice.cascade(model.predict(signal(new)) >= tau)


def frugal(rows: Rows, seed: int) -> Decide | None:
    """A trained scorer of question and answer, and the optimiser of its threshold: the most accurate under a budget.

    The budget is the smallest that meets the target on the labelled rows.

    The scorer is a logistic regression on word features (on the signals where no text was recorded) instead of
    DistilBERT, whose weights are not part of the package; the optimiser tries 40 quantiles, as the original.

    Source: Chen et al. 2023, arXiv:2305.05176; stanford-futuredata/FrugalGPT, src/FrugalGPT/{scoring,optimizer}.py.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    inputs = text_features(answer_texts(rows)) if rows.texts else StandardScaler().fit(answer_signals(rows))

    def read(some: Rows) -> Any:
        return inputs.transform(answer_texts(some) if some.texts else answer_signals(some))

    right = rows.table.first.correct.astype(int)
    model, score = cross_fitted(LogisticRegression(C=10, max_iter=500), read(rows), right, seed)
    tau = _budget_optimum(score, rows)
    return None if tau is None else lambda new: Choice.cascade(model.predict_proba(read(new))[:, 1] >= tau)


def answer_texts(rows: Rows) -> tuple[str, ...]:
    """Question and answer of each row."""
    drafts = [""] * len(rows) if rows.drafts is None else rows.drafts
    return tuple(f"{question}\n{draft}" for question, draft in zip(rows.texts, drafts, strict=True))


def answer_signals(rows: Rows) -> Any:
    """(N, K) signals, 0 where one was not measured."""
    columns = [np.asarray(values, dtype=float) for values in rows.table.first.signals.values()]
    return np.nan_to_num(np.stack(columns, axis=1), nan=0.0)


def _budget_optimum(score: Floats, rows: Rows, quantiles: int = 40) -> float | None:
    taus = np.quantile(score, np.linspace(0, 1, quantiles))
    kept = score >= taus[:, None]
    lost = np.where(kept, rows.lost, 0.0).mean(axis=1)
    cost = rows.table.first.cost_usd.mean() + np.where(kept, 0.0, rows.table.last.cost_usd).mean(axis=1)
    alone = rows.table.last.cost_usd.mean()
    for budget in np.linspace(0.02, 1, 50) * alone:
        within = np.flatnonzero(cost <= budget)
        if len(within) and lost[best := within[np.argmin(lost[within])]] <= MAX_DROP:
            return float(taus[best])
    return None
