"""The check of the documentation finds a number that is not the stored one, a dead link, a snippet that fails."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

STORED = {"a": {"share": 0.2714, "n": 1446}, "rows": [{"auroc": 0.81251}]}


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("check", Path(__file__).parents[1] / "docs" / "check.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    (tmp_path / "r.json").write_text(json.dumps(STORED))
    monkeypatch.setattr(made, "ROOT", tmp_path)
    monkeypatch.setattr(made, "RESULTS", tmp_path)
    return made


def page(folder: Path, text: str) -> Path:
    (folder / "page.md").write_text(text)
    return folder / "page.md"


RIGHT = (
    "saves 27.1 %<!--= r.json#a.share percent1 --> of **1,446**<!--= r.json#a.n n -->, "
    "0.813<!--= r.json#rows.0.auroc f3 -->"
)


def test_the_stored_numbers_pass(check: ModuleType, tmp_path: Path) -> None:
    assert check.wrong_numbers(page(tmp_path, RIGHT)) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("27.2 %<!--= r.json#a.share percent1 -->", "page.md: got '27.2 %', stored is '27.1 %' (r.json#a.share)"),
        ("27 %<!--= r.json#a.share percent1 -->", "page.md: got '27 %', stored is '27.1 %' (r.json#a.share)"),
        ("0.8<!--= r.json#rows.1.auroc f1 -->", "page.md: r.json#rows.1.auroc: no such stored result (IndexError"),
        ("0.8<!--= s.json#rows f1 -->", "page.md: s.json#rows: no such stored result (FileNotFoundError"),
        ("0.8<!--= r.json rows -->", "page.md: a <!--= --> comment does not follow a number or is malformed"),
    ],
)
def test_another_number_is_found(check: ModuleType, tmp_path: Path, text: str, found: str) -> None:
    (line,) = check.wrong_numbers(page(tmp_path, text))
    assert line.startswith(found)


def test_refreshing_puts_the_stored_numbers_in_and_touches_nothing_else(check: ModuleType) -> None:
    old = RIGHT.replace("27.1", "3.9").replace("1,446", "12").replace("0.813", "0.5")
    assert old != RIGHT
    assert check.refreshed(old) == RIGHT
    gone = "0.8<!--= r.json#gone f1 --> stays"
    assert check.refreshed(gone) == gone


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
