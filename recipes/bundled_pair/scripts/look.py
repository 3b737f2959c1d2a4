"""How a trained folder does on a world, by kind and level: look.py FOLDER WORLD [n] [T]"""

import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from transformers import AutoModelForCausalLM

from recipes.bundled_pair.answering import answer
from recipes.bundled_pair.problems import sample
from recipes.bundled_pair.tokenizer import load_tokenizer

if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, world = Path(sys.argv[1]), sys.argv[2]
    n, temperature = int((sys.argv[3:4] or ["500"])[0]), float((sys.argv[4:5] or ["0"])[0])
    tokenizer = load_tokenizer(folder if (folder / "tokenizer.json").exists() else folder.parent.parent)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model: Any = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32)
    model.to(device)
    questions = sample(world, n, 77, split="validation")
    begin = time.time()
    got = answer(model, tokenizer, questions, temperature=temperature)
    print(f"{folder} {world} n={n} T={temperature} {time.time() - begin:.0f} s, accuracy {got.correct.mean():.3f}")
    for name, values in (("stated", got.stated), ("expected", got.expected)):
        ok = ~np.isnan(values)
        c, v = got.correct[ok], values[ok]
        bins = np.minimum((v * 10).astype(int), 9)
        ece = sum(abs(c[bins == b].mean() - v[bins == b].mean()) * (bins == b).mean() for b in set(bins))
        auroc = roc_auc_score(c, v) if 0 < c.mean() < 1 else float("nan")
        print(f"  {name}: ECE {ece:.3f} Brier {((c - v) ** 2).mean():.3f} AUROC {auroc:.3f} missing {(~ok).sum()}")
    print(f"  tokens: prompt {got.prompt_tokens.mean():.1f} completion {got.completion_tokens.mean():.1f}")
    table = defaultdict(list)
    for q, c in zip(questions, got.correct, strict=True):
        table[q.category, q.meta["level"]].append(c)
    for kind in sorted({k for k, _ in table}):
        print(
            "  " + f"{kind:10}",
            *(f"L{v}:{np.mean(table[kind, v]):.2f}({len(table[kind, v])})" for v in range(1, 6) if (kind, v) in table),
        )
    wrong = [i for i in range(n) if not got.correct[i]][: int((sys.argv[5:6] or ["6"])[0])]
    for i in wrong:
        print("  WRONG", questions[i].text, "|", questions[i].reference, "|", got.texts[i])
