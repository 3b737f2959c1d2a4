"""Help and completion of the whole command line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Command

from corea.cli.main import COMMANDS, PANELS


def test_the_help_lists_every_command_once_under_its_panel(corea: Command) -> None:
    lines = corea("--help").out.splitlines()
    headings = {line.split("─ ")[1].split(" ─")[0]: i for i, line in enumerate(lines) if line.startswith("╭─ ")}
    assert [heading for heading in headings if heading != "Options"] == list(PANELS)
    for name, (panel, _) in COMMANDS.items():
        (place,) = [i for i, line in enumerate(lines) if line.startswith(f"│ {name} ")]
        assert max((i, heading) for heading, i in headings.items() if i < place)[1] == panel


@pytest.mark.parametrize("name", COMMANDS)
def test_a_short_option_shows_the_help_of_a_command(corea: Command, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("corea.registry.find_spec", lambda name: name)
    long, short = corea(name, "--help"), corea(name, "-h")
    assert (short.code, short.out, short.err) == (0, long.out, "")
    assert f"Usage: corea {name} " in short.out


@pytest.mark.parametrize(
    ("words", "completed"),
    [("corea ca", ["calibrate"]), ("corea run --conf", ["--config"]), ("corea keys re", ["revoke"])],
)
def test_the_shell_completes_commands_and_options(tmp_path: Path, words: str, completed: list[str]) -> None:
    environment = {
        **os.environ, "_COREA_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" ")),
    }  # fmt: skip
    command = [sys.executable, "-m", "corea.cli.main"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.stdout.split(), done.stderr) == (completed, "")
