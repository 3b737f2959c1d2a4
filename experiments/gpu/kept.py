# pyright: basic
"""What a training pass keeps for its backward, in bytes a token: python experiments/gpu/kept.py OUT.json

Layers of the exact width of each backbone (a small vocabulary, any weights) on a CPU, in the configuration's own
precision, with every tensor counted that autograd saves and that is no weight. With gradient checkpointing a layer's
input is kept, and one layer at a time is computed again.
"""

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import torch
from backbone import SHAPES
from peft import LoraConfig, get_peft_model
from transformers import Qwen2Config, Qwen2ForCausalLM

CONFIGS = Path(__file__).parents[2] / "configs" / "train"
LLAMA = {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8}
SHAPES["meta-llama/Llama-3.1-8B-Instruct"] = {
    **LLAMA,
    "intermediate_size": 14336,
}  # its layers are Qwen2's, less biases
RUNS = ("qwen2.5-1.5b", "qwen2.5-7b", "llama-3.1-8b", "qwen2.5-7b-lora")
ROWS, TOKENS = 2, 32


def saved(shape: dict[str, Any], layers: int, lora: dict[str, Any], *, checkpointing: bool) -> int:
    """Bytes of all tensors that one forward pass saves."""
    few = {"vocab_size": 512, "num_hidden_layers": layers, "tie_word_embeddings": False}
    with torch.device("meta"):
        model: Any = Qwen2ForCausalLM(Qwen2Config(**(shape | few))).to(torch.bfloat16 if lora else torch.float32)
    model.to_empty(device="cpu")  # what the weights are does not matter
    if lora:
        model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **lora))
        model.enable_input_require_grads()
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    sizes: dict[int, int] = {}
    alive: list[torch.Tensor] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights and not is_a_weight(tensor, shape):
            sizes[storage.data_ptr()] = storage.nbytes()
        alive.append(tensor)
        return tensor

    ids = torch.arange(ROWS * TOKENS).view(ROWS, TOKENS)
    backbone = (model.get_base_model() if lora else model).model
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16):
        backbone(input_ids=ids)
    return sum(sizes.values())


def is_a_weight(tensor: torch.Tensor, shape: dict[str, Any]) -> bool:
    """Whether it is the half-precision copy that autocast makes of a matrix: counted with the weights."""
    return tensor.dim() == 2 and ROWS * TOKENS not in tensor.shape and shape["hidden_size"] in tensor.shape


def figures(name: str) -> dict[str, float]:
    """One configuration, for a pass of its `device_batch` replies of `max_tokens`."""
    table = tomllib.loads((CONFIGS / f"{name}.toml").read_text())
    shape, lora = SHAPES[table["model"]], table.get("lora", {})
    one, two = (saved(shape, layers, lora, checkpointing=True) for layers in (1, 2))
    whole = saved(shape, 1, lora, checkpointing=False)
    tokens = table["device_batch"] * (table["max_tokens"] + 400)  # a prompt of 400
    layer, again = (two - one) / (ROWS * TOKENS), (whole - one) / (ROWS * TOKENS)
    return {
        "bytes_kept_a_layer_and_token": round(layer),
        "bytes_a_width": round(layer / shape["hidden_size"], 2),
        "bytes_of_one_layer_a_token": round(again),
        "pass_tokens": tokens,
        "kept_gb": round(layer * shape["num_hidden_layers"] * tokens / 1e9, 1),
        "one_layer_gb": round(again * tokens / 1e9, 1),
    }


def main(out: str) -> None:
    torch.set_num_threads(1)
    rows = {name.replace(".", "_"): figures(name) for name in RUNS}
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    Path(out).write_text(json.dumps(rows, indent=1) + "\n")
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
