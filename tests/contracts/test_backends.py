"""What holds for every backend. The backends are in backend_cases.py; each name in BACKENDS has a case there."""

import asyncio
import math
from importlib.util import find_spec

import pytest
from tests.contracts.backend_cases import CASES, Case

from corea.backends import BACKENDS
from corea.errors import BackendError
from corea.protocols import Backend, Scorer, Streamer
from corea.registry import resolve
from corea.types import Completion, Sampling, StreamPart

GREEDY = Sampling(temperature=0.0, max_tokens=24)


def parameters(cases: list[Case]) -> list[object]:
    return [pytest.param(case, id=case.name, marks=[pytest.mark.slow] if case.slow else []) for case in cases]


def over(cases: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", parameters(cases))


@pytest.fixture(autouse=True)
def needs(request: pytest.FixtureRequest) -> None:
    case: Case | None = request.node.callspec.params.get("case") if hasattr(request.node, "callspec") else None
    for module in case.needs if case else ():
        if find_spec(module) is None:
            pytest.skip(f"needs {module}")


def test_every_registered_backend_has_a_case() -> None:
    assert {case.name.split(",")[0] for case in CASES} == set(BACKENDS)


@pytest.mark.parametrize("name", BACKENDS)
def test_every_name_in_the_table_stands_for_a_class_with_the_verb(name: str) -> None:
    if name == "hf" and find_spec("transformers") is None:
        pytest.skip("needs transformers")
    assert asyncio.iscoroutinefunction(resolve("kind", name, BACKENDS).complete)


@over(CASES)
async def test_it_answers_with_text_and_counted_tokens(case: Case) -> None:
    async with case.answering() as backend:
        assert isinstance(backend, Backend)
        completion = await backend.complete(case.question, GREEDY)
    assert isinstance(completion, Completion)
    assert completion.text
    assert completion.model
    assert completion.usage.prompt_tokens > 0
    assert completion.usage.completion_tokens > 0
    assert completion.usage.cached_tokens <= completion.usage.prompt_tokens
    assert completion.usage.reasoning_tokens <= completion.usage.completion_tokens
    assert completion.seconds >= 0
    assert completion.retries == 0


@over(CASES)
async def test_it_says_the_same_again_at_temperature_0(case: Case) -> None:
    async with case.answering() as backend:
        first, second = [await backend.complete(case.question, GREEDY) for _ in range(2)]
    assert (first.text, first.usage) == (second.text, second.usage)


@over(CASES)
async def test_it_gives_no_logprobs_unasked(case: Case) -> None:
    async with case.answering() as backend:
        assert (await backend.complete(case.question, GREEDY)).logprobs is None


@over([case for case in CASES if case.logprobs])
async def test_its_logprobs_join_to_the_text(case: Case) -> None:
    async with case.answering() as backend:
        asked = Sampling(temperature=0.0, max_tokens=24, logprobs=True, top_logprobs=3)
        completion = await backend.complete(case.question, asked)
    assert completion.logprobs is not None
    assert "".join(token.token for token in completion.logprobs) == completion.text
    for token in completion.logprobs:
        assert -math.inf < token.logprob <= 1e-6
        assert len(token.top) <= 3
        assert [p for _, p in token.top] == sorted((p for _, p in token.top), reverse=True)


@over([case for case in CASES if case.limits])
async def test_it_heeds_max_tokens(case: Case) -> None:
    async with case.answering() as backend:
        completion = await backend.complete(case.question, Sampling(temperature=0.0, max_tokens=2))
    assert completion.usage.completion_tokens <= 2
    assert completion.finish_reason == "length"


@over(CASES)
async def test_its_stream_adds_up_to_its_answer(case: Case) -> None:
    async with case.answering() as backend:
        if not isinstance(backend, Streamer):
            pytest.skip("does not stream")
        whole = await backend.complete(case.question, GREEDY)
        *pieces, last = [piece async for piece in backend.stream(case.question, GREEDY)]
    assert isinstance(last, Completion)
    assert all(isinstance(piece, str | StreamPart) for piece in pieces)
    assert "".join(str(getattr(piece, "text", piece)) for piece in pieces) == last.text == whole.text
    assert last.usage == whole.usage
    assert last.finish_reason == whole.finish_reason


@over(CASES)
async def test_a_stream_may_be_left_in_the_middle(case: Case) -> None:
    async with case.answering() as backend:
        if not isinstance(backend, Streamer):
            pytest.skip("does not stream")
        stream = backend.stream(case.question, GREEDY)
        await anext(stream)
        await stream.aclose()  # pyright: ignore[reportAttributeAccessIssue]  # every stream here is a generator
        assert (await backend.complete(case.question, GREEDY)).text


@over(CASES)
async def test_it_answers_many_at_once(case: Case) -> None:
    async with case.answering() as backend:
        completions = await asyncio.gather(*(backend.complete(case.question, GREEDY) for _ in range(8)))
    assert len({completion.text for completion in completions}) == 1


@over(CASES)
async def test_it_scores_each_continuation(case: Case) -> None:
    async with case.answering() as backend:
        if not isinstance(backend, Scorer):
            pytest.skip("does not score")
        scores = await backend.score(case.question, "<confidence>0.", ["1", "9"])
    assert len(scores) == 2
    assert all(-math.inf < score <= 1e-6 for score in scores)


@over([case for case in CASES if case.failing])
async def test_a_failure_at_the_far_end_is_a_backend_error_on_one_line(case: Case) -> None:
    assert case.failing is not None
    async with case.failing() as backend:
        with pytest.raises(BackendError) as caught:
            await backend.complete(case.question, GREEDY)
        if isinstance(backend, Streamer):
            with pytest.raises(BackendError):
                [piece async for piece in backend.stream(case.question, GREEDY)]
    assert "\n" not in str(caught.value)


@over([case for case in CASES if case.waiting])
async def test_a_cancelled_call_ends_at_once_and_leaves_nothing_behind(case: Case) -> None:
    assert case.waiting is not None
    async with case.waiting() as backend:
        before = asyncio.all_tasks()
        task = asyncio.create_task(backend.complete(case.question, GREEDY))  # type: ignore[arg-type]
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(5):
                await task
        await asyncio.sleep(0.02)
        left = {task.get_coro().__qualname__ for task in asyncio.all_tasks() - before}  # type: ignore[union-attr]
    assert left <= {"RequestHandler.start"}  # that of a fake server


@over(CASES)
def test_it_can_be_used_from_one_event_loop_after_another(case: Case) -> None:
    async def ask() -> str:
        async with case.answering() as backend:
            return (await backend.complete(case.question, GREEDY)).text

    assert asyncio.run(ask()) == asyncio.run(ask())


@over(CASES)
async def test_it_may_be_closed_twice(case: Case) -> None:
    async with case.answering() as backend:
        await backend.complete(case.question, GREEDY)
        if close := getattr(backend, "close", None):
            await close()
            await close()
