"""Pages are one file, and what models and files are called cannot break out of the text."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from corea.errors import ConfigError
from corea.evaluate.compare import compare
from corea.records.table import OutcomeTable
from corea.report.html import comparison_page, render

pytest.importorskip("matplotlib")
EVIL = "<script>alert(1)</script>"


def page() -> str:
    right = np.arange(200) % 4 != 0
    table = OutcomeTable.from_arrays(
        correct=np.stack([right, np.ones(200)], axis=1), cost_usd=[1e-4, 1e-3], confidence=np.where(right, 0.9, 0.2),
        names=[EVIL, "large"],
    )  # fmt: skip
    return comparison_page(compare(replace(table, notes=(EVIL,))))


def test_names_and_notes_are_escaped() -> None:
    found = page()
    assert "<script" not in found
    assert found.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 3  # title, heading, note


def test_a_page_needs_nothing_from_elsewhere() -> None:
    found = page()
    assert not re.findall(r"(?:src|href)=\"(?!#)[^\"]*\"", found.replace("xlink:href", "href"))
    assert "@import" not in found
    assert "url(" not in re.sub(r"url\(#[^)]*\)", "", found)


def test_the_ids_of_two_figures_of_a_page_differ() -> None:
    ids = re.findall(r" id=\"([^\"]+)\"", page())
    clips = [each for each in ids if re.fullmatch(r"p[0-9a-f]{10}", each)]
    assert len(clips) == len(set(clips)) > 0


def test_a_template_of_ones_own_extends_the_base(tmp_path: Path) -> None:
    (tmp_path / "own.html").write_text('{% extends "base.html" %}{% block body %}<p>{{ words }}</p>{% endblock %}')
    found = render("own.html", tmp_path, title="Mine", wide=False, words="a < b")
    assert "<title>Mine</title>" in found
    assert "<p>a &lt; b</p>" in found


def test_without_jinja2_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ConfigError, match=r"pages need jinja2, which is not installed; pip install '\.\[report\]'"):
        render("base.html", tmp_path, title="x", wide=False)
