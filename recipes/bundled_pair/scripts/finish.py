"""Weights that half precision holds exactly, so that the small export loses nothing: finish.py FOLDER OUT

The model in OUT is the one that is measured, described and shipped; it computes in float32.
"""

import shutil
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from recipes.bundled_pair.tokenizer import load_tokenizer

if __name__ == "__main__":
    source, out = Path(sys.argv[1]), Path(sys.argv[2])
    model = AutoModelForCausalLM.from_pretrained(str(source), dtype=torch.float32)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.half().float())
    model.save_pretrained(str(out))
    load_tokenizer(source).save_pretrained(str(out))
    for name in ("training.json", "corea_prompt.txt", "log.jsonl"):
        if (source / name).is_file():
            shutil.copy(source / name, out / name)
