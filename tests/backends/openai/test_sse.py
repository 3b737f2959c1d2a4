"""Events come out whole, however the bytes come in."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corea.backends.openai.sse import MOST_BYTES, EventReader

STREAM = (
    b': keep-alive\r\n\r\nevent: message\r\nid: 1\r\ndata: {"a": "\xe2\x9c\x93"}\r\n\r\n'
    b"data:no space\n\n\n\ndata: two\ndata: lines\n\nretry: 3\n\ndata: [DONE]\n\n"
)
EVENTS = ['{"a": "✓"}'.encode(), b"no space", b"two\nlines", b"[DONE]"]


def read(pieces: list[bytes]) -> list[bytes]:
    reader = EventReader()
    events = [event for piece in pieces for event in reader.feed(piece)]
    return events + list(reader.finish())


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_any_cut_gives_the_same_events(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    assert read([STREAM[a:b] for a, b in pairwise(places)]) == EVENTS


def test_an_event_without_its_blank_line_is_given_at_the_end() -> None:
    assert read([b"data: last"]) == [b"last"]


def test_an_endless_line_is_refused_before_it_fills_the_memory() -> None:
    reader = EventReader()
    list(reader.feed(b"x" * MOST_BYTES))
    with pytest.raises(ValueError, match="more than"):
        list(reader.feed(b"x"))
