"""Would sentence embeddings route better than the product's hashed n-grams? On the rows of router.py.

    python experiments/calibrate/router_embeddings.py --data FOLDER --model MODEL     (FOLDER holds traces/)

MODEL is a folder with a sentence encoder in the Hugging Face form (measured: all-MiniLM-L6-v2, 22.7 M parameters; its
mean of the last hidden states, normalised and scaled to the length that is best on MMLU of RouteLLM, on which the
product's features were chosen, too). Each of five parts in turn is unseen, over two shuffles; a logistic regression
learns "only the large model is right" on the others. Figures: the AUROC of that, and the saving of the router alone
at price ratio 4 where 2 points are lost, each over all unseen rows. Writes
experiments/results/calibrate/router_embeddings.json.
"""

import argparse
import asyncio
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import router
import torch
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from transformers import AutoModel, AutoTokenizer

from corea.calibrate.router import FOLDS, RIDGE
from corea.policies.router import features
from corea.records.table import OutcomeTable
from recipes.paper.measured_code import stamped
from recipes.paper.provenance import commit

SHUFFLES, BATCH, LONGEST, DROP, RATIO = 2, 32, 256, 0.02, 4
LENGTHS = (0.5, 1.0, 2.0, 4.0, 8.0)  # of an embedding; its penalty falls with the square


def hashed(texts: list[str]) -> sparse.csr_matrix:
    """(N, 8193) the product's features."""
    rows = []
    for text in texts:
        seen, length = features(text)
        rows.append(sparse.csr_matrix(np.append(np.asarray(seen, float) / np.sqrt(max(np.sum(seen), 1)), length)))
    return sparse.vstack(rows).tocsr()


@torch.inference_mode()
def embedded(texts: list[str], folder: Path) -> tuple[np.ndarray, float]:
    """(N, D) sentence embeddings, and processor milliseconds a text."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    order, out = np.argsort([len(text) for text in texts]), np.zeros((len(texts), model.config.hidden_size))
    began = time.process_time()
    for start in range(0, len(texts), BATCH):
        at = order[start : start + BATCH]
        given = tokenizer(
            [texts[i] for i in at], padding=True, truncation=True, max_length=LONGEST, return_tensors="pt"
        )
        hidden, mask = model(**given).last_hidden_state, given["attention_mask"][..., None]
        mean = (hidden * mask).sum(1) / mask.sum(1)
        out[at] = torch.nn.functional.normalize(mean).numpy()
    return out, 1000 * (time.process_time() - began) / len(texts)


def unseen_scores(x: Any, loss: np.ndarray, shuffle: int) -> np.ndarray:
    """(N,) the probability that nothing is lost by a model that has not seen the row."""
    fold, found = np.random.default_rng(shuffle).permutation(len(loss)) % FOLDS, np.zeros(len(loss))
    for k in range(FOLDS):
        model = LogisticRegression(C=RIDGE, max_iter=500).fit(x[fold != k], ~loss[fold != k])
        found[fold == k] = model.predict_proba(x[fold == k])[:, 1]
    return found


def saving(table: OutcomeTable, scores: np.ndarray) -> float:
    """Of the router alone, where 2 points are lost: the questions of the highest scores go to the small model."""
    order = np.argsort(-scores, kind="stable")
    lost = np.cumsum((table.last.correct - table.first.correct)[order]) / len(scores)
    share = np.flatnonzero(lost <= DROP)
    return 0.0 if not len(share) else float((share[-1] + 1) / len(scores) * (1 - 1 / RATIO))


def judged(x: Any, table: OutcomeTable, loss: np.ndarray) -> dict[str, float]:
    """The figures of some features, over all shuffles."""
    scores = [unseen_scores(x, loss, shuffle) for shuffle in range(SHUFFLES)]
    return {
        "auroc": float(np.mean([roc_auc_score(~loss, each) for each in scores])),
        "saving": float(np.mean([saving(table, each) for each in scores])),
    }


def measured(name: str, table: OutcomeTable, model: Path, length: float | None) -> dict[str, Any]:
    """The figures of a pair; without a length, at the best one."""
    assert table.texts is not None
    texts = [str(text) for text in table.texts]
    loss = (table.last.correct > 0.5) & (table.first.correct < 0.5)
    grams, (vectors, milliseconds) = hashed(texts), embedded(texts, model)
    tried = {each: judged(vectors * each, table, loss) for each in (LENGTHS if length is None else (length,))}
    best = max(tried, key=lambda each: tried[each]["auroc"])
    both = sparse.hstack([grams, sparse.csr_matrix(vectors * best)]).tocsr()
    found: dict[str, Any] = {
        "pair": name, "n": len(texts), "only_large": int(loss.sum()), "ms_a_text": milliseconds, "length": best,
        "hashed n-grams": judged(grams, table, loss), "embeddings": tried[best], "both": judged(both, table, loss),
    }  # fmt: skip
    print(json.dumps(found), flush=True)
    return found


def main() -> None:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--model", type=Path, required=True)
    given = options.parse_args()
    tables = router.recorded(given.data)
    for world in ("slm", "ood"):
        tables[f"bundled pair, world {world}"] = asyncio.run(
            router.bundled(world, 1000, 0.1 if world == "ood" else 0.0)
        )
    first = measured(router.ROUTELLM, tables.pop(router.ROUTELLM), given.model, None)
    pairs = [first, *(measured(name, table, given.model, first["length"]) for name, table in tables.items())]
    out = router.RESULTS / "router_embeddings.json"
    out.write_text(json.dumps(stamped({"commit": commit(), "pairs": pairs}, __file__), indent=1) + "\n")


if __name__ == "__main__":
    main()
