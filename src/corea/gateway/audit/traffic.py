"""Completed requests as the audit sees them, and the comparison of their two answers."""

from typing import Protocol

import msgspec
from msgspec import UNSET, Struct

from corea.gateway.chat.reply import other_fields
from corea.gateway.chat.request import TOOLS, has_media
from corea.gateway.chat.request_state import CompletedRequest
from corea.gateway.chat.routing import RequestPlan
from corea.records.answer import cluster_of
from corea.signals.agreement import equivalent
from corea.stage import Mode
from corea.types import Decision, Question, Status, Step, Trace


class AnswerComparer(Protocol):
    """Compares a served answer with the last stage's; blocks, on a thread of its own."""

    def differ(self, question: Question, served: Step, reference: Step) -> bool | None:
        """True if they differ; None where that cannot be said."""
        ...


class GraderComparer:
    """By the question's grader, of the short answers that were read; a chat has none."""

    def differ(self, question: Question, served: Step, reference: Step) -> bool | None:
        if served.answer is None or reference.answer is None:
            return None
        return not equivalent(question, served.answer, reference.answer)


class TextComparer:
    """By the whole texts, but for spaces: what a judge compares and people label."""

    def differ(self, question: Question, served: Step, reference: Step) -> bool | None:
        first, second = text_of(served), text_of(reference)
        return None if first is None or second is None else first.split() != second.split()


class StageFacts(Struct, kw_only=True, omit_defaults=True):
    """Facts of one stage's answer, as calibrations read them; no text.

    Args:
        readable: A short answer was read from its text.
        inputs: Numbers that a calibration's map reads, by column.
    """

    stage: str
    model: str = ""
    readable: bool = False
    failed: bool = False
    confidence: float | None = None
    kind: str = ""
    score: float | None = None
    cost_usd: float | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    inputs: dict[str, float] = {}


class QuestionFacts(Struct, kw_only=True, omit_defaults=True):
    """Facts of one question.

    Args:
        cluster: A hash that equal questions share, as `corea.records.answer.cluster_of`.
        cost_usd: Of the answer, as the client's key paid it.
        small, large: None where the stage was not asked.
        judge: The model that compares the two answers; "" where a grader does.
        judged: Its verdict: 1.0 for the last stage's answer, -1.0 for the other, 0.0 a tie; None without one.
    """

    cluster: str = ""
    cost_usd: float | None = None
    small: StageFacts | None = None
    large: StageFacts | None = None
    judge: str = ""
    judged: float | None = None


class Traffic(Struct, kw_only=True):
    """A question that an audit may look at: one that the cascade decided on as it was calibrated to.

    Args:
        kept: An earlier stage answered.
        draft: The earlier stage's step: the one that answered, else the last that had an answer.
        reference: The last stage's step; of a kept one, once it was asked.
        judge, preferred: As `judge` and `judged` of `QuestionFacts`.
    """

    plan: RequestPlan
    trace: Trace
    kept: bool
    draft: Step | None
    reference: Step | None = None
    key_id: str | None = None
    judge: str = ""
    preferred: float | None = None

    @property
    def worse(self) -> float | None:
        """1.0 where the judge prefers the last stage's answer to the kept one, else 0.0; None: not known."""
        return None if self.preferred is None else float(self.preferred > 0)

    @property
    def served(self) -> Step | None:
        """The step whose answer the client got."""
        return self.draft if self.kept else self.reference

    def facts(self) -> QuestionFacts:
        """The facts of this question."""
        question = self.plan.question
        cost = self.trace.cost_usd
        return QuestionFacts(
            cluster=cluster_of(*(message.content for message in question.messages), *question.choices),
            cost_usd=None if cost is None else float(cost),
            small=None if self.draft is None else facts_of(self.draft),
            large=None if self.reference is None else facts_of(self.reference),
            judge=self.judge,
            judged=self.preferred,
        )


def traffic_of(completed: CompletedRequest) -> Traffic | None:
    """A request as the audit sees it; None for one that the promise of a calibration is not about.

    Left out are: failures, answers from the cache, a stage that was asked directly, a request that sets its own
    threshold, stage or largest cost, requests with tools and answers that call them, and sticky conversations.
    """
    plan, trace, controls = completed.state.plan, completed.trace, completed.state.request.controls
    if completed.error is not None or completed.state.cached or trace.status is not Status.ANSWERED:
        return None
    if len(plan.cascade.stages) < 2 or not (
        controls.threshold is None and controls.stage is None and controls.max_cost_usd is None
    ):
        return None
    if _uses_tools(completed):
        return None
    *_, last = plan.cascade.stages
    kept = trace.stage != last.name
    answered = [step for step in trace.steps if step.completion is not None and step.error is None]
    drafts = [step for step in answered if step.stage != last.name]
    if kept and not any(step.stage == trace.stage and step.decision is Decision.KEEP for step in drafts):
        return None  # a fallback, or the winner of a race
    draft = next((step for step in drafts if step.stage == trace.stage), drafts[-1] if drafts else None)
    reference = None if kept else next(step for step in answered if step.stage == last.name)
    return Traffic(
        plan=plan, trace=trace, kept=kept, draft=draft, reference=reference, key_id=completed.state.admission.key_id
    )


def _uses_tools(completed: CompletedRequest) -> bool:
    request = completed.state.request
    if any(request.extra.get(name) for name in TOOLS) or "tool_calls" in other_fields(completed.trace):
        return True
    return any(message.role in ("tool", "function") for message in request.messages)


def is_chat(traffic: Traffic) -> bool:
    """True where no short answer is read from the text."""
    return any(stage.mode is Mode.CHAT for stage in traffic.plan.cascade.stages)


def can_judge(traffic: Traffic) -> bool:
    """True where the question is text alone, which is all that a judge is shown."""
    question = traffic.plan.question
    parts = question.native is not None and bool(question.native.only)  # that no chat message can carry
    return not parts and not any(has_media(message) for message in question.messages)


def text_of(step: Step | None) -> str | None:
    """The text of a step's answer."""
    return None if step is None or step.completion is None else step.completion.text


def facts_of(step: Step) -> StageFacts:
    """The facts of one stage's answer."""
    completion, confidence = step.completion, step.confidence
    inputs = confidence.inputs if confidence is not None and confidence.inputs is not UNSET else {}
    if not inputs and confidence is not None and confidence.value is not None:
        inputs = {"confidence": confidence.value}
    return StageFacts(
        stage=step.stage,
        model=completion.model if completion is not None else "",
        readable=step.answer is not None,
        failed=step.error is not None,
        confidence=confidence.value if confidence is not None else None,
        kind=confidence.signal if confidence is not None else "",
        score=confidence.score if confidence is not None else None,
        cost_usd=None if step.cost_usd is None else float(step.cost_usd),
        prompt_tokens=completion.usage.prompt_tokens if completion is not None else 0,
        completion_tokens=completion.usage.completion_tokens if completion is not None else 0,
        inputs=dict(inputs),
    )


def read_facts(text: str) -> QuestionFacts:
    """The facts that a row holds."""
    return msgspec.json.decode(text, type=QuestionFacts)


def encoded(traffic: Traffic) -> str:
    """The facts of a question as JSON, without NUL, which PostgreSQL would not read from it."""
    return msgspec.json.encode(traffic.facts()).decode().replace("\\u0000", "\\ufffd")
