# pyright: basic
# (transformers and peft are only partly typed)
"""Folder of a trained model: weights, tokenizer, chat template, generation settings, prompt, and its adapter."""

import json
from pathlib import Path
from typing import Any

from corea.prompts import Prompt, prompt_text
from corea.train.settings import PROMPT_FILE

ADAPTER = "adapter"  # folder within that of the trained model


def save_model(trainer: Any, *, base: str, out: Path, prompt: Prompt, adapter: bool) -> None:
    """Writes the folder. Every process calls it, since sharded weights are gathered; the main process alone writes.

    Args:
        base: The model that was trained.
        adapter: True if an adapter was trained: it is saved in `ADAPTER`, and merged with the base into `out`.
    """
    trainer.save_model(str(out / ADAPTER if adapter else out))
    trainer.accelerator.wait_for_everyone()
    if not trainer.accelerator.is_main_process:
        return
    if adapter:
        merge(base, out / ADAPTER, out, dtype=trainer.accelerator.unwrap_model(trainer.model).get_base_model().dtype)
    for folder in (out, out / ADAPTER):
        (folder / "training_args.bin").unlink(missing_ok=True)  # a pickle, with paths of this machine
    trainer.processing_class.save_pretrained(str(out))
    keep_settings(base, out)
    (out / PROMPT_FILE).write_text(prompt_text(prompt), encoding="utf-8")


def merge(base: str, adapter: Path, out: Path, *, dtype: Any) -> None:
    """Writes the base with an adapter added to its weights, computed in float32 and stored as this type."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    merged: Any = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    merged.to(dtype).save_pretrained(str(out))


def save_base(base: str, out: Path) -> None:
    """Writes the base as it is, where no checkpoint was better."""
    from transformers import AutoModelForCausalLM

    AutoModelForCausalLM.from_pretrained(base, dtype="auto").save_pretrained(str(out))
    keep_settings(base, out)


def keep_settings(base: str, out: Path) -> None:
    """Restores settings that training changes: the cache is used, and texts are generated as by the base."""
    from transformers import GenerationConfig

    file = out / "config.json"
    config = json.loads(file.read_text(encoding="utf-8")) | {"use_cache": True}
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    try:
        generation = GenerationConfig.from_pretrained(base)
    except OSError:  # the base has none
        return
    generation.use_cache = True
    generation.save_pretrained(str(out))
