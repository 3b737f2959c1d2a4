"""The recorded pairs that the calibration's promises are tried on, from a folder with traces/ (see its README).

Prices are USD per million completion tokens and stand for ratios. Where tokens were not recorded, four characters of
the answer are one. MMLU of RouteLLM has neither a confidence nor a length: both are simulated there, by seed.

MMLU-Pro records three signals. The stated number and the token probabilities can be measured live; the linguistic
confidence comes from a judge model that reads the answer, whose cost was not recorded, and is read where asked for.
"""

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from corea.records.answer import AnswerSet
from corea.records.join import join_answers
from corea.records.read import RowSource, read_answers
from corea.records.table import ModelOutcomes, OutcomeTable

SMALL, LARGE = "mmlu_pro_verbalized_small.jsonl.gz", "mmlu_pro_verbalized_large.jsonl.gz"
MMLU_PRO = {  # names and price ratios; the targets of the project are the first three, the others developed the map
    "gpt-4.1-nano -> gpt-4.1": (SMALL, "gpt-4.1-nano", "gpt-4.1", 20),
    "Qwen3-8B -> deepseek-reasoner": (SMALL, "Qwen3-8B", "deepseek-reasoner", 20),
    "Qwen2.5-7B -> 32B": (SMALL, "Qwen2.5-7B-Instruct", "Qwen2.5-32B-Instruct", 4),
    "claude-3-haiku -> claude-3.7-sonnet": (SMALL, "claude-3-haiku-20240307", "claude-3-7-sonnet-20250219", 12),
    "Qwen3-4B -> Qwen3-235B": (SMALL, "Qwen3-4B", "Qwen3-235B-A22B-fp8-tput", 20),
    "gemma-2-9b -> Llama-3.1-405B": (SMALL, "gemma-2-9b-it", "Meta-Llama-3.1-405B-Instruct-Turbo", 20),
    "gpt-4o-mini -> claude-3.7-sonnet": (LARGE, "gpt-4o-mini-2024-07-18", "claude-3-7-sonnet-20250219", 20),
    "Qwen2.5-14B -> Llama-3.1-405B": (LARGE, "Qwen2.5-14B-Instruct", "Meta-Llama-3.1-405B-Instruct-Turbo", 20),
    "Llama-3.1-8B -> gpt-4o-mini": (SMALL, "Meta-Llama-3.1-8B-Instruct-Turbo", "gpt-4o-mini-2024-07-18", 10),
}
TARGETS, DEVELOPED_ON = list(MMLU_PRO)[:3], list(MMLU_PRO)[3:]
GSM8K, CSQA, ROUTELLM = "GSM8K 1.5B t2 -> gpt-4o-mini", "CommonsenseQA RLCR -> gpt-4o-mini", "MMLU RouteLLM, simulated"


# np.exp(logprobs).mean() in utils/post_processing_confidence.py of its source: the signal of COREA by this name
OUR_NAMES = {"logit_confidence": "mean_token_probability"}
RECORDED = "linguistic_confidence"


def mmlu_pro(folder: Path, name: str, *, recorded: bool = False) -> OutcomeTable:
    file, slm, llm, ratio = MMLU_PRO[name]
    files = [folder / "traces" / each for each in (file, LARGE)]
    return mmlu_pro_table(files, {slm: 1.0, llm: float(ratio)}, recorded=recorded)


def mmlu_pro_table(files: Sequence[Path], prices: Mapping[str, float], *, recorded: bool = False) -> OutcomeTable:
    """The models' answers, from small to large; `recorded` adds the linguistic confidence.

    Args:
        files: One for each model, or all models in each.
        prices: By model, USD per million completion tokens.
    """
    each = [[path] for path in files] if len(files) == len(prices) else [files] * len(prices)
    sets = [
        our_names(read_answers(RowSource(paths=paths, model=model))) for paths, model in zip(each, prices, strict=True)
    ]
    there = {name for one in sets[:-1] for answer in one.answers.values() for name in answer.numbers}
    signals = [name for name in ("confidence", *OUR_NAMES.values(), RECORDED) if name in there] if recorded else None
    return join_answers(sets, prices={name: (0.0, price) for name, price in prices.items()}, signals=signals)


def our_names(answers: AnswerSet) -> AnswerSet:
    """The answers with the names that COREA has for their columns."""
    found = {
        key: replace(each, numbers={OUR_NAMES.get(name, name): value for name, value in each.numbers.items()})
        for key, each in answers.answers.items()
    }
    return replace(answers, answers=found)


def others(folder: Path) -> dict[str, OutcomeTable]:
    """The pairs of other data sets, by name."""
    traces = folder / "traces"
    judge = ("gpt-4o-mini-2024-07-18", "cot")
    gsm = rows_of(traces / "gsm8k_anytime_qwen2.5-math-1.5b.jsonl.gz")
    student = next(rows for (model, kind), rows in gsm.items() if "main adapter" in model and kind == "t2")
    csqa = rows_of(traces / "commonsenseqa_rlcr_qwen2.5-7b.jsonl.gz")[("Qwen2.5-7B RLCR-hotpot", "RLCR")]
    return {
        GSM8K: joined(student, rows_of(traces / "gsm8k_re2_openai.jsonl.gz")[judge], ratio=20),
        CSQA: joined(csqa, rows_of(traces / "commonsenseqa_re2_openai.jsonl.gz")[judge], ratio=10),
        ROUTELLM: simulated_signal(rows_of(traces / "mmlu_routellm.jsonl.gz")),
    }


def rows_of(path: Path) -> dict[tuple[str, str], dict[str, dict[str, Any]]]:
    found: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            found.setdefault((row["model"], row["variant"]), {})[row["id"]] = row
    return found


def joined(small: dict[str, dict[str, Any]], large: dict[str, dict[str, Any]], *, ratio: float) -> OutcomeTable:
    ids = [key for key in small if key in large]

    def column(rows: dict[str, dict[str, Any]], name: str) -> np.ndarray:
        return np.array([np.nan if rows[key].get(name) is None else rows[key][name] for key in ids], dtype=float)

    costs = column(small, "response_chars") / 4e6, ratio * column(large, "response_chars") / 4e6
    return OutcomeTable(
        ids=np.array(ids, dtype=object),
        models=(
            ModelOutcomes(
                name="small", correct=column(small, "correct"), cost_usd=costs[0],
                signals={"confidence": column(small, "confidence")},
            ),
            ModelOutcomes(name="large", correct=column(large, "correct"), cost_usd=costs[1]),
        ),
    )  # fmt: skip


def simulated_signal(rows: dict[tuple[str, str], dict[str, dict[str, Any]]]) -> OutcomeTable:
    small = next(own for (model, _), own in rows.items() if "Mixtral" in model)
    large = next(own for (model, _), own in rows.items() if "gpt-4" in model)
    ids = [key for key in small if key in large]
    rng = np.random.default_rng(0)
    right = np.array([float(small[key]["correct"]) for key in ids])
    stated = np.clip((1.5 * (right - 0.5) + rng.normal(size=len(ids)) + 3) / 6, 0, 1)
    large_right = np.array([float(large[key]["correct"]) for key in ids])
    return OutcomeTable(
        ids=np.array(ids, dtype=object),
        models=(
            ModelOutcomes(
                name="small", correct=right, cost_usd=np.full(len(ids), 1e-6),
                signals={"confidence": np.round(stated, 1)},
            ),
            ModelOutcomes(
                name="large", correct=large_right, cost_usd=2e-5 * np.exp(0.5 * rng.normal(size=len(ids)))
            ),
        ),
        categories=np.array([small[key]["subject"] for key in ids], dtype=object),
    )  # fmt: skip
