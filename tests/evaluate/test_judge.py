"""A judge of pairs of answers: both orders, ties, cost, resuming, its prompt; and people's labels read back blind."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corea.backends.fake import FakeBackend
from corea.calibrate.settings import JudgeSettings
from corea.cascade import Cascade, Stage
from corea.cli.calibrate_live import judge_stage
from corea.config import parse_config
from corea.errors import BackendError, BackendTimeout, BudgetError, ConfigError, DataError
from corea.evaluate.extra_calls import CallSettings
from corea.evaluate.judge import (
    ORDERS,
    TIE,
    A,
    AnswerPair,
    B,
    Judge,
    check_judge,
    conversation,
    load_judge_prompt,
    read_verdict,
)
from corea.evaluate.preferences import with_labels, write_pairs
from corea.policies.threshold import Threshold
from corea.prices import Price
from corea.records.table import OutcomeTable
from corea.run.shutdown import Stop
from corea.signals.verbalized import Verbalized
from corea.types import Completion, Message, Question, Sampling, Usage

CALLS = CallSettings(concurrency=4)
PRICE = Price(input_usd_per_mtok=Decimal("0.1"), output_usd_per_mtok=Decimal("0.7"), source="test")


def judge(replies: Any, *, prompt: Path | None = None, max_tokens: int | None = 50) -> Judge:
    sampling = Sampling(max_tokens=max_tokens, temperature=0.0)
    stage = Stage(name="judge", backend=FakeBackend("judge-model", replies), sampling=sampling, price=PRICE)
    return Judge(stage, load_judge_prompt(prompt))


def two_stages(small: str = "s") -> Cascade:
    sampling = Sampling(max_tokens=20)
    first = Stage(
        name="small", backend=FakeBackend(small), sampling=sampling, signal=Verbalized(), policy=Threshold(0.5)
    )
    return Cascade(stages=(first, Stage(name="large", backend=FakeBackend("l"), sampling=sampling)))


def calls(found: Judge) -> list[Any]:
    return found.stage.backend.calls  # type: ignore[attr-defined]


def pair(n: int, draft: str | None = "short", answer: str = "a longer answer") -> AnswerPair:
    return AnswerPair(question=Question.of(f"Question {n}", id=f"q{n}"), draft=draft, answer=answer)


def shown(question: Question) -> tuple[str, str]:
    """The texts shown as A and B."""
    text = question.messages[-1].content
    first, second = text.split("[Answer A]\n")[1].split("\n[End of answer A]"), text.split("[Answer B]\n")[1]
    return first[0], second.split("\n[End of answer B]")[0]


def prefers_longer(question: Question) -> str:
    first, second = map(len, shown(question))
    return "Verdict: tie" if first == second else f"Verdict: {'A' if first > second else 'B'}"


# --- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Verdict: A", A), ("Both are fine.\n\nVerdict: tie", TIE), ("**Verdict:** B", B), ("Verdict: [[B]]", B),
        ("verdict – answer b", B), ("Verdict：A", A), ("Final verdict: B.", B), (r"Verdict: \boxed{A}", A),
        ('{"verdict": "A"}', A), ("Verdict: a tie", TIE), ("Verdict: Neither", TIE), ("[[C]]", TIE), ("[[A]]", A),
        ("A", A), ("B.", B), ("C", TIE), ("<answer>B</answer>", B), ("Answer B is much better", B), ("A > B", A),
        ("[[B>>A]]", B), ("A = B", TIE), ("Both are equally good.", TIE), ("The better answer is B.", B),
        ("<think>Verdict: A</think>\nVerdict: B", B), ("Verdict: A\nOn reflection.\nVerdict: tie", TIE),
        ("Answer A says 3, answer B says 4. A is wrong.\n\nVerdict: B", B), ("Verdict: A is better than B", A),
        ("Verdict: A or B", None), ("Verdict: A/B", None), ("I prefer answer A over answer B", None), ("", None),
        ("Answer A is not better.", None), ("Verdict: A is worse than B", None), ("I cannot judge this.", None),
        ("Answer A is better, but answer B is better in style", None), ("Is A better? If so, B is worse.", None),
    ],
)  # fmt: skip
def test_a_verdict_is_read_or_is_none(text: str, verdict: int | None) -> None:
    assert read_verdict(Completion(text=text, model="m")) == verdict


def test_a_reply_cut_by_the_limit_counts_only_with_a_stated_verdict() -> None:
    assert read_verdict(Completion(text="Both are", model="m", finish_reason="length")) is None
    assert read_verdict(Completion(text="Verdict: A because", model="m", finish_reason="length")) == A


# --- asking -----------------------------------------------------------------------------------------------------------


async def test_both_orders_are_asked_and_the_same_answer_must_win_in_both(tmp_path: Path) -> None:
    found = judge(prefers_longer)
    pairs = [pair(0), pair(1, "a very long draft indeed", "no"), pair(2, "same!", "size?")]
    said = await found.verdicts(pairs, tmp_path, CALLS, Decimal(0))
    assert said.preferred.tolist() == [1, -1, 0]
    assert [shown(call.question) for call in calls(found)[:2]] in (
        [("short", "a longer answer"), ("a longer answer", "short")],
        [("a longer answer", "short"), ("short", "a longer answer")],
    )
    assert len(calls(found)) == 6
    assert said.notes[0] == (
        "judge-model judged 3 pairs: it prefers the large model's answer in 1 and the draft in 1; 1 ties (of these 0 "
        "as the order decided, 0 as a verdict could not be read, 0 as a call failed); 0 more have equal texts"
    )


@pytest.mark.parametrize("place", ["A", "B"])
async def test_a_judge_that_prefers_a_place_gives_ties_only(tmp_path: Path, place: str) -> None:
    said = await judge(f"Verdict: {place}").verdicts([pair(n) for n in range(5)], tmp_path, CALLS, Decimal(0))
    assert said.preferred.tolist() == [0] * 5
    assert "5 ties (of these 5 as the order decided, 0 as a verdict could not be read" in said.notes[0]


async def test_equal_texts_and_missing_drafts_cost_no_call(tmp_path: Path) -> None:
    found = judge(prefers_longer)
    pairs = [pair(0, "the same  text", "the same text\n"), pair(1, None, "only one"), pair(2)]
    said = await found.verdicts(pairs, tmp_path, CALLS, Decimal(0))
    assert said.preferred.tolist() == [0, 1, 1]
    assert len(calls(found)) == 2
    assert "1 more have equal texts" in said.notes[0]


async def test_unreadable_and_failed_verdicts_are_ties_that_are_counted_and_failed_ones_asked_again(
    tmp_path: Path,
) -> None:
    def odd(question: Question) -> Any:
        if question.id.startswith("q0"):
            return "I would rather not say."
        return BackendTimeout("slow") if question.id.startswith("q1") else prefers_longer(question)

    pairs = [pair(n) for n in range(3)]
    said = await judge(odd).verdicts(pairs, tmp_path, CALLS, Decimal(0))
    assert said.preferred.tolist() == [0, 0, 1]
    assert "of these 0 as the order decided, 1 as a verdict could not be read, 1 as a call failed" in said.notes[0]
    again = judge(prefers_longer)
    assert (await again.verdicts(pairs, tmp_path, CALLS, Decimal(0))).preferred.tolist() == [0, 1, 1]
    assert sorted({call.question.id.split()[0] for call in calls(again)}) == ["q1"]
    with pytest.raises(BackendError, match="judging 3 pairs"):
        await judge(BackendTimeout("slow")).verdicts(pairs, tmp_path / "none", CALLS, Decimal(0))


async def test_the_cost_is_exact_bounded_before_and_paid_once(tmp_path: Path) -> None:
    def reply(question: Question) -> Completion:
        return Completion(
            text=prefers_longer(question), model="judge-model", usage=Usage(prompt_tokens=71, completion_tokens=13)
        )

    first, pairs = judge(reply), [pair(n) for n in range(7)]
    said = await first.verdicts(pairs, tmp_path, CALLS, Decimal(0))
    paid = 14 * (71 * Decimal("0.1") + 13 * Decimal("0.7")) / 10**6
    stored = [json.loads(line) for line in first.path(tmp_path).read_text().splitlines()]
    assert sum(Decimal(trace["cost_usd"]) for trace in stored) == paid
    assert said.notes[1] == f"judging cost {float(paid):.4g} USD for 14 calls, 0 of them stored before"

    cascade = two_stages()
    known = {each.question.id: each.question for each in pairs}
    bound = first.most_usd(cascade, list(known.values()))
    assert bound is not None
    assert paid < bound < 100 * paid
    assert judge(reply, max_tokens=None).most_usd(cascade, list(known.values())) is None
    assert "7 pairs, two calls each, besides at most" in first.plan(cascade, known, tmp_path / "other")
    assert "0 pairs, two calls each, 7 are judged, besides at most 0 USD" in first.plan(cascade, known, tmp_path)

    again = judge(reply)
    same = await again.verdicts(pairs, tmp_path, CALLS, Decimal(0))
    assert (len(calls(again)), same.preferred.tolist()) == (0, said.preferred.tolist())
    assert same.notes[1] == f"judging cost {float(paid):.4g} USD for 14 calls, 14 of them stored before"
    changed = [*pairs[:6], pair(6, "another draft")]
    await again.verdicts(changed, tmp_path, CALLS, Decimal(0))
    assert len(calls(again)) == 2


async def test_stopped_half_way_it_keeps_what_was_judged_and_asks_the_rest_next_time(tmp_path: Path) -> None:
    stop, pairs = Stop(), [pair(n) for n in range(12)]

    def stopping(question: Question) -> str:
        stop.asked = question.id.startswith("q5")
        return prefers_longer(question)

    one_by_one = CallSettings(concurrency=1, stop=stop)
    first, again = judge(stopping), judge(prefers_longer)
    with pytest.raises(InterruptedError, match="interrupted while judging 12 pairs"):
        await first.verdicts(pairs, tmp_path, one_by_one, Decimal(0))
    stored = len(first.path(tmp_path).read_text().splitlines())
    assert 0 < stored < 24
    said = await again.verdicts(pairs, tmp_path, CALLS, Decimal(0))
    assert (len(calls(again)), said.preferred.tolist()) == (24 - stored, [1] * 12)


async def test_a_budget_is_kept_and_another_prompt_judges_again(tmp_path: Path) -> None:
    found = judge(prefers_longer)
    with pytest.raises(BudgetError, match="judging 1 pairs may cost up to"):
        await found.verdicts([pair(0)], tmp_path, CallSettings(budget_usd=Decimal("0.0001")), Decimal("0.00009"))
    assert calls(found) == []
    other = tmp_path / "mine.txt"
    other.write_text("{question}\n[Answer A]\n{answer_a}\n[End of answer A]\n[Answer B]\n{answer_b}\n[End of answer B]")
    assert judge("A", prompt=other).path(tmp_path) != found.path(tmp_path)
    assert judge("A", max_tokens=9).path(tmp_path) != found.path(tmp_path)
    assert judge("B").path(tmp_path) == found.path(tmp_path)


# --- the prompt -------------------------------------------------------------------------------------------------------


def test_an_answer_that_holds_a_place_of_the_prompt_stays_as_it_is() -> None:
    asked = judge("A").asked(pair(0, "see {answer_b} and {question}", "see {answer_a}"), ORDERS[0])
    assert shown(asked) == ("see {answer_b} and {question}", "see {answer_a}")
    assert [each.role for each in asked.messages] == ["system", "user"]


def test_a_conversation_is_shown_whole() -> None:
    talk = Question(id="q", messages=(Message("system", "Be brief."), Message("user", "Hi"), Message("user", "And?")))
    assert conversation(talk) == "system: Be brief.\n\nuser: Hi\n\nuser: And?"
    assert conversation(Question.of("Hi")) == "Hi"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{question} {answer_a}", r"got 0 of '\{answer_b\}'"),
        ("{question} {answer_a} {answer_a} {answer_b}", r"got 2 of '\{answer_a\}'"),
        ("{answer_a} {answer_b}", r"got 0 of '\{question\}'"),
    ],
)
def test_a_prompt_without_its_places_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "judge.txt"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_judge_prompt(path)
    with pytest.raises(ConfigError, match="cannot read"):
        load_judge_prompt(tmp_path / "none.txt")


# --- the configuration ------------------------------------------------------------------------------------------------


def test_a_judge_is_a_stage_or_a_table_with_its_own_price() -> None:
    fake = {"kind": "fake", "model": "m"}
    tree = {
        "stages": {"small": {"backend": fake}, "third": {"backend": {**fake, "model": "j"}, "price": "listed"}},
        "cascade": {"stages": ["small"]},
        "prices": {
            name: {"input_usd_per_mtok": usd, "output_usd_per_mtok": usd} for name, usd in (("listed", "3"), ("m", "1"))
        },
    }
    config = parse_config(tree)
    for settings, model, price in (
        (JudgeSettings(backend="third"), "j", 3), (JudgeSettings(backend="third", price="m"), "j", 1),
        (JudgeSettings(backend={"kind": "fake", "model": "m"}), "m", 1),
    ):  # fmt: skip
        stage = judge_stage(config, settings)
        assert stage.price is not None
        assert (stage.backend.model, stage.price.input_usd_per_mtok) == (model, price)
        assert stage.sampling == Sampling(max_tokens=1024, temperature=0.0)
    for wrong in ("thrd", {"model": "m"}):
        with pytest.raises(ConfigError, match=r"calibrate\.judge\.backend: got"):
            judge_stage(config, JudgeSettings(backend=wrong))


def test_a_judge_of_its_own_answers_is_warned_of_and_three_stages_and_references_are_refused() -> None:
    found = judge("A")
    two = two_stages("judge-model")
    (warning,) = check_judge(found, two, {})
    assert warning.startswith("warning: the judge is the model of stage small, and models prefer their own answers")
    with pytest.raises(ConfigError, match="got 1 stages, expected two"):
        check_judge(found, Cascade(stages=two.stages[1:]), {})
    with pytest.raises(DataError, match="question 'q' has a reference answer"):
        check_judge(found, two, {"q": Question.of("?", id="q", reference="4")})


# --- people -----------------------------------------------------------------------------------------------------------


def judged(n: int = 40) -> OutcomeTable:
    table = OutcomeTable.from_arrays(
        correct=np.full((n, 2), np.nan), cost_usd=[1.0, 9.0], confidence=np.linspace(0, 1, n),
        texts=[f"Question {i}" for i in range(n)],
    )  # fmt: skip
    texts = [np.array([f"{name} {i}" for i in range(n)], dtype=object) for name in ("small", "large")]
    table = table.change(0, answers=texts[0], judged=np.zeros(n), agreement=np.zeros(n))
    return table.change(1, answers=texts[1])


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def save(path: Path, found: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in found))


def test_pairs_are_blind_in_random_order_and_read_back_by_their_texts(tmp_path: Path) -> None:
    table, path = judged(), tmp_path / "pairs.jsonl"
    write_pairs(path, table, [str(i) for i in range(40)], seed=0)
    found = rows(path)
    assert {tuple(row) for row in found} == {("id", "question", "first", "second", "better")}
    assert 10 < sum(row["first"].startswith("small") for row in found) < 30
    for row in found[:30]:
        wanted = {0: "small", 1: "large", 2: ""}[int(row["id"]) % 3]
        row["better"] = "tie" if not wanted else "first" if row["first"].startswith(wanted) else "second"
    save(path, found)
    known = with_labels(table, path)
    assert known.first.correct[:3].tolist() == [1, 0, 1]
    assert known.last.correct[:3].tolist() == [0, 1, 1]
    assert (~np.isnan(known.first.correct)).sum() == 30


def test_more_pairs_keep_the_labels_that_are_there(tmp_path: Path) -> None:
    table, path = judged(), tmp_path / "pairs.jsonl"
    write_pairs(path, table, [str(i) for i in range(10)], seed=0)
    found = rows(path)
    for row in found:
        row["better"] = "second"
    save(path, found)
    write_pairs(path, table, [str(i) for i in range(20)], seed=0)
    assert rows(path)[:10] == found
    assert [row["better"] for row in rows(path)[10:]] == [None] * 10


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"better": "A"}, "got better = 'A', expected first, second or tie"),
        ({"id": "none"}, "question 'none' is not among those"),
        ({"first": "edited"}, "its answers are not the stored ones"),
        ({"id": "3"}, "answers are not the stored ones"),
    ],
)
def test_labels_that_cannot_be_used_are_refused_with_their_line(
    tmp_path: Path, change: dict[str, str], said: str
) -> None:
    table, path = judged(), tmp_path / "pairs.jsonl"
    write_pairs(path, table, ["0", "1", "2"], seed=0)
    found = rows(path)
    for row in found:
        row["better"] = "tie"
    found[1] |= change
    save(path, found)
    with pytest.raises(DataError, match=said) as error:
        with_labels(table, path)
    assert "2" in str(error.value)


def test_a_gap_and_a_copy_are_refused_and_a_missing_end_is_not(tmp_path: Path) -> None:
    table, path = judged(), tmp_path / "pairs.jsonl"
    write_pairs(path, table, ["5", "6", "7"], seed=0)
    found = rows(path)
    found[0]["better"] = "tie"
    save(path, found)
    assert (~np.isnan(with_labels(table, path).first.correct)).sum() == 1
    found[2]["better"] = "tie"
    save(path, found)
    with pytest.raises(DataError, match="question '7' is labelled and line 2 before it is not"):
        with_labels(table, path)
    save(path, [found[0], found[0]])
    with pytest.raises(DataError, match="question '5' comes twice"):
        with_labels(table, path)
    with pytest.raises(ConfigError, match="without a judge's verdicts"):
        with_labels(table.change(0, judged=None), path)
