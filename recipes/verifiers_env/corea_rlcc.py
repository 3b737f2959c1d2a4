# pyright: basic, reportMissingImports=false
# (verifiers is not one of our dependencies)
"""RLCC's rewards as an environment of verifiers 0.4 (`pip install verifiers`), which prime-rl trains with.

An episode is one question and its G replies; when the last one is there, the group is rewarded as a whole by
`corea.train.group.judged`, so a reply's reward depends on the others'. verifiers finds it as `corea-rlcc` where this
folder is on PYTHONPATH: see `eval.toml`. Source: https://github.com/PrimeIntellect-ai/verifiers, `verifiers/v1/env.py`.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import verifiers.v1 as vf
from pydantic import Field

from corea.graders import AutoGrader
from corea.prompts import load_prompt
from corea.train.data import draw
from corea.train.group import judged
from corea.train.settings import RlccSettings
from corea.types import Message, Question

__all__ = ["CoreaEnv", "CoreaEnvConfig", "CoreaTask", "CoreaTaskset", "CoreaTasksetConfig"]


class CoreaData(vf.TaskData):
    """A question with what its grader reads."""

    reference: str
    options: dict[str, Any] = Field(default_factory=dict)


class CoreaTask(vf.Task[CoreaData]):
    """No reward of its own: replies are rewarded as a group, by the environment."""


class CoreaTasksetConfig(vf.TasksetConfig):
    """The questions: a table `[questions]` of docs/training.md, and the prompt."""

    questions: dict[str, Any] = Field(default_factory=dict)
    prompt: str = "default"


class CoreaTaskset(vf.Taskset[CoreaTask, CoreaTasksetConfig]):
    """A dataset of COREA with its prompt."""

    def load(self) -> Iterator[CoreaTask]:
        """The questions as tasks; every one has a reference that its grader can read."""
        prompt = load_prompt(self.config.prompt)
        for question in draw("taskset.questions", self.config.questions, "train", 2026):
            told = {message.role: message.content for message in prompt.render(question).messages}
            yield CoreaTask(
                CoreaData(
                    id=question.id,
                    system_prompt=told.get("system"),
                    prompt=told["user"],
                    reference=str(question.reference),
                    options=dict(question.meta),
                ),
                self.config.task,
            )


class CoreaEnvConfig(vf.EnvConfig):
    """The group's size and its rewards, named as in `corea.train.settings.RlccSettings`."""

    agent: vf.AgentConfig = vf.AgentConfig()
    generations: int = Field(8, ge=2)
    reward: str = "rlcc"
    correctness_weight: float = 1.0
    format_weight: float = 0.5
    confidence_weight: float = 1.0


class CoreaEnv(vf.Env[CoreaEnvConfig]):
    """G replies to a question, rewarded as a whole group."""

    async def run(self, task: vf.Task, agents: vf.Agents) -> None:
        """The replies, each on its own."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self.config.generations):
                group.create_task(agents.agent.run(task))

    async def finalize(self, task: vf.Task, episode: vf.Episode) -> None:
        """Rewards of the finished group, by part.

        Raises:
            ValueError: A reply is missing: a part of a group would be rewarded for another share of right answers.
        """
        if len(episode.traces) != self.config.generations or not all(trace.ok for trace in episode.traces):
            raise ValueError(f"got {len(episode.traces)} replies, expected {self.config.generations} that are finished")
        names = ("reward", "correctness_weight", "format_weight", "confidence_weight")
        chosen = {name: getattr(self.config, name) for name in names}
        parts = RlccSettings(model="", out=Path(), credit="sampled", **chosen).parts()
        data = task.data
        question = Question(
            id=data.id, messages=(Message("user", data.prompt),), reference=data.reference, meta=data.options
        )
        _, paid_GP = judged(parts, question, [trace.last_reply for trace in episode.traces], AutoGrader())
        for trace, paid_P in zip(episode.traces, paid_GP, strict=True):
            for part, paid in zip(parts, paid_P, strict=True):
                trace.record_reward(part.name, paid, part.weight)
