"""Live calibration: asked once, killed and started again, within a budget, bound to what was asked."""

import asyncio
import json
import os
import random
import re
import signal
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from msgspec import structs

from corea.backends.fake import FakeBackend
from corea.calibrate import FitOptions, Targets, fit
from corea.calibrate.binding import bind, binding_of, differences
from corea.cascade import Cascade, Stage
from corea.errors import BackendTimeout, BudgetError, ConfigError, DataError
from corea.evaluate.collect import CollectSettings, calibrate_live, collect_traces, load_questions, outcome_table
from corea.policies.threshold import Threshold
from corea.prices import Price
from corea.prompts import load_prompt
from corea.signals.agreement import Agreement
from corea.signals.self_check import SelfCheck
from corea.signals.verbalized import Verbalized
from corea.stage import Mode
from corea.types import Completion, Confidence, Question, Sampling, Status, Step, Usage

COUNT = 600
TARGETS = Targets(max_drop=0.01)


def number(question: Question) -> int:
    return int(question.text.split()[-1])


def small_reply(question: Question) -> str:
    """Right and sure for three in four, wrong and unsure for the rest."""
    n = number(question)
    return f"<answer>{n if n % 4 else -1}</answer><confidence>{0.9 if n % 4 else 0.3}</confidence>"


def middle_reply(question: Question) -> str:
    n = number(question)
    return f"<answer>{n if n % 8 else -2}</answer><confidence>{0.8 if n % 8 else 0.2}</confidence>"


def large_reply(question: Question) -> str:
    return f"<answer>{number(question)}</answer>"


def stage(name: str, replies: Any, price: str, *, last: bool = False, **more: Any) -> Stage:
    return Stage(
        name=name, backend=FakeBackend(name, replies), sampling=Sampling(max_tokens=20), prompt=load_prompt("plain"),
        signal=None if last else Verbalized(), policy=None if last else Threshold(0.5),
        price=Price(output_usd_per_mtok=Decimal(price), source=name), **more,
    )  # fmt: skip


def cascade(small: Any = small_reply, large: Any = large_reply, *, middle: bool = False) -> Cascade:
    stages = [stage("small", small, "1"), stage("large", large, "40", last=True)]
    if middle:
        stages.insert(1, stage("middle", middle_reply, "5"))
    return Cascade(stages=tuple(stages))


def write_questions(folder: Path, count: int = COUNT, **more: Any) -> str:
    path = folder / "q.jsonl"
    rows = [{"id": f"q{n}", "question": f"Say the number {n}", "answer": str(n), **more} for n in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def calls(found: Cascade) -> int:
    return sum(len(stage.backend.calls) for stage in found.stages)  # type: ignore[attr-defined]


async def test_it_asks_all_once_certifies_and_binds_what_it_asked(tmp_path: Path) -> None:
    asked = cascade()
    found = await calibrate_live(
        asked, write_questions(tmp_path), TARGETS, settings=CollectSettings(folder=tmp_path / "a")
    )
    assert found.verdict == "certified"
    assert calls(asked) == 2 * COUNT
    assert found.binding == tuple(structs.replace(each, price=None, reported=each.model) for each in binding_of(asked))
    assert (found.binding[0].signal, found.binding[0].model) == ({"kind": "Verbalized"}, "small")
    assert found.expected["drop"].value == 0
    assert found.expected["llm_share"].value == pytest.approx(0.25, abs=0.03)
    found.save(tmp_path / "c.json")
    bound = bind(cascade(), tmp_path / "c.json")
    kept = await bound.ask(Question.of("Say the number 5"))
    deferred = await bound.ask(Question.of("Say the number 8"))
    assert (kept.stage, deferred.stage, deferred.answer) == ("small", "large", "8")
    assert kept.flags == ("calibrated",)


async def test_started_again_it_asks_nothing_twice(tmp_path: Path) -> None:
    questions, settings = write_questions(tmp_path, 60), CollectSettings(folder=tmp_path / "a", repeat=0)
    first, again = cascade(), cascade()
    one = await calibrate_live(first, questions, TARGETS, settings=settings)
    two = await calibrate_live(again, questions, TARGETS, settings=settings)
    assert (calls(first), calls(again)) == (120, 0)
    assert two.data.digest == one.data.digest


async def test_a_second_opinion_needs_a_price_and_is_one_call(tmp_path: Path) -> None:
    questions, settings = write_questions(tmp_path, 60), CollectSettings(folder=tmp_path / "a")
    asked, second = cascade(), FakeBackend("second", middle_reply)
    for opinion, price, said in (
        (Agreement(second, 1, Sampling(temperature=0)), None, "the second opinion of stage small has no price"),
        (Agreement(second, 3), asked.stages[0].price, "small.second_opinion: got 3 calls, expected one"),
    ):
        small = replace(asked.stages[0], second_opinion=opinion, second_price=price)
        with pytest.raises(ConfigError, match=said):
            await calibrate_live(replace(asked, stages=(small, asked.stages[1])), questions, TARGETS, settings=settings)
    assert calls(asked) == 0


async def test_what_failed_at_the_large_model_is_asked_again_and_the_small_one_not(tmp_path: Path) -> None:
    def failing(question: Question) -> Any:
        return BackendTimeout("slow") if number(question) % 10 == 0 else large_reply(question)

    questions, settings = write_questions(tmp_path, 100), CollectSettings(folder=tmp_path / "a", repeat=0)
    part = await calibrate_live(cascade(large=failing), questions, TARGETS, settings=settings)
    assert part.data.n == 90
    assert any("10 questions failed at large" in note for note in part.data.notes)
    again = cascade()
    whole = await calibrate_live(again, questions, TARGETS, settings=settings)
    assert (whole.data.n, calls(again)) == (100, 10)


async def test_a_small_model_that_failed_counts_as_deferred(tmp_path: Path) -> None:
    def failing(question: Question) -> Any:
        return BackendTimeout("slow") if number(question) % 10 == 1 else small_reply(question)

    asked, questions = cascade(small=failing), write_questions(tmp_path, 60)
    settings = CollectSettings(folder=tmp_path / "a")
    known = load_questions(questions)
    table = await outcome_table(asked, known, await collect_traces(asked, questions, known, settings), settings)
    at = np.array([int(key[1:]) % 10 == 1 for key in table.ids])
    assert np.isnan(table.first.confidence[at]).all()
    assert not table.first.correct[at].any()
    assert len(asked.stages[0].backend.calls) == 60  # type: ignore[attr-defined]


async def test_a_budget_is_kept_over_all_stages_and_starts(tmp_path: Path) -> None:
    questions, folder = write_questions(tmp_path, 200), tmp_path / "a"
    small = Decimal(200 * len(small_reply(Question.of("n 1")).split())) / 10**6
    budget = small + Decimal("0.004")
    limited = CollectSettings(folder=folder, budget_usd=budget, repeat=0)
    with pytest.raises(BudgetError, match=r"the budget of .* ended.*of 200 answers of stage large are kept"):
        await calibrate_live(cascade(), questions, TARGETS, settings=limited)
    paid = [
        json.loads(line) for name in ("small", "large") for line in (folder / f"{name}.jsonl").read_text().splitlines()
    ]
    assert sum(Decimal(trace["cost_usd"]) for trace in paid) <= budget
    assert sum(trace["status"] == Status.ANSWERED for trace in paid) > 200
    again = cascade()
    with pytest.raises(BudgetError):
        await calibrate_live(again, questions, TARGETS, settings=limited)
    assert len(again.stages[0].backend.calls) == 0  # type: ignore[attr-defined]
    last = cascade()
    assert (
        await calibrate_live(last, questions, TARGETS, settings=CollectSettings(folder=folder, repeat=0))
    ).data.n == 200
    assert calls(again) + calls(last) == 400 - len(paid)


def test_killed_half_way_it_goes_on_and_pays_twice_only_what_was_in_flight(tmp_path: Path) -> None:
    questions, log = write_questions(tmp_path, 80), tmp_path / "calls"
    settings = CollectSettings(folder=tmp_path / "a", concurrency=4, repeat=0)

    def logged(reply: Any, kill_at: int) -> Any:
        def say(question: Question) -> str:
            with log.open("a") as out:
                out.write(f"{question.id}\n")
            if len(log.read_text().split()) == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return reply(question)

        return say

    for kill_at in (30, 120, 0):
        child = os.fork()
        if child == 0:
            try:
                made = cascade(logged(small_reply, kill_at), logged(large_reply, kill_at))
                asyncio.run(calibrate_live(made, questions, TARGETS, settings=settings))
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) == bool(kill_at)
    assert 160 <= len(log.read_text().split()) <= 160 + 2 * 4
    assert max(Counter(log.read_text().split()).values()) <= 4
    assert all(len((tmp_path / "a" / f"{name}.jsonl").read_text().splitlines()) == 80 for name in ("small", "large"))


async def test_another_configuration_is_refused_by_name_and_forced_on_record(tmp_path: Path) -> None:
    found = await calibrate_live(
        cascade(), write_questions(tmp_path, 400), TARGETS, settings=CollectSettings(folder=tmp_path / "a")
    )
    found.save(tmp_path / "c.json")
    made = cascade()
    changes = {
        "slm is 'other'": {"backend": FakeBackend("other", small_reply)},
        "slm_prompt is": {"prompt": load_prompt("default")},
        "slm_sampling is": {"sampling": Sampling(max_tokens=21)},
        "slm_sampling is {'max_tokens': 20, 'temperature': None, 'top_p': None, 'stop': [], 'extra'": {
            "sampling": Sampling(max_tokens=20, extra={"reasoning_effort": "high"})
        },
        "slm_pass_draft is True": {"pass_draft": True},
        "slm_mode is 'chat', calibrated for 'answer'": {"mode": Mode.CHAT},
        "signal is": {"signal": OtherSignal()},
    }
    for said, change in changes.items():
        changed = replace(made, stages=(replace(made.stages[0], **change), made.stages[1]))  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=re.escape(said)):
            bind(changed, tmp_path / "c.json")
        trace = await bind(changed, tmp_path / "c.json", force=True).ask(Question.of("Say the number 5"))
        assert any(flag.startswith(f"calibration forced: {said}") for flag in trace.flags)


@pytest.mark.parametrize(("targets", "bound"), [(TARGETS, False), (Targets(max_cost_usd=0.1), True)])
async def test_prices_are_bound_where_the_promise_is_about_money(
    tmp_path: Path, targets: Targets, *, bound: bool
) -> None:
    settings = CollectSettings(folder=tmp_path / "a")
    found = await calibrate_live(cascade(), write_questions(tmp_path, 400), targets, settings=settings)
    found.save(tmp_path / "c.json")
    made = cascade()
    cheap = Price(output_usd_per_mtok=Decimal(2), source="other")
    changed = replace(made, stages=(made.stages[0], replace(made.stages[1], price=cheap)))
    if bound:
        with pytest.raises(ConfigError, match=r"llm_price is {'output_usd_per_mtok': '2'}, calibrated for .*'40'"):
            bind(changed, tmp_path / "c.json")
    else:
        assert bind(changed, tmp_path / "c.json").flags == ("calibrated",)


async def test_stored_answers_cost_what_they_would_at_the_prices_of_now(tmp_path: Path) -> None:
    questions, old = write_questions(tmp_path, 400), CollectSettings(folder=tmp_path / "a")
    before = await calibrate_live(cascade(), questions, TARGETS, settings=old)
    small, large = cascade().stages
    cheaper = Cascade(stages=(small, replace(large, price=Price(output_usd_per_mtok=Decimal(2), source="other"))))
    after = await calibrate_live(cheaper, questions, TARGETS, settings=replace(old, repeat=0))
    fresh = await calibrate_live(cheaper, questions, TARGETS, settings=CollectSettings(folder=tmp_path / "b"))
    assert after.expected == fresh.expected != before.expected
    assert before.expected["llm_mean_cost_usd"].value == pytest.approx(40e-6)
    assert after.expected["llm_mean_cost_usd"].value == pytest.approx(2e-6)
    assert "asking large cost 0.016 USD for 400 answers, 400 stored answers of earlier starts included" in (
        after.data.notes
    )  # what was paid stays


def test_a_recorded_step_costs_the_prices_of_now_but_a_charge_of_the_server_stays() -> None:
    usage = Usage(completion_tokens=10)
    judge = FakeBackend("judge")
    made = replace(stage("small", "x", "5"), signal=SelfCheck(judge), signal_price=Price(usd_per_request=Decimal(3)))
    call, billed = Completion(text="yes", model="judge", usage=usage), Completion(text="x", model="small", usage=usage)
    asked = Step(stage="small", completion=billed, confidence=Confidence(value=0.5, signal="self_check", calls=(call,)))
    assert made.priced(asked).cost_usd == Decimal("3.00005")
    wasted = structs.replace(asked, completion=structs.replace(billed, wasted=usage))
    assert made.priced(wasted).cost_usd == Decimal("3.0001")
    stated = structs.replace(asked, completion=structs.replace(billed, cost_usd=Decimal(7)))
    assert made.priced(stated).cost_usd == Decimal(10)
    assert made.priced(Step(stage="small", error="down")).cost_usd == 0


def test_a_server_is_bound_by_its_address_without_keys() -> None:
    made = cascade()
    for stage_, url in zip(made.stages, ("https://key:x@a.example:8443/v1/s3cret", "http://b.example/v1"), strict=True):
        stage_.backend.settings = SimpleNamespace(base_url=url)  # type: ignore[attr-defined]
    found = binding_of(made)
    assert [each.base_url for each in found] == ["https://a.example:8443", "http://b.example"]
    moved = (structs.replace(found[0], base_url="https://c.example"), found[1])
    assert differences(found, moved) == ["slm_base_url is 'https://c.example', calibrated for 'https://a.example:8443'"]


class OtherSignal(Verbalized):
    """The same, by another name."""


async def test_questions_without_a_reference_do_where_the_answers_are_compared(tmp_path: Path) -> None:
    asked, questions, settings = cascade(), write_questions(tmp_path), CollectSettings(folder=tmp_path / "a")
    rows = [json.loads(line) for line in Path(questions).read_text().splitlines()]
    for row in random.Random(0).sample(rows, COUNT // 2):
        del row["answer"]
    Path(questions).write_text("".join(json.dumps(row) + "\n" for row in rows))
    known = load_questions(questions, labelled=False)
    table = await outcome_table(
        asked,
        known,
        await collect_traces(asked, questions, load_questions(questions, labelled=False), settings),
        settings,
    )
    assert np.isnan(table.first.correct).sum() == np.isnan(table.last.correct).sum() == COUNT / 2
    found = fit(table, Targets(max_drop=0.02), FitOptions(few_labels=True), binding=binding_of(asked))
    assert found.guarantee.labels is not None
    assert (found.verdict, found.guarantee.labels.gold) == ("certified", COUNT / 2)
    assert found.expected["agreement"].value == pytest.approx(0.75, abs=0.03)


async def test_three_stages_get_one_table_and_joint_thresholds(tmp_path: Path) -> None:
    asked, questions, settings = cascade(middle=True), write_questions(tmp_path), CollectSettings(folder=tmp_path / "a")
    traces_S = await collect_traces(asked, questions, load_questions(questions, labelled=False), settings)
    table = await outcome_table(asked, load_questions(questions), traces_S, settings)
    found = fit(table, TARGETS, binding=binding_of(asked))
    assert [stage.model for stage in found.stages] == ["small", "middle"]
    found.save(tmp_path / "c.json")
    bound = bind(cascade(middle=True), tmp_path / "c.json")
    answered = {n: (await bound.ask(Question.of(f"Say the number {n}"))).stage for n in (5, 4, 8)}
    assert answered == {5: "small", 4: "middle", 8: "large"}
    with pytest.raises(ConfigError, match="stages is 2, calibrated for 3"):
        bind(cascade(), tmp_path / "c.json")


async def test_a_further_signal_that_no_answer_gives_is_named(tmp_path: Path) -> None:
    questions, extra = write_questions(tmp_path, 60), ("mean_token_probability", "verbalized")

    async def lost(folder: str, **more: Any) -> list[str]:
        small, large = cascade().stages
        made = Cascade(stages=(replace(small, backend=FakeBackend("small", small_reply, **more)), large))
        settings = CollectSettings(folder=tmp_path / folder, extra_signals=extra)
        found = await calibrate_live(made, questions, TARGETS, settings=settings)
        return [note.split(":")[0] for note in found.data.notes if "could not be measured" in note]

    said = "mean_token_probability could not be measured on any answer and is left out"
    assert await lost("without") == [said]
    assert await lost("with", probability=lambda word: 0.9) == []


async def test_further_signals_cost_nothing_and_are_measured_again_when_bound(tmp_path: Path) -> None:
    def made() -> Cascade:
        small = replace(
            stage("small", None, "1"),
            backend=FakeBackend("small", small_reply, probability=lambda w: 0.5 if "-1" in w else 0.9),
        )
        return Cascade(stages=(small, stage("large", large_reply, "40", last=True)))

    asked = made()
    settings = CollectSettings(folder=tmp_path / "a", extra_signals=("mean_token_probability",))
    found = await calibrate_live(asked, write_questions(tmp_path, 600), TARGETS, settings=settings)
    assert calls(asked) == 1200
    assert found.data.signals == ["confidence", "mean_token_probability"]
    found.save(tmp_path / "c.json")
    bound = bind(made(), tmp_path / "c.json")
    assert bound.stages[0].sampling.logprobs
    assert (await bound.ask(Question.of("Say the number 5"))).stage == "small"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (['{"id": "a", "question": "x"}'], "q.jsonl:1: question 'a' has no reference"),
        (['{"id": "a", "question": "x", "answer": "1"}'] * 2, "q.jsonl:2: question 'a' comes twice"),
        (['{"id": "a", "question": "x", "answer": "1"}'], "got 1 questions, expected at least 20"),
        (['{"id": "a", "question": "x", "answer": "F", "choices": ["u", "v"]}'], "q.jsonl:1: .*'F' names none of the"),
        (['{"id": "a", "question": "x", "answer": "w", "answer_type": "number"}'], "q.jsonl:1: .*'w' is no number"),
        (['{"id": "a", "question": "x", "answer": "1", "answer_type": "nummer"}'], "q.jsonl:1: .*got 'nummer'"),
        (["{"], "q.jsonl:1: not JSON"),
    ],
)
async def test_bad_questions_are_refused_before_anything_is_asked(tmp_path: Path, lines: list[str], words: str) -> None:
    (tmp_path / "q.jsonl").write_text("\n".join(lines) + "\n")
    asked = cascade()
    with pytest.raises(DataError, match=words.replace("(", r"\(")):
        await calibrate_live(asked, str(tmp_path / "q.jsonl"), TARGETS, settings=CollectSettings(folder=tmp_path / "a"))
    assert calls(asked) == 0


async def test_stages_that_cannot_be_calibrated_are_refused_before_anything_is_asked(tmp_path: Path) -> None:
    questions, settings = write_questions(tmp_path, 30), CollectSettings(folder=tmp_path / "a")
    for change, words in (({"price": None}, "has no price"), ({"pass_draft": True}, "hands its draft over")):
        made = cascade()
        broken = replace(made, stages=(replace(made.stages[0], **change), made.stages[1]))  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=words):
            await calibrate_live(broken, questions, TARGETS, settings=settings)
        assert calls(broken) == 0
