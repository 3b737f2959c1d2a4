# pyright: reportPrivateUsage=false
"""The same groups through this environment, through TRL's trainer and by hand: equal rewards."""

import asyncio
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from corea.graders import AutoGrader
from corea.train.group import judged
from corea.train.settings import RlccSettings
from corea.types import Question, replace

FORM = "<think>so</think><answer>{}</answer><confidence>{}</confidence>"
NUMBER = {"grader": "number"}
QUESTIONS = [replace(Question.of(f"What is {n} + 2?", reference=str(n + 2)), meta=NUMBER) for n in (2, 3)]
GROUPS = [
    [FORM.format(4, "0.75"), FORM.format(5, "0.50"), FORM.format(4, "1.00"), "<answer>4</answer>"],
    [FORM.format(1, "0.25"), FORM.format(2, "0.00"), FORM.format(5, "0.90"), FORM.format(3, "0.10")],
]
SETTINGS: dict[str, Any] = {"reward": "rlcc", "correctness_weight": 1.0, "format_weight": 0.5, "confidence_weight": 4.0}
# correctness + format / 2 - 4 * distance to the share of right answers, 3/4 and 1/4; 1 if no number is stated
BY_HAND = [[1.5, -0.5, 0.5, -3.0], [0.5, -0.5, -1.1, -0.1]]


def parts() -> Any:
    return RlccSettings(model="", out=Path(), credit="sampled", **SETTINGS).parts()


def test_a_group_is_rewarded_as_by_hand() -> None:
    for question, texts, expected in zip(QUESTIONS, GROUPS, BY_HAND, strict=True):
        total, by_part = judged(parts(), question, texts, AutoGrader())
        assert total == pytest.approx(expected)
        assert [len(paid) for paid in by_part] == [3] * 4


@pytest.mark.slow
def test_trls_trainer_gives_the_same_rewards() -> None:
    pytest.importorskip("trl")
    torch = pytest.importorskip("torch")
    from corea.train.trainer import RlccTrainer

    seat: Any = SimpleNamespace(
        model=SimpleNamespace(training=False), num_generations=4, num_generations_eval=4, questions=QUESTIONS,
        grader=AutoGrader(), accelerator=SimpleNamespace(device=torch.device("cpu")), parts=parts(),
        held_out_facts=[], held_out_lengths=[], _numbers=lambda *_: {}, _metrics=defaultdict(lambda: defaultdict(list)),
    )  # fmt: skip
    rows = [{"question": number} for number in (0, 1) for _ in range(4)]
    texts = [text for group in GROUPS for text in group]
    paid_RP = RlccTrainer._calculate_rewards(seat, rows, [], texts, [[1]] * 8)
    weights = torch.tensor([part.weight for part in parts()])
    assert (paid_RP * weights).sum(dim=1).tolist() == pytest.approx([paid for group in BY_HAND for paid in group])


def test_the_environment_records_the_same_rewards() -> None:
    vf = pytest.importorskip("verifiers.v1")
    from recipes.verifiers_env.corea_rlcc import CoreaEnv, CoreaEnvConfig, CoreaTaskset, CoreaTasksetConfig

    table = {"name": "recipes.smollm2.questions:EasyMaths", "n": 3}
    prompt = Path(__file__).parents[2] / "smollm2" / "prompt.txt"
    tasks = list(CoreaTaskset(CoreaTasksetConfig(questions=table, prompt=str(prompt))).load())
    assert tasks[0].data.system_prompt.startswith("Answer as <think>")
    for question, texts, expected in zip(QUESTIONS, GROUPS, BY_HAND, strict=True):
        task = tasks[0].with_data(prompt=question.text, reference=question.reference, options=dict(question.meta))
        traces = [told(vf, task, text) for text in texts]
        env = CoreaEnv.__new__(CoreaEnv)
        env.config = CoreaEnvConfig(generations=4, **SETTINGS)
        asyncio.run(env.finalize(task, SimpleNamespace(traces=traces)))
        assert [trace.reward for trace in traces] == pytest.approx(expected)
        with pytest.raises(ValueError, match="got 3 replies, expected 4"):
            asyncio.run(env.finalize(task, SimpleNamespace(traces=traces[:3])))


def told(vf: Any, task: Any, text: str) -> Any:
    """A finished trace of verifiers' own type that ends with this reply."""
    trace = vf.Trace.model_construct(task=task.data, nodes=[], rewards={}, metrics={}, ok=True)
    object.__setattr__(trace, "root_reply", text)
    return trace
