"""The OpenAI-compatible backend against a server that fails in every way it is told to."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from tests.fakes.server import SSE, Act, Bytes, Drip, Fail, FakeServer, Hang, Reset, Say

from corea.backends.openai.circuit_breaker import BreakerState
from corea.backends.openai.client import OpenAIBackend, OpenAISettings
from corea.backends.openai.settings import MaxTokensField
from corea.costs.call_log import CallLog
from corea.errors import BackendError, BackendRefused, BackendTimeout, ConfigError
from corea.types import Completion, Message, Question, Sampling, Usage

QUESTION = Question.of("What is 2 + 2?")
PLAIN = Sampling()


class Waits(list[float]):
    """A sleeper that only notes how long it was to sleep."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


class Clock:
    """Seconds that pass only when told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def talking(
    *script: Act, otherwise: Act | None = None, clock: Clock | None = None, **settings: Any
) -> AsyncIterator[tuple[OpenAIBackend, FakeServer, Waits]]:
    """A backend, the server it talks to, and its waits."""
    waits = Waits()
    async with FakeServer(otherwise or Say("ready")) as server:
        server.script = list(script)
        backend = OpenAIBackend(
            OpenAISettings(**{"model": "fake", "base_url": server.base_url, **settings}),
            sleep=waits,
            rng=random.Random(0),
            clock=clock or Clock(),
        )
        try:
            yield backend, server, waits
        finally:
            await backend.close()


async def raised_by(call: Callable[[], Awaitable[object]]) -> BackendError:
    with pytest.raises(BackendError) as caught:
        await call()
    return caught.value


async def drained(backend: OpenAIBackend, sampling: Sampling = PLAIN) -> tuple[list[str], Completion]:
    *pieces, last = [piece async for piece in backend.stream(QUESTION, sampling)]
    assert isinstance(last, Completion)
    texts = [piece if isinstance(piece, str) else piece.text for piece in pieces if not isinstance(piece, Completion)]
    return [text for text in texts if text], last


# What is asked


async def test_raw_messages_and_extra_fields_go_out_untouched() -> None:
    raw = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}], "name": "ann"}
    question = Question(id="q", messages=(Message("system", "Be brief."), Message("user", "(image)", raw)))
    sampling = Sampling(
        max_tokens=9, temperature=0.5, top_p=0.9, seed=1, stop=("\n",), logprobs=True, top_logprobs=5,
        extra={"chat_template_kwargs": {"enable_thinking": False}, "temperature": 0.7},
    )  # fmt: skip
    async with talking() as (backend, server, _):
        await backend.complete(question, sampling)
    assert server.requests[0].body == {
        "model": "fake",
        "messages": [{"role": "system", "content": "Be brief."}, raw],
        "max_tokens": 9,
        "temperature": 0.7,
        "top_p": 0.9,
        "seed": 1,
        "stop": ["\n"],
        "logprobs": True,
        "top_logprobs": 5,
        "chat_template_kwargs": {"enable_thinking": False},
    }


async def test_one_connection_serves_call_after_call_streamed_or_not() -> None:
    async with talking(otherwise=Say("one two three")) as (backend, server, _):
        for _ in range(3):
            await backend.complete(QUESTION, PLAIN)
            await drained(backend)
    assert server.connections == 1


async def test_the_pool_holds_no_more_than_max_connections() -> None:
    async with talking(otherwise=Say(delay_seconds=0.02), max_connections=3) as (backend, server, _):
        await asyncio.gather(*(backend.complete(QUESTION, PLAIN) for _ in range(9)))
    assert server.peak == 3


# What comes back


async def test_log_probabilities_come_with_their_alternatives() -> None:
    async with talking(otherwise=Say("a b", logprob=-0.25)) as (backend, _, _):
        completion = await backend.complete(QUESTION, Sampling(logprobs=True, top_logprobs=2))
    assert completion.logprobs is not None
    assert [(t.token, t.logprob) for t in completion.logprobs] == [("a", -0.25), (" b", -0.25)]
    assert completion.logprobs[1].top == ((" b", -0.25), ("alt1", -11.0))


async def test_missing_usage_is_estimated_and_flagged() -> None:
    async with talking(otherwise=Say("twelve", usage=None, reasoning="12345")) as (backend, _, _):
        whole = await backend.complete(QUESTION, PLAIN)
        _, streamed = await drained(backend)
    # 14 bytes / 4 = 4, and 4 for the message; 6 / 4 = 2, and 5 (with its space 6) / 4 = 2 of reasoning
    expected = Usage(prompt_tokens=8, completion_tokens=4, reasoning_tokens=2, estimated=True)
    assert whole.usage == streamed.usage == expected


async def test_think_tags_stay_in_the_text_and_separate_reasoning_does_not() -> None:
    async with talking(Say("<think>hm</think>4"), Say("4", reasoning="hm")) as (backend, _, _):
        first, second = [await backend.complete(QUESTION, PLAIN) for _ in range(2)]
    assert (first.text, first.reasoning) == ("<think>hm</think>4", "")
    assert (second.text, second.reasoning) == ("4", "hm")


async def test_tool_calls_are_kept_whole_and_put_together_from_pieces() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 2, "b": 2}'}}
    pieces = [
        {"index": 0, "id": "c1", "type": "function", "function": {"name": "add", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"a": 2, '}},
        {"index": 0, "function": {"arguments": '"b": 2}'}},
    ]
    events = [{"choices": [{"index": 0, "delta": {"tool_calls": [piece]}}]} for piece in pieces]
    events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    stream = "".join(f"data: {json.dumps(event)}\n\n" for event in events).encode() + b"data: [DONE]\n\n"
    whole = Say("", message={"content": None, "tool_calls": [call]}, finish_reason="tool_calls")
    async with talking(whole, Bytes(stream, SSE)) as (backend, _, _):
        completion = await backend.complete(QUESTION, PLAIN)
        _, streamed = await drained(backend)
    assert completion.raw == {"content": None, "tool_calls": [call]}
    assert completion.finish_reason == streamed.finish_reason == "tool_calls"
    assert streamed.raw == {"tool_calls": [call]}


async def test_a_stream_gives_text_as_it_comes_and_times_its_first() -> None:
    async with talking(otherwise=Say("one two three", reasoning="hm", comment="ping", split_bytes=5)) as (
        backend,
        _,
        _,
    ):
        pieces, last = await drained(backend)
    assert pieces == ["one", " two", " three"]
    assert (last.text, last.reasoning, last.finish_reason) == ("one two three", "hm ", "stop")
    assert last.first_token_seconds is not None
    assert 0 < last.first_token_seconds < last.seconds


async def test_a_server_that_does_not_stream_when_asked_is_understood() -> None:
    choice = b'{"message":{"content":"4"},"finish_reason":"stop"}'
    body = b'{"choices":[' + choice + b'],"usage":{"prompt_tokens":5,"completion_tokens":1}}'
    async with talking(Bytes(body)) as (backend, _, _):
        pieces, last = await drained(backend)
    assert (pieces, last.text, last.usage.prompt_tokens) == (["4"], "4", 5)


async def test_complete_can_stream_within() -> None:
    async with talking(otherwise=Say("one two"), stream=True) as (backend, server, _):
        completion = await backend.complete(QUESTION, PLAIN)
    assert completion.text == "one two"
    assert completion.first_token_seconds is not None
    assert server.requests[0].streamed


# Trying again


async def test_retry_after_is_honoured_in_seconds_and_as_a_date() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    async with talking(Fail(429, retry_after="7"), Fail(503, retry_after=date), Say("4")) as (backend, server, waits):
        completion = await backend.complete(QUESTION, PLAIN)
    assert (completion.text, completion.retries, len(server.requests)) == ("4", 2, 3)
    assert 7 <= waits[0] <= 7.5
    assert 28 <= waits[1] <= 30.6


@pytest.mark.parametrize("act", [Fail(500), Fail(408), Fail(409), Fail(529), Reset(), Bytes(b"{}")])
@pytest.mark.parametrize("stream", [False, True])
async def test_what_may_pass_is_tried_again(act: Act, stream: bool) -> None:
    if stream and isinstance(act, Bytes):
        act = Bytes(b"", SSE)  # a stream that ends before it begins
    async with talking(act, act, Say("4"), stream=stream) as (backend, _, waits):
        completion = await backend.complete(QUESTION, PLAIN)
    assert (completion.text, completion.retries, len(waits)) == ("4", 2, 2)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 422])
@pytest.mark.parametrize("stream", [False, True])
async def test_what_will_not_change_is_asked_once(status: int, stream: bool) -> None:
    async with talking(otherwise=Fail(status, "no such thing"), stream=stream) as (backend, server, waits):
        error = await raised_by(lambda: backend.complete(QUESTION, PLAIN))
    assert isinstance(error, BackendRefused)
    assert (error.status, error.retryable, len(server.requests), waits) == (status, False, 1, [])
    assert f"got HTTP {status} (no such thing); " in str(error)
    assert error.body == {"message": "no such thing", "type": "fake", "code": None}


async def test_it_gives_up_after_max_retries_and_says_how_often_it_tried() -> None:
    async with talking(otherwise=Fail(500), max_retries=2) as (backend, server, _):
        error = await raised_by(lambda: backend.complete(QUESTION, PLAIN))
    assert (error.retries, error.status, error.retryable, len(server.requests)) == (2, 500, True, 3)


async def test_an_empty_account_is_not_asked_again() -> None:
    async with talking(otherwise=Fail(429, "You exceeded your quota", "insufficient_quota")) as (backend, server, _):
        error = await raised_by(lambda: backend.complete(QUESTION, PLAIN))
    assert len(server.requests) == 1
    assert "add credit" in str(error)


async def test_a_response_that_cannot_be_read_is_asked_once_more_and_its_usage_counts() -> None:
    cut = b'{"usage": {"prompt_tokens": 11, "completion_tokens": 7}, "choices": [{"mess'
    async with talking(otherwise=Bytes(cut)) as (backend, server, _):
        error = await raised_by(lambda: backend.complete(QUESTION, PLAIN))
        assert (len(server.requests), error.retries) == (2, 1)
        server.script = [Bytes(cut), Say("4")]
        completion = await backend.complete(QUESTION, PLAIN)
    assert isinstance(error.spent, Completion)
    assert error.spent.usage == error.spent.wasted == Usage(prompt_tokens=11, completion_tokens=7)
    assert (completion.text, completion.wasted) == ("4", Usage(prompt_tokens=11, completion_tokens=7))


# What was billed in vain


async def test_an_answer_that_was_billed_but_is_no_use_is_counted() -> None:
    billed = b'{"usage": {"prompt_tokens": 11, "completion_tokens": 7}, "choices": []}'
    async with talking(Bytes(billed), Bytes(billed), Say("4")) as (backend, _, _):
        completion = await backend.complete(QUESTION, PLAIN)
    assert completion.wasted == Usage(prompt_tokens=22, completion_tokens=14)
    assert completion.usage == Usage(prompt_tokens=5, completion_tokens=1)


async def test_when_all_attempts_were_in_vain_the_error_holds_what_they_cost() -> None:
    billed = b'{"usage": {"prompt_tokens": 11, "completion_tokens": 7}}'
    async with talking(otherwise=Bytes(billed), max_retries=2) as (backend, _, _):
        error = await raised_by(lambda: backend.complete(QUESTION, PLAIN))
    assert isinstance(error.spent, Completion)
    assert error.spent.usage == Usage(prompt_tokens=11, completion_tokens=7)
    assert error.spent.wasted == Usage(prompt_tokens=22, completion_tokens=14)


@pytest.mark.parametrize("clean", [False, True])
@pytest.mark.parametrize("inside", [False, True])
async def test_a_stream_that_breaks_off_is_an_error_with_what_was_spent(clean: bool, inside: bool) -> None:
    async with talking(otherwise=Say("one two three", break_after=2, clean_break=clean), stream=True) as (
        backend, server, _,
    ):  # fmt: skip
        error = await raised_by(lambda: backend.complete(QUESTION, PLAIN) if inside else drained(backend))
    assert "the stream broke off (" in str(error)
    assert error.retryable
    once = Usage(prompt_tokens=8, completion_tokens=2, estimated=True)
    assert isinstance(error.spent, Completion)
    assert (error.spent.text, error.spent.usage) == ("one two", once)
    assert len(server.requests) == (5 if inside else 1)  # nothing was passed on, so it is asked again
    assert error.spent.wasted == (once + once + once + once if inside else None)


async def test_a_stream_within_that_breaks_off_is_asked_again_and_its_cancellation_is_booked() -> None:
    short, long = Say("one two"), Say("one two three", break_after=2)
    async with talking(long, otherwise=short, stream=True) as (backend, server, _):
        completion = await backend.complete(QUESTION, PLAIN)
    assert (completion.text, completion.retries, len(server.requests)) == ("one two", 1, 2)
    assert completion.wasted == Usage(prompt_tokens=8, completion_tokens=2, estimated=True)
    event = b'data: {"choices": [{"delta": {"content": "4"}}], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}'
    async with talking(Drip(event + b"\n\n"), stream=True) as (backend, server, _):
        with CallLog() as log:
            asking = asyncio.create_task(backend.complete(QUESTION, PLAIN))
            while not server.hanging:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
    assert log.interrupted is not None
    assert log.interrupted.usage == Usage(prompt_tokens=9, completion_tokens=2)


async def test_an_error_within_a_stream_keeps_its_status_and_what_was_spent() -> None:
    stream = (
        b'data: {"choices":[{"index":0,"delta":{"content":"4 is"}}]}\n\n'
        b'data: {"error":{"code":502,"message":"Provider disconnected"},"choices":[{"index":0,"delta":{"content":""},'
        b'"finish_reason":"error"}],"usage":{"prompt_tokens":5,"completion_tokens":2}}\n\n'
    )
    async with talking(Bytes(stream, SSE)) as (backend, _, _):
        error = await raised_by(lambda: drained(backend))
    assert (error.status, error.retryable) == (502, True)
    assert "Provider disconnected" in str(error)
    assert isinstance(error.spent, Completion)
    assert (error.spent.text, error.spent.usage) == ("4 is", Usage(prompt_tokens=5, completion_tokens=2))


@pytest.mark.parametrize("ending", [b"data: [DONE]\n\n", b""])
async def test_a_stream_that_has_its_finish_reason_is_whole_without_done(ending: bytes) -> None:
    stream = b'data: {"choices":[{"index":0,"delta":{"content":"4"},"finish_reason":"stop"}]}\n\n' + ending
    async with talking(Bytes(stream, SSE)) as (backend, _, _):
        assert (await drained(backend))[1].text == "4"


async def test_half_a_body_is_tried_again() -> None:
    async with talking(Say("one two", break_after=0), Say("4")) as (backend, _, _):
        completion = await backend.complete(QUESTION, PLAIN)
    assert (completion.text, completion.retries) == ("4", 1)


# Time


@pytest.mark.parametrize("stream", [False, True])
async def test_no_first_byte_in_time_is_a_timeout_and_tried_again(stream: bool) -> None:
    async with talking(Hang(), Say("4"), first_byte_timeout_seconds=0.05, stream=stream) as (backend, server, _):
        completion = await backend.complete(QUESTION, PLAIN)
        assert (completion.text, completion.retries) == ("4", 1)
        server.otherwise = Hang()
        error = await raised_by(lambda: backend.complete(QUESTION, PLAIN))
    assert isinstance(error, BackendTimeout)
    assert "got no answer within 0.05 s, expected its first byte; " in str(error)


async def test_keep_alives_are_no_first_byte_and_a_drip_ends_at_the_total() -> None:
    comments = Bytes(b": keep-alive\n\n" * 40, SSE, split_bytes=1)
    async with talking(comments, first_byte_timeout_seconds=60, max_retries=0) as (backend, _, _):
        assert "it ended before it began" in str(await raised_by(lambda: drained(backend)))
    drip = Say("one two three four", between_seconds=0.04)
    async with talking(drip, total_timeout_seconds=0.1) as (backend, server, waits):
        error = await raised_by(lambda: drained(backend))
    assert isinstance(error, BackendTimeout)
    assert "got only part of the answer within 0.1 s" in str(error)
    assert isinstance(error.spent, Completion)
    assert error.spent.text.startswith("one")
    assert (len(server.requests), waits) == (1, [])


@pytest.mark.parametrize("stream", [False, True])
async def test_a_cancelled_call_hangs_up_on_the_server(stream: bool) -> None:
    act = Say("one two three", between_seconds=0.02) if stream else Hang()
    async with talking(otherwise=act, stream=stream) as (backend, server, _):
        task = asyncio.create_task(drained(backend) if stream else backend.complete(QUESTION, PLAIN))  # type: ignore[arg-type]
        while not server.running:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(5):
            while not server.hung_up:
                await asyncio.sleep(0.001)


# The circuit breaker


async def test_the_breaker_opens_refuses_probes_and_closes() -> None:
    clock = Clock()
    settings = {"max_retries": 0, "breaker_failures": 3, "breaker_cool_down_seconds": 10.0}
    async with talking(otherwise=Fail(500), clock=clock, **settings) as (backend, server, _):
        for _ in range(3):
            await raised_by(lambda: backend.complete(QUESTION, PLAIN))
        refused = await raised_by(lambda: backend.complete(QUESTION, PLAIN))
        assert isinstance(refused, BackendRefused)
        assert (refused.retryable, refused.retry_after_seconds, len(server.requests)) == (True, 10.0, 3)
        assert "got 3 failures in a row, so calls are held back for 10 s more; " in str(refused)
        clock.now = 10.0
        server.otherwise = Say("4", delay_seconds=0.01)
        outcomes = await asyncio.gather(*(backend.complete(QUESTION, PLAIN) for _ in range(4)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes].count(Completion) == 1
        assert len(server.requests) == 4
        assert backend.breaker.state is BreakerState.CLOSED


async def test_a_refusal_by_the_server_does_not_open_the_breaker() -> None:
    async with talking(otherwise=Fail(429), max_retries=0, breaker_failures=1) as (backend, _, _):
        for _ in range(3):
            await raised_by(lambda: backend.complete(QUESTION, PLAIN))
        assert backend.breaker.state is BreakerState.CLOSED


async def test_a_batch_run_may_wait_for_the_breaker_instead() -> None:
    clock = Clock()
    waits: list[float] = []
    settings = {"max_retries": 1, "breaker_failures": 1, "breaker_cool_down_seconds": 10.0, "wait_when_open": True}
    async with talking(Fail(500), Say("4"), clock=clock, **settings) as (backend, _, _):

        async def pass_time(seconds: float) -> None:
            waits.append(seconds)
            clock.now += seconds

        backend._sleep = pass_time  # pyright: ignore[reportPrivateUsage]  # the breaker's clock must follow the waits
        assert (await backend.complete(QUESTION, PLAIN)).text == "4"
    assert sum(waits) >= 10


# Errors and settings


async def test_a_refused_connection_names_the_url_and_what_to_do() -> None:
    async with FakeServer() as server:
        url = server.base_url
    backend = OpenAIBackend(OpenAISettings(model="m", base_url=url, max_retries=1), sleep=Waits())
    error = await raised_by(lambda: backend.complete(QUESTION, PLAIN))
    await backend.close()
    assert str(error) == f"m at {url}: cannot connect (Connection refused); start the server, or correct base_url"
    assert (error.status, error.retryable, error.retries) == (None, True, 1)


async def test_a_redirect_is_not_followed_with_the_key() -> None:
    moved = Fail(307, headers={"Location": "https://elsewhere.example/v1"})
    async with talking(moved) as (backend, server, _):
        error = await raised_by(lambda: backend.complete(QUESTION, PLAIN))
    assert "got HTTP 307 (to https://elsewhere.example/v1), expected 200; set base_url" in str(error)
    assert len(server.requests) == 1


async def test_a_page_of_html_is_no_answer_and_stays_one_line() -> None:
    async with talking(Bytes(b"<html>\n<b>hello</b>\n</html>", "text/html"), max_retries=0) as (backend, _, _):
        error = await raised_by(lambda: backend.complete(QUESTION, PLAIN))
    assert "'<html> <b>hello</b> </html>'; is base_url an OpenAI-compatible API?" in str(error)
    assert "\n" not in str(error)


async def test_advice_follows_what_the_server_complains_of() -> None:
    words = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
    async with talking(Fail(400, words)) as (backend, _, _):
        assert 'set max_tokens_field = "max_completion_tokens"' in str(
            await raised_by(lambda: backend.complete(QUESTION, PLAIN))
        )


async def test_advice_names_the_field_of_the_limit_that_was_not_sent_and_that_of_the_seed() -> None:
    extra = "Extra inputs are not permitted: max_completion_tokens"
    async with talking(Fail(422, extra), max_tokens_field=MaxTokensField.NEW) as (backend, _, _):
        assert 'set max_tokens_field = "max_tokens"' in str(await raised_by(lambda: backend.complete(QUESTION, PLAIN)))
    async with talking(Fail(400, 'Unknown name "seed": Cannot find field.')) as (backend, _, _):
        error = str(await raised_by(lambda: backend.complete(QUESTION, PLAIN)))
    assert 'set seed_field = "random_seed" or "none", or leave the seed out' in error


@pytest.mark.parametrize(
    ("sampling", "sent"),
    [
        (Sampling(temperature=0.7), {"temperature": 0.7, "top_k": -1, "top_p": 1.0, "min_p": 0.0}),
        (Sampling(top_p=0.9, extra={"top_k": 20}), {"top_k": 20, "top_p": 0.9, "min_p": 0.0}),
        (Sampling(temperature=0), {"temperature": 0}),
    ],
)
async def test_plain_sampling_sends_what_cuts_nothing_off(sampling: Sampling, sent: dict[str, Any]) -> None:
    async with talking(plain_sampling=True) as (backend, server, _):
        await backend.complete(QUESTION, sampling)
    assert {key: value for key, value in server.requests[0].body.items() if key not in ("model", "messages")} == sent


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"base_url": "localhost:8000"}, "base_url: got 'localhost:8000', expected a URL"),
        ({"base_url": "https://me:secret@host/v1"}, "base_url: got a user, password or query in the URL of host"),
        ({"headers": {"Authorization": "Bearer secret"}}, "headers: got 'Authorization', expected no key in a file"),
        ({"azure_deployment": "d"}, "api_version is missing"),
        ({"total_timeout_seconds": 0}, "total_timeout_seconds: got 0, expected more than 0"),
        ({"max_retries": -1}, "max_retries: got -1, expected at least 0"),
        ({"backoff_base_seconds": -1.0}, "backoff_base_seconds: got -1.0, expected 0 or more"),
    ],
)
def test_wrong_settings_are_refused_without_showing_a_secret(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        OpenAISettings(**{"model": "m", **wrong})
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


# The probe


async def test_the_probe_tells_what_works() -> None:
    async with talking(otherwise=Say("ready", logprob=-0.1)) as (backend, _, _):
        probe = await backend.probe()
        assert (probe.reachable, probe.key_accepted, probe.logprobs, probe.model) == (True, True, True, "fake")
        assert "logprobs come" in str(probe)
    async with talking(Fail(400, "logprobs are not supported"), Say("ready")) as (backend, _, _):
        probe = await backend.probe()
        assert (probe.reachable, probe.key_accepted, probe.logprobs) == (True, True, False)
    async with talking(Fail(401)) as (backend, server, waits):
        probe = await backend.probe()
        assert (probe.reachable, probe.key_accepted, len(server.requests), waits) == (True, False, 1, [])
    backend = OpenAIBackend(OpenAISettings(model="m", base_url="http://127.0.0.1:9/v1"))
    probe = await backend.probe()
    assert (probe.reachable, probe.key_accepted) == (False, False)
    assert "cannot connect" in str(probe)
    await backend.close()
