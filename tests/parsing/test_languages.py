"""The word table: its fields are those that patterns name, and its stems find the phrases they stand for."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import corea.parsing
from corea.parsing.languages import expanded, stems

FOLDER = Path(corea.parsing.__file__).parent
TABLE = tomllib.loads((FOLDER / "languages.toml").read_text(encoding="utf-8"))
SOURCES = "".join(path.read_text(encoding="utf-8") for path in FOLDER.glob("*.py"))
FIELDS = sorted({field for language in TABLE.values() for field in language})


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_is_used_and_holds_valid_patterns(field: str) -> None:
    inner = "".join(str(words) for language in TABLE.values() for words in language.values())
    assert f"‹{field}›" in SOURCES + inner or f'"{field}"' in SOURCES
    if "abbreviation" not in field and field not in ("statistics", "speaker"):  # these are plain words
        re.compile(expanded(f"‹{field}›"))


def test_patterns_name_only_fields_of_the_table() -> None:
    assert set(re.findall(r"‹(\w+)›", SOURCES)) - {"because"} <= set(FIELDS)


@pytest.mark.parametrize("code", sorted(set(TABLE) - {"en"}))
def test_every_word_for_an_answer_has_one_of_the_stems(code: str) -> None:
    found = stems("answer_stems", "ä")
    assert all(any(stem in noun for stem in found) for noun in TABLE[code]["nouns"].split("|") if "(?" not in noun)


def test_the_table_is_read_only_when_a_pattern_needs_it() -> None:
    code = (
        "import pathlib; from corea.parsing import read_answer\n"
        "pathlib.Path.read_text = None  # nothing can be read from now on\n"
        "print(read_answer('<think>2 + 2</think> <answer>4</answer>'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "4\n"
