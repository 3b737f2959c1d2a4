"""`corea calibrate` from the command line: recorded rows, live models, several tiers, few labels, and bad input."""

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Command

PRICES = ("--price", "s=0/1", "--price", "m=0/3", "--price", "l=0/20")


def write_rows(path: str, model: str, rows: list[dict[str, Any]]) -> str:
    made = ({"model": model, "completion_tokens": 100, **row} for row in rows)
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in made))
    return path


def recorded(count: int = 1500, *, right: float = 0.9, unlabelled: float = 0.0) -> None:
    """s.jsonl and m.jsonl (small, middle) are mostly right where sure; l.jsonl is right more often."""
    dice = random.Random(1)
    small, middle, large = [], [], []
    for n in range(count):
        sure = dice.choice([0.5, 0.8, 0.9, 1.0])
        hidden = dice.random() < unlabelled
        category = dice.choice(["easy", "hard"])
        for rows, chance in ((small, sure), (middle, min(1.0, sure + 0.1)), (large, max(right, sure))):
            good = dice.random() < chance
            rows.append({
                "id": f"q{n}", "correct": None if hidden else int(good), "confidence": sure, "category": category,
                "answer": "A" if good else dice.choice("BCD"), "completion_tokens": dice.randrange(50, 150),
            })  # fmt: skip
    write_rows("s.jsonl", "s", small)
    write_rows("m.jsonl", "m", middle)
    write_rows("l.jsonl", "l", large)


RECORDED = ("calibrate", "--traces", "s.jsonl", "--reference", "l.jsonl", *PRICES)
CAP = ("--cost-cap", "0.01")


@pytest.mark.parametrize(
    "goal",
    [
        ("--max-drop", "0.05"), ("--max-risk", "0.15"), ("--max-cost", "0.0018", *CAP), ("--value", "0.002", *CAP),
        ("--max-drop", "0.06", "--max-risk", "0.2", "--max-cost", "0.0019", *CAP),
        ("--value", "0.05", "--abstain-cost", "0.002", *CAP), ("--max-drop", "0.06", "--by-group"),
    ],
)  # fmt: skip
def test_each_goal_and_several_at_once_are_certified_and_applied(corea: Command, goal: tuple[str, ...]) -> None:
    recorded()
    ran = corea(*RECORDED, *goal, "--map", "identity", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["verdict"] == "certified"
    said = corea("calibrate", "apply", "calibration.json", "--traces", "s.jsonl", "--reference", "l.jsonl",
                 *PRICES, "--json")  # fmt: skip
    assert said.json["n"] == 1500
    promised = {
        "--max-drop": "max_drop",
        "--max-risk": "max_risk",
        "--max-cost": "max_cost_usd",
        "--value": "value_usd",
    }
    assert set(said.json["targets_met"]) == {name for option, name in promised.items() if option in goal}
    assert said.json["mean_cost_usd"] > 0


def test_attempts_on_the_same_rows_are_counted_over_the_files_of_a_folder(corea: Command) -> None:
    recorded()
    Path("other.json").write_text("[1, 2")
    said = [
        corea(*RECORDED, "--max-drop", drop, "--map", "identity", "--out", out).out.splitlines()[0]
        for drop, out in (("0.05", "a.json"), ("0.06", "b.json"), ("0.07", "c.json"), ("0.05", "a.json"))
    ]
    assert "attempt" not in said[0]
    assert said[1].endswith("; attempt 2 on these rows: 90 % confidence over all attempts")
    assert said[2].endswith("; attempt 3 on these rows: 85 % confidence over all attempts")
    assert said[3].endswith("; attempt 3 on these rows: 85 % confidence over all attempts")  # the others are there


def test_rows_that_contradict_the_promise_lead_and_fail_where_strict(corea: Command) -> None:
    recorded()
    assert corea(*RECORDED, "--max-drop", "0.05", "--json").json["verdict"] == "certified"
    apply = ("calibrate", "apply", "calibration.json", "--reference", "l.jsonl", *PRICES, "--strict", "--traces")
    assert corea(*apply, "s.jsonl").code == 0
    rows = [json.loads(line) for line in Path("s.jsonl").read_text().splitlines()]
    write_rows("bad.jsonl", "s", [{**row, "correct": int(n % 3 == 0)} for n, row in enumerate(rows)])
    ran = corea(*apply, "bad.jsonl")
    assert ran.code == 1
    assert ran.out.startswith("THE GUARANTEE DOES NOT HOLD HERE: max_drop missed beyond chance")


def test_infeasible_says_the_best_point_the_labels_and_what_else(corea: Command) -> None:
    recorded(200)
    ran = corea(*RECORDED, "--max-drop", "0.001", "--report", "r.html")
    assert ran.code == 0
    assert ran.out.startswith("INFEASIBLE")
    assert "best uncertified point" in ran.out
    assert "labels" in ran.out
    assert "another pair" in ran.out
    assert json.loads(Path("calibration.json").read_text())["stages"][0]["threshold"] is None
    assert "INFEASIBLE" in Path("r.html").read_text()


def test_three_tiers_are_certified_jointly_and_judged_on_other_rows(corea: Command) -> None:
    recorded(2500)
    files = ("--traces", "s.jsonl", "--traces", "m.jsonl", "--reference", "l.jsonl", *PRICES)
    ran = corea("calibrate", *files, "--tier", "s", "--tier", "m", "--max-drop", "0.05", "--report", "r.html", "--json")
    assert ran.code == 0, ran.err
    found = ran.json
    assert found["verdict"] == "certified"
    assert [stage["model"] for stage in found["stages"]] == ["s", "m"]
    assert "s" in Path("r.html").read_text()
    said = corea("calibrate", "apply", "calibration.json", *files, "--json").json
    assert (list(said["targets_met"]), said["saving"] > 0.2) == (["max_drop"], True)


def test_few_labels_do_where_the_answers_are_compared(corea: Command) -> None:
    recorded(3000)
    truth = {
        name: [json.loads(line) for line in Path(name).read_text().splitlines()] for name in ("s.jsonl", "l.jsonl")
    }
    for name, rows in truth.items():
        write_rows(name, name[0], [{**row, "correct": None} for row in rows])
    assert "label it" in corea(*RECORDED, "--max-drop", "0.03").err
    poor = (*RECORDED, "--max-drop", "0.03", "--few-labels")
    asked = corea(*poor, "--select-for-labelling", "ids.txt", "--count", "150").out
    assert asked.startswith("150 ids to label")
    assert "they are for --max-drop 0.03: at a larger one they certify no more" in asked
    ids = set(Path("ids.txt").read_text().split())
    for name, rows in truth.items():
        write_rows(name, name[0], [row if row["id"] in ids else {**row, "correct": None} for row in rows])
    ran = corea(*poor, "--json")
    assert ran.code == 0, ran.err
    found = ran.json
    assert (found["verdict"], found["guarantee"]["labels"]["gold"]) == ("certified", 150)
    assert "3,000 questions of which 150 are labelled" in found["sentence"]
    labels = found["guarantee"]["labels"]
    assert labels["gold_saved"] == labels["gold_alone"] - 150 > 0
    for name, rows in truth.items():
        write_rows(name, name[0], rows)
    said = corea("calibrate", "apply", "calibration.json", "--traces", "s.jsonl", "--reference", "l.jsonl",
                 *PRICES, "--json").json  # fmt: skip
    assert said["targets_met"] == {"max_drop": said["drop"] <= 0.03}


def broken(name: str, **change: Any) -> None:
    """The recorded rows with the last one changed."""
    rows = [json.loads(line) for line in Path(name).read_text().splitlines()]
    rows[-1] |= change
    write_rows(name, name[0], rows)


@pytest.mark.parametrize(
    ("name", "change", "code", "said"),
    [
        ("s.jsonl", {"correct": None}, 3, "s.jsonl:60: question 'q59': got correct = None, expected 0 or 1"),
        ("l.jsonl", {"correct": "yes"}, 3, "l.jsonl:60: question 'q59': got correct = 'yes'"),
        ("s.jsonl", {"id": "q0"}, 3, "s.jsonl:60: question 'q0' comes twice"),
        ("s.jsonl", {"id": None}, 3, "s.jsonl:60: a row has no id"),
        ("l.jsonl", {"model": "other"}, 2, "holds the models l, other; choose one with --llm"),
        ("s.jsonl", {"confidence": float("nan")}, 3, "s.jsonl:60: not JSON"),
    ],
)
def test_one_bad_row_is_one_clear_line(corea: Command, name: str, change: dict[str, Any], code: int, said: str) -> None:
    recorded(60)
    broken(name, **change)
    ran = corea(*RECORDED, "--max-drop", "0.05")
    assert (ran.code, len(ran.err.strip().splitlines())) == (code, 1), ran.err
    assert said in ran.err


def test_bad_tables_are_one_clear_line_each(corea: Command) -> None:
    def says(words: str, *arguments: str, code: int = 3) -> None:
        ran = corea(*arguments, "--max-drop", "0.05")
        assert (ran.code, len(ran.err.strip().splitlines())) == (code, 1), ran.err
        assert words in ran.err

    recorded(60)
    says("the rows of s have no cost_usd and no price is known", *RECORDED[:5])
    says("got one of --traces and --reference", "calibrate", "--traces", "s.jsonl", code=2)
    says("no such file", "calibrate", "--traces", "none.jsonl", "--reference", "l.jsonl", code=2)
    says("expected one of 's'", *RECORDED, "--slm", "x", code=2)
    says("no row of s has a number in the column 'speed', expected one of confidence; choose with --signals",
         *RECORDED, "--signals", "speed")  # fmt: skip
    tiers = ("--traces", "m.jsonl", *PRICES, "--tier", "s", "--tier", "m")
    says("got three or more models, expected two", *RECORDED[:5], *tiers, "--few-labels", code=2)
    write_rows("one.jsonl", "s", [{"id": f"q{n}", "correct": 1, "confidence": 0.5} for n in range(60)])
    says("every answer of s is right", "calibrate", "--traces", "one.jsonl", *RECORDED[3:])
    write_rows("other.jsonl", "s", [{"id": f"z{n}", "correct": n % 2, "confidence": 0.5} for n in range(60)])
    says("no question id is in all files", "calibrate", "--traces", "other.jsonl", *RECORDED[3:])
    for words, more in (
        (
            "no row of s has a confidence that is measured live, expected the field confidence in [0, 1]; got "
            "judge_score, which are only recorded: --signals NAME uses them",
            lambda n: {"confidence": None, "judge_score": n % 3 / 3},
        ),
        (
            "no row of s has a confidence that is measured live (its confidence is of the kind 'classifier')",
            lambda n: {"confidence_kind": "classifier"},
        ),
        (
            "'confidence' of s holds values such as 90, expected a number in [0, 1]",
            lambda n: {"confidence": 89 + n % 3},
        ),
        ("got confidence = '0.9', text, expected a number in [0, 1]", lambda n: {"confidence": "0.9"}),
        ("the rows of s have no token counts, so --price gives no cost", lambda n: {"completion_tokens": None}),
    ):
        rows = [{"id": f"q{n}", "correct": n % 2, "confidence": 0.5 + n % 4 / 10, **more(n)} for n in range(60)]
        write_rows("odd.jsonl", "s", rows)
        says(words, "calibrate", "--traces", "odd.jsonl", *RECORDED[3:])
    rows = [{"id": f"q{n}", "correct": n % 2, "confidence": 0.5 + n % 4 / 10, "em": n % 2} for n in range(60)]
    write_rows("odd.jsonl", "s", rows)
    says("the column 'em' of s tells right from wrong with AUROC 1.000", "calibrate", "--traces", "odd.jsonl",
         *RECORDED[3:], "--signals", "confidence,em")  # fmt: skip
    Path("empty.jsonl").write_text("")
    says("empty.jsonl: holds no rows", "calibrate", "--traces", "empty.jsonl", *RECORDED[3:])
    Path("nan.jsonl").write_text('{"id": "q0", "correct": 1, "confidence": 0.5}\n{"id": "q1", "confidence": NaN}\n')
    says("nan.jsonl:2: not JSON", "calibrate", "--traces", "nan.jsonl", *RECORDED[3:])
    says("null in the place of NaN", "calibrate", "--traces", "nan.jsonl", *RECORDED[3:])
    ran = corea(*RECORDED)
    assert (ran.code, "expected one of --max-drop" in ran.err) == (2, True)


# --- columns --------------------------------------------------------------------------------------------------------


def test_by_default_only_signals_that_a_cascade_measures_live_decide(corea: Command) -> None:
    recorded()
    rows = [json.loads(line) for line in Path("s.jsonl").read_text().splitlines()]
    write_rows("plain.jsonl", "s", rows)
    dice = random.Random(2)
    more = [{"linguistic_confidence": row["correct"] / 4 + dice.random() / 2, "judge_score": dice.random()}
            for row in rows]  # fmt: skip
    write_rows("s.jsonl", "s", [row | extra for row, extra in zip(rows, more, strict=True)])
    plain, found = (
        corea("calibrate", "--traces", path, *RECORDED[3:], "--max-drop", "0.05", "--json").json
        for path in ("plain.jsonl", "s.jsonl")
    )
    assert (plain["sentence"], plain["data"]["digest"]) == (found["sentence"], found["data"]["digest"])
    assert "columns read: confidence, completion_tokens" in found["data"]["notes"]
    assert (
        "not used of s, as no cascade measures it live: linguistic_confidence, judge_score; --signals NAME,... names "
        "columns" in found["data"]["notes"]
    )


def test_a_recorded_signal_is_used_where_it_is_named_and_said_everywhere(corea: Command) -> None:
    recorded()
    rows = [json.loads(line) for line in Path("s.jsonl").read_text().splitlines()]
    dice = random.Random(2)
    write_rows("s.jsonl", "s", [row | {"judge_score": row["correct"] / 4 + dice.random() / 2} for row in rows])
    named = ("--max-drop", "0.05", "--signals", "confidence,judge_score", "--report", "report.html")
    ran = corea(*RECORDED, *named)
    said = "with signals that no cascade measures live: judge_score"
    assert ran.out.splitlines()[0].endswith(said)
    assert "note       the column judge_score of s is named like a grade, which a live answer does not have" in ran.out
    assert said in Path("report.html").read_text()
    artefact = json.loads(Path("calibration.json").read_text())
    assert artefact["data"]["recorded_signals"] == ["judge_score"]
    assert artefact["sentence"].endswith(said)
    applied = corea("calibrate", "apply", "calibration.json", *RECORDED[1:], "--json")
    assert applied.json["n"] == 1500, applied.err
    for command in (("ask", "2 + 2?"), ("run", "q.jsonl", "--out", "a.jsonl"), ("serve", "--port", "0")):
        ran = corea(*command, "--calibration", "calibration.json", "--force")
        assert (ran.code, len(ran.err.strip().splitlines())) == (2, 1), ran.err
        assert "its map reads judge_score, which the stage's signal does not give" in ran.err


def test_a_confidence_that_is_the_grade_is_pointed_out(corea: Command) -> None:
    rows = [{"id": f"q{n}", "correct": n % 2, "confidence": n % 2 / 2 + n % 5 / 20} for n in range(200)]
    recorded(200)
    write_rows("odd.jsonl", "s", rows)
    ran = corea("calibrate", "--traces", "odd.jsonl", *RECORDED[3:], "--max-drop", "0.05")
    assert "note       the column 'confidence' of s tells right from wrong with AUROC 1.000: make sure" in ran.out


# --- live -----------------------------------------------------------------------------------------------------------


def write_config(count: int, small_model: str = "small") -> None:
    """A configuration of fake models that answer by id; the small one is wrong and unsure every fourth time."""
    small = {
        f"q{n}": f"<answer>{n if n % 4 else -1}</answer><confidence>{0.9 if n % 4 else 0.3}</confidence>"
        for n in range(count)
    }
    large = {f"q{n}": f"<answer>{n}</answer>" for n in range(count)}
    parts = ["[run]\nconcurrency = 8\n"]
    for name, model, replies, price in (("small", small_model, small, 1), ("large", "large", large, 40)):
        parts.append(f'[stages.{name}]\nprompt = "plain"\n[stages.{name}.sampling]\nmax_tokens = 9\n')
        parts.append(f'[stages.{name}.backend]\nkind = "fake"\nmodel = "{model}"\n[stages.{name}.backend.replies]\n')
        parts += [f"{key} = {json.dumps(reply)}\n" for key, reply in replies.items()]
        parts.append(f'[prices."{model}"]\ninput_usd_per_mtok = "0"\noutput_usd_per_mtok = "{price}"\n')
    Path("corea.toml").write_text("".join(parts))
    rows = ({"id": f"q{n}", "question": f"Number {n}", "answer": str(n), "category": "ab"[n % 2]} for n in range(count))
    Path("q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_live_configuration_is_asked_calibrated_bound_and_resumed(corea: Command) -> None:
    write_config(500)
    live = ("calibrate", "--questions", "q.jsonl", "--max-drop", "0.01", "--json")
    stopped = corea(*live, "--budget-usd", "0.006")
    assert (stopped.code, stopped.out) == (5, "")
    assert "nothing is paid twice" in stopped.err
    ran = corea(*live, "--report", "r.html")
    assert ran.code == 0, ran.err
    assert ran.json["verdict"] == "certified"
    traces = Path("calibration.answers/large.jsonl").read_text().splitlines()
    before = [json.loads(line)["trace_id"] for line in traces]
    assert corea(*live).json["data"]["digest"] == ran.json["data"]["digest"]
    traces = Path("calibration.answers/large.jsonl").read_text().splitlines()
    assert [json.loads(line)["trace_id"] for line in traces] == before
    notes = corea(*live).json["data"]["notes"]
    assert "columns read: confidence" in notes
    assert "asking small cost 0.0005 USD for 500 answers, 500 stored answers of earlier starts included" in notes
    bound = ("--calibration", "calibration.json", "-q")
    assert corea("run", "q.jsonl", "-o", "a.jsonl", *bound).code == 0
    answered = [json.loads(line) for line in Path("a.jsonl").read_text().splitlines()]
    assert {trace["stage"] for trace in answered if int(trace["question_id"][1:]) % 4} == {"small"}
    assert {trace["stage"] for trace in answered if not int(trace["question_id"][1:]) % 4} == {"large"}
    assert answered[0]["flags"] == ["calibrated"]


def test_live_the_cap_of_a_cost_is_that_of_max_tokens_and_use_says_what_it_cost(corea: Command) -> None:
    write_config(400)
    asked = ("calibrate", "--questions", "q.jsonl", "--json")
    unbounded = corea(*asked, "--max-cost", "0.00003", "--set", "stages.large.sampling={}")
    assert (unbounded.code, len(unbounded.err.strip().splitlines())) == (2, 1)
    assert "got no --cost-cap and no sampling.max_tokens of stages.large, expected the most that one" in unbounded.err
    assert not Path("calibration.answers").exists()
    found = corea(*asked, "--max-cost", "0.0003").json
    assert found["verdict"] == "certified"
    assert found["guarantee"]["cost_cap_usd"] == pytest.approx(9 * (1 + 40) / 1e6)  # max_tokens times both prices
    assert ", if no question costs more than 0.000369 USD" in found["sentence"]
    assert any("is the most that the longest question here can cost" in note for note in found["data"]["notes"])
    run = ("run", "q.jsonl", "--calibration", "calibration.json", "-q", "-o")
    ran = corea(*run, "a.jsonl")
    assert ran.code == 0, ran.err
    assert re.search(r"mean cost [\de.-]+ USD a question, guaranteed 0\.0003 on average\n", ran.out), ran.out
    dearer = ("--force", "--set", "prices.large.output_usd_per_mtok=4000")
    over = corea(*run, "b.jsonl", *dearer).out
    assert "guaranteed 0.0003 on average, MORE than guaranteed" in over
    assert "questions cost more than 0.000369 USD, the most that the guarantee assumes" in over
    flags = [json.loads(line)["flags"] for line in Path("b.jsonl").read_text().splitlines()]
    assert 0 < sum("calibration: cost above the assumed cap" in each for each in flags) < 400


def test_another_column_of_categories_is_read_live_and_at_use(corea: Command) -> None:
    write_config(400)
    rows = [json.loads(line) for line in Path("q.jsonl").read_text().splitlines()]
    rows = [{**row, "topic": f"t{row['category']}", "category": row["id"]} for row in rows]
    Path("q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    live = ("calibrate", "--questions", "q.jsonl", "--max-drop", "0.1", "--by-group", "--json", "--group")
    missing = corea(*live, "subject")
    assert (missing.code, "--group: no row of q.jsonl has a column 'subject'" in missing.err) == (2, True)
    assert not Path("calibration.answers").exists()
    found = corea(*live, "topic").json
    assert (sorted(found["groups"]), found["data"]["category_column"]) == (["ta", "tb"], "topic")
    assert corea("run", "q.jsonl", "-o", "a.jsonl", "-q", "--calibration", "calibration.json").code == 0
    stages = [json.loads(line)["stage"] for line in Path("a.jsonl").read_text().splitlines()]
    assert 250 < stages.count("small") < 350  # not everything deferred, as of unknown categories


def test_asking_says_its_bound_and_after_the_first_answers_an_estimate(corea: Command) -> None:
    write_config(300)
    ran = corea("calibrate", "--questions", "q.jsonl", "--max-drop", "0.1")
    lines = ran.err.splitlines()
    assert "asking small: 300 questions, at most 0.0027 USD" in lines
    assert "in all: at most 0.1107 USD; the cost is estimated after the first 20 answers of each" in lines
    (said,) = [line for line in lines if line.startswith("asking large: about ")]
    assert re.fullmatch(r"asking large: about 0\.012 USD in all by the first \d+ \(estimate\)", said)
    Path("q.jsonl").write_text(Path("q.jsonl").read_text() + '{"id": "new", "question": "Number 1", "answer": "1"}\n')
    again = corea("calibrate", "--questions", "q.jsonl", "--max-drop", "0.1", "--repeat", "0").err
    assert "asking large: 1 questions, about 4e-05 USD by the stored answers (estimate), at most 0.00036 USD" in again
    assert again.splitlines()[-1] == "in all: at most 0.000369 USD"


def test_another_configuration_is_refused_and_force_is_on_every_trace(corea: Command) -> None:
    write_config(80)
    assert corea("calibrate", "--questions", "q.jsonl", "--max-drop", "0.2", "--json").json["verdict"] == "certified"
    write_config(80, small_model="tiny")
    ran = corea("run", "q.jsonl", "-o", "a.jsonl", "--calibration", "calibration.json")
    assert (ran.code, len(ran.err.strip().splitlines())) == (2, 1)
    assert "slm is 'tiny', calibrated for 'small'" in ran.err
    assert corea("run", "q.jsonl", "-o", "a.jsonl", "-q", "--calibration", "calibration.json", "--force").code == 0
    for line in Path("a.jsonl").read_text().splitlines():
        assert json.loads(line)["flags"][1] == "calibration forced: slm is 'tiny', calibrated for 'small'"
    assert "--force: got it without a calibration" in corea("ask", "x", "--force").err


def test_rows_of_another_signal_than_the_stage_s_are_refused(corea: Command) -> None:
    write_config(10)
    recorded()
    for name in ("s", "l"):
        rows = [json.loads(line) for line in Path(f"{name}.jsonl").read_text().splitlines()]
        model, kind = {"s": ("small", "self_check"), "l": ("large", "none")}[name]
        write_rows(f"{name}.jsonl", model, [{**row, "model": model, "confidence_kind": kind} for row in rows])
    rows = (
        "calibrate",
        "--traces",
        "s.jsonl",
        "--reference",
        "l.jsonl",
        "--price",
        "small=0/1",
        "--price",
        "large=0/20",
    )
    assert corea(*rows, "--max-drop", "0.05", "--map", "identity").code == 0
    assert json.loads(Path("calibration.json").read_text())["binding"][0]["signal_name"] == "self_check"
    command = ("ask", "Number 3", "--calibration", "calibration.json")
    ran = corea(*command)
    assert (ran.code, len(ran.err.strip().splitlines())) == (2, 1)
    assert "slm_signal_name is 'verbalized', calibrated for 'self_check'" in ran.err
    assert "calibrated for 'self_check'" not in corea(*command, "--set", "stages.small.signal=self_check").err
    forced = "calibration forced: slm_signal_name is 'verbalized', calibrated for 'self_check'"
    assert forced in corea(*command, "--force", "--json").json["flags"][1]


@pytest.mark.parametrize("command", [("ask", "Number 3"), ("serve", "--port", "0")])
def test_what_has_no_category_refuses_a_calibration_that_reads_it(corea: Command, command: tuple[str, ...]) -> None:
    write_config(200)
    made = corea("calibrate", "--questions", "q.jsonl", "--max-drop", "0.2", "--by-group", "--json")
    assert any("must carry its category, one of a, b" in note for note in made.json["data"]["notes"])
    ran = corea(*command, "--calibration", "calibration.json")
    assert (ran.code, len(ran.err.strip().splitlines())) == (2, 1)
    assert f"corea {command[0]}: the calibration reads each question's category" in ran.err
    assert corea("run", "q.jsonl", "-o", "a.jsonl", "-q", "--calibration", "calibration.json").code == 0
    assert '"stage":"small"' in Path("a.jsonl").read_text()


def test_a_configuration_needs_labelled_questions(corea: Command) -> None:
    assert "got no --questions" in corea("calibrate", "--max-drop", "0.02").err
    Path("q.jsonl").write_text('{"id": "a", "question": "x"}\n' * 30)
    ran = corea("calibrate", "--max-drop", "0.02", "--questions", "q.jsonl")
    assert (ran.code, "q.jsonl:1: question 'a' has no reference" in ran.err) == (3, True)


def test_the_report_names_the_graders_and_how_many_questions_each_graded(corea: Command) -> None:
    write_config(60)
    rows = [json.loads(line) for line in Path("q.jsonl").read_text().splitlines()]
    mixed = [{**row, "answer_type": "latex"} if n < 20 else row for n, row in enumerate(rows)]
    Path("q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in mixed))
    live = ("calibrate", "--questions", "q.jsonl", "--max-drop", "0.2")
    assert "note       graded by number 40, maths 20\n" in corea(*live).out
    assert "graded by text 60" in corea(*live, "--grader", "text", "--json").json["data"]["notes"]
    answers = ("--traces", "calibration.answers/small.jsonl", "--reference", "calibration.answers/large.jsonl")
    runs = ("calibrate", *answers, "--max-drop", "0.2", "--json")
    ran = corea(*runs, "--questions", "q.jsonl")
    assert ran.code == 0, ran.err
    assert "graded by number 40, maths 20" in ran.json["data"]["notes"]
    named = corea(*runs, "--questions", "q.jsonl", "--grader", "text").json["data"]["notes"]
    assert "graded by text 60" in named


@pytest.mark.parametrize(
    ("answer", "options", "code", "said"),
    [
        ("banana", ["--grader", "number"], 3, "q.jsonl:60: question 'q59': the reference 'banana' is no number"),
        (" ", [], 3, "q.jsonl:60: question 'q59': the reference ' ' is empty"),
        ("", [], 3, "q.jsonl:60: question 'q59' has no reference"),
        ("5", ["--grader", "numbr"], 2, "grader: got 'numbr'"),
    ],
)
def test_a_reference_that_cannot_be_graded_is_refused_before_any_model_is_asked(
    corea: Command, answer: str, options: list[str], code: int, said: str
) -> None:
    write_config(60)
    lines = Path("q.jsonl").read_text().splitlines()
    last = json.dumps({**json.loads(lines[-1]), "answer": answer})
    Path("q.jsonl").write_text("\n".join([*lines[:-1], last]) + "\n")
    ran = corea("calibrate", "--questions", "q.jsonl", "--max-drop", "0.2", *options)
    assert (ran.code, len(ran.err.strip().splitlines()), said in ran.err) == (code, 1, True), ran.err
    assert not Path("calibration.answers").exists()


def test_recorded_rows_bring_their_own_grades(corea: Command) -> None:
    recorded()
    ran = corea(*RECORDED, "--max-drop", "0.03", "--grader", "number")
    assert (ran.code, "--grader: got recorded rows, which bring their own grades" in ran.err) == (2, True)


# --- beside it ------------------------------------------------------------------------------------------------------


def test_a_mean_cost_is_promised_under_a_condition_on_one_questions_cost(corea: Command) -> None:
    recorded()
    without = corea(*RECORDED, "--max-cost", "0.0018", "--map", "identity")
    assert (without.code, len(without.err.strip().splitlines())) == (2, 1)
    most = re.search(r"cost-cap: got none, .*; give --cost-cap \(the most here is ([\d.]+)\)", without.err)
    assert most is not None
    assert float(most[1]) == pytest.approx(149 * 21 / 1e6, rel=0.03)
    given = corea(*RECORDED, "--max-cost", "0.0018", "--map", "identity", *CAP, "--report", "r.html")
    condition = ", if no question costs more than 0.01 USD"
    assert f"{condition}, certified on" in given.out.splitlines()[0]
    assert condition in given.out.splitlines()[2]
    assert condition in Path("r.html").read_text()
    assert "costs more than" not in corea(*RECORDED, "--max-drop", "0.05").out


@pytest.mark.parametrize("option", ["--max-drop", "--delta", "--agreement", "--auroc", "--llm-accuracy"])
@pytest.mark.parametrize("value", ["nan", "1", "-1"])
def test_a_number_out_of_range_is_one_line(corea: Command, option: str, value: str) -> None:
    if (option, value) == ("--agreement", "1"):  # the large model errs independently
        return
    ran = corea("calibrate", "plan", "--slm-accuracy", "0.6", "--llm-accuracy", "0.8", option, value)
    assert (ran.code, len(ran.err.strip().splitlines())) == (2, 1)
    assert option.lstrip("-") in ran.err


def test_an_assumed_pair_is_planned_for_without_rows(corea: Command) -> None:
    assumed = ("calibrate", "plan", "--slm-accuracy", "0.6", "--llm-accuracy", "0.8", "--draws", "1")
    found = corea(*assumed, "--json").json
    assert [each["labels"] for each in found["plan"]] == [100, 200, 300, 600, 1000, 2000, 3000, 6000]
    assert found["source"] == "simulated: accuracies 0.6 and 0.8, AUROC 0.7, cost 1 to 20"
    assert found["guarantee"] == "accuracy is at most 2 points below the large model's"


def test_saving_against_labels_of_rows_at_hand_and_as_a_table(corea: Command) -> None:
    recorded(700)
    plan = ("calibrate", "plan", *RECORDED[1:], "--max-drop", "0.06", "--map", "identity", "--draws", "10")
    ran = corea(*plan)
    lines = ran.out.splitlines()
    assert lines[0] == (
        "accuracy is at most 6 points below the large model's, at delta 0.05; 10 sets of each size, drawn from 700 "
        "rows of s and l"
    )
    assert lines[2].split() == ["labels", "certified", "saving,", "median", "8", "of", "10", "sets"]
    assert [line.split()[0] for line in lines[3:]] == ["100", "200", "300", "600", "700"]
    found = corea(*plan, "--json").json["plan"]
    assert found[-1]["certified"] == 1
    assert found[0]["saving"] < found[2]["saving"]
    whole = corea(*RECORDED, "--max-drop", "0.06", "--map", "identity", "--json").json["expected"]["saving"]["value"]
    assert found[-1]["saving_low"] - 0.1 < whole < found[-1]["saving_high"] + 0.1


def test_a_slice_that_loses_more_than_promised_is_warned_of(corea: Command) -> None:
    dice, small, large = random.Random(2), [], []
    for n in range(3000):
        bad = n % 10 == 0
        right = dice.random() < (0.3 if bad else 0.97)
        for rows, good in ((small, right), (large, True)):
            rows.append({"id": f"q{n}", "correct": int(good), "confidence": 0.9, "category": "odd" if bad else "plain"})
    write_rows("s.jsonl", "s", small)
    write_rows("l.jsonl", "l", large)
    ran = corea(*RECORDED, "--max-drop", "0.12", "--map", "identity")
    assert "these slices lose more: odd" in ran.out
    each = corea(*RECORDED, "--max-drop", "0.12", "--map", "identity", "--by-group", "--json").json["groups"]
    assert each["plain"]["threshold"] is not None
    assert (each["odd"]["threshold"] or {"tie_fraction": 0})["tie_fraction"] < 0.2


def test_abstentions_are_counted_apart(corea: Command) -> None:
    recorded()
    found = corea(*RECORDED, "--map", "identity", "--value", "0.05", "--abstain-cost", "0.002", *CAP, "--json").json
    assert found["stages"][0]["threshold"]["abstain_below"] is not None
    assert found["expected"]["abstained_share"]["value"] > 0.1
    assert found["expected"]["llm_share"]["value"] + found["expected"]["abstained_share"]["value"] < 1


def test_an_infeasible_risk_says_how_many_labels_too(corea: Command) -> None:
    recorded(120)
    ran = corea(*RECORDED, "--max-risk", "0.11", "--map", "identity")
    assert ran.out.startswith("INFEASIBLE")
    assert "labels would probably certify it (this run had 120)" in ran.out


def test_the_table_of_the_configuration_gives_defaults_that_options_replace(corea: Command) -> None:
    recorded()
    write_config(60)
    text = Path("corea.toml").read_text()
    Path("corea.toml").write_text('[calibrate]\nmax_drop = 0.05\nmap = "identity"\ndelta = 0.1\nseed = 3\n' + text)
    found = corea(*RECORDED, "--json").json
    assert (found["guarantee"]["targets"]["max_drop"], found["guarantee"]["targets"]["delta"]) == (0.05, 0.1)
    assert found["data"]["seed"] == 3
    changed = corea(*RECORDED, "--max-drop", "0.06", "--set", "calibrate.delta=0.2", "--json").json["guarantee"]
    assert (changed["targets"]["max_drop"], changed["targets"]["delta"]) == (0.06, 0.2)
    Path("corea.toml").write_text("[calibrate]\nmax_dorp = 0.05\n" + text)
    ran = corea(*RECORDED)
    assert (ran.code, "corea.toml: calibrate" in ran.err, "max_drop" in ran.err) == (2, True, True), ran.err


def test_recorded_rows_say_which_baseline_their_saving_is_against(corea: Command) -> None:
    recorded()
    note = "note       the saving is against the recorded cost of l, with whatever prompt that was"
    assert note in corea(*RECORDED, "--max-drop", "0.05", "--map", "identity").out
    rows = [json.loads(line) for line in Path("l.jsonl").read_text().splitlines()]
    write_rows("l.jsonl", "l", [{**row, "plain_cost_usd": row["completion_tokens"] * 1e-5} for row in rows])
    ran = corea(*RECORDED, "--max-drop", "0.05", "--map", "identity", "--report", "r.html")
    assert note not in ran.out
    said = r"; against l asked with the question as it came \(1,500 questions\) it saves \d\d % \(95 %: \d\d to \d\d\)"
    assert re.search(said, ran.out.splitlines()[0])
    assert "saving, large model asked plainly" in ran.out
    assert "saving, large model asked plainly" in Path("r.html").read_text()
    expected = json.loads(Path("calibration.json").read_text())["expected"]
    assert expected["plain_saving"]["value"] == pytest.approx(1 - 2 * (1 - expected["saving"]["value"]))
    assert expected["plain_saving"]["high"] - expected["plain_saving"]["low"] > 0


def worded(count: int, start: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of small and large: the small model hardly knows integrals, and its confidence tells nothing."""
    dice = random.Random(start)
    small, large = [], []
    for n in range(start, start + count):
        hard, known = dice.random() < 0.5, dice.random()
        question = f"Find the {'integral' if hard else 'sum'} of item {n}."
        small.append({"id": f"q{n}", "question": question, "correct": int(known < (0.1 if hard else 0.95)),
                      "confidence": dice.choice([0.5, 0.8, 0.9])})  # fmt: skip
        large.append({"id": f"q{n}", "correct": int(dice.random() < 0.95)})
    return small, large


def test_a_router_and_older_rows_or_an_older_calibration(corea: Command) -> None:
    small, large = worded(1500, 10_000)
    write_rows("old_s.jsonl", "s", small)
    write_rows("old_l.jsonl", "l", large)
    small, large = worded(1000, 0)
    write_rows("s.jsonl", "s", small)
    write_rows("l.jsonl", "l", large)
    goal = (*RECORDED, "--max-drop", "0.03", "--router", "--json")
    old = ("--map-from", "old_s.jsonl", "--map-from", "old_l.jsonl")
    ran = corea(*goal, *old)
    assert ran.code == 0, ran.err
    assert (ran.json["verdict"], ran.json["guarantee"]["n_fit"], ran.json["guarantee"]["n_test"]) == (
        "certified", 1500, 1000,
    )  # fmt: skip
    assert "router" not in ran.json["stages"][0]  # thousands of numbers
    assert ran.json["stages"][0]["threshold"]["ask_above"] > 0
    assert any("wait for no draft" in note for note in ran.json["data"]["notes"])
    applied = ("calibrate", "apply", "calibration.json", "--traces", "old_s.jsonl", "--reference", "old_l.jsonl")
    assert corea(*applied, *PRICES, "--json").json["saving"] > 0.2
    assert corea(*goal, "--map-from", "calibration.json", "--out", "b.json").err.startswith("corea: map-from: got a")
    old_only = ("calibrate", "--traces", "old_s.jsonl", "--reference", "old_l.jsonl", *PRICES, "--max-drop", "0.03")
    assert corea(*old_only, "--router", "--out", "old.json").code == 0
    reused = corea(*goal, "--map-from", "old.json").json
    assert (reused["verdict"], reused["guarantee"]["n_fit"]) == ("certified", 100)
    refused = corea(*goal, "--max-risk", "0.2")
    assert (refused.code, len(refused.err.strip().splitlines())) == (2, 1)
    assert "router: got other targets than --max-drop" in refused.err


def test_a_second_opinion_is_read_from_rows_and_a_calibration_is_tested_on_fresh_ones(corea: Command) -> None:
    recorded(3000)
    ran = corea(*RECORDED, "--max-drop", "0.05", "--second-opinion", "m.jsonl:m", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["data"]["signals"] == ["confidence", "second_opinion"]
    assert ran.json["binding"][0]["second_opinion"] == "m"
    apply = ("--calibration", "calibration.json", "--fresh", "s.jsonl", "--fresh", "l.jsonl", *PRICES)
    same = corea("calibrate", "verify", *apply, "--second-opinion", "m.jsonl")
    assert same.code == 3
    assert "all 3,000 rows calibrated, expected fresh ones" in same.err
    lines = [json.loads(line) for line in Path("s.jsonl").read_text().splitlines()]
    write_rows("s.jsonl", "s", [{**row, "id": f"new {row['id']}", "correct": 0} for row in lines])
    for name in ("m", "l"):
        rows = [json.loads(line) for line in Path(f"{name}.jsonl").read_text().splitlines()]
        write_rows(f"{name}.jsonl", name, [{**row, "id": f"new {row['id']}"} for row in rows])
    lines[0]["correct"] = 1  # both kinds are there
    write_rows(
        "s.jsonl", "s", [{**row, "id": f"new {row['id']}", "correct": int(i < 5)} for i, row in enumerate(lines)]
    )
    broken = corea("calibrate", "verify", *apply, "--second-opinion", "m.jsonl", "--json")
    assert broken.code == 1, broken.err
    assert broken.json["verdicts"] == {"max_drop": "broken"}
    assert broken.json["contradicted"] == ["max_drop"]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (("--price", "large=2/8", "--slm", "s"), "--slm, --price with asked models"),
        (("--second-opinion", "m.jsonl"), "--second-opinion with asked models"),
        (("--tier", "a", "--tier", "b"), "--tier with asked models"),
        (("--traces", "s.jsonl", "--reference", "l.jsonl", "--budget-usd", "1"), "--budget-usd with recorded rows"),
        (("--traces", "s.jsonl", "--reference", "l.jsonl", "--repeat", "0"), "--repeat with recorded rows"),
    ],
)
def test_an_option_that_would_not_be_read_is_refused(corea: Command, given: tuple[str, ...], named: str) -> None:
    ran = corea("calibrate", "--max-drop", "0.05", *given)
    assert ran.code == 2
    assert f"calibrate: got {named}" in ran.err
    assert not Path("calibration.json").exists()
