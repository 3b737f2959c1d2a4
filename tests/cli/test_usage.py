"""A command used wrongly says in one line which option it is, what it got and expects, and where the help is."""

from pathlib import Path

import pytest
from tests.cli.conftest import Command

ENDINGS = ".jsonl, .ndjson, .json, .csv, .tsv, .parquet"


@pytest.mark.parametrize(
    ("command", "said", "help_of"),
    [
        ("ask", "question: got nothing, expected a value", "ask"),
        ("ask one two", "ask: got unexpected extra argument(s) (two), expected none; put a text with spaces in", "ask"),
        ("ask x --cofig a", "ask: got '--cofig', expected one of its options; did you mean --config?", "ask"),
        ("ask x --config", "--config: got no value, expected one", "ask"),
        ("ask x --full=yes", "--full: takes no value", "ask"),
        ("run", "questions: got nothing, expected a value", "run"),
        ("run q", "--out: got nothing, expected a value", "run"),
        ("run q.jsonl", "--out: got nothing, expected a value", "run"),
        ("run -o a.jsonl", "questions: got nothing, expected a value", "run"),
        ("run q.jsonl -o a.jsonl --concurrency many", "--concurrency: got 'many', expected a whole number", "run"),
        ("run q.jsonl -o a.jsonl --concurrency 1.5", "--concurrency: got '1.5', expected a whole number", "run"),
        ("run q.jsonl -o a.jsonl --concurrency 0", "--concurrency: got '0', expected at least 1", "run"),
        ("run q.jsonl -o a.jsonl --on-bad-row go", "--on-bad-row: got 'go', expected one of 'stop', 'skip'", "run"),
        ("run q.jsonl -o a.jsonl --free_text", "run: got '--free_text', expected one of its options; did you", "run"),
        ("run q.jsonl -o a.jsonl --budget-usd", "--budget-usd: got no value, expected one", "run"),
        ("serve --port x", "--port: got 'x', expected a whole number", "serve"),
        ("serve --port 99999999", "--port: got '99999999', expected at most 65535", "serve"),
        ("serve --port -1", "--port: got '-1', expected at least 0", "serve"),
        ("serve --nothing", "serve: got '--nothing', expected one of its options", "serve"),
        ("init --questions -5", "--questions: got '-5', expected at least 0", "init"),
        ("init --questions five", "--questions: got 'five', expected a whole number", "init"),
        ("init --pair", "--pair: got no value, expected one", "init"),
        ("check x", "check: got unexpected extra argument(s) (x), expected none", "check"),
        ("keys crate", "keys: no such command 'crate'. Did you mean 'create'?", "keys"),
        ("keys create", "name: got nothing, expected a value", "keys create"),
        ("keys create a --rpm x", "--rpm: got 'x', expected a whole number", "keys create"),
        ("keys create a --rpm -1", "--rpm: got '-1', expected at least 1", "keys create"),
        ("keys create a --tpm 0", "--tpm: got '0', expected at least 1", "keys create"),
        ("keys create a --tpm", "--tpm: got no value, expected one", "keys create"),
        ("keys set", "key: got nothing, expected a value", "keys set"),
        ("keys revoke", "key: got nothing, expected a value", "keys revoke"),
        ("keys list x", "keys list: got unexpected extra argument(s) (x), expected none", "keys list"),
        ("train rlc", "train: no such command 'rlc'. Did you mean 'rlcc'?", "train"),
        ("train rlcc", "config: got nothing, expected a value", "train rlcc"),
        (
            "calibrate plan --slm-accuracy x --llm-accuracy 1",
            "--slm-accuracy: got 'x', expected a number",
            "calibrate plan",
        ),
        (
            "calibrate q.jsonl",
            "calibrate: no such command 'q.jsonl', it is a file; did you mean --questions q.jsonl?",
            "calibrate",
        ),
        ("export", "folder: got nothing, expected a value", "export"),
        ("demo --out", "--out: got no value, expected one", "demo"),
        ("--verzion", "got '--verzion', expected one of its options; did you mean --version?", ""),
        ("aks x", "no such command 'aks'", ""),
    ],
)
def test_wrong_usage_names_the_option_and_the_help(
    corea: Command, monkeypatch: pytest.MonkeyPatch, command: str, said: str, help_of: str
) -> None:
    monkeypatch.setattr("corea.registry.find_spec", lambda name: name)
    Path("q.jsonl").write_text('{"question": "1 + 1?"}\n')
    ran = corea(*command.split())
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1), ran
    assert ran.err.startswith(f"corea: {said}")
    assert ran.err.endswith(f"; see `{f'corea {help_of}'.strip()} --help`\n")


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("run . -o a.jsonl", 2, f".: got a folder, expected a name in {ENDINGS} (with .gz behind it, too, but for"),
        ("run q.jsonl -o a", 2, f"a: got no suffix, expected a name in {ENDINGS}"),
        ("run q.jsonl -o a.txt", 2, f"a.txt: got the suffix '.txt', expected a name in {ENDINGS}"),
        ("run none.jsonl -o a.jsonl", 3, "none.jsonl: no such file, expected a file of questions"),
        ("ask x --config .", 2, ".: cannot be read (Is a directory), expected a TOML file; name yours"),
        ("ask x --config latin.toml", 2, "latin.toml: got text that is not UTF-8 (invalid continuation byte); save it"),
        ("ask x --config bad.toml", 2, "bad.toml: not TOML (Expected ']' at the end of a table declaration"),
        ("ask x --set stages.small.on_error=nxt", 2, "stages.small.on_error: got 'nxt', expected one of next, fail"),
        ("keys set a --rpm x", 2, "--rpm: got 'x', expected a whole number of at least 1, or `none` for no limit"),
        ("keys set a --tpm 0", 2, "--tpm: got '0', expected a whole number of at least 1, or `none` for no limit"),
        ("keys create b --budget-usd x", 2, "--budget-usd: got 'x', expected an amount"),
        ("keys create b --budget-usd -1", 2, "--budget-usd: got '-1', expected an amount"),
        ("keys create b --budget-usd nan", 2, "--budget-usd: got 'nan', expected an amount"),
        ("keys set a --budget-usd -3", 2, "--budget-usd: got '-3', expected an amount"),
        ("train rlcc latin.toml --out o --set =3", 2, "latin.toml: got text that is not UTF-8"),
        ("train rlcc good.toml --out o --set =3", 2, "--set: got '=3', expected a.b=value"),
        ("train rlcc none.toml --out o", 2, "none.toml: no such file; see configs/ for examples"),
        ("eval none.jsonl --questions q.jsonl", 2, "none.jsonl: no such file, expected answers or recorded rows; name"),
        ("eval latin.jsonl --questions q.jsonl", 3, "latin.jsonl:1: not UTF-8 (invalid start byte); save the file as"),
        (
            "calibrate verify --traces latin.jsonl --reference q.jsonl",
            3,
            "latin.jsonl:1: not UTF-8 (invalid start byte); save",
        ),
        ("calibrate --max-drop 0.1 --questions latin.jsonl", 3, "latin.jsonl:1: not UTF-8 (invalid start byte); save"),
        (
            "calibrate plan --slm-accuracy 2 --llm-accuracy .9",
            2,
            "--slm-accuracy: got 2.0, expected a number between 0 and 1",
        ),
        (
            "calibrate plan --slm-accuracy .7 --llm-accuracy .9 --delta 0",
            2,
            "delta: got 0.0, expected a probability between 0 and 1",
        ),
        ("calibrate plan", 2, "calibrate plan: got neither rows nor both accuracies, expected --traces and --referen"),
        ("calibrate plan --traces q.jsonl", 2, "calibrate plan: got one of --traces and --reference, expected both"),
        (
            "calibrate plan --slm-accuracy .7 --llm-accuracy .9 --cost-ratio 0",
            2,
            "--cost-ratio: got 0.0, expected a number above 0",
        ),
        ("calibrate --max-drop .02 --delta 0", 2, "delta: got 0.0, expected a probability between 0 and 1"),
        ("calibrate verify --traces q.jsonl --reference q.jsonl --max-drop .02 --delta 0", 3, "q.jsonl"),
    ],
)
def test_a_wrong_value_is_one_line_that_says_what_to_do(
    corea: Command, monkeypatch: pytest.MonkeyPatch, command: str, code: int, said: str
) -> None:
    monkeypatch.setattr("corea.registry.find_spec", lambda name: name)
    Path("q.jsonl").write_text('{"question": "1 + 1?"}\n' * 2)
    Path("latin.toml").write_bytes("# é\n".encode("latin-1"))
    Path("latin.jsonl").write_bytes('{"question": "Où?"}\n'.encode("latin-1"))
    Path("bad.toml").write_text("[stages\n")
    Path("good.toml").write_text("")
    assert corea("keys", "create", "a").code == 0
    ran = corea(*command.split())
    assert (ran.code, ran.out, ran.err.count("\n")) == (code, "", 1), ran
    assert said in ran.err
    assert "Traceback" not in ran.err


def test_an_output_of_another_kind_is_advised_as_an_output(corea: Command) -> None:
    Path("q.jsonl").write_text('{"question": "1 + 1?"}\n')
    assert corea("run", "q.jsonl", "-o", "a.txt").err.endswith("; name it answers.jsonl, or the like\n")
    assert corea("run", "q.txt", "-o", "a.jsonl").err.endswith(
        "; save it as .csv with a first line `question`, or as .jsonl\n"
    )


def test_a_key_has_a_name(corea: Command) -> None:
    ran = corea("keys", "create", " ")
    assert (ran.code, ran.out, ran.err) == (
        2,
        "",
        "corea: name: got ' ', expected 1 to 200 printable characters\n",
    )
