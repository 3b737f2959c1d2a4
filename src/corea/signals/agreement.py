"""The share of further samples that give the same answer, stopped early once the outcome cannot change."""

import asyncio
import re
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import ClassVar

from corea.costs.call_log import ask
from corea.errors import BackendError, ConfigError, CoreaError
from corea.graders import grader_for, load_grader
from corea.parsing import read_answer
from corea.protocols import Backend
from corea.types import Completion, Confidence, Question, Sampling, Verdict
from corea.types import replace as replaced

NAME = "agreement"
WARM = Sampling(temperature=0.8)


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of k further samples, the share whose answer equals the completion's, by the question's own grader.

    The early stop needs `threshold`, the policy's tau. After n samples of which a agree, the share can end anywhere
    from a / k to (a + k - n) / k. Once the threshold is at or below the first (it will be kept) or above the second
    (it will be deferred), no more samples are drawn, and the value is a / n: on the same side of the threshold as
    the share of all k would be, but not the same number. Without a threshold nothing stops early.

    Args:
        backend: The model that is sampled: the one that answered, or another.
        k: Further samples, at most.
        sampling: At a temperature above 0, but for one sample of another model (a second opinion); where it has a seed,
            sample i uses seed + i.
        threshold: The policy's tau, if the early stop is wanted.
        at_once: Samples drawn at the same time; a stop saves only those not yet begun.

    Source: self-consistency, Wang et al. 2022, arXiv:2203.11171; its early stop, Aggarwal et al. 2023,
    arXiv:2305.11860, here exact and not probabilistic.
    """

    backend: Backend
    k: int = 5
    sampling: Sampling = WARM
    threshold: float | None = None
    at_once: int = 1
    reads_answer: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.k < 1 or self.at_once < 1:
            raise ConfigError(
                f"signal agreement: got k = {self.k}, at_once = {self.at_once}, expected 1 or more of each"
            )
        if self.sampling.temperature == 0 and self.k > 1:
            raise ConfigError("signal agreement: got temperature 0, expected more: all samples would be the same")

    async def measure(self, question: Question, completion: Completion) -> Confidence:
        choices = len(question.choices) or None
        answer = read_answer(completion.text, choices=choices)
        if answer is None:
            return Confidence(value=None, signal=NAME, reason="no answer was found in the text")
        calls: list[Completion] = []
        drawn = agreeing = failed = 0
        ungraded: str | None = None
        while drawn + failed < self.k and not self._settled(drawn, agreeing, failed):
            count = min(self.at_once, self.k - drawn - failed)
            for reply in await self._draw(question, drawn + failed, count):
                if isinstance(reply, BackendError):
                    failed += 1
                    calls += [reply.spent] if isinstance(reply.spent, Completion) else []
                    continue
                calls.append(reply)
                drawn += 1
                equal = await agrees(question, answer, reply.text)
                agreeing += equal.correct
                ungraded = ungraded or equal.reason
        if not drawn:
            return Confidence(value=None, signal=NAME, reason="every further sample failed", calls=tuple(calls))
        notes = [f"{agreeing} of {drawn} agree"]
        notes += [f"{failed} failed"] if failed else []
        notes += [ungraded] if ungraded else []
        if drawn + failed < self.k:
            notes.append(f"stopped before {self.k}: the decision at {self.threshold} could not change")
        return Confidence(value=agreeing / drawn, signal=NAME, reason="; ".join(notes), calls=tuple(calls))

    async def _draw(self, question: Question, done: int, count: int) -> list[Completion | BackendError]:
        """The next samples; one that fails is returned as its error."""

        async def one(number: int) -> Completion | BackendError:
            seed = self.sampling.seed
            sampling = self.sampling if seed is None else replace(self.sampling, seed=seed + number)
            try:
                return await ask(self.backend, question, sampling)
            except BackendError as error:
                return error

        return list(await asyncio.gather(*(one(done + i + 1) for i in range(count))))

    def _settled(self, drawn: int, agreeing: int, failed: int) -> bool:
        """True if the remaining samples cannot move the share across the threshold; a failed one never counts."""
        if self.threshold is None or not drawn:
            return False
        total = self.k - failed
        return agreeing / total >= self.threshold or (agreeing + total - drawn) / total < self.threshold


async def agrees(question: Question, answer: str, text: str) -> Verdict:
    """The verdict of the question's grader on a text, with this answer as the reference.

    The grader runs in a thread: that of mathematics waits for another process. If it cannot judge (a package is not
    installed), the answers are compared as text, and the verdict has a reason.
    """
    other = read_answer(text, choices=len(question.choices) or None)
    if other is None or other == answer:
        return Verdict(other is not None, other)
    return await asyncio.to_thread(compared, question, answer, other, text)


def equivalent(question: Question, one: str, other: str) -> bool:
    """True if two extracted answers are the same by the question's grader; blocks, as `compared`."""
    if one == other or (_is_letter(one) and _is_letter(other)):
        return one == other
    return compared(question, one, other, f"<answer>{other}</answer>").correct


def compared(question: Question, answer: str, other: str, text: str) -> Verdict:
    """As `agrees`, of a text whose answer is `other`; blocks."""
    asked = replaced(question, reference=answer)
    try:
        grader = load_grader("choice") if _is_letter(answer) and not question.choices else grader_for(asked)
        return Verdict(grader.grade(asked, text).correct, other)
    except CoreaError as error:
        return Verdict(same_answer(answer, other), other, f"compared as text: {error}")


def _is_letter(answer: str) -> bool:
    return len(answer) == 1 and "A" <= answer <= "J"


def same_answer(one: str, other: str | None) -> bool:
    """True if two answers are equal except for case, spaces, markup, thousands commas and trailing zeros."""
    return other is not None and _normal(one) == _normal(other)


def _normal(answer: str) -> str:
    text = re.sub(r"[\s$€£*`]+|\\[,!;]|\.$", "", answer).casefold()
    try:
        number = Decimal(re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text).rstrip("%"))
    except InvalidOperation:
        return text
    return str(number.normalize()) if number.is_finite() else text
