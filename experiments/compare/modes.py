"""What the signals of the two modes can do: token probability of the whole text, and the stated number.

    COREA_DATA=FOLDER python experiments/compare/modes.py

Recorded outputs on MMLU-Pro (8,067 questions, chains of thought) of small models whose rows hold both: the stated
confidence (`mode = "answer"`: verbalized) and the mean probability of all tokens written (`mode = "chat"`:
mean_token_probability; there `logit_confidence`). For each pair with a large model, half of the questions certifies a
threshold (2 points, 95 %), the other half judges; "both" is the calibrated blend of the two. Prices as in pairs.py.
The second part is one 7B model on CommonsenseQA and MATH-500: its stated number, and the probability of its answer's
tokens alone.

A chat's own text has no such record: what this shows of chats is how well token probability tells right from wrong.
"""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from pairs import all_pairs, by_model, pairs_of

from corea.calibrate.prepare import FitOptions
from corea.metrics import auroc, auroc_interval
from corea.policies.threshold import uniform_of
from corea.prices import PriceTable
from corea.records.table import OutcomeTable
from recipes.paper.pair_map import certify_and_judge
from recipes.paper.provenance import provenance
from recipes.paper.resample import Draws

OUT = Path(__file__).parents[1] / "results/compare/modes.json"
STATED, TOKENS = "confidence", "logit_confidence"
SIGNALS = {"stated": (STATED,), "tokens": (TOKENS,), "both": (STATED, TOKENS)}


def with_signals(table: OutcomeTable, names: tuple[str, ...]) -> OutcomeTable:
    """The table whose small model has these signals alone, the first under the name of the one that decides."""
    found = table.first.signals
    kept = {STATED if i == 0 else name: found[name] for i, name in enumerate(names)}
    return replace(table, models=(replace(table.first, signals=kept), table.last))


def quality(score: np.ndarray, correct: np.ndarray) -> dict[str, float]:
    known = ~np.isnan(score)
    low, high = auroc_interval(score[known], correct[known])
    return {
        "auroc": auroc(score[known], correct[known]), "low": low, "high": high,
        "without_a_value": float(1 - known.mean()), "values": len(np.unique(score[known])),
    }  # fmt: skip


def measure_models(folder: Path) -> list[dict]:
    """One row for each small model: both signals on the same answers."""
    rows = []
    for (model, _), found in by_model(folder / "traces/mmlu_pro_verbalized_small.jsonl.gz").items():
        answers = list(found.values())
        correct = np.array([float(r["correct"]) for r in answers])
        scores = {
            name: np.array([np.nan if r[key] is None else r[key] for r in answers], dtype=float)
            for name, key in (("stated", STATED), ("tokens", TOKENS))
        }
        if not np.isnan(scores["tokens"]).all():
            measured = {name: quality(score, correct) for name, score in scores.items()}
            rows.append({"model": model, "n": len(answers), "accuracy": float(correct.mean()), **measured})
    return rows


def measure_pairs(folder: Path) -> list[dict]:
    """One row for each pair: the saving that each signal certifies, and the drop on the other half."""
    table, rows = PriceTable(), []
    for dataset, small, large, names in all_pairs(folder):
        if dataset != "mmlu_pro" or all(r[TOKENS] is None for r in small.values()):
            continue
        pairs, _ = pairs_of(dataset, small, large, names, table)
        first = np.array([uniform_of(str(key), "pair map") < 0.5 for key in pairs.ids])
        draws = Draws.of(int((~first).sum()), resamples=100)
        row = {
            "small": names[0], "large": names[1],
            "gap": float(pairs.last.correct.mean() - pairs.first.correct.mean()),
        }  # fmt: skip
        for name, signals in SIGNALS.items():
            own = with_signals(pairs, signals)
            options = FitOptions(map="identity" if len(signals) == 1 else "auto", pre_policy=False)
            fit, judged = own.take(np.flatnonzero(first)), own.take(np.flatnonzero(~first))
            found = certify_and_judge(fit, judged, draws, 0.02, 0.05, options)
            row[name] = {
                "saving": 0.0 if found is None else max(0.0, found.saving.value),
                "drop": None if found is None else found.drop.value,
            }
        rows.append(row)
        print({k: v if isinstance(v, str | float) else v["saving"] for k, v in row.items()}, flush=True)
    return rows


def measure_answer_tokens(folder: Path) -> list[dict]:
    """A 7B model trained without confidence: its stated number and its answer's token probability, the same answers."""
    rows, models = [], {"stated": "Qwen2.5-7B RLVR-hotpot", "answer_tokens": "Qwen2.5-7B RLVR-hotpot + answer-prob"}
    for dataset in ("commonsenseqa", "math500"):
        found = by_model(folder / f"traces/{dataset}_rlcr_qwen2.5-7b.jsonl.gz")
        row = {"dataset": dataset, "model": models["stated"]}
        for name, model in models.items():
            answers = next(list(each.values()) for (m, _), each in found.items() if m == model)
            score = np.array([np.nan if r["confidence"] is None else r["confidence"] for r in answers], dtype=float)
            correct = np.array([float(r["correct"]) for r in answers])
            row |= {name: quality(score, correct), "n": len(answers)}
        rows.append(row)
    return rows


def sums(models: list[dict], pairs: list[dict]) -> dict:
    """The figures that the documentation quotes, from the rows."""
    better = [p for p in pairs if p["gap"] > 0.02]
    summary = {
        "models": len(models),
        "models_where_tokens_rank_better": sum(m["tokens"]["auroc"] > m["stated"]["auroc"] for m in models),
        "models_where_stated_ranks_better": sum(m["tokens"]["auroc"] < m["stated"]["auroc"] for m in models),
        "models_where_intervals_part_for_tokens": sum(m["tokens"]["low"] > m["stated"]["high"] for m in models),
        "models_where_intervals_part_for_stated": sum(m["stated"]["low"] > m["tokens"]["high"] for m in models),
        "pairs": len(pairs),
        "pairs_where_the_large_model_is_2_points_better": len(better),
    }
    for name in ("stated", "tokens"):
        aurocs = [m[name]["auroc"] for m in models]
        summary |= {
            f"auroc_mean_{name}": float(np.mean(aurocs)),
            f"auroc_least_{name}": min(aurocs),
            f"auroc_most_{name}": max(aurocs),
        }
    for name in SIGNALS:
        savings = np.array([p[name]["saving"] for p in better])
        drops = [p[name]["drop"] for p in better if p[name]["drop"] is not None]
        summary |= {
            f"saved_{name}": int((savings > 0).sum()),
            f"above_10_percent_{name}": int((savings > 0.1).sum()),
            f"mean_saving_{name}": float(savings.mean()),
            f"most_{name}": float(savings.max()),
            f"certified_{name}": len(drops),
            f"drop_above_2_points_{name}": sum(d > 0.02 for d in drops),
        }
    return summary


def main() -> None:
    folder = Path(os.environ.get("COREA_DATA") or sys.exit("COREA_DATA must name the folder of recorded outputs"))
    models, pairs, answers = measure_models(folder), measure_pairs(folder), measure_answer_tokens(folder)
    summary = sums(models, pairs)
    made_by = provenance(command="COREA_DATA=FOLDER python experiments/compare/modes.py", config="", config_sha256="")
    del made_by["config"], made_by["config_sha256"]
    found = {"summary": summary, "models": models, "answer_tokens": answers, "pairs": pairs, "provenance": made_by}
    OUT.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
