"""docs/tutorial.ipynb runs from its first cell to its last, and has no stored outputs, which could be stale."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[1] / "docs/tutorial.ipynb"


def test_the_tutorial_runs_and_certifies_a_cascade(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["outputs"] for cell in code] == [[]] * len(code)
    program = "\n".join("".join(cell["source"]) for cell in code)  # a text, or its lines
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "914 questions" in done.stdout
    assert "at most 2.0 points below the large model, certified on 457 questions" in done.stdout
    assert "points lost: " in done.stdout
    assert done.stdout.count("the small model was ") == 4
