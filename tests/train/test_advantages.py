"""Advantages of groups, by token."""

import statistics
from collections.abc import Sequence

import pytest

torch = pytest.importorskip("torch")

from corea.train.advantages import advantages, by_token, token_span  # noqa: E402  (after the check for torch)

REWARDS_RP = torch.tensor([[1.0, -0.25], [0.0, -0.75], [1.0, -0.5], [1.0, 0.0]])
WEIGHTS_P = torch.tensor([1.0, 2.0])


def test_parts_add_up_to_trls_own_advantage() -> None:
    totals = [1 - 0.5, 0 - 1.5, 1 - 1.0, 1 - 0.0]
    spread = statistics.stdev(totals) + 1e-4
    means = [statistics.mean(totals[:2])] * 2 + [statistics.mean(totals[2:])] * 2
    own = [(total - mean) / spread for total, mean in zip(totals, means, strict=True)]
    ours = advantages(REWARDS_RP, WEIGHTS_P, generations=2, scale="batch").sum(1)
    assert ours.tolist() == pytest.approx(own, abs=1e-5)


def test_scaling_by_group_divides_by_each_groups_spread() -> None:
    ours = advantages(REWARDS_RP, WEIGHTS_P, generations=2, scale="group").sum(1)
    assert ours.tolist() == pytest.approx([2**-0.5, -(2**-0.5), -(2**-0.5), 2**-0.5], abs=1e-3)


def test_no_scaling_leaves_the_weighted_difference_from_the_groups_mean() -> None:
    ours = advantages(REWARDS_RP, WEIGHTS_P, generations=2, scale="none")
    assert ours.tolist() == [[0.5, 0.5], [-0.5, -0.5], [0.0, -0.5], [0.0, 0.5]]


@pytest.mark.parametrize("scale", ["batch", "group"])
def test_a_batch_that_is_all_alike_teaches_nothing(scale: str) -> None:
    alike = torch.ones(4, 2)
    assert advantages(alike, WEIGHTS_P, generations=2, scale=scale).abs().max() == 0


def test_the_stated_number_is_credited_with_the_confidence_reward_alone() -> None:
    credit = by_token(torch.tensor([[0.5, 2.0], [-0.5, -2.0]]), torch.tensor([0, 1]), [(1, 3), (0, 1)], 4)
    assert credit.tolist() == [[0.5, 2.0, 2.0, 0.5], [-2.0, -0.5, -0.5, -0.5]]


def test_where_none_is_stated_every_token_answers_for_it() -> None:
    credit = by_token(torch.tensor([[0.5, -2.0]]), torch.tensor([0, 1]), [None], 3)
    assert credit.tolist() == [[-1.5, -1.5, -1.5]]


TOKENS = {1: "<answer>", 2: "7", 3: "</answer>", 4: "conf", 5: ">0", 6: ".", 7: "85", 8: "", 9: "é"}


def decode(ids: Sequence[int]) -> str:
    return "".join(TOKENS[i] for i in ids)


def test_tokens_that_wrote_a_number_are_found_even_where_one_wrote_more() -> None:
    ids = [1, 2, 3, 4, 5, 6, 7, 8]
    text = decode(tuple(ids))
    start = text.index("0.85")
    assert token_span(ids, text, start, start + 4, decode) == (4, 7)


def test_characters_of_several_tokens_do_not_shift_the_place() -> None:
    def joining(ids: Sequence[int]) -> str:  # a byte-level tokenizer: 9 9 together are one character
        return decode(ids).replace("éé", "ß")

    ids = [9, 9, 4, 5, 6, 7]
    text = joining(tuple(ids))
    start = text.index("0.85")
    assert token_span(ids, text, start, start + 4, joining) == (3, 6)
