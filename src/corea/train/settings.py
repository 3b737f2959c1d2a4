# pyright: basic
# (transformers and TRL are only partly typed)
"""Settings of a training run, and TRL's settings made of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from corea.errors import ConfigError, unknown_name
from corea.protocols import Reward
from corea.registry import resolve
from corea.rewards import REWARDS
from corea.rewards.calibration import CalibrationReward, NoConfidenceReward
from corea.train.group import RewardPart

T = TypeVar("T")

PROMPT_FILE = "corea_prompt.txt"  # of a trained folder: the prompt that the model was trained with
START_FILE = "start.json"  # of the checkpoints' folder: held-out facts before the first step
SCALES = ("batch", "group", "none")
CREDITS = ("sampled", "segment", "all-values")
TRACKERS = ("tensorboard", "trackio", "wandb")
OURS = {  # TRL's settings that ours replace
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
    """Settings of one run. TRL's own go in `trl`, unchanged: see docs/training.md for the usual ones.

    Args:
        model: A Hugging Face folder or name, after its cold start.
        out: Folder of the trained model; the command line sets it.
        reward: The reward for confidence: a name of `corea.rewards.REWARDS`, such as rlcc (the published l1-group),
            brier (l2-sample), rlvr (not at all), or "module:Class" of another package.
        distance: Changes one half of that combination: l1, l2 or kl.
        estimate: Changes the other half: group, sample or hybrid.
        correctness_weight, format_weight: Weights of the other two rewards.
        confidence_weight: The paper does not state it. None: 1 if every token is credited ("sampled"), else
            `corea.train.advantages.balanced_weight` of the length of the start's held-out replies.
        credit: The tokens that the confidence reward credits. "sampled": every token, as in plain GRPO. "segment":
            the stated number alone, every other token for the rest. "all-values": as segment, and the number by the
            reward of each possible digit, not only the sampled one (`corea.train.confidence_credit`). None: "segment";
            "sampled" for rlvr, which would leave the number's tokens without any credit.
        entropy_bonus: With all-values: the reward of a nat of entropy of the number's first digit, in units of the
            confidence reward; it falls to 0 by the last step.
        scale: Advantages are divided by the spread of the rewards of the whole "batch", of each "group", or by 1
            ("none"). By group, a question that is nearly always right weighs as much as an open one; in our runs
            this raised confidence.
        generations: G, rollouts per question.
        questions_per_step: Q; a step has Q * G rollouts over all processes.
        device_batch: Rollouts in one forward pass on one process; the rest of a step is accumulated.
        steps: Optimiser steps.
        learning_rate: Its peak, after `warmup` steps.
        warmup: Steps over which the learning rate rises.
        temperature: Of the rollouts.
        max_tokens: Largest number of tokens of a rollout.
        evaluate_every: Steps between two measurements on held-out questions, and between two checkpoints.
        patience: Stop after this many measurements in a row that were not the best; 0 never stops early.
        accuracy_margin: A checkpoint whose held-out accuracy is further than this and one standard error (at most as
            much again) below the start's cannot be the best.
        seed: Of sampling, order and LoRA.
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
    confidence_weight: float | None = None
    credit: str | None = None
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
        reward = self.confidence_reward()  # refuses unknown names before anything is loaded
        calibrates = not isinstance(reward, NoConfidenceReward)
        if self.credit is None:
            object.__setattr__(self, "credit", "segment" if calibrates else "sampled")
        if self.credit not in CREDITS:
            raise unknown_name("train.credit", str(self.credit), CREDITS)
        if self.entropy_bonus and (self.credit != "all-values" or not calibrates):
            raise ConfigError(
                f"train.entropy_bonus: got {self.entropy_bonus} with credit {self.credit!r}, reward {self.reward!r}; "
                "expected 0: it is part of the confidence reward with credit 'all-values'"
            )
        if self.credit == "all-values" and str(self.trl.get("vllm_importance_sampling_mode", "token")).startswith(
            "seq"
        ):
            raise ConfigError(
                "train.trl.vllm_importance_sampling_mode: got one of sequences with credit 'all-values'; expected "
                "'token_truncate': the number's digits need no correction, the rest may"
            )
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
            raise ConfigError(f"train.generations: got {self.generations}, expected at least 2 for a group")
        for key in self.trl:
            if key in OURS:
                raise ConfigError(f"train.trl.{key}: got a value, expected none here; it is set by {OURS[key]}")

    def confidence_reward(self) -> Reward:
        """The reward chosen by `reward`, `distance` and `estimate`."""
        reward = resolve("train.reward", self.reward, REWARDS)()
        if not self.distance and not self.estimate:
            return reward
        if not isinstance(reward, CalibrationReward):
            raise ConfigError(
                f"train.reward: got {self.reward!r} with a distance or estimate, which it does not have; "
                "expected one that has, such as 'rlcc'"
            )
        return replace(reward, distance=self.distance or reward.distance, estimate=self.estimate or reward.estimate)

    @property
    def balanced(self) -> bool:
        """True if the confidence reward's weight follows from the length of replies."""
        return self.confidence_weight is None and self.credit != "sampled"

    def parts(self) -> tuple[RewardPart, ...]:
        """The rewards of a run; the last one rewards confidence."""
        return (
            RewardPart("correctness", resolve("train", "correctness", REWARDS)(), self.correctness_weight),
            RewardPart("format", resolve("train", "format", REWARDS)(), self.format_weight),
            RewardPart("confidence", self.confidence_reward(), self.confidence_weight or 1.0),
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
        "eval_on_start": last_checkpoint(settings.out) is None,
        "save_strategy": "steps",
        "save_steps": settings.evaluate_every,
        "save_total_limit": 2,
        "load_best_model_at_end": True,
        "metric_for_best_model": "eval_criterion",
        "greater_is_better": False,
        "logging_steps": 1,
        "report_to": "none",
        "vllm_importance_sampling_mode": "token_truncate",  # TRL's default drops whole replies
        "seed": settings.seed,
        "data_seed": settings.seed,
    }
    return trl_settings(GRPOConfig, **{**ours, **settings.trl})


def refuse_absent_trackers(names: str | Sequence[str]) -> None:
    """Refuses a tracker that is not installed, before the model is loaded."""
    for name in [names] if isinstance(names, str) else names:
        if name in TRACKERS and find_spec(name) is None:
            raise ConfigError(f"train.trl.report_to: got {name!r}, expected it installed; pip install {name}")


def last_checkpoint(out: Path) -> str | None:
    """The newest complete checkpoint of the run into this folder, if it was begun before."""
    from transformers.trainer_utils import get_last_checkpoint

    folder = out / "checkpoints"
    return get_last_checkpoint(str(folder)) if folder.is_dir() else None


def trl_settings(kind: Callable[..., T], *, switch: str = "trl.use_cpu", **values: Any) -> T:
    """TRL's own settings of this kind; a refusal, such as of bf16 without a GPU, is one line.

    Args:
        switch: The setting that trains on the CPU, for that line.
    """
    try:
        return kind(**values)
    except (ValueError, TypeError, ImportError) as error:
        raise ConfigError(
            f"train: TRL refuses these settings here ({' '.join(str(error).split())}); change them, or without a GPU "
            f"set {switch} = true"
        ) from error
