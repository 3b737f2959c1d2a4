"""Settings that decide answers are kept and compared; what only reaches, pays and waits for a model is not."""

import json
import tomllib
from dataclasses import replace
from typing import Any

import pytest

from corea.build import build
from corea.config import parse_config
from corea.run.answer_settings import answer_settings, differences, in_one_line

FILE = """
[run]
concurrency = 8
budget_usd = "1"
[stages.small]
signal = "expected"
[stages.small.backend]
kind = "openai"
model = "gpt-4.1-nano"
base_url = "https://api.openai.com/v1"
api_key_env = "OPENAI_API_KEY"
[stages.small.sampling]
max_tokens = 100
[stages.large.backend]
kind = "openai"
model = "gpt-4.1"
"""


def seen(*overrides: str) -> dict[str, Any]:
    return answer_settings(build(parse_config(tomllib.loads(FILE), overrides), need_prices=False).cascade)


@pytest.mark.parametrize(
    "override",
    [
        "run.concurrency=2",
        'run.budget_usd="9"',
        "stages.small.backend.max_retries=0",
        "stages.small.backend.backoff_cap_seconds=1.0",
        "stages.small.backend.total_timeout_seconds=9.0",
        "stages.small.backend.first_byte_timeout_seconds=9.0",
        "stages.small.backend.breaker_failures=1",
        "stages.small.backend.wait_when_open=true",
        "stages.small.backend.max_connections=3",
        "stages.small.backend.api_key_env=ANOTHER",
        "stages.small.backend.organization=ours",
        "stages.small.backend.stream=true",
        "stages.large.price=gpt-4o",
        'prices.some-model={input_usd_per_mtok="5", output_usd_per_mtok="5"}',
        "gateway.port=9",
        "stages.small.prompt=default",  # the default, written out
        "stages.large.backend.base_url=https://api.openai.com/v1",
        "stages.small.backend.base_url=https://api.openai.com/v1/",
        "stages.large.backend.base_url=https://api.openai.com/v1/",
        "stages.small.policy={kind='threshold', tau=0.8}",
        "cascade.name=another",
    ],
)
def test_what_does_not_change_answers_may_change_between_two_starts(override: str) -> None:
    assert differences(seen(), seen(override)) == []


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("stages.small.sampling.temperature=0.7", ["stages.small.sampling.temperature: not set -> 0.7"]),
        ("stages.small.sampling.max_tokens=200", ["stages.small.sampling.max_tokens: 100 -> 200"]),
        ("stages.small.threshold=0.5", ["stages.small.policy.tau: 0.8 -> 0.5"]),
        ("stages.large.backend.model=gpt-4o", ['stages.large.backend.model: "gpt-4.1" -> "gpt-4o"']),
        (
            "stages.large.backend.base_url=http://localhost:1/v1",
            ['stages.large.backend.base_url: "https://api.openai.com/v1" -> "http://localhost:1/v1"'],
        ),
        ("stages.small.on_error=fail", ['stages.small.on_error: "next" -> "fail"']),
        ("stages.small.pass_draft=true", ["stages.small.pass_draft: false -> true"]),
        ("cascade.stages=['large']", ['cascade.stages: ["small", "large"] -> ["large"]']),
        ("cascade.on_last_down=best", ['cascade.on_last_down: "fail" -> "best"']),
        (
            "stages.small.pre_policy={kind='skip-long', max_chars=9}",
            ['stages.small.pre_policy.kind: not set -> "skip-long"', "stages.small.pre_policy.max_chars: not set -> 9"],
        ),
        ("stages.large.sampling.extra={top_k=4}", ["stages.large.sampling.extra.top_k: not set -> 4"]),
    ],
)  # fmt: skip
def test_what_changes_answers_is_named_with_both_values(override: str, said: list[str]) -> None:
    assert differences(seen(), seen(override))[: len(said)] == said


def test_a_signal_is_named_by_its_kind_and_options() -> None:
    found = differences(seen(), seen("stages.small.signal={kind='self_check', backend='large'}"))
    assert 'stages.small.signal.kind: "expected" -> "self_check"' in found
    assert 'stages.small.signal.backend.stage: "small" -> "large"' in found


def test_of_a_long_prompt_the_part_that_differs_is_shown() -> None:
    (said,) = differences(seen(), seen("stages.large.prompt=answer_only"))[:1]
    key, _, values = said.partition(": ")
    assert key == "stages.large.prompt.system"
    assert len(values) < 160
    old, new = values.split(" -> ")
    assert old != new
    assert "\n" not in said


def test_secrets_are_neither_kept_nor_shown() -> None:
    before = seen("stages.small.backend.headers.X-Team=red", "stages.small.sampling.extra.api_key=hush-hush-1")
    now = seen("stages.small.backend.headers.X-Team=blue", "stages.small.sampling.extra.api_key=hush-hush-2")
    for word in ("red", "hush"):
        assert word not in json.dumps(before)
    assert differences(before, now) == [
        "stages.small.backend.headers.X-Team: changed (a secret, not shown)",
        "stages.small.sampling.extra.api_key: changed (a secret, not shown)",
    ]
    assert "sk-1234567890" not in json.dumps(seen("stages.small.sampling.extra.note=sk-1234567890"))


def test_a_backend_without_settings_is_known_by_what_its_file_declares() -> None:
    tree = {"stages": {"only": {"backend": {"kind": "fake", "replies": "a"}}}}
    made = build(parse_config(tree), need_prices=False)
    one, other = (
        answer_settings(made.cascade, declared={"only": {"kind": "fake", "replies": reply, "latency_seconds": 1}})
        for reply in ("a", "b")
    )
    assert differences(one, other) == ['stages.only.backend.replies: "a" -> "b"']


def test_a_calibration_is_known_by_its_hash() -> None:
    cascade = build(parse_config(tomllib.loads(FILE))).cascade
    now = answer_settings(cascade, calibration="sha256:1")
    assert differences(answer_settings(cascade), now) == ['cascade.calibration: not set -> "sha256:1"']
    assert differences(answer_settings(replace(cascade, flags=("x",)), calibration="sha256:1"), now) == []


def test_many_differences_are_counted() -> None:
    assert in_one_line(["a: 1 -> 2", "b: 1 -> 2"]) == "a: 1 -> 2; b: 1 -> 2"
    assert in_one_line([f"{n}" for n in range(9)]) == "0; 1; 2; and 6 more"


def test_a_slash_at_the_end_of_an_address_changes_nothing_in_a_signal_either() -> None:
    def asking(url: str) -> dict[str, Any]:
        backend = f"{{kind='openai', model='m', base_url='{url}'}}"
        return seen(f"stages.small.signal={{kind='self_check', backend={backend}}}")

    assert differences(asking("http://localhost:1/v1"), asking("http://localhost:1/v1/")) == []
    assert differences(asking("http://localhost:1/v1"), asking("http://localhost:1/v2/")) == [
        'stages.small.signal.backend.base_url: "http://localhost:1/v1" -> "http://localhost:1/v2"'
    ]
