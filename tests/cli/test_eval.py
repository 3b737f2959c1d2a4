"""`corea eval` on a run of ours and on recorded rows: every figure is one that can be counted by hand."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.cli.conftest import Command

from corea.calibrate import FitOptions, Targets, fit
from corea.calibrate.artefact import Calibration
from corea.records.read import RowSource, read_table
from corea.trace_io import encode
from corea.types import OUTSIDE, Completion, Confidence, Decision, Status, Step, Trace


def rows(path: str, model: str, correct: list[int], confidence: list[float | None] | None = None) -> str:
    made: list[dict[str, Any]] = [
        {"id": f"q{i}", "model": model, "correct": c, "prompt_tokens": 0, "completion_tokens": 1_000_000}
        for i, c in enumerate(correct)
    ]
    for row, value in zip(made, confidence or [], strict=False):
        row["confidence"] = value
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in made))
    return path


def test_recorded_rows_with_a_threshold(corea: Command) -> None:
    small = rows("s.jsonl", "s", [1, 1, 0, 0, 1], [0.9, 0.8, 0.8, 0.3, None])
    large = rows("l.jsonl", "l", [1, 1, 1, 1, 0])
    ran = corea("eval", small, "--against", large, "--tau", "0.8", "--price", "s=0/1", "--price", "l=0/10", "--json")
    said = ran.json
    assert ran.code == 0
    assert (said["n"], said["pass_at_1"], said["llm_share"]) == (5, 0.6, 0.4)
    assert said["selective_risk"] == pytest.approx(1 / 3)
    assert said["mean_cost_usd"] == pytest.approx(1 + 0.4 * 10)
    table = {row["name"]: row for row in said["table"]}
    assert (table["small alone"]["accuracy"], table["large alone"]["accuracy"]) == (0.6, 0.8)
    assert table["random, same rate"]["accuracy"] == pytest.approx(0.6 * 0.6 + 0.4 * 0.8)
    assert (table["oracle"]["accuracy"], table["oracle"]["llm_share"]) == (1.0, 0.4)
    assert table["best single"]["accuracy"] == 0.8
    assert said["signal"]["unstated"] == 1
    assert said["signal"]["auroc"] == pytest.approx(0.875)  # of 2 x 2 pairs: 3 rightly ordered, 1 tie


def test_a_run_of_ours_is_graded_against_its_questions(corea: Command) -> None:
    Path("q.jsonl").write_text(
        '{"id": "a", "question": "12 + 7?", "answer": "19"}\n{"id": "b", "question": "1 + 1?", "answer": "2"}\n'
    )
    assert corea("run", "q.jsonl", "-o", "a.jsonl", "-q").code == 0
    said = corea("eval", "a.jsonl", "--questions", "q.jsonl", "--json").json
    assert (said["n"], said["pass_at_1"], said["coverage"], said["selective_risk"]) == (2, 0.5, 1.0, 0.5)
    assert said["table"] is None
    assert "--against" in said["missing"]
    assert corea("run", "q.jsonl", "-o", "l.jsonl", "-q", "--set", 'cascade.stages=["large"]').code == 0
    both = corea("eval", "a.jsonl", "--questions", "q.jsonl", "--against", "l.jsonl", "--json").json
    assert [row["name"] for row in both["table"]][:3] == ["small alone", "large alone", "cascade"]


def graded(corea: Command, rows: str, *options: str) -> Any:
    Path("q.jsonl").write_text(rows)
    assert corea("run", "q.jsonl", "-o", "a.jsonl", "-q").code == 0
    return corea("eval", "a.jsonl", "--questions", "q.jsonl", *options)


def test_the_report_names_the_graders_and_how_many_questions_each_graded(corea: Command) -> None:
    rows = (
        '{"id": "a", "question": "12 + 7?", "answer": "19"}\n'
        '{"id": "b", "question": "Solve it.", "answer": "19", "dataset": "math500", "answer_type": "number"}\n'
        '{"id": "c", "question": "What is 38 over 2?", "answer": "19", "answer_type": "latex"}\n'
    )
    ran = graded(corea, rows, "--json")
    assert (ran.json["graders"], ran.json["pass_at_1"]) == ({"maths": 2, "number": 1}, 1.0)
    assert "  graded by maths 2, number 1\n" in graded(corea, rows).out
    named = graded(corea, rows, "--json", "--grader", "text")
    assert (named.json["graders"], named.json["pass_at_1"]) == ({"text": 3}, 1.0)


def test_the_grader_that_is_named_grades_every_question(corea: Command) -> None:
    row = '{"id": "a", "question": "12 + 7?", "answer": "19.0"}\n'
    assert graded(corea, row, "--json").json["pass_at_1"] == 1.0
    assert graded(corea, row, "--json", "--grader", "text").json["pass_at_1"] == 0.0


@pytest.mark.parametrize(
    ("row", "options", "code", "said"),
    [
        (
            {"answer": "banana"},
            ["--grader", "number"],
            3,
            "q.jsonl:2: question 'b': the reference 'banana' is no number",
        ),
        (
            {"answer": "F", "choices": ["a cat", "a dog"]},
            [],
            3,
            "q.jsonl:2: question 'b': the reference 'F' names none",
        ),
        ({"answer": " "}, [], 3, "q.jsonl:2: question 'b': the reference ' ' is empty"),
        ({"answer": ""}, [], 3, "question 'b' has no reference answer"),
        ({"answer": "5", "answer_type": "Nummerical"}, [], 3, "q.jsonl:2: question 'b': answer_type: got 'Nummerical'"),
        ({"answer": "5"}, ["--grader", "numbr"], 2, "grader: got 'numbr'"),
        ({"answer": "5"}, ["--grader", "nowhere.graders:Mine"], 2, "needs the module 'nowhere'"),
    ],
)
def test_a_reference_that_cannot_be_graded_is_one_line_and_no_silent_zero(
    corea: Command, row: dict[str, Any], options: list[str], code: int, said: str
) -> None:
    first = '{"id": "a", "question": "12 + 7?", "answer": "19"}\n'
    ran = graded(corea, first + json.dumps({"id": "b", "question": "2 + 3?", **row}) + "\n", *options)
    assert (ran.code, len(ran.err.strip().splitlines()), ran.out) == (code, 1, ""), ran.err
    assert said in ran.err


def test_a_recording_brings_its_own_grades(corea: Command) -> None:
    rows("s.jsonl", "s", [1, 0], [0.5, 0.4])
    assert corea("eval", "s.jsonl", "--json").json["graders"] == {}
    ran = corea("eval", "s.jsonl", "--grader", "maths")
    assert (ran.code, "--grader: got it without --questions" in ran.err) == (2, True)
    Path("q.jsonl").write_text('{"id": "q0", "question": "?", "answer": "1"}\n')
    ran = corea("eval", "s.jsonl", "--questions", "q.jsonl", "--grader", "maths")
    assert (ran.code, "s.jsonl is a recording, which brings its own grades" in ran.err) == (2, True)


def test_a_run_into_flat_rows_is_judged_by_the_journal_beside_it(corea: Command) -> None:
    Path("q.csv").write_text("id,question,answer\na,12 + 7?,19\nb,1 + 1?,2\n")
    assert corea("run", "q.csv", "--out", "a.csv", "--quiet").code == 0
    ran = corea("eval", "a.csv", "--questions", "q.csv", "--json")
    assert (ran.code, ran.json["n"], ran.json["pass_at_1"]) == (0, 2, 0.5)
    Path("a.csv.journal").unlink()
    ran = corea("eval", "a.csv", "--questions", "q.csv")
    assert ran.code == 3
    assert "a.csv: holds flat rows, and the journal with the traces, a.csv.journal, is not beside it" in ran.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["eval", "none.jsonl"], 2, "none.jsonl: no such file"),
        (["eval", "s.jsonl", "--tau", "0.5"], 2, "give --against FILE"),
        (["eval", "s.jsonl", "--slm", "other"], 2, "no row of --slm 'other', expected one of 's'"),
        (["eval", "s.jsonl", "--price", "s=1"], 2, "expected NAME=IN/OUT"),
        (["eval", "s.jsonl", "--price", "other=1/1"], 2, "no price is known for model 's'"),
        (["eval", "twice.jsonl"], 3, "twice.jsonl:2: question 'q0' comes twice"),
        (["eval", "unlabelled.jsonl"], 3, "unlabelled.jsonl:1: question 'q0': got correct = None, expected 0 or 1"),
        (["eval", "s.jsonl", "--against", "elsewhere.jsonl", "--tau", "0.5"], 3, "no question in common"),
        (["eval", "corea.toml"], 3, "corea.toml:2: not JSON"),
        (["eval", "empty.jsonl"], 3, "holds no row"),
        (["eval", "run.jsonl"], 2, "give --questions FILE"),
    ],
)
def test_bad_input_is_one_clear_line(corea: Command, arguments: list[str], code: int, said: str) -> None:
    rows("s.jsonl", "s", [1, 0], [0.5, 0.4])
    Path("twice.jsonl").write_text('{"id": "q0", "model": "s", "correct": 1}\n' * 2)
    Path("unlabelled.jsonl").write_text('{"id": "q0", "model": "s", "correct": null}\n')
    Path("elsewhere.jsonl").write_text('{"id": "z9", "model": "s", "correct": 1}\n')
    Path("empty.jsonl").write_text("\n")
    Path("run.jsonl").write_text('{"steps": []}\n')
    ran = corea(*arguments)
    assert (ran.code, len(ran.err.strip().splitlines())) == (code, 1), ran.err
    assert said in ran.err


def test_the_large_model_alone_and_the_saving_are_of_one_run(corea: Command) -> None:
    """The run pays 30 for each deferred question, the large model asked elsewhere 10: nothing is mixed."""
    Path("q.jsonl").write_text("".join(f'{{"id": "q{n}", "question": "12 + 7?", "answer": "19"}}\n' for n in range(4)))
    tokens = {"input_usd_per_mtok": "0", "output_usd_per_mtok": "1000000"}
    prices = [f"--set=prices.{name}.{key}={value}" for name in ("small", "large") for key, value in tokens.items()]
    deferring = ["--set=stages.small.threshold=0.95", "--set=stages.large.backend.replies=so <answer>19</answer> ."]
    plain = ["--set=stages.large.backend.replies=<answer>19</answer>", '--set=cascade.stages=["large"]']
    assert corea("run", "q.jsonl", "-o", "a.jsonl", "-q", *prices, *deferring).code == 0
    assert corea("run", "q.jsonl", "-o", "l.jsonl", "-q", *prices, *plain).code == 0
    arguments = ("eval", "a.jsonl", "--questions", "q.jsonl", "--against", "l.jsonl")
    said = corea(*arguments, "--json").json
    table = {row["name"]: row for row in said["table"]}
    small = table["small alone"]["cost_usd"]
    assert table["cascade"]["cost_usd"] == said["mean_cost_usd"] == small + 3
    assert table["large alone"]["cost_usd"] == 1
    assert table["cascade"]["saving"] == 1 - (small + 3)
    assert said["note"].startswith(
        "where the run asked the large model too (4 questions) it paid 3000 USD / 1,000, and"
    )
    assert "another prompt, setting or price?" in " ".join(corea(*arguments).out.split())
    lines = [json.loads(line) for line in Path("a.jsonl").read_text().splitlines()]
    assert {line["stage"] for line in lines} == {"large"}
    again = corea(*arguments, "--tau", "0.95", "--json").json
    assert (again["mean_cost_usd"], again["note"]) == (small + 1, None)


# --- a run that a calibration decided ---------------------------------------------------------------------------------


def calibrated(count: int = 600) -> Calibration:
    """A calibration of recorded rows, whose texts are "Question i?"."""
    rng = np.random.default_rng(0)
    sure = rng.random(count) < 0.7
    right = np.where(sure, rng.random(count) < 0.98, rng.random(count) < 0.3)
    for name, correct in (("s", right), ("l", rng.random(count) < 0.97)):
        rows(f"{name}.jsonl", name, correct.astype(int).tolist(), np.where(sure, 0.9, 0.4).tolist())
        made = map(json.loads, Path(f"{name}.jsonl").read_text().splitlines())
        more = {"cost_usd": 1e-5 if name == "s" else 1e-3}
        lines = [json.dumps({**row, **more, "question": f"Question {i}?"}) for i, row in enumerate(made)]
        Path(f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    found = fit(
        read_table([RowSource(paths=["s.jsonl"]), RowSource(paths=["l.jsonl"])]), Targets(max_drop=0.05),
        FitOptions(map="identity"),
    )  # fmt: skip
    assert found.certified
    found.save("calibration.json")
    return found


def served(numbers: range, *, right: float, score: float | None = 0.9, value: float | None = 0.97) -> list[str]:
    """A run over these questions that keeps all; the small model is right in this share. And its files."""
    questions, traces, large = list[str](), list[bytes](), list[str]()
    for k, i in enumerate(numbers):
        text = "yes" if k < right * len(numbers) else "no"
        reason = "" if value is not None else f"{OUTSIDE}: completion_tokens 9; deferred"
        confidence = Confidence(value=value, signal="mapped verbalized", score=score, reason=reason)
        completion = Completion(text=f"<answer>{text}</answer>", model="s")
        step = Step(
            stage="small", completion=completion, answer=text, confidence=confidence, decision=Decision.KEEP,
            cost_usd=Decimal("0.00001"),
        )  # fmt: skip
        trace = Trace(
            question_id=f"n{i}", steps=(step,), status=Status.ANSWERED, answer=text, text=completion.text, stage="small"
        )
        traces.append(encode(trace))
        asked = {"id": f"n{i}", "question": f"question {i}", "answer": "yes", "answer_type": "text"}
        questions.append(json.dumps(asked))
        large.append(json.dumps({"id": f"n{i}", "model": "l", "correct": 1, "cost_usd": 1e-3}))
    Path("run.jsonl").write_bytes(b"\n".join(traces) + b"\n")
    Path("q.jsonl").write_text("\n".join(questions) + "\n")
    Path("large.jsonl").write_text("\n".join(large) + "\n")
    return ["eval", "run.jsonl", "--questions", "q.jsonl", "--against", "large.jsonl"]


def test_a_run_that_contradicts_the_guarantee_leads_with_that_and_can_fail(corea: Command) -> None:
    calibrated()
    command = [*served(range(10_000, 10_200), right=0.8), "--calibration", "calibration.json"]
    ran = corea(*command)
    assert ran.code == 0
    assert ran.out.splitlines()[0] == (
        "THE GUARANTEE DOES NOT HOLD HERE: max_drop missed beyond chance on 200 rows; calibrate again"
    )
    assert corea(*command, "--strict").code == 1
    assert corea(*command, "--strict", "--json").json["promise"]["contradicted"] == ["max_drop"]
    kept = [*served(range(10_000, 10_200), right=0.96), "--calibration", "calibration.json", "--strict"]
    ran = corea(*kept)
    assert (ran.code, "max_drop met on 200 rows" in ran.out, "GUARANTEE" in ran.out) == (0, True, False)


def test_rows_that_also_calibrated_are_counted_and_left_out_of_the_test(corea: Command) -> None:
    calibrated()
    command = [*served(range(500, 700), right=0.5), "--calibration", "calibration.json", "--json"]
    promise = corea(*command).json["promise"]  # 100 of them calibrated, under other ids: those that are right
    assert (promise["n"], promise["shared"], promise["met"]) == (100, 100, {"max_drop": False})
    text = corea(*command[:-1]).out
    assert "100 of 200 rows also calibrated: the guarantee is tested on the 100 others" in " ".join(text.split())
    promise = corea(*served(range(600), right=0.5), "--calibration", "calibration.json", "--json").json["promise"]
    assert (promise["n"], promise["shared"], promise["contradicted"]) == (0, 600, [])


def test_half_of_recorded_rows_that_calibrated_are_noticed(corea: Command) -> None:
    calibrated()
    for name in ("s", "l"):
        lines = Path(f"{name}.jsonl").read_text().splitlines()[300:]
        fresh = [{**json.loads(line), "id": f"new{k}", "question": f"Other {k}?"} for k, line in enumerate(lines)]
        Path(f"{name}2.jsonl").write_text("\n".join([*lines, *map(json.dumps, fresh)]) + "\n")
    said = corea("calibrate", "apply", "calibration.json", "--traces", "s2.jsonl", "--reference", "l2.jsonl", "--json")
    assert (said.json["n"], said.json["n_tested"]) == (600, 300)
    assert any("300 of 600 rows also calibrated" in note for note in said.json["notes"])


def test_a_score_that_is_not_a_probability_has_no_ece(corea: Command) -> None:
    old = corea(*served(range(50), right=0.8, score=None)).out  # of a trace before scores had their field
    assert "score (not a probability): AUROC" in old
    assert "ECE" not in old
    new = corea(*served(range(50), right=0.8)).out
    assert "confidence: AUROC" in new
    assert "ECE 0.170" in new
    assert "a calibration decided: --calibration FILE tests its guarantee here" in " ".join(new.split())
    outside = corea(*served(range(50), right=0.8, value=None, score=None))
    assert "50 deferred, as an input is unlike all rows that calibrated" in outside.out


def test_tau_is_compared_with_what_decided(corea: Command) -> None:
    command = [*served(range(50), right=0.8, score=0.3), "--json", "--tau"]
    assert corea(*command, "0.5").json["llm_share"] == 1.0
    assert corea(*command, "0.3").json["llm_share"] == 0.0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["eval", "s.jsonl", "--strict"], "--strict: got it without --calibration"),
        (["eval", "s.jsonl", "--calibration", "calibration.json"], "use `corea calibrate apply`"),
        (["eval", "run.jsonl", "--questions", "q.jsonl", "--calibration", "calibration.json"], "give --against FILE"),
        (["eval", "s.jsonl", "--calibration", "none.json"], "none.json: no such calibration"),
    ],
)
def test_a_guarantee_that_cannot_be_tested_is_one_line(corea: Command, arguments: list[str], said: str) -> None:
    calibrated()
    served(range(50), right=0.8)
    ran = corea(*arguments)
    assert (ran.code, len(ran.err.strip().splitlines())) == (2, 1), ran.err
    assert said in ran.err
