# pyright: basic, reportOptionalMemberAccess=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportReturnType=false, reportOptionalCall=false, reportCallIssue=false
# (torch, datasets and TRL are only partly typed, and TRL's attributes are declared wider than they are)
"""TRL's GRPOTrainer with rewards of whole groups and credit by token.

Everything else (rollouts, vLLM, loss, optimiser, checkpoints, many GPUs) is TRL's. TRL 1.16 has no public hook for the
methods overridden here. Axes: R rollouts over all processes in groups of G, B of this process, T tokens, P parts, F
facts, N digits of stated numbers, K digits that could be there.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from math import nan, sqrt
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.utils import RepeatSampler

from corea.errors import ConfigError, TrainError
from corea.graders import grade_all
from corea.parsing import find_confidence
from corea.protocols import Grader
from corea.rewards.calibration import NoConfidenceReward
from corea.train.advantages import advantages, balanced_weight, by_token, spreads, token_span
from corea.train.confidence_credit import (
    as_tensor,
    catch_logits,
    digit_places,
    digit_tokens,
    expected_numbers,
    expected_pay,
    pay_of_all,
    refuse_scaled_logits,
)
from corea.train.group import RewardPart, RolloutFact, counterfactual_reward, facts_of, group_rewards
from corea.train.rollout_metrics import calibration, criterion, expectation
from corea.train.settings import START_FILE
from corea.types import Question

IDLE_STEPS = 5  # in a row without anything to learn from, after which a run stops


class EpochSampler(RepeatSampler):
    """TRL's sampler in an order that depends on the epoch alone: a resumed run repeats no question of an earlier one.

    Args:
        epoch: Gives the epoch that is about to begin.
    """

    def __init__(self, made: RepeatSampler, *, epoch: Callable[[], int]) -> None:
        super().__init__(
            made.data_source, made.mini_repeat_count, made.batch_size, made.repeat_count, made.shuffle, made.seed
        )
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        if self.shuffle:
            self.generator.manual_seed((self.seed or 0) + self.epoch())
        return super().__iter__()


class RlccTrainer(GRPOTrainer):
    """Args:
    parts: The rewards. The last one rewards confidence.
    questions: The questions by the index in a dataset row's "question".
    credit, entropy_bonus: See `corea.train.settings.RlccSettings`.
    accuracy_margin: Largest fall of held-out accuracy below its first value for a checkpoint to be the best, beyond
        one standard error of that value (at most the margin again).
    balanced: True if the confidence reward's weight follows from the length of the start's held-out replies.
    """

    def __init__(
        self,
        *args: Any,
        parts: Sequence[RewardPart],
        questions: Sequence[Question],
        grader: Grader,
        credit: str | None,
        entropy_bonus: float,
        accuracy_margin: float,
        balanced: bool = False,
        **kwargs: Any,
    ) -> None:
        # TRL names and weighs rewards by its functions, but hands them one process's slice: ours never run there
        super().__init__(*args, reward_funcs=[_named(part.name) for part in parts], **kwargs)
        # torch copies a frozen head for each row of a batch whose hidden states are a slice: 9 of 10 seconds on a CPU
        self.model.get_output_embeddings().register_forward_pre_hook(lambda _, given: (given[0].contiguous(),))
        self.parts: tuple[RewardPart, ...] = tuple(parts)
        self.questions = questions
        self.grader = grader
        self.credit = credit
        self.digits: list[int] = self._digits(required=credit == "all-values")
        self.entropy_bonus = entropy_bonus
        self.accuracy_margin = accuracy_margin
        self.balanced: bool = balanced
        self.held_out_lengths: list[int] = []
        self.held_out_facts: list[list[float]] = []
        self.held_out_expected: list[float] = []
        self.calibrates: bool = not isinstance(self.parts[-1].reward, NoConfidenceReward)
        self._idle = 0
        self._local: dict[str, Any] = {}  # of this process's rollouts, on their way to the batch
        self._scored: dict[str, Any] | None = None  # the batch whose loss is being computed

        @lru_cache(maxsize=1 << 16)
        def decode(ids: tuple[int, ...]) -> str:
            return self._tokenizer.decode(ids, skip_special_tokens=True)

        self._decode = decode

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        made = super()._get_train_sampler(dataset)
        return EpochSampler(made, epoch=lambda: int((self.state.epoch or 0) + 1e-6))

    def _digits(self, *, required: bool) -> list[int]:
        try:
            refuse_scaled_logits(self.model.config)
            return digit_tokens(self._tokenizer)
        except ConfigError:
            if required:
                raise
            return []

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):
        mode = "train" if self.model.training else "eval"
        generations = self.num_generations if mode == "train" else self.num_generations_eval
        numbers = [row["question"] for row in inputs]
        texts = [c[0]["content"] if isinstance(c, list) else c for c in completions]
        rows = [(self.questions[n], text) for n, text in zip(numbers, texts, strict=True)]
        verdicts = grade_all(self.grader, rows)
        facts_BF = [facts_of(*of_row) for of_row in zip(verdicts, numbers, texts, strict=True)]
        facts_RF = gather(torch.tensor(facts_BF, dtype=torch.float32, device=self.accelerator.device))
        facts = facts_RF.tolist()
        rewards_RP = torch.tensor(group_rewards(self.parts, facts, generations), device=facts_RF.device)

        if mode == "eval":
            self.held_out_facts += facts
            lengths_B = torch.tensor([len(ids) for ids in completion_ids_list], device=facts_RF.device)
            self.held_out_lengths += gather(lengths_B).tolist()
        else:
            self._balance()
            for name, value in calibration(facts).items():
                self._metrics[mode][f"rollouts/{name}"].append(value)
            self._stop_if_idle(facts_RF, rewards_RP)
        self._local = self._numbers(completion_ids_list, texts)
        if mode == "train" and self.credit != "sampled":
            self._local |= self._credits(facts, rewards_RP)
        return rewards_RP

    def _balance(self) -> None:
        """Sets the confidence reward's weight to that which the start's evaluation logged, once."""
        if self.balanced:
            logged = [
                log["eval_confidence_weight"] for log in self.state.log_history if "eval_confidence_weight" in log
            ]
            if not logged:
                raise ConfigError("train.confidence_weight: not set, and nothing was measured at the start; set it")
            self.reward_weights[-1] = logged[0]
            self.balanced = False

    def _stop_if_idle(self, facts_RF: torch.Tensor, rewards_RP: torch.Tensor) -> None:
        """Stops a run whose rollouts teach nothing.

        Raises:
            TrainError: In `IDLE_STEPS` batches in a row no rollout stated a confidence though it is rewarded, or every
                group's rewards were equal.
        """
        unstated = self.calibrates and bool(facts_RF[:, RolloutFact.STATED].isnan().all())
        total_QG = (rewards_RP * self.reward_weights.to(rewards_RP.device)).sum(dim=1).view(-1, self.num_generations)
        correct = facts_RF[:, RolloutFact.CORRECT]
        # with credit for all values a group of equal rewards still teaches its numbers, unless all outcomes are equal
        equal = bool((total_QG == total_QG[:, :1]).all()) and (
            self.credit != "all-values" or len(correct.unique()) == 1
        )
        self._idle = self._idle + 1 if unstated or equal else 0
        if self._idle < IDLE_STEPS:
            return
        if unstated:
            raise TrainError(
                f"train: no rollout of the last {self._idle} steps states a confidence, expected a model taught the "
                "prompt's form: run `corea train cold-start` first, or raise max_tokens"
            )
        raise TrainError(
            f"train: all rewards of each group of the last {self._idle} steps are equal ({correct.mean():.0%} of "
            "rollouts are right), expected groups that differ; choose questions that the model answers right a third "
            "to two thirds of the time"
        )

    def _numbers(self, completion_ids_list, texts) -> dict[str, Any]:
        """The positions at which this process's rollouts state their confidence."""
        stated_B = [find_confidence(text) for text in texts]
        spans_B = [
            token_span(ids, text, stated.start, stated.end, self._decode) if stated else None
            for ids, text, stated in zip(completion_ids_list, texts, stated_B, strict=True)
        ]
        numbers_B = [text[s.start : s.end] if s else "" for text, s in zip(texts, stated_B, strict=True)]
        places_B = [
            digit_places(ids, span, number, self.digits) if span and self.digits else []
            for ids, span, number in zip(completion_ids_list, spans_B, numbers_B, strict=True)
        ]
        return {"spans": spans_B, "numbers": numbers_B, "places": places_B}

    def _credits(self, facts, rewards_RP) -> dict[str, Any]:
        """The credit of the tokens of this process's rollouts."""
        numbers_B, places_B, generations = self._local["numbers"], self._local["places"], self.num_generations
        shape = {"generations": generations, "scale": self.scale_rewards}
        weights_P = self.reward_weights.to(rewards_RP.device)
        first = self.accelerator.process_index * len(numbers_B)
        mine = slice(first, first + len(numbers_B))
        credits = {"advantages": advantages(rewards_RP, weights_P, **shape)[mine]}
        if self.credit == "segment":
            return credits

        def pay(b: int, numbers_K: list[float]) -> list[float]:
            group, member = divmod(first + b, generations)
            facts_GF = facts[group * generations : (group + 1) * generations]
            return counterfactual_reward(self.parts[-1].reward, facts_GF, member, numbers_K)

        per_pay_B1 = weights_P[-1] / spreads(rewards_RP, weights_P, **shape)[mine]
        pay_BNK = pay_of_all(numbers_B, places_B, pay).to(rewards_RP.device)
        enumerated_R = gather(torch.tensor([float(bool(p)) for p in places_B], device=rewards_RP.device))
        self._metrics["train"]["rollouts/enumerated"].append(enumerated_R.mean().item())
        left = 1 - self.state.global_step / self.state.max_steps
        return credits | {
            "pay": pay_BNK * per_pay_B1[:, :, None],
            "bonus": per_pay_B1[:, 0] * self.entropy_bonus * left,
        }

    def _generate_and_score_completions(self, inputs):
        with self.accelerator.autocast():  # TRL samples without it, where adapters are in float32 and slow
            output = super()._generate_and_score_completions(inputs)
        local, at_BN = self._local, as_tensor(self._local["places"]).to(output["completion_ids"].device)
        if "advantages" in local:
            confidence_P = torch.zeros(len(self.parts), device=at_BN.device)
            confidence_P[-1] = 1
            length = output["completion_ids"].shape[1]
            output["advantages"] = by_token(local["advantages"], confidence_P, local["spans"], length)
        if "pay" in local:
            output |= {"number_at": at_BN, "number_pay": local["pay"], "number_bonus": local["bonus"]}
        if not self.model.training:
            self.held_out_expected += gather(self._expected(output, at_BN)).tolist()
        return output

    def _expected(self, output, at_BN) -> torch.Tensor:
        """(B,) the expected confidence under the model's probabilities; nan if the digits cannot be read."""
        if not self.digits:
            return torch.full((len(at_BN),), nan, device=at_BN.device)
        rows_N, which_N = (at_BN >= 0).nonzero(as_tuple=True)
        columns_N = output["prompt_ids"].shape[1] - 1 + at_BN[rows_N, which_N]
        ids = torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1)
        mask = torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1)
        causal = self.accelerator.unwrap_model(self.model)
        with torch.no_grad(), self.accelerator.autocast(), catch_logits(causal, rows_N, columns_N) as caught:
            self.model(input_ids=ids, attention_mask=mask, logits_to_keep=1)
        return expected_numbers(caught[0][:, self.digits], at_BN)

    def prediction_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any, Any]:
        """Rollouts of held-out questions; their loss is not informative, and is 0."""
        self._prepare_inputs(inputs)
        return torch.zeros((), device=self.accelerator.device), None, None

    def _compute_loss(self, model, inputs):
        self._scored = dict(inputs) if "number_at" in inputs else None
        try:
            return super()._compute_loss(model, self._scored or inputs)
        finally:
            self._scored = None

    def _get_per_token_logps_and_entropies(self, model, *args: Any, **kwargs: Any):
        """TRL's; with credit for all values, the digits of numbers return their expected reward instead of the
        log-probability of the sampled token: with an advantage of 1 and a ratio of 1 (and so without clipping or KL
        penalty), every loss of TRL's then takes its gradient as it is."""
        score = super()._get_per_token_logps_and_entropies
        if self._scored is None:
            return score(model, *args, **kwargs)
        inputs, at_BN = self._scored, self._scored["number_at"]
        rows_N, which_N = (at_BN >= 0).nonzero(as_tuple=True)
        columns_N = at_BN[rows_N, which_N]
        before = inputs["prompt_ids"].shape[1] - 1  # the logits of a token are the output at the one before it
        with catch_logits(self.accelerator.unwrap_model(model), rows_N, columns_N + before) as caught:
            logps_BT, *others = score(model, *args, **kwargs)
        bonus_N = inputs["number_bonus"][rows_N] * (which_N == 0)  # of the first digit, which says the most
        pay_N = expected_pay(caught[0][:, self.digits], inputs["number_pay"][rows_N, which_N], bonus_N)
        logps_BT = logps_BT.index_put((rows_N, columns_N), pay_N.to(logps_BT.dtype))
        for name in ("old_per_token_logps", "ref_per_token_logps"):
            if name in inputs:
                inputs[name] = inputs[name].index_put((rows_N, columns_N), pay_N.detach().to(inputs[name].dtype))
        for name in ("advantages", "importance_sampling_ratio"):  # vLLM's ratio corrects sampling: here is none
            if name in inputs:
                ones_N = torch.ones_like(pay_N, dtype=inputs[name].dtype)
                inputs[name] = inputs[name].index_put((rows_N, columns_N), ones_N)
        return logps_BT, *others

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """TRL's, with the figures of all held-out rollouts together (its own are means over batches)."""
        self.held_out_facts, self.held_out_expected, self.held_out_lengths = [], [], []
        output = super().evaluation_loop(*args, **kwargs)
        last = output.num_samples or len(self.held_out_facts)  # rows after it fill up the last batch of a few processes
        self.held_out_facts, self.held_out_expected = self.held_out_facts[:last], self.held_out_expected[:last]
        figures = calibration(self.held_out_facts) | expectation(self.held_out_facts, self.held_out_expected)
        if self.balanced:
            figures["confidence_weight"] = balanced_weight(sum(self.held_out_lengths[:last]) / last)
        self._note_start(figures)
        first = next((log["eval_accuracy"] for log in self.state.log_history if "eval_accuracy" in log), nan)
        first = figures["accuracy"] if first != first else first
        # its standard error; at most the margin, or a few questions would hide a large fall
        error = min(sqrt(first * (1 - first) / last), self.accuracy_margin)
        figures["criterion"] = criterion(
            figures, accuracy_floor=first - self.accuracy_margin - error, calibrates=self.calibrates
        )
        output.metrics.update({f"eval_{name}": value for name, value in figures.items()})
        return output

    def _note_start(self, figures: dict[str, float]) -> None:
        """Keeps the start's facts, with which the card compares the result; refuses a start that states no number."""
        if self.state.global_step:
            return
        if self.calibrates and figures["unstated"] == 1:
            raise TrainError(
                f"train.model: none of {len(self.held_out_facts)} held-out replies states a confidence, expected a "
                "model that knows the prompt's form; teach it first with `corea train cold-start`, or raise max_tokens"
            )
        if self.accelerator.is_main_process:
            file = Path(self.args.output_dir) / START_FILE
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps({"facts": self.held_out_facts, "expected": self.held_out_expected}))


def _named(name: str):
    def reward(**_: Any) -> list[float]:
        raise AssertionError("rewards are computed in RlccTrainer._calculate_rewards")

    reward.__name__ = name
    return reward
