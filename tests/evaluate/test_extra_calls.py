"""Calls of a live calibration beside its own: the plain baseline, stored answers asked again, and reported models."""

import logging
import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.evaluate.test_collect import (
    TARGETS,
    calls,
    cascade,
    large_reply,
    number,
    small_reply,
    stage,
    write_questions,
)

from corea.backends.fake import FakeBackend
from corea.calibrate import Targets
from corea.calibrate.artefact import load
from corea.calibrate.binding import bind
from corea.cascade import Cascade
from corea.cli.main import main
from corea.cli.run_report import describe
from corea.errors import BudgetError, ConfigError
from corea.evaluate.collect import CollectSettings, calibrate_live, load_questions
from corea.evaluate.extra_calls import traces_in
from corea.evaluate.stage_alone import ask_alone
from corea.prompts import load_prompt
from corea.run.runner import run_batch
from corea.trace_io import encode
from corea.types import Completion, Question, Sampling, Usage

FOUND = "stored answers of small were asked for again"


def wrapped_reply(question: Question) -> str:
    """Ten words where our prompt is there, two where the question came alone."""
    words = "so it is, as one can see, plainly" if question.messages[0].role == "system" else "it"
    return f"{words} <answer>{number(question)}</answer>"


def wrapped() -> Cascade:
    made = cascade(large=wrapped_reply)
    return replace(made, stages=(made.stages[0], replace(made.stages[1], prompt=load_prompt("answer_only"))))


async def test_the_saving_stands_beside_that_against_the_request_as_it_came(tmp_path: Path) -> None:
    asked, lines = wrapped(), list[str]()
    settings = CollectSettings(folder=tmp_path / "a", on_plan=lines.append)
    found = await calibrate_live(asked, write_questions(tmp_path), TARGETS, settings=settings)
    assert calls(asked) == 2 * 600 + 50
    plain, saving = found.expected["plain_saving"], found.expected["saving"]
    assert found.expected["plain_llm_mean_cost_usd"].value == pytest.approx(2 * 40e-6)
    assert found.expected["llm_mean_cost_usd"].value == pytest.approx(9 * 40e-6)
    assert plain.value == pytest.approx(1 - (1 - saving.value) * 9 / 2)
    assert plain.low < plain.value < plain.high < saving.low
    assert found.expected["plain_llm_pass_at_1"].value == 1
    assert re.search(
        r"; it costs 1\.\d+ times \(95 %: .*\) as much as large asked with the question as it came \(50 qu",
        found.sentence,
    )
    assert "asking large plainly, for the baseline, costs 0.004 USD for 50 answers" in found.data.notes
    assert lines == [
        "asking small: 600 questions, at most 0.012 USD",
        "asking large: 600 questions, at most 0.48 USD",
        "asking large plainly, for the baseline: 50 questions, at most 0.04 USD",
        "in all: at most 0.532 USD",
    ]
    found.save(tmp_path / "c.json")
    assert load(tmp_path / "c.json").expected["plain_saving"] == plain
    again = wrapped()
    await calibrate_live(again, str(tmp_path / "q.jsonl"), TARGETS, settings=settings)
    assert calls(again) == 10
    assert lines[4:] == [
        "asking small: 0 questions, and 5 of 600 stored ones again, at most 0.0001 USD",
        "asking large: 0 questions, and 5 of 600 stored ones again, at most 0.004 USD",
        "in all: at most 0.0041 USD",
    ]


async def test_use_shows_the_saving_against_the_request_as_it_came_too(tmp_path: Path) -> None:
    questions, settings = write_questions(tmp_path), CollectSettings(folder=tmp_path / "a")
    (await calibrate_live(wrapped(), questions, TARGETS, settings=settings)).save(tmp_path / "c.json")
    bound = bind(wrapped(), tmp_path / "c.json")
    assert bound.calibrated.plain_share == pytest.approx(2 / 9)
    summary = await run_batch(bound, questions, str(tmp_path / "out.jsonl"))
    ledger = summary.ledger
    assert ledger.baseline_usd == 600 * 9 * 40 / Decimal(10**6)
    assert ledger.plain_baseline_usd == pytest.approx(Decimal("0.048"))
    assert ledger.plain_saved_usd == ledger.plain_baseline_usd - ledger.cost_usd  # type: ignore[operator]
    shown = ledger.as_dict()
    assert (float(shown["plain_baseline_usd"]), float(shown["saved_usd"])) == (
        pytest.approx(0.048), pytest.approx(0.216 - float(ledger.cost_usd)),
    )  # fmt: skip
    said = next(line for line in describe(summary, bound.stages) if line.startswith("large model asked with"))
    assert said.startswith(
        "large model asked with each question as it came (0.22 of that, as measured at calibration) $0.048"
    )
    unknown = await run_batch(wrapped(), questions, str(tmp_path / "other.jsonl"))
    assert unknown.ledger.as_dict()["plain_saved_usd"] is None


async def test_a_large_model_that_is_asked_plainly_anyway_is_the_baseline_itself(tmp_path: Path) -> None:
    asked = cascade()
    found = await calibrate_live(
        asked, write_questions(tmp_path, 60), TARGETS, settings=CollectSettings(folder=tmp_path / "a")
    )
    assert calls(asked) == 120
    assert "plain_saving" not in found.expected
    assert "the saving is against large asked with each question as it came, as it is without COREA" in found.data.notes


async def test_unchanged_models_are_found_so_and_bound(tmp_path: Path) -> None:
    questions, settings = write_questions(tmp_path, 60), CollectSettings(folder=tmp_path / "a")
    first = await calibrate_live(cascade(), questions, TARGETS, settings=settings)
    assert (first.binding[0].reported, first.binding[0].repeated) == ("small", None)
    again = cascade()
    found = await calibrate_live(again, questions, TARGETS, settings=settings)
    assert [len(each.backend.calls) for each in again.stages] == [5, 5]  # type: ignore[attr-defined]
    assert found.binding[0].repeated == {"asked": 5, "changed": 0}
    assert f"5 {FOUND}: 0 came out otherwise" in found.data.notes
    assert len(traces_in(tmp_path / "a" / "small.repeated.jsonl")) == 5


def worse(question: Question) -> str:
    """Another model behind the same name: never right, and sure of it."""
    return "<answer>-7</answer><confidence>0.9</confidence>"


@pytest.mark.parametrize(
    ("temperature", "wrong", "refused"),
    [(0.0, 2, False), (0.0, 3, True), (0.7, 4, False), (0.7, 5, True), (None, 4, False)],
)
async def test_a_changed_model_is_refused_beyond_what_one_model_may_vary(
    tmp_path: Path, temperature: float | None, wrong: int, *, refused: bool
) -> None:
    def made(reply: Any) -> Cascade:
        small = replace(stage("small", reply, "1"), sampling=Sampling(max_tokens=20, temperature=temperature))
        return Cascade(stages=(small, stage("large", large_reply, "40", last=True)))

    asked = iter(range(1000))

    def sometimes(question: Question) -> str:
        return worse(question) if next(asked) < wrong else right(question)

    def right(question: Question) -> str:
        return f"<answer>{number(question)}</answer><confidence>0.{1 + number(question) % 9}</confidence>"

    def mostly(question: Question) -> str:  # one answer is wrong, since a signal needs both kinds
        return right(question) if number(question) else worse(question)

    questions, settings = write_questions(tmp_path, 60), CollectSettings(folder=tmp_path / "a")
    await calibrate_live(made(mostly), questions, Targets(max_drop=0.1), settings=settings)
    changed = calibrate_live(made(sometimes), questions, Targets(max_drop=0.1), settings=settings)
    if refused:
        with pytest.raises(
            ConfigError, match=f"{wrong} of 5 stored answers of stage small came out otherwise .*--repeat 0"
        ):
            await changed
    else:
        assert (await changed).binding[0].repeated == {"asked": 5, "changed": wrong}


def named(model: str, reply: Any) -> Any:
    return lambda question: Completion(text=reply(question), model=model, usage=Usage(completion_tokens=3))


async def test_a_model_reported_under_another_name_ends_a_resumed_calibration(tmp_path: Path) -> None:
    questions, settings = write_questions(tmp_path, 60), CollectSettings(folder=tmp_path / "a")
    await calibrate_live(cascade(named("m-05-01", small_reply)), questions, TARGETS, settings=settings)
    words = (
        r"answers of stage small in .* came as 'm-05-01' \(60\) and 'm-08-01' \(5\), expected one model; .*--answers"
    )
    with pytest.raises(ConfigError, match=words):
        await calibrate_live(cascade(named("m-08-01", small_reply)), questions, TARGETS, settings=settings)


async def test_other_settings_are_refused_in_the_words_of_this_command(tmp_path: Path) -> None:
    questions, settings = write_questions(tmp_path, 60), CollectSettings(folder=tmp_path / "a", repeat=0)
    await calibrate_live(cascade(), questions, TARGETS, settings=settings)
    made = cascade()
    warm = replace(
        made, stages=(replace(made.stages[0], sampling=Sampling(max_tokens=20, temperature=1.0)), made.stages[1])
    )
    with pytest.raises(
        ConfigError, match=r"sampling.temperature: not set -> 1.0; .*name another folder with --answers"
    ):
        await calibrate_live(warm, questions, TARGETS, settings=settings)


async def test_what_does_not_fit_into_the_budget_is_not_asked(tmp_path: Path) -> None:
    questions, asked = write_questions(tmp_path, 60), wrapped()
    settings = CollectSettings(folder=tmp_path / "a", budget_usd=Decimal("0.05"))
    with pytest.raises(
        BudgetError, match=r"asking large plainly, .* may cost up to 0\.04 USD, and .* --baseline-sample 0"
    ):
        await calibrate_live(asked, questions, TARGETS, settings=settings)
    assert calls(asked) == 120


async def test_an_answer_under_another_model_name_is_flagged_and_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    questions, settings = write_questions(tmp_path, 400), CollectSettings(folder=tmp_path / "a")
    found = await calibrate_live(cascade(large=named("l-05", large_reply)), questions, TARGETS, settings=settings)
    found.save(tmp_path / "c.json")
    flag = "calibration: another model: stage large answered as 'l-08', calibrated as 'l-05'"
    bound = bind(cascade(large=named("l-08", large_reply)), tmp_path / "c.json")
    with caplog.at_level(logging.WARNING, logger="corea"):
        traces = [await bound.ask(Question.of(f"Say the number {n}")) for n in (4, 8, 5)]
    assert [trace.flags for trace in traces] == [("calibrated", flag), ("calibrated", flag), ("calibrated",)]
    assert [each.getMessage() for each in caplog.records] == [f"{flag}; calibrate again"]
    same = bind(cascade(large=named("l-05", large_reply)), tmp_path / "c.json")
    assert (await same.ask(Question.of("Say the number 4"))).flags == ("calibrated",)


async def test_where_nothing_is_certified_the_small_model_is_not_asked(tmp_path: Path) -> None:
    found = await calibrate_live(
        cascade(),
        write_questions(tmp_path, 30),
        Targets(max_drop=0.001),
        settings=CollectSettings(folder=tmp_path / "a"),
    )
    assert found.verdict == "infeasible"
    found.save(tmp_path / "c.json")
    made = cascade()
    trace = await bind(made, tmp_path / "c.json").ask(Question.of("Say the number 5"))
    assert (trace.stage, trace.cost_usd, trace.saved_usd) == ("large", Decimal("0.00004"), 0)
    assert [step.skipped is not None for step in trace.steps] == [True, False]
    assert isinstance(made.stages[0].backend, FakeBackend)
    assert made.stages[0].backend.calls == []
    assert trace.flags == ("calibration infeasible: everything is deferred",)


async def test_a_run_under_another_model_name_is_no_run_of_the_calibrated_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rows of a run carry the name that the server stated: the same as at calibration, another, or two."""
    questions, settings = write_questions(tmp_path, 60), CollectSettings(folder=tmp_path / "a")
    known = load_questions(questions)
    found = await calibrate_live(cascade(named("m-05", small_reply)), questions, TARGETS, settings=settings)
    found.save(tmp_path / "c.json")

    async def run(name: str, *models: str) -> None:
        made = [await ask_alone(cascade(named(each, small_reply)).stages[0], list(known.values())) for each in models]
        traces = [made[n % len(made)][n] for n in range(60)]
        (tmp_path / name).write_bytes(b"".join(encode(trace) + b"\n" for trace in traces))

    large = await ask_alone(cascade().stages[1], list(known.values()))
    (tmp_path / "l.jsonl").write_bytes(b"".join(encode(trace) + b"\n" for trace in large))
    await run("same.jsonl", "m-05")
    await run("other.jsonl", "m-08")
    await run("two.jsonl", "m-05", "m-08")
    monkeypatch.chdir(tmp_path)
    rows = ("--reference", "l.jsonl", "--questions", "q.jsonl", "--traces")

    def says(*arguments: str) -> tuple[int, str]:
        return main(["calibrate", *arguments]), capsys.readouterr().err

    verify = ("verify", "--calibration", "c.json", "--draws", "2", "--n", "30", *rows)
    assert says(*verify, "same.jsonl") == (0, "")
    differs = "slm_reported is 'm-08', calibrated for 'm-05'"
    both = f"slm is 'm-08', calibrated for 'small'; {differs}"
    refused = f"corea: calibrate verify: c.json: {both}; give rows of these models, or calibrate again\n"
    assert says(*verify, "other.jsonl") == (2, refused)
    code, said = says(*verify, "two.jsonl")
    assert (code, "two.jsonl: the first stage answered as 'm-05' and 'm-08', expected one model" in said) == (3, True)
    assert says("apply", "c.json", "--json", *rows, "same.jsonl")[0] == 0
    assert differs in says("apply", "c.json", *rows, "other.jsonl")[1]


@pytest.mark.parametrize(("temperature", "changed"), [(0.0, 4), (0.7, 0)])
async def test_wrong_samples_that_differ_are_no_change(tmp_path: Path, temperature: float, changed: int) -> None:
    """A weak model that is sampled gives other wrong answers each time; at temperature 0 it does not."""

    def made(wrong: int) -> Cascade:
        def reply(question: Question) -> str:
            right = number(question) % 12 == 0 and number(question) not in (36, 48)
            return f"<answer>{number(question) if right else wrong}</answer><confidence>0.{2 + 7 * right}</confidence>"

        small = replace(stage("small", reply, "1"), sampling=Sampling(max_tokens=20, temperature=temperature))
        return Cascade(stages=(small, stage("large", large_reply, "40", last=True)))

    questions, settings = write_questions(tmp_path, 60), CollectSettings(folder=tmp_path / "a")
    await calibrate_live(made(-1), questions, TARGETS, settings=settings)
    again = calibrate_live(made(-2), questions, TARGETS, settings=settings)
    if changed:
        with pytest.raises(ConfigError, match=rf"{changed} of 5 stored answers of stage small came out otherwise"):
            await again
    else:
        assert (await again).binding[0].repeated == {"asked": 5, "changed": 0}
