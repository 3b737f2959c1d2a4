"""The drill of deploy/: its operator sees what docs/operations.md says."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_everything_is_seen_in_the_drill() -> None:
    command = [sys.executable, "deploy/drill.py", "--seconds", "1"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All was seen." in done.stdout
