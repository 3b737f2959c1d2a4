"""A configuration that needs no model, and a way to run the command line in this process."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from corea.cli.main import main

CONFIG = """
[stages.small]
threshold = 0.8
[stages.small.backend]
kind = "fake"
model = "small"
replies = "<think>12 + 7 = 19</think><answer>19</answer><confidence>0.9</confidence>"
[stages.large]
prompt = "answer_only"
[stages.large.backend]
kind = "fake"
model = "large"
replies = "<answer>nineteen</answer>"
[prices.small]
input_usd_per_mtok = "1"
output_usd_per_mtok = "1"
[prices.large]
input_usd_per_mtok = "10"
output_usd_per_mtok = "10"
"""


@dataclass
class Ran:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Ran]


@pytest.fixture
def corea(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs `corea ARGUMENTS` in an empty folder that holds only a corea.toml."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "corea.toml").write_text(CONFIG)

    def run(*arguments: str) -> Ran:
        capfd.readouterr()
        code = main(list(arguments))
        printed = capfd.readouterr()
        return Ran(code, printed.out, printed.err)

    return run
