"""The recipe's commands on the recorded pair that comes with the package."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corea.cli.main import main as corea
from recipes.paper.__main__ import main as recipe

RECORDED = str(Path(__file__).parents[1] / "configs" / "recorded.toml")
Ran = tuple[int, str, str]
Command = Callable[..., Ran]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs a command line in an empty folder; gives its exit code and what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COREA_DATA", raising=False)

    def run_it(program: Callable[[list[str]], int], *arguments: str) -> Ran:
        capfd.readouterr()
        code = program(list(arguments))
        printed = capfd.readouterr()
        return code, printed.out, printed.err

    return run_it


def compare(run: Command, *more: str) -> Any:
    code, out, err = run(recipe, "compare", RECORDED, "--out", "out", *more, "--json")
    assert code == 0, err
    return json.loads(out)


def test_the_recorded_comparison_and_its_report(run: Command) -> None:
    pytest.importorskip("matplotlib")
    assert compare(run, "--limit", "60")["model_calls"] == 240
    assert compare(run, "--limit", "60")["model_calls"] == 0
    code, _, err = run(recipe, "report", "out", "--json")
    assert code == 0, err
    assert "gpt-4o-mini" in Path("out/report.html").read_text()
    assert Path("out/report.md").read_text().startswith("# Recorded outputs")


def test_stored_answers_are_read_by_eval(run: Command) -> None:
    compare(run, "--limit", "40")
    caches = sorted(
        Path("out/traces").glob("*.jsonl"), key=lambda p: "<confidence>" in p.read_text() or p.stat().st_size
    )
    code, out, err = run(corea, "eval", str(caches[0]), "--price", "Qwen2.5-Math-1.5B=1/1", "--json")
    assert code == 0, err
    assert json.loads(out)["n"] == 80


def test_report_without_results_says_what_to_run(run: Command) -> None:
    code, _, err = run(recipe, "report", "nowhere")
    assert code == 2
    assert "run `python -m recipes.paper compare CONFIG --out nowhere` first" in err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "models: got [], expected llm and at least one small model"),
        ("refrence = 'x'", "refrence"),
        ("[models.llm]\nprompt = 'plain'", "backend is missing"),
        ("x = '{data}'", "say where that is with --data"),
        ("[stages", "bad.toml: cannot be read (Expected ']' at the end of a table declaration"),
    ],
)
def test_a_wrong_file_is_one_clear_line(run: Command, text: str, message: str) -> None:
    Path("bad.toml").write_text(text)
    code, _, err = run(recipe, "compare", "bad.toml")
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


def test_one_seed_can_be_asked_for(run: Command) -> None:
    compare(run, "--limit", "30", "--seed", "2")
    results = Path("out/results.json").read_text()
    assert '"seeds": [\n  2\n ]' in results
    assert "--limit 30 --seed 2" in results
