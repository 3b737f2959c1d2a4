"""Settings are read whole, and whatever is wrong with them is said by its key."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from corea.build import build
from corea.cascade import OnError, OnLastDown
from corea.config import load_config, parse_config
from corea.errors import ConfigError


def tree(**changes: Any) -> dict[str, Any]:
    fake = {"kind": "fake", "model": "m", "replies": "<answer>1</answer><confidence>0.9</confidence>"}
    stages = {"small": {"backend": dict(fake), "threshold": 0.7}, "large": {"backend": dict(fake)}}
    return {"stages": stages, "prices": {"m": {"input_usd_per_mtok": "1", "output_usd_per_mtok": "2"}}, **changes}


def test_without_a_cascade_table_all_stages_form_one_in_their_order() -> None:
    config = parse_config(tree())
    assert config.cascade()[0] == "corea"
    assert config.cascade()[1].stages == ("small", "large")


def test_several_cascades_share_stages() -> None:
    config = parse_config(tree(cascades={"thrifty": {"stages": ["small", "large"]}, "plain": {"stages": ["large"]}}))
    assert [len(build(config, name).cascade.stages) for name in ("thrifty", "plain")] == [2, 1]
    with pytest.raises(ConfigError, match=r"got 'thirfty'.*Did you mean 'thrifty'"):
        config.cascade("thirfty")


def test_every_setting_of_a_stage_arrives() -> None:
    made = tree()
    made["cascade"] = {"name": "mine", "on_last_down": "best"}
    made["stages"]["small"] |= {
        "prompt": "confidence_first",
        "signal": {"kind": "mean_token_probability"},
        "pre_policy": {"kind": "skip-long", "characters": 10},
        "on_error": "fail",
        "pass_draft": True,
        "sampling": {"max_tokens": 9, "temperature": 0, "stop": ["x"], "extra": {"top_k": 4}},
    }
    del made["stages"]["small"]["pre_policy"]["characters"]
    made["stages"]["small"].pop("pre_policy")
    built = build(parse_config(made))
    stage = built.cascade.stages[0]
    assert (built.name, built.cascade.on_last_down, stage.on_error) == ("mine", OnLastDown.BEST, OnError.FAIL)
    assert stage.prompt is not None
    assert stage.prompt.name == "confidence_first"
    assert (stage.sampling.max_tokens, stage.sampling.temperature, stage.sampling.stop) == (9, 0.0, ("x",))
    assert (stage.sampling.extra, stage.sampling.logprobs, stage.pass_draft) == ({"top_k": 4}, True, True)
    assert stage.price is not None
    assert stage.price.output_usd_per_mtok == Decimal(2)


def test_overrides_are_laid_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "corea.toml"
    path.write_text('[stages.only]\nprompt = "plain"\n[stages.only.backend]\nkind = "fake"\nreplies = "1"\n')
    changed = load_config(path, ["stages.only.sampling.max_tokens=7", "stages.only.price=some name"])
    assert (changed.stages["only"].sampling.max_tokens, changed.stages["only"].price) == (7, "some name")


def test_a_prompt_file_is_found_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("=== system ===\nBe brief.\n=== user ===\nQ: {question}\n")
    made = tree()
    made["stages"]["small"]["prompt"] = "mine.txt"
    prompt = build(parse_config(made, base=tmp_path)).cascade.stages[0].prompt
    assert prompt is not None
    assert (prompt.system, prompt.user) == ("Be brief.", "Q: {question}")


def test_a_plug_elsewhere_needs_no_registration() -> None:
    made = tree()
    made["stages"]["small"]["signal"] = {"kind": "corea.signals.verbalized:Verbalized"}
    assert type(build(parse_config(made)).cascade.stages[0].signal).__name__ == "Verbalized"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("stages.small.backnd", {}, r"got 'backnd'.*Did you mean 'backend'"),
        ("stages.small.treshold", 0.8, r"got 'treshold'.*Did you mean 'threshold'"),
        ("stages.small.policy", {"kind": "threshold", "tau": 0.5}, "got threshold and policy"),
        ("stages.small.signal", {"name": "verbalized"}, "expected a table with kind"),
        ("stages.small.signal", {"kind": "verbalized", "bins": 3}, "got 'bins'|bins"),
        ("stages.small.signal", "mypackage.nowhere:Signal", "needs the module 'mypackage'"),
        ("stages.small.signal", "corea.signals.verbalized:Nothing", "has no 'Nothing'"),
        ("stages.small.on_error", "ignore", "on_error: got 'ignore'"),
        ("stages.small.prompt", "no-such-prompt", "cannot read 'no-such-prompt'; expected one of answer_only"),
        ("stages.small.sampling", {"temprature": 0}, "got 'temprature'"),
        ("stages.small.backend", {"kind": "fake", "replys": "x"}, "replys"),
        ("stages.small.backend", {"model": "x"}, "with kind"),
        ("stages", {}, "got no .stages.NAME."),
        ("run.concurrency", "many", "run.concurrency: got 'many'"),
        ("colour", 3, "got 'colour'"),
        ("prices.m.input_usd_per_mtok", "cheap", "cheap"),
    ],
)
def test_what_is_wrong_is_named(path: str, value: Any, said: str) -> None:
    made = tree()
    *parents, last = path.split(".")
    here = made
    for parent in parents:
        here = here.setdefault(parent, {})
    here[last] = value
    with pytest.raises(ConfigError, match=said):
        build(parse_config(made))


def test_a_file_that_is_no_toml_is_said_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "corea.toml").write_text("[stages\n")
    with pytest.raises(ConfigError, match=r"corea.toml: not TOML \(.*line 1"):
        load_config(tmp_path / "corea.toml")
