"""The cascade: who is asked, what is returned, what is recorded and what it cost."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pytest

from corea.cascade import Cascade, OnError, OnLastDown, Stage
from corea.errors import BackendError, BackendTimeout, ConfigError
from corea.hedge import HedgedCascade
from corea.policies.threshold import Threshold
from corea.prices import Price
from corea.prompts import Prompt
from corea.types import Completion, Confidence, Decision, Message, Question, Sampling, Status, Trace, Usage

CHEAP = Price(input_usd_per_mtok=Decimal(1), output_usd_per_mtok=Decimal(2))
DEAR = Price(input_usd_per_mtok=Decimal(10), output_usd_per_mtok=Decimal(20))
Reply = str | Completion | BackendError


@dataclass
class Scripted:
    """Answers by a function of the question, and remembers what it was asked."""

    reply: Callable[[Question], Reply]
    model: str = "scripted"
    asked: list[Question] = field(default_factory=list)

    async def complete(self, question: Question, sampling: Sampling) -> Completion:
        self.asked.append(question)
        said = self.reply(question)
        if isinstance(said, BackendError):
            raise said
        if isinstance(said, Completion):
            return said
        return Completion(text=said, model=self.model, usage=Usage(prompt_tokens=100, completion_tokens=10))


class Streaming(Scripted):
    """The same, also in pieces of four characters."""

    async def stream(self, question: Question, sampling: Sampling) -> AsyncIterator[str | Completion]:
        completion = await self.complete(question, sampling)
        for at in range(0, len(completion.text), 4):
            yield completion.text[at : at + 4]
        yield completion


@dataclass(frozen=True)
class Sure:
    """A signal that says what it is told."""

    value: float | None
    calls: tuple[Completion, ...] = ()

    async def measure(self, question: Question, completion: Completion) -> Confidence:
        return Confidence(value=self.value, signal="told", calls=self.calls)


def pair(
    confidence: float | None = 0.9,
    small: Reply = "<answer>19</answer>",
    large: Reply = "<answer>20</answer>",
    **changes: Any,
) -> tuple[Cascade, Scripted, Scripted]:
    first, second = Scripted(lambda q: small, "small-model"), Scripted(lambda q: large, "large-model")
    stage = Stage(name="small", backend=first, signal=Sure(confidence), policy=Threshold(0.8), price=CHEAP)
    stage = replace(stage, **{k: v for k, v in changes.items() if hasattr(stage, k)})
    rest = {k: v for k, v in changes.items() if not hasattr(stage, k)}
    return Cascade(stages=(stage, Stage(name="large", backend=second, price=DEAR)), **rest), first, second


ASKED = Question.of("12 + 7?")


async def test_a_sure_answer_is_kept_and_the_large_model_is_not_asked() -> None:
    cascade, _, large = pair(0.9)
    trace = await cascade.ask(ASKED)
    assert (trace.answer, trace.stage, trace.status, trace.deferred) == ("19", "small", Status.ANSWERED, False)
    assert large.asked == []
    assert trace.cost_usd == Decimal("0.00012")
    assert trace.confidence == Confidence(value=0.9, signal="told")


async def test_an_unsure_answer_is_deferred_and_both_passes_are_paid() -> None:
    cascade, _, _ = pair(0.5)
    trace = await cascade.ask(ASKED)
    assert (trace.answer, trace.stage, trace.deferred) == ("20", "large", True)
    assert trace.cost_usd == Decimal("0.00012") + Decimal("0.0012")
    assert (trace.baseline_cost_usd, trace.baseline_estimated) == (Decimal("0.0012"), False)
    assert trace.saved_usd == -Decimal("0.00012")


async def test_a_confidence_that_could_not_be_computed_defers_by_default() -> None:
    cascade, _, _ = pair(None)
    assert (await cascade.ask(ASKED)).stage == "large"


@pytest.mark.parametrize("text", ["<answer>I don't know</answer>", "Sorry, I can't answer that."])
async def test_a_model_that_says_it_does_not_know_is_not_believed_to_be_sure(text: str) -> None:
    trace = await pair(0.95, small=text)[0].ask(ASKED)
    assert (trace.answer, trace.stage, trace.steps[0].answer) == ("20", "large", None)
    assert trace.steps[0].confidence == Confidence(
        value=None, signal="told", reason="the text says that it does not know"
    )


async def test_a_text_with_no_short_answer_is_kept_by_its_confidence() -> None:
    poem = "A tree stands in the field, and it is old.\nIts leaves are many, and its shade is wide\nfor all who rest"
    assert (await pair(0.95, small=poem)[0].ask(ASKED)).stage == "small"


async def test_the_baseline_of_a_kept_answer_is_estimated_from_calls_made() -> None:
    large = Completion(text="20", model="m", usage=Usage(prompt_tokens=100, completion_tokens=60))
    cascade, _, _ = pair(0.9, large=large)  # until it is called, as many tokens as the small model are assumed
    before = await cascade.ask(ASKED)
    await replace(cascade, stages=(replace(cascade.stages[0], signal=Sure(0.1)), cascade.stages[1])).ask(ASKED)
    after = await cascade.ask(ASKED)
    assert (before.baseline_cost_usd, before.baseline_estimated, before.baseline_assumed) == (
        Decimal("0.0012"),
        True,
        True,
    )
    assert (after.baseline_cost_usd, after.baseline_estimated, after.baseline_assumed) == (
        Decimal("0.0022"),
        True,
        False,
    )


async def test_any_number_of_stages_are_asked_in_order_until_one_is_sure() -> None:
    backends = [Scripted(lambda q, n=n: f"answer {n}") for n in range(4)]
    stages = tuple(
        Stage(name=str(n), backend=b, signal=Sure(0.2 * n), policy=Threshold(0.4)) for n, b in enumerate(backends)
    )
    trace = await Cascade(stages=stages).ask(ASKED)
    assert [(s.stage, s.decision) for s in trace.steps] == [
        ("0", Decision.DEFER), ("1", Decision.DEFER), ("2", Decision.KEEP),
    ]  # fmt: skip
    assert [len(b.asked) for b in backends] == [1, 1, 1, 0]


async def test_a_stage_without_a_price_makes_the_cost_unknown_and_not_zero() -> None:
    cascade, _, _ = pair(0.5, price=None)
    assert (await cascade.ask(ASKED)).cost_usd is None


async def test_what_the_far_end_says_it_charged_wins_and_wasted_tokens_and_signal_calls_are_added() -> None:
    usage = Usage(prompt_tokens=1000, completion_tokens=0)
    said = Completion(text="19", model="m", usage=usage, cost_usd=Decimal("0.5"), wasted=usage, retries=1)
    call = Completion(text="yes", model="m", usage=usage)
    cascade, _, _ = pair(small=said, signal=Sure(0.9, calls=(call, call)))
    assert (await cascade.ask(ASKED)).cost_usd == Decimal("0.5") + 3 * Decimal("0.001")


async def test_a_stage_that_is_down_hands_over_to_the_next() -> None:
    cascade, _, _ = pair(small=BackendTimeout("nothing in 5 s", backend="small-model"))
    trace = await cascade.ask(ASKED)
    assert (trace.answer, trace.status) == ("20", Status.ANSWERED)
    assert trace.steps[0].error == "small-model: nothing in 5 s"
    assert trace.steps[0].error_kind == "BackendTimeout"
    assert trace.steps[0].cost_usd == 0


async def test_a_stage_that_is_down_fails_the_question_where_that_is_set() -> None:
    cascade, _, large = pair(small=BackendError("refused"), on_error=OnError.FAIL)
    trace = await cascade.ask(ASKED)
    assert (trace.status, trace.error, trace.answer, large.asked) == (Status.FAILED, "refused", None, [])


async def test_what_a_failed_call_had_used_is_paid() -> None:
    spent = Completion(text="half an ans", model="m", usage=Usage(prompt_tokens=100, completion_tokens=50))
    cascade, _, _ = pair(small=BackendError("broke off", spent=spent))
    trace = await cascade.ask(ASKED)
    assert trace.steps[0].cost_usd == Decimal("0.0002")
    assert trace.cost_usd == Decimal("0.0002") + Decimal("0.0012")


async def test_the_question_fails_when_the_last_stage_is_down() -> None:
    cascade, _, _ = pair(0.5, large=BackendError("down"))
    trace = await cascade.ask(ASKED)
    assert (trace.status, trace.error, trace.answer, trace.stage) == (Status.FAILED, "down", None, None)
    assert trace.cost_usd == Decimal("0.00012")


async def test_the_best_kept_back_answer_is_returned_and_flagged_where_that_is_set() -> None:
    answers = [Scripted(lambda q, n=n: f"<answer>{n}</answer>") for n in range(3)]
    stages = [
        Stage(name=str(n), backend=answers[n], signal=Sure(sure), policy=Threshold(0.9))
        for n, sure in enumerate((0.3, 0.6, None))
    ]
    down = Stage(name="last", backend=Scripted(lambda q: BackendError("down")))
    trace = await Cascade(stages=(*stages, down), on_last_down=OnLastDown.BEST).ask(ASKED)
    assert (trace.status, trace.answer, trace.stage, trace.error) == (Status.FALLBACK, "1", "1", "down")


async def test_a_pre_policy_skips_a_stage_before_anything_is_paid() -> None:
    class Never:
        def decide(self, question: Question) -> Decision:
            return Decision.DEFER

    cascade, small, _ = pair(0.9, pre_policy=Never())
    trace = await cascade.ask(ASKED)
    assert (trace.stage, small.asked, trace.cost_usd) == ("large", [], Decimal("0.0012"))
    assert trace.steps[0].skipped == "pre-policy Never: not worth asking this stage"


async def test_a_draft_is_handed_over_only_where_that_is_set() -> None:
    without, _, large = pair(0.5, small="my draft 19")
    await without.ask(ASKED)
    assert large.asked[0].text == "12 + 7?"
    with_draft, _, large = pair(0.5, small="my draft 19", pass_draft=True)
    await with_draft.ask(ASKED)
    assert large.asked[0].text.startswith("12 + 7?\n\nA smaller model wrote the draft below.")
    assert "<draft>\nmy draft 19\n</draft>" in large.asked[0].text


async def test_abstaining_returns_no_answer_and_asks_nobody_else() -> None:
    cascade, _, large = pair(0.1, policy=Threshold(0.8, abstain_below=0.2))
    trace = await cascade.ask(ASKED)
    assert (trace.status, trace.answer, trace.text, large.asked) == (Status.ABSTAINED, None, None, [])


async def test_a_signal_whose_own_call_fails_gives_no_confidence_and_its_cost_is_counted() -> None:
    class Broken:
        async def measure(self, question: Question, completion: Completion) -> Confidence:
            raise BackendError("no answer", spent=Completion(text="", model="m", usage=Usage(prompt_tokens=100)))

    cascade, _, _ = pair(signal=Broken())
    trace = await cascade.ask(ASKED)
    assert trace.stage == "large"
    assert trace.steps[0].confidence is not None
    assert trace.steps[0].confidence.reason == "no answer"
    assert trace.steps[0].cost_usd == Decimal("0.00012") + Decimal("0.0001")


async def test_a_conversation_is_sent_whole_with_the_prompt_around_its_last_question() -> None:
    prompt = Prompt("p", user="Q: {question}", system="Be brief.")
    cascade, small, _ = pair(0.9, prompt=prompt)
    chat = Question(id="chat", messages=(Message("user", "hi"), *ASKED.messages))
    await cascade.ask(chat)
    assert [(m.role, m.content) for m in small.asked[0].messages] == [
        ("system", "Be brief."), ("user", "hi"), ("user", "Q: 12 + 7?"),
    ]  # fmt: skip


async def test_nothing_of_a_deferred_draft_reaches_the_listener() -> None:
    cascade, _, _ = pair(0.5, small="SECRET DRAFT")
    stream = Streaming(lambda q: "the large answer", "large-model")
    cascade = replace(cascade, stages=(cascade.stages[0], replace(cascade.stages[1], backend=stream)))
    heard: list[str] = []

    async def listen(text: str) -> None:
        heard.append(text)

    trace = await cascade.ask(ASKED, on_text=listen)
    assert heard == ["the ", "larg", "e an", "swer"]
    assert trace.text == "the large answer"


async def test_a_kept_answer_reaches_the_listener_whole_after_its_step() -> None:
    cascade, _, _ = pair(0.9)
    events: list[str] = []

    async def listen(text: str) -> None:
        events.append(text)

    await cascade.ask(ASKED, on_text=listen, on_step=lambda step: events.append(f"{step.stage} {step.decision}"))
    assert events == ["small keep", "<answer>19</answer>"]


async def test_after_half_an_answer_was_given_no_other_follows() -> None:
    class Breaks(Streaming):
        async def stream(self, question: Question, sampling: Sampling) -> AsyncIterator[str | Completion]:
            yield "half"
            raise BackendError("broke off")

    cascade, _, _ = pair(0.5, on_last_down=OnLastDown.BEST)
    last = replace(cascade.stages[1], backend=Breaks(lambda q: ""))
    cascade = replace(cascade, stages=(cascade.stages[0], last))
    heard: list[str] = []

    async def listen(text: str) -> None:
        heard.append(text)

    trace = await cascade.ask(ASKED, on_text=listen)
    assert (heard, trace.status, trace.error) == (["half"], Status.FAILED, "broke off")


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ([], "got no stage"),
        (
            [Stage(name="a", backend=Scripted(str)), Stage(name="b", backend=Scripted(str))],
            "got no signal or no policy",
        ),
        ([Stage(name="a", backend=Scripted(str))] * 2, "expected distinct names"),
    ],
)
def test_a_cascade_that_cannot_work_is_refused(stages: list[Stage], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Cascade(stages=tuple(stages))


def numbered(n: int) -> list[Question]:
    return [Question.of(str(i), id=str(i)) for i in range(n)]


def answering(reply: Callable[[Question], Reply]) -> Cascade:
    return Cascade(stages=(Stage(name="only", backend=Scripted(reply)),))


async def collect(traces: AsyncIterator[Trace]) -> list[Trace]:
    return [trace async for trace in traces]


async def test_many_are_answered_in_order_or_as_they_finish() -> None:
    turn = asyncio.Event()

    class FirstIsSlow(Scripted):
        async def complete(self, question: Question, sampling: Sampling) -> Completion:
            if question.id == "0":
                await turn.wait()
            if question.id == "9":
                turn.set()
            return await super().complete(question, sampling)

    cascade = Cascade(stages=(Stage(name="only", backend=FirstIsSlow(lambda q: q.text)),))
    as_they_finish = await collect(cascade.ask_many(numbered(10), concurrency=4))
    assert as_they_finish[0].question_id == "1"
    assert {t.question_id for t in as_they_finish} == {str(i) for i in range(10)}
    turn.clear()
    in_order = await collect(cascade.ask_many(numbered(10), concurrency=4, ordered=True))
    assert [t.question_id for t in in_order] == [str(i) for i in range(10)]


async def test_concurrency_is_bounded_and_no_more_is_read_than_can_be_asked() -> None:
    running = most = read = 0

    class Counts(Scripted):
        async def complete(self, question: Question, sampling: Sampling) -> Completion:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1
            return await super().complete(question, sampling)

    async def source() -> AsyncIterator[Question]:
        nonlocal read
        for question in numbered(100):
            read += 1
            yield question

    cascade = Cascade(stages=(Stage(name="only", backend=Counts(lambda q: q.text)),))
    answered = 0
    async for _ in cascade.ask_many(source(), concurrency=5):
        answered += 1
        assert read <= answered + 5
    assert (answered, most) == (100, 5)


async def test_one_failure_even_a_bug_cancels_nothing() -> None:
    def reply(question: Question) -> Reply:
        if question.id == "3":
            raise ZeroDivisionError("a plug's bug")
        return BackendError("down") if question.id == "5" else question.text

    traces = await collect(answering(reply).ask_many(numbered(8), concurrency=3, ordered=True))
    assert [t.status for t in traces] == [Status.FAILED if i in (3, 5) else Status.ANSWERED for i in range(8)]
    assert traces[3].error == "ZeroDivisionError: a plug's bug"
    assert traces[3].cost_usd == 0


async def test_an_error_of_the_source_is_raised_after_what_was_begun_has_been_given() -> None:
    def source() -> Iterator[Question]:
        yield from numbered(3)
        raise ValueError("row 4 is bad")

    given: list[str] = []
    with pytest.raises(ValueError, match="row 4 is bad"):
        async for trace in answering(lambda q: q.text).ask_many(source(), concurrency=2):
            given.append(trace.question_id)
    assert sorted(given) == ["0", "1", "2"]


async def test_leaving_early_stops_the_work() -> None:
    backend = Scripted(lambda q: q.text)
    cascade = Cascade(stages=(Stage(name="only", backend=backend),))
    traces = cascade.ask_many(numbered(1000), concurrency=4)
    await anext(traces)
    await traces.aclose()
    assert len(backend.asked) < 20


async def test_no_concurrency_is_refused() -> None:
    with pytest.raises(ConfigError, match="concurrency: got 0"):
        await anext(answering(str).ask_many([], concurrency=0))


# ---- what is no question


NO_QUESTIONS = [None, 5, 2.5, b"x?", ["a?"], {"question": "a?"}, "", "   ", "\n\t\u00a0\u3000"]


@pytest.mark.parametrize("careless", NO_QUESTIONS, ids=repr)
@pytest.mark.parametrize("hedge_seconds", [None, 1.0])
async def test_what_is_no_question_is_refused_in_one_line_before_anything_is_asked(
    careless: Any, hedge_seconds: float | None
) -> None:
    backend = Scripted(lambda _: "7")
    stages = (
        Stage(name="a", backend=backend, signal=Sure(0.1), policy=Threshold(0.5)),
        Stage(name="b", backend=backend),
    )
    cascade = HedgedCascade(stages=stages, hedge_seconds=hedge_seconds)
    with pytest.raises(ConfigError, match=r"^question: got [^\n]+, expected a (text or a Question|question); [^\n]+$"):
        await cascade.ask(careless)
    with pytest.raises(ConfigError, match=r"^question: got "):
        await asyncio.to_thread(cascade.ask_sync, careless)
    assert backend.asked == []


@pytest.mark.parametrize("careless", ["abc", "", b"abc", {"a?": 1}, None, 5, Question.of("a?")], ids=repr)
async def test_what_is_no_list_of_questions_is_refused_before_anything_is_asked(careless: Any) -> None:
    backend = Scripted(lambda _: "7")
    cascade = Cascade(stages=(Stage(name="only", backend=backend),))

    async def take(number: int, trace: Trace) -> None:
        raise AssertionError

    with pytest.raises(ConfigError, match=r"^questions: got .*, expected several questions"):
        await anext(cascade.ask_many(careless))
    with pytest.raises(ConfigError, match=r"^questions: got .*, expected several questions"):
        await cascade.ask_each(careless, take)
    assert backend.asked == []


@pytest.mark.parametrize("careless", [None, 5, " "], ids=repr)
async def test_one_that_is_no_question_ends_the_stream_after_what_was_begun(careless: Any) -> None:
    backend = Scripted(lambda _: "7")
    cascade = Cascade(stages=(Stage(name="only", backend=backend),))
    traces: list[Trace] = []
    with pytest.raises(ConfigError, match=r"^question-3: got "):
        async for trace in cascade.ask_many(["a?", "b?", careless, "c?"], ordered=True):
            traces.append(trace)
    assert [trace.question_id for trace in traces] == ["question-1", "question-2"]
    assert [question.text for question in backend.asked] == ["a?", "b?"]
