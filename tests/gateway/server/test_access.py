"""The edge of a running server: who may ask without a key, the clients' forms of a request, the operator's policies."""

import gzip
import json
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.fakes.server import Say, running
from tests.gateway.conftest import events
from tests.gateway.server.test_serve import BODY, Running, servers, start, write

from corea.config import settings as read_settings
from corea.errors import ConfigError
from corea.gateway.ops.settings import GatewaySettings

assert servers  # the fixture
CHAT = "/v1/chat/completions"
OPENAI = 'kind = "openai"\nmodel = "large"\nbase_url = "{}"'
PAGE = "https://app.example"


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server without keys, with one listed origin."""
    folder = tmp_path_factory.mktemp("local")
    write(folder, gateway=f'security.origins = ["{PAGE}"]\nlimits.max_body_bytes = 2000')
    server = start(folder)
    yield server
    server.process.kill()
    server.process.wait()
    assert server.process.stderr
    server.process.stderr.close()


def ask(server: Running, path: str = CHAT, *, method: str = "POST", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = json.dumps(BODY) if method == "POST" else None
    return httpx.request(
        method, f"{server.url}{path}", content=body, headers={"content-type": "application/json", **named}, timeout=20
    )


def said(server: Running, data: bytes) -> bytes:
    """All that the server sends back until it closes the connection."""
    with socket.create_connection(("127.0.0.1", httpx.URL(server.url).port or 0), timeout=20) as client:
        client.sendall(data)
        received = b""
        while part := client.recv(65536):
            received += part
        return received


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "localhost:8000"}, 200),
        ({"host": "[::1]:8000"}, 200),
        ({"host": "rebound.example"}, 403),  # a name that was bound to 127.0.0.1 after its page had loaded
        ({"host": "127.0.0.1.example"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": PAGE}, 200),
        ({"content_type": "text/plain"}, 415),  # a page may send that without asking first
        ({"content_type": "application/x-www-form-urlencoded"}, 415),
        ({"content_type": "application/json; charset=utf-8"}, 200),
    ],
)
def test_without_keys_no_web_page_can_spend(local: Running, headers: dict[str, str], status: int) -> None:
    assert ask(local, **headers).status_code == status


def test_without_keys_no_foreign_host_reads_anything_else(local: Running) -> None:
    for path in ("/v1/models", "/metrics", "/openapi.json"):
        assert ask(local, path, method="GET", host="rebound.example").json()["error"]["code"] == "local_only"


def test_this_servers_own_origin_is_not_foreign(local: Running) -> None:
    assert ask(local, origin=local.url).status_code == 200


def test_a_listed_origin_may_ask_and_read_and_no_other(local: Running) -> None:
    wanted = {"access_control_request_method": "POST", "access_control_request_headers": "authorization,content-type"}
    before = ask(local, method="OPTIONS", origin=PAGE, **wanted)
    assert (before.status_code, before.headers["access-control-allow-origin"]) == (204, PAGE)
    assert before.headers["access-control-allow-headers"] == "authorization,content-type"
    answer = ask(local, origin=PAGE)
    assert (answer.headers["access-control-allow-origin"], answer.headers["vary"]) == (PAGE, "origin")
    assert "x-corea-stage" in answer.headers["access-control-expose-headers"]
    other = ask(local, method="OPTIONS", origin="https://evil.example", **wanted)
    assert (other.status_code, "access-control-allow-origin" in other.headers) == (403, False)


@pytest.mark.parametrize(
    "path",
    [
        "/chat/completions",
        f"{CHAT}/",
        f"/{CHAT}",
        "/openai/v1/chat/completions",
        "/openai/deployments/corea/chat/completions?api-version=2024-10-21",
    ],
)
def test_every_clients_path_is_answered(local: Running, path: str) -> None:
    assert ask(local, path).json()["choices"][0]["message"]["content"] == "19"


def test_azures_deployment_is_the_model(local: Running) -> None:
    path = "/openai/deployments/corea%2Flarge/chat/completions"
    answer = ask(local, path).json()
    assert (answer["model"], answer["corea"]["stage"]) == ("corea/large", "large")


def test_models_have_their_paths_too(local: Running) -> None:
    for path in ("/models", "/v1/models/", "/openai/v1/models"):
        assert ask(local, path, method="GET").json()["data"][0]["id"] == "corea"
    assert ask(local, "/models/corea", method="GET").json()["id"] == "corea"
    assert ask(local, "/v1/nothing", method="GET").status_code == 404


@pytest.mark.parametrize("split", [0, 20, 200])
def test_javas_upgrade_to_http_2_keeps_the_body(local: Running, split: int) -> None:
    """Java's HttpClient asks for h2c in every request."""
    body = json.dumps(BODY).encode()
    head = (
        f"POST {CHAT} HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nContent-Length: {len(body)}\r\n"
        "Host: 127.0.0.1\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nUpgrade: h2c\r\n"
        "Content-Type: application/json\r\n\r\n"
    ).encode()
    last = head.replace(b"Upgrade, HTTP2-Settings", b"close").replace(b"Upgrade: h2c\r\n", b"")
    data, then = head + body, head + body + last + body
    with socket.create_connection(("127.0.0.1", httpx.URL(local.url).port or 0), timeout=20) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        received = b""
        for sent in (data, then):
            for part in (sent[:split], sent[split:]):
                client.sendall(part)
            received += client.recv(65536)
        while part := client.recv(65536):
            received += part
    assert received.count(b"HTTP/1.1 200 OK") == received.count(b'"content":"19"') == 3


def test_a_compressed_body_is_read_and_never_grows_beyond_the_limit(local: Running) -> None:
    def post(data: bytes, encoding: str) -> httpx.Response:
        headers = {"content-type": "application/json", "content-encoding": encoding}
        return httpx.post(f"{local.url}{CHAT}", content=data, headers=headers, timeout=20)

    body = json.dumps(BODY).encode()
    assert post(gzip.compress(body), "gzip").json()["choices"][0]["message"]["content"] == "19"
    bomb = gzip.compress(b" " * 1_000_000)
    assert len(bomb) < 2000
    found = [post(bomb, "gzip"), post(gzip.compress(body)[:-4], "gzip"), post(body, "gzip"), post(body, "br")]
    codes = [(answer.status_code, answer.json()["error"]["code"]) for answer in found]
    assert codes == [
        (413, "body_too_large"), (400, "invalid_encoding"), (400, "invalid_encoding"), (415, "unsupported_encoding"),
    ]  # fmt: skip


def test_head_has_the_headers_of_get_and_no_body(local: Running) -> None:
    request = b"HEAD /v1/models HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    head, end, body = said(local, request).partition(b"\r\n\r\n")
    assert (head.startswith(b"HTTP/1.1 200 OK"), end, body) == (True, b"\r\n\r\n", b"")
    length = ask(local, "/v1/models", method="GET").headers["content-length"]
    assert f"content-length: {length}".encode() in head


def test_every_response_has_a_request_id(local: Running) -> None:
    answer = ask(local)
    assert answer.headers["x-request-id"] == answer.json()["corea"]["trace_id"]
    ids = {ask(local, "/v1/models", method="GET").headers["x-request-id"] for _ in range(2)}
    assert len(ids) == 2
    assert ask(local, content_type="text/plain").headers["x-request-id"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
def test_the_file_of_keys_and_texts_is_its_owners_alone(tmp_path: Path, servers: list[Running]) -> None:
    write(tmp_path, gateway="storage.store_text = true")
    (tmp_path / "corea.db").touch(0o644)  # as an older server left it
    server = start(tmp_path)
    servers.append(server)
    server.corea("keys", "create", "alice")
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("corea.db*") if "lock" not in path.name
    }
    assert modes == dict.fromkeys(("corea.db", "corea.db-wal", "corea.db-shm"), 0o600)


POLICIES = """
passthrough = {gpt = "large"}
[gateway.policies.default]
max_tokens = 50
[gateway.policies.trial]
direct = false
allow = ["user", "tools"]
force = {store = false}
max_tokens = 20
"""


def test_the_operators_policy_holds_on_every_request(tmp_path: Path, servers: list[Running]) -> None:
    seen: list[dict[str, Any]] = []

    def answer(request: Any) -> Say:
        seen.append(request.body)
        return Say("nineteen")

    with running(answer) as upstream:
        write(
            tmp_path,
            large=f'kind = "openai"\nmodel = "large"\nbase_url = "{upstream}"',
            gateway=POLICIES,
        )
        server = start(tmp_path)
        servers.append(server)
        keys = {
            name: json.loads(server.corea("keys", "create", name, "--json", *more))["key"]
            for name, more in {"bob": (), "alice": ("--policy", "trial")}.items()
        }

        def post(name: str, **fields: Any) -> httpx.Response:
            headers = {"authorization": f"Bearer {keys[name]}"}
            return server.post({**BODY, "model": "gpt", **fields}, headers=headers)

        dear = {"service_tier": "priority", "provider": {"sort": "price"}, "store": True}
        answered = post("bob", **dear, max_tokens=1000, top_k=3)
        assert (answered.status_code, answered.headers["x-corea-dropped"]) == (200, "provider, service_tier, store")
        assert (seen[-1].keys() & dear.keys(), seen[-1]["max_tokens"], seen[-1]["top_k"]) == (set(), 50, 3)
        assert post("bob").status_code == 200
        assert seen[-1]["max_tokens"] == 50  # also where the client sets none
        assert post("bob", max_completion_tokens=7).status_code == 200
        assert 7 in (seen[-1].get("max_tokens"), seen[-1].get("max_completion_tokens"))

        assert post("alice", user="u", max_tokens=100).status_code == 200
        assert (seen[-1]["store"], seen[-1]["max_tokens"]) == (False, 20)
        assert post("alice", top_k=3).json()["error"]["param"] == "top_k"
        refused = [post("alice", model="corea/1"), post("alice", model="corea", corea={"stage": "large"})]
        assert [answer.status_code for answer in refused] == [403, 403]
        assert post("bob", model="corea/1").status_code == 200
        listed = [
            [
                m["id"]
                for m in httpx.get(f"{server.url}/v1/models", headers={"authorization": f"Bearer {k}"}).json()["data"]
            ]
            for k in (keys["bob"], keys["alice"])
        ]
        assert listed == [["corea", "corea/0", "corea/1", "gpt"], ["corea", "gpt"]]
        streamed = post("bob", model="corea/1", stream=True, service_tier="priority")
        assert (events(streamed)[-1], "service_tier" in seen[-1]) == ("[DONE]", False)


def test_a_request_without_a_key_passes_as_it_came(tmp_path: Path, servers: list[Running]) -> None:
    seen: list[dict[str, Any]] = []

    def answer(request: Any) -> Say:
        seen.append(request.body)
        return Say("nineteen")

    with running(answer) as upstream:
        write(tmp_path, large=OPENAI.format(upstream))
        server = start(tmp_path)
        servers.append(server)
        assert server.post({**BODY, "model": "corea/1", "service_tier": "flex"}).status_code == 200
    assert seen[-1]["service_tier"] == "flex"


def test_no_stage_is_asked_directly_where_the_operator_allows_none(tmp_path: Path, servers: list[Running]) -> None:
    write(tmp_path, gateway='passthrough = {gpt = "large"}\nsecurity.allow = []')
    server = start(tmp_path)
    servers.append(server)
    found = [
        server.post({**BODY, "model": model}).status_code for model in ("corea/0", "corea/small", "corea/1", "gpt")
    ]
    assert found == [404, 404, 404, 200]
    assert [model["id"] for model in server.get("/v1/models").json()["data"]] == ["corea", "gpt"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"policies": {"default": {"drop": ["messages"]}}},
        {"policies": {"default": {"max_token": 3}}},
        {"policies": {"default": {"force": {"max_tokens": 3}}}},
        {"policies": {"default": {"max_tokens": 0}}},
        {"security": {"origins": ["app.example/"]}},
        {"cache": {"max_bytes": 0}},
    ],
)
def test_a_policy_that_cannot_be_is_named(wrong: dict[str, Any]) -> None:
    ((table, inner),) = wrong.items()
    with pytest.raises(ConfigError, match=rf"gateway\.{table}\.{next(iter(inner))}"):
        read_settings("gateway", GatewaySettings, wrong)
