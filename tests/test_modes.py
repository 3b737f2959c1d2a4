"""`mode = "chat"` and `mode = "answer"`: from a configuration to what is asked, measured, kept and returned."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Command, corea
from tests.fakes.server import Say, running
from tests.gateway.conftest import events, make_house, text_of

from corea.backends.fake import Call, FakeBackend
from corea.build import build
from corea.calibrate.binding import binding_of, free_signals
from corea.cli.init import pairs, template
from corea.config import parse_config
from corea.errors import ConfigError
from corea.signals.logprob import MeanTokenProbability
from corea.signals.validators import MatchesRegex, NotRefused, Validated, ValidJson
from corea.stage import CUT_DRAFT, Mode
from corea.types import Completion, Decision, Message, Question, Sampling, Status

assert corea  # the fixture
TAGGED = "Use <answer> and <confidence>0.1</confidence> like this:\n<think>no</think>\n```\n<answer>42</answer>\n```\n"
PAIRS = sorted(pairs())


def tree(small: dict[str, Any] | None = None, cascade: dict[str, Any] | None = None, **backend: Any) -> dict[str, Any]:
    fake: dict[str, Any] = {"kind": "fake", "model": "m"}
    return {
        "cascade": {"mode": "chat", **(cascade or {})},
        "stages": {
            "small": {"backend": {**fake, "replies": TAGGED, "probability": 0.9, **backend}, **(small or {})},
            "large": {"backend": {**fake, "replies": "from the large model"}},
        },
        "prices": {"m": {"input_usd_per_mtok": "1", "output_usd_per_mtok": "2"}},
    }


def calls_of(stage: Any) -> list[Call]:
    return stage.backend.calls


# ---- the library


async def test_a_chat_is_asked_as_it_is_and_its_text_is_not_read() -> None:
    cascade = build(parse_config(tree())).cascade
    asked = Question(id="1", messages=(Message("system", "Be brief."), Message("user", "Write a poem.")))
    trace = await cascade.ask(asked)
    assert (trace.stage, trace.answer, trace.text) == ("small", None, TAGGED)
    assert calls_of(cascade.stages[0])[0].question.messages == asked.messages
    confidence = trace.confidence
    assert confidence is not None
    assert (confidence.signal, confidence.value) == ("mean_token_probability", pytest.approx(0.9))


async def test_the_same_stages_without_the_mode_ask_for_an_answer() -> None:
    config = parse_config(tree(cascade={"mode": "answer"}, replies="<answer>4</answer><confidence>0.9</confidence>"))
    cascade = build(config).cascade
    trace = await cascade.ask("2 + 2?")
    assert (trace.stage, trace.answer) == ("small", "4")
    assert "<confidence>" in calls_of(cascade.stages[0])[0].question.messages[0].content


async def test_a_draft_cut_by_the_token_limit_is_deferred_in_a_chat() -> None:
    cascade = build(parse_config(tree({"sampling": {"max_tokens": 3}}))).cascade
    trace = await cascade.ask("Write a poem.")
    assert (trace.stage, trace.text) == ("large", "from the large model")
    assert trace.steps[0].confidence is not None
    assert trace.steps[0].confidence.reason == CUT_DRAFT


@pytest.mark.parametrize("text", ["I don't know.", "The answer is unclear."])
async def test_a_text_that_answer_mode_reads_as_none_is_kept_in_a_chat(text: str) -> None:
    kept = await build(parse_config(tree(replies=text))).cascade.ask("What did she say?")
    assert (kept.stage, kept.text) == ("small", text)
    checked = build(
        parse_config(tree({"signal": "mean_token_probability", "validators": ["not_refused"]}, replies=text))
    )
    trace = await checked.cascade.ask("What did she say?")
    assert trace.stage == "large"
    assert trace.steps[0].confidence is not None
    assert trace.steps[0].confidence.signal == "not_refused"


# ---- the configuration


@pytest.mark.parametrize(
    ("small", "expected"),
    [
        ({"signal": "verbalized"}, "got Verbalized, which reads a stated number or a short answer"),
        ({"signal": "expected"}, "got Expected"),
        ({"signal": "agreement"}, "got Agreement"),
        ({"signal": "answer_token_probability"}, "got AnswerTokenProbability"),
        ({"validators": ["verbalized"]}, "got Verbalized"),
        ({"prompt": "default"}, "got a prompt with tags"),
        ({"confidence_first": True}, "got a prompt with tags"),
        ({"second_opinion": "large"}, "small.second_opinion: got it in a chat, whose text has no short answer"),
        ({"validators": "not_refused"}, "got 'not_refused', expected a list"),
        ({"validators": [{"pattern": "x"}]}, "expected a table with kind"),
        ({"validators": [{"kind": "regx"}]}, "Did you mean 'regex'"),
        ({"validators": [{"kind": "regex"}]}, "pattern is missing"),
        ({"validators": ["not_refused", "not_refused"]}, "got two named 'not_refused'"),
        ({"validators": [{"kind": "not_refused", "weight": 0}]}, "got weight 0, expected a number above 0, at most 1"),
        ({"validators": [{"kind": "command", "command": ["no-such-program"]}]}, "expected a program on PATH"),
    ],
)
def test_what_a_chat_cannot_work_with_is_refused_in_one_line(small: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(expected)) as raised:
        build(parse_config(tree(small)))
    assert "\n" not in str(raised.value)


def test_a_model_trained_to_write_tags_is_refused_in_a_chat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeBackend, "writes_tags", True, raising=False)
    with pytest.raises(ConfigError, match="a model with tags"):
        build(parse_config(tree()))


def test_a_mode_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"cascade corea\.mode: got 'chatt', expected one of answer, chat"):
        parse_config(tree(cascade={"mode": "chatt"}))


def test_validators_join_a_signal_or_stand_alone(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text("{}")
    json_, pattern = (
        {"kind": "valid_json", "path": "s.json"},
        {"kind": "regex", "pattern": "x", "name": "x", "weight": 0.5},
    )
    alone = build(parse_config(tree({"validators": [json_, pattern]}), base=tmp_path)).cascade.stages[0].signal
    assert isinstance(alone, Validated)
    assert (alone.inner, dict(alone.weights)) == (None, {"valid_json": 1.0, "x": 0.5})
    assert alone.others["x"] == MatchesRegex(pattern="x", visible=False)
    joined = build(parse_config(tree({"signal": "mean_token_probability", "validators": [pattern]}))).cascade.stages[0]
    assert isinstance(joined.signal, Validated)
    assert (joined.signal.inner, joined.sampling.logprobs) == (MeanTokenProbability(), True)
    answers = build(parse_config(tree({"validators": ["not_refused"]}, {"mode": "answer"}))).cascade.stages[0].signal
    assert isinstance(answers, Validated)
    assert answers.others["not_refused"] == NotRefused(visible=True)


def test_a_calibration_sees_other_validators() -> None:
    one, other = (
        binding_of(build(parse_config(tree({"validators": [{"kind": "regex", "pattern": p}]}))).cascade) for p in "ab"
    )
    assert one[0].signal != other[0].signal
    assert [type(each).__name__ for each in free_signals(["valid_json", "not_refused"]).values()] == [
        "ValidJson",
        "NotRefused",
    ]


# ---- the gateway


def chat_stage(**more: Any) -> dict[str, Any]:
    return {"signal": MeanTokenProbability(), "mode": Mode.CHAT, "sampling": Sampling(logprobs=True), **more}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_gets_the_draft_as_it_was_written(stream: bool) -> None:
    house = make_house(FakeBackend("small-model", TAGGED, probability=0.9), small_stage=chat_stage())
    response = await house.post(stream=stream, temperature=0.3, presence_penalty=0.5, stop=["zzz"])
    text = text_of(events(response)) if stream else response.json()["choices"][0]["message"]["content"]
    assert (text, response.headers["x-corea-stage"]) == (TAGGED, "small")
    sent = house.small.calls[0]
    assert [m.content for m in sent.question.messages] == ["12 + 7?"]
    assert (sent.sampling.temperature, sent.sampling.extra) == (0.3, {"presence_penalty": 0.5})
    assert sent.sampling.stop == ("zzz",)


async def test_what_a_stage_sets_itself_stays() -> None:
    own = Sampling(logprobs=True, temperature=0.0, extra={"presence_penalty": 0.1})
    house = make_house(FakeBackend("small-model", TAGGED, probability=0.9), small_stage=chat_stage(sampling=own))
    await house.post(temperature=0.3, presence_penalty=0.5)
    assert (house.small.calls[0].sampling.temperature, house.small.calls[0].sampling.extra) == (
        0.0,
        {"presence_penalty": 0.1},
    )


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("draft", "stage"), [('{"n": 3}', "small"), ('{"n": "three"}', "large"), ("3", "large")])
async def test_a_draft_is_validated_before_any_of_it_is_passed_on(draft: str, stage: str, stream: bool) -> None:
    signal = Validated(MeanTokenProbability(), {"valid_json": ValidJson(visible=False)}, {"valid_json": 1.0})
    small = FakeBackend("small-model", draft, probability=0.9)
    large = '{"n": 4}'
    house = make_house(small, large, small_stage=chat_stage(signal=signal), accepts={"small": ["structured"]})
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    response = await house.post(stream=stream, response_format=form)
    text = text_of(events(response)) if stream else response.json()["choices"][0]["message"]["content"]
    assert text == (draft if stage == "small" else large)
    step = house.last.trace.steps[0]
    assert step.confidence is not None
    if stage == "large":
        assert (step.confidence.signal, step.decision) == ("valid_json", Decision.DEFER)
        assert step.confidence.reason.startswith("valid_json: ")


async def test_a_tool_call_of_an_accepting_small_model_is_validated() -> None:
    tool = {"type": "function", "function": {"name": "add", "parameters": {"required": ["a"]}}}
    calls = [{"id": "1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}]
    bad = [{"id": "1", "type": "function", "function": {"name": "add", "arguments": "{}"}}]
    [signal] = free_signals(["valid_tool_call"]).values()
    for written, stage in ((calls, "small"), (bad, "large")):
        draft = Completion(text="", model="small-model", finish_reason="tool_calls", raw={"tool_calls": written})
        validated = Validated(None, {"valid_tool_call": signal}, {"valid_tool_call": 1.0})
        house = make_house(
            FakeBackend("small-model", draft), small_stage=chat_stage(signal=validated), accepts={"small": ["tools"]}
        )
        response = await house.post(tools=[tool])
        assert response.headers["x-corea-stage"] == stage
        if stage == "small":
            assert response.json()["choices"][0]["message"]["tool_calls"] == calls


# ---- the command line


@pytest.mark.parametrize("pair", PAIRS)
def test_init_writes_a_chat_of_every_pair(pair: str, corea: Command) -> None:
    assert corea("init", "--pair", pair, "--mode", "chat", "--force").code == 0
    from corea.config import load_config

    small, large = build(load_config("corea.toml")).cascade.stages
    assert (small.mode, large.mode) == (Mode.CHAT, Mode.CHAT)
    assert [small.prompt and small.prompt.tags, large.prompt and large.prompt.tags] == [frozenset(), frozenset()]
    assert isinstance(small.signal, Validated)
    assert small.sampling.temperature is None
    assert list(small.signal.others) == ["not_refused"]
    assert build(parse_config_text(template(pairs()[pair], Mode.ANSWER))).cascade.stages[0].mode is Mode.ANSWER


def parse_config_text(text: str) -> Any:
    import tomllib

    return parse_config(tomllib.loads(text))


CHAT = """
[cascade]
mode = "chat"
[stages.small.backend]
kind = "openai"
model = "small"
base_url = "URL"
[stages.large.backend]
kind = "fake"
model = "large"
replies = "a long poem"
[prices.large]
input_usd_per_mtok = "1"
output_usd_per_mtok = "1"
[prices.small]
input_usd_per_mtok = "1"
output_usd_per_mtok = "1"
"""
BLIND = (
    "cascade corea: stage small defers everything: small gives no token probabilities, which its signal reads; "
    'the stage asks for them already: take a server that gives them, or signal = "self_check", or [[validators]]'
)


def test_a_start_says_that_a_chat_cannot_tell(corea: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Any] = []
    monkeypatch.setattr("corea.gateway.server.serve.serve", lambda load, say: served.append(load()) or False)
    Path("q.jsonl").write_text(json.dumps({"id": "1", "question": "Write a poem."}) + "\n")
    with running(Say("a poem")) as url:
        Path("corea.toml").write_text(CHAT.replace("URL", url))
        assert BLIND in corea("serve").err
        asked = corea("ask", "Write a poem.")
        assert (asked.code, asked.out.splitlines()[0]) == (0, "a long poem")
        assert BLIND in asked.err
        ran = corea("run", "q.jsonl", "--out", "a.jsonl")
        assert ran.code == 0
        assert BLIND in ran.err + ran.out
        checked = corea("check", "--json")
        assert checked.code == 1
        assert [c["where"] for c in checked.json["checks"] if c["check"] == "logprobs come"] == ["corea/small"]
        assert 'signal = "self_check"' in next(
            c["seen"] for c in checked.json["checks"] if c["check"] == "logprobs come"
        )
    assert len(served) == 1


VALIDATED = """
[cascade]
mode = "chat"
[[stages.small.validators]]
kind = "regex"
pattern = "[.]$"
[stages.small.backend]
kind = "fake"
model = "small"
[stages.small.backend.replies]
"Rain?" = "It rains."
"Snow?" = "It sno"
[stages.large.backend]
kind = "fake"
model = "large"
replies = "It snows."
[prices.large]
input_usd_per_mtok = "1"
output_usd_per_mtok = "1"
"""


def test_a_run_validates_and_names_what_failed(corea: Command) -> None:
    Path("corea.toml").write_text(VALIDATED)
    Path("q.jsonl").write_text('{"id": "1", "question": "Rain?"}\n{"id": "2", "question": "Snow?"}\n')
    ran = corea("run", "q.jsonl", "--out", "a.jsonl")
    assert ran.code == 0
    assert "no confidence stated: 1 draft of stage small (the validator regex failed)" in ran.out
    rain, snow = sorted(map(json.loads, Path("a.jsonl").read_text().splitlines()), key=lambda row: row["question_id"])
    assert (rain["text"], rain["stage"], rain["answer"]) == ("It rains.", "small", None)
    assert (snow["text"], snow["stage"]) == ("It snows.", "large")
    failed = snow["steps"][0]["confidence"]
    assert (failed["value"], failed["signal"], failed["reason"]) == (None, "regex", "regex: '[.]$' not found")
    again = corea("run", "q.jsonl", "--out", "a.jsonl", "--set", "stages.small.validators=[]")
    assert again.code == 2
    assert "stages.small.signal" in again.err
    checked = corea("check", "--json", "--set", 'stages.small.backend.replies="no full stop"')
    assert checked.code == 0
    assert {"regex: '[.]$' not found"} == {
        c["seen"].removeprefix("deferred, ") for c in checked.json["checks"] if c["check"] == "validates a draft"
    }


def test_a_start_says_nothing_where_it_can(corea: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corea.gateway.server.serve.serve", lambda load, say: False)
    with running(Say("a poem", logprob=-0.01)) as url:
        Path("corea.toml").write_text(CHAT.replace("URL", url))
        assert corea("serve").err == ""
        asked = corea("ask", "Write a poem.", "--json")
        assert (asked.code, asked.err, asked.json["text"], asked.json["stage"]) == (0, "", "a poem", "small")
        assert asked.json["status"] == Status.ANSWERED.value
        assert corea("check").code == 0
        assert corea("ask", "Write a poem.").out.splitlines()[1].startswith("  small: answered · confidence 0.99")
