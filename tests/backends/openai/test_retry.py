"""When to try again, and after how long."""

import random

import pytest

from corea.backends.openai.retry import Backoff, may_help, retry_after_seconds

BACKOFF = Backoff(base_seconds=0.5, cap_seconds=8.0, retry_after_cap_seconds=60.0)
NOW = 1_445_412_400.0  # Wed, 21 Oct 2015 07:26:40 GMT


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 520, 529])
def test_what_may_pass_is_tried_again(status: int) -> None:
    assert may_help(status, None, {})


@pytest.mark.parametrize("status", [200, 301, 400, 401, 402, 403, 404, 413, 422, 501])
def test_what_will_not_change_is_not(status: int) -> None:
    assert not may_help(status, None, {})


def test_the_servers_own_word_and_an_empty_account_overrule_the_status() -> None:
    assert not may_help(429, "insufficient_quota", {})
    assert not may_help(503, None, {"x-should-retry": "false"})
    assert may_help(400, None, {"x-should-retry": "true"})


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 80.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT", "date": "Wed, 21 Oct 2015 07:27:50 GMT"}, 10.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:00:00 GMT"}, 0.0),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "inf"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_each_of_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_seconds(headers, NOW) == seconds


def test_backoff_is_full_jitter_under_a_doubling_bound() -> None:
    rng = random.Random(0)
    for failed, most in [(1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (5, 8.0), (6, 8.0), (5000, 8.0)]:
        waits = [BACKOFF.wait_seconds(failed, None, rng) for _ in range(2000)]
        assert 0 <= min(waits) < 0.05 * most
        assert 0.95 * most < max(waits) <= most
        assert sum(waits) / 2000 == pytest.approx(most / 2, rel=0.05)


def test_at_least_what_was_asked_is_waited_up_to_the_cap() -> None:
    rng = random.Random(0)
    assert 7.0 <= BACKOFF.wait_seconds(1, 7.0, rng) <= 7.5
    assert 60.0 <= BACKOFF.wait_seconds(1, 3600.0, rng) <= 60.5
