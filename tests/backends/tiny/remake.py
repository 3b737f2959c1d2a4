"""Remakes the tiny random model of the tests: `python tests/backends/tiny/remake.py` (needs corea[train]).

hf/ is an ordinary Hugging Face folder, onnx/ the same model as `corea export` writes it. Nobody trained it: it writes
noise, and ends a reply at times, which is all that the tests of the backends need.
"""

import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from corea.train.export import export
from recipes.bundled_pair.tokenizer import train_tokenizer

HERE = Path(__file__).parent
TEXTS = [f"Tom has {a} apples and buys {b} more. How many? {a}+{b}={a + b}" for a in range(1, 40) for b in range(1, 40)]


def main() -> None:
    hf = HERE / "hf"
    shutil.rmtree(hf, ignore_errors=True)
    tokenizer: Any = train_tokenizer(TEXTS, 320)
    tokenizer.save_pretrained(str(hf))
    end: int = tokenizer.eos_token_id
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.3,
    )
    model = Qwen2ForCausalLM(config)
    with torch.no_grad():
        model.model.embed_tokens.weight[end] *= 1.4  # so that a reply ends now and then
    model.save_pretrained(str(hf))
    shutil.rmtree(HERE / "onnx", ignore_errors=True)
    export(hf, HERE / "onnx")


if __name__ == "__main__":
    main()
