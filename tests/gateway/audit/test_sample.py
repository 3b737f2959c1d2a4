"""The drawn sample as tables: worst and best of what is not known, a refit, and a locked artefact tested again."""

import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from tests.gateway.audit.conftest import AuditHouse, Make
from typer.testing import CliRunner

from corea.backends.fake import FakeBackend
from corea.calibrate import FitOptions, OutcomeTable, Targets, fit
from corea.calibrate.exact_tests import exact_drop_pvalue
from corea.cli.main import main, make_app
from corea.errors import BackendError
from corea.gateway.audit.sample import read_sample
from corea.types import Question

REVIEW = {"source": "review"}


class Scripted:
    """Questions "kind number": the kind says which answers are right, the number how sure the small model is."""

    RIGHT: ClassVar = {"both": (1, 1), "small": (1, 0), "large": (0, 1), "none": (0, 0)}

    def small(self, question: Question) -> str:
        kind, confidence = question.text.split()
        return f"<answer>{'yes' if self.RIGHT[kind][0] else 'no'}</answer><confidence>{confidence}</confidence>"

    def large(self, question: Question) -> str:
        return f"<answer>{'yes' if self.RIGHT[question.text.split()[0]][1] else 'no'}</answer>"


async def served(audited: Make, questions: list[str], **named: Any) -> tuple[AuditHouse, list[Any]]:
    script = Scripted()
    house = await audited(FakeBackend("small-model", script.small), FakeBackend("large-model", script.large), **named)
    return house, [await house.ask(text) for text in questions]


async def sample(house: AuditHouse) -> Any:
    return await house.auditor.store.run(lambda connection: read_sample(connection, None))


async def test_what_no_label_says_is_left_to_the_worst_and_to_the_best(audited: Make) -> None:
    questions = ["both 0.91", "none 0.92", "large 0.93", "small 0.94", "large 0.95", "large 0.21", "small 0.22"]
    house, answers = await served(audited, questions)
    found = await sample(house)
    assert (found.cascade, len(found), found.open, found.probability) == ("corea", 7, 3, 1.0)
    worst, best = found.decided(worst=True), found.decided(worst=False)
    assert [each.kept.tolist() for each in (worst[1], best[1])] == [[True] * 5 + [False] * 2] * 2
    loss = [(t.last.correct - a.correct).tolist() for t, a in (worst, best)]
    assert loss == [[0, 0, 1, 1, 1, 0, 0], [0, 0, -1, -1, -1, 0, 0]]
    assert worst[1].correct[:2].tolist() == [0, 0]  # equal answers without a label: wrong at the worst
    assert best[1].correct[:2].tolist() == [1, 1]

    await house.feedback(answers[2], verdict="wrong", **REVIEW)  # the large one may be wrong too
    await house.feedback(answers[3], verdict="right", **REVIEW)
    await house.feedback(answers[4], answer="yes", **REVIEW)
    await house.feedback(answers[0], verdict="wrong", source="user")  # chosen by who sent it: not used
    found = await sample(house)
    loss = [(t.last.correct - a.correct).tolist() for t, a in (found.decided(worst=w) for w in (True, False))]
    assert loss == [[0, 0, 1, -1, 1, 0, 0], [0, 0, 0, -1, 1, 0, 0]]
    assert (found.open, found.chosen_labels) == (1, 1)


async def test_a_refit_takes_unlabelled_answers_at_the_worst_for_the_small_model(audited: Make) -> None:
    questions = [f"{kind} 0.{n}" for n in range(10, 80) for kind in ("both", "large")]
    house, answers = await served(audited, questions)
    await house.feedback(answers[1], verdict="right", **REVIEW)
    found = await sample(house)
    table = found.to_calibrate(risk=False)
    assert [model.name for model in table.models] == ["small-model", "large-model"]
    assert table.first.signals["confidence"][:4].tolist() == [0.10, 0.10, 0.11, 0.11]
    assert table.first.correct[:4].tolist() == [1, 0, 1, 0]
    assert table.last.correct[:4].tolist() == [1, 1, 1, 1]
    assert table.first.agreement[:4].tolist() == [1, 0, 1, 0]
    assert [each.if_kept(risk=True) for each in found.questions[:2]] == [(0, 0), (0, 1)]  # equal ones count as wrong


async def test_shares_that_were_changed_leave_one_chance_for_all(audited: Make) -> None:
    await served(audited, ["both 0.9"] * 3, draws=lambda: 0.3, audit={"share": 0.5})
    again, _ = await served(audited, ["both 0.9"] * 2, draws=lambda: 0.1, audit={"share": 0.2})
    found = await sample(again)
    assert (len(await again.rows()), len(found), found.probability) == (5, 2, 0.2)


async def test_failed_calls_and_repeats(audited: Make) -> None:
    large = FakeBackend("large-model", [BackendError("down", backend="l"), "<answer>yes</answer>"])
    house = await audited("<answer>yes</answer><confidence>0.9</confidence>", large)
    for _ in range(2):
        await house.ask("the same")
    found = await sample(house)
    assert (len(found), len(set(found.clusters)), found.open) == (2, 1, 1)
    table, answers = found.decided(worst=True)
    assert (table.last.correct - answers.correct).tolist() == [1, 0]


def corea(*words: str) -> Any:
    return CliRunner().invoke(make_app(words[0]), list(words))


def artefact(folder: Path, **targets: Any) -> Any:
    """A calibration of simulated rows with these targets."""
    rng = np.random.default_rng(0)
    confidence = np.round(rng.random(600), 3)
    small = (rng.random(600) < 0.3 + 0.7 * confidence).astype(float)
    large = np.where(rng.random(600) < 0.05, 0.0, 1.0)
    table = OutcomeTable.from_arrays(
        correct=np.stack([small, large], 1), cost_usd=[1e-4, 1e-3], confidence=confidence,
        names=["small-model", "large-model"],
    )  # fmt: skip
    found = fit(table, Targets(**targets), FitOptions(map="identity"))
    found.save(folder / "c.json")
    from corea.calibrate import load

    return load(folder / "c.json")


async def stop(house: AuditHouse) -> str:
    await house.end()
    return str(house.path or house.place.url)


async def test_a_locked_artefact_is_confirmed_and_refuted_on_drawn_decisions(audited: Make, tmp_path: Path) -> None:
    found = artefact(tmp_path, max_drop=0.05)
    for name, kinds, verdict, code in (
        ("kept.db", ["both"] * 99 + ["small"], "met", 0),
        ("broken.db", ["both"] * 3 + ["large"], "broken", 1),
    ):
        house = await audited(FakeBackend("s", Scripted().small), FakeBackend("l", Scripted().large), name=name)
        house.auditor.watches["corea"].calibration = found.digest
        for n in range(100):
            answer = await house.ask(f"{kinds[n % len(kinds)]} 0.{9000 + n}")
            if kinds[n % len(kinds)] == "large":
                await house.feedback(answer, answer="yes", **REVIEW)
        store = await stop(house)
        said = corea("calibrate", "verify", "--from-store", store, "--calibration", str(tmp_path / "c.json"), "--json")
        assert said.exit_code == code, said.output
        result = json.loads(said.stdout)
        assert (result["n"], result["verdicts"]) == (100, {"max_drop": verdict})
        losses, gains = (25, 0) if name == "broken.db" else (0, 0)
        if name == "broken.db":
            assert result["p_met"]["max_drop"] == exact_drop_pvalue(gains, losses, 100, -0.05)
        else:  # the one unlabelled question counts as lost
            assert (result["open"], result["p_missed"]["max_drop"]) == (1, exact_drop_pvalue(1, 0, 100, 0.05))


async def test_feedback_that_clients_chose_to_send_certifies_nothing(audited: Make, tmp_path: Path) -> None:
    artefact(tmp_path, max_drop=0.05)
    house, answers = await served(audited, ["both 0.9"] * 30, audit={"share": 0})
    for answer in answers:
        await house.feedback(answer, verdict="right")
    store = await stop(house)
    for words in (["verify", "--calibration", str(tmp_path / "c.json")], ["--max-drop", "0.02"]):
        said = main(["calibrate", *words, "--from-store", store])
        assert said == 3


async def test_evidence_on_the_command_line(audited: Make, tmp_path: Path) -> None:
    house, answers = await served(audited, ["both 0.9", "large 0.9", "small 0.8", "large 0.1"],
                                  storage={"store_text": True})  # fmt: skip
    await house.feedback(answers[1], answer="yes", **REVIEW)
    await house.feedback(answers[0], verdict="right")
    store = await stop(house)
    said = corea("audit", store, "--select-for-labelling", str(tmp_path / "list.jsonl"))
    assert said.exit_code == 0
    assert "corea: no alarm" in said.output
    assert "feedback:user" in said.output
    assert "chosen by who sent it: a rate to read, no test" in said.output
    assert "1 kept answers wait for a reviewer" in said.output
    lines = [json.loads(line) for line in (tmp_path / "list.jsonl").read_text().splitlines()]
    assert [(each["kept"], each["prompt"]) for each in lines] == [(True, "user: small 0.8"), (False, "user: large 0.1")]
    assert lines[0]["large"] == "<answer>no</answer>"
    assert corea("audit", str(tmp_path / "none.db")).exception is not None
    assert main(["audit", str(tmp_path / "none.db")]) == 2


@pytest.mark.parametrize("acknowledged", [False, True])
async def test_an_alarm_is_exit_code_1_until_it_is_acknowledged(audited: Make, acknowledged: bool) -> None:
    from tests.gateway.audit.conftest import watched

    house, _ = await served(audited, [f"large 0.9{n}" for n in range(20)], monitor=watched())
    assert house.auditor.alarms
    store = await stop(house)
    if acknowledged:
        assert main(["audit", store, "--acknowledge"]) == 0
        assert main(["audit", store]) == 0
    else:
        assert main(["audit", store]) == 1


CONFIG = """
[stages.small.backend]
kind = "fake"
model = "small-model"
[stages.large.backend]
kind = "fake"
model = "large-model"
[prices.small-model]
input_usd_per_mtok = "1"
output_usd_per_mtok = "2"
[prices.large-model]
input_usd_per_mtok = "10"
output_usd_per_mtok = "20"
"""


async def test_a_new_calibration_on_drawn_questions_with_reviewers_labels(audited: Make, tmp_path: Path) -> None:
    kinds = ["both 0.9", "both 0.85", "large 0.2", "both 0.92", "large 0.3", "small 0.88", "none 0.4"]
    questions = [f"{kind}{n:03}" for n in range(40) for kind in kinds]
    house, answers = await served(audited, questions)
    for question, answer in zip(questions, answers, strict=True):
        if not question.startswith("both"):
            await house.feedback(answer, answer="yes", **REVIEW)
    store = await stop(house)
    (tmp_path / "corea.toml").write_text(CONFIG)
    words = ["--config", str(tmp_path / "corea.toml"), "--out", str(tmp_path / "new.json"), "--map", "identity"]
    said = corea("calibrate", "--from-store", store, "--max-drop", "0.05", *words, "--json")
    assert said.exit_code == 0, said.output
    found = json.loads((tmp_path / "new.json").read_text())
    assert (found["verdict"], found["guarantee"]["n"]) == ("certified", 280)
    assert [each["model"] for each in found["binding"]] == ["small-model", "large-model"]
    assert found["binding"][0]["signal_name"] == "verbalized"
    assert 0.3 <= found["stages"][0]["threshold"]["tau"] <= 0.93
    assert found["watched"]["kept_differ"][0] < 0.25
    for extra, code in (
        (["--since", "3000-01-01"], 3),
        (["--since", "x"], 2),
        (["--traces", "a", "--reference", "b"], 2),
    ):
        assert main(["calibrate", "--from-store", store, "--max-drop", "0.05", *words, *extra]) == code
