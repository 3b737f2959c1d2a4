"""Rows that repeat a question are one draw: split together, tested together, counted."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from corea.calibrate import FitOptions, OutcomeTable, Targets, fit
from corea.calibrate.certify import certify
from corea.calibrate.coverage import coverage, hard_targets
from corea.calibrate.prepare import split
from corea.errors import DataError
from corea.records.answer import cluster_of
from corea.records.read import RowSource, read_table

from .simulated import compared, simulated_pairs


def repeated(table: OutcomeTable, times: int) -> OutcomeTable:
    """Each question so many times, under other ids."""
    rows = table.take(np.repeat(np.arange(len(table)), times))
    return replace(
        rows, ids=np.array([f"r{i}" for i in range(len(rows))], dtype=object), clusters=np.repeat(table.ids, times)
    )


@pytest.mark.parametrize(
    ("texts", "same"),
    [
        (("What is 2 + 2?", "what  is 2 + 2 ?"), True), (("What is 2 + 2?", "What is 2 + 3?"), False),
        (("Ｗhat\nis 2 + 2", "What is 2 + 2."), True), (("a-b", "a b"), False),
    ],
)  # fmt: skip
def test_a_cluster_is_a_text_but_for_case_spaces_and_end(texts: tuple[str, str], *, same: bool) -> None:
    assert (cluster_of(texts[0]) == cluster_of(texts[1])) is same


def test_no_question_is_on_both_sides_of_the_split() -> None:
    rows = repeated(simulated_pairs(500), 3)
    part_a, part_b = split(rows, FitOptions(map="linear"))
    assert rows.clusters is not None
    assert not set(rows.clusters[part_a]) & set(rows.clusters[part_b])
    assert sorted([*part_a, *part_b]) == list(range(1500))
    assert 440 <= len(part_a) <= 450  # 30 %, in whole questions


def test_a_promise_holds_where_each_question_comes_three_times() -> None:
    population = simulated_pairs(20_000)
    targets = {"max-drop": hard_targets(population)["max-drop"]}
    (found,) = coverage(repeated(population, 3), targets, n=900, draws=80, options=FitOptions(map="identity"))
    assert found.certified > 15
    assert found.broken <= 4  # 11 expected without clusters


def test_copies_certify_no_more_than_the_questions_alone() -> None:
    alone = simulated_pairs(120, seed=5, sharp=1.0, llm=0.95)
    targets = Targets(max_drop=0.02)
    assert certify(alone, targets).rules is None
    assert certify(replace(repeated(alone, 8), clusters=None), targets).rules is not None  # the fault
    assert certify(repeated(alone, 8), targets).rules is None


def test_few_labels_use_one_row_of_each_question() -> None:
    made = compared(400)
    unknown = np.where(np.arange(400) % 4 == 0, 1.0, np.nan)
    for index in (0, -1):
        made = made.change(index, correct=made.models[index].correct * unknown)
    rows = repeated(made, 2)
    found = fit(rows, Targets(max_drop=0.2), FitOptions(few_labels=True, map="linear"))
    assert found.data.n == 400
    assert "400 rows repeat a question and are left out: each question counts once" in found.data.notes


def test_recorded_rows_bring_their_question_and_the_count_is_printed(tmp_path: Path) -> None:
    sources = []
    for model, price in (("s", 1e-5), ("l", 1e-3)):
        rows = [
            {"id": f"q{n}", "model": model, "correct": int(n % 3 > 0 or model == "l"), "confidence": 0.5 + n % 5 / 10,
             "cost_usd": price, "question": f"Question {n // 2}?"}
            for n in range(200)
        ]  # fmt: skip
        (tmp_path / model).write_text("".join(json.dumps(row) + "\n" for row in rows))
        sources.append(RowSource(paths=[tmp_path / model]))
    table = read_table(sources)
    assert any(note.startswith("200 rows are 100 distinct questions, one of them 2 times") for note in table.notes)
    found = fit(table, Targets(max_drop=0.3))
    assert (found.guarantee.n, found.guarantee.n_clusters) == (200, 100)
    assert "200 questions (100 distinct)" in found.sentence
    assert found.guarantee.test.startswith("betting on bounded sums of each distinct question")
    with pytest.raises(DataError, match="got 200 rows of 1 distinct questions, expected at least 20"):
        fit(replace(table, clusters=np.array(["a"] * 200, dtype=object)), Targets(max_drop=0.3))
