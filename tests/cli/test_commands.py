"""The commands as a person uses them: what they print, and one clear line for everything that goes wrong."""

import io
import json
import shlex
import subprocess
import sys
import tomllib
from decimal import Decimal
from pathlib import Path

import pytest
from tests.cli.conftest import CONFIG, Command
from tests.fakes.server import Fail, Say, running

from corea.build import build
from corea.cli.console import percent, usd
from corea.cli.init import pairs, template
from corea.config import parse_config
from corea.prompts import load_prompt
from corea.stage import Mode
from corea.types import Message, Question


def questions(n: int, path: str = "q.jsonl") -> str:
    Path(path).write_text("".join(json.dumps({"id": f"q{i}", "question": f"{i} + 7?"}) + "\n" for i in range(n)))
    return path


def test_ask_prints_answer_confidence_model_cost_and_saving(corea: Command) -> None:
    ran = corea("ask", "12 + 7?")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0] == "19"
    assert "small: 19 · confidence 0.90 (verbalized) · keep" in lines[1]
    assert lines[2].startswith("  small · cost $0.00010 · saved $0.00027 (if the large model writes as many tokens) · ")


def test_ask_for_machines(corea: Command) -> None:
    ran = corea("ask", "12 + 7?", "--json", "--set", "stages.small.threshold=0.95")
    said = ran.json
    assert (said["answer"], said["stage"], said["model"], said["deferred"]) == ("nineteen", "large", "large", True)
    assert Decimal(said["saved_usd"]) < 0


def test_check_passes_on_a_configuration_that_works(corea: Command) -> None:
    ran = corea("check", "--json")
    assert (ran.code, ran.json["ok"]) == (0, True)
    assert {c["check"] for c in ran.json["checks"]} >= {"is read", "price is known", "is reached", "answers a question"}


def test_check_says_what_does_not_work(corea: Command) -> None:
    ran = corea("check", "--json", "--set", "stages.small.price=unheard-of-model")
    bad = [c for c in ran.json["checks"] if not c["ok"]]
    assert ran.code == 1
    assert [c["check"] for c in bad] == ["price is known"]
    assert '[prices."unheard-of-model"]' in bad[0]["seen"]


def test_run_answers_a_file_and_goes_on_where_it_was(corea: Command) -> None:
    first = corea("run", questions(20), "--out", "a.jsonl", "--json")
    assert (first.code, first.json["done"], first.json["failed"]) == (0, 20, 0)
    assert len(Path("a.jsonl").read_text().splitlines()) == 20
    again = corea("run", "q.jsonl", "--out", "a.jsonl", "--json")
    assert (again.json["resumed"], again.json["ledger"]["cost_usd"]) == (20, first.json["ledger"]["cost_usd"])


def test_run_stops_before_the_budget(corea: Command) -> None:
    ran = corea(
        "run", questions(500), "-o", "a.jsonl", "--budget-usd", "0.02", "--json", "--concurrency", "4",
        "--set", "stages.small.sampling.max_tokens=64", "--set", "stages.large.sampling.max_tokens=64",
    )  # fmt: skip
    assert ran.code == 5
    assert 0 < ran.json["done"] < 500
    assert Decimal(ran.json["ledger"]["cost_usd"]) <= Decimal("0.02")


def test_init_writes_a_file_that_works_and_overwrites_none(corea: Command) -> None:
    Path("corea.toml").unlink()
    assert corea("init", "--pair", "ollama").code == 0
    assert tomllib.loads(Path("corea.toml").read_text())["cascade"]["stages"] == ["small", "large"]
    ran = corea("init", "--pair", "ollama")
    assert ran.code == 2
    assert "is there already" in ran.err
    assert {line.split()[0] for line in corea("init", "--list").out.splitlines()} == set(pairs())


@pytest.mark.parametrize("pair", sorted(pairs()))
def test_every_pair_makes_a_whole_configuration(pair: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI", "AZURE_OPENAI", "ANTHROPIC", "GEMINI", "DEEPSEEK", "OPENROUTER"):
        monkeypatch.setenv(f"{name}_API_KEY", "a-key")
    built = build(parse_config(tomllib.loads(template(pairs()[pair], Mode.ANSWER)), source=pair))
    small, large = built.cascade.stages
    asked = Question(id="q", messages=(Message("developer", "Be kind."), Message("user", "12 + 7?")))
    assert large.prompt is not None
    assert large.prompt.render(asked) == asked
    assert large.sampling.temperature is None
    assert small.prompt == load_prompt("default")
    assert all(stage.price is not None for stage in built.cascade.stages)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["ask", "x", "--config", "none.toml"], 2, "none.toml: no such file; write one with `corea init`"),
        (["ask", "x", "--set", "stages.small.tresh=1"], 2, "got 'tresh', expected one of"),
        (["ask", "x", "--set", "stages.small.signal=verbalised"], 2, "Did you mean 'verbalized'?"),
        (["ask", "x", "--set", "stages.small.backend.kind=opnai"], 2, "Did you mean 'openai'?"),
        (["ask", "x", "--set", "stages.small.threshold=2"], 2, "tau: got 2"),
        (["ask", "x", "--set", "stages.small.sampling.max_tokens=many"], 2, "max_tokens: got 'many'"),
        (["ask", "x", "--set", "cascade.stages=[\"smal\"]"], 2, "Did you mean 'small'?"),
        (["ask", "x", "--set", "stages.large.price=nobody"], 2, "no price is known for model 'nobody'"),
        (["ask", "x", "--cascade", "other"], 2, "got 'other', expected one of corea"),
        (["ask", "x", "--set", "nothing"], 2, "expected a.b=value"),
        (["run", "none.jsonl", "-o", "a.jsonl"], 3, "none.jsonl"),
        (["ask"], 2, "question"),
        (["ask", " "], 2, "got an empty question, expected some text"),
        (["aks", "x"], 2, "aks"),
        (["init", "--pair", "opnai"], 2, "Did you mean 'openai'?"),
        (["run", "corea.toml", "-o", "a.jsonl", "--budget-usd", "much"], 2, "--budget-usd: got 'much'"),
    ],
)  # fmt: skip
def test_what_a_user_gets_wrong_is_one_clear_line(corea: Command, arguments: list[str], code: int, said: str) -> None:
    ran = corea(*arguments)
    assert ran.code == code, ran.err
    assert said in ran.err
    assert len(ran.err.strip().splitlines()) == 1
    assert "Traceback" not in ran.err


def test_a_refused_connection_is_one_clear_line(corea: Command) -> None:
    ran = corea("ask", "x", *as_openai("http://127.0.0.1:9"))
    assert ran.code == 4
    assert "127.0.0.1:9" in ran.err
    assert len(ran.err.strip().splitlines()) == 1


def test_a_missing_key_names_its_variable(corea: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    ran = corea("ask", "x", *as_openai("http://127.0.0.1:9"), "--set", "stages.large.backend.api_key_env=NO_SUCH_KEY")
    assert ran.code != 0
    assert "NO_SUCH_KEY" in ran.err
    assert len(ran.err.strip().splitlines()) == 1


def as_openai(url: str) -> list[str]:
    Path("corea.toml").write_text(
        CONFIG.split("[stages.large.backend]")[0].replace("threshold = 0.8", "threshold = 1.0")
        + f'[stages.large.backend]\nkind = "openai"\nmodel = "large"\nbase_url = "{url}"\nmax_retries = 0\n[prices'
        + CONFIG.split("[prices", 1)[1]
    )
    return []


def test_a_full_disk_is_one_clear_line_and_loses_nothing(corea: Command) -> None:
    command = f"{shlex.quote(sys.executable)} -m corea.cli.main run {questions(300)} -o a.jsonl"
    full = subprocess.run(["sh", "-c", f"ulimit -f 64; {command}"], capture_output=True, text=True)
    assert full.returncode == 3, full.stderr
    assert len(full.stderr.strip().splitlines()) == 1
    assert "Traceback" not in full.stderr
    ran = corea("run", "q.jsonl", "-o", "a.jsonl", "--json")
    assert (ran.code, ran.json["done"]) == (0, 300)
    assert ran.json["resumed"] > 0


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    command = f"{shlex.quote(sys.executable)} -m corea.cli.main --help | head -2"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, cwd=tmp_path)
    assert "Usage" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (None, "unknown"),
        (0, "$0"),
        (Decimal("1234.5"), "$1,234.50"),
        (0.0431, "$0.043"),
        (Decimal("0.0000097"), "$0.0000097"),
        (-0.5, "-$0.50"),
    ],
)
def test_money_for_people(amount: Decimal | None, shown: str) -> None:
    assert usd(amount) == shown


def test_shares_for_people() -> None:
    assert (percent(0.2714), percent(None)) == ("27.1 %", "unknown")


def test_a_command_without_its_extra_says_how_to_get_it_in_one_line(
    corea: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corea.registry.find_spec", lambda name: None)
    ran = corea("train", "rlcc", "run.toml", "--out", "out")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "corea train: needs trl, which is not installed; pip install '.[train]' in " in ran.err

    pytest.importorskip("transformers")
    monkeypatch.setattr("corea.registry.find_spec", lambda name: name)
    monkeypatch.setitem(sys.modules, "transformers", None)
    tables = [
        f'[{table}]\nname = "bundled"\nsplit = "test"\nn = {n}\n' for table, n in (("questions", 9), ("held_out", 0))
    ]
    Path("run.toml").write_text('model = "m"\n' + "".join(tables))
    ran = corea("train", "rlcc", "run.toml", "--out", "out")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "corea train: needs transformers" in ran.err
    assert "pip install '.[local]' in " in ran.err


@pytest.mark.parametrize("command", [["demo"], ["ask", "1 + 1 = ?"], ["calibrate", "--max-drop", "0.02"]])
def test_without_the_engine_the_bundled_pair_says_how_to_get_it_in_one_line(
    corea: Command, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("corea.toml").unlink()
    monkeypatch.setattr("corea.registry.find_spec", lambda name: None)
    ran = corea(*command)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert "needs onnxruntime-genai, which is not installed; pip install '.[engine]' in " in ran.err


def test_corea_alone_prints_its_help(corea: Command) -> None:
    for arguments in ([], ["train"], ["keys"]):
        ran = corea(*arguments)
        assert (ran.code, ran.err) == (0, "")
        assert ran.out.strip().startswith(f"Usage: {' '.join(['corea', *arguments])} [OPTIONS] COMMAND")


def test_wrong_usage_points_to_the_help_of_the_command(corea: Command) -> None:
    assert corea("ask").err.endswith("see `corea ask --help`\n")
    assert corea("aks").err.endswith("see `corea --help`\n")


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (Fail(404, "no such model"), "got HTTP 404 (no such model)"),
        (Fail(401, "bad key"), "got HTTP 401 (bad key)"),
        (Fail(500, "oops"), "got HTTP 500 (oops)"),
    ],
)
def test_check_calls_no_error_reached_and_advises_nothing_about_logprobs_then(
    corea: Command, act: Fail, said: str
) -> None:
    with running(act) as url:
        as_openai(url)
        Path("corea.toml").write_text(Path("corea.toml").read_text() + "[stages.large.sampling]\nlogprobs = true\n")
        checks = corea("check", "--json").json["checks"]
    (reached,) = [check for check in checks if check["where"] == "corea/large" and check["check"] == "is reached"]
    assert not reached["ok"]
    assert said in reached["seen"]
    assert not [check for check in checks if "logprobs" in check["check"]]


def test_check_advises_where_a_server_answers_without_logprobs(corea: Command) -> None:
    with running(Say("<answer>19</answer>")) as url:
        as_openai(url)
        Path("corea.toml").write_text(Path("corea.toml").read_text() + "[stages.large.sampling]\nlogprobs = true\n")
        checks = corea("check", "--json").json["checks"]
    assert [(c["ok"], c["seen"][:12]) for c in checks if c["check"] == "logprobs come"] == [(False, "do not come:")]


def test_check_says_once_whether_logprobs_come(corea: Command) -> None:
    with running(Say("<answer>19</answer>", logprob=-0.1)) as url:
        as_openai(url)
        Path("corea.toml").write_text(Path("corea.toml").read_text() + "[stages.large.sampling]\nlogprobs = true\n")
        checks = [each for each in corea("check", "--json").json["checks"] if each["where"] == "corea/large"]
    assert [(each["check"], each["ok"]) for each in checks if "logprobs" in f"{each['check']} {each['seen']}"] == [
        ("logprobs come", True)
    ]


def test_check_does_not_advise_to_ask_for_probabilities_that_the_stage_asks_for(corea: Command) -> None:
    checks = corea("check", "--json", "--set", "stages.small.signal=expected").json["checks"]
    (seen,) = [check["seen"] for check in checks if check["check"] == "states a confidence"]
    assert seen.startswith("no token probabilities at the stated number; the stage asks for them already: ")


def test_init_writes_questions_to_try_it_with(corea: Command) -> None:
    Path("corea.toml").unlink()
    ran = corea("init", "--questions", "5")
    assert (ran.code, ran.out) == (
        0,
        "Wrote corea.toml and questions.jsonl for the pair 'openai'. Next: `corea check`.\n",
    )
    rows = [json.loads(line) for line in Path("questions.jsonl").read_text().splitlines()]
    assert len({row["question"] for row in rows if row["answer"]}) == 5
    Path("corea.toml").unlink()
    assert "questions.jsonl: is there already" in corea("init", "--questions", "5").err
    assert not Path("corea.toml").exists()


def test_a_model_that_is_counted_as_free_is_named_wherever_money_is(corea: Command) -> None:
    text = Path("corea.toml").read_text()
    Path("corea.toml").write_text(text.replace("[prices.large]", "[prices.somebody]"))
    line = "no price: counted as free: large"
    assert line in corea("ask", "12 + 7?").out
    assert line in corea("run", questions(3), "--out", "a.jsonl").out
    assert corea("run", "q.jsonl", "--out", "a.jsonl", "--json").json["ledger"]["flags"] == {line: 3}
    seen = [c["seen"] for c in corea("check", "--json").json["checks"] if c["check"] == "price is known"]
    assert seen[1].startswith("no price: counted as free; it runs on hardware of your own")
    assert '[prices."large"] with input_usd_per_mtok and output_usd_per_mtok' in seen[1]
    rows = [json.dumps({"id": f"q{i}", "question": f"{i} + 7?", "answer": str(i + 7)}) for i in range(3)]
    Path("labelled.jsonl").write_text("\n".join(rows) + "\n")
    assert line in corea("eval", "a.jsonl", "--questions", "labelled.jsonl").out


def test_check_names_the_price_of_a_model_that_a_signal_asks(corea: Command) -> None:
    by_large = ("--set", 'stages.small.signal={kind = "self_check", backend = "large"}')
    seen = [c for c in corea("check", "--json", *by_large).json["checks"] if c["where"] == "corea/small/signal"]
    assert [(c["ok"], c["seen"].split(" in,")[0]) for c in seen] == [(True, "large: $10")]
    remote = '{kind = "openai", model = "strange", base_url = "http://8.8.8.8/v1", max_retries = 0}'
    strange = ("--set", f'stages.small.signal={{kind = "self_check", backend = {remote}}}')
    ran = corea("check", "--json", *strange)
    bad = [c for c in ran.json["checks"] if c["where"] == "corea/small/signal"]
    assert [(c["ok"], c["seen"]) for c in bad] == [(False, 'strange has no price; add [prices."strange"]')]


def test_check_makes_all_checks_where_a_key_is_missing(corea: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    backend = 'kind = "openai"\nmodel = "{}"\nbase_url = "http://127.0.0.1:9"\napi_key_env = "NO_SUCH_KEY"\n'
    stages = "".join(f"[stages.{name}.backend]\n{backend.format(name)}" for name in ("small", "large"))
    cascades = '[cascades.one]\nstages = ["small", "large"]\n[cascades.two]\nstages = ["large"]\n'
    Path("corea.toml").write_text(cascades + stages + "[prices" + CONFIG.split("[prices", 1)[1])
    ran = corea("check", "--json")
    assert (ran.code, ran.err) == (1, "")
    bad = [(each["where"], each["check"]) for each in ran.json["checks"] if not each["ok"]]
    assert bad == [
        ("one/small", "is reached"),
        ("one/large", "is reached"),
        ("one", "answers a question"),
        ("two/large", "is reached"),
        ("two", "answers a question"),
    ]
    assert all("NO_SUCH_KEY" in each["seen"] for each in ran.json["checks"] if not each["ok"])


def test_a_cascade_that_cannot_be_built_does_not_keep_the_others_from_being_checked(corea: Command) -> None:
    cascades = '[cascades.one]\ncalibration = "none.json"\n[cascades.two]\nstages = ["large"]\n'
    Path("corea.toml").write_text(cascades + CONFIG)
    ran = corea("check", "--json")
    checks = {(each["where"], each["check"]): each for each in ran.json["checks"]}
    assert ran.code == 1
    assert "none.json: no such calibration" in checks["one", "can be built"]["seen"]
    assert checks["two", "answers a question"]["ok"]


@pytest.mark.parametrize("value", ["mine.json", '"mine.json"'])
def test_paths_set_for_the_bundled_pair_are_relative_to_the_working_folder(corea: Command, value: str) -> None:
    Path("corea.toml").unlink()
    ran = corea("ask", "x", "--set", f"cascade.calibration={value}")
    assert (ran.code, ran.err) == (
        2,
        f"corea: {Path('mine.json').absolute()}: no such calibration; make it with `corea calibrate`\n",
    )


def test_ask_reads_a_pipe(corea: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("Café: 12 + 7?\n".encode())))
    assert corea("ask", "-").out.splitlines()[0] == "19"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\n")))
    assert "got an empty question" in corea("ask", "-").err
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9")))
    ran = corea("ask", "-")
    assert (ran.code, "standard input is not UTF-8 text" in ran.err) == (3, True)


def test_init_takes_any_two_endpoints(corea: Command) -> None:
    ends = ["--small", "qwen3:8b@http://127.0.0.1:11434/v1/", "--large", "gpt-4.1@https://api.openai.com/v1"]
    assert corea("init", *ends, "--force").code == 0
    stages = tomllib.loads(Path("corea.toml").read_text())["stages"]
    assert stages["small"]["backend"] == {
        "kind": "openai", "model": "qwen3:8b", "base_url": "http://127.0.0.1:11434/v1"
    }  # fmt: skip
    assert stages["large"]["backend"]["api_key_env"] == "OPENAI_API_KEY"
    ends[-1] = "m@https://models.example/v1"
    assert corea("init", *ends, "--large-key", "MY_KEY", "--force").code == 0
    assert tomllib.loads(Path("corea.toml").read_text())["stages"]["large"]["backend"]["api_key_env"] == "MY_KEY"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--small", "m"], "both --small and --large"),
        (["--small", "m", "--large", "n@https://n.example/v1"], "--small: got 'm', expected MODEL@URL"),
        (["--large-key", "K"], "a key's name without its endpoint"),
        (["--pair", "openai", "--small", "m@http://a/v1", "--large", "n@http://b/v1"], "expected --pair, or both"),
    ],
)
def test_init_refuses_half_an_endpoint(corea: Command, arguments: list[str], said: str) -> None:
    ran = corea("init", *arguments, "--force")
    assert (ran.code, said in ran.err) == (2, True), ran.err


class Terminal(io.StringIO):
    """Lines that a person types."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("typed", "model", "mode"),
    [("anthropic\nchat\n", "claude-haiku-4-5", "chat"), ("\n\n", "gpt-4.1-nano", "answer"),
     ("own\nmine\nhttp://127.0.0.1:1/v1\n\nyours\nhttps://y.example/v1\nKEY\nanswer\n", "mine", "answer")],
)  # fmt: skip
def test_init_asks_on_a_terminal(
    corea: Command, monkeypatch: pytest.MonkeyPatch, typed: str, model: str, mode: str
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    monkeypatch.setattr("sys.stdout", Terminal())
    assert corea("init", "--force").code == 0
    written = tomllib.loads(Path("corea.toml").read_text())
    assert written["stages"]["small"]["backend"]["model"] == model
    assert written["cascade"]["mode"] == mode
