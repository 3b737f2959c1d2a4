# pyright: basic
# (torch is only partly typed)
"""Advantages: from the rewards of whole groups to the credit of each written token.

Axes: R rollouts side by side in groups of G, P parts of the reward, B this process's share of R, T tokens.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate

from torch import Tensor

EPSILON = 1e-4  # TRL's own


def spreads(rewards_RP: Tensor, weights_P: Tensor, *, generations: int, scale: str) -> Tensor:
    """Divisors of each rollout's advantages, (R, 1): the standard deviation of the *summed* reward.

    Args:
        scale: "batch": over all R; "group": over each group; "none": 1.
    """
    total_QG = (rewards_RP * weights_P).sum(dim=1).view(-1, generations)
    if scale == "none" or total_QG.numel() == 1 or (scale == "group" and generations == 1):
        return total_QG.new_ones(total_QG.numel(), 1)
    spread_Q1 = total_QG.std().expand(len(total_QG), 1) if scale == "batch" else total_QG.std(dim=1, keepdim=True)
    return (spread_Q1 + EPSILON).repeat_interleave(generations, dim=0)


def advantages(rewards_RP: Tensor, weights_P: Tensor, *, generations: int, scale: str) -> Tensor:
    """Advantages (R, P): each part's weighted reward less its group's mean, over `spreads`.

    Their sum over P is what TRL's own `scale_rewards` gives. One spread for all parts keeps their weights.
    """
    paid_QGP = (rewards_RP * weights_P).view(-1, generations, rewards_RP.shape[1])
    centred_RP = (paid_QGP - paid_QGP.mean(dim=1, keepdim=True)).flatten(0, 1)
    return centred_RP / spreads(rewards_RP, weights_P, generations=generations, scale=scale)


def balanced_weight(tokens: float) -> float:
    """Weight of the confidence reward at which its gradient is about as large as the other rewards' together.

    Those credit every token of a reply, whose gradients add up like independent ones, to the square root of their
    number; the confidence reward credits two digits.

    Args:
        tokens: Mean length of a reply.
    """
    return max(1.0, (tokens / 2) ** 0.5)


def by_token(
    advantages_BP: Tensor, confidence_P: Tensor, spans: Sequence[tuple[int, int] | None], length: int
) -> Tensor:
    """Advantages (B, T): the confidence reward for the number that states the confidence, the rest for other tokens.

    All tokens of a rollout that states none are credited with everything, so that the penalty for leaving it out has
    an effect.

    Args:
        confidence_P: True at the parts that reward confidence.
        spans: Per rollout, the tokens from first up to (not with) last that state the confidence, or None.
        length: T.
    """
    all_B = advantages_BP.sum(dim=1)
    confidence_B = (advantages_BP * confidence_P).sum(dim=1)
    credit_BT = (all_B - confidence_B)[:, None].repeat(1, length)
    for row, span in enumerate(spans):
        if span is None:
            credit_BT[row] = all_B[row]
        else:
            credit_BT[row, span[0] : span[1]] = confidence_B[row]
    return credit_BT


def token_span(
    ids: Sequence[int], text: str, start: int, end: int, decode: Callable[[Sequence[int]], str]
) -> tuple[int, int]:
    """The tokens, from first up to (not with) last, that wrote any of the characters `text[start:end]`.

    Args:
        decode: Token ids to text; it may be cached, single tokens are asked for most.
    """
    pieces = [decode((id_,)) for id_ in ids]
    if "".join(pieces) == text:
        ends = list(accumulate(map(len, pieces)))
    else:  # characters of several tokens, or a tokenizer that joins with spaces: exact, but a decode for each prefix
        ends = [len(decode(tuple(ids[: i + 1]))) for i in range(len(ids))]
    return bisect_right(ends, start), min(bisect_left(ends, end) + 1, len(ids))
