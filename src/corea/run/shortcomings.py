"""Problems of questions that did not fail: unreadable, empty, cut or filtered texts, and unstated confidence."""

import re
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from corea.parsing import is_refusal, is_visibly_blank
from corea.signals.validators import failed_validator, is_filtered
from corea.stage import DECLINED
from corea.types import Completion, Status, Step, Trace

TOOL_CALLS = "tool_calls"  # a finish reason, as OpenAI names it
_AS_ASKED = re.compile(r"</answer>\s{0,9}(?:<confidence>[^<>]{0,40}</confidence>\s{0,9})?\Z")


class ShortcomingKind(StrEnum):
    """The kinds of problems."""

    UNREADABLE = "unreadable"  # a text that was returned, with no short answer to be read in it
    EMPTY = "empty"  # a text that was returned, with nothing to be seen in it
    CUT = "cut"  # any text that the token limit ended
    FILTERED = "filtered"  # any text that a content filter ended, or that is a refusal
    UNSTATED = "unstated"  # a draft of which the signal found no confidence
    OUTSIDE = "outside"  # a draft with an input unlike all rows that calibrated


class UnreadableReason(StrEnum):
    """The reason of a missing answer or confidence: the first of these that applies."""

    FILTERED = "content_filter_or_refusal"
    CUT = "token_limit"
    EMPTY = "empty_text"
    DECLINED = "declined"  # it says that its writer does not know
    NOT_FOUND = "not_found"


class Shortcoming(NamedTuple):
    """One kind of problem at one stage."""

    kind: ShortcomingKind
    stage: str
    why: UnreadableReason | None = None


@dataclass(slots=True)
class Shortcomings:
    """Counts over all starts.

    Args:
        found: The number of each; an unreadable answer may count under several kinds.
        examples: The first question of each.
        reasons: By stage, the signal's reasons for a missing confidence (`UnreadableReason.NOT_FOUND`).
    """

    found: Counter[Shortcoming] = field(default_factory=Counter[Shortcoming])
    examples: dict[Shortcoming, str] = field(default_factory=dict[Shortcoming, str])
    reasons: dict[str, Counter[str]] = field(default_factory=dict[str, Counter[str]])

    def add(self, trace: Trace) -> None:
        """Adds one trace."""
        if trace.status is Status.FAILED:
            return
        for step in trace.steps:
            if step.completion is not None and step.error is None:
                self._add_step(step, step.completion, trace.question_id)
        completion = answering(trace)
        if trace.status is Status.ABSTAINED or completion is None or completion.finish_reason == TOOL_CALLS:
            return
        stage = trace.stage or ""
        if trace.answer is None:
            self._note(Shortcoming(ShortcomingKind.UNREADABLE, stage, why_unreadable(completion)), trace.question_id)
        if _shows_nothing(completion.text, trace.answer):
            self._note(Shortcoming(ShortcomingKind.EMPTY, stage, why_unreadable(completion)), trace.question_id)

    def _add_step(self, step: Step, completion: Completion, question: str) -> None:
        if completion.finish_reason != "stop" or completion.raw is not None:
            if completion.cut_by_limit:
                self._note(Shortcoming(ShortcomingKind.CUT, step.stage), question)
            if is_filtered(completion):
                self._note(Shortcoming(ShortcomingKind.FILTERED, step.stage), question)
        if (confidence := step.confidence) is None or confidence.value is not None or confidence.reason == DECLINED:
            return
        if confidence.outside:
            self._note(Shortcoming(ShortcomingKind.OUTSIDE, step.stage), question)
            return
        why = why_unreadable(completion)
        why = UnreadableReason.NOT_FOUND if why is UnreadableReason.DECLINED else why
        self._note(Shortcoming(ShortcomingKind.UNSTATED, step.stage, why), question)
        if why is UnreadableReason.NOT_FOUND:
            failed = f"the validator {confidence.signal} failed" if failed_validator(confidence) else confidence.reason
            self.reasons.setdefault(step.stage, Counter())[failed] += 1

    def _note(self, shortcoming: Shortcoming, question: str) -> None:
        self.found[shortcoming] += 1
        self.examples.setdefault(shortcoming, question)

    def unreadable(self, *, free_text: bool = False) -> int:
        """Texts that were returned and hold no answer; where whole texts are wanted, those that show nothing."""
        return self._by(ShortcomingKind.EMPTY if free_text else ShortcomingKind.UNREADABLE, "kind").total()

    def by_stage(self, kind: ShortcomingKind) -> dict[str, int]:
        """The number of problems of a kind, by stage."""
        return dict(self._by(kind, "stage"))

    def _by(self, kind: ShortcomingKind, part: str) -> Counter[str]:
        counts = Counter[str]()
        for shortcoming, count in self.found.items():
            if shortcoming.kind is kind:
                counts[str(getattr(shortcoming, part))] += count
        return counts

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "unreadable_answers": self.unreadable(),
            "unreadable_because": dict(self._by(ShortcomingKind.UNREADABLE, "why")),
            "empty_texts": self.unreadable(free_text=True),
            "cut_by_token_limit": self.by_stage(ShortcomingKind.CUT),
            "filtered_or_refused": self.by_stage(ShortcomingKind.FILTERED),
            "no_confidence_stated": self.by_stage(ShortcomingKind.UNSTATED),
            "outside_calibration": self.by_stage(ShortcomingKind.OUTSIDE),
        }


def answering(trace: Trace) -> Completion | None:
    """The completion of the stage that answered; None where none did."""
    for step in reversed(trace.steps):
        if step.stage == trace.stage and step.completion is not None and step.error is None:
            return step.completion
    return None


def why_unreadable(completion: Completion) -> UnreadableReason:
    """The reason why a text without an answer has none."""
    if is_filtered(completion):
        return UnreadableReason.FILTERED
    if completion.cut_by_limit:
        return UnreadableReason.CUT
    if is_visibly_blank(completion.text):
        return UnreadableReason.EMPTY
    return UnreadableReason.DECLINED if is_refusal(completion.text) else UnreadableReason.NOT_FOUND


def _shows_nothing(text: str, answer: str | None) -> bool:
    """True for a text with nothing visible; most end with the answer in the asked form, which is quick to check."""
    end = text.rfind("</answer>") if answer else -1
    return not (end >= 0 and _AS_ASKED.match(text, end)) and is_visibly_blank(text)
