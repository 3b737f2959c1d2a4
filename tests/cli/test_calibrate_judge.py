"""`corea calibrate` of open-ended answers: a judge is asked, people label blind pairs, the gateway decides by it."""

import asyncio
import json
import random
from decimal import Decimal
from pathlib import Path

import pytest
from tests.cli.conftest import Command

from corea.backends.fake import FakeBackend
from corea.build import build
from corea.cascade import Cascade
from corea.config import load_config
from corea.gateway.billing.auth import OpenAccounts
from corea.gateway.chat.routing import RoutingTable
from corea.gateway.chat.service import ChatService
from corea.gateway.ops.settings import GatewaySettings
from corea.gateway.server.app import GatewayApp
from corea.types import Completion, Question, Usage

COUNT = 360
CONFIG = """
[cascade]
mode = "chat"
stages = ["small", "large"]
[stages.small]
backend = {kind = "tests.cli.test_calibrate_judge:Scripted", model = "small-model"}
sampling = {max_tokens = 30}
[stages.large]
backend = {kind = "tests.cli.test_calibrate_judge:Scripted", model = "large-model"}
sampling = {max_tokens = 30}
[stages.other]
backend = {kind = "tests.cli.test_calibrate_judge:Scripted", model = "judge-model"}
[calibrate]
max_drop = 0.1
questions = "q.jsonl"
[calibrate.judge]
backend = "other"
[prices.small-model]
input_usd_per_mtok = "0"
output_usd_per_mtok = "1"
[prices.large-model]
input_usd_per_mtok = "0"
output_usd_per_mtok = "40"
[prices.judge-model]
input_usd_per_mtok = "0.1"
output_usd_per_mtok = "0.3"
"""


def preferred(n: int, *, by: str = "people") -> int:
    """1 the large model's answer, -1 the draft, 0 a tie; the judge says what people say in 4 of 5 cases."""
    dice = random.Random(n)
    easy = n % 3 > 0
    said = dice.choices([1, -1, 0], [0.1, 0.1, 0.8] if easy else [0.7, 0.05, 0.25])[0]
    return said if by == "people" or dice.random() < 0.8 else dice.choice([1, -1, 0])


def number(text: str) -> int:
    return int(text.split("#")[1].split()[0])


class Scripted(FakeBackend):
    """A small and a large model that write their name, and a judge that reads it."""

    def __init__(self, model: str) -> None:
        super().__init__(model, self.reply, probability=self.sure)

    def reply(self, question: Question) -> Completion | str:
        text = question.messages[-1].content
        if self.model != "judge-model":
            return f"{self.model} writes about #{number(text)} at length"
        said = preferred(number(text), by="judge")
        draft_first = text.index("small-model writes") < text.index("large-model writes")
        verdict = "tie" if said == 0 else "A" if (said < 0) == draft_first else "B"
        return Completion(text=f"I compared.\nVerdict: {verdict}", model="judge-model",
                          usage=Usage(prompt_tokens=100, completion_tokens=10))  # fmt: skip

    def sure(self, word: str) -> float:
        n = int(word.strip().removeprefix("#")) if word.strip().startswith("#") else None
        if n is None:
            return 0.9
        return 0.9 if n % 3 else 0.01


def write(count: int = COUNT, config: str = CONFIG) -> None:
    Path("corea.toml").write_text(config)
    questions("q.jsonl", range(count))


def questions(path: str, numbers: range) -> None:
    rows = [{"id": f"q{n}", "question": f"Write about #{n} please"} for n in numbers]
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))


def label(path: str, *, upset: bool = False) -> None:
    """People fill in the file; `upset`: they prefer the large model's answer every time."""
    rows = [json.loads(line) for line in Path(path).read_text().splitlines()]
    for row in rows:
        said = 1 if upset else preferred(number(row["question"]))
        wanted = "large-model" if said > 0 else "small-model"
        row["better"] = "tie" if said == 0 else "first" if row["first"].startswith(wanted) else "second"
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_open_ended_answers_are_judged_labelled_blind_certified_and_served(corea: Command) -> None:
    write()
    ran = corea("calibrate", "--select-for-labelling", "pairs.jsonl", "--count", "200")
    assert ran.code == 0, ran.err
    assert "asking judge-model to judge: 360 pairs, two calls each, besides at most" in ran.err
    rows = [json.loads(line) for line in Path("pairs.jsonl").read_text().splitlines()]
    assert (len(rows), set(rows[0])) == (200, {"id", "question", "first", "second", "better"})
    small_first = sum(row["first"].startswith("small-model") for row in rows)
    assert 75 < small_first < 125  # blind: about half, and no field says which
    (judged,) = Path("calibration.answers").glob("judge-*.jsonl")
    assert len(judged.read_text().splitlines()) == 2 * COUNT

    label("pairs.jsonl")
    ran = corea("calibrate", "--labels", "pairs.jsonl", "--json", "--report", "page.html")
    assert ran.code == 0, ran.err
    assert "200 by people; judge-model judged all" in Path("page.html").read_text()
    found = ran.json
    assert (found["verdict"], found["guarantee"]["labels"]["gold"]) == ("certified", 200)
    assert found["guarantee"]["labels"]["judge"] == "judge-model"
    assert 0.7 < found["guarantee"]["labels"]["judge_agrees"] < 1
    assert "people prefer the large model's answer to the kept draft" in found["guarantee"]["statement"]
    assert "200 are labelled by people, and all judged by judge-model" in found["sentence"]
    assert found["expected"]["saving"]["value"] > 0.4
    cost = Decimal(2 * COUNT) * (100 * Decimal("0.1") + 10 * Decimal("0.3")) / 10**6
    notes = "\n".join(found["data"]["notes"])
    assert f"judging cost {float(cost):.4g} USD for 720 calls, 720 of them stored before" in notes
    traces = [json.loads(line) for line in judged.read_text().splitlines()]
    assert sum(Decimal(trace["cost_usd"]) for trace in traces) == cost

    with Path("corea.toml").open("a") as config:
        config.write('[cascades.chat]\nmode = "chat"\nstages = ["small", "large"]\ncalibration = "calibration.json"\n')
    said = asyncio.run(served(build(load_config("corea.toml"), "chat").cascade))
    assert said == {n: ("large" if n % 3 == 0 else "small", f"writes about #{n} at length") for n in range(1, 7)}
    ran = corea("run", "q.jsonl", "-o", "a.jsonl", "-q", "--cascade", "chat", "--json")
    assert ran.code == 0, ran.err
    answers = [json.loads(line) for line in Path("a.jsonl").read_text().splitlines()]
    kept = [int(answer["question_id"][1:]) for answer in answers if answer["stage"] == "small"]
    assert len(kept) > 0.6 * COUNT
    assert all(n % 3 for n in kept)


async def served(cascade: Cascade) -> dict[int, tuple[str, str]]:
    """Stage and text of some questions through the gateway."""
    import httpx

    configured = GatewaySettings()
    table = RoutingTable({"corea": cascade}, configured)
    app = GatewayApp(ChatService(table, configured, accounts=OpenAccounts(), record=lambda done: None))
    app.ready, found = True, {}
    transport = httpx.ASGITransport(app)  # pyright: ignore[reportArgumentType]
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        for n in range(1, 7):
            body = {"model": "corea", "messages": [{"role": "user", "content": f"Write about #{n} now"}]}
            reply = await client.post("/v1/chat/completions", json=body)
            text = reply.json()["choices"][0]["message"]["content"]
            found[n] = reply.headers["x-corea-stage"], text.partition(" ")[2]
    return found


def test_without_labels_nothing_is_certified_and_it_says_how_many_would_be_enough(corea: Command) -> None:
    write()
    for drop, enough_pairs in (("0.05", True), ("0.02", False)):
        ran = corea("calibrate", "--max-drop", drop, "--json")
        assert ran.code == 0, ran.err
        use = ran.json["guarantee"]["labels"]
        enough, pairs = use["enough"], use["pairs"]
        assert (ran.json["verdict"], use["gold"], use["judge_agrees"]) == ("infeasible", 0, None)
        assert (20 <= enough <= pairs) is enough_pairs
        more = round(COUNT * enough / pairs, -1)
        advice = f"about {enough:,} labels by people would probably certify a saving (this run had 0)" + (
            f": --select-for-labelling FILE --count {enough}" if enough_pairs
            else f", more than the {pairs:,} pairs worth a label here: ask about {more:,.0f} questions"
        )  # fmt: skip
        assert ran.json["advice"][1] == advice


def test_where_people_disagree_with_the_judge_people_decide(corea: Command) -> None:
    write()
    strict = ("calibrate", "--max-drop", "0.03")
    assert corea(*strict, "--select-for-labelling", "p.jsonl", "--count", "120").code == 0
    label("p.jsonl", upset=True)
    ran = corea(*strict, "--labels", "p.jsonl")
    assert ran.code == 0
    assert "INFEASIBLE" in ran.out
    assert "more labels would probably not certify any saving" in ran.out


@pytest.mark.parametrize(
    ("change", "arguments", "said"),
    [
        (('backend = "other"', 'backend = "othr"'), (), "calibrate.judge.backend: got 'othr'"),
        (('backend = "other"', 'backend = "other"\nprompt = "none.txt"'), (), "calibrate.judge.prompt: cannot read"),
        (('stages = ["small", "large"]', 'stages = ["small", "other", "large"]'), (), "got 3 stages, expected two"),
        (("[prices.judge-model]", "[prices.another]"), (), "judge-model"),
        (('[calibrate.judge]\nbackend = "other"', ""), ("--few-labels", "--labels", "p.jsonl"),
         "got rows without a judge's verdicts"),
        (('backend = "other"', 'backend = "other"'), ("--labels", "none.jsonl"), "--labels none.jsonl: no such file"),
    ],
)  # fmt: skip
def test_bad_settings_are_one_line(
    corea: Command, change: tuple[str, str], arguments: tuple[str, ...], said: str
) -> None:
    write(30, CONFIG.replace(*change))
    Path("p.jsonl").write_text("")
    ran = corea("calibrate", *arguments)
    assert (ran.code, said in ran.err) == (2, True), ran.err
    assert "Traceback" not in ran.err


def test_a_judge_that_is_the_model_of_a_stage_is_warned_of_and_references_are_refused(corea: Command) -> None:
    write(60, CONFIG.replace('backend = "other"', 'backend = "small"'))
    ran = corea("calibrate", "--select-for-labelling", "p.jsonl")
    assert "warning: the judge is the model of stage small, and models prefer their own answers" in ran.err
    write(60)
    rows = [{"id": n, "question": f"#{n}", "answer": "4"} for n in range(60)]
    Path("q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ran = corea("calibrate")
    assert (ran.code, "calibrate.judge: question '0' has a reference answer" in ran.err) == (3, True), ran.err


# --- a judged artefact in use -----------------------------------------------------------------------------------------

FRESH = ("verify", "--calibration", "calibration.json", "--questions", "new.jsonl",
         "--fresh", "fresh/large.jsonl", "--fresh", "fresh/small.jsonl")  # fmt: skip


def calibrated(corea: Command) -> None:
    """A certified artefact, and fresh answers of both models with the judge's verdicts."""
    write()
    assert corea("calibrate", "--select-for-labelling", "pairs.jsonl", "--count", "200").code == 0
    label("pairs.jsonl")
    assert corea("calibrate", "--labels", "pairs.jsonl").code == 0
    questions("new.jsonl", range(COUNT - 60, 3 * COUNT))  # 60 of them calibrated
    ran = corea("calibrate", "--questions", "new.jsonl", "--answers", "fresh", "--out", "other/new.json", "--json")
    assert ran.code == 0, ran.err


def test_a_judged_calibration_is_applied_and_tested_on_fresh_labels_of_people(corea: Command) -> None:
    Path("other").mkdir()
    calibrated(corea)
    rows = ("--traces", "fresh/small.jsonl", "--reference", "fresh/large.jsonl", "--questions", "new.jsonl")
    ran = corea("calibrate", "apply", "calibration.json", *rows, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["saving"] == pytest.approx(0.64, abs=0.05)
    assert (ran.json["n_tested"], ran.json["contradicted"]) == (2 * COUNT, [])
    assert {"pass_at_1", "drop", "selective_risk"}.isdisjoint(ran.json)
    assert "the guarantee is about people's preferences" in ran.json["notes"][-1]

    ran = corea("calibrate", *FRESH, "--select-for-labelling", "test.jsonl", "--count", "300")
    assert ran.code == 0, ran.err
    chosen = [json.loads(line) for line in Path("test.jsonl").read_text().splitlines()]
    numbers = [number(row["question"]) for row in chosen]
    assert len(chosen) == 300
    assert min(numbers) >= COUNT  # none that calibrated
    assert all(n % 3 for n in numbers)  # only what is kept
    assert 110 < sum(row["first"].startswith("small-model") for row in chosen) < 190

    label("test.jsonl")
    (judged,) = Path("fresh").glob("judge-*.jsonl")
    for more in ((), ("--verdicts", str(judged))):
        ran = corea("calibrate", *FRESH, "--labels", "test.jsonl", *more, "--json")
        assert ran.code == 0, ran.err
        assert (ran.json["n"], ran.json["shared"], ran.json["labels"]) == (2 * COUNT, 60, 300)
        assert ran.json["verdicts"] == {"max_drop": "met"}
        assert ran.json["met"] == {"max_drop": True}
        assert ran.json["p_missed"]["max_drop"] < 0.01

    label("test.jsonl", upset=True)
    ran = corea("calibrate", *FRESH, "--labels", "test.jsonl")
    assert ran.code == 1
    assert "max_drop      broken" in ran.out
    assert "people labelled 300 of the 480 kept drafts that differ from the large model's answer" in ran.out
    ran = corea("calibrate", *FRESH)
    assert (ran.code, "max_drop        open" in ran.out) == (0, True)
    assert "people labelled 0 of the 480" in ran.out


def test_a_test_of_people_refuses_what_is_no_random_sample(corea: Command) -> None:
    Path("other").mkdir()
    calibrated(corea)
    assert corea("calibrate", *FRESH, "--select-for-labelling", "test.jsonl", "--count", "30").code == 0
    label("test.jsonl")
    marked = Path("test.jsonl").read_text()
    (judged,) = Path("fresh").glob("judge-*.jsonl")
    verdicts = judged.read_text()
    said = "was drawn for a new calibration, expected one for a test of sha256:"
    Path("test.jsonl").write_text("".join(
        json.dumps({k: v for k, v in json.loads(line).items() if k != "calibration"}) + "\n"
        for line in marked.splitlines()
    ))  # fmt: skip
    ran = corea("calibrate", *FRESH, "--labels", "test.jsonl")
    assert (ran.code, said in ran.err) == (3, True), ran.err
    Path("test.jsonl").write_text(marked)
    ran = corea("calibrate", "--labels", "test.jsonl", "--questions", "new.jsonl", "--answers", "fresh")
    assert (ran.code, "was drawn for a test of sha256:" in ran.err) == (3, True), ran.err
    judged.write_text("".join(verdicts.splitlines(keepends=True)[:-40]))
    ran = corea("calibrate", *FRESH, "--labels", "test.jsonl", "--verdicts", str(judged))
    assert (ran.code, "kept pairs that differ have no verdict" in ran.err) == (3, True), ran.err
    for arguments, code, words in (
        (("--labels", "none.jsonl"), 2, "--labels none.jsonl: no such file"),
        (("--verdicts", "none.jsonl"), 2, "--verdicts none.jsonl: no such file"),
        (("--fresh", "q.jsonl"), 2, "--fresh: got 3 files, expected a run of each of the two models"),
    ):
        ran = corea("calibrate", *FRESH, *arguments)
        assert (ran.code, words in ran.err) == (code, True), ran.err
    ran = corea("calibrate", *FRESH[:5], "--fresh", "fresh/small.jsonl", "--fresh", "fresh/small.jsonl")
    assert (ran.code, "got answers of small-model, small-model, expected runs of" in ran.err) == (3, True), ran.err
    ran = corea("calibrate", "verify", "--calibration", "calibration.json", "--labels", "test.jsonl")
    assert (ran.code, "expected --fresh with them" in ran.err) == (2, True), ran.err
    rows = ("--traces", "fresh/small.jsonl", "--reference", "fresh/large.jsonl", "--questions", "new.jsonl")
    ran = corea("calibrate", "verify", "--calibration", "calibration.json", *rows)
    assert (ran.code, "is about people's preferences, which recorded rows do not hold" in ran.err) == (2, True), ran.err
