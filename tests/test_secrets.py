"""What may be a key is known by its look, and names of models, variables and addresses are not taken for one."""

import pytest

from corea.secrets import HIDDEN, Secret, marked, may_be_key, shown, shown_url

KEYS = [
    "sk-proj-abc123DEF456ghi789", "sk-ant-api03-xyz_abc", "sk-or-v1-abcdef", "sk_live_51Habcdefghijk",
    "gsk_abcDEF123456789012345678901234567890", "gsk_abcdefghijklmnopQRSTU", "AIzaSyA1234567890abcdefghijklmnopqrstuv",
    "xai-abcdefghijklmnopq", "hf_abcdEFGHijklMNOP", "AKIAIOSFODNN7EXAMPLE12", "github_pat_11ABCDEFG",
    "0123456789abcdef0123456789abcdef", "abc123def456", "1234567890123456", "SHORTKEY12345678",
    "550e8400-e29b-41d4-a716-446655440000", "nvapi-AbcdEFgh-ijklMNOP_qrst", "q7R-x2Lw_9TzK4-vB8nM_1yHp",
    "Authorization: Bearer hunter-two", "ZmFrZS1rZXktZm9yLXRlc3RzLW9ubHk=", "eyJhbGciOiJIUzI1NiIsInR5cCI6",
]  # fmt: skip
NO_KEYS = [
    "claude-3-5-sonnet-20241022", "gpt-4o-mini-2024-07-18", "Qwen/Qwen2.5-72B-Instruct-AWQ", "deepseek-r1-distill-qwen",
    "accounts/fireworks/models/llama-v3p1-405b-instruct", "mixtral-8x7b-instruct-v0.1", "OPENAI_API_KEY", "HF_TOKEN",
    "https://generativelanguage.googleapis.com/v1beta/openai", "http://localhost:11434/v1", "hf-inference",
    "max_completion_tokens", "first_byte_timeout_seconds", "X-Goog-Api-Key", "task-force", "bearer", "0.8", "",
    "corea.signals.verbalized:Verbalized", "gemini-2.5-flash-preview-05-20", "OpenRouterApiKey",
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_not_shown(key: str) -> None:
    assert may_be_key(key)
    for value in (key, [key], {"a": {"b": key}}, {key: 1}):
        assert key not in shown(value)
        assert key not in repr(marked(value))
    assert marked({key: [key, 1.5, None]}) == {key: [key, 1.5, None]}
    assert shown(int("1" * 20)) == shown("sk-abcdef") == "a value that is not shown (it may be a key)"


@pytest.mark.parametrize("text", NO_KEYS)
def test_what_is_no_key_is_shown(text: str) -> None:
    assert not may_be_key(text)
    assert shown(text) == repr(text)
    assert type(marked(text)) is str


@pytest.mark.parametrize("value", [0.12345678901234567, 1e-300, True, None, 128000, ["a", 1]])
def test_numbers_and_the_like_are_shown(value: object) -> None:
    assert shown(value) == repr(value)


def test_a_secret_works_as_the_text_that_it_is() -> None:
    assert (Secret("abc"), f"{Secret('abc')}", repr(Secret("abc")[1:])) == ("abc", "abc", repr(HIDDEN))


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("http://localhost:8000/v1", "http://localhost:8000/v1"),
        ("https://x.example/openai/deployments/gpt-4o-mini-2024-07-18", None),
        ("https://x.example/abc123def456/v1", f"https://x.example/{HIDDEN}/v1"),
        ("https://x.example/v1/sk-proj-abcd/", f"https://x.example/v1/{HIDDEN}/"),
        ("https://me:pass@x.example/v1", f"https://{HIDDEN}@x.example/v1"),
        ("ftp://pass@x.example", f"ftp://{HIDDEN}@x.example"),
        ("me:pass@x.example/v1", f"{HIDDEN}@x.example/v1"),
        ("http://me:p/ss@x.example/v1", f"http://{HIDDEN}@x.example/v1"),
        ("http://x.example/v1?key=pass", "http://x.example/v1?..."),
    ],
)
def test_an_address_is_shown_without_its_keys(url: str, seen: str | None) -> None:
    assert shown_url(url) == (seen or url)
