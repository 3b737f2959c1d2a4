"""Usage objects as servers write them, read as OpenAI counts: every token once, and at its own kind's price."""

import json
from typing import Any

import pytest

from corea.backends.usage import find_usage, read_usage
from corea.backends.wire import Written, read_reply
from corea.types import Question, Usage

ROWS: dict[str, tuple[dict[str, Any], Usage]] = {
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
    assert find_usage(json.dumps({"usage": told, "choices": []}).encode()[:-3]) == expected


@pytest.mark.parametrize("server", ROWS)
def test_parts_are_never_larger_than_the_whole(server: str) -> None:
    usage = ROWS[server][1]
    assert usage.cached_tokens + usage.cache_write_tokens <= usage.prompt_tokens
    assert usage.cache_write_1h_tokens <= usage.cache_write_tokens
    assert usage.reasoning_tokens <= usage.completion_tokens


def test_a_total_alone_is_split_by_an_estimate_of_the_prompt() -> None:
    written = Written()
    written.add(read_reply(b'{"choices": [{"message": {"content": "4"}}], "usage": {"total_tokens": 60}}'))
    usage = written.completion(Question.of("2 + 2?"), "m").usage
    assert usage == Usage(prompt_tokens=6, completion_tokens=54, estimated=True)  # 6 bytes are 2 tokens, and 4
