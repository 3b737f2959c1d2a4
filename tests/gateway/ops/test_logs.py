"""The log: one line a record, its fields, what is left out, and no secret in it."""

import io
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.gateway.conftest import SURE, UNSURE, House, make_house

from corea.backends.openai.errors import BreakerOpen
from corea.errors import BackendError, BackendRefused, BackendTimeout, ConfigError
from corea.gateway.ops import logs
from corea.gateway.ops.logs import (
    ERROR_KINDS,
    FIELDS,
    KIND,
    REQUEST_ID,
    LineFormatter,
    RepeatFilter,
    error_kind,
    log_failures,
    start_log,
)
from corea.gateway.ops.settings import GatewayLogs
from corea.hedge import LOST
from corea.types import Step


@pytest.fixture
def written(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """The log of the process, in text unless the test names other settings."""
    root, own = logging.getLogger(), logging.getLogger("corea")
    levels, out = (root.level, own.level), io.StringIO()
    handler = start_log(getattr(request, "param", GatewayLogs()), out)
    yield out
    root.removeHandler(handler)
    root.setLevel(levels[0])
    own.setLevel(levels[1])


def record(text: str = "text", extra: dict[str, Any] | None = None, **more: Any) -> logging.LogRecord:
    made = logging.LogRecord("corea.gateway", logging.WARNING, "x.py", 1, text, (), None)
    vars(made).update(extra or {}, **more)
    return made


def test_text_is_one_line_without_control_characters() -> None:
    line = LineFormatter(as_json=False, error_texts=False).format(
        record("first\nsecond \x1b[31m", {FIELDS: {"stage": "a b", "left": None, "n": 3}})
    )
    at, rest = line.split(" ", 1)
    assert at.endswith("Z")
    assert rest == 'WARNING first\\nsecond \\x1b[31m stage="a b" n=3'


def test_json_has_the_same_fields_and_the_request() -> None:
    token = REQUEST_ID.set("abc")
    line = LineFormatter(as_json=True, error_texts=False).format(record("a\nb", {FIELDS: {"stage": "large"}}))
    REQUEST_ID.reset(token)
    found = json.loads(line)
    assert "\n" not in line
    assert found.pop("time")
    assert found == {
        "level": "warning", "logger": "corea.gateway", "message": "a\nb", "request_id": "abc", "stage": "large"
    }  # fmt: skip


def test_an_exception_is_its_class_and_places_and_its_words_only_on_demand() -> None:
    def failing() -> None:
        try:
            int("the prompt")
        except ValueError as error:
            raise RuntimeError("again the prompt") from error

    try:
        failing()
    except RuntimeError as error:
        made = record("a bug", exc_info=(type(error), error, error.__traceback__))
    plain = LineFormatter(as_json=False, error_texts=False).format(made)
    assert "RuntimeError at " in plain
    assert " from ValueError at " in plain
    assert "test_logs.py" in plain
    assert "the prompt" not in plain
    assert "RuntimeError: again the prompt at" in LineFormatter(as_json=False, error_texts=True).format(made)


def test_repetitions_of_a_kind_are_counted_and_others_pass() -> None:
    now = [0.0]
    repeats = RepeatFilter(10, clock=lambda: now[0])
    passed = [repeats.filter(record(extra={KIND: ("a",)})) for _ in range(5)]
    assert passed == [True, False, False, False, False]
    assert repeats.filter(record(extra={KIND: ("b",)}))
    assert repeats.filter(record())
    now[0] = 11
    again = record(extra={KIND: ("a",)})
    assert repeats.filter(again)
    assert getattr(again, FIELDS) == {"left_out": 4}
    assert not repeats.filter(record("last", {KIND: ("a",)}))
    assert list(repeats.ended()) == []  # "b" had none left out, and "a" may still come
    now[0] = 30
    (ended,) = repeats.ended()
    assert (ended.getMessage(), getattr(ended, FIELDS)) == ("1 more in 10 s: text", {"left_out": 1})
    assert list(repeats.ended()) == []


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (BackendTimeout("x"), "timeout"),
        (BackendTimeout("x", status=504), "timeout"),
        (BackendRefused("x"), "unreachable"),
        (BackendError("the connection was cut"), "unreachable"),
        (BreakerOpen("x"), "breaker_open"),
        (BackendRefused("x", status=429), "rate_limited"),
        (BackendRefused("x", status=400), "refused"),
        (BackendError("x", status=500), "server_error"),
        (BackendError("x", status=200), "bad_answer"),
    ],
)
def test_the_kind_of_a_failure(error: BackendError, kind: str) -> None:
    step = Step(stage="s", error=str(error), error_kind=type(error).__name__, error_status=error.status)
    assert error_kind(step) == kind
    assert kind in ERROR_KINDS


def test_a_call_that_we_ended_did_not_fail() -> None:
    assert error_kind(Step(stage="s")) is None
    assert error_kind(Step(stage="s", error="cut off", error_kind=LOST)) is None


async def ask(house: House, *, error_texts: bool = False) -> None:
    await house.post()
    log_failures(house.last, error_texts=error_texts)


async def test_a_failed_call_and_an_unanswered_request_are_a_line_each(written: io.StringIO) -> None:
    await ask(make_house(UNSURE, BackendError("got HTTP 500 (the prompt was 12 + 7?)", backend="l at h", status=500)))
    call, request = written.getvalue().splitlines()
    assert "WARNING stage large failed, server_error (HTTP 500) at a model in this process" in call
    assert "stage=large kind=server_error cascade=corea" in call
    assert "ERROR cascade corea gave no answer: 502 upstream_error" in request
    assert "12 + 7" not in written.getvalue()


async def test_our_own_words_about_a_failure_are_kept(written: io.StringIO) -> None:
    await ask(make_house(BackendRefused("cannot connect (Connection refused); start the server", backend="s at h")))
    (line,) = written.getvalue().splitlines()  # the large model answered
    assert "stage small failed, unreachable: s at h: cannot connect (Connection refused); start the server" in line


async def test_a_servers_words_are_written_on_demand(written: io.StringIO) -> None:
    await ask(make_house(UNSURE, BackendError("got HTTP 500 (words)", status=500)), error_texts=True)
    assert "got HTTP 500 (words)" in written.getvalue()


async def test_the_librarys_own_lines_about_retries_are_left_out_too(written: io.StringIO) -> None:
    backends = logging.getLogger("corea.backends.openai.client")
    for number in range(20):
        backends.info("%s: attempt %d follows", "m at h", number)
    backends.info("%s: attempt %d follows", "m at another", 1)
    backends.warning("%s: calls are held back", "m at h")
    backends.warning("%s: calls are held back", "m at h")  # a change of the breaker is always written
    assert [line.split(" ", 2)[2] for line in written.getvalue().splitlines()] == [
        "m at h: attempt 0 follows",
        "m at another: attempt 1 follows",
        "m at h: calls are held back",
        "m at h: calls are held back",
    ]


async def test_an_outage_does_not_flood_the_log(written: io.StringIO) -> None:
    house = make_house(UNSURE, BackendTimeout("slow"))
    for _ in range(50):
        await ask(house)
    assert len(written.getvalue().splitlines()) == 2


async def test_every_line_of_a_request_has_its_id(written: io.StringIO) -> None:
    class Broken:
        async def measure(self, question: object, completion: object) -> None:
            raise KeyError("12 + 7?")

    house = make_house(SURE, small_stage={"signal": Broken()})
    answer = await house.post()
    (line,) = written.getvalue().splitlines()
    assert f"request_id={house.last.trace.trace_id}" in line
    assert (answer.status_code, "KeyError at" in line, "12 + 7" in line) == (500, True, False)


async def test_the_access_log_is_optional_and_has_no_query(written: io.StringIO) -> None:
    house = make_house(SURE)
    await house.request("GET", "/healthz?key=secret")
    assert written.getvalue() == ""
    house.gateway.chat.settings = replace(house.gateway.chat.settings, logs=GatewayLogs(access=True))
    await house.request("GET", "/healthz?key=secret")
    await house.request("GET", "/no%0Awhere")
    answer = await house.post()
    lines = written.getvalue().splitlines()
    assert ["GET /healthz 200" in lines[0], "404" in lines[1], "POST /v1/chat/completions 200" in lines[2]] == [
        True
    ] * 3
    assert f"request_id={answer.headers['x-request-id']}" in lines[2]
    assert "secret" not in written.getvalue()


@pytest.mark.parametrize("secret", ["corea-0123456789ab-" + "a" * 43, "sk-1234567890abcdef", "Bearer abcdefghij"])
@pytest.mark.parametrize("written", [GatewayLogs(), GatewayLogs(format="json")], indirect=True)
def test_a_key_in_a_message_is_hidden(written: io.StringIO, secret: str) -> None:
    logs.log.error("got %s", secret)
    assert secret not in written.getvalue()
    assert "got [key]" in written.getvalue()


@pytest.mark.parametrize("wrong", [{"format": "xml"}, {"level": "loud"}, {"repeat_seconds": 0}])
def test_wrong_settings_name_their_key(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"gateway.logs.{next(iter(wrong))}"):
        GatewayLogs(**wrong)
