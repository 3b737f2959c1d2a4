# pyright: basic
# (transformers, datasets, peft and TRL are only partly typed)
"""`corea train rlcc`: reinforcement learning with confidence calibration, GRPO with our rewards.

The recipe, top to bottom: questions -> rewards -> TRL's settings -> the trainer -> the best checkpoint, saved with all
that is needed to use and to remake it. Source: arXiv:2603.03752 (RLCC); arXiv:2402.03300 (GRPO).
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from corea.errors import ConfigError, TrainError
from corea.prompts import Prompt
from corea.protocols import Grader
from corea.train.data import data_hash, messages
from corea.train.group import RolloutFact
from corea.train.model_card import ReliabilityData, write_card
from corea.train.rollout_metrics import calibration, expectation, gains
from corea.train.saving import save_base, save_model
from corea.train.settings import START_FILE, RlccSettings, grpo_config, last_checkpoint
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
    trainer.train(resume_from_checkpoint=last_checkpoint(settings.out))
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
    rows = Dataset.from_list([{"question": n, "prompt": messages(prompt, q)} for n, q in enumerate(every)])
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
        balanced=settings.balanced,
        **further,
    )


def save(settings: RlccSettings, trainer: Any, questions: Sequence[Question], prompt: Prompt, command: str) -> Path:
    """Writes weights, tokenizer, chat template, prompt, log, the facts of the run and the model card."""
    save_model(trainer, base=settings.model, out=settings.out, prompt=prompt, adapter=bool(settings.lora))
    if not trainer.accelerator.is_main_process:
        return settings.out
    log = trainer.state.log_history
    (settings.out / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in log))
    start = next((e["eval_criterion"] for e in log if e.get("step") == 0 and "eval_criterion" in e), None)
    best, reached = trainer.state.best_global_step or trainer.state.global_step, trainer.state.best_metric
    chosen = trainer.args.load_best_model_at_end  # else the last state is wanted, whatever its figures
    if chosen and start is not None and reached is not None and reached >= start:
        save_base(settings.model, settings.out)
        best = 0
    facts = {
        "recipe": "rlcc",
        "settings": asdict(settings) | {"out": settings.out.name, "model": Path(settings.model).name},
        "parameters": trainer.model.num_parameters(),
        "data_hash": data_hash(list(questions)),
        "steps": trainer.state.global_step,
        "best_step": best,
        "held_out": next((e for e in log if e.get("step") == best and "eval_criterion" in e), {}),
        "seconds": round(sum(entry.get("train_runtime", 0.0) for entry in log)),
    }
    (settings.out / "training.json").write_text(json.dumps(facts, indent=1, default=str) + "\n")
    card(settings, trainer, command, gained=best > 0)
    return settings.out


def card(settings: RlccSettings, trainer: Any, command: str, *, gained: bool) -> None:
    """The model card: held-out figures of start and result, the differences with intervals, a reliability diagram.

    Args:
        gained: False if no checkpoint was better than the start, which the folder holds then.
    """
    file = settings.out / "checkpoints" / START_FILE
    end = (trainer.held_out_facts, trainer.held_out_expected)
    start = tuple(json.loads(file.read_text()).values()) if file.is_file() else None
    rows = {"start": start, "trained": end} if start else {"trained": end}
    figures = {
        name: {key: v for key, v in (calibration(facts) | expectation(facts, expected)).items() if "/" not in key}
        for name, (facts, expected) in rows.items()
    }
    shown_RF = np.array(end[0] if gained or not start else start[0])
    shown_RF = shown_RF[~np.isnan(shown_RF[:, RolloutFact.STATED])]
    stated, correct = shown_RF[:, RolloutFact.STATED], shown_RF[:, RolloutFact.CORRECT]
    notes = ["the best checkpoint was chosen on these same held-out questions; replies sampled, not greedy"]
    if not gained:
        notes.insert(
            0, "**nothing was gained**: no checkpoint was better than the start, whose weights this folder holds"
        )
    if start:
        changes = gains(start, end)
        notes += [
            f"trained - start, {name}: {change.value:+.3f} (95 % {change.low:+.3f} to {change.high:+.3f})"
            + ("" if change.low > 0 or change.high < 0 else ": not shown to differ")
            for name, change in changes.items()
        ]
    write_card(
        settings.out,
        title=settings.out.name,
        purpose=(
            f"{Path(settings.model).name} after reinforcement learning with confidence calibration (reward "
            f"{settings.reward}): it reasons, answers and states how likely the answer is right."
        ),
        base=settings.model,
        command=command,
        figures=figures,
        measured=[ReliabilityData(name="held out, stated", confidence=stated, correct=correct)] if len(stated) else [],
        notes=notes,
    )
