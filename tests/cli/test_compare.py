"""`corea compare` on recorded rows and on runs."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Command


def rows(path: str, model: str, correct: Any, *, cost: float, confidence: Any = None) -> str:
    made = [
        {"id": f"q{i}", "model": model, "correct": int(bool(correct(i))), "answer": str(i), "cost_usd": cost}
        | ({} if confidence is None else {"confidence": confidence(i)})
        for i in range(400)
    ]
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in made))
    return path


@pytest.fixture
def pair(corea: Command) -> list[str]:
    small = rows("s.jsonl", "s", lambda i: i % 4, cost=0.001, confidence=lambda i: 0.9 if i % 4 else 0.2)
    return ["compare", "--traces", small, "--reference", rows("l.jsonl", "l", lambda i: 1, cost=0.01)]


def test_the_table_for_people_and_the_figures_for_machines(corea: Command, pair: list[str]) -> None:
    ran = corea(*pair, "--max-drop", "0", "--json")
    assert ran.code == 0, ran.err
    first = ran.json["rows"][0]
    assert (first["signal"], first["threshold"], first["accuracy"]) == ("confidence", "cheapest", 1.0)
    assert first["saving"] == pytest.approx(0.65, abs=0.06)
    assert ran.json["signals"]["confidence"]["auroc"] == 1.0
    shown = corea(*pair)
    assert shown.code == 0, shown.err
    for word in ("confidence", "cheapest", "certified", "oracle", "AUROC"):
        assert word in shown.out
    assert "…" not in shown.out  # no figure is cut off


def test_the_page_is_one_file_and_the_markdown_has_the_same_rows(corea: Command, pair: list[str]) -> None:
    pytest.importorskip("matplotlib")
    assert corea(*pair, "--report", "r.html").code == 0
    page = Path("r.html").read_text()
    assert page.count("<svg") == 2
    assert "<script" not in page
    assert not re.findall(r"(?:src|href)=\"(?!#)[^\"]*\"", page.replace("xlink:href", "href"))
    assert corea(*pair, "--report", "r.md").code == 0
    assert "| confidence | cheapest |" in Path("r.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "compare: got rows of one model or none, expected both; give --traces and --reference"),
        (["--report", "r.pdf"], 2, "--report: got r.pdf, expected a name that ends in .html or .md"),
        (["--fit-share", "0"], 2, "fit-share: got 0.0, expected a share between 0 and 1"),
    ],
)
def test_wrong_usage_is_one_clear_line(
    corea: Command, pair: list[str], arguments: list[str], code: int, said: str
) -> None:
    ran = corea(*(pair if arguments else ["compare"]), *arguments)
    assert (ran.code, ran.err.count("\n")) == (code, 1)
    assert said in ran.err


def test_runs_are_graded_with_their_questions(corea: Command, pair: list[str]) -> None:
    questions = [{"id": f"q{i}", "question": f"{i}?", "answer": "19" if i % 3 else "20"} for i in range(60)]
    Path("q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions))
    assert corea("run", "q.jsonl", "-o", "a.jsonl", "-q").code == 0
    large = 'stages.large.backend.replies="<answer>19</answer>"'
    assert corea("run", "q.jsonl", "-o", "b.jsonl", "-q", "--set", 'cascade.stages=["large"]', "--set", large).code == 0
    ran = corea("compare", "--traces", "a.jsonl", "--reference", "b.jsonl", "--questions", "q.jsonl", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["n_fit"] + ran.json["n_test"] == 60
