"""`corea quickstart`: nothing is asked before a yes; then an artefact, a report, and the money of a month."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.conftest import Command
from tests.fakes.gateway import upstream
from tests.fakes.server import Asked, FakeServer, Say

from corea.calibrate import load

QUESTIONS = 200
CONFIG = """
[stages.small]
threshold = 0.8
signal = "verbalized"
[stages.small.backend]
kind = "openai"
model = "small"
base_url = "URL"
[stages.small.sampling]
max_tokens = 20
[stages.large]
[stages.large.backend]
kind = "openai"
model = "large"
base_url = "URL"
[stages.large.sampling]
max_tokens = 20
[prices.small]
input_usd_per_mtok = "0"
output_usd_per_mtok = "1"
[prices.large]
input_usd_per_mtok = "0"
output_usd_per_mtok = "10"
"""


def reply(asked: Asked) -> Say:
    """The small model is unsure and wrong at one question in five; the large one is right."""
    number = int((re.findall(r"item (\d+)", asked.question) or ["0"])[-1])
    if asked.body["model"] == "small" and number % 5 == 0:
        return Say("<answer>none</answer><confidence>0.2</confidence>")
    return Say(f"<answer>{number}</answer><confidence>0.9{number % 9}</confidence>")


@pytest.fixture
def far(corea: Command) -> Iterator[FakeServer]:
    del corea  # its folder
    rows = [{"id": f"q{n}", "question": f"Which item is item {n}?", "answer": str(n)} for n in range(QUESTIONS)]
    Path("mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with upstream(reply, record=True) as server:
        Path("corea.toml").write_text(CONFIG.replace("URL", server.base_url))
        yield server


def test_without_a_yes_no_question_of_the_file_is_asked(corea: Command, far: FakeServer) -> None:
    ran = corea("quickstart", "mine.jsonl")
    assert ran.code == 2
    assert "quickstart: asking the models costs at most $" in ran.err
    assert "give --yes or --budget-usd USD" in ran.err
    assert not [asked for asked in far.requests if "item" in asked.question]
    assert not Path("calibration.json").exists()


def test_a_yes_leads_to_an_artefact_a_report_and_the_money_of_a_month(corea: Command, far: FakeServer) -> None:
    ran = corea("quickstart", "mine.jsonl", "--yes", "--questions-per-month", "1000000", "--max-drop", "0.1")
    assert ran.code == 0, ran.err
    found = load(Path("calibration.json"))
    assert found.certified
    assert Path("calibration.html").read_text().startswith("<!doctype html>")
    page = ran.out.partition("3. What to do next")[2]
    large, saving = found.expected["llm_mean_cost_usd"].value, found.expected["saving"]
    assert f"large model alone   ${1e6 * large:.2f}  (large" in page
    saved = [f"${1e6 * large * each:.2f}" for each in (saving.value, saving.low, saving.high)]
    assert "saved               {}  (95 %: {} to {})".format(*saved) in page
    assert "corea serve --calibration calibration.json" in page
    asked = len(far.requests)
    assert corea("quickstart", "mine.jsonl", "--budget-usd", "1", "--max-drop", "0.1").code == 0
    assert len(far.requests) - asked < 20  # the check, and stored answers that are asked for again


def test_nothing_certified_says_to_stay_with_the_large_model(corea: Command, far: FakeServer) -> None:
    ran = corea("quickstart", "mine.jsonl", "--yes", "--max-drop", "0.0001")
    assert ran.code == 0
    page = ran.out.partition("3. What to do next")[2]
    assert "Nothing is certified: stay with large ($" in page
    assert "for 100,000 questions)" in page


def test_a_failed_check_ends_it_before_a_question_is_asked(corea: Command, far: FakeServer) -> None:
    text = Path("corea.toml").read_text()
    Path("corea.toml").write_text(text.replace("[prices.large]", "[prices.other]").replace("127.0.0.1", "127.0.0.2"))
    ran = corea("quickstart", "mine.jsonl", "--yes")
    assert ran.code == 1
    assert "a check failed; correct corea.toml" in ran.err
    assert not Path("calibration.answers").exists()


def test_without_a_configuration_it_names_init(corea: Command) -> None:
    Path("corea.toml").unlink()
    ran = corea("quickstart", "mine.jsonl")
    assert (ran.code, "write it with `corea init`" in ran.err) == (2, True)
