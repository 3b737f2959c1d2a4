"""The share of further samples that agree, by the question's own grader."""

import asyncio
import threading

import pytest
from tests.signals.helpers import QUESTION, Stub, wrote

from corea.errors import BackendTimeout, ConfigError
from corea.protocols import Grader
from corea.signals.agreement import Agreement, agrees, same_answer
from corea.types import Completion, Message, Question, Sampling, Verdict


def answers(*values: str) -> list[Completion]:
    return [wrote(f"<answer>{value}</answer>") for value in values]


async def test_agreement_is_the_share_of_equal_answers() -> None:
    backend = Stub(*answers("4", "$4.00", "5", "4", "6"))
    confidence = await Agreement(backend, k=5).measure(QUESTION, wrote("<answer>4</answer>"))
    assert confidence.value == pytest.approx(0.6)
    assert len(confidence.calls) == 5
    assert confidence.reason == "3 of 5 agree"


async def test_agreement_stops_once_it_will_be_kept() -> None:
    backend = Stub(*answers("4", "5", "4", "4", "4"))
    confidence = await Agreement(backend, k=5, threshold=0.6).measure(QUESTION, wrote("<answer>4</answer>"))
    assert len(backend.asked) == 4  # 3 of 5 are sure to agree
    assert confidence.value == pytest.approx(0.75)
    assert confidence.reason == "3 of 4 agree; stopped before 5: the decision at 0.6 could not change"


async def test_agreement_stops_once_it_will_be_deferred() -> None:
    backend = Stub(*answers("5", "6", "7", "4", "4"))
    confidence = await Agreement(backend, k=5, threshold=0.6).measure(QUESTION, wrote("<answer>4</answer>"))
    assert (len(backend.asked), confidence.value) == (3, 0.0)


@pytest.mark.parametrize("pattern", range(32))
@pytest.mark.parametrize("threshold", [0.1, 0.2, 0.5, 0.6, 0.8, 1.0])
async def test_the_early_stop_never_changes_the_decision(pattern: int, threshold: float) -> None:
    drawn = answers(*("4" if pattern >> i & 1 else "9" for i in range(5)))
    first = wrote("<answer>4</answer>")
    full = await Agreement(Stub(*drawn), k=5).measure(QUESTION, first)
    early = await Agreement(Stub(*drawn), k=5, threshold=threshold).measure(QUESTION, first)
    assert full.value is not None
    assert early.value is not None
    assert (early.value >= threshold) == (full.value >= threshold)


async def test_agreement_numbers_its_seeds_and_draws_at_once() -> None:
    backend = Stub(*answers("4", "4", "4"))
    await Agreement(backend, k=3, sampling=Sampling(seed=7), at_once=2).measure(QUESTION, wrote("4"))
    assert [sampling.seed for _, sampling in backend.asked] == [8, 9, 10]


async def test_a_failed_sample_is_left_out() -> None:
    spent = wrote("<ans")
    backend = Stub(BackendTimeout("slow", spent=spent), *answers("4", "5"))
    confidence = await Agreement(backend, k=3).measure(QUESTION, wrote("4"))
    assert (confidence.value, confidence.reason) == (0.5, "1 of 2 agree; 1 failed")
    assert len(confidence.calls) == 3
    none = await Agreement(Stub(BackendTimeout("slow")), k=1).measure(QUESTION, wrote("4"))
    assert (none.value, none.reason) == (None, "every further sample failed")


async def test_agreement_without_an_answer_makes_no_call() -> None:
    backend = Stub()
    assert (await Agreement(backend).measure(QUESTION, wrote(""))).value is None
    assert not backend.asked


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("4", "4.0", True), ("1,234", "1234", True), ("$5", "5.00", True), ("Paris", " paris.", True), ("B", "b", True),
     ("4", "5", False), ("4", None, False), ("x + 1", "x+1", True), ("1,2", "12", False), ("nan", "nan", True)],
)  # fmt: skip
def test_answers_are_compared_after_light_normalisation(one: str, other: str | None, same: bool) -> None:
    assert same_answer(one, other) is same


@pytest.mark.parametrize("wrong", [{"k": 0}, {"at_once": 0}, {"sampling": Sampling(temperature=0.0)}])
def test_agreement_refuses_settings_that_say_nothing(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="signal agreement"):
        Agreement(Stub(), **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "text", "equal"),
    [
        ("1/2", "<answer>0.5</answer>", True),
        ("0.5", "The answer is 1/2.", True),
        ("\\frac{1}{2}", "\\boxed{0.5}", True),
        ("1,000", "<answer>1000</answer>", True),
        ("$5", "<answer>5.00</answer>", True),
        ("Paris", "<answer>paris.</answer>", True),
        ("B", "<answer>bank (B)</answer>", True),
        ("4", "<answer>5</answer>", False),
        ("4", "<answer>-4</answer>", False),
        ("B", "<answer>C) river</answer>", False),
        ("Paris", "<answer>London</answer>", False),
        ("4", "no answer was written here, and", False),
    ],
)
async def test_answers_agree_by_the_grader_of_their_kind(one: str, text: str, equal: bool) -> None:
    assert (await agrees(QUESTION, one, text)).correct is equal


@pytest.mark.parametrize(
    ("one", "text"), [("B", "<answer>bank</answer>"), ("bank", "<answer>B</answer>"), ("(B) bank", "B")]
)
async def test_an_option_agrees_by_its_letter_or_its_text(one: str, text: str) -> None:
    question = Question(id="q", messages=(Message("user", "Money is kept in a ...?"),), choices=("river", "bank"))
    assert (await agrees(question, one, text)).correct
    assert not (await agrees(question, one, "<answer>A</answer>")).correct


async def test_agreement_counts_equal_values_in_other_notation() -> None:
    backend = Stub(*answers("0.5", "1/2", "2/4", "0.6"))
    confidence = await Agreement(backend, k=4).measure(QUESTION, wrote("<answer>1/2</answer>"))
    assert (confidence.value, confidence.reason) == (0.75, "3 of 4 agree")


class Waiting:
    """A grader that waits, as that of mathematics does for its process."""

    def __init__(self) -> None:
        self.may_end = threading.Event()

    def grade(self, question: Question, text: str) -> Verdict:
        return Verdict(self.may_end.wait(timeout=60), text)


async def test_a_grader_that_waits_does_not_hold_the_event_loop_up(monkeypatch: pytest.MonkeyPatch) -> None:
    grader = Waiting()
    monkeypatch.setattr("corea.signals.agreement.grader_for", lambda question: grader)
    asking = asyncio.create_task(agrees(QUESTION, "4", "<answer>5</answer>"))
    await asyncio.sleep(0)
    grader.may_end.set()  # blocked, the loop would come here only after the wait
    assert (await asking).correct


async def test_without_its_grader_answers_are_compared_as_text_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(question: Question) -> Grader:
        raise ConfigError("grader maths: needs math-verify, which is not installed")

    monkeypatch.setattr("corea.signals.agreement.grader_for", lacking)
    confidence = await Agreement(Stub(*answers("4.0", "5")), k=2).measure(QUESTION, wrote("<answer>4</answer>"))
    assert confidence.value == 0.5
    assert confidence.reason == (
        "1 of 2 agree; compared as text: grader maths: needs math-verify, which is not installed"
    )
