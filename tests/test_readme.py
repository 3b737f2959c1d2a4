"""The README's commands and programs run as they are printed, in their order, with a server in the models' place."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tests.fakes.server import Asked, Say, running

from corea.datasets.question_source import QuestionSource, SourceRow

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.S | re.M)
COMMANDS = [line for kind, body in BLOCKS if kind == "sh" for line in body.splitlines() if line.startswith("corea ")]
PROGRAMS = [body for kind, body in BLOCKS if kind == "python"]
PRICES = """
[prices."gpt-4.1-nano"]
input_usd_per_mtok = "0.10"
output_usd_per_mtok = "0.40"
[prices."gpt-4.1"]
input_usd_per_mtok = "2.00"
output_usd_per_mtok = "8.00"
"""


def knows_all(folder: Path, asked: Asked) -> Say:
    """The answer to every question of questions.jsonl; the small model is wrong and unsure at one in ten."""
    for row in QuestionSource(str(folder / "questions.jsonl")).rows():
        if isinstance(row, SourceRow) and row.question.text in asked.question:
            unsure = row.number % 10 == 0 and asked.body["model"] == "gpt-4.1-nano"
            answer, confidence = ("none", 0.3) if unsure else (row.question.reference, 0.97)
            return Say(f"<answer>{answer}</answer><confidence>{confidence}</confidence>", logprob=-0.01)
    return Say("<answer>25</answer><confidence>0.97</confidence>", logprob=-0.01)


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """An environment in which `corea` is this very source."""
    program = tmp_path / "bin" / "corea"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m corea.cli.main "$@"\n')
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "OPENAI_API_KEY": "a-test-key", "NO_COLOR": "1"}


@pytest.mark.timeout(300)
def test_the_commands_and_programs_of_the_readme_run_as_printed(tmp_path: Path, shell: dict[str, str]) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    names = ["init", "quickstart", "serve", "ask", "run", "eval"]
    assert [command.split()[1] for command in COMMANDS] == names
    printed: dict[str, str] = {}
    with running(lambda asked: knows_all(folder, asked)) as url:
        for name, command in zip(names, COMMANDS, strict=True):
            if name == "serve":
                assert "corea serves corea at http://127.0.0.1:" in serve(command, folder, shell)
                continue
            done = subprocess.run(["sh", "-c", command], cwd=folder, env=shell, capture_output=True, text=True)
            said = [line for line in done.stderr.splitlines() if not line.startswith(("asking ", "in all: at most "))]
            assert (done.returncode, said) == (0, []), f"{command}\n{done.stdout}\n{done.stderr}"
            printed[name] = done.stdout
            if name == "init":
                config = folder / "corea.toml"
                config.write_text(config.read_text().replace("https://api.openai.com/v1", url) + PRICES)
        assert "at most 2 points below the large model's" in printed["quickstart"]
        assert "1,000,000 questions a month" in printed["quickstart"]
        assert (folder / "calibration.html").exists()
        assert printed["ask"].splitlines()[0] == "25"
        assert "400 of 400 questions done: 400 answered, 0 failed" in printed["run"]
        for program in PROGRAMS:
            runs_as_printed(program, folder, shell)


def runs_as_printed(program: str, folder: Path, shell: dict[str, str]) -> None:
    """Its output is what the comments beside its `print` calls say."""
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, env=shell, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    said = [line.partition("#")[2].strip() for line in program.splitlines() if line.startswith("print(")]
    assert done.stdout.splitlines() == said


def serve(command: str, folder: Path, shell: dict[str, str]) -> str:
    """What the command that serves says first; it is then asked to end."""
    words = f"exec {command.split('#')[0]} --port 0"
    server = subprocess.Popen(["sh", "-c", words], cwd=folder, env=shell, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    try:
        return server.stderr.readline()
    finally:
        server.terminate()
        server.communicate(timeout=60)
