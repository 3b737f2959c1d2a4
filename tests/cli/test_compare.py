"""`corea compare` and `corea report` on the recorded pair that comes with the package."""

from pathlib import Path

import pytest
from tests.cli.conftest import Command

ROOT = Path(__file__).parents[2]
RECORDED = str(ROOT / "configs" / "compare" / "recorded.toml")


def test_the_recorded_comparison_and_its_report(corea: Command) -> None:
    pytest.importorskip("matplotlib")
    first = corea("compare", RECORDED, "--out", "out", "--limit", "60", "--json")
    assert (first.code, first.json["model_calls"]) == (0, 240), first.err
    assert corea("compare", RECORDED, "--out", "out", "--limit", "60", "--json").json["model_calls"] == 0
    made = corea("report", "out", "--json")
    assert made.code == 0, made.err
    assert "gpt-4o-mini" in Path("out/report.html").read_text()
    assert Path("out/report.md").read_text().startswith("# Recorded outputs")


def test_stored_traces_are_read_by_eval(corea: Command) -> None:
    corea("compare", RECORDED, "--out", "out", "--limit", "40", "--json")
    shelves = sorted(
        Path("out/traces").glob("*.jsonl"), key=lambda p: "<confidence>" in p.read_text() or p.stat().st_size
    )
    ran = corea("eval", str(shelves[0]), "--price", "Qwen2.5-Math-1.5B=1/1", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["n"] == 80


def test_report_without_results_says_what_to_run(corea: Command) -> None:
    ran = corea("report", "nowhere")
    assert ran.code == 2
    assert "run `corea compare CONFIG --out nowhere` first" in ran.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "models: got [], expected llm and at least one small model"),
        ("refrence = 'x'", "refrence"),
        ("[models.llm]\nprompt = 'plain'", "backend is missing"),
        ("x = '{data}'", "say where that is with --data"),
    ],
)
def test_a_wrong_file_is_one_clear_line(corea: Command, text: str, message: str) -> None:
    Path("bad.toml").write_text(text)
    ran = corea("compare", "bad.toml")
    assert ran.code == 2
    assert message in ran.err
    assert ran.err.count("\n") == 1


def test_one_seed_can_be_asked_for(corea: Command) -> None:
    ran = corea("compare", RECORDED, "--out", "out", "--limit", "30", "--seed", "2", "--json")
    assert ran.code == 0, ran.err
    results = Path("out/results.json").read_text()
    assert '"seeds": [\n  2\n ]' in results
    assert "--limit 30 --seed 2" in results
