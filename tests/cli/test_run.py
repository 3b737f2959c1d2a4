"""`corea run` as a person uses it: what it says at the end, its exit code, and the bar while it goes on."""

import csv
import io
import json
import re
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from rich.console import Console
from tests.cli.conftest import CONFIG, Command, Ran
from tests.fakes.server import Say, running

from corea.cli.run_report import show_progress
from corea.ledger import Ledger
from corea.report.terminal import ProgressBars
from corea.run.summary import RunProgress

UNREADABLE = [
    "--set",
    "stages.small.backend.replies=It depends on many things.",
    "--set",
    "stages.large.backend.replies=?",
]


def questions(n: int) -> str:
    Path("q.jsonl").write_text("".join(json.dumps({"id": f"q{i}", "question": f"{i} + 7?"}) + "\n" for i in range(n)))
    return "q.jsonl"


def line_with(ran: Ran, words: str) -> str:
    """The one line of the output that holds these words."""
    (line,) = [line for line in ran.out.splitlines() if words in line]
    return line


def test_answers_that_cannot_be_read_are_no_success(corea: Command) -> None:
    ran = corea("run", questions(3), "-o", "a.jsonl", *UNREADABLE)
    assert ran.code == 1
    assert "complete: 3 of 3 questions done: 0 answered, 0 failed, 3 without a readable answer" in ran.out
    assert corea("run", "q.jsonl", "-o", "b.jsonl", "--json", *UNREADABLE).json["unreadable_answers"] == 3


def test_whole_texts_need_no_readable_answer(corea: Command) -> None:
    ran = corea("run", questions(3), "-o", "a.jsonl", "--free-text", *UNREADABLE)
    assert ran.code == 0
    assert "3 of 3 questions done: 3 answered, 0 failed, in" in ran.out
    assert "could not be read" not in ran.out


def test_answers_cut_by_the_token_limit_name_the_setting_to_raise(corea: Command) -> None:
    ran = corea("run", questions(3), "-o", "a.jsonl", "--set", "stages.small.sampling.max_tokens=2")
    assert line_with(ran, "cut off by the token limit: 3 texts of stage small").endswith(
        "; raise stages.small.sampling.max_tokens (now 2), and name another --out"
    )


def test_a_run_with_nothing_to_complain_of_has_three_lines(corea: Command) -> None:
    ran = corea("run", questions(3), "-o", "a.jsonl")
    assert (ran.code, len(ran.out.splitlines()), ran.err) == (0, 3, "")


def test_settings_of_the_file_may_change_unless_they_decide_answers(corea: Command) -> None:
    limits = ("--set", "stages.small.sampling.max_tokens=64", "--set", "stages.large.sampling.max_tokens=64")
    corea("run", questions(5), "-o", "a.jsonl", *limits)
    Path("corea.toml").write_text(CONFIG.replace('"10"', '"20"') + '[run]\nconcurrency = 2\nbudget_usd = "5"\n')
    again = corea("run", "q.jsonl", "-o", "a.jsonl", "--json", *limits)
    assert (again.code, again.json["resumed"]) == (0, 5)
    Path("corea.toml").write_text(CONFIG.replace("threshold = 0.8", "threshold = 0.95"))
    refused = corea("run", "q.jsonl", "-o", "a.jsonl", *limits)
    assert (refused.code, refused.err) == (
        2,
        "corea: a.jsonl.journal: begun with another configuration: stages.small.policy.tau: 0.8 -> 0.95; restore what "
        "it was, or name another --out\n",
    )
    Path("corea.toml").write_text(CONFIG.replace("nineteen", "19"))
    refused = corea("run", "q.jsonl", "-o", "a.jsonl", *limits)
    assert 'stages.large.backend.replies: "<answer>nineteen</answer>" -> "<answer>19</answer>"' in refused.err


def test_a_prompt_file_that_changed_is_noticed(corea: Command) -> None:
    Path("mine.txt").write_text("Answer: {question}")
    mine = ("--set", "stages.small.prompt=mine.txt")
    corea("run", questions(2), "-o", "a.jsonl", *mine)
    Path("mine.txt").write_text("Reply: {question}")
    ran = corea("run", "q.jsonl", "-o", "a.jsonl", *mine)
    assert 'stages.small.prompt.user: "Answer: {question}" -> "Reply: {question}"' in ran.err


def test_removed_rows_are_said(corea: Command) -> None:
    corea("run", questions(5), "-o", "a.jsonl")
    ran = corea("run", questions(3), "-o", "a.jsonl")
    assert line_with(ran, "removed").startswith(
        "removed from the questions since an earlier start: 2 rows, of them 2 ans"
    )
    assert len(Path("a.jsonl").read_text().splitlines()) == 3


def test_a_budget_too_small_for_one_question_says_what_one_may_cost(corea: Command) -> None:
    limits = ("--set", "stages.small.sampling.max_tokens=64", "--set", "stages.large.sampling.max_tokens=64")
    ran = corea("run", questions(3), "-o", "a.jsonl", "--budget-usd", "0.0001", *limits)
    assert (ran.code, ran.out.splitlines()[0]) == (5, "budget: 0 of 3 questions done: 0 answered, 0 failed, in 0.0 s")
    said = line_with(ran, "stopped before")
    assert said.startswith(
        "stopped before the budget of $0.00010 could be exceeded: the next question may cost up to $0.0"
    )
    assert said.endswith("and $0.00010 is left; raise it to go on, or lower max_tokens")


def test_unused_settings_of_requests_are_said(corea: Command) -> None:
    body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "12 + 7?"}], "temperature": 1}
    row = {"custom_id": "r", "method": "POST", "url": "/v1/chat/completions", "body": body}
    Path("b.jsonl").write_text(json.dumps(row))
    ran = corea("run", "b.jsonl", "-o", "a.jsonl")
    assert ran.out.splitlines()[2] == (
        "set in the requests and not used, as the configuration decides it: model (1 row), temperature (1 row)"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["-o", "."], 2, "--out: got the folder ., expected a file; write answers.jsonl"),
        (["-o", "a.parquet"], 2, "a.parquet: Parquet needs pyarrow, which is not installed; pip install '.[parquet]'"),
        (["-o", "-", "--json"], 2, "--json: got it together with --out -"),
        (["-o", "a.jsonl", "--concurrency", "0"], 2, "--concurrency: got '0', expected at least 1"),
    ],
)
def test_what_would_fail_at_the_end_fails_before_anything_is_asked(
    corea: Command, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, said: str
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    Path("corea.toml").write_text(CONFIG.replace('kind = "fake"', 'kind = "nothing.may:be_asked"', 0))
    ran = corea("run", questions(2), *arguments)
    assert (ran.code, ran.out, ran.err.count("\n")) == (code, "", 1)
    assert said in ran.err
    assert not list(Path().glob("*.journal"))


@pytest.mark.parametrize(
    ("done", "total", "shown"),
    [(7, 20, "7/20"), (123_456, 1_000_000, "123456/1000000"), (12, None, "12/?")],
)
def test_the_bar_shows_its_counts_in_80_columns(done: int, total: int | None, shown: str) -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=80, force_terminal=True, color_system=None)
    ledger = Ledger(cost_usd=Decimal("1234.56"))
    with ProgressBars(console=console) as bars:
        progress = RunProgress(done=done, total=total, ledger=ledger, rate=123.0, seconds_left=4567.0)
        show_progress(bars, "answering", progress)
    lines = [line for line in re.split(r"[\r\n]|\x1b\[[\d?]*\w", screen.getvalue()) if line.strip()]
    assert lines
    for line in lines:
        assert shown in line
        assert "123/s · 4,567 s left" in line
        assert len(line) <= 80


def test_a_slash_at_the_end_of_an_address_is_no_other_configuration(corea: Command) -> None:
    with running(Say("<answer>7</answer>")) as url:
        for address, resumed in ((url, 0), (f"{url}/", 2)):
            backend = f'stages.large.backend={{kind = "openai", model = "large", base_url = "{address}"}}'
            ran = corea("run", questions(2), "-o", "a.jsonl", "--json", "--set", backend)
            assert (ran.code, ran.err, ran.json["resumed"]) == (0, "", resumed)


LONG = "o" * 252  # with .journal too long for a file system's 255 bytes


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--budget-usd", "1e400"], "--budget-usd: got '1e400', expected an amount in USD"),
        (["--budget-usd", "nan"], "--budget-usd: got 'nan', expected an amount in USD"),
        (["--budget-usd=-0.01"], "--budget-usd: got '-0.01', expected an amount in USD"),
        (["--set", 'run.budget_usd="1e400"'], "run.budget_usd: got '1e400', expected an amount in USD"),
        (["--set", 'prices.x.input_usd_per_mtok="1e400"'], 'prices."x".input_usd_per_mtok: got \'1e400\''),
        (["--set", 'stages.large.backend={kind="openai",model="m",base_url="http://a:99999"}'], "base_url: got"),
        (["--set", 'stages.large.backend={kind="openai",model="m",base_url="http://[::1"}'], "base_url: got 'http:"),
        (["--out", LONG], "--out: got oooo"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused_in_one_line_before_the_first_question(
    options: list[str], said: str, corea: Command
) -> None:
    ran = corea("run", questions(2), "-o", "a.jsonl", *options)
    assert ran.code == 2
    assert said in ran.err
    assert len(ran.err.strip().splitlines()) == 1
    assert not Path("a.jsonl.journal").exists()


def test_processes_and_shards_answer_as_one_run(corea: Command) -> None:
    costs = [corea("run", questions(20), "-o", "whole.csv", "--json").json["ledger"]["cost_usd"]]
    costs.append(corea("run", "q.jsonl", "-o", "many.csv", "--processes", "2", "--json").json["ledger"]["cost_usd"])
    for shard in ("1/2", "2/2"):
        assert corea("run", "q.jsonl", "-o", "parts.csv", "--shard", shard).code == 0
    costs.append(corea("merge", "parts.csv", "--json").json["ledger"]["cost_usd"])
    assert costs[0] == costs[1] == costs[2]
    columns = ["id", "answer", "text", "cost_usd", "stage"]
    rows = [
        [[row[name] for name in columns] for row in csv.DictReader(io.StringIO(Path(f"{name}.csv").read_text()))]
        for name in ("whole", "many", "parts")
    ]
    assert rows[0] == rows[1] == rows[2]
    assert [row[0] for row in rows[0]] == [f"q{n}" for n in range(20)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--shard", "1/2", "--processes", "2"], "--shard: got it together with --processes, expected one of the two"),
        (["--workers", "2"], "--address, --workers, --gpus-per-worker: got one without --engine ray; add that"),
        (["--shard", "3/2"], "--shard: got '3/2', expected a number from 1 to the count of shards, such as 3/16"),
        (
            ["--set", "run.requests_per_minute.nowhere=5"],
            "run.requests_per_minute: got 'nowhere', expected one of ",
        ),
    ],
)
def test_a_wrong_choice_of_workers_is_refused_in_one_line(corea: Command, options: list[str], said: str) -> None:
    ran = corea("run", questions(3), "-o", "a.jsonl", *options)
    assert ran.code == 2
    assert said in ran.err
