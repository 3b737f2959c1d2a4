"""The row of a second call: whole where the model says yes or no, and a row that says why where it says neither."""

import math
from dataclasses import dataclass
from typing import Any

import pytest

from corea.signals.self_check import ASK, SelfCheck
from corea.types import Completion, Question, Sampling, TokenLogprob, Usage
from recipes.paper.session import read_results
from recipes.paper.tests.conftest import Counting, World, row
from recipes.paper.text import markdown


@dataclass
class Checked(Counting):
    """Asked whether its answer is right, it says yes at .95 to .86 where it is and at .30 to .49 where it is not."""

    says: tuple[str, str] = ("Yes", "No")

    async def complete(self, question: Question, sampling: Sampling) -> Completion:
        if question.messages[-1].content != ASK:
            return await super().complete(question, sampling)
        assert (sampling.logprobs, question.messages[-2].role) == (True, "assistant")
        number = int(question.id.removeprefix("q"))
        sure = 0.3 + 0.01 * (number % 20) if self.wrong(number) else 0.95 - 0.01 * (number % 10)
        top = tuple((word, math.log(p)) for word, p in zip(self.says, (0.9 * sure, 0.9 * (1 - sure)), strict=True))
        word, logprob = max(top, key=lambda each: each[1])
        return Completion(
            text=word, model=self.model, logprobs=(TokenLogprob(word, logprob, top),),
            usage=Usage(prompt_tokens=40, completion_tokens=1),
        )  # fmt: skip


def self_checked(world: World, **says: Any) -> dict[str, Any]:
    small = world.backends["slm"] = Checked("small", lambda i: i % 3 == 0, **says)
    return world.compare(models=[world.model("slm", further={"self_check": SelfCheck(small)}), world.model("llm")])


def test_a_model_that_says_yes_or_no_has_the_whole_row(world: World) -> None:
    cell = row(self_checked(world), "SLM-SelfCheck")
    assert cell["not_run"] is None
    assert cell["quality"]["auroc"]["value"] == 1.0
    brier = sum((0.3 + 0.01 * (i % 20)) ** 2 if i % 3 == 0 else (0.05 + 0.01 * (i % 10)) ** 2 for i in range(150, 300))
    assert cell["quality"]["brier"]["value"] == pytest.approx(brier / 150)
    exact = cell["at"][0]
    assert exact["taus"] == pytest.approx([0.86])  # P(yes) over both words: .86 of the .9 that lie on them
    assert exact["accuracy"]["value"] == 1.0
    assert exact["llm_share"]["value"] == pytest.approx(50 / 150)
    own, large = 30 + 41, 30 * 10  # the second call is paid for every question
    assert exact["cost_usd"]["value"] == pytest.approx((own + large / 3) / 1e6)
    assert "| SLM-SelfCheck | 100.0 [97.5, 100.0] |" in markdown(read_results(world.folder))


def test_a_model_that_says_neither_has_a_row_that_says_so(world: World) -> None:
    results = self_checked(world, says=("12", "7"))
    why = "the signal 'self_check' gave no value for any answer; for the first: the reply says neither yes nor no: '7'"
    assert row(results, "SLM-SelfCheck")["not_run"] == why
    text = markdown(read_results(world.folder))
    assert "| SLM-SelfCheck | not computed |" in text
    assert f"- SLM-SelfCheck: {why}" in text
