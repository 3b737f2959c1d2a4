"""Growing a model: the same function at first, more room after."""

import random
from pathlib import Path

import pytest

pytest.importorskip("trl")

import torch
from transformers import AutoModelForCausalLM

from recipes.bundled_pair.cold_start import new_model, target
from recipes.bundled_pair.format import Shape
from recipes.bundled_pair.net2net import grow
from recipes.bundled_pair.problems import sample
from recipes.bundled_pair.tokenizer import train_tokenizer

TINY = Shape(width=32, layers=2, head=16, inner=48, vocabulary=400)


@pytest.mark.filterwarnings("ignore")
def test_a_grown_model_writes_what_the_small_one_writes_and_its_copies_can_part(tmp_path: Path) -> None:
    rng = random.Random(1)
    tokenizer = train_tokenizer([q.text + target(q, rng) for q in sample("slm", 100, 1)], TINY.vocabulary)
    small = new_model(TINY, tokenizer, 1).eval()
    with torch.no_grad():
        for weight in small.parameters():
            weight.add_(0.1 * torch.randn_like(weight))  # biases and norms too
    small.save_pretrained(tmp_path / "small")
    tokenizer.save_pretrained(tmp_path / "small")
    large = AutoModelForCausalLM.from_pretrained(grow(tmp_path / "small", tmp_path / "large", new_after=(0,)))
    ids = torch.arange(0, 60).view(2, 30)
    assert torch.allclose(large(ids).logits, small(ids).logits, atol=1e-4)
    assert (large.config.num_hidden_layers, large.config.hidden_size) == (3, 64)
    assert large.num_parameters() > 4 * small.num_parameters()
    assert large.config.use_cache
    assert large.generation_config.use_cache
    large(input_ids=ids, labels=ids).loss.backward()
    gradient = large.model.layers[0].self_attn.q_proj.weight.grad
    assert not torch.allclose(gradient[:32], gradient[32:], atol=1e-7)


@pytest.mark.filterwarnings("ignore")
def test_a_model_may_grow_in_depth_alone(tmp_path: Path) -> None:
    tokenizer = train_tokenizer([q.text for q in sample("slm", 100, 1)], TINY.vocabulary)
    small = new_model(TINY, tokenizer, 1).eval()
    small.save_pretrained(tmp_path / "small")
    tokenizer.save_pretrained(tmp_path / "small")
    deep = AutoModelForCausalLM.from_pretrained(
        grow(tmp_path / "small", tmp_path / "deep", new_after=(0, 1), wider=False)
    )
    ids = torch.arange(0, 60).view(2, 30)
    assert torch.allclose(deep(ids).logits, small(ids).logits, atol=1e-5)
    assert (deep.config.num_hidden_layers, deep.config.hidden_size) == (4, 32)
