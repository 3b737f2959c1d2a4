# pyright: basic, reportPrivateImportUsage=false
# (torch, transformers, datasets and TRL are only partly typed)
"""`python -m recipes.bundled_pair cold-start`: a model learns to reason briefly, answer and state a confidence.

The recipe, top to bottom: generated problems -> tokenizer -> a small Qwen2-shaped model -> TRL's SFTTrainer.
The stated confidences are drawn evenly from 0.05, 0.15, ..., 0.95: they carry nothing yet. Reinforcement learning can
only move to a number that is sometimes said; a start that always says 0.9 is stuck there. Ten values, not a hundred:
the choice is one token, so each is tried ten times as often, and the expectation over it is as fine as ever. A run
that gives credit for all values tries every digit at once; it can have all hundred, and say 0.99 where it is that sure.
"""

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from corea.errors import ConfigError
from corea.train.data import data_hash
from corea.train.settings import PROMPT_FILE, trl_settings
from corea.types import Question
from recipes.bundled_pair.format import (
    ANSWER,
    CONFIDENCE,
    END,
    END_ANSWER,
    END_CONFIDENCE,
    END_THINK,
    THINK,
    Shape,
)
from recipes.bundled_pair.problems import WORLDS, sample
from recipes.bundled_pair.tokenizer import load_tokenizer, train_tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStart:
    """Settings of one supervised run.

    Args:
        world: Of `recipes.bundled_pair.problems`: what the model is taught.
        start: Folder of an earlier stage to go on from; None begins from random weights of `shape`.
        examples: Training problems; each is seen once.
        processes: That make the problems and their tokens, on a GPU also the batches; the result does not depend on it.
        steps: Optimiser steps of `batch` problems; `steps * batch` may be below `examples`.
        learning_rate: Of Muon, for the matrices; half of it is AdamW's, for the embedding and the rest.
        decay: The last so many of the steps bring the learning rate down to 0 (it is constant before).
        confidence: True if the stated number is taught; else a model that has learnt what to state keeps that.
        values: Different confidences taught, 10 or 100 (0.00, 0.01, ..., 0.99).
        bf16: Mixed precision; on a CPU with bf16 units it pays from a width of about 150.
    """

    out: Path
    world: str = "slm"
    shape: Shape = field(default_factory=Shape)
    start: Path | None = None
    examples: int = 200_000
    processes: int = 1
    batch: int = 64
    steps: int = 3000
    warmup: int = 100
    decay: int = 600
    learning_rate: float = 0.01
    weight_decay: float = 0.01
    confidence: bool = True
    values: int = 10
    bf16: bool = False
    cpu: bool = True
    seed: int = 1
    save_every: int = 200
    report_to: str = "none"

    def __post_init__(self) -> None:
        if self.world not in WORLDS:
            raise ConfigError(f"train.world: got {self.world!r}, expected one of {', '.join(WORLDS)}")
        if self.values not in (10, 100):
            raise ConfigError(f"train.values: got {self.values}, expected 10 or 100 different confidences")
        if self.start and not (self.start / "config.json").is_file():
            raise ConfigError(
                f"train.start: got {str(self.start)!r}, which has no config.json; expected the folder of a stage"
            )
        if self.steps * self.batch > self.examples:
            raise ConfigError(
                f"train.examples: got {self.examples}, expected at least steps * batch = "
                f"{self.steps * self.batch}; raise it, so that each problem is seen once"
            )


def target(question: Question, rng: random.Random, values: int = 10) -> str:
    """The reply a model is taught: the steps, the answer, and a confidence that says nothing."""
    number = f"0.{rng.randrange(10)}5" if values == 10 else f"0.{rng.randrange(100):02}"
    return (
        f"{THINK}{question.meta['steps']}{END_THINK}{ANSWER}{question.reference}{END_ANSWER}"
        f"{CONFIDENCE}{number}{END_CONFIDENCE}{END}"
    )


CHUNK = 50_000  # problems made at once, by one process


def lessons(settings: ColdStart, chunk: int) -> tuple[list[Question], list[str]]:
    """The problems of one chunk and the replies taught to them."""
    seed = settings.seed + 1000 * chunk
    rng = random.Random(seed)
    questions = sample(settings.world, min(CHUNK, settings.examples - CHUNK * chunk), seed)
    return questions, [target(q, rng, settings.values) for q in questions]


def encoded_chunk(settings: ColdStart, tokenizer: Any, chunk: int) -> tuple[Any, str]:
    """One chunk's datasets.Dataset and the fingerprint of its problems."""
    questions, replies = lessons(settings, chunk)
    return encode(questions, replies, tokenizer, confidence=settings.confidence), data_hash(questions)


def encoded(settings: ColdStart, tokenizer: Any) -> tuple[Any, str]:
    """All chunks' rows as one datasets.Dataset, and the fingerprint of all."""
    from multiprocessing import get_context

    from datasets import concatenate_datasets

    chunks = range(-(-settings.examples // CHUNK))
    make = partial(encoded_chunk, settings, tokenizer)
    if settings.processes > 1:
        with get_context("spawn").Pool(settings.processes) as pool:
            made = pool.map(make, chunks, chunksize=1)
    else:
        made = [make(chunk) for chunk in chunks]
    marks = "".join(mark for _, mark in made)
    return concatenate_datasets([rows for rows, _ in made]), hashlib.sha256(marks.encode()).hexdigest()[:16]


def encode(questions: list[Question], replies: list[str], tokenizer: Any, *, confidence: bool = True) -> Any:
    """A datasets.Dataset of token ids, with labels on the reply alone (-100 elsewhere), its `confidence` or not."""
    from datasets import Dataset

    prompts = [
        tokenizer.apply_chat_template([{"role": "user", "content": q.text}], tokenize=False, add_generation_prompt=True)
        for q in questions
    ]
    asked = tokenizer(prompts, add_special_tokens=False)["input_ids"]
    told = tokenizer(replies, add_special_tokens=False)["input_ids"]
    tag = tokenizer.convert_tokens_to_ids(CONFIDENCE)
    taught = [t if confidence else t[: t.index(tag) + 1] + [-100] * (len(t) - t.index(tag) - 1) for t in told]
    return Dataset.from_dict(
        {
            "input_ids": [a + t for a, t in zip(asked, told, strict=True)],
            "labels": [[-100] * len(a) + t for a, t in zip(asked, taught, strict=True)],
            "length": [len(a) + len(t) for a, t in zip(asked, told, strict=True)],
        }
    )


def batches_of_like_length(lengths: Sequence[int], batch: int, rng: random.Random) -> list[int]:
    """An order in which each batch has examples of like length, so that hardly any padding is computed.

    The batches themselves are shuffled. transformers' `group_by_length` leaves them sorted over 50 batches, from long
    to short: measured on the small model, that took twice the steps to the same loss. Padding: 1.4 % (20 batches: 7 %).
    """
    batches: list[list[int]] = []
    for start in range(0, len(lengths), batch * 100):
        stretch = range(start, min(start + batch * 100, len(lengths)))
        ordered = sorted(stretch, key=lambda i: lengths[i])
        groups = [ordered[i : i + batch] for i in range(0, len(ordered), batch)]
        whole = [group for group in groups if len(group) == batch]
        rng.shuffle(whole)
        batches += whole
    return [i for group in batches for i in group]


def new_model(shape: Shape, tokenizer: Any, seed: int) -> Any:
    """A Qwen2-shaped causal model with random weights."""
    from transformers import Qwen2Config, Qwen2ForCausalLM, set_seed

    set_seed(seed)
    heads = shape.width // shape.head
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        intermediate_size=shape.inner,
        max_position_embeddings=shape.context,
        tie_word_embeddings=True,
        initializer_range=0.05,  # 0.02 is meant for widths in the thousands
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    return Qwen2ForCausalLM(config)


def load_model(folder: Path) -> Any:
    """The weights of an earlier stage, in float32."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(str(folder), dtype="float32")


def plain_trainer() -> type[Any]:
    """TRL's SFTTrainer without the entropy and the accuracy that it sums at each step: 1.3 times as fast."""
    import torch
    from trl import SFTTrainer

    class PlainTrainer(SFTTrainer):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            labels_BT = inputs["labels"][:, 1:]
            taught_BT = labels_BT != -100
            with torch.autocast(labels_BT.device.type, torch.bfloat16, enabled=self.args.bf16):
                # rows are padded on the right, where a causal model never looks: no mask is needed
                hidden_BTW = model.model(input_ids=inputs["input_ids"]).last_hidden_state[:, :-1]
                logits_NV = model.lm_head(hidden_BTW[taught_BT])
            return torch.nn.functional.cross_entropy(logits_NV.float(), labels_BT[taught_BT])

    return PlainTrainer


def cold_start(settings: ColdStart) -> Path:
    """Train, and return the Hugging Face folder. A run that was killed goes on from its last checkpoint."""
    from transformers.trainer_utils import get_last_checkpoint
    from trl import SFTConfig

    from recipes.bundled_pair.optimizer import muon_and_adamw

    if settings.start:
        tokenizer = load_tokenizer(settings.start)
    else:
        tokenizer = train_tokenizer(
            [q.text + r for q, r in zip(*lessons(settings, 0), strict=True)], settings.shape.vocabulary
        )
    dataset, fingerprint = encoded(settings, tokenizer)
    order = batches_of_like_length(dataset["length"][:], settings.batch, random.Random(settings.seed))
    dataset = dataset.select(order)
    model = load_model(settings.start) if settings.start else new_model(settings.shape, tokenizer, settings.seed)
    # torch 2.13's fused attention spends 40 % of a CPU step in its backward
    model.set_attn_implementation("eager" if settings.cpu else "sdpa")

    checkpoints = settings.out / "checkpoints"
    config = trl_settings(
        SFTConfig,
        switch="cpu",
        output_dir=str(checkpoints),
        max_steps=settings.steps,
        per_device_train_batch_size=settings.batch,
        warmup_steps=settings.warmup,
        lr_scheduler_type="warmup_stable_decay",
        lr_scheduler_kwargs={"num_decay_steps": settings.decay},
        train_sampling_strategy="sequential",  # in the order of batches_of_like_length
        dataset_kwargs={"skip_prepare_dataset": True},  # token ids and labels are made above
        max_length=None,
        use_cpu=settings.cpu,
        dataloader_num_workers=0 if settings.cpu else min(settings.processes, 8),
        bf16=settings.bf16,
        gradient_checkpointing=False,
        logging_steps=50,
        save_steps=settings.save_every,
        save_total_limit=2,
        report_to=settings.report_to,
        disable_tqdm=True,
        seed=settings.seed,
        data_seed=settings.seed,
    )
    optimizer = muon_and_adamw(model, learning_rate=settings.learning_rate, weight_decay=settings.weight_decay)
    trainer = plain_trainer()(
        model=model,
        args=config,
        train_dataset=dataset,
        processing_class=tokenizer,
        optimizers=(optimizer, None),
    )
    last = get_last_checkpoint(str(checkpoints)) if checkpoints.is_dir() else None
    trainer.train(resume_from_checkpoint=last)
    return save(settings, trainer, tokenizer, fingerprint)


def save(settings: ColdStart, trainer: Any, tokenizer: Any, fingerprint: str) -> Path:
    """Write weights, tokenizer, prompt and the facts of the run."""
    trainer.model.config.use_cache = True  # training switched it off, and without it each token costs a whole pass
    trainer.model.save_pretrained(str(settings.out))
    tokenizer.save_pretrained(str(settings.out))
    (settings.out / PROMPT_FILE).write_text("{question}\n")
    told: dict[str, Any] = asdict(settings) | {"out": settings.out.name}
    if settings.start:  # the shape is then the earlier stage's
        told |= {"start": settings.start.name, "shape": None}
    facts = {
        "recipe": "cold-start",
        "settings": told,
        "parameters": trainer.model.num_parameters(),
        "data_hash": fingerprint,
        "seconds": round(trainer.state.log_history[-1].get("train_runtime", 0.0)),
        "loss": trainer.state.log_history[-1].get("train_loss"),
    }
    (settings.out / "training.json").write_text(json.dumps(facts, indent=1, default=str) + "\n")
    return settings.out
