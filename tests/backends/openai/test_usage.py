"""Usage objects as servers write them, read as OpenAI counts: every token once, and at its own kind's price."""

import json
from decimal import Decimal
from typing import Any

import pytest

from corea.backends.openai.usage import find_usage, read_usage
from corea.backends.openai.wire import ReplyBuilder, read_response
from corea.types import Completion, Question, Usage

ROWS: dict[str, tuple[dict[str, Any], Usage]] = {
    "Anthropic: tools that ran at the server; fetching a page costs its tokens alone": (
        {
            "input_tokens": 105,
            "output_tokens": 60,
            "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 3, "code_execution_requests": 1},
        },
        Usage(prompt_tokens=105, completion_tokens=60, web_searches=2, tool_calls=1),
    ),
    "OpenAI: cached and reasoning within": (
        {
            "prompt_tokens": 2006,
            "completion_tokens": 300,
            "total_tokens": 2306,
            "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 256, "accepted_prediction_tokens": 0},
        },
        Usage(prompt_tokens=2006, cached_tokens=1920, completion_tokens=300, reasoning_tokens=256),
    ),
    "OpenAI, OpenRouter: cache writes within": (
        {
            "prompt_tokens": 1500,
            "completion_tokens": 10,
            "total_tokens": 1510,
            "prompt_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 1300},
        },
        Usage(prompt_tokens=1500, cached_tokens=100, cache_write_tokens=1300, completion_tokens=10),
    ),
    "LiteLLM before Claude: within, and named twice": (
        {
            "prompt_tokens": 2000,
            "completion_tokens": 30,
            "total_tokens": 2030,
            "cache_creation_input_tokens": 1800,
            "cache_read_input_tokens": 100,
            "prompt_tokens_details": {"cached_tokens": 100, "cache_creation_tokens": 1800},
        },
        Usage(prompt_tokens=2000, cached_tokens=100, cache_write_tokens=1800, completion_tokens=30),
    ),
    "a proxy that leaves the prompt as Anthropic counts it, and says so by its total": (
        {
            "prompt_tokens": 20,
            "completion_tokens": 30,
            "total_tokens": 1950,
            "cache_creation_input_tokens": 1800,
            "cache_read_input_tokens": 100,
        },
        Usage(prompt_tokens=1920, cached_tokens=100, cache_write_tokens=1800, completion_tokens=30),
    ),
    "the same with a total of the two: they cannot be within": (
        {"prompt_tokens": 20, "completion_tokens": 30, "total_tokens": 50, "cache_creation_input_tokens": 1800},
        Usage(prompt_tokens=1820, cache_write_tokens=1800, completion_tokens=30),
    ),
    "only the writes stand beside the prompt": (
        {
            "prompt_tokens": 500,
            "completion_tokens": 30,
            "total_tokens": 2330,
            "cache_creation_input_tokens": 1800,
            "prompt_tokens_details": {"cached_tokens": 400},
        },
        Usage(prompt_tokens=2300, cached_tokens=400, cache_write_tokens=1800, completion_tokens=30),
    ),
    "Anthropic's own names": (
        {
            "input_tokens": 20,
            "output_tokens": 30,
            "cache_creation_input_tokens": 1800,
            "cache_read_input_tokens": 100,
            "cache_creation": {"ephemeral_5m_input_tokens": 800, "ephemeral_1h_input_tokens": 1000},
        },
        Usage(
            prompt_tokens=1920,
            cached_tokens=100,
            cache_write_tokens=1800,
            cache_write_1h_tokens=1000,
            completion_tokens=30,
        ),
    ),
    "Anthropic's own names, writes fewer than the rest": (
        {"input_tokens": 5000, "output_tokens": 30, "cache_creation_input_tokens": 100},
        Usage(prompt_tokens=5100, cache_write_tokens=100, completion_tokens=30),
    ),
    "Qwen: writes in the details": (
        {
            "prompt_tokens": 1200,
            "completion_tokens": 30,
            "total_tokens": 1230,
            "prompt_tokens_details": {
                "cached_tokens": 0,
                "cache_creation_input_tokens": 1100,
                "cache_creation": {"ephemeral_5m_input_tokens": 1100},
                "cache_type": "ephemeral",
            },
        },
        Usage(prompt_tokens=1200, cache_write_tokens=1100, completion_tokens=30),
    ),
    "OpenAI's responses": (
        {
            "input_tokens": 100,
            "output_tokens": 50,
            "total_tokens": 150,
            "input_tokens_details": {"cached_tokens": 60},
            "output_tokens_details": {"reasoning_tokens": 20},
        },
        Usage(prompt_tokens=100, cached_tokens=60, completion_tokens=50, reasoning_tokens=20),
    ),
    "DeepSeek": (
        {"prompt_tokens": 90, "completion_tokens": 5, "prompt_cache_hit_tokens": 64, "prompt_cache_miss_tokens": 26},
        Usage(prompt_tokens=90, cached_tokens=64, completion_tokens=5),
    ),
    "Moonshot": (
        {"prompt_tokens": 90, "completion_tokens": 5, "total_tokens": 95, "cached_tokens": 64},
        Usage(prompt_tokens=90, cached_tokens=64, completion_tokens=5),
    ),
    "xAI: reasoning beside the completion": (
        {
            "prompt_tokens": 32,
            "completion_tokens": 9,
            "total_tokens": 135,
            "completion_tokens_details": {"reasoning_tokens": 94},
        },
        Usage(prompt_tokens=32, completion_tokens=103, reasoning_tokens=94),
    ),
    "reasoning that cannot be within, and no total": (
        {"prompt_tokens": 32, "completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 94}},
        Usage(prompt_tokens=32, completion_tokens=103, reasoning_tokens=94),
    ),
    "SGLang": (
        {"prompt_tokens": 17, "completion_tokens": 10, "total_tokens": 27, "reasoning_tokens": 7},
        Usage(prompt_tokens=17, completion_tokens=10, reasoning_tokens=7),
    ),
    "SGLang, cut off while it thought: one token too many": (
        {"prompt_tokens": 75, "completion_tokens": 24, "total_tokens": 99, "reasoning_tokens": 25},
        Usage(prompt_tokens=75, completion_tokens=24, reasoning_tokens=24),
    ),
    "Gemini: thoughts only in the total": (
        {"prompt_tokens": 11, "completion_tokens": 40, "total_tokens": 151},
        Usage(prompt_tokens=11, completion_tokens=140, reasoning_tokens=100),
    ),
    "Gemini, cut off while it thought": (
        {"prompt_tokens": 11, "total_tokens": 511},
        Usage(prompt_tokens=11, completion_tokens=500),
    ),
    "null with a total": (
        {"prompt_tokens": 11, "completion_tokens": None, "total_tokens": 51},
        Usage(prompt_tokens=11, completion_tokens=40),
    ),
    "null for the prompt": (
        {"prompt_tokens": None, "completion_tokens": 40, "total_tokens": 51},
        Usage(prompt_tokens=11, completion_tokens=40),
    ),
    "a total that is less than its parts is no news": (
        {"prompt_tokens": 11, "completion_tokens": 40, "total_tokens": 3},
        Usage(prompt_tokens=11, completion_tokens=40),
    ),
    "writes beside, and thoughts in what is left of the total": (
        {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 615, "cache_creation_input_tokens": 500},
        Usage(prompt_tokens=510, cache_write_tokens=500, completion_tokens=105, reasoning_tokens=100),
    ),
}


@pytest.mark.parametrize("server", ROWS)
def test_a_servers_counts_are_read_as_openai_counts(server: str) -> None:
    told, expected = ROWS[server]
    billed = read_usage(json.dumps(told).encode())
    assert billed is not None
    assert billed.usage == expected


@pytest.mark.parametrize("server", ROWS)
def test_the_same_counts_are_found_in_a_broken_answer(server: str) -> None:
    told, expected = ROWS[server]
    found = find_usage(json.dumps({"usage": told, "choices": []}).encode()[:-3])
    assert found is not None
    assert found.usage == expected


@pytest.mark.parametrize("server", ROWS)
def test_parts_are_never_larger_than_the_whole(server: str) -> None:
    usage = ROWS[server][1]
    assert usage.cached_tokens + usage.cache_write_tokens <= usage.prompt_tokens
    assert usage.cache_write_1h_tokens <= usage.cache_write_tokens
    assert usage.reasoning_tokens <= usage.completion_tokens


def test_a_total_alone_is_split_by_an_estimate_of_the_prompt() -> None:
    written = ReplyBuilder()
    written.add(*read_response(b'{"choices": [{"message": {"content": "4"}}], "usage": {"total_tokens": 60}}'))
    usage = written.completion(Question.of("2 + 2?"), "m").usage
    assert usage == Usage(prompt_tokens=6, completion_tokens=54, estimated=True)  # 6 bytes are 2 tokens, and 4


# --- counts of which some cannot be read, or are left out -------------------------------------------------------------

COUNTS = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
BOTH = Usage(prompt_tokens=1000, completion_tokens=500)
UNREADABLE: dict[str, tuple[dict[str, Any], Usage, str | None]] = {
    "Perplexity: the charge is an object": (
        {**COUNTS, "cost": {"input_tokens_cost": 0.001, "request_cost": 0.002, "total_cost": 0.003}}, BOTH, "0.003",
    ),
    "a charge that is an object of another kind": ({**COUNTS, "cost": {"usd": 1}}, BOTH, None),
    "details that are a list": ({**COUNTS, "prompt_tokens_details": [], "completion_tokens_details": []}, BOTH, None),
    "details that are a number": ({**COUNTS, "prompt_tokens_details": 7}, BOTH, None),
    "cached tokens that are a word": ({**COUNTS, "prompt_tokens_details": {"cached_tokens": "x"}}, BOTH, None),
    "one detail that cannot be read beside one that can": (
        {**COUNTS, "prompt_tokens_details": {"cached_tokens": 800, "cache_creation": "none"}},
        Usage(prompt_tokens=1000, cached_tokens=800, completion_tokens=500), None,
    ),
    "a charge that is a word": ({**COUNTS, "cost": "abc"}, BOTH, None),
    "a charge as text": ({**COUNTS, "cost": "0.0125", "cached_tokens": []}, BOTH, "0.0125"),
    "a charge that is no number": ({**COUNTS, "cost": "NaN"}, BOTH, None),
    "a charge out of all range": ({**COUNTS, "cost": "1e999", "is_byok": "yes"}, BOTH, None),
    "counts as text": ({"prompt_tokens": "1000", "completion_tokens": "500", "total_tokens": "1500"}, BOTH, None),
    "counts as text with a fraction": ({"prompt_tokens": "1000.0", "completion_tokens": "500.0"}, BOTH, None),
    "a total that is a word": ({**COUNTS, "total_tokens": "n/a"}, BOTH, None),
    "a prompt that is a word, by the total": ({**COUNTS, "prompt_tokens": "n/a"}, BOTH, None),
    "a completion that is a list, by the total": ({**COUNTS, "completion_tokens": [500]}, BOTH, None),
    "a completion of -1, by the total": ({**COUNTS, "completion_tokens": -1}, BOTH, None),
    "a count that is true, by the total": ({**COUNTS, "completion_tokens": True}, BOTH, None),
    "Anthropic's names, one of them text": ({"input_tokens": "1000", "output_tokens": 500}, BOTH, None),
}  # fmt: skip
TEXT = "It is four, as two and two make four."  # 37 bytes: 10 tokens


def completed(usage: Any, text: str = TEXT, **message: Any) -> Completion:
    """A completion with this usage object, of a question of 6 estimated tokens."""
    written = ReplyBuilder()
    choice = {"message": {"content": text, **message}}
    written.add(*read_response(json.dumps({"choices": [choice], "usage": usage}).encode()))
    return written.completion(Question.of("2 + 2?"), "m")


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_field_that_cannot_be_read_leaves_the_others(kind: str) -> None:
    told, usage, cost = UNREADABLE[kind]
    completion = completed(told)
    assert completion.usage == usage
    assert completion.cost_usd == (None if cost is None else Decimal(cost))


@pytest.mark.parametrize("usage", [[], "many", 7, {"prompt_tokens": {}}, {"tokens": 9}, {"total_tokens": "Infinity"}])
def test_what_is_no_count_at_all_is_estimated(usage: Any) -> None:
    assert completed(usage).usage == Usage(prompt_tokens=6, completion_tokens=10, estimated=True)


@pytest.mark.parametrize(
    "missing", [{"completion_tokens": None}, {}, {"completion_tokens": "?"}, {"completion_tokens": -1}]
)
def test_a_completion_that_is_not_told_is_estimated_from_the_text_and_marked(missing: dict[str, Any]) -> None:
    assert completed({"prompt_tokens": 700, **missing}).usage == Usage(
        prompt_tokens=700, completion_tokens=10, estimated=True
    )


def test_so_is_one_of_which_only_the_thoughts_are_told() -> None:
    told = {"prompt_tokens": 700, "completion_tokens": None, "completion_tokens_details": {"reasoning_tokens": 200}}
    expected = Usage(prompt_tokens=700, completion_tokens=210, reasoning_tokens=200, estimated=True)
    assert completed(told).usage == expected


def test_thoughts_that_are_told_nowhere_are_estimated_too() -> None:
    completion = completed({"prompt_tokens": 700, "completion_tokens": None}, reasoning_content="x" * 400)
    assert completion.usage == Usage(prompt_tokens=700, completion_tokens=110, reasoning_tokens=100, estimated=True)


def test_a_completion_of_0_that_has_a_text_is_estimated() -> None:
    assert completed({"prompt_tokens": 700, "completion_tokens": 0}).usage == Usage(
        prompt_tokens=700, completion_tokens=10, estimated=True
    )


def test_a_completion_of_0_without_a_text_is_what_was_told() -> None:
    assert completed({"prompt_tokens": 700, "completion_tokens": 0}, "").usage == Usage(prompt_tokens=700)


def test_a_prompt_that_is_not_told_is_estimated_and_holds_what_was_cached() -> None:
    assert completed({"completion_tokens": 9}).usage == Usage(prompt_tokens=6, completion_tokens=9, estimated=True)
    cached = completed({"completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 64}}).usage
    assert (cached.prompt_tokens, cached.cached_tokens, cached.estimated) == (64, 64, True)
