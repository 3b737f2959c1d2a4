# pyright: basic
# (transformers, datasets, peft and TRL are only partly typed)
"""`corea train rlcc`: reinforcement learning with confidence calibration, GRPO with our rewards.

The recipe, top to bottom: questions -> rewards -> TRL's settings -> the trainer -> the best checkpoint, saved with all
that is needed to use and to remake it. Source: arXiv:2603.03752 (RLCC); arXiv:2402.03300 (GRPO).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.util import find_spec
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np

from corea.errors import ConfigError, TrainError, unknown_name
from corea.prompts import Prompt
from corea.protocols import Grader, Reward
from corea.registry import resolve
from corea.rewards import REWARDS
from corea.rewards.calibration import CalibrationReward
from corea.train.data import data_hash
from corea.train.group import RewardPart, RolloutFact
from corea.train.model_card import ReliabilityData, write_card
from corea.train.rollout_metrics import calibration
from corea.train.settings import PROMPT_FILE, trl_settings
from corea.types import Question

SCALES = ("batch", "group", "none")
CREDITS = ("sampled", "segment", "all-values")
TRACKERS = ("tensorboard", "trackio", "wandb")
OURS = {  # settings of TRL's that ours stand for
    "output_dir": "out",
    "num_generations": "generations",
    "reward_weights": "*_weight",
    "scale_rewards": "scale",
    "max_completion_length": "max_tokens",
    "metric_for_best_model": "no setting: the criterion",
    "multi_objective_aggregation": "no setting",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RlccSettings:
    """Settings of one run. What is TRL's own goes in `trl`, untouched: see docs/training.md for the usual ones.

    Args:
        model: A Hugging Face folder or name, after its cold start.
        reward: How confidence is paid: a name of `corea.rewards.REWARDS`, such as rlcc (the published l1-group),
            brier (l2-sample), rlvr (not at all), or "module:Class" of your own.
        distance: Changes one half of that combination: l1, l2 or kl.
        estimate: Changes the other half: group or sample.
        confidence_weight: The paper's is not known; from 3 to 100 were tried here, and with all-values 100 was best
            (experiments/log.d/rl-2.md).
        credit: What answers for the confidence reward. "sampled": every token, as in plain GRPO. "segment": the stated
            number alone, every other token for the rest. "all-values": as segment, and the number by what each digit
            would have earned, not only the sampled one (`corea.train.confidence_credit`).
        entropy_bonus: With all-values: what a nat of entropy of the number's first digit is worth, in units of the
            confidence reward; it falls to 0 by the last step.
        scale: Advantages are divided by the spread of the rewards of the whole "batch", of each "group", or by 1
            ("none"). By group, a question that is nearly always right weighs as much as an open one: it was seen to
            drive confidence up.
        generations: G, rollouts per question.
        questions_per_step: Q; a step has Q * G rollouts over all processes.
        device_batch: Rollouts in one forward pass on one process; the rest of a step is accumulated.
        evaluate_every: Steps between two measurements on held-out questions, and between two checkpoints.
        patience: Stop after so many measurements in a row that were not the best; 0 never stops early.
        accuracy_margin: A checkpoint whose held-out accuracy is further than this below the start's cannot be the best.
        seed: Of everything: sampling, order, LoRA.
        lora: Settings of `peft.LoraConfig`; empty trains all weights.
        trl: Further settings of `trl.GRPOConfig`: bf16, use_vllm, gradient_checkpointing, report_to, deepspeed, ...
    """

    model: str
    out: Path
    reward: str = "rlcc"
    distance: str | None = None
    estimate: str | None = None
    correctness_weight: float = 1.0
    format_weight: float = 0.5
    confidence_weight: float = 3.0
    credit: str = "segment"
    entropy_bonus: float = 0.0
    scale: str = "batch"
    generations: int = 8
    questions_per_step: int = 16
    device_batch: int = 128
    steps: int = 200
    learning_rate: float = 3e-4
    warmup: int = 5
    temperature: float = 1.0
    max_tokens: int = 1024
    evaluate_every: int = 25
    patience: int = 0
    accuracy_margin: float = 0.02
    seed: int = 1
    lora: Mapping[str, Any] = field(default_factory=dict[str, Any])
    trl: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise unknown_name("train.scale", self.scale, SCALES)
        if self.credit not in CREDITS:
            raise unknown_name("train.credit", str(self.credit), CREDITS)
        if self.credit == "all-values" and self.trl.get("importance_sampling_level", "token") != "token":
            raise ConfigError(
                "train.credit: got 'all-values' with a ratio for whole sequences, expected 'segment' there"
            )
        if self.credit == "all-values" and self.scale == "group":
            raise ConfigError(
                "train.scale: got 'group' with credit 'all-values', expected 'batch' or 'none': a group that is all "
                "alike has no spread, yet other numbers would have earned otherwise"
            )
        if self.generations < 2:
            raise ConfigError(f"train.generations: got {self.generations}, expected at least 2: one is no group")
        for key in self.trl:
            if key in OURS:
                raise ConfigError(f"train.trl.{key}: got a value, expected none here; it is set by {OURS[key]}")
        self.confidence_reward()  # refuses unknown names before anything is loaded

    def confidence_reward(self) -> Reward:
        """The reward that `reward`, `distance` and `estimate` say."""
        reward = resolve("train.reward", self.reward, REWARDS)()
        if not self.distance and not self.estimate:
            return reward
        if not isinstance(reward, CalibrationReward):
            raise ConfigError(
                f"train.reward: got {self.reward!r} with a distance or estimate, which it has not; "
                "expected one that has, such as 'rlcc'"
            )
        return replace(reward, distance=self.distance or reward.distance, estimate=self.estimate or reward.estimate)

    def parts(self) -> tuple[RewardPart, ...]:
        """The rewards of a run; the last pays for confidence."""
        return (
            RewardPart("correctness", resolve("train", "correctness", REWARDS)(), self.correctness_weight),
            RewardPart("format", resolve("train", "format", REWARDS)(), self.format_weight),
            RewardPart("confidence", self.confidence_reward(), self.confidence_weight),
        )


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
    """Train, and return the Hugging Face folder. A run that was killed goes on from its last checkpoint.

    Args:
        questions: To learn from. They should reach well past what the model masters: doubt is learnt from failing.
        held_out: To measure calibration on, and to choose the best checkpoint by; none of `questions`.
        prompt: What the model is asked with, in training and ever after.
        command: What remakes this run, for the model card.
        make: Makes the trainer, in place of `make_trainer`.
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


def grpo_config(settings: RlccSettings) -> Any:
    """TRL's settings: ours by their names there, its own as given in `trl`."""
    from accelerate import PartialState
    from trl.trainer.grpo_config import GRPOConfig

    known = {f.name for f in fields(GRPOConfig)}
    for key in settings.trl:
        if key not in known:
            raise unknown_name("train.trl", key, sorted(known))
    refuse_absent_trackers(settings.trl.get("report_to", "none"))
    rollouts, at_once = settings.questions_per_step * settings.generations, settings.device_batch
    processes = PartialState(cpu=bool(settings.trl.get("use_cpu"))).num_processes
    if rollouts % (at_once * processes):
        raise ConfigError(
            f"train.device_batch: got {at_once} on {processes} processes, expected a divisor of "
            f"questions_per_step * generations = {rollouts} over the processes; change one of them"
        )
    ours: dict[str, Any] = {
        "output_dir": str(settings.out / "checkpoints"),
        "num_generations": settings.generations,
        "num_generations_eval": 1,
        "per_device_train_batch_size": at_once,
        "per_device_eval_batch_size": at_once,
        "gradient_accumulation_steps": rollouts // (at_once * processes),
        "max_steps": settings.steps,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": "constant_with_warmup",
        "warmup_steps": settings.warmup,
        "temperature": settings.temperature,
        "max_completion_length": settings.max_tokens,
        "reward_weights": [part.weight for part in settings.parts()],
        "scale_rewards": settings.scale,
        "eval_strategy": "steps",
        "eval_steps": settings.evaluate_every,
        "eval_on_start": last_checkpoint(settings) is None,
        "save_strategy": "steps",
        "save_steps": settings.evaluate_every,
        "save_total_limit": 2,
        "load_best_model_at_end": True,
        "metric_for_best_model": "eval_criterion",
        "greater_is_better": False,
        "logging_steps": 1,
        "report_to": "none",
        "seed": settings.seed,
        "data_seed": settings.seed,
    }
    return trl_settings(GRPOConfig, **{**ours, **settings.trl})


def refuse_absent_trackers(names: str | Sequence[str]) -> None:
    """Says which package is missing before the model is loaded, and not after."""
    for name in [names] if isinstance(names, str) else names:
        if name in TRACKERS and find_spec(name) is None:
            raise ConfigError(f"train.trl.report_to: got {name!r}, expected it installed; pip install {name}")


def last_checkpoint(settings: RlccSettings) -> str | None:
    """The newest whole checkpoint of this run, if it was begun before."""
    from transformers.trainer_utils import get_last_checkpoint

    folder = settings.out / "checkpoints"
    return get_last_checkpoint(str(folder)) if folder.is_dir() else None


def save(settings: RlccSettings, trainer: Any, questions: Sequence[Question], prompt: Prompt, command: str) -> Path:
    """Write weights, tokenizer, chat template, prompt, log, the facts of the run and the model card."""
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


def prompt_text(prompt: Prompt) -> str:
    """A prompt as the text of a prompt file (see `corea.prompts`)."""
    return f"=== system ===\n{prompt.system}\n=== user ===\n{prompt.user}\n" if prompt.system else f"{prompt.user}\n"
