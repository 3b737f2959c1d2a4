# pyright: basic
# (torch and transformers are only partly typed)
"""Rollouts for TRL's `rollout_func` hook that are cheap where a few replies are far longer than the rest.

`generate` computes every row until the longest is done; here a finished row leaves the batch. For one process without
vLLM: at our sizes on a CPU it halves the time of a step's rollouts (docs/training.md). Axes: B rollouts, T tokens.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from recipes.bundled_pair.answering import left_padded

SHRINK = 0.8  # the batch is cut when so few of its rows are left


@contextmanager
def in_eval_mode(model: Any) -> Iterator[None]:
    """While it is open the model is in eval mode: no dropout, and a cache though gradients are checkpointed."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def shrinking_rollouts(prompts: list[Any], trainer: Any) -> dict[str, Any]:
    """One reply to each prompt, sampled at the trainer's temperature (top-p and the like are not applied)."""
    tokenizer = trainer.processing_class
    asked = tokenizer.apply_chat_template(prompts, add_generation_prompt=True, return_dict=False)
    model = trainer.accelerator.unwrap_model(trainer.model)
    ends = torch.tensor(trainer.eos_token_ids)
    replies: list[list[int]] = [[] for _ in prompts]
    ids_BT, mask_BT = (t.to(model.device) for t in left_padded(asked, tokenizer.pad_token_id))
    place_B1 = mask_BT.sum(-1, keepdim=True)
    alive = list(range(len(prompts)))  # the rollout that each row of the batch writes; -1 when it is done
    with torch.no_grad(), in_eval_mode(model):
        positions = (mask_BT.cumsum(-1) - 1).clamp(min=0)
        out = model(input_ids=ids_BT, attention_mask=mask_BT, position_ids=positions, use_cache=True, logits_to_keep=1)
        for _ in range(trainer.max_completion_length):
            chances_BV = (out.logits[:, -1].float() / trainer.temperature).softmax(-1)
            next_B1 = torch.multinomial(chances_BV, 1)
            for row, (token, end) in enumerate(
                zip(next_B1[:, 0].tolist(), torch.isin(next_B1[:, 0].cpu(), ends).tolist(), strict=True)
            ):
                if alive[row] >= 0:
                    replies[alive[row]].append(token)
                    alive[row] = -1 if end else alive[row]
            keep = [row for row, rollout in enumerate(alive) if rollout >= 0]
            if not keep:
                break
            cache = out.past_key_values
            if len(keep) < SHRINK * len(alive):
                rows = torch.tensor(keep, device=model.device)
                cache.batch_select_indices(rows)
                next_B1, mask_BT, place_B1 = next_B1[rows], mask_BT[rows], place_B1[rows]
                alive = [alive[row] for row in keep]
            mask_BT = torch.cat([mask_BT, mask_BT.new_ones(len(alive), 1)], dim=1)
            out = model(
                input_ids=next_B1, attention_mask=mask_BT, position_ids=place_B1, past_key_values=cache, use_cache=True
            )
            place_B1 = place_B1 + 1
    return {"prompt_ids": asked, "completion_ids": replies, "logprobs": None}
