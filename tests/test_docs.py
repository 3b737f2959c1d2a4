"""The checks of the documentation find a number that is not the stored one, a dead link, a snippet that fails."""

import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest

from corea.backends.local.onnx import OnnxSettings
from corea.calibrate.settings import CalibrateSettings
from corea.cli.main import COMMANDS

STORED = {"a": {"share": 0.2714, "n": 1446}, "rows": [{"auroc": 0.81251}]}
DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture
def values(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(DOCS))
    return importlib.import_module("stored_values")


@pytest.fixture
def check(tmp_path: Path, values: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    made = importlib.import_module("check")
    (tmp_path / "r.json").write_text(json.dumps(STORED))
    monkeypatch.setattr(made, "ROOT", tmp_path)
    monkeypatch.setattr(values, "RESULTS", tmp_path)
    return made


def page(folder: Path, text: str) -> Path:
    (folder / "page.md").write_text(text)
    return folder / "page.md"


RIGHT = """# A
27.1 % before the section does not count.
## B
It saves 27.1 % of **1,446**,
AUROC 0.813.

<!-- checked
27.1 %      = r.json#a.share percent1
of 1,446    = r.json#a.n n
AUROC 0.813 = r.json#rows.0.auroc f3
-->

## C
"""


@pytest.mark.usefixtures("check")
def test_the_stored_numbers_pass(values: ModuleType) -> None:
    assert values.wrong_numbers(RIGHT) == []


@pytest.mark.usefixtures("check")
@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("27.1 %      =", "27.2 %      =", "got '27.2 %', stored is '27.1 %' (r.json#a.share percent1)"),
        ("It saves 27.1", "It saves 27.2", "'27.1 %' is not in its section, or not in this order"),
        ("**1,446**", "**1,446,000**", "'of 1,446' is not in its section"),
        ("rows.0.auroc", "rows.1.auroc", "r.json#rows.1.auroc: no such stored result (IndexError"),
        ("r.json#rows", "s.json#rows", "s.json#rows.0.auroc: no such stored result (FileNotFoundError"),
        ("= r.json#a.n n", "= r.json a.n", "checked block: got 'of 1,446    = r.json a.n', expected"),
    ],
)
def test_another_number_is_found(values: ModuleType, old: str, new: str, found: str) -> None:
    changed = RIGHT.replace(old, new)
    assert changed != RIGHT
    assert any(line.startswith(found) for line in values.wrong_numbers(changed))


@pytest.mark.usefixtures("check")
def test_refreshing_puts_the_stored_numbers_in_and_touches_nothing_else(values: ModuleType) -> None:
    old = RIGHT.replace("saves 27.1", "saves 3.9").replace("27.1 %      ", "3.9 %       ")
    old = old.replace("1,446", "12").replace("0.813", "0.5")
    refreshed = values.refreshed(old)
    assert values.wrong_numbers(refreshed) == []
    assert " ".join(refreshed.split()) == " ".join(RIGHT.split())


@pytest.mark.usefixtures("check")
def test_a_template_takes_its_values_from_stored_results(values: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    tables = importlib.import_module("tables")
    template = "<!-- values: r.json#a. -->\n| {share percent1} | **{n n}** | {x} |\n"
    assert tables.filled(template) == "| 27.1 % | **1,446** | {x} |\n"


def test_the_documentation_quotes_the_stored_results(values: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    check, tables = importlib.import_module("check"), importlib.import_module("tables")
    assert tables.stale() == []
    wrong = {page.name: values.wrong_numbers(page.read_text()) + check.broken_links(page) for page in check.pages()}
    assert {name: lines for name, lines in wrong.items() if lines} == {}


def test_every_setting_has_a_meaning_and_every_command_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    reference = importlib.import_module("reference")
    entries = [line for line in reference.settings().splitlines() if line.startswith("- ")]
    assert len(entries) > 150
    assert [line for line in entries if line.endswith(")")] == []
    commands = reference.commands()
    assert [name for name in COMMANDS if f"### `corea {name}" not in commands] == []
    assert "- `--on-bad-row stop|skip` (default stop): Action on an invalid row." in commands


def test_a_setting_takes_its_meaning_from_its_own_or_the_named_docstring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    reference = importlib.import_module("reference")
    meanings = reference.field_texts(CalibrateSettings)
    assert meanings["max_risk"] == "Share of the kept answers that are wrong <= max_risk."  # "As in `Targets`."
    assert reference.field_texts(OnnxSettings)["temperature"] == (
        "Used where the sampling leaves them out; temperature 0 is greedy."  # of its base
    )


def test_a_link_that_leads_nowhere_is_found(check: ModuleType, tmp_path: Path) -> None:
    text = "# A head\n[good](#a-head) [far](https://example.org) [gone](other.md) [no head](page.md#b)"
    assert check.broken_links(page(tmp_path, text)) == [
        "page.md: link to other.md: no such file",
        "page.md: link to page.md#b: no such heading",
    ]


def test_snippets_run_in_order_and_one_that_fails_is_found(check: ModuleType, tmp_path: Path) -> None:
    first = "```python\nfrom pathlib import Path\nPath('x').write_text('1')\n```\n"
    second = "```python\nfrom pathlib import Path\nassert Path('x').read_text() == '2', 'not two'\n```\n"
    left_out = "<!-- no-run: needs a server -->\n```python\nraise SystemExit(1)\n```\n"
    (found,) = check.failing_snippets(page(tmp_path, first + left_out + second))
    assert found.startswith("page.md: a python snippet fails: ")
    assert "AssertionError: not two" in found
