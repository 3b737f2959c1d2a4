"""What is counted of answers that are less than they should be, and why."""

from typing import Any

import pytest

from corea.run.shortcomings import ShortcomingKind, Shortcomings, UnreadableReason, why_unreadable
from corea.types import Completion, Confidence, Decision, Status, Step, Trace, replace

THOUGHT = "<think>The filter hums. 12 + 7 is easy.</think>"


def trace(text: str, answer: str | None = None, *, status: Status = Status.ANSWERED, **fields: Any) -> Trace:
    """One question of one stage that answered this."""
    step = Step(stage="large", completion=Completion(text=text, model="m", **fields), answer=answer)
    return Trace(question_id="q", steps=(step,), status=status, answer=answer, text=text, stage="large")


def counted(*traces: Trace) -> dict[str, Any]:
    found = Shortcomings()
    for each in traces:
        found.add(each)
    return found.as_dict()


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"text": "", "finish_reason": "content_filter"}, UnreadableReason.FILTERED),
        ({"text": "I must", "finish_reason": "content_filter"}, UnreadableReason.FILTERED),
        ({"text": "", "finish_reason": "SAFETY"}, UnreadableReason.FILTERED),
        ({"text": "", "finish_reason": "PROHIBITED_CONTENT"}, UnreadableReason.FILTERED),
        ({"text": "", "finish_reason": "content-filter"}, UnreadableReason.FILTERED),
        ({"text": "", "finish_reason": "refusal"}, UnreadableReason.FILTERED),
        ({"text": "", "finish_reason": "sensitive"}, UnreadableReason.FILTERED),
        (
            {"text": "", "finish_reason": "stop", "raw": {"role": "assistant", "refusal": "I can't."}},
            UnreadableReason.FILTERED,
        ),
        ({"text": "", "finish_reason": "stop", "raw": {"role": "assistant", "refusal": ""}}, UnreadableReason.EMPTY),
        ({"text": "<think>Let me", "finish_reason": "length"}, UnreadableReason.CUT),
        ({"text": "", "finish_reason": "length"}, UnreadableReason.CUT),
        ({"text": "", "finish_reason": "stop"}, UnreadableReason.EMPTY),
        ({"text": "  \n\u200b", "finish_reason": None}, UnreadableReason.EMPTY),
        ({"text": THOUGHT, "finish_reason": "stop"}, UnreadableReason.EMPTY),
        ({"text": "<think>never closed", "finish_reason": "stop"}, UnreadableReason.EMPTY),
        ({"text": "<answer></answer>\n<confidence>0.9</confidence>", "finish_reason": "stop"}, UnreadableReason.EMPTY),
        ({"text": "<|channel|>analysis<|message|>Hm.<|end|>", "finish_reason": "stop"}, UnreadableReason.EMPTY),
        ({"text": "I don't know.", "finish_reason": "stop"}, UnreadableReason.DECLINED),
        ({"text": "Ich weiß es nicht.", "finish_reason": "stop"}, UnreadableReason.DECLINED),
        ({"text": "It depends on many things.", "finish_reason": "stop"}, UnreadableReason.NOT_FOUND),
    ],
)
def test_the_first_reason_why_an_answer_cannot_be_read_is_told(fields: dict[str, Any], why: UnreadableReason) -> None:
    assert why_unreadable(Completion(model="m", **fields)) is why
    said = counted(trace(**fields))
    assert (said["unreadable_answers"], said["unreadable_because"]) == (1, {why.value: 1})
    assert said["filtered_or_refused"] == ({"large": 1} if why is UnreadableReason.FILTERED else {})


@pytest.mark.parametrize(
    ("text", "answer", "empty"),
    [
        ("", None, 1),
        (THOUGHT, None, 1),
        (THOUGHT, "19", 1),
        (f"{THOUGHT}<answer>19</answer><confidence>0.9</confidence>\n", "19", 0),
        (f"{THOUGHT}\nThe sum is nineteen.", None, 0),
        ("<confidence>0.4</confidence>", None, 1),
        ("Der Vertrag ist gültig.", None, 0),
        ("{}", None, 0),
    ],
)
def test_texts_that_show_nothing_are_counted_apart(text: str, answer: str | None, empty: int) -> None:
    assert counted(trace(text, answer))["empty_texts"] == empty


def test_a_filtered_text_whose_answer_can_be_read_is_counted_and_readable() -> None:
    said = counted(trace("<answer>19</answer> and", "19", finish_reason="content_filter"))
    assert (said["unreadable_answers"], said["filtered_or_refused"]) == (0, {"large": 1})


def test_failures_abstentions_and_tool_calls_are_no_unreadable_answers() -> None:
    said = counted(
        trace("", status=Status.FAILED),
        trace("", status=Status.ABSTAINED),
        trace("", finish_reason="tool_calls", raw={"tool_calls": [{}]}),
    )
    assert (said["unreadable_answers"], said["empty_texts"]) == (0, 0)


def test_drafts_without_a_confidence_are_counted_by_why() -> None:
    found = Shortcomings()
    unstated = Confidence(value=None, signal="verbalized", reason="the text states no confidence")
    for text, finish in (("Hm.", "stop"), ("Hm.", "length"), ("", "content_filter"), ("Hm.", "stop")):
        draft = Step(
            stage="small",
            completion=Completion(text=text, model="s", finish_reason=finish),
            confidence=unstated,
            decision=Decision.DEFER,
        )
        answered = trace("<answer>4</answer>", "4")
        found.add(replace(answered, steps=(draft, *answered.steps)))
    assert found.by_stage(ShortcomingKind.UNSTATED) == {"small": 4}
    assert found.reasons == {"small": {"the text states no confidence": 2}}
