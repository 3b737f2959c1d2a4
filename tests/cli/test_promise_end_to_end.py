"""Calibrated models of known accuracy keep their promise on fresh questions; all ways to ask decide alike."""

from pathlib import Path

import numpy as np
import pytest
from tests.cli.conftest import Command
from tests.cli.scripted import (
    CASES,
    Case,
    by_ask,
    by_batch,
    by_gateway,
    by_library,
    by_process,
    calibrated,
    right,
    table_of,
    text_of,
    truth,
    world,
)

SAMPLE = 12  # questions through `corea ask`


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("count", [100, pytest.param(3000, marks=pytest.mark.slow)])
def test_the_promise_is_kept_and_all_ways_decide_alike(tmp_path: Path, corea: Command, count: int, case: Case) -> None:
    path = tmp_path / "calibration.json"
    found = calibrated(path, case)
    true = truth(found, case, 40_000 if count == 3000 else 10_000)
    assert true["missed"] == 0, true
    assert 0.1 < true["kept"] < 0.95
    rows = world(count, 0)
    traces = by_library(rows, path, case)
    library = {n: (str(trace.stage), trace.answer) for n, trace in traces.items()}
    table = table_of(rows, case)
    decided = found.apply(table)
    assert [traces[row["n"]].stage for row in rows] == [case.models[at] for at in decided.stage]
    costs = [float(traces[row["n"]].cost_usd or 0) for row in rows]
    assert np.allclose(costs, decided.cost_usd, rtol=1e-9)
    assert by_batch(rows, path, case, corea) == library
    few = rows if count == 3000 else rows[:40]
    served = by_gateway(few, path, case)
    assert {n: (stage, text_of(text)) for n, (stage, text) in served.items()} == {n: library[n] for n in served}
    if count == 3000:
        assert by_process(rows, path) == served
        lost = table.last.correct - right(library)
        drop = float((table.last.correct - decided.correct).mean())
        assert lost.mean() == pytest.approx(drop, abs=1e-12)
        if "max_drop" in true:
            assert abs(lost.mean() - true["max_drop"]) <= 2.5 * lost.std() / count**0.5  # of so many questions


def test_single_questions_are_decided_alike(tmp_path: Path, corea: Command) -> None:
    case, path, rows = CASES[0], tmp_path / "calibration.json", world(SAMPLE, 0)
    calibrated(path, case)
    library = by_batch(rows, path, case, corea)
    asked = by_ask(rows, path, corea)
    assert asked == library
    assert {stage for stage, _ in asked.values()} == {"small", "large"}
