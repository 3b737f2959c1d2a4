"""schemathesis holds the gateway to its own OpenAPI document: no 5xx, no response but those that it describes."""

from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.fuzzing import examples

from corea.backends.fake import FakeBackend
from corea.cascade import Cascade, Stage
from corea.gateway.billing.auth import OpenAccounts
from corea.gateway.chat.routing import RoutingTable
from corea.gateway.chat.service import ChatService
from corea.gateway.ops.openapi import openapi_document
from corea.gateway.ops.settings import GatewaySettings
from corea.gateway.server.app import GatewayApp
from corea.policies.threshold import Threshold
from corea.signals.verbalized import Verbalized

SURE = "<think>12 + 7 = 19</think><answer>19</answer><confidence>0.9</confidence>"


def make() -> Any:
    small = FakeBackend("small-model", lambda question: SURE if len(question.text) % 2 else SURE.replace("0.9", "0.1"))
    stages = (
        Stage(name="small", backend=small, signal=Verbalized(), policy=Threshold(0.8)),
        Stage(name="large", backend=FakeBackend("large-model", "It is nineteen.")),
    )
    configured = GatewaySettings()
    gateway = GatewayApp(
        ChatService(
            RoutingTable({"corea": Cascade(stages=stages, name="corea")}, configured), configured, OpenAccounts()
        )
    )
    gateway.ready = True
    return gateway


schema = schemathesis.openapi.from_asgi("/openapi.json", make())
TEXTS: dict[str, dict[str, Any]] = {
    "/v1/messages": {"messages": [{"role": "user", "content": "12 + 7?"}], "max_tokens": 500},
    "/v1/messages/count_tokens": {"messages": [{"role": "user", "content": "12 + 7?"}]},
    "/v1/responses": {"input": "12 + 7?"},
    "/v1/completions": {"prompt": "12 + 7?"},
    "/v1/embeddings": {"input": "12 + 7?"},
}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@schema.parametrize()
@examples(40, phases=(Phase.explicit, Phase.generate), suppress_health_check=list(HealthCheck))
def test_the_gateway_keeps_to_its_document(case: Any) -> None:
    """Two cases in three name a model that there is, and have a text: one drawn at random would get no further."""
    body = case.body
    if isinstance(body, dict) and len(str(body)) % 3:
        body |= {name: value for name, value in TEXTS.get(case.path, {}).items() if name not in body}
    if isinstance(body, dict) and isinstance(body.get("model"), str) and len(body["model"]) % 3:
        body["model"] = "corea"
    case.call_and_validate(checks=CHECKS)


async def test_every_path_of_the_document_is_served() -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(make()), base_url="http://gateway") as client:
        for path, methods in openapi_document()["paths"].items():
            for method in methods:
                response = await client.request(method, path.replace("{model}", "corea"))
                assert response.status_code in (200, 400), (method, path)
