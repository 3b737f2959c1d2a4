# pyright: basic
# (torch and transformers are only partly typed)
"""Figures of a model's greedy answers to held-out questions, with intervals: accuracy, and both confidences' value."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from corea.graders import AutoGrader, grade_all
from corea.metrics.intervals import wilson_interval
from corea.parsing import find_confidence
from corea.prompts import Prompt
from corea.train.advantages import token_span
from corea.train.confidence_credit import as_tensor, catch_logits, digit_places, digit_tokens, expected_numbers
from corea.train.data import messages
from corea.train.group import RolloutFact, facts_of
from corea.train.rollout_metrics import Measured, calibration, expectation
from corea.types import Question

NAMES = ("brier", "ece", "auroc", "expected_brier", "expected_ece", "expected_auroc")


def answer_all(
    folder: str, questions: Sequence[Question], prompt: Prompt, *, max_tokens: int, batch: int = 50
) -> tuple[Measured, list[str]]:
    """Facts, expected confidences and texts of greedy answers; weights and arithmetic in bfloat16."""
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
    texts: list[str] = []
    expected: list[float] = []
    for start in range(0, len(questions), batch):
        some = [messages(prompt, question) for question in questions[start : start + batch]]
        asked = tokenizer.apply_chat_template(
            some, add_generation_prompt=True, return_tensors="pt", padding=True, return_dict=True
        )
        with torch.no_grad():
            whole = model.generate(**asked, do_sample=False, max_new_tokens=max_tokens)
            written = whole[:, asked["input_ids"].shape[1] :]
            texts += tokenizer.batch_decode(written, skip_special_tokens=True)
            expected += expected_of(model, tokenizer, asked, written)
    verdicts = grade_all(AutoGrader(), list(zip(questions, texts, strict=True)))
    facts = [facts_of(verdict, n, text) for n, (verdict, text) in enumerate(zip(verdicts, texts, strict=True))]
    return (facts, expected), texts


def expected_of(model: Any, tokenizer: Any, asked: Any, written_BT: torch.Tensor) -> list[float]:
    """(B,) the mean of the stated number under the model's probabilities of its digits; nan where there is none."""
    digits = digit_tokens(tokenizer)
    places_B: list[list[int]] = []
    for ids in written_BT.tolist():
        ids = ids[: ids.index(tokenizer.eos_token_id)] if tokenizer.eos_token_id in ids else ids
        text = tokenizer.decode(ids)
        stated = find_confidence(text)
        span = token_span(ids, text, stated.start, stated.end, tokenizer.decode) if stated else None
        places_B.append(digit_places(ids, span, text[stated.start : stated.end], digits) if stated and span else [])
    at_BN = as_tensor(places_B)
    rows_N, which_N = (at_BN >= 0).nonzero(as_tuple=True)
    columns_N = asked["input_ids"].shape[1] - 1 + at_BN[rows_N, which_N]
    ids = torch.cat([asked["input_ids"], written_BT], dim=1)
    mask = torch.cat([asked["attention_mask"], torch.ones_like(written_BT)], dim=1)
    with catch_logits(model, rows_N, columns_N) as caught:
        model(input_ids=ids, attention_mask=mask, logits_to_keep=1)
    return expected_numbers(caught[0][:, digits], at_BN).tolist()


def summary(measured: Measured, *, resamples: int = 1000) -> dict[str, Any]:
    """Each figure with its 95 % interval: Wilson's for shares, a bootstrap over questions for the others."""
    facts, expected = np.array(measured[0]), np.array(measured[1])
    n = len(facts)
    found: dict[str, Any] = {"questions": n}
    for name, column in (("accuracy", RolloutFact.CORRECT), ("formed", RolloutFact.FORMED)):
        interval = wilson_interval(float(facts[:, column].sum()), n)
        found[name] = [interval.value, interval.low, interval.high]
    there = ~np.isnan(facts[:, RolloutFact.STATED])
    found["stated"] = float(there.mean())
    if not there.any():
        return found

    def figures(at: np.ndarray) -> list[float]:
        some = calibration(facts[at].tolist()) | expectation(facts[at].tolist(), expected[at].tolist())
        return [some.get(name, np.nan) for name in NAMES]

    rng = np.random.default_rng(0)
    drawn = np.array([figures(rng.integers(n, size=n)) for _ in range(resamples)])
    for name, value, column in zip(NAMES, figures(np.arange(n)), drawn.T, strict=True):
        found[name] = [value, *np.nanpercentile(column, [2.5, 97.5]).tolist()]
    stated = facts[there, RolloutFact.STATED]
    found["stated_mean"], found["stated_values"] = float(stated.mean()), len(np.unique(stated))
    found["expected_mean"], found["expected_std"] = float(np.nanmean(expected)), float(np.nanstd(expected))
    return found
