# pyright: basic
# (torch is only partly typed)
"""Batches cut into chunks of like length, so that little is computed on padding."""

from typing import Any

import torch

NUMBERS = ("number_at", "number_pay")  # of whole rollouts, not of their tokens: corea.train.confidence_credit


def by_length(inputs: dict[str, Any], chunks: int) -> list[dict[str, Any]]:
    """The rows of TRL's batch in chunks of like length, with the padding that a chunk does not need cut off.

    The sum of the chunks' losses is the batch's wherever the loss is a sum over tokens divided by a number that is
    fixed for the step (`num_items_in_batch`: dapo, TRL's default).
    """
    if chunks == 1:
        return [inputs]
    prompts_B, written_B = inputs["prompt_mask"].sum(1), inputs["completion_mask"].sum(1)
    pieces: list[dict[str, Any]] = []
    for rows in torch.argsort(written_B).tensor_split(chunks):
        if len(rows) == 0:
            continue
        before, after = int(prompts_B[rows].max()), max(1, int(written_B[rows].max()))
        piece: dict[str, Any] = {}
        for key, value in inputs.items():
            if key in ("prompt_ids", "prompt_mask"):
                piece[key] = value[rows][:, -before:]
            elif key in NUMBERS or (torch.is_tensor(value) and value.dim() == 1):
                piece[key] = value[rows]
            else:
                piece[key] = value[rows][:, :after] if torch.is_tensor(value) and value.dim() == 2 else value
        pieces.append(piece)
    return pieces
