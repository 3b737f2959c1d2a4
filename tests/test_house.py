"""The house: sizes below their ceilings, a class name once, no unused module, no circle, plain words."""

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer
from tests import house, prose

from corea.cli.main import make_app

UNCONVERTED = set((house.ROOT / "tests" / "unconverted.txt").read_text(encoding="utf-8").split())


@pytest.mark.parametrize("size", house.house()["sizes"])
def test_a_size_is_at_most_its_ceiling(size: str) -> None:
    assert house.figures()[size] <= house.house()["sizes"][size]["now"]


def test_no_class_name_is_defined_twice() -> None:
    twice = {name: at for name, at in house.repeated_classes().items() if name not in house.house()["classes"]["twice"]}
    assert twice == {}


def test_every_module_is_reached_from_the_command_line_the_public_names_or_the_documentation() -> None:
    assert house.unused_modules() == set()


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert house.circles() == []


def test_no_class_or_module_has_a_name_that_was_given_up() -> None:
    old, allowed = prose.words(), house.house()["old_names"]
    modules = {f"corea.{name}": new for name, new in old["modules"].items() if f"corea.{name}" in house.modules()}
    classes = {name: old["classes"][name] for name in house.classes() if name in old["classes"]}
    assert {name: new for name, new in {**modules, **classes}.items() if name not in allowed["still_there"]} == {}


def test_the_prose_is_plain_english() -> None:
    found = {path: lines for path, lines in prose.all_faults().items() if path not in UNCONVERTED}
    assert not found, "\n" + "\n".join(line for lines in found.values() for line in lines)


@pytest.mark.parametrize(
    ("text", "kind", "found"),
    [
        ("Whether a key\n    is told anew.", "docstring", ["1: begins with 'Whether'", "2: 'told'", "2: 'anew'"]),
        ("Reads rows.\n\n    Args:\n        rows: What it reads.", "docstring", ["4: begins with 'What'"]),
        ("What the large model\n  says", "help", ["1: begins with 'What'"]),
        ("# it stands\n# beside", "comment", []),
        ("it stands\nbeside the other", "page", ["1: 'stands beside'"]),
        ("a row that is no question", "string", ["1: 'is no question'"]),
        ("there is no question; it is no longer untold; what lies; a relies", "string", ["1: 'lies'"]),
        ("as long as; so long as; so far; part a", "comment", []),
        ('kind = "tie_keep"', "code", ["1: 'tie_keep'"]),
        ("import corea.calibrate.poor", "code", ["1: 'corea.calibrate.poor'"]),
        ("import corea.calibrate.poorer; told", "code", []),
        ("`--gold 3` and --golden", "page", ["1: '--gold'"]),
    ],
)
def test_a_word_is_found_by_its_line(text: str, kind: str, found: list[str]) -> None:
    lines = prose.faults(prose.Text(house.ROOT / "src" / "a.py", 1, text, kind))
    assert sorted(line.split(" -> ")[0].removeprefix("src/a.py:") for line in lines) == sorted(found)


def test_strings_of_users_texts_are_left_alone() -> None:
    assert list(prose.faults(prose.Text(house.ROOT / "src/corea/parsing/a.py", 1, "nobody knows", "string"))) == []


def test_comments_docstrings_and_strings_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text('"""Head."""\n\n\ndef f():  # why\n    """Body."""\n    return "value"\n')
    pieces = [(text.kind, text.line, text.text) for text in prose.in_code(tmp_path / "a.py")][:-1]
    assert sorted(pieces) == [
        ("comment", 4, "# why"), ("docstring", 1, "Head."), ("docstring", 5, "Body."), ("string", 6, "value"),
    ]  # fmt: skip


def test_a_circle_and_a_repeated_class_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = "from corea import two\n\nclass Row: ...\n\ndef f():\n    from corea import three\n"
    for name, text in {"one": one, "two": "import corea.one\n", "three": "class Row: ...\n"}.items():
        (tmp_path / f"{name}.py").write_text(text)
    files = {f"corea.{path.stem}": path for path in tmp_path.glob("*.py")}
    monkeypatch.setattr(house, "modules", lambda: files)
    assert house.circles() == [["corea.one", "corea.two"]]
    assert {name: sorted(at) for name, at in house.repeated_classes().items()} == {"Row": ["corea.one", "corea.three"]}
    assert house.use_graph()["corea.one"] == {"corea.two", "corea.three"}


def test_the_names_in_the_glossary_exist() -> None:
    page = (house.ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    app = typer.main.get_command(make_app())
    options = {name for _, command in commands(app) for param in command.params for name in param.opts}
    assert set(re.findall(r"`(--[\w-]+)", page)) <= options
    for name in re.findall(r"`(corea\.[\w.]+)`", page):
        assert found_object(name) is not None, name


def commands(command: Any, name: str = "corea") -> Iterator[tuple[str, Any]]:
    """A command and its subcommands, by name."""
    yield name, command
    for each, below in getattr(command, "commands", {}).items():
        yield from commands(below, f"{name} {each}")


def found_object(name: str) -> Any:
    """The module, class, function, field or property of a dotted name."""
    parts = name.split(".")
    at = max(i for i in range(1, len(parts) + 1) if ".".join(parts[:i]) in house.modules())
    found = import_module(".".join(parts[:at]))
    for part in parts[at:]:
        found = getattr(found, part)
    return found
