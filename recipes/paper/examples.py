"""A method's reliability and its most confident mistakes, for a report."""

from typing import Any

import numpy as np

from corea.metrics import reliability_bins
from corea.metrics.arrays import Floats
from recipes.paper.answers import Part
from recipes.paper.comparison_table import MethodOutcome

SHOWN = 3
LONGEST = 700  # characters of a text that a report shows


def reliability(score: Floats, right: Floats) -> dict[str, Any]:
    """Reliability bins of a score."""
    stated = ~np.isnan(score)
    s, y = score[stated], right[stated]
    bars = reliability_bins(s, y) if len(s) else []
    return {"bins": [{"confidence": b.confidence, "accuracy": b.accuracy, "count": b.count} for b in bars]}


def failures(played: MethodOutcome, judged: Part) -> list[dict[str, Any]]:
    """Mistakes of a method, surest first: kept, wrong, though the LLM is right; of a model alone, any wrong."""
    large, small = judged.answers["llm"], judged.answers[played.method.role]
    bad = (played.keep > 0) & (played.right < 0.5) & (large.correct > 0.5)
    if played.method.role == "llm":
        bad = large.correct < 0.5
    order = np.argsort(-np.nan_to_num(played.score, nan=-1.0), kind="stable")
    found: list[dict[str, Any]] = []
    for i in [int(k) for k in order if bad[k]][:SHOWN]:
        question = judged.questions[i]
        found.append(
            {
                "id": question.id,
                "category": question.category,
                "question": _short(question.text),
                "reference": question.reference,
                "said": small.extracted[i],
                "text": _short(small.texts[i]),
                "llm_said": large.extracted[i],
                "score": None if np.isnan(played.score[i]) else float(played.score[i]),
            }
        )
    return found


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[:LONGEST] + " …"
