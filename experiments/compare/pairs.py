"""Which pairs carry a cascade at all? Real recorded outputs, replayed: no model is called.

    python experiments/compare/pairs.py --data FOLDER     (FOLDER holds traces/; or COREA_DATA)

Prices: the public list (genai-prices, names in LISTED) where a model is on it; else the rule of RULE_USD: so many USD
per million tokens and billion active parameters, read and written alike. Prompts were not recorded: every question
counts PROMPT_TOKENS. Where answer tokens were not recorded, four characters of the text are one.

The pairs are measured with the signals that a cascade has live: the stated number and the token probabilities. What
also uses a recorded signal (the linguistic confidence of MMLU-Pro, a judge model's reading of the answer) is stored
apart, and pairs whose only confidence is a trained classifier's are left out.
"""

import argparse
import gzip
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from corea.prices import Price, PriceTable
from corea.records.table import ModelOutcomes, OutcomeTable
from corea.signals import SIGNALS
from corea.types import Usage
from recipes.paper.measured_code import stamped
from recipes.paper.pair_map import PairPoint, draw_pairs, measure_pair
from recipes.paper.provenance import provenance

ROOT = Path(__file__).parents[2]
PROMPT_TOKENS = {"mmlu_pro": 250, "gsm8k": 110, "commonsenseqa": 90, "math500": 120}
NAMES = {"mmlu_pro": "MMLU-Pro", "gsm8k": "GSM8K", "commonsenseqa": "CommonsenseQA", "math500": "MATH-500"}
RULE_USD = Decimal("0.02")
LISTED = {
    "Qwen2.5-7B-Instruct": "openrouter/qwen/qwen-2.5-7b-instruct",
    "Llama-3.2-3B-Instruct": "openrouter/meta-llama/llama-3.2-3b-instruct",
    "Meta-Llama-3.1-8B-Instruct-Turbo": "together/meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo",
    "Meta-Llama-3.1-405B-Instruct-Turbo": "together/meta-llama/Meta-Llama-3.1-405B-Instruct-Turbo",
    "Llama-4-Maverick-17B-128E-Instruct-FP8": "together/meta-llama/Llama-4-Maverick-17B-128E-Instruct-FP8",
    "Qwen3-8B": "openrouter/qwen/qwen3-8b",
    "Qwen3-235B-A22B-fp8-tput": "openrouter/qwen/qwen3-235b-a22b",
    "gemma-2-9b-it": "openrouter/google/gemma-2-9b-it",
}
BILLIONS = {
    "Qwen2.5-3B-Instruct": "3.1", "Qwen3-1.7B": "1.7", "Qwen3-4B": "4", "Qwen2.5-14B-Instruct": "14.8",
    "Qwen2.5-32B-Instruct": "32.8", "Qwen2.5-7B (base)": "7.6", "Qwen2.5-7B RLVR-hotpot": "7.6",
    "Qwen2.5-7B RLCR-hotpot": "7.6", "Qwen2.5-7B RLVR-hotpot + classifier": "7.6",
    "Qwen2.5-7B RLVR-hotpot + answer-prob": "7.6", "Qwen2.5-Math-1.5B-Instruct + QLoRA (main adapter)": "1.5",
    "Qwen2.5-Math-1.5B-Instruct + QLoRA (student full)": "1.5", "Qwen2.5-Math-7B-Instruct": "7.6",
}  # fmt: skip
OTHER_NAMES = {"gpt-3.5-turbo (2023-08)": "gpt-3.5-turbo"}


def price_of(model: str, table: PriceTable) -> tuple[Price, bool]:
    """A model's price, and whether it is by rule."""
    if model in BILLIONS:
        usd = RULE_USD * Decimal(BILLIONS[model])
        return Price(
            input_usd_per_mtok=usd, output_usd_per_mtok=usd, source=f"rule: {RULE_USD} x {BILLIONS[model]} B"
        ), True
    return table.lookup(LISTED.get(model, OTHER_NAMES.get(model, model))), False


def read(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def by_model(path: Path) -> dict[tuple[str, str], dict[str, dict[str, Any]]]:
    found: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for row in read(path):
        if not row.get("disputed"):
            found.setdefault((row["model"], row["variant"]), {})[row["id"]] = row
    return found


def costs(rows: list[dict[str, Any]], dataset: str, price: Price) -> np.ndarray:
    def tokens(row: dict[str, Any]) -> int:
        counted = row.get("completion_tokens")
        if counted is not None:
            return int(counted)
        return max(1, round((row.get("response_chars") or len(row.get("response") or "")) / 4))

    prompt = PROMPT_TOKENS[dataset]
    return np.array([float(price.cost(Usage(prompt_tokens=prompt, completion_tokens=tokens(r)))) for r in rows])


# recorded column -> the signal of COREA that it is, as in experiments/calibrate/populations.py; None: it is none
EXTRA_SIGNALS = {"logit_confidence": "mean_token_probability", "linguistic_confidence": None}


def pairs_of(dataset, small, large, names, table, *, recorded: bool = False) -> tuple[OutcomeTable, bool]:
    """The table of one pair, and whether a price is by rule; `recorded` adds the signals that no cascade has."""
    ids = sorted(small.keys() & large.keys())
    mine, theirs = [small[i] for i in ids], [large[i] for i in ids]
    (own, rule_a), (other, rule_b) = price_of(mine[0]["model"], table), price_of(theirs[0]["model"], table)
    signals = {"confidence": [r["confidence"] for r in mine]}
    for extra, name in EXTRA_SIGNALS.items():
        if (name or recorded) and any(r.get(extra) is not None for r in mine):
            signals[name or extra] = [r.get(extra) for r in mine]
    columns = {k: np.array([np.nan if v is None else v for v in column], dtype=float) for k, column in signals.items()}
    categories = [r.get("category") for r in mine]
    tokens = [r.get("completion_tokens") for r in mine]
    own_model = ModelOutcomes(
        name=names[0],
        correct=np.array([float(r["correct"]) for r in mine]),
        cost_usd=costs(mine, dataset, own),
        signals=columns,
        completion_tokens=None if None in tokens else np.array(tokens, dtype=float),
    )
    other_model = ModelOutcomes(
        name=names[1],
        correct=np.array([float(r["correct"]) for r in theirs]),
        cost_usd=costs(theirs, dataset, other),
    )
    made = OutcomeTable(
        ids=np.array(ids),
        models=(own_model, other_model),
        categories=None if None in categories else np.array(categories),
    )
    return made, rule_a or rule_b


SHORT = {
    "Meta-Llama-3.1-8B-Instruct-Turbo": "Llama-3.1-8B", "Meta-Llama-3.1-405B-Instruct-Turbo": "Llama-3.1-405B",
    "Llama-4-Maverick-17B-128E-Instruct-FP8": "Llama-4-Maverick", "Qwen3-235B-A22B-fp8-tput": "Qwen3-235B",
    "gpt-4o-mini-2024-07-18": "gpt-4o-mini", "gpt-4o-2024-08-06": "gpt-4o", "claude-3-haiku-20240307": "claude-3-haiku",
    "claude-3-7-sonnet-20250219": "claude-3.7-sonnet", "gpt-4-1106-preview": "gpt-4-turbo",
    "Qwen2.5-Math-1.5B-Instruct + QLoRA (main adapter)": "Qwen2.5-Math-1.5B main",
    "Qwen2.5-Math-1.5B-Instruct + QLoRA (student full)": "Qwen2.5-Math-1.5B student",
}  # fmt: skip


def short(model: str, variant: str = "") -> str:
    name = SHORT.get(model, model).removesuffix("-Instruct")
    return f"{name} {variant}".strip()


def all_pairs(folder: Path) -> Iterator[tuple[str, tuple, tuple, str]]:
    """(dataset, small model's rows, large model's rows, names)"""
    traces = folder / "traces"
    small = by_model(traces / "mmlu_pro_verbalized_small.jsonl.gz")
    large = by_model(traces / "mmlu_pro_verbalized_large.jsonl.gz")
    for (s, _), own in small.items():
        for (b, _), other in large.items():
            yield "mmlu_pro", own, other, (short(s), short(b))
    student = by_model(traces / "gsm8k_anytime_qwen2.5-math-1.5b.jsonl.gz")
    judges = {**by_model(traces / "gsm8k_re2_openai.jsonl.gz"), **by_model(traces / "gsm8k_routellm.jsonl.gz")}
    chosen = [("gpt-4o-mini-2024-07-18", "vanilla"), ("gpt-4-1106-preview", "cot"), ("gpt-3.5-turbo (2023-08)", "cot")]
    for (s, v), own in student.items():
        for key in chosen:
            yield "gsm8k", own, judges[key], (short(s, v), short(key[0]))
    for dataset, file, key in (
        ("commonsenseqa", "commonsenseqa_re2_openai", ("gpt-4o-mini-2024-07-18", "vanilla")),
        ("math500", "math500_itu", ("Qwen2.5-Math-7B-Instruct", "digte")),
    ):
        other = by_model(traces / f"{file}.jsonl.gz")[key]
        for (s, _), own in by_model(traces / f"{dataset}_rlcr_qwen2.5-7b.jsonl.gz").items():
            if all(row["confidence_kind"] in SIGNALS for row in own.values()):
                yield dataset, own, other, (short(s), short(key[0]))


def point_from(stored: dict[str, Any]) -> PairPoint:
    """A stored point again, to draw without measuring."""
    from corea.metrics import Interval
    from recipes.paper.pair_map import Kept

    def kept(found: dict[str, Any] | None) -> Kept | None:
        return found and Kept(
            saving=Interval(**found["saving"]), drop=Interval(**found["drop"]), llm_share=found["llm_share"]
        )

    rules = {name: kept(stored[name]) for name in ("uncertified", "certified", "certified_blend", "certified_recorded")}
    return PairPoint(**{**stored, **rules})


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, default=os.environ.get("COREA_DATA"))
    options.add_argument("--out", type=Path, default=ROOT / "experiments/results/pairs.json")
    options.add_argument("--picture", type=Path, default=ROOT / "docs/images/pairs.svg")
    options.add_argument("--no-blend", action="store_true")
    options.add_argument("--only-draw", action="store_true", help="and sum up, from the stored result")
    chosen = options.parse_args()
    if chosen.only_draw:
        stored = json.loads(chosen.out.read_text())
        points = [point_from(p) for p in stored["pairs"]]
        write(points, chosen.out, stored["provenance"])
    else:
        points = measure_all(chosen)
    title = f"Which pairs carry a cascade? {len(points)} pairs on MMLU-Pro, GSM8K, CommonsenseQA and MATH-500"
    sets = Counter(point.dataset for point in points)
    counted = ", ".join(f"{name} {sets[key]}" for key, name in NAMES.items())
    note = (
        "Saving against the large model alone, at a drop of at most 2 points certified at 95 % on one half of the "
        "questions, judged on the other half. Prices: public lists where there are any,\nelse $0.02 per million tokens "
        f"and billion parameters. Real recorded outputs, pairs: {counted}; data, assumptions and the command: "
        "docs/results.md"
    )
    print(draw_pairs(points, chosen.picture, title=title, note=note))


def measure_all(chosen: argparse.Namespace) -> list[PairPoint]:
    if chosen.data is None:
        sys.exit("--data (or COREA_DATA) must name the folder of recorded outputs")
    table, points = PriceTable(), []
    for dataset, own, other, names in all_pairs(Path(chosen.data)):
        pairs, by_rule = pairs_of(dataset, own, other, names, table)
        recorded = None
        if dataset == "mmlu_pro":
            recorded, _ = pairs_of(dataset, own, other, names, table, recorded=True)
        points.append(measure_pair(dataset, pairs, recorded=recorded, blend=not chosen.no_blend, assumed=by_rule))
        p = points[-1]
        got = "none" if p.certified is None else f"{100 * p.certified.saving.value:.1f} %"
        mapped = "none" if p.certified_blend is None else f"{100 * p.certified_blend.saving.value:.1f} %"
        print(
            f"{dataset:14s} {names[0]:38s} {names[1]:22s} auroc {p.auroc:.3f} ratio {p.price_ratio:6.1f} "
            f"saved {100 * p.uncertified.saving.value:5.1f} % certified {got} blend {mapped}",
            flush=True,
        )
    write(points, chosen.out)
    return points


def summarised(points: list[PairPoint]) -> dict[str, Any]:
    """Counts and correlations over all pairs."""
    savings = np.array([0.0 if p.certified is None else p.certified.saving.value for p in points])
    blended = np.array([0.0 if p.certified_blend is None else p.certified_blend.saving.value for p in points])
    recorded = [p.certified_recorded for p in points if p.certified_recorded is not None]
    aurocs, ratios = np.array([p.auroc for p in points]), np.log([p.price_ratio for p in points])
    gaps = np.array([p.large_accuracy - p.small_accuracy for p in points])
    held = [p for p in points if p.certified is not None]
    broken = [p for p in held if p.certified and p.certified.drop.value > 0.02]
    unsafe = [p for p in points if p.uncertified.drop.value > 0.02]

    def rank(x: np.ndarray) -> np.ndarray:
        return np.argsort(np.argsort(x)).astype(float)

    def related(x: np.ndarray) -> float:
        return float(np.corrcoef(rank(x), rank(savings))[0, 1])

    return {
        "pairs": len(points),
        "certified_saving_above_0": int((savings > 0).sum()),
        "certified_saving_above_10_percent": int((savings > 0.1).sum()),
        "certified_above_10_percent_and_large_model_2_points_better": int(((savings > 0.1) & (gaps > 0.02)).sum()),
        "blend_above_10_percent_and_large_model_2_points_better": int(((blended > 0.1) & (gaps > 0.02)).sum()),
        "blend_and_drop_above_2_points": sum(
            p.certified_blend is not None and p.certified_blend.drop.value > 0.02 for p in points
        ),
        "recorded_pairs": sum(p.dataset == "mmlu_pro" for p in points),
        "recorded_certified": len(recorded),
        "recorded_saving_above_10_percent": sum(kept.saving.value > 0.1 for kept in recorded),
        "recorded_and_drop_above_2_points": sum(kept.drop.value > 0.02 for kept in recorded),
        "blend_saving_above_10_percent_where_recorded": sum(
            p.certified_blend is not None and p.certified_blend.saving.value > 0.1
            for p in points
            if p.dataset == "mmlu_pro"
        ),
        "blend_interval_above_2_points": sum(
            p.certified_blend is not None and p.certified_blend.drop.low > 0.02 for p in points
        ),
        "blend_certified": sum(p.certified_blend is not None for p in points),
        "pairs_of_price_ratio_under_3": int((np.exp(ratios) < 3).sum()),
        "certified_above_10_percent_of_price_ratio_under_3": int(((np.exp(ratios) < 3) & (savings > 0.1)).sum()),
        "auroc_under_065": int((aurocs < 0.65).sum()),
        "certified_above_10_percent_of_auroc_under_065": int(((aurocs < 0.65) & (savings > 0.1)).sum()),
        "blend_saving_above_0": int((blended > 0).sum()),
        "blend_saving_above_10_percent": int((blended > 0.1).sum()),
        "certified_and_drop_above_2_points": len(broken),
        "certified": len(held),
        "uncertified_and_drop_above_2_points": len(unsafe),
        "spearman_of_certified_saving_with": {
            "auroc": related(aurocs), "log_price_ratio": related(ratios), "accuracy_gap": related(gaps),
        },
        "mean_certified_saving_where_gap_under_15_points": float(savings[gaps < 0.15].mean()),
        "mean_certified_saving_where_gap_15_points_or_more": float(savings[gaps >= 0.15].mean()),
        "pairs_where_gap_under_15_points": int((gaps < 0.15).sum()),
        "pairs_where_gap_15_points_or_more": int((gaps >= 0.15).sum()),
    }  # fmt: skip


def write(points: list[PairPoint], path: Path, made_by: dict[str, Any] | None = None) -> None:
    """Writes the file of all pairs."""
    best = sorted(points, key=lambda p: -(p.certified.saving.value if p.certified else 0))[:10]
    if made_by is None:
        made_by = provenance(command="python experiments/compare/pairs.py --data FOLDER", config="", config_sha256="")
        del made_by["config"], made_by["config_sha256"]
    found = {
        "max_drop": 0.02, "delta": 0.05, "prompt_tokens_assumed": PROMPT_TOKENS,
        "rule_usd_per_mtok_and_billion": str(RULE_USD),
        "listed": LISTED, "by_rule_billions": BILLIONS, "summary": summarised(points),
        "best": [p.as_dict() for p in best],
        "pairs": [p.as_dict() for p in points], "provenance": made_by,
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(stamped(found, __file__), default=float, indent=1)
    path.write_text(text + "\n")


if __name__ == "__main__":
    main()
