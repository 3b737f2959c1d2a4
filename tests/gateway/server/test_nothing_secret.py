"""Planted secrets are in no output of a running gateway: log, metrics, traces, database, copies, exports, admin API."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.fakes.server import Fail, Say, running
from tests.gateway.audit.test_serve_audit import Models, Place, models, place, serve
from tests.gateway.server.test_access import OPENAI
from tests.gateway.server.test_serve import BODY, Running, servers, start, write

from corea.gateway.billing.database import connect
from corea.gateway.billing.key_admin import KeyAdmin
from corea.gateway.billing.keys import Role
from corea.gateway.billing.state import TABLES, backup, export

FIXTURES = (servers, place, models, serve)
PROMPT, ANSWER, UPSTREAM_KEY = "PlantedPrompt77", "PlantedAnswer88", "sk-PlantedUpstreamKey99"
SETTINGS = """
[gateway.logs]
format = "json"
level = "debug"
access = true
[gateway.metrics]
keys = true
[gateway.traces]
endpoint = "{endpoint}"
"""
QUOTING = {"error": {"message": f"your prompt {PROMPT} and key {UPSTREAM_KEY} are wrong", "code": "bad"}}


@contextmanager
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """A place that takes spans: its address, and what it got."""
    got: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1/traces", got
    server.shutdown()
    server.server_close()


def acts(asked: Any) -> Any:
    """What the model's server does, by what the question asks for."""
    kinds = {
        "refuse": Fail(400, body=QUOTING),
        "break": Fail(500, body=QUOTING),
        "garbage": Fail(200, body=f"{ANSWER} {PROMPT}"),
        "limit": Fail(429, body=QUOTING, retry_after="0"),
    }
    return next((act for kind, act in kinds.items() if kind in asked.question), Say(f"{ANSWER}"))


def test_planted_secrets_are_in_no_output(
    tmp_path: Path, servers: list[Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANTED_KEY", UPSTREAM_KEY)
    outputs, database = dict[str, str | bytes](), tmp_path / "corea.db"
    with running(acts) as url, collector() as (endpoint, spans):
        large = f'{OPENAI.format(url)}\napi_key_env = "PLANTED_KEY"\nbackoff_base_seconds = 0\nbreaker_failures = 100'
        write(tmp_path, large=large)
        with (tmp_path / "corea.toml").open("a") as file:
            file.write(SETTINGS.format(endpoint=endpoint))
        server = start(tmp_path)
        servers.append(server)
        with closing(connect(database)) as connection:
            _, admin = KeyAdmin(connection, "test").create("root", role=Role.ADMIN)
        made = httpx.post(
            f"{server.url}/admin/keys", json={"name": "alice", "budget_usd": "5"}, headers=bearer(admin), timeout=20
        ).json()["key"]
        for kind in ("refuse", "break", "garbage", "limit", "answer"):
            for stream in (False, True):
                question = [{"role": "user", "content": f"{kind} {PROMPT}"}]
                body = {**BODY, "model": "corea/1", "messages": question, "stream": stream, "max_tokens": 50}
                answer = server.post(body, headers=bearer(made))
                assert (answer.status_code == 200) == (kind == "answer"), answer.text
        assert server.post({**BODY, "model": PROMPT}, headers=bearer(made)).status_code == 404
        assert server.post(BODY, headers=bearer(f"{made}x")).status_code == 401
        httpx.get(f"{server.url}/v1/models?api-key={made}", timeout=20)
        outputs["metrics"] = server.get("/metrics").content
        for path in ("keys", "changes"):
            outputs[path] = httpx.get(f"{server.url}/admin/{path}", headers=bearer(admin), timeout=20).content
        for path in ("state", "summary", "decisions"):
            answer = httpx.get(f"{server.url}/ui/api/{path}", headers=bearer(admin), timeout=20)
            outputs[f"ui/{path}"] = answer.raise_for_status().content
        backup(database, tmp_path / "copy.db")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for("was reloaded")
        assert server.end() == 0
        outputs["export"] = str([list(export(database, table, texts=True)) for table in TABLES])
        outputs["spans"] = b"".join(spans)
    outputs["log"] = "\n".join(server.lines)
    for path in tmp_path.iterdir():
        if path.name != "corea.toml":
            outputs[path.name] = path.read_bytes()
    assert b"chat large" in outputs["spans"]
    assert "server_error" in str(outputs["log"])
    assert "copy.db" in outputs
    secrets = (PROMPT, ANSWER, UPSTREAM_KEY, made.split("-", 2)[2], admin.split("-", 2)[2])
    found = [(name, s) for name, out in outputs.items() for s in secrets if s.encode() in _bytes(out)]
    assert found == []
    begins = next(i for i, line in enumerate(server.lines) if line.startswith("{"))
    records = [json.loads(line) for line in server.lines[begins:]]
    assert all(record["message"] and record["time"] for record in records)
    assert len([record for record in records if record.get("status")]) >= 14  # the access log


def test_planted_secrets_are_in_no_output_of_an_audit(
    place: Place, serve: Callable[[], Running], models: tuple[str, Models]
) -> None:
    """Its evidence, errors, alarm, webhook and command line; no text is stored, a label's neither."""
    (url, scripted), folder = models, place.folder
    outputs = dict[str, str | bytes]()
    with collector() as (hook, posted):
        hook = f"{hook}/{UPSTREAM_KEY}"
        place.configure(url, 10, f'webhook = "{hook}"\n[gateway.logs]\nlevel = "debug"\naccess = true\n')
        with place.database() as connection:
            keys = KeyAdmin(connection, "test")
            made, admin = keys.create("alice")[1], keys.create("root", role=Role.ADMIN)[1]
        server = serve()

        def ask(number: int) -> str:
            question = [{"role": "user", "content": f"Say {number} please {PROMPT}"}]
            response = server.post({"model": "corea", "messages": question}, headers=bearer(made))
            outputs["headers"] = str(response.headers) + str(outputs.get("headers", ""))
            return response.headers["x-corea-trace-id"]

        def label(key: str, **fields: Any) -> httpx.Response:
            return httpx.post(f"{server.url}/v1/feedback", json=fields, headers=bearer(key), timeout=20)

        trace = ask(7)
        assert label(made, trace_id=trace, answer=f"{ANSWER} 7").status_code in (200, 409)
        refused = [label(made, trace_id=trace, verdict=PROMPT), label(made, trace_id="unknown", score=1)]
        refused += [label(f"{made}x", trace_id=trace, score=1)]
        assert [each.status_code for each in refused] == [400, 404, 401]
        outputs["refused"] = "".join(each.text for each in refused[1:])  # the first quotes its own field
        scripted.good = False
        deadline = time.monotonic() + 60
        number = 1000
        while not posted:
            assert time.monotonic() < deadline
            ask(number := number + 1)
        for path in ("/v1/audit", "/readyz", "/readyz?deep", "/metrics", "/openapi.json"):
            outputs[path] = httpx.get(f"{server.url}{path}", headers=bearer(admin), timeout=20).content
        outputs["webhook"] = b"".join(posted)
        done = subprocess.run(
            [sys.executable, "-m", "corea.cli.main", "audit", "--json"], cwd=folder, capture_output=True, check=False
        )
        assert done.returncode == 1  # an alarm
        outputs["corea audit"] = done.stdout + done.stderr
        if place.url is None:
            backup(folder / "corea.db", folder / "copy.db")
        assert server.end() == 0
        outputs["log"] = "\n".join(server.lines)
    with place.database() as connection:
        for table in ("keys", "key_changes", "decisions", "audits", "labels", "monitors"):
            rows = connection.execute(f"SELECT * FROM {table}").fetchall()
            assert rows or table == "labels"
            outputs[table] = repr(rows)
    for path in folder.iterdir():
        if path.name != "corea.toml":
            outputs[path.name] = path.read_bytes()
    assert "alarm" in str(outputs["log"])
    assert b"corea" in outputs["webhook"]
    secrets = (PROMPT, ANSWER, UPSTREAM_KEY, made.split("-", 2)[2], admin.split("-", 2)[2])
    assert [(name, s) for name, out in outputs.items() for s in secrets if s.encode() in _bytes(out)] == []


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def _bytes(output: str | bytes) -> bytes:
    return output.encode() if isinstance(output, str) else output
