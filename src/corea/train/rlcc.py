# pyright: basic
# (transformers, datasets, peft and TRL are only partly typed)
"""`corea train rlcc`: reinforcement learning with confidence calibration, GRPO with our rewards.

The recipe, top to bottom: questions -> rewards -> TRL's settings -> the trainer -> the best checkpoint, saved with all
that is needed to use and to remake it. Source: arXiv:2603.03752 (RLCC); arXiv:2402.03300 (GRPO).
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np

from corea.errors import ConfigError, TrainError
from corea.prompts import Prompt, prompt_text
from corea.protocols import Grader
from corea.train.data import data_hash
from corea.train.group import RolloutFact
from corea.train.model_card import ReliabilityData, write_card
from corea.train.rollout_metrics import calibration
from corea.train.settings import PROMPT_FILE, RlccSettings, grpo_config, last_checkpoint
from corea.types import Question


def rlcc(
    settings: RlccSettings,
    *,
    questions: Sequence[Question],
    held_out: Sequence[Question],
    grader: Grader,
    prompt: Prompt,
    command: str,
    make: Callable[..., Any] | None = None,
) -> Path:
    """Trains, and returns the Hugging Face folder. A run that was killed resumes from its last checkpoint.

    Args:
        questions: To learn from. Many should be too hard for the model: doubt is learnt from failing.
        held_out: To measure calibration on, and to choose the best checkpoint by; none of `questions`.
        prompt: Of training, and of every later use.
        command: The command line that remakes this run, for the model card.
        make: Makes the trainer instead of `make_trainer`.
    """
    overlap = {q.text for q in questions} & {q.text for q in held_out}
    if overlap:
        raise TrainError(f"train.held_out: {len(overlap)} questions are also trained on, expected none; split them")
    trainer = (make or make_trainer)(settings, questions=questions, held_out=held_out, grader=grader, prompt=prompt)
    trainer.train(resume_from_checkpoint=last_checkpoint(settings))
    trainer.evaluate()  # of the best checkpoint, which is loaded now: for the card
    return save(settings, trainer, questions, prompt, command)


def make_trainer(
    settings: RlccSettings,
    *,
    questions: Sequence[Question],
    held_out: Sequence[Question],
    grader: Grader,
    prompt: Prompt,
    kind: Any = None,
    **further: Any,
) -> Any:
    """The trainer of a run, before its first step.

    Args:
        kind: A subclass of `corea.train.trainer.RlccTrainer`; `further` are its own arguments, or TRL's.
    """
    from peft import LoraConfig
    from transformers import AutoTokenizer, EarlyStoppingCallback

    from corea.train.trainer import RlccTrainer
    from datasets import Dataset

    every = [*questions, *held_out]
    rows = Dataset.from_list(
        [
            {"question": n, "prompt": [{"role": m.role, "content": m.content} for m in prompt.render(q).messages]}
            for n, q in enumerate(every)
        ]
    )
    try:
        tokenizer = AutoTokenizer.from_pretrained(settings.model, padding_side="left")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"train.model: got {settings.model!r}, which cannot be loaded ({' '.join(str(error).split())[:200]}); "
            "expected a Hugging Face folder, or the name of a model on its hub that can be reached"
        ) from error
    return (kind or RlccTrainer)(
        model=settings.model,
        processing_class=tokenizer,
        args=grpo_config(settings),
        train_dataset=rows.select(range(len(questions))),
        eval_dataset=rows.select(range(len(questions), len(every))),
        peft_config=LoraConfig(task_type="CAUSAL_LM", **settings.lora) if settings.lora else None,
        callbacks=[EarlyStoppingCallback(settings.patience)] if settings.patience else None,
        parts=settings.parts(),
        questions=every,
        grader=grader,
        credit=settings.credit,
        entropy_bonus=settings.entropy_bonus,
        accuracy_margin=settings.accuracy_margin,
        **further,
    )


def save(settings: RlccSettings, trainer: Any, questions: Sequence[Question], prompt: Prompt, command: str) -> Path:
    """Writes weights, tokenizer, chat template, prompt, log, the facts of the run and the model card."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    if settings.lora:
        model = model.merge_and_unload()
        model.save_pretrained(str(settings.out))
    else:
        trainer.save_model(str(settings.out))
    if not trainer.accelerator.is_main_process:
        return settings.out
    trainer.processing_class.save_pretrained(str(settings.out))
    (settings.out / PROMPT_FILE).write_text(prompt_text(prompt), encoding="utf-8")
    log = trainer.state.log_history
    (settings.out / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in log))
    best = trainer.state.best_global_step or trainer.state.global_step
    facts = {
        "recipe": "rlcc",
        "settings": asdict(settings) | {"out": settings.out.name, "model": Path(settings.model).name},
        "parameters": model.num_parameters(),
        "data_hash": data_hash(list(questions)),
        "steps": trainer.state.global_step,
        "best_step": best,
        "held_out": next((e for e in log if e.get("step") == best and "eval_criterion" in e), {}),
        "seconds": round(sum(entry.get("train_runtime", 0.0) for entry in log)),
    }
    (settings.out / "training.json").write_text(json.dumps(facts, indent=1, default=str) + "\n")
    card(settings, trainer.held_out_facts, command)
    return settings.out


def card(settings: RlccSettings, facts_RF: Sequence[Sequence[float]], command: str) -> None:
    """The model card, with the figures and the reliability diagram of held-out rollouts."""
    facts = np.array([row for row in facts_RF if not isnan(row[RolloutFact.STATED])])
    figures = {name: value for name, value in calibration(facts_RF).items() if "/" not in name}
    write_card(
        settings.out,
        title=settings.out.name,
        purpose=(
            f"{Path(settings.model).name} after reinforcement learning with confidence calibration (reward "
            f"{settings.reward}): it reasons, answers and states how likely the answer is right."
        ),
        command=command,
        figures={"held out": figures},
        measured=[
            ReliabilityData(
                name="held out, stated", confidence=facts[:, RolloutFact.STATED], correct=facts[:, RolloutFact.CORRECT]
            )
        ]
        if len(facts)
        else [],
        notes=["the best checkpoint was chosen on these same held-out questions; replies sampled, not greedy"],
    )
