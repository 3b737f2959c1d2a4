"""Simulated pairs of models with known truth."""

from typing import Any

import numpy as np

from corea.records.table import ModelOutcomes, OutcomeTable

STATED = np.array([0.6, 0.7, 0.8, 0.9, 0.95, 1.0])


def simulated_pairs(
    n: int, *, seed: int = 0, slm: float = 0.6, llm: float = 0.85, sharp: float = 1.5, tied: bool = True,
    skew: float = 0.5, slm_price: float = 1.0, columns: bool = False, start: int = 0,
) -> OutcomeTable:  # fmt: skip
    """Questions of varying ease; both models find the same ones hard, and the stated confidence follows `sharp`.

    Args:
        sharp: How well confidence tells right from wrong; 0 is useless, below 0 inverted.
        tied: Stated in six values, most at the top; else continuous.
        skew: Spread of the log cost.
        slm_price: Tenths of the LLM's mean cost that a question costs the SLM.
        columns: Also a second signal, token counts and two categories.
        start: Number of the first question's id.
    """
    rng = np.random.default_rng(seed)
    ease = rng.normal(size=n)
    slm_right = rng.random(n) < 1 / (1 + np.exp(-(np.log(slm / (1 - slm)) + 1.2 * ease)))
    llm_right = rng.random(n) < 1 / (1 + np.exp(-(np.log(llm / (1 - llm)) + 0.8 * ease)))
    latent = sharp * (slm_right - 0.5) + rng.normal(size=n)
    rank = np.clip((latent + 3) / 6, 0, 1)
    confidence = STATED[np.clip((rank * 6).astype(int), 0, 5)] if tied else rank
    confidence = np.where(rng.random(n) < 0.02, np.nan, confidence)
    signals, tokens, categories = {"confidence": confidence}, None, None
    if columns:
        signals["mean_token_probability"] = np.clip(0.5 + 0.2 * (slm_right - 0.5) + 0.15 * rng.normal(size=n), 0, 1)
        tokens = np.round(np.exp(5 - 0.3 * ease + 0.4 * rng.normal(size=n))).astype(np.float64)
        categories = np.where(ease + rng.normal(size=n) > 0, "easy", "hard").astype(object)
    cost = np.exp(skew * rng.normal(size=n) - skew**2 / 2) * 1e-3
    small = ModelOutcomes(
        name="small", correct=slm_right.astype(float), cost_usd=np.full(n, slm_price * 1e-4), signals=signals,
        completion_tokens=tokens,
    )  # fmt: skip
    large = ModelOutcomes(name="large", correct=llm_right.astype(float), cost_usd=cost)
    ids = np.array([f"q{start + i}" for i in range(n)], dtype=object)
    return OutcomeTable(ids=ids, models=(small, large), categories=categories)


POPULATIONS: dict[str, dict[str, Any]] = {
    "ties": {},
    "continuous": {"tied": False},
    "skewed costs": {"skew": 2.0},
    "useless signal": {"sharp": 0.0},
    "inverted signal": {"sharp": -1.5},
    "several signals": {"columns": True},
}
