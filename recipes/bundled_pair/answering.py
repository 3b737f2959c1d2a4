# pyright: basic
# (torch and transformers are only partly typed)
"""Lets a model in memory answer many questions, and reads from each reply what calibration needs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from corea.parsing import read_answer, read_confidence
from corea.types import Question
from recipes.bundled_pair.format import CONFIDENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Completions of a model for N questions.

    Args:
        texts: The replies, without the end token.
        correct: (N,) 1.0 where the answer equals the reference to the letter, else 0.0.
        stated: (N,) the confidence written; NaN where none can be read.
        expected: (N,) its expectation over the probabilities of both digits; NaN where no tag was written.
        prompt_tokens: (N,), `completion_tokens`: (N,), the end token among them.
    """

    texts: list[str]
    correct: np.ndarray
    stated: np.ndarray
    expected: np.ndarray
    prompt_tokens: np.ndarray
    completion_tokens: np.ndarray


def answer(
    model: Any,
    tokenizer: Any,
    questions: Sequence[Question],
    *,
    temperature: float = 0.0,
    max_tokens: int = 160,
    batch: int = 128,
    seed: int = 0,
    expected: bool = True,
) -> Answers:
    """Every question once; greedy at temperature 0. Questions of like length share a batch."""
    import torch

    torch.manual_seed(seed)
    was_training = model.training
    model.eval()
    asked = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": q.text}], add_generation_prompt=True, return_dict=False
        )
        for q in questions
    ]
    order = sorted(range(len(questions)), key=lambda i: (questions[i].category or "", len(asked[i])))
    texts = [""] * len(questions)
    expected_N = np.full(len(questions), np.nan)
    written = np.zeros(len(questions), dtype=np.int64)
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        replies = _generate(model, tokenizer, [asked[i] for i in chosen], temperature, max_tokens)
        for i, reply in zip(chosen, replies, strict=True):
            written[i] = len(reply)
            texts[i] = tokenizer.decode([t for t in reply if t != tokenizer.eos_token_id])
        if expected:
            values = expected_confidences(model, tokenizer, [asked[i] for i in chosen], replies)
            expected_N[chosen] = values
    model.train(was_training)
    stated = [read_confidence(text) for text in texts]
    right = [read_answer(text) == q.reference for text, q in zip(texts, questions, strict=True)]
    return Answers(
        texts=texts,
        correct=np.array(right, dtype=np.float64),
        stated=np.array([np.nan if s is None else s for s in stated]),
        expected=expected_N,
        prompt_tokens=np.array([len(a) for a in asked]),
        completion_tokens=written,
    )


def _generate(model, tokenizer, asked: list[list[int]], temperature: float, max_tokens: int) -> list[list[int]]:
    """The new token ids of each reply, the end token included where it came."""
    import torch

    ids_BT, mask_BT = left_padded(asked, tokenizer.pad_token_id)
    sampling = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature else {}
    with torch.inference_mode():
        out_BT = model.generate(
            input_ids=ids_BT.to(model.device),
            attention_mask=mask_BT.to(model.device),
            max_new_tokens=max_tokens,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            **(sampling or {"do_sample": False}),
        )
    replies = out_BT[:, ids_BT.shape[1] :].tolist()
    end = tokenizer.eos_token_id
    return [r[: r.index(end) + 1] if end in r else [t for t in r if t != tokenizer.pad_token_id] for r in replies]


def left_padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[Any, Any]:
    """(B, T) token ids and their mask, the rows flush right."""
    import torch

    longest = max(map(len, rows))
    ids_BT = torch.tensor([[pad] * (longest - len(r)) + list(r) for r in rows])
    mask_BT = torch.tensor([[0] * (longest - len(r)) + [1] * len(r) for r in rows])
    return ids_BT, mask_BT


def _before_last(reply: list[int], tag: int) -> list[int]:
    """The text before the last tag: the statement that `corea.parsing` counts, too."""
    return reply[: len(reply) - 1 - reply[::-1].index(tag)]


def expected_confidences(model: Any, tokenizer: Any, asked: list[list[int]], replies: list[list[int]]) -> list[float]:
    """The mean of the two-digit confidence under the model's own probabilities, over all 100 numbers.

    The mass on anything but digits is left out and the rest scaled to 1. NaN where the reply has no tag.
    """
    import torch

    tag = tokenizer.convert_tokens_to_ids(CONFIDENCE)
    lead = [tag, *tokenizer("0.", add_special_tokens=False)["input_ids"]]
    digits = tokenizer.convert_tokens_to_ids([str(d) for d in range(10)])
    rows = [i for i, reply in enumerate(replies) if tag in reply]
    values = [float("nan")] * len(replies)
    if not rows:
        return values
    prefixes = [asked[i] + _before_last(replies[i], tag) + lead for i in rows]
    ids_BT, mask_BT = (t.to(model.device) for t in left_padded(prefixes, tokenizer.pad_token_id))
    place_BT = (mask_BT.cumsum(-1) - 1).clamp(min=0)
    with torch.inference_mode():
        out = model(input_ids=ids_BT, attention_mask=mask_BT, position_ids=place_BT, use_cache=True, logits_to_keep=1)
        first_BD = out.logits[:, -1, digits].float().softmax(-1)
        cache = out.past_key_values
        cache.batch_repeat_interleave(10)
        second = model(
            input_ids=torch.tensor(digits, device=model.device).repeat(len(rows))[:, None],
            attention_mask=torch.cat([mask_BT, mask_BT[:, -1:]], -1).repeat_interleave(10, 0),
            position_ids=(place_BT[:, -1:] + 1).repeat_interleave(10, 0),
            past_key_values=cache,
            logits_to_keep=1,
        )
        second_BDD = second.logits[:, -1, digits].float().softmax(-1).view(len(rows), 10, 10)
    tenths = torch.arange(10, device=model.device) / 10
    means_B = (first_BD * (tenths + (second_BDD * tenths / 10).sum(-1))).sum(-1)
    for i, value in zip(rows, means_B.tolist(), strict=True):
        values[i] = value
    return values
