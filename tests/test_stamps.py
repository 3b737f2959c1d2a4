"""A stored result is stale where the code that it measures has changed, and only there."""

import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest

from recipes.paper.measured_code import code_of, normal

DOCS = Path(__file__).parents[1] / "docs"
FILES = {
    "experiments/a/run.py": "import near\nfrom corea.calibrate import fit\nfrom corea.gateway import app\n",
    "experiments/a/near.py": "import numpy\n",
    "src/corea/calibrate/__init__.py": "from corea.calibrate.fitting import fit\nfrom corea.calibrate.other import o\n",
    "src/corea/calibrate/fitting.py": "def fit():\n    from recipes.x import y\n    return y\n",
    "src/corea/calibrate/other.py": "o = 1\n",
    "src/corea/gateway/__init__.py": "app = 1\n",
    "recipes/x.py": "y = 2\n",
}


def test_the_code_of_a_result_is_what_its_script_imports_and_what_computes():
    found = code_of("experiments/a/run.py", FILES.get)
    assert set(found) == {
        "experiments/a/run.py", "experiments/a/near.py", "src/corea/calibrate/fitting.py", "recipes/x.py",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ('"""Said otherwise."""\n\n\ndef f(x):  # why\n    return x + 1\n', True),
        ('def f(x):\n    """New."""\n    # and a line\n    return x + 1\n', True),
        ("def f(x):\n    return x + 2\n", False),
        ("def f(x):\n    return '# x' + 1\n", False),
    ],
)
def test_comments_and_docstrings_do_not_count(text: str, same: bool):
    assert (normal(text) == normal("def f(x):\n    return x + 1\n")) is same


@pytest.fixture
def stamps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.syspath_prepend(str(DOCS))
    made = importlib.import_module("stamps")
    monkeypatch.setattr(made, "code_of", lambda script, read=None: {script: "new"})
    stored = {"script": "experiments/a/run.py", "files": {"experiments/a/run.py": "old"}}
    (tmp_path / "stamped.json").write_text(json.dumps({"rows": [1], "code": stored}))
    (tmp_path / "plain.json").write_text(json.dumps([1, 2]))
    return made


def test_a_changed_result_is_named_until_it_is_stamped_again(stamps: ModuleType, tmp_path: Path):
    (line,) = stamps.stale(tmp_path)
    assert line.startswith("stamped.json: measured before a change of experiments/a/run.py; run experiments/a/run.py")
    assert stamps.unstamped(tmp_path) == ["plain.json"]
    stamps.same(tmp_path / "stamped.json", "a name only")
    assert stamps.stale(tmp_path) == []
    stored = json.loads((tmp_path / "stamped.json").read_text())
    assert stored["rows"] == [1]
    assert stored["code"]["same_figures_because"] == "a name only"


def test_a_result_of_changed_files_gets_no_stamp_of_its_commit(stamps: ModuleType, tmp_path: Path):
    (tmp_path / "r.json").write_text(json.dumps({"commit": "abc+changes"}))
    with pytest.raises(SystemExit, match="expected one without changes"):
        stamps.from_commit(tmp_path / "r.json", "experiments/a/run.py")
