"""Errors of the models' servers through a running gateway: what clients act on is kept, nothing of ours is shown."""

import time
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.server import Fail, running
from tests.gateway.server.test_access import OPENAI
from tests.gateway.server.test_serve import BODY, Running, servers, start, write

assert servers  # the fixture
LONG = "This model's maximum context length is 8192 tokens; see http://10.1.2.3:9000/docs for more."
DIRECT = {**BODY, "model": "corea/1"}


def refused(status: int, code: str | None, **more: Any) -> dict[str, Any]:
    return {"error": {"message": LONG, "type": "invalid_request_error", "code": code, **more}}


@pytest.mark.parametrize(
    ("upstream", "status", "error", "retry_after"),
    [
        (Fail(400, body=refused(400, "context_length_exceeded", param="messages")), 400,
         ("context_length_exceeded", "messages"), None),
        (Fail(400, body=refused(400, "content_filter", param="prompt")), 400, ("content_filter", "prompt"), None),
        (Fail(413, body=refused(413, None)), 413, ("upstream_refused", None), None),
        (Fail(429, retry_after="17"), 429, ("upstream_rate_limited", None), "17"),
        (Fail(503, retry_after="9"), 503, ("upstream_unavailable", None), "9"),
        (Fail(401, "no key sk-123 at http://10.1.2.3"), 502, ("upstream_error", None), None),
        (Fail(500, "see http://10.1.2.3/log"), 502, ("upstream_error", None), None),
    ],
)  # fmt: skip
def test_an_error_keeps_its_code_and_shows_no_address(
    tmp_path: Path, servers: list[Running], upstream: Fail, status: int, error: tuple[str, str | None], retry_after: str
) -> None:
    with running(lambda asked: upstream) as url:
        write(tmp_path, large=f"{OPENAI.format(url)}\nmax_retries = 0")
        server = start(tmp_path)
        servers.append(server)
        whole, streamed = server.post(DIRECT), server.post({**DIRECT, "stream": True})
        for answer in (whole, streamed):
            found = answer.json()["error"]
            assert (answer.status_code, (found["code"], found["param"])) == (status, error)
            assert answer.headers.get("retry-after") == retry_after
            for ours in (url, "127.0.0.1", "10.1.2.3", "base_url", "max_retries", "openai"):
                assert ours not in found["message"]
        server.wait_for(url.removeprefix("http://").removesuffix("/v1"))  # the operator's log has it all
        if status == 400:
            assert whole.json()["error"]["message"] == LONG.replace("http://10.1.2.3:9000/docs", "...")
    gone = server.post(DIRECT)
    assert (gone.status_code, gone.json()["error"]["code"]) == (503, "upstream_unavailable")
    assert "127.0.0.1" not in gone.text
    assert not any("Traceback" in line for line in server.lines)


def test_a_client_is_not_held_by_retries_that_no_one_asked_for(tmp_path: Path, servers: list[Running]) -> None:
    asked: list[float] = []

    def answer(request: Any) -> Fail:
        asked.append(time.monotonic())
        return Fail(429, retry_after="30")

    with running(answer) as url:
        write(tmp_path, large=OPENAI.format(url))
        server = start(tmp_path)
        servers.append(server)
        found = server.post(DIRECT)
        assert (found.status_code, found.headers["retry-after"], len(asked)) == (429, "30", 2)
        assert asked[1] - asked[0] < 5
        asked.clear()
        write(tmp_path, large=f"{OPENAI.format(url)}\nmax_retries = 2\nretry_after_cap_seconds = 0")
        again = start(tmp_path, "--set", 'gateway.storage.path=""')
        servers.append(again)
        assert (again.post(DIRECT).status_code, len(asked)) == (429, 3)
