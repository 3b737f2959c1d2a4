"""`read_answer` on invented texts: thinking, closing sentences, remarks, corrections, labels, JSON.

`accept` holds the values that are right; null: none can be read.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from corea.parsing import find_answer, read_answer

with (Path(__file__).parent / "answers.jsonl").open(encoding="utf-8") as lines:
    CASES = [json.loads(line) for line in lines]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["text"][:40].replace("\n", " "))
def test_an_answer_is_its_whole_phrase_or_none(case: dict[str, Any]) -> None:
    assert read_answer(case["text"], choices=case["choices"]) in case["accept"]


@pytest.mark.parametrize("blank", ["\x85", "\u2028", "\u3000", "\u200b", "\ufeff \u2060", "\x1c\n", "\xa0\t"])
def test_white_space_and_characters_of_no_width_are_no_answer(blank: str) -> None:
    for text in (
        blank,
        f"<answer>{blank}</answer>",
        f"Answer: {blank}",
        f"\\boxed{{{blank}}}",
        f'{{"answer": "{blank}"}}',
    ):
        assert read_answer(text) is None
    assert read_answer(f"<answer>{blank}42{blank}</answer>") == "42"


def test_a_decoded_value_keeps_the_place_of_what_was_written() -> None:
    text = '{"reasoning": "so", "answer": "C\\u00f4te d\'Ivoire", "confidence": 0.9}'
    stated = find_answer(text)
    assert stated is not None
    assert stated.value == "Côte d'Ivoire"
    assert text[stated.start : stated.end] == "C\\u00f4te d'Ivoire"
