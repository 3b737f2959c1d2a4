"""Results of other ways to choose a threshold on the same sets; and the command."""

import json

import pytest

from recipes.guarantee.__main__ import main
from recipes.guarantee.simulated import simulated_pairs
from recipes.guarantee.threshold_methods import PLAIN, power


def test_the_exact_test_saves_most_of_the_valid_ones_and_a_plain_threshold_breaks_its_promise() -> None:
    found = {each.method: each for each in power(simulated_pairs(4000), n=600, drops=(0.03,), draws=30)}
    assert found["exact"].share > found["betting"].share > found["hoeffding"].share
    assert found["exact"].broken <= 0.15
    assert found[PLAIN].broken > 0.3
    assert found["exact"].share < 1


def test_the_command_says_what_holds_and_what_each_way_saves(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--simulated", "ties", "--n", "100", "--draws", "5", "--max-drop", "0.05", "--power", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rows"] == 20_000
    assert found["targets"][0]["name"] == "as asked"
    assert {each["method"] for each in found["power"]} >= {"exact", "hoeffding", "published rule"}
    assert main(["--simulated", "tiess"]) == 2
    assert "Did you mean 'ties'?" in capsys.readouterr().err
    assert main([]) == 2
