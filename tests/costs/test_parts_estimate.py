"""Estimated tokens of pictures, files and sounds in a call that no server counted."""

import base64
from typing import Any

import pytest

from corea.costs.token_estimate import estimate_prompt
from corea.types import Message

SECOND_OF_WAV = base64.b64encode(bytes(48_000)).decode()


@pytest.mark.parametrize(
    ("part", "tokens"),
    [
        ({"type": "text", "text": "counted as the message's text"}, 0),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 9000}}, 765),
        ({"type": "image_url", "image_url": {"url": "u", "detail": "low"}}, 85),
        ({"type": "input_image", "image_url": "u", "detail": "low"}, 85),
        ({"type": "input_image", "image_url": "u"}, 765),
        ({"type": "file", "file": {"file_data": "data:"}}, 765),
        ({"type": "input_audio", "input_audio": {"data": SECOND_OF_WAV, "format": "wav"}}, 10),
        ({"type": "input_audio", "input_audio": {"data": SECOND_OF_WAV, "format": "mp3"}}, 30),
        ({"type": "input_audio", "input_audio": None}, 0),
        ({"type": "input_audio", "input_audio": {"data": 5}}, 0),
        ({"type": ["x"]}, 0),
        ("text", 0),
    ],
)
def test_a_part_counts_by_the_stated_estimate(part: Any, tokens: int) -> None:
    raw = {"role": "user", "content": [part, part]}
    assert estimate_prompt([Message("user", "What is this?", raw=raw)]) == 4 + 4 + 2 * tokens
