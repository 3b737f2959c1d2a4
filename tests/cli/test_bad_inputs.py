"""Bad inputs of `corea calibrate` and `corea eval`: each is one line that names where, what was got and what to do."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Command
from tests.cli.test_calibrate import PRICES, RECORDED, recorded, write_config, write_rows

Change = Callable[[int], dict[str, Any]]
DROP = ("--max-drop", "0.05")
ROWS = RECORDED[1:]
LIVE = ("calibrate", *DROP, "--questions", "q.jsonl")
ACCURACIES = ("calibrate", "plan", "--slm-accuracy", "0.6", "--llm-accuracy", "0.8")
FILES: dict[str, Change] = {  # the recorded rows of the small model, each with a fault in every row
    "percent": lambda n: {"confidence": 85.0 + n % 4},
    "text": lambda n: {"confidence": "90 %"},
    "true": lambda n: {"confidence": True},
    "negative": lambda n: {"confidence": -0.1},
    "unsure": lambda n: {"confidence": None},
    "costs": lambda n: {"cost_usd": "0.1"},
    "refund": lambda n: {"cost_usd": -1},
    "words": lambda n: {"completion_tokens": "100"},
    "uncounted": lambda n: {"completion_tokens": None},
    "lists": lambda n: {"id": [n]},
    "graded": lambda n: {"em": n % 2},
    "unlabelled": lambda n: {"correct": None},
    "vague": lambda n: {"correct": 0.5},
    "others": lambda n: {"id": f"z{n}"},
    "right": lambda n: {"correct": 1},
}


def recording(name: str) -> tuple[str, ...]:
    return ("calibrate", "--traces", f"{name}.jsonl", *ROWS[2:], *DROP)


def write_files() -> None:
    recorded(60)
    for name, change in FILES.items():
        plain = ({"id": f"q{n}", "correct": n % 2, "confidence": 0.5 + n % 4 / 10, **change(n)} for n in range(60))
        write_rows(f"{name}.jsonl", "s", list(plain))
    write_rows("few.jsonl", "s", [{"id": f"q{n}", "correct": n % 2, "confidence": 0.5} for n in range(10)])
    refunds = [{"id": f"q{n}", "correct": 1, "plain_cost_usd": -1} for n in range(60)]
    write_rows("refunds.jsonl", "l", refunds)
    Path("array.jsonl").write_text("[1, 2]\n")
    Path("bytes.jsonl").write_bytes(bytes(range(256)))
    Path("empty.jsonl").write_text("")
    write_config(60)


RECORDED_ROWS = [
    (recording("percent"), 3, ("'confidence' of s holds values such as 8", "divide percentages by 100")),
    (recording("text"), 3, ("text.jsonl:1: question 'q0': got confidence = '90 %', text", "in [0, 1] or null")),
    (recording("true"), 3, ("true.jsonl:1: question 'q0': got confidence = True", "a number in [0, 1] or null")),
    (recording("negative"), 3, ("'confidence' has no value in [0, 1] in any row", "choose another with --signals")),
    (recording("unsure"), 3, ("no row of s has a confidence that is measured live", "measure a signal first")),
    (recording("costs"), 3, ("costs.jsonl:1: question 'q0': got cost_usd = '0.1', text", "a number of at least 0")),
    (recording("refund"), 3, ("refund.jsonl:1: question 'q0': got cost_usd = -1", "a number of at least 0")),
    (recording("words"), 3, ("words.jsonl:1: question 'q0': got completion_tokens = '100', text",)),
    (recording("uncounted"), 3, ("the rows of s have no token counts", "record prompt_tokens and completion_tokens")),
    (recording("lists"), 3, ("lists.jsonl:1: got id = [0], expected text or a number",)),
    (recording("unlabelled"), 3, ("unlabelled.jsonl:1: question 'q0': got correct = None, expected 0 or 1",)),
    (recording("vague"), 3, ("vague.jsonl:1: question 'q0': got correct = 0.5, expected 0 or 1",)),
    (recording("others"), 3, ("no question id is in all files (such as 'z0', 'q0')", "check the ids")),
    (recording("right"), 3, ("every answer of s is right, expected both kinds", "use harder or easier questions")),
    (recording("few"), 3, ("got 10 questions that all models answered, expected at least 20", "label more")),
    (recording("array"), 3, ("array.jsonl:1: got list, expected a JSON object", "write one on each line")),
    (recording("bytes"), 3, ("bytes.jsonl: is not UTF-8", "save it as UTF-8")),
    (recording("empty"), 3, ("empty.jsonl: holds no rows, expected traces",)),
    (recording("none"), 2, ("none.jsonl: no such file, expected answers or recorded rows", "name others")),
    (("calibrate", "--traces", ".", *ROWS[2:], *DROP), 3, (".: is a folder, expected a file of rows",)),
    ((*RECORDED[:4], "refunds.jsonl", *PRICES, *DROP), 3, ("refunds.jsonl:1: question 'q0': got plain_cost_usd = -1",)),
    (("calibrate", "--traces", "s.jsonl", *DROP), 2, ("got one of --traces and --reference, expected both",)),
]  # fmt: skip
OPTIONS = [
    (RECORDED, 2, ("targets: got none, expected one of --max-drop, --max-risk, --max-cost, --value",)),
    ((*RECORDED, "--max-drop", "nan"), 2, ("max-drop: got nan, expected a share such as 0.02",)),
    ((*RECORDED, "--max-drop", "two"), 2, ("--max-drop: got 'two', expected a number; see `corea calibrate --help`",)),
    ((*RECORDED, "--max-risk", "0"), 2, ("max-risk: got 0.0, expected a share between 0 and 1",)),
    ((*RECORDED, "--max-cost", "0"), 2, ("max-cost-usd: got 0, expected an amount in USD above 0",)),
    ((*RECORDED, "--max-cost", "1", "--cost-cap", "0"), 2, ("cost-cap-usd: got 0, expected an amount in USD above 0",)),
    ((*RECORDED, "--value", "-1"), 2, ("value-usd: got -1.0, expected an amount in USD of at least 0",)),
    ((*RECORDED, *DROP, "--abstain-cost", "1"), 2, ("abstain-usd: got no --value beside it", "give --value USD")),
    ((*RECORDED, *DROP, "--delta", "0"), 2, ("delta: got 0.0, expected a probability between 0 and 1",)),
    ((*RECORDED, *DROP, "--map", "tree"), 2, ("map: got 'tree', expected auto, identity, linear or trees",)),
    ((*RECORDED, *DROP, "--probability", "x"), 2, ("probability: got 'x', expected auto, isotonic, platt or beta",)),
    ((*RECORDED, *DROP, "--seed", "-1"), 2, ("seed: got -1, expected a whole number of at least 0",)),
    ((*RECORDED, *DROP, "--signals", "speed"), 3, ("no row of s has a number in the column 'speed', expected one of",)),
    ((*RECORDED, *DROP, "--signals", ","), 2, ("--signals: got ',', expected names of columns",)),
    ((*RECORDED, *DROP, "--slm", "x"), 2, ("s.jsonl: no row of --slm 'x', expected one of 's'",)),
    ((*RECORDED, *DROP, "--price", "s=1"), 2, ("--price: got 's=1', expected NAME=IN/OUT",)),
    ((*RECORDED, *DROP, "--group", "level", "--by-group"), 2, ("--group: no row has a column 'level'",)),
    ((*RECORDED, *DROP, "--few-labels", "--by-group"), 2, ("by-group: got few labels too", "label all, or drop one")),
    ((*RECORDED, *DROP, "--select-for-labelling", "i", "--count", "0"), 2, ("--count: got '0', expected at least 1",)),
    ((*RECORDED, *DROP, "--out", "none/c.json"), 3, ("none/c.json: cannot be written", "name another --out")),
    ((*RECORDED, *DROP, "--questions", "none.jsonl"), 3, ("none.jsonl: no such file, expected a file of questions",)),
    ((*RECORDED, *DROP, "--grader", "number"), 2, ("--grader: got recorded rows", "give --questions for runs")),
    ((*RECORDED, *DROP, "--max-dorp", "1"), 2, ("got '--max-dorp'", "did you mean", "--max-drop")),
    ((*RECORDED, *DROP, "--set", "calibrate.max_dorp=1"), 2, ("calibrate: key: got 'max_dorp'", "max_drop")),
]  # fmt: skip
ASKING = [
    (("calibrate", *DROP), 2, ("got no --questions", "give a file")),
    (("calibrate", *DROP, "--questions", "s.jsonl"), 3, ("s.jsonl:1: got keys", "expected 'question' or 'messages'")),
    ((*LIVE, "--cascade", "x"), 2, ("corea.toml: cascade: got 'x', expected",)),
    ((*LIVE, "--concurrency", "0"), 2, ("--concurrency: got '0', expected at",)),
    ((*LIVE, "--budget-usd", "much"), 2, ("--budget-usd: got 'much', expected",)),
    ((*LIVE, "--extra-signals", "x"), 2, ("signals: got 'x', expected one of",)),
    ((*LIVE, "--repeat", "-1"), 2, ("--repeat: got '-1', expected at least 0",)),
    ((*LIVE, "--baseline-sample", "x"), 2, ("--baseline-sample: got 'x'",)),
    ((*LIVE, "--answers", "s.jsonl"), 3, ("s.jsonl: cannot be made", "--answers")),
    ((*LIVE, "--grader", "x"), 2, ("grader: got 'x', expected one of choice",)),
    (("calibrate", *DROP, "--config", "none.toml"), 2, ("none.toml: no such file; write one with `corea init`",)),
]  # fmt: skip
SUBCOMMANDS = [
    (("calibrate", "apply"), 2, ("calibration: got nothing, expected a value; see `corea calibrate apply --help`",)),
    (("calibrate", "apply", "none.json", *ROWS), 2, ("none.json: no such calibration; make it",)),
    (("calibrate", "apply", "s.jsonl", *ROWS), 3, ("s.jsonl: not a calibration", "expected what")),
    (("calibrate", "apply", "c.json"), 2, ("calibrate apply: got no rows", "expected --traces and --reference")),
    (("calibrate", "apply", "c.json", "--traces", "m.jsonl", *ROWS[2:]), 2, ("m.jsonl: no row of --slm 's'",)),
    (("calibrate", "apply", "changed.json", *ROWS), 3, ("changed.json: was changed after `corea calibrate` wrote it",)),
    (("calibrate", "apply", "old.json", *ROWS), 3, ("old.json: calibration version 2, expected", "calibrate again")),
    (("calibrate", "verify"), 2, ("calibrate verify: got no population, expected --traces and --reference",)),
    (("calibrate", "verify", *ROWS, "--n", "10"), 2, ("got n = 10 and draws = 1000, expected at least 20 questions",)),
    (("calibrate", "verify", *ROWS, "--draws", "x"), 2, ("--draws: got 'x', expected a whole number",)),
    (("calibrate", "verify", *ROWS, "--seed", "-1"), 2, ("--seed: got '-1', expected at least 0",)),
    (("calibrate", "verify", *ROWS, "--delta", "0"), 2, ("delta: got 0.0, expected a probability between 0 and 1",)),
    (("calibrate", "verify", "--traces", "m.jsonl", *ROWS[2:], "--calibration", "c.json"), 2,
     ("c.json: slm is 'm', calibrated for 's'; give rows of these models, or calibrate again",)),
    ((*ACCURACIES, "--delta", "0"), 2, ("delta: got 0.0, expected a probability between 0 and 1",)),
    (("calibrate", "plann"), 2, ("no such command 'plann'. Did you mean 'plan'?",)),
]  # fmt: skip
EVAL = [
    (("eval",), 2, ("eval: got no file, expected answers of `corea run` or recorded rows", "name at least one")),
    (("eval", "."), 3, (".: is a folder, expected a file of rows",)),
    (("eval", "percent.jsonl"), 3, ("percent.jsonl: ", "got confidences from 85 to 88, expected [0, 1]")),
    (("eval", "text.jsonl"), 3, ("text.jsonl:1: question 'q0': got confidence = '90 %', text",)),
    (("eval", "costs.jsonl"), 3, ("costs.jsonl:1: question 'q0': got cost_usd = '0.1', text",)),
    (("eval", "array.jsonl"), 3, ("array.jsonl:1: got list, expected a JSON object",)),
    (("eval", "s.jsonl", "--tau", "nan", "--against", "l.jsonl"), 2, ("--tau: got nan, expected a confidence",)),
    (("eval", "s.jsonl", "--tau", "80", "--against", "l.jsonl"), 2, ("--tau: got 80, expected a confidence",)),
    (("eval", "s.jsonl", "--against", "l.jsonl", "--llm", "x"), 2, ("l.jsonl: no row of --llm 'x', expected one",)),
    (("eval", "s.jsonl", "--questions", "none.jsonl"), 3, ("none.jsonl: no such file, expected a file of questions",)),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "code", "said"), [*RECORDED_ROWS, *OPTIONS, *ASKING, *SUBCOMMANDS, *EVAL])
def test_bad_input_is_one_line(corea: Command, arguments: tuple[str, ...], code: int, said: tuple[str, ...]) -> None:
    write_files()
    if "c.json" in arguments or "changed.json" in arguments or "old.json" in arguments:
        made = corea(*RECORDED, *DROP, "--out", "c.json", "--map", "identity")
        assert made.code == 0, made.err
        plain = json.loads(Path("c.json").read_text())
        Path("changed.json").write_text(json.dumps({**plain, "sentence": "better"}))
        Path("old.json").write_text(json.dumps({**plain, "version": 2}))
    ran = corea(*arguments)
    assert (ran.code, ran.out, len(ran.err.strip().splitlines())) == (code, "", 1), ran.err
    assert all(words in ran.err for words in said), ran.err
