"""The real server, in a process of its own on loopback: start, answer, limits, reload, keys, and a good end."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.fakes.server import Hang, Say, running
from tests.gateway.conftest import events

from corea.config import settings as read_settings
from corea.errors import ConfigError
from corea.gateway.ops.settings import GatewaySettings
from corea.gateway.server.access import check_host

CONFIG = """
[stages.small]
threshold = 0.8
[stages.small.backend]
kind = "fake"
model = "small"
replies = "<think>12 + 7 = 19</think><answer>19</answer><confidence>0.9</confidence>"
[stages.large]
prompt = "answer_only"
[stages.large.backend]
{large}
[prices.small]
input_usd_per_mtok = "1"
output_usd_per_mtok = "1"
[prices.large]
input_usd_per_mtok = "10"
output_usd_per_mtok = "10"
[gateway]
{gateway}
"""
FAKE = 'kind = "fake"\nmodel = "large"\nreplies = "<answer>nineteen</answer>"'
LOCAL = "host: localhost\r\ncontent-type: application/json\r\n"
BODY = {"model": "corea", "messages": [{"role": "user", "content": "12 + 7?"}]}


@dataclass
class Running:
    """A server process."""

    folder: Path
    process: "subprocess.Popen[str]"
    lines: list[str] = field(default_factory=list)
    url: str = ""

    def post(self, body: Any = BODY, **named: Any) -> httpx.Response:
        return httpx.post(f"{self.url}/v1/chat/completions", json=body, timeout=20, **named)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=20)

    def wait_for(self, text: str) -> None:
        """Waits until the server has said so."""
        deadline = time.monotonic() + 20
        while not any(text in line for line in self.lines):
            assert time.monotonic() < deadline, self.lines
            time.sleep(0.01)

    def end(self, sig: int = signal.SIGTERM) -> int:
        self.process.send_signal(sig)
        return self.process.wait(20)

    def corea(self, *words: str) -> str:
        command = [sys.executable, "-m", "corea.cli.main", *words]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=True).stdout


def write(folder: Path, *, large: str = FAKE, gateway: str = "") -> None:
    (folder / "corea.toml").write_text(CONFIG.format(large=large, gateway=gateway))


def start(folder: Path, *words: str) -> Running:
    command = [sys.executable, "-m", "corea.cli.main", "serve", "--port", "0", *words]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    made = Running(folder, process)

    def read() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            made.lines.append(line.rstrip())

    threading.Thread(target=read, daemon=True).start()
    made.wait_for("corea serves")
    made.url = next(line for line in made.lines if "corea serves" in line).split(" at ")[1].removesuffix("/v1")
    deadline = time.monotonic() + 20
    while True:
        try:
            assert made.get("/readyz").status_code == 200
        except httpx.TransportError:
            assert time.monotonic() < deadline
        else:
            return made


@pytest.fixture
def servers() -> Iterator[list[Running]]:
    made: list[Running] = []
    yield made
    for server in made:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()
        if server.process.stderr:
            server.process.stderr.close()


def test_start_answer_reload_keys_and_end(tmp_path: Path, servers: list[Running]) -> None:
    write(tmp_path)
    server = start(tmp_path)
    servers.append(server)
    assert any("loopback only" in line for line in server.lines)
    assert server.post().json()["choices"][0]["message"]["content"] == "19"

    write(tmp_path, large=FAKE.replace("nineteen", "XIX"), gateway='passthrough = {big = "large"}')
    server.process.send_signal(signal.SIGHUP)
    server.wait_for("was reloaded")
    assert server.post({**BODY, "model": "big"}).json()["choices"][0]["message"]["content"] == "<answer>XIX</answer>"
    (tmp_path / "corea.toml").write_text("[stages.small]\nbackend = 3")
    server.process.send_signal(signal.SIGHUP)
    server.wait_for("was not reloaded")
    assert server.post({**BODY, "model": "big"}).status_code == 200

    write(tmp_path)
    made = json.loads(server.corea("keys", "create", "alice", "--json"))
    bearer = {"authorization": f"Bearer {made['key']}"}
    assert [server.post().status_code, server.post(headers=bearer).status_code] == [401, 200]
    server.corea("keys", "revoke", made["id"])
    assert server.post(headers=bearer).status_code == 401

    metrics = server.get("/metrics").text
    assert 'corea_requests_total{cascade="corea",stage="small",status="200"} 2.0' in metrics
    assert 'corea_requests_refused_total{code="invalid_api_key",status="401"} 1.0' in metrics
    assert server.end() == 0
    rows = sqlite3.connect(tmp_path / "corea.db").execute("SELECT stage, key_id FROM decisions ORDER BY at").fetchall()
    assert rows == [("small", None), ("large", None), ("large", None), ("small", made["id"])]


def test_requests_under_way_finish_after_sigterm(tmp_path: Path, servers: list[Running]) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def answer(request: Any) -> Say:
        asked.set()
        assert go_on.wait(20)
        return Say("nineteen")

    with running(answer) as upstream:
        backend = f'kind = "openai"\nmodel = "large"\nbase_url = "{upstream}"'
        write(tmp_path, large=backend, gateway="timeouts.notice_seconds = 60")
        server = start(tmp_path)
        servers.append(server)
        answers: list[httpx.Response] = []
        thread = threading.Thread(target=lambda: answers.append(server.post({**BODY, "model": "corea/1"})))
        thread.start()
        assert asked.wait(20)
        server.process.send_signal(signal.SIGTERM)
        while server.get("/readyz").status_code != 503:
            time.sleep(0.01)
        assert server.post().status_code == 200  # during the notice new requests are still answered
        server.process.send_signal(signal.SIGTERM)  # the second one waits for no notice
        go_on.set()
        thread.join(20)
    assert answers[0].json()["choices"][0]["message"]["content"] == "nineteen"
    assert server.process.wait(20) == 0


def test_what_the_drain_limit_cuts_off_is_told_and_stored(tmp_path: Path, servers: list[Running]) -> None:
    begun = [threading.Event(), threading.Event()]

    def answer(request: Any) -> Hang | Say:
        begun[request.streamed].set()
        return Say("word " * 1000, between_seconds=0.05) if request.streamed else Hang()

    with running(answer) as upstream:
        write(
            tmp_path,
            large=f'kind = "openai"\nmodel = "large"\nbase_url = "{upstream}"',
            gateway="timeouts.drain_seconds = 1",
        )
        server = start(tmp_path)
        servers.append(server)
        answers: dict[bool, httpx.Response] = {}

        def ask(stream: bool) -> None:
            answers[stream] = server.post({**BODY, "model": "corea/1", "stream": stream})

        threads = [threading.Thread(target=ask, args=(stream,)) for stream in (False, True)]
        for thread in threads:
            thread.start()
        assert all(event.wait(20) for event in begun)
        assert server.end() == 0
        for thread in threads:
            thread.join(20)
    whole, streamed = answers[False], events(answers[True])
    assert (whole.status_code, whole.json()["error"]["code"]) == (503, "stopping")
    assert (streamed[-2]["error"]["code"], streamed[-1]) == ("stopping", "[DONE]")
    rows = sqlite3.connect(tmp_path / "corea.db").execute("SELECT error, cost_usd > 0 FROM decisions").fetchall()
    assert rows == [("stopping", 1)] * 2
    assert not any("Traceback" in line for line in server.lines)


def test_limits_of_the_wire(tmp_path: Path, servers: list[Running]) -> None:
    timeouts, limits = "{read_seconds = 0.2, idle_seconds = 60}", "{max_head_bytes = 2000, max_connections = 3}"
    write(tmp_path, gateway=f"timeouts = {timeouts}\nlimits = {limits}")
    server = start(tmp_path)
    servers.append(server)
    address = ("127.0.0.1", httpx.URL(server.url).port or 0)

    def said(data: bytes) -> bytes:
        with socket.create_connection(address, timeout=20) as client:
            client.sendall(data)
            received = b""
            try:
                while part := client.recv(65536):
                    received += part
            except ConnectionResetError:
                pass
            return received

    long = said(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nlong: " + b"a" * 3000 + b"\r\n\r\n")
    assert long.startswith(b"HTTP/1.1 431")
    assert b"head_too_large" in long
    assert said(b"GET /" + b"a" * 3000).startswith(b"HTTP/1.1 431")
    assert said(b"GET /healthz HTTP/1.1\r\nhost").startswith(b"HTTP/1.1 408")
    assert said(b"") == b""  # a client that says nothing is shown out
    assert b'"code":"invalid_http"' in said(b"\x00\x01\x02\r\n\r\n")
    body = said(f"POST /v1/chat/completions HTTP/1.1\r\n{LOCAL}content-length: 10\r\n\r\n".encode() + b"{")
    assert body.startswith(b"HTTP/1.1 408")
    held = [socket.create_connection(address, timeout=20) for _ in range(3)]
    assert said(b"") == b""
    for client in held:
        client.close()
    assert server.get("/healthz").status_code == 200


def test_an_idle_connection_stays_open_longer_than_a_request_may_take_to_arrive(
    tmp_path: Path, servers: list[Running]
) -> None:
    write(tmp_path, gateway="timeouts = {read_seconds = 0.2, idle_seconds = 60}\nlimits = {max_head_bytes = 2000}")
    server = start(tmp_path)
    servers.append(server)
    body = json.dumps({**BODY, "user": "x" * 5000}).encode()  # longer than a head may be
    head = f"POST /v1/chat/completions HTTP/1.1\r\n{LOCAL}content-length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", httpx.URL(server.url).port or 0), timeout=20) as client:
        for data, count in ((head + body, 1), (head + body + head + body, 2)):
            client.sendall(data)
            received = b""
            while received.count(b'"object":"chat.completion"') < count:
                part = client.recv(65536)
                assert part, received
                received += part
            time.sleep(0.5)


def test_each_way_of_http_gets_a_whole_answer(tmp_path: Path, servers: list[Running]) -> None:
    write(tmp_path)
    server = start(tmp_path)
    servers.append(server)
    body = json.dumps(BODY).encode()

    def asked(version: str, more: str = "") -> bytes:
        head = f"POST /v1/chat/completions HTTP/{version}\r\n{LOCAL}content-length: {len(body)}\r\n{more}\r\n"
        return head.encode() + body

    def said(data: bytes) -> list[tuple[bytes, Any]]:
        """Head and body of each response, until the server closes."""
        with socket.create_connection(("127.0.0.1", httpx.URL(server.url).port or 0), timeout=20) as client:
            client.sendall(data)
            received = b""
            while part := client.recv(65536):
                received += part
        found: list[tuple[bytes, Any]] = []
        while received:
            head, _, rest = received.partition(b"\r\n\r\n")
            if b" 100 " in head:
                received = rest
                continue
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            found.append((head, json.loads(rest[:length])))
            received = rest[length:]
        return found

    close = "connection: close\r\n"
    for data, count in (
        (asked("1.0"), 1),
        (asked("1.1", close), 1),
        (asked("1.1", close + "expect: 100-continue\r\n"), 1),
        (asked("1.1") + asked("1.1") + asked("1.1", close), 3),  # sent before the first was answered
    ):
        answers = said(data)
        assert [answer["choices"][0]["message"]["content"] for _, answer in answers] == ["19"] * count
        assert [b"\r\nconnection: close" in head for head, _ in answers] == [False] * (count - 1) + [True]
        for head, answer in answers:
            assert f"x-corea-trace-id: {answer['corea']['trace_id']}".encode() in head
            assert b"\r\ndate: " in head


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="needs Linux")
def test_a_client_that_takes_nothing_is_cut_off(tmp_path: Path, servers: list[Running]) -> None:
    words = FAKE.replace("<answer>nineteen</answer>", "word " * 200_000)  # 40 MB of events, more than any buffer holds
    write(tmp_path, large=words, gateway="timeouts.write_seconds = 1")
    server = start(tmp_path)
    servers.append(server)
    body = json.dumps({**BODY, "model": "corea/1", "stream": True}).encode()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", httpx.URL(server.url).port or 0))
        head = f"POST /v1/chat/completions HTTP/1.1\r\n{LOCAL}content-length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        deadline = time.monotonic() + 20
        while 'corea_requests_client_disconnected_total{cascade="corea"} 1.0' not in server.get("/metrics").text:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_only_one_server_may_have_a_file(tmp_path: Path, servers: list[Running]) -> None:
    write(tmp_path)
    servers.append(start(tmp_path))
    command = [sys.executable, "-m", "corea.cli.main", "serve", "--port", "0"]
    second = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (second.returncode, second.stderr.count("\n")) == (2, 1)
    assert "is in use by another `corea serve`" in second.stderr


def test_without_keys_only_loopback(tmp_path: Path) -> None:
    write(tmp_path)
    command = [sys.executable, "-m", "corea.cli.main", "serve", "--host", "0.0.0.0"]
    refused = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode == 2
    assert refused.stderr.startswith("corea: gateway.host: got '0.0.0.0' without any API key, expected loopback")


def test_what_counts_as_loopback() -> None:
    for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost"):
        check_host(host, keys=False)
    for host in ("0.0.0.0", "::", "10.0.0.1", "example.com", ""):
        check_host(host, keys=True)
        with pytest.raises(ConfigError, match="corea keys create"):
            check_host(host, keys=False)


@pytest.mark.parametrize(
    "wrong",
    [
        {"security": {"allow": ["everything"]}},
        {"accepts": {"small": ["smell"]}},
        {"timeouts": {"request_seconds": 0}},
        {"limits": {"max_connections": 0}},
        {"budgets": {"default_reserve_tokens": 0}},
        {"storage": {"retention_days": -1}},
        {"cache": {"seconds": 0}},
        {"sticky_turns": -1},
        {"port": 70000},
    ],
)
def test_a_setting_that_cannot_be_is_named(wrong: dict[str, Any]) -> None:
    ((table, inner),) = wrong.items()
    key = f"{table}.{next(iter(inner))}" if isinstance(inner, dict) else table
    with pytest.raises(ConfigError, match=rf"gateway\.{key}"):
        read_settings("gateway", GatewaySettings, wrong)


def test_a_key_in_the_wrong_table_is_pointed_to_its_own() -> None:
    with pytest.raises(ConfigError, match=r"^gateway: key: got 'drain_seconds', .*; write timeouts.drain_seconds"):
        read_settings("gateway", GatewaySettings, {"drain_seconds": 3})
    with pytest.raises(
        ConfigError, match=r"^gateway.limits: key: got 'max_hed_bytes', .* Did you mean 'max_head_bytes'"
    ):
        read_settings("gateway", GatewaySettings, {"limits": {"max_hed_bytes": 3}})


@pytest.mark.slow
def test_sigkill_under_load_loses_no_committed_decision(tmp_path: Path, servers: list[Running]) -> None:
    write(tmp_path)
    server = start(tmp_path)
    servers.append(server)
    made = json.loads(server.corea("keys", "create", "alice", "--budget-usd", "100", "--json"))
    headers = {"authorization": f"Bearer {made['key']}"}
    spent: list[float] = []

    def load() -> None:
        with httpx.Client(headers=headers, timeout=20) as client:
            while True:
                try:
                    answer = client.post(f"{server.url}/v1/chat/completions", json=BODY)
                except httpx.TransportError:
                    return
                spent.append(answer.json()["corea"]["cost_usd"])

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    while len(spent) < 300:
        time.sleep(0.01)
    os.kill(server.process.pid, signal.SIGKILL)
    for thread in threads:
        thread.join()
    (key,) = json.loads(server.corea("keys", "list", "--json"))["keys"]
    assert float(key["spent_usd"]) >= sum(spent) - 1e-9
    assert key["requests"] >= len(spent)


# --- keys that are missing --------------------------------------------------------------------------------------------

NO_KEY = 'kind = "openai"\nmodel = "large"\nbase_url = "http://127.0.0.1:9/v1"\napi_key_env = "COREA_TEST_NO_SUCH_KEY"'
SAYS = "stages.large: environment variable COREA_TEST_NO_SUCH_KEY: got nothing, expected an API key"
SMALL_ALONE = '\n[cascades.alone]\nstages = ["small"]\n[cascades.both]\nstages = ["small", "large"]\n'


def test_a_server_without_its_key_does_not_start(tmp_path: Path) -> None:
    write(tmp_path, large=NO_KEY)
    command = [sys.executable, "-m", "corea.cli.main", "serve", "--port", "0"]
    refused = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert refused.stderr.startswith(f"corea: {SAYS}")


def test_a_key_that_only_some_cascades_need_is_told_at_the_start(tmp_path: Path, servers: list[Running]) -> None:
    write(tmp_path, large=NO_KEY, gateway=SMALL_ALONE)
    server = start(tmp_path)
    servers.append(server)
    server.wait_for(SAYS)
    assert [line for line in server.lines if "COREA_TEST_NO_SUCH_KEY" in line] == [
        f"{SAYS}; set it with `export COREA_TEST_NO_SUCH_KEY=...`; until then both cannot answer"
    ]
    assert server.post({**BODY, "model": "alone"}).status_code == 200
    failed = server.post({**BODY, "model": "both/large"})
    assert (failed.status_code, failed.json()["error"]["code"]) == (502, "upstream_not_configured")
    assert server.post({**BODY, "model": "alone"}).status_code == 200
    assert not any("Traceback" in line for line in server.lines)
