# pyright: basic, reportCallIssue=false, reportAttributeAccessIssue=false
# (torch and transformers are only partly typed)
"""A wider and deeper model that begins by writing just what a small one writes: training need not start over.

Each feature is doubled; a weight that reads it is split unevenly between its two copies, so that they can part ways.
A new layer adds nothing at first: its two output matrices are zero.
Source: Chen et al. 2016, "Net2Net", arXiv:1511.05641.
"""

from pathlib import Path

from recipes.bundled_pair.tokenizer import load_tokenizer

UNEVEN = 0.2  # spread of the split around one half


def grow(folder: Path, out: Path, *, new_after: tuple[int, ...] = (0, 1), wider: bool = True, seed: int = 1) -> Path:
    """Double every width of a Qwen2-shaped model, if `wider`, and add a layer after each of the named ones."""
    import torch
    from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(seed)
    small = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32)
    old = small.config.to_dict()
    layers = old["num_hidden_layers"] + len(new_after)
    times = 2 if wider else 1
    widths = {
        name: times * old[name]
        for name in ("hidden_size", "num_attention_heads", "num_key_value_heads", "intermediate_size")
    }
    large = Qwen2ForCausalLM(
        Qwen2Config(**{**old, **widths, "num_hidden_layers": layers, "layer_types": None, "max_window_layers": layers})
    )
    large.config.use_cache = large.generation_config.use_cache = True

    def read(weight):  # (out, in) -> (2 out, 2 in): each copy of an input gets a share, together the whole
        if not wider:
            return weight
        share = 0.5 + UNEVEN * torch.randn(2 * weight.shape[0], weight.shape[1])
        doubled = weight.repeat(2, 1)
        return torch.cat([doubled * share, doubled * (1 - share)], 1)

    with torch.no_grad():
        large.model.embed_tokens.weight.copy_(small.model.embed_tokens.weight.repeat(1, times))
        # the tied head sees every feature twice
        large.model.norm.weight.copy_(small.model.norm.weight.repeat(times) / times)
        targets = iter(large.model.layers)
        for place, layer in enumerate(small.model.layers):
            target = dict(next(targets).named_parameters())
            for name, weight in layer.named_parameters():
                target[name].copy_(read(weight) if weight.ndim == 2 else weight.repeat(times))
            if place in new_after:
                fresh = next(targets)
                fresh.self_attn.o_proj.weight.zero_()
                fresh.mlp.down_proj.weight.zero_()
    large.save_pretrained(str(out))
    load_tokenizer(folder).save_pretrained(str(out))
    return out
