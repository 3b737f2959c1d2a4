# pyright: basic, reportAttributeAccessIssue=false, reportIncompatibleMethodOverride=false
# (torch and TRL are only partly typed)
"""Reinforcement learning of the bundled small model: `corea.train.rlcc` and three settings for tiny models."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corea.errors import ConfigError
from corea.train import rlcc as product
from corea.train.settings import RlccSettings

SUMMED_LOSSES = ("dapo", "cispo", "vespo")


@dataclass(frozen=True, slots=True, kw_only=True)
class BundledRlcc(RlccSettings):
    """Settings of one run.

    Args:
        matrix_learning_rate: For the matrices between the layers alone, where they need more than embeddings, biases
            and norms do: after a cold start by Muon they are large.
        shrinking_rollouts: Sample with `shrinking_rollouts` in place of `generate`; for one process without vLLM.
        length_chunks: Cut a batch into so many chunks of like length, to compute less padding; the loss is the same.
    """

    matrix_learning_rate: float | None = None
    shrinking_rollouts: bool = False
    length_chunks: int = 1

    def __post_init__(self) -> None:
        RlccSettings.__post_init__(self)
        loss = self.trl.get("loss_type", "dapo")
        if self.length_chunks > 1 and loss not in SUMMED_LOSSES:
            raise ConfigError(
                f"train.length_chunks: got {self.length_chunks} with loss {loss!r}, expected 1, or one of "
                f"{', '.join(SUMMED_LOSSES)}: other losses are not sums of their chunks"
            )
        if self.shrinking_rollouts and self.trl.get("use_vllm"):
            raise ConfigError("train.shrinking_rollouts: got true with trl.use_vllm, expected one of them; drop it")


def rlcc(settings: BundledRlcc, **given: Any) -> Path:
    """Train, and return the Hugging Face folder; see `corea.train.rlcc.rlcc`."""
    return product.rlcc(settings, make=make_trainer, **given)


def make_trainer(settings: BundledRlcc, **given: Any) -> Any:
    """The trainer of a run, before its first step."""
    from recipes.bundled_pair.rollouts import shrinking_rollouts
    from recipes.bundled_pair.trainer import BundledTrainer

    rollouts = {"rollout_func": shrinking_rollouts} if settings.shrinking_rollouts else {}
    return product.make_trainer(
        settings,
        kind=BundledTrainer,
        length_chunks=settings.length_chunks,
        matrix_learning_rate=settings.matrix_learning_rate,
        **{**rollouts, **given},
    )
