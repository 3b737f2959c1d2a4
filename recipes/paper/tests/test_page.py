"""The report is one page that needs nothing from elsewhere."""

import re
from typing import Any

import pytest

from recipes.paper.session import read_results
from recipes.paper.tests.conftest import World
from recipes.paper.text import markdown, tables


def test_the_page_is_self_contained_and_shows_what_was_run_and_what_was_not(world: World) -> None:
    pytest.importorskip("matplotlib")
    from recipes.paper.page import page

    world.compare()
    html = page(read_results(world.folder))
    assert "<script" not in html
    assert not re.findall(r"(?:src|href)=\"(?!#)[^\"]*\"", html.replace("xlink:href", "href"))
    assert html.count("<svg") == 3  # frontier, savings, reliability
    assert "[97.5, 100.0]</small>" in html
    absent = 'class="absent"><td>Brier-SLM</td><td colspan="12">cannot be computed: [models.brier] is not in the'
    assert absent in html
    assert "recipes.paper compare x.toml" in html
    assert "config_sha256" in html
    assert '<a href="#data-sums">sums</a>' in html
    assert '<h2 id="data-sums">sums: 150 questions judged' in html


def test_the_table_shows_values_intervals_and_drops(world: World) -> None:
    world.compare()
    text = markdown(read_results(world.folder))
    line = next(line for line in text.splitlines() if line.startswith("| **SLM-Verb**"))
    assert "| 100.0 [97.5, 100.0] |" in line
    assert "drop +0.0" in line
    assert "(over)" not in line
    loose = replaced(read_results(world.folder), 0.03)
    assert "drop +3.0 (over)" in next(
        line for line in markdown(loose).splitlines() if line.startswith("| **SLM-Verb**")
    )
    assert "| _best single (llm)_ | 100.0 [97.5, 100.0] |" in text
    assert "contamination guard: 0 of 150" in text


def replaced(results: dict[str, Any], drop: float) -> dict[str, Any]:
    """The same results, where COREA's row lost more than any point of it was aimed at."""
    for point in next(c for c in results["datasets"][0]["cells"] if c["method"] == "SLM-Verb")["at"]:
        point["drop"]["value"] = drop
    return results


def test_the_terminal_table_lists_the_rows_that_were_not_run(world: World) -> None:
    world.compare()
    assert "- Brier-SLM: [models.brier] is not in the configuration" in tables(read_results(world.folder))
