# pyright: basic
# (torch and transformers are only partly typed)
"""Credit for every confidence that could have been stated, not only for the sampled one.

The reward of any other stated confidence is known, since it does not change the group's outcomes. So at the digits of
the stated number the gradient of the expectation, the sum over k of pi(k) A(k), replaces the sampled advantage: over
the ten digits k that could be written there, the other digit as written. This removes the noise of sampling the
number. The probabilities are the model's own, at temperature 1 whatever the rollouts': those that the expected signal
reads.

Source: the all-action policy gradient, Ciosek & Whiteson 2018, arXiv:1801.05490; Allen et al. 2017, arXiv:1709.00503.
Axes: B rollouts, N digits of numbers (one or two a rollout), T tokens, K = 10 digits, W width.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from corea.errors import ConfigError

DECIMALS = 2  # at most
NUMBER = re.compile(rf"0?\.(\d{{1,{DECIMALS}}})")


def digit_tokens(tokenizer: Any) -> list[int]:
    """The tokens of the digits 0 to 9; refuses a tokenizer that writes two digits as one token."""
    digits = [tokenizer(f"0.{d}", add_special_tokens=False)["input_ids"][-1] for d in range(10)]
    both = tokenizer("0.85", add_special_tokens=False)["input_ids"][-2:]
    if len(set(digits)) < 10 or both != [digits[8], digits[5]]:
        raise ConfigError(
            "train.credit: got 'all-values' with a tokenizer that does not write each digit as a token of its own, "
            "expected one that does; use credit = 'segment'"
        )
    return digits


def refuse_scaled_logits(config: Any) -> None:
    """The digits' probabilities are read from the head's plain output; a model that transforms it is refused."""
    text = config.get_text_config()
    for name in ("final_logit_softcapping", "logit_scale", "logits_scaling", "output_multiplier", "lm_head_multiplier"):
        if getattr(text, name, None) is not None:
            raise ConfigError(
                f"train.credit: got 'all-values' with a model that has {name}, expected plain logits; "
                "use credit = 'segment'"
            )


def digit_places(ids: Sequence[int], span: tuple[int, int], number: str, digits: Sequence[int]) -> list[int]:
    """The tokens that are the decimals of `number`, written by `ids[span[0]:span[1]]`; empty for another notation.

    "0.85", "0.8" and ".85" have them, "1.0", "85" (percent) and "0.855" do not: there the sampled number keeps its
    credit.
    """
    match = NUMBER.fullmatch(number)
    if not match:
        return []
    written = [digits[int(d)] for d in match[1]]
    first = span[1] - len(written)
    return list(range(first, span[1])) if list(ids[first : span[1]]) == written else []


def numbers_instead(number: str) -> list[list[float]]:
    """For each decimal of `number`, the ten numbers that differ from it there at most."""
    start = number.index(".") + 1
    return [[float(number[:i] + str(d) + number[i + 1 :]) for d in range(10)] for i in range(start, len(number))]


def as_tensor(places_B: Sequence[Sequence[int]]) -> Tensor:
    """The places of `digit_places` as (B, DECIMALS), -1 where there is none."""
    return torch.tensor([[*places, -1, -1][:DECIMALS] for places in places_B], dtype=torch.long)


def pay_of_all(
    numbers_B: Sequence[str], places_B: Sequence[Sequence[int]], pay: Callable[[int, list[float]], list[float]]
) -> Tensor:
    """Rewards of every digit, (B, DECIMALS, K); 0 where there is none.

    Args:
        numbers_B: The numbers as written.
        places_B: Their digits' tokens, from `digit_places`.
        pay: Rewards of rollout b for each of the numbers that it might have stated.
    """
    pay_BNK = torch.zeros(len(places_B), DECIMALS, 10)
    for b, (number, places) in enumerate(zip(numbers_B, places_B, strict=True)):
        if places:
            pay_BNK[b, : len(places)] = torch.tensor([pay(b, instead_K) for instead_K in numbers_instead(number)])
    return pay_BNK


def expected_numbers(logits_NK: Tensor, at_BN: Tensor) -> Tensor:
    """(B,) the mean of the stated number over the probabilities of its digits; nan where it has none.

    Args:
        logits_NK: Of the digits at the places of `at_BN` that are not -1, in their order.
    """
    numbers_BN = torch.zeros(at_BN.shape, device=logits_NK.device)
    means_N = logits_NK.float().softmax(-1) @ torch.arange(10.0, device=logits_NK.device)
    numbers_BN[at_BN >= 0] = means_N
    values_B = numbers_BN @ torch.tensor([10.0 ** -(n + 1) for n in range(DECIMALS)], device=logits_NK.device)
    return torch.where(at_BN[:, 0] >= 0, values_B, torch.nan)


def expected_pay(logits_NK: Tensor, pay_NK: Tensor, bonus_N: Tensor) -> Tensor:
    """(N,) the mean reward over the digits' probabilities; its gradient is the all-action policy gradient.

    The reward is centred first, which changes no gradient (the probabilities sum to 1) and keeps the values small.

    Args:
        bonus_N: Reward of a nat of entropy. Without it the digits first collapse onto the mean accuracy, and a digit
            that has become unlikely is not learnt any more; with it the optimum is a soft peak at the true probability.
    """
    logs_NK = logits_NK.float().log_softmax(-1)
    chances_NK = logs_NK.exp()
    centred_NK = pay_NK - (chances_NK.detach() * pay_NK).sum(-1, keepdim=True)
    return (chances_NK * (centred_NK - bonus_N[:, None] * logs_NK)).sum(-1)


@contextmanager
def catch_logits(model: Any, rows_N: Tensor, columns_N: Tensor) -> Iterator[list[Tensor]]:
    """Within this context, a forward pass of `model` also appends the logits (N, V) at these positions to the list.

    They are computed inside the model's own forward, where sharded weights (FSDP, ZeRO-3) are gathered, from its
    hidden states.
    """
    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    caught: list[Tensor] = []

    def read(_module: Any, _given: Any, output: Any) -> None:
        caught.append(causal.get_output_embeddings()(output.last_hidden_state[rows_N, columns_N]))

    hook = causal.base_model.register_forward_hook(read)
    try:
        yield caught
    finally:
        hook.remove()
