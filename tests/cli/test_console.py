"""Standard output that cannot be written is one line and an exit code, whatever the command."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import CONFIG

COMMANDS = [
    "",
    "--help",
    "--version",
    "ask 12",
    "check --json",
    "run q.jsonl -o a.jsonl",
    "run q.jsonl -o -",
    "init --list",
]
FULL = "corea: standard output: cannot be written (No space left on device), expected a file or pipe with room\n"


def corea(folder: Path, command: str, redirected: str, unbuffered: str = "") -> tuple[int, str]:
    """The exit code and standard error of a command with its output somewhere."""
    (folder / "corea.toml").write_text(CONFIG)
    (folder / "q.jsonl").write_text('{"question": "12 + 7?"}\n')
    words = f"{shlex.quote(sys.executable)} -m corea.cli.main {command} {redirected}"
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(["sh", "-c", words], cwd=folder, env=environment, capture_output=True, text=True)
    return done.returncode, done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_output(tmp_path: Path, command: str) -> None:
    assert corea(tmp_path, command, "> /dev/full") == (3, FULL)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_output_without_a_buffer(tmp_path: Path) -> None:
    assert corea(tmp_path, "ask 12", "> /dev/full", unbuffered="1") == (3, FULL)


def test_a_closed_output(tmp_path: Path) -> None:
    code, said = corea(tmp_path, "ask 12", ">&-")
    assert (code, said.count("\n")) == (3, 1)
    assert "standard output: cannot be written (Bad file descriptor)" in said


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_standard_error_leaves_the_exit_code(tmp_path: Path) -> None:
    assert corea(tmp_path, "ask 12 --set nothing", "2> /dev/full")[0] == 2


def test_a_reader_that_goes_away_in_a_run(tmp_path: Path) -> None:
    code, said = corea(tmp_path, "run q.jsonl -o -", "| true")
    assert (code, said) == (0, "")
