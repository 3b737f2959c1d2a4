"""`usage` of a response and its breakdown agree, and a cost limit asks what it can pay for."""

import pytest
from tests.gateway.conftest import CHEAP, SURE

from corea.backends.fake import FakeBackend
from corea.cascade import Cascade, Stage
from corea.gateway.chat.reply import usage_of
from corea.gateway.chat.request import parse_chat
from corea.gateway.chat.routing import RoutingTable
from corea.gateway.errors import GatewayError
from corea.gateway.ops.settings import GatewaySettings
from corea.policies.threshold import Threshold
from corea.signals.verbalized import Verbalized
from corea.types import Completion, Confidence, Status, Step, Trace, Usage


def completion(prompt: int, written: int, wasted: Usage | None = None) -> Completion:
    return Completion(text="", model="m", usage=Usage(prompt_tokens=prompt, completion_tokens=written), wasted=wasted)


def test_the_breakdown_of_usage_adds_up_with_the_signals_calls_and_billed_retries() -> None:
    checked = Confidence(value=0.5, signal="self_check", calls=(completion(100, 1),))
    steps = (
        Step(stage="small", completion=completion(10, 5, Usage(prompt_tokens=3)), confidence=checked),
        Step(stage="large", completion=completion(20, 7)),
        Step(stage="other", skipped="not worth asking"),
    )
    usage = usage_of(Trace(question_id="q", steps=steps, status=Status.ANSWERED))
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (133, 13, 146)
    found = [(stage.stage, stage.prompt_tokens, stage.completion_tokens) for stage in usage.corea_stages]
    assert found == [("small", 113, 6), ("large", 20, 7)]


def test_a_cost_limit_asks_the_priced_stages_before_one_without_a_price() -> None:
    def stage(name: str, **more: object) -> Stage:
        return Stage(name=name, backend=FakeBackend(name, SURE), **more)  # type: ignore[arg-type]

    small = stage("small", signal=Verbalized(), policy=Threshold(0.8), price=CHEAP)
    table = RoutingTable({"corea": Cascade(stages=(small, stage("large")), name="corea")}, GatewaySettings())
    body = b'{"model": "%s", "messages": [{"role": "user", "content": "hi"}], "corea": {"max_cost_usd": "0.05"}}'
    assert [each.name for each in table.plan(parse_chat(body % b"corea")).cascade.stages] == ["small"]
    with pytest.raises(GatewayError, match="stage large has no price"):
        table.plan(parse_chat(body % b"corea/1"))
