"""P(True), from the reply's probabilities or its words."""

import math

import pytest
from tests.signals.helpers import QUESTION, Stub, tokens, wrote

from corea.errors import BackendTimeout
from corea.signals.self_check import SelfCheck
from corea.signals.self_verdict import find_verdict, token_verdict
from corea.types import Completion, TokenLogprob

YES = [
    *("Yes", "yes.", "**Yes**", '"Yes"', " YES!", "- Yes", "Answer: Yes", '{"answer": "Yes"}', "True", "Correct.", "Y"),
    *("The answer is correct.", "That is right.", "It's right", "Absolutely", "Yes, it is right.", "Yep", "Indeed"),
    *("That's the correct answer.", "It is not wrong.", "Not incorrect", "There are no errors.", "No errors found."),
    *("No doubt, it is correct.", "Is the answer above right? Yes.", "Of course.", "Yes, that is not wrong", "I agree"),
    *("Ja", "Oui", "Sí", "Да", "是", "正确", "对", "はい", "네, 맞습니다", "Yes. The right triangle has legs 3 and 4."),
    *("没错", "Sì", "✅ Yes", "Verdict: Correct", "It seems right.", "You're right", "\\boxed{Yes}"),
]
NO = [
    *("No", "no.", "**No**", '"No"', "Not correct", "It is not right", "It isn't right", "It isn’t right", "Incorrect"),
    *("**Incorrect**", "False", "Wrong", "That is wrong.", "It's not quite right", "Not quite", "Not exactly", "Nope"),
    *(
        "No, it is 5.",
        "Absolutely not",
        "Definitely not correct",
        "That's the wrong answer.",
        "It cannot be right",
        "N",
    ),
    *("This answer is not entirely correct.", "is not the correct answer", "The answer is far from correct", "Never"),
    *("I do not think that is correct", "I don't believe the answer is correct", "That doesn't look right", "Untrue"),
    *("No, but close", "Is the answer above right? No.", "No. The correct answer is 5.", "I disagree", "Not really."),
    *("There is a mistake", "It contains an error", "The answer isn't 4, it's 5", "By no means", "❌ No", "It's not"),
    *("Nein", "Non", "Нет", "不正确", "不对", "错误", "いいえ", "아니요"),
]
NEITHER = [
    *(
        "",
        "Maybe",
        "I cannot say.",
        "I'm not sure",
        "It depends",
        "Unclear",
        "Yes and no",
        "right or wrong",
        "5",
        "100%",
    ),
    *("Yes, but the answer is wrong", "Yes, but the units are missing", "Correct, however the rounding is off"),
    *("Partially correct", "The correct answer is 5", "I don't know if it is correct", "It's impossible to tell"),
    *("Yes. No.", "Correct or incorrect?", "Cannot determine whether it is right", "The answer may be right"),
    *("Let me verify whether it is right", "The question asks whether it is correct", "Let's check: 2+2=4", "Yes/No"),
    *("We need to check that the answer is correct", "I need more information", "Unsure"),
]


@pytest.mark.parametrize(("text", "right"), [(t, True) for t in YES] + [(t, False) for t in NO])
def test_a_verdict_is_read_from_the_whole_reply(text: str, right: bool) -> None:
    verdict = find_verdict(text)
    assert verdict is not None
    assert verdict.right is right


@pytest.mark.parametrize("text", NEITHER)
def test_an_unsure_or_contradictory_reply_gives_no_verdict(text: str) -> None:
    assert find_verdict(text) is None


@pytest.mark.parametrize(
    ("token", "says"),
    [("Yes", True), (" yes", True), ("**Yes", True), ('"No', False), (" not", False), ("Not", False), ("In", False),
     ("Incor", False), ("Corr", True), ("▁No", False), ("ĠYes", True), ("Wr", False), ("The", None), ("I", None),
     ("", None), ("Maybe", None), ("不对", False), ("对", True)],
)  # fmt: skip
def test_a_token_says_yes_or_no_where_it_begins_such_a_word(token: str, says: bool | None) -> None:
    assert token_verdict(token) is says


async def test_p_true_is_read_from_the_probabilities() -> None:
    reply = tokens(("Yes", {"Yes": 0.6, "No": 0.15, " yes": 0.1, "Maybe": 0.05}), ".")
    backend = Stub(reply)
    confidence = await SelfCheck(backend).measure(QUESTION, wrote("<think>hm</think><answer>4</answer>"))
    assert confidence.value == pytest.approx(0.7 / 0.85)
    assert confidence.reason == "15.0% of the probability is on neither"
    asked, sampling = backend.asked[0]
    assert [m.role for m in asked.messages] == ["user", "assistant", "user"]
    assert asked.messages[1].content == "4"  # without its reasoning and confidence
    assert sampling.logprobs


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        (tokens(("Not", {"Not": 0.7, "Yes": 0.2, "No": 0.1}), (" correct", {" correct": 0.95})), 0.2),
        (tokens(("In", {"In": 0.6, "Yes": 0.3, "No": 0.1}), ("correct", {"correct": 0.99})), 0.3),
        (tokens("It", " is", (" not", {" not": 0.8, " right": 0.15, " correct": 0.05}), " right"), 0.2),
        (tokens("It", " is", (" right", {" right": 0.6, " not": 0.3, " wrong": 0.1})), 0.6),
        (tokens("**", ("Yes", {"Yes": 0.75, "No": 0.25}), "**"), 0.75),
        (tokens('"', (" No", {" No": 0.9, " Yes": 0.1}), '"'), 0.1),
        (tokens("<think>Yes or no?</think>", ("No", {"No": 0.8, "Yes": 0.2})), 0.2),
        (tokens("The answer", " is", (" incorrect", {" incorrect": 0.7, " correct": 0.3}), "."), 0.3),
        (tokens(("Fal", {"Fal": 0.6, "True": 0.4}), "se"), 0.4),
        (tokens("是的", "，"), 1.0),
        (tokens(("不", {"不": 0.7, "是": 0.3}), "对"), 0.3),
        (tokens(("Yes", {"Yes": 0.9, "No": 0.1}), ", but the answer is 5"), None),
        (tokens(("Maybe", {"Maybe": 0.6, "Yes": 0.4})), None),
    ],
)  # fmt: skip
async def test_the_probabilities_are_those_where_the_reply_begins_to_say_so(
    reply: Completion, value: float | None
) -> None:
    confidence = await SelfCheck(Stub(reply)).measure(QUESTION, wrote("4"))
    assert confidence.value == (None if value is None else pytest.approx(value))


async def test_the_call_keeps_the_probabilities_of_that_token_alone() -> None:
    reply = tokens("It", " is", (" not", {" not": 0.8, " right": 0.2}), " right", ".")
    (call,) = (await SelfCheck(Stub(reply)).measure(QUESTION, wrote("4"))).calls
    assert call.text == "It is not right."
    assert [token.token for token in call.logprobs or ()] == [" not"]
    assert call.logprobs_at == (5,)


@pytest.mark.parametrize(
    ("text", "value"), [("Yes.", 1.0), ("That is not correct.", 0.0), ("<think>No... yes</think>Yes", 1.0)]
)
async def test_words_decide_where_there_are_no_probabilities(text: str, value: float) -> None:
    reply = wrote(text, logprobs=(TokenLogprob(text, math.log(0.5)),))
    for written in (wrote(text), reply):
        confidence = await SelfCheck(Stub(written)).measure(QUESTION, wrote("4"))
        assert (confidence.value, len(confidence.calls)) == (value, 1)
        assert confidence.reason == "from the words: the backend gave no token probabilities"


async def test_a_reply_with_no_verdict_is_none_and_shown() -> None:
    confidence = await SelfCheck(Stub(wrote("I cannot say."))).measure(QUESTION, wrote("4"))
    assert (confidence.value, confidence.reason) == (
        None,
        "the reply says neither yes nor no: 'I cannot say.'",
    )


async def test_a_failed_self_check_is_none_and_keeps_what_was_billed() -> None:
    spent = wrote("Y")
    confidence = await SelfCheck(Stub(BackendTimeout("too slow", spent=spent))).measure(QUESTION, wrote("4"))
    assert confidence.value is None
    assert "too slow" in confidence.reason
    assert confidence.calls == (spent,)


async def test_self_check_of_nothing_makes_no_call() -> None:
    backend = Stub()
    assert (await SelfCheck(backend).measure(QUESTION, wrote(""))).value is None
    assert not backend.asked
