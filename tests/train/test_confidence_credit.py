"""Credit for every number that could have been stated: the gradient is that of the enumerated expectation."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from corea.errors import ConfigError  # noqa: E402  (after the check for torch)
from corea.rewards.calibration import CalibrationReward  # noqa: E402
from corea.train.confidence_credit import (  # noqa: E402
    as_tensor,
    catch_logits,
    digit_places,
    digit_tokens,
    expected_numbers,
    expected_pay,
    numbers_instead,
    pay_of_all,
)
from corea.train.group import counterfactual_reward  # noqa: E402

NO_BONUS = torch.zeros(1)
DIGITS = list(range(100, 110))  # the token of digit d is 100 + d


@pytest.mark.parametrize(
    ("number", "ids", "span", "places"),
    [
        ("0.85", [7, 100, 5, 108, 105, 9], (1, 5), [3, 4]),
        ("0.8", [7, 100, 5, 108, 9], (1, 4), [3]),
        (".85", [5, 108, 105], (0, 3), [1, 2]),
        ("0.85", [100, 5, 77], (0, 3), []),  # one token for both digits
        ("1.0", [101, 5, 100], (0, 3), []),
        ("0.855", [100, 5, 108, 105, 105], (0, 5), []),
        ("85", [108, 105], (0, 2), []),
    ],
)
def test_digits_are_found_where_each_is_a_token(
    number: str, ids: list[int], span: tuple[int, int], places: list[int]
) -> None:
    assert digit_places(ids, span, number, DIGITS) == places


def test_each_digit_is_varied_with_the_other_as_written() -> None:
    first, second = numbers_instead("0.85")
    assert first == [0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95]
    assert second == [0.80, 0.81, 0.82, 0.83, 0.84, 0.85, 0.86, 0.87, 0.88, 0.89]


@pytest.mark.parametrize("distance", ["l1", "l2", "kl"])
def test_pay_for_other_numbers_is_by_the_same_reward_of_the_same_group(distance: str) -> None:
    group = [[1.0, 1.0, 0.35, 0.0], [0.0, 1.0, float("nan"), 0.0]]  # half are right
    reward = CalibrationReward(distance, "group")
    paid = counterfactual_reward(reward, group, 0, [0.0, 0.35, 0.5, 1.0])
    assert paid == [reward([1.0, 0.0], [number, None], [True, True])[0] for number in (0.0, 0.35, 0.5, 1.0)]
    assert max(paid) == paid[2] == 0


def test_a_reward_that_compares_the_numbers_of_a_group_is_asked_with_one_changed_at_a_time() -> None:
    def highest(correct_G, stated_G, formed_G):  # type: ignore[no-untyped-def]
        return [float(stated == max(stated_G)) for stated in stated_G]

    group = [[1.0, 1.0, 0.35, 0.0], [0.0, 1.0, 0.5, 0.0]]
    assert counterfactual_reward(highest, group, 0, [0.25, 0.75]) == [0.0, 1.0]  # type: ignore[arg-type]


def test_rollouts_without_digits_have_no_place() -> None:
    places = [[4], [], []]
    pay = pay_of_all(["0.8", "", "1.0"], places, lambda b, numbers: [b + n for n in numbers])
    assert as_tensor(places).tolist() == [[4, -1], [-1, -1], [-1, -1]]
    assert pay[0, 0].tolist() == pytest.approx([n / 10 for n in range(10)])
    assert pay[1:].abs().max() == 0


def test_the_expected_number_is_the_mean_over_its_digits() -> None:
    sure_of_8, even = [0.0] * 8 + [99.0, 0.0], [0.0] * 10
    logits = torch.tensor([sure_of_8, even, sure_of_8])  # of 0.8?, and 0.8
    values = expected_numbers(logits, torch.tensor([[3, 4], [-1, -1], [3, -1]]))
    assert values.tolist() == pytest.approx([0.845, float("nan"), 0.8], nan_ok=True)


def test_the_gradient_is_that_of_the_enumerated_expectation() -> None:
    torch.manual_seed(1)
    logits, pay = torch.randn(3, 10, requires_grad=True), torch.randn(3, 10)
    expected_pay(logits, pay, NO_BONUS).sum().backward()
    chances = logits.detach().softmax(-1)
    assert torch.allclose(logits.grad, chances * (pay - (chances * pay).sum(-1, keepdim=True)), atol=1e-6)
    assert expected_pay(logits, pay, NO_BONUS).abs().max() < 1e-6  # centred


def test_with_a_bonus_the_best_is_a_soft_peak_at_the_true_chance() -> None:
    pay = -((torch.arange(10) / 10 + 0.05 - 0.3) ** 2)[None]
    logits = torch.zeros(1, 10, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for _ in range(500):
        optimizer.zero_grad()
        (-expected_pay(logits, pay, torch.tensor([0.02]))).sum().backward()
        optimizer.step()
    assert torch.allclose(logits.detach().softmax(-1), (pay / 0.02).softmax(-1), atol=1e-3)


def test_the_gradient_is_the_mean_of_many_sampled_ones() -> None:
    torch.manual_seed(2)
    logits, pay = torch.randn(1, 10, requires_grad=True), torch.randn(1, 10)
    expected_pay(logits, pay, NO_BONUS).sum().backward()
    exact, logits.grad = logits.grad, None
    drawn = torch.multinomial(logits.detach().softmax(-1)[0], 200_000, replacement=True)
    (pay[0, drawn] * logits.log_softmax(-1)[0, drawn]).mean().backward()
    assert torch.allclose(logits.grad, exact, atol=5e-3)
    assert exact.abs().max() > 0.1


@pytest.mark.filterwarnings("ignore")
def test_logits_are_caught_where_they_were_asked_for() -> None:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(3)
    shape: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    model = Qwen2ForCausalLM(Qwen2Config(vocab_size=120, num_key_value_heads=2, **shape))
    ids, rows, columns = torch.randint(0, 120, (2, 7)), torch.tensor([0, 1, 1]), torch.tensor([3, 0, 6])
    with catch_logits(model, rows, columns) as caught:
        whole = model(input_ids=ids).logits
    assert torch.allclose(caught[0], whole[rows, columns], atol=1e-6)
    model(input_ids=ids)
    assert len(caught) == 1  # closed


class Words:
    """A tokenizer of fixed pieces."""

    def __init__(self, *pieces: str) -> None:
        self.pieces = pieces

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        ids = []
        while text:
            piece = next(p for p in self.pieces if text.startswith(p))
            ids.append(self.pieces.index(piece))
            text = text.removeprefix(piece)
        return {"input_ids": ids}


def test_a_tokenizer_with_a_token_for_two_digits_is_refused() -> None:
    assert digit_tokens(Words(".", *"0123456789")) == list(range(1, 11))
    with pytest.raises(ConfigError, match=r"train\.credit: got 'all-values' .* use credit = 'segment'"):
        digit_tokens(Words(".", "85", *"0123456789"))
