# pyright: basic, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# (torch and TRL are only partly typed)
"""The RLCC trainer with a learning rate of its own for the matrices, and batches cut into chunks of like length."""

from typing import Any

import torch

from corea.train.trainer import RlccTrainer
from recipes.bundled_pair.length_bucketing import by_length


class BundledTrainer(RlccTrainer):
    """Args:
    matrix_learning_rate: Of the matrices between the layers, where it is not the general one.
    length_chunks: In how many chunks of like length a batch goes through the model, each cut to its own longest.
    """

    def __init__(self, *args: Any, length_chunks: int, matrix_learning_rate: float | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.length_chunks = length_chunks
        self.matrix_learning_rate = matrix_learning_rate

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        if self.matrix_learning_rate is None or self.optimizer is not None:
            return super().create_optimizer(*args, **kwargs)
        weights = [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]
        matrices = [p for name, p in weights if p.ndim == 2 and "embed" not in name and "lm_head" not in name]
        chosen = {id(p) for p in matrices}
        groups = [
            {"params": matrices, "lr": self.matrix_learning_rate},
            {"params": [p for _, p in weights if id(p) not in chosen], "lr": self.args.learning_rate},
        ]
        self.optimizer: Any = torch.optim.AdamW(groups, weight_decay=self.args.weight_decay)
        return self.optimizer

    def _compute_loss(self, model, inputs):
        return sum(super(BundledTrainer, self)._compute_loss(model, c) for c in by_length(inputs, self.length_chunks))
