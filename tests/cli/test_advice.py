"""What the summary, `corea ask` and `corea check` advise: by why an answer cannot be read, never what is so already."""

import json
from pathlib import Path

import pytest
from tests.cli.conftest import CONFIG, Command, Ran
from tests.fakes.server import Say, running

THOUGHT = "<think>The filter hums.</think>"
ASKED = "the prompt asks for <answer> already: look at the text of stage large in the trace of 'q0' in a.jsonl"
UNSURE = "stages.small.backend.replies=<answer>4</answer><confidence>0.1</confidence>"


def questions(n: int) -> str:
    Path("q.jsonl").write_text("".join(json.dumps({"id": f"q{i}", "question": f"{i} + 7?"}) + "\n" for i in range(n)))
    return "q.jsonl"


def served(url: str, *, sampling: str = "") -> None:
    """The large model is on this server; the small one is never sure."""
    large = f'[stages.large.backend]\nkind = "openai"\nmodel = "large"\nbase_url = "{url}"\nmax_retries = 0\n'
    before, prices = CONFIG.split("[stages.large.backend]")[0], CONFIG.split("[prices", 1)[1]
    Path("corea.toml").write_text(before + large + sampling + "[prices" + prices)


def large_says(corea: Command, say: Say, *arguments: str, sampling: str = "", command: str = "run") -> Ran:
    """What a command says where the large model writes this."""
    given = {"run": [questions(3), "-o", "a.jsonl"], "ask": ["12 + 7?"], "check": []}[command]
    with running(say) as url:
        served(url, sampling=sampling)
        return corea(command, *given, "--set", UNSURE, *arguments)


def lines_of(ran: Ran) -> list[str]:
    """What stands between the money and the output's name."""
    return ran.out.splitlines()[2:-1]


LIMIT = "[stages.large.sampling]\nmax_tokens = 60\n"


@pytest.mark.parametrize(
    ("say", "sampling", "lines"),
    [
        (
            Say("", finish_reason="content_filter"),
            "",
            [
                "ended by a content filter or refused: 3 texts of stage large; put these questions in other words or "
                "take another model there; see finish_reason and text of stage large in the trace of 'q0' in a.jsonl",
                "3 answers of stage large could not be read from the text: a content filter or refusal, see above",
            ],
        ),
        (
            Say("", message={"refusal": "I can't help with that."}),
            "",
            [
                "ended by a content filter or refused: 3 texts of stage large; put these questions in other words or "
                "take another model there; see finish_reason and text of stage large in the trace of 'q0' in a.jsonl",
                "3 answers of stage large could not be read from the text: a content filter or refusal, see above",
            ],
        ),
        (
            Say("<think>Let me", finish_reason="length"),
            LIMIT,
            [
                "cut off by the token limit: 3 texts of stage large; raise stages.large.sampling.max_tokens (now 60), "
                "and name another --out",
                "3 answers of stage large could not be read from the text: cut off by the token limit, see above",
            ],
        ),
        (
            Say("Let me", finish_reason="length"),
            "",
            [
                "cut off by the token limit: 3 texts of stage large; set stages.large.sampling.max_tokens (the "
                "server's own limit holds now), and name another --out",
                "3 answers of stage large could not be read from the text: cut off by the token limit, see above",
            ],
        ),
        (
            Say(THOUGHT),
            "",
            [
                "3 answers of stage large could not be read from the text: it shows nothing (thinking does not count); "
                "look at the completion of stage large in the trace of 'q0' in a.jsonl"
            ],
        ),
        (
            Say("?"),
            "",
            [f"3 answers of stage large could not be read from the text; {ASKED}; or give --free-text for whole texts"],
        ),
        (
            Say("I don't know."),
            "",
            [
                "3 answers of stage large could not be read from the text: it says that the model does not know; look "
                "at the text of stage large in the trace of 'q0' in a.jsonl; or give --free-text for whole texts"
            ],
        ),
    ],
    ids=["filtered", "refused", "cut", "cut by the server", "only thinking", "not found", "declined"],
)
def test_the_advice_looks_at_why(corea: Command, say: Say, sampling: str, lines: list[str]) -> None:
    ran = large_says(corea, say, sampling=sampling)
    assert ran.code == 1
    assert lines_of(ran) == lines


def test_filtered_texts_have_a_count_of_their_own_in_json(corea: Command) -> None:
    said = large_says(corea, Say("", finish_reason="content_filter"), "--json").json
    assert said["unreadable_answers"] == 3
    assert said["unreadable_because"] == {"content_filter_or_refusal": 3}
    assert said["filtered_or_refused"] == {"large": 3}


def test_a_prompt_that_asks_for_no_answer_is_named_with_one_that_does(corea: Command) -> None:
    ran = large_says(corea, Say("?"), "--set", "stages.large.prompt=plain")
    assert lines_of(ran) == [
        "3 answers of stage large could not be read from the text; let stages.large.prompt ask for <answer>, as "
        "`answer_only` does, and name another --out; or give --free-text for whole texts"
    ]


@pytest.mark.parametrize("text", ["", THOUGHT, "<think>never closed", " \n", "<answer></answer>"])
@pytest.mark.parametrize("finish", ["stop", "content_filter", "length"])
def test_with_free_text_an_empty_text_is_no_success(corea: Command, text: str, finish: str) -> None:
    ran = large_says(corea, Say(text, finish_reason=finish), "--free-text")
    assert ran.code == 1
    assert "3 of 3 questions done: 0 answered, 0 failed, 3 empty, in" in ran.out
    (line,) = [line for line in lines_of(ran) if line.startswith("3 texts of stage large are empty")]
    assert "--free-text" not in line
    assert ("see above" in line) == (finish != "stop")


def test_with_free_text_any_other_text_is_an_answer(corea: Command) -> None:
    ran = large_says(corea, Say(f"{THOUGHT}\nDear Sir or Madam, it depends."), "--free-text")
    assert (ran.code, lines_of(ran)) == (0, [])
    assert "3 answered, 0 failed, in" in ran.out


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            ["stages.small.backend.replies=<answer>4</answer>"],
            "the text states no confidence); the prompt asks for <confidence> already: look at the text of stage small "
            "in the trace of 'q0' in a.jsonl; or take another signal",
        ),
        (
            ["stages.small.backend.replies=<answer>4</answer>", "stages.small.prompt=answer_only"],
            "the text states no confidence); let stages.small.prompt ask for <confidence>, as `default` does, and name "
            "another --out; or take another signal",
        ),
        (
            ["stages.small.backend.replies=?", "stages.small.signal=agreement"],
            "no answer was found in the text); the prompt asks for <answer> already: look at the text of stage small "
            "in the trace of 'q0' in a.jsonl; or take another signal",
        ),
    ],
)
def test_drafts_without_a_confidence_are_advised_by_why(corea: Command, options: list[str], line: str) -> None:
    ran = corea("run", questions(3), "-o", "a.jsonl", *(part for each in options for part in ("--set", each)))
    assert lines_of(ran) == [f"no confidence stated: 3 drafts of stage small ({line}"]


def test_drafts_that_were_cut_off_are_told_to_be(corea: Command) -> None:
    ran = corea("run", questions(3), "-o", "a.jsonl", "--set", "stages.small.sampling.max_tokens=2")
    assert lines_of(ran)[1] == "no confidence stated: 3 drafts of stage small: cut off by the token limit, see above"


def test_logprobs_that_are_asked_for_already_are_not_advised(corea: Command) -> None:
    small = '{kind = "openai", model = "small", base_url = "%s", max_retries = 0}'
    with running(Say("<answer>4</answer><confidence>0.9</confidence>")) as url:
        backend = ("--set", f"stages.small.backend={small % url}")
        ran = corea("run", questions(3), "-o", "a.jsonl", *backend, "--set", "stages.small.signal=expected")
    assert lines_of(ran) == [
        "no confidence stated: 3 drafts of stage small (no token probabilities at the stated number); the stage asks "
        'for them already: take a server that gives them, or signal = "verbalized"'
    ]


def test_where_the_output_is_flat_the_journal_holds_the_traces(corea: Command) -> None:
    unreadable = ("--set", UNSURE, "--set", "stages.large.backend.replies=?")
    ran = corea("run", questions(1), "-o", "a.csv", *unreadable)
    assert lines_of(ran)[0].startswith("1 answer of stage large could not be read from the text; ")
    assert "in the trace of 'q0' in a.csv.journal;" in lines_of(ran)[0]


WHY: list[tuple[Say, str, str]] = [
    (
        Say(""),
        "(an empty text)",
        "it shows nothing (thinking does not count); try another prompt or model",
    ),
    (
        Say("", finish_reason="content_filter"),
        "(an empty text)",
        "a content filter ended the text, or it is a refusal; put the question in other words",
    ),
    (
        Say("Let me", finish_reason="length"),
        "Let me",
        "it was cut off by the token limit; set stages.large.sampling.max_tokens (the server's own limit holds now)",
    ),
    (
        Say("?"),
        "?",
        "none was found in it; the prompt asks for <answer> already, look at the text (`corea ask --full`)",
    ),
]


@pytest.mark.parametrize(("say", "shown", "why"), WHY)
def test_ask_says_why_no_answer_can_be_read_and_ends_with_1(corea: Command, say: Say, shown: str, why: str) -> None:
    line = f"no short answer could be read from the text of stage large: {why}"
    ran = large_says(corea, say, command="ask")
    assert (ran.code, ran.out.splitlines()[0], ran.err) == (1, shown, f"corea: {line}\n")
    ran = large_says(corea, say, "--json", command="ask")
    assert (ran.code, ran.json["answer"], ran.json["text"], ran.json["status"]) == (1, None, say.text, "answered")
    assert ran.err == f"corea: {line}\n"
    ran = large_says(corea, say, "--json", command="check")
    (seen,) = [check for check in ran.json["checks"] if check["check"] == "answers a question"]
    assert (ran.code, ran.json["ok"], seen["ok"], seen["seen"]) == (1, False, False, line)


def test_ask_tells_an_abstention_as_one(corea: Command) -> None:
    abstaining = 'stages.small.policy={kind = "threshold", tau = 0.8, abstain_below = 0.5}'
    Path("corea.toml").write_text(CONFIG.replace("threshold = 0.8\n", ""))
    ran = corea("ask", "12 + 7?", "--set", abstaining, "--set", UNSURE)
    assert (ran.code, ran.out.splitlines()[0], ran.err) == (0, "(abstained: ask a person)", "")
