"""The library as programs use it: many event loops, threads, synchronous code, other frameworks; and what it logs."""

import asyncio
import gc
import logging
import os
import socket
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from tests.fakes.server import Fail, FakeServer, Reset, Say

from corea import Cascade, Question, Stage, Trace
from corea.backends.openai.client import OpenAIBackend, OpenAISettings
from corea.errors import BackendError, ConfigError
from corea.policies.threshold import Threshold
from corea.signals.verbalized import Verbalized
from corea.types import Completion, Confidence, Sampling

UNSURE = "<think>?</think><answer>7</answer><confidence>0.1</confidence>"


@pytest.fixture(scope="module")
def server() -> Iterator[FakeServer]:
    """A server on an event loop and thread of its own, as a real one is elsewhere."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    fake = FakeServer(Say(UNSURE))
    asyncio.run_coroutine_threadsafe(fake.__aenter__(), loop).result()
    yield fake
    asyncio.run_coroutine_threadsafe(fake.__aexit__(None, None, None), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def wait_for_descriptors(most: int) -> None:
    """The server's side of a connection is in this process too, and closes a little later than the client's."""
    deadline = time.monotonic() + 10
    while open_descriptors() > most and time.monotonic() < deadline:
        gc.collect()  # what a finalizer revived needs another round
        time.sleep(0.01)
    assert open_descriptors() <= most


@pytest.fixture
def nothing_left(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Neither a warning, nor an error that asyncio could only log, nor an open descriptor remains."""
    gc.collect()
    before = open_descriptors()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
        gc.collect()
    assert [str(each.message) for each in caught] == []
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []
    wait_for_descriptors(before)


def backend(server: FakeServer, **settings: Any) -> OpenAIBackend:
    return OpenAIBackend(OpenAISettings(model="m", base_url=server.base_url, **settings))


def cascade_of(server: FakeServer) -> Cascade:
    first = Stage(name="small", backend=backend(server), signal=Verbalized(), policy=Threshold(0.8))
    return Cascade(stages=(first, Stage(name="large", backend=backend(server))))


def is_answered(trace: Trace) -> bool:
    return (trace.stage, trace.answer, trace.error) == ("large", "7", None)


@pytest.mark.usefixtures("nothing_left")
def test_three_hundred_event_loops_one_after_another(server: FakeServer) -> None:
    cascade = cascade_of(server)
    assert all(is_answered(asyncio.run(cascade.ask(f"{n} + 7?"))) for n in range(300))


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("way", ["an event loop a call", "the background loop"])
def test_a_thousand_calls_from_eight_threads(server: FakeServer, way: str) -> None:
    cascade = cascade_of(server)

    def ask(n: int) -> Trace:
        return cascade.ask_sync(f"{n}?") if way == "the background loop" else asyncio.run(cascade.ask(f"{n}?"))

    ask(0)  # the background loop's own descriptors remain to the end of the process
    with ThreadPoolExecutor(8) as threads:
        assert all(is_answered(trace) for trace in threads.map(ask, range(1000)))
    close_in_background(cascade)


def close_in_background(cascade: Cascade) -> None:
    from corea.background import background

    background.run(cascade.close())


@pytest.fixture(scope="module", autouse=True)
def started_background(server: FakeServer) -> None:
    """Starts the loop in the background first: its descriptors are the process's, not a test's."""
    cascade = cascade_of(server)
    cascade.ask_sync("?")
    close_in_background(cascade)


WITHOUT_A_SHUTDOWN = """
import asyncio, sys
from corea import Cascade, Stage
from corea.backends.openai.client import OpenAIBackend, OpenAISettings

cascade = Cascade(stages=(Stage(name="only", backend=OpenAIBackend(OpenAISettings(model="m", base_url=sys.argv[1]))),))
for _ in range(5):
    loop = asyncio.new_event_loop()
    print(loop.run_until_complete(cascade.ask("?")).answer)
    loop.close()
asyncio.run(cascade.close())
"""


def test_loops_that_end_without_a_shutdown_leave_no_message(server: FakeServer) -> None:
    """Their sockets are closed when Python frees them: nothing can close them any more."""
    command = [sys.executable, "-c", WITHOUT_A_SHUTDOWN, server.base_url]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["7"] * 5, "")


@pytest.mark.usefixtures("nothing_left")
async def test_a_backend_that_is_dropped_within_a_loop_closes_its_connections(server: FakeServer) -> None:
    for _ in range(5):
        assert is_answered(await cascade_of(server).ask("?"))
    gc.collect()
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.usefixtures("nothing_left")
async def test_it_closes_at_the_end_of_a_block_and_can_be_asked_within_a_running_loop(server: FakeServer) -> None:
    async with cascade_of(server) as cascade:
        assert is_answered(await cascade.ask("?"))
        assert is_answered(cascade.ask_sync("?"))  # as in a notebook
        traces = [trace async for trace in cascade.ask_many(["a?", "b?", Question.of("c?", id="c")], ordered=True)]
    assert [trace.question_id for trace in traces] == ["question-1", "question-2", "c"]
    await asyncio.to_thread(close_in_background, cascade)


async def test_a_synchronous_call_from_within_one_is_refused_not_hung(server: FakeServer) -> None:
    cascade = cascade_of(server)

    async def within() -> Trace:
        return cascade.ask_sync("?")

    from corea.background import background

    with pytest.raises(RuntimeError, match="await the call"):
        await asyncio.to_thread(background.run, within())


class Raises:
    """A signal with a bug that ends programs."""

    def __init__(self, error: BaseException, *, in_a_task: bool) -> None:
        self.error, self.in_a_task = error, in_a_task

    async def measure(self, question: Question, completion: Completion) -> Confidence | None:
        async def fail() -> None:
            raise self.error

        await (asyncio.gather(asyncio.sleep(0), fail()) if self.in_a_task else fail())
        return None


def with_bug(server: FakeServer, error: BaseException, *, in_a_task: bool = False) -> Cascade:
    first, last = cascade_of(server).stages
    return Cascade(stages=(replace(first, signal=Raises(error, in_a_task=in_a_task)), last))


def in_time(call: Callable[[], Any]) -> Any:
    """What the call returns or raises; a daemon thread's, so that a call that hangs fails one test only."""
    outcome = Future[Any]()

    def work() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return outcome.result(timeout=20)


@pytest.mark.parametrize("in_a_task", [False, True])
@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()], ids=repr)
def test_a_plug_that_ends_programs_raises_to_its_caller_and_the_background_loop_lives(
    server: FakeServer, error: BaseException, in_a_task: bool
) -> None:
    good, bad = cascade_of(server), with_bug(server, error, in_a_task=in_a_task)
    for _ in range(2):
        with pytest.raises(type(error)):
            in_time(lambda: bad.ask_sync("?"))
        assert is_answered(in_time(lambda: good.ask_sync("?")))
    close_in_background(good)
    close_in_background(bad)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_a_plug_that_ends_programs_ends_a_batch(server: FakeServer, error: BaseException) -> None:
    async def batch() -> list[Trace]:
        async with with_bug(server, error) as cascade:
            return [trace async for trace in cascade.ask_many(["a?", "b?", "c?"], concurrency=2)]

    with pytest.raises(type(error)):
        in_time(lambda: asyncio.run(batch()))


AT_EXIT = """
import sys, threading
from corea import Cascade, Stage
from corea.backends.openai.client import OpenAIBackend, OpenAISettings
def cascade(url):
    return Cascade(stages=(Stage(name="only", backend=OpenAIBackend(OpenAISettings(model="m", base_url=url))),))
print(cascade(sys.argv[1]).ask_sync("?").answer)
if sys.argv[2:]:  # a call that never ends, in a thread that does not keep the process
    threading.Thread(target=lambda: cascade(sys.argv[2]).ask_sync("?"), daemon=True).start()
"""


@pytest.mark.parametrize("hanging", [False, True])
def test_a_program_that_ends_closes_the_loop_and_its_connections(server: FakeServer, hanging: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        urls = [server.base_url, *([f"http://127.0.0.1:{silent.getsockname()[1]}/v1"] * hanging)]
        for _ in range(3):
            done = subprocess.run(
                [sys.executable, "-W", "error", "-X", "dev", "-c", AT_EXIT, *urls],
                capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
            assert (done.returncode, done.stdout) == (0, "7\n")
            assert "ResourceWarning" not in done.stderr
            said = [
                line for line in done.stderr.splitlines() if not line.startswith("Executing <")
            ]  # slow, says asyncio
            assert hanging or said == []


def test_a_loop_that_is_ended_has_no_thread_is_closed_and_is_made_anew() -> None:
    from corea.background import BackgroundLoop

    async def loop_and_thread() -> tuple[asyncio.AbstractEventLoop, threading.Thread]:
        return asyncio.get_running_loop(), threading.current_thread()

    apart = BackgroundLoop()
    loop, thread = apart.run(loop_and_thread())
    thread.end()  # pyright: ignore  # as at the end of the process
    assert (loop.is_closed(), thread.is_alive()) == (True, False)
    assert apart.run(loop_and_thread())[0] is not loop


def test_a_call_submitted_while_the_loop_ends_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    from corea.background import BackgroundLoop

    async def this_thread() -> threading.Thread:
        return threading.current_thread()

    apart, ended = BackgroundLoop(), threading.Event()
    thread = apart.run(this_thread())
    submit = asyncio.run_coroutine_threadsafe

    async def call() -> None:
        await asyncio.sleep(60)

    def slow_submit(coroutine: Any, loop: asyncio.AbstractEventLoop) -> Any:
        if coroutine.__name__ == "call":
            ending.start()
            assert not ended.wait(0.2)  # the end waits for this submission
        return submit(coroutine, loop)

    def end() -> None:
        thread.end()  # pyright: ignore
        ended.set()

    ending = threading.Thread(target=end)
    monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", slow_submit)
    with pytest.raises(CancelledError):
        apart.run(call())
    ending.join(20)
    assert ended.is_set()


@pytest.mark.usefixtures("nothing_left")
def test_langchain_calls_it_in_batches(server: FakeServer) -> None:
    runnables = pytest.importorskip("langchain_core.runnables")
    cascade = cascade_of(server)
    ways: list[Callable[[str], Trace]] = [lambda text: asyncio.run(cascade.ask(text)), cascade.ask_sync]
    for way in ways:
        answers = runnables.RunnableLambda(way).batch([f"{n}?" for n in range(60)])
        assert all(is_answered(trace) for trace in answers)
    close_in_background(cascade)


def test_fastapi_calls_it_from_plain_functions(server: FakeServer) -> None:
    fastapi = pytest.importorskip("fastapi")
    from fastapi.testclient import TestClient

    app, cascade = fastapi.FastAPI(), cascade_of(server)

    @app.get("/a-loop-a-call")
    def a_loop_a_call() -> str | None:
        return asyncio.run(cascade.ask("?")).answer

    @app.get("/in-the-background")
    def in_the_background() -> str | None:
        return cascade.ask_sync("?").answer

    with TestClient(app) as client, ThreadPoolExecutor(8) as threads:
        paths = ["/a-loop-a-call", "/in-the-background"] * 40
        answers = list(threads.map(lambda path: client.get(path).json(), paths))
    assert answers == ["7"] * 80
    close_in_background(cascade)


# ---- what it logs


async def test_retries_and_the_breakers_changes_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "corea")
    async with FakeServer(Say("7")) as server:
        server.script = [Fail(503), Fail(503)]
        async with cascade_of_one(server, breaker_failures=2, breaker_cool_down_seconds=0.0) as cascade:
            assert (await cascade.ask("?")).text == "7"
    said = [(record.levelname, record.getMessage()) for record in caplog.records if record.name.startswith("corea")]
    assert [level for level, _ in said] == ["INFO", "WARNING", "INFO", "INFO", "WARNING"]
    assert "HTTP 503" in said[0][1]
    assert "attempt 2 follows in " in said[0][1]
    assert "2 failures in a row" in said[1][1]
    assert [text.rsplit(": ", 1)[1] for _, text in said[3:]] == [
        "one call may go, to see if it answers", "answered, so all calls may go again",
    ]  # fmt: skip


def cascade_of_one(server: FakeServer, **settings: Any) -> Cascade:
    made = backend(server, backoff_base_seconds=0.0, **settings)
    return Cascade(stages=(Stage(name="only", backend=made),))


def test_an_application_that_sets_up_no_logging_sees_nothing() -> None:
    assert any(isinstance(handler, logging.NullHandler) for handler in logging.getLogger("corea").handlers)


# ---- no secret where a traceback shows local variables

KEY = "sk-0123456789abcdef-not-for-anyone"


def frames(error: BaseException | None) -> Iterator[dict[str, Any]]:
    while error is not None:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            yield frame.f_locals
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("act", [Reset(), Fail(401), Fail(500), "no server"])
async def test_no_frame_of_an_error_shows_a_key(act: Any, stream: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", KEY)
    monkeypatch.setenv("OTHER_KEY", KEY + "2")
    async with FakeServer(Say("7")) as server:
        settings: dict[str, Any] = {"api_key_env": "SOME_KEY", "headers_env": {"X-Key": "OTHER_KEY"}, "max_retries": 0}
        asked = backend(server, stream=stream, **settings)
        if act == "no server":
            asked = OpenAIBackend(OpenAISettings(model="m", base_url="http://127.0.0.1:9/v1", **settings))
        else:
            server.script = [act]
        with pytest.raises(BackendError) as caught:
            await asked.complete(Question.of("?"), Sampling())
        await asked.close()
    shown = [(name, repr(value)) for each in frames(caught.value) for name, value in each.items()]
    assert len(shown) > 5
    assert [name for name, value in shown if KEY in value and name != "monkeypatch"] == []


@pytest.mark.parametrize("pasted", ["sk-proj-abcDEF123", "gsk_abcdefghijklmnopQRSTU", "AKIAIOSFODNN7EXAMPLE12"])
async def test_a_key_pasted_in_the_place_of_its_variable_is_not_shown(pasted: str) -> None:
    with pytest.raises(ConfigError) as caught:
        asked = OpenAIBackend(OpenAISettings(model="m", base_url="http://127.0.0.1:9/v1", api_key_env=pasted))
        await asked.complete(Question.of("?"), Sampling())
    assert pasted not in str(caught.value)
    assert "environment variable" in str(caught.value)
