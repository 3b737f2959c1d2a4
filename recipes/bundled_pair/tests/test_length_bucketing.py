"""Chunks of like length hold the same tokens, with less padding."""

import pytest

torch = pytest.importorskip("torch")

from recipes.bundled_pair.length_bucketing import by_length  # noqa: E402  (after the check for torch)

BATCH = {
    "prompt_ids": torch.tensor([[0, 1], [2, 3], [0, 4], [5, 6]]),
    "prompt_mask": torch.tensor([[0, 1], [1, 1], [0, 1], [1, 1]]),
    "completion_ids": torch.tensor([[1, 0, 0, 0], [2, 2, 2, 2], [3, 3, 0, 0], [4, 4, 4, 0]]),
    "completion_mask": torch.tensor([[1, 0, 0, 0], [1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]]),
    "advantages": torch.tensor([[1.0] * 4, [2.0] * 4, [3.0] * 4, [4.0] * 4]),
    "num_items_in_batch": torch.tensor(10),
}


def test_the_short_and_the_long_go_apart_and_padding_is_cut() -> None:
    short, long = by_length(BATCH, 2)
    assert short["completion_ids"].tolist() == [[1, 0], [3, 3]]
    assert short["prompt_ids"].tolist() == [[1], [4]]
    assert long["completion_ids"].tolist() == [[4, 4, 4, 0], [2, 2, 2, 2]]
    assert long["advantages"][:, 0].tolist() == [4.0, 2.0]
    assert int(short["num_items_in_batch"]) == 10


@pytest.mark.parametrize("chunks", [1, 2, 3, 9])
def test_a_sum_over_tokens_is_the_same_whatever_the_chunks(chunks: int) -> None:
    def loss(batch: dict) -> float:
        return float((batch["advantages"] * batch["completion_ids"] * batch["completion_mask"]).sum())

    assert sum(map(loss, by_length(BATCH, chunks))) == loss(BATCH)


def test_advantages_of_whole_rollouts_follow_their_rows() -> None:
    first = by_length({**BATCH, "advantages": torch.tensor([1.0, 2.0, 3.0, 4.0])}, 4)[0]
    assert first["advantages"].tolist() == [1.0]
