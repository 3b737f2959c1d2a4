"""Prose of the code and of the documentation, and the words in it that words.toml replaces.

`python -m tests.prose` lists them by file and line, with `--files` the files alone (unconverted.txt is such a list).
"""

import ast
import io
import re
import sys
import tokenize
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

from tests.house import FUNCTIONS, ROOT, modules, parsed

PAGES = ("docs/*.md", "README.md", "examples/*.py", "configs/**/*.toml", "src/corea/**/*.toml")
COMMENT = re.compile(r"<!--.*?-->", re.S)  # the source of a number in a page
ARGUMENT = re.compile(r"^ +\w+: (\w+)", re.M)  # of a docstring
Replacements = list[tuple[re.Pattern[str], str]]


@dataclass(frozen=True)
class Text:
    """A piece of prose: its file, its first line, and where in the file it is."""

    path: Path
    line: int
    text: str
    kind: str  # docstring, help, string, comment, code or page

    def line_of(self, at: int) -> int:
        """Line of a character; of a string its first line, since its escapes are read."""
        return self.line if self.kind in ("string", "help") else self.line + self.text.count("\n", 0, at)


@cache
def words() -> dict[str, Any]:
    """Tables of words.toml."""
    return tomllib.loads((ROOT / "tests" / "words.toml").read_text(encoding="utf-8"))


def texts() -> Iterator[Text]:
    """Every piece of prose, and every module as a whole; of the recipes but the generated problems and the tests."""
    for path in (*modules().values(), *sorted(ROOT.glob("recipes/*/*.py"))):
        yield from in_code(path)
    for path in sorted(chain.from_iterable(ROOT.glob(pattern) for pattern in PAGES)):
        page = path.read_text(encoding="utf-8")
        yield Text(path, 1, COMMENT.sub(lambda found: re.sub(r"[^\n]", "", found[0]), page), "page")


def in_code(path: Path) -> Iterator[Text]:
    """Docstrings, strings and comments of a module, and the whole of it."""
    docstrings, source = set[int](), path.read_text(encoding="utf-8")
    for node in ast.walk(parsed(path)):
        if isinstance(node, (ast.Module, ast.ClassDef, *FUNCTIONS)) and ast.get_docstring(node) is not None:
            found: Any = node.body[0]
            docstrings.add(id(found.value))
            yield Text(path, found.lineno, found.value.value, "docstring")
        elif isinstance(node, ast.keyword) and node.arg == "help" and isinstance(node.value, ast.Constant):
            docstrings.add(id(node.value))
            yield Text(path, node.value.lineno, str(node.value.value), "help")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield Text(path, node.lineno, node.value, "string")
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield Text(path, token.start[0], token.string, "comment")
    yield Text(path, 1, source, "code")


@cache
def phrases() -> Replacements:
    """Phrases of the prose."""
    patterns = {phrase: phrase.replace(" ", r"\s+") for phrase in words()["phrases"]}
    return [
        (re.compile(rf"(?<![\w-])(?:{patterns[phrase]})(?![\w-])", re.I), plain)
        for phrase, plain in words()["phrases"].items()
    ]


@cache
def names() -> Replacements:
    """Names of options, settings and modules."""
    old = {**words()["options"], **words()["settings"]}
    return [
        *((re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])"), new) for name, new in old.items()),
        *((re.compile(rf"(?<!\w)corea\.{re.escape(name)}(?!\w)"), new) for name, new in words()["modules"].items()),
    ]


@cache
def any_of(table: Callable[[], Replacements]) -> re.Pattern[str]:
    """One expression for all of a table: most texts hold none of its words."""
    return re.compile("|".join(f"(?:{pattern.pattern})" for pattern, _ in table()), re.I)


def faults(text: Text) -> Iterator[str]:
    """Words of a piece of prose that have a plain replacement, as "file:line: word -> replacement"."""
    path = text.path.relative_to(ROOT)
    if text.kind in ("string", "page") and any(path.match(pattern) for pattern in words()["data"]["files"]):
        return
    searched = {"code": [names], "page": [phrases, names]}.get(text.kind, [phrases])
    for pattern, plain in chain.from_iterable(each() for each in searched if any_of(each).search(text.text)):
        for found in pattern.finditer(text.text):
            yield f"{path.as_posix()}:{text.line_of(found.start())}: {' '.join(found[0].split())!r} -> {plain}"
    if text.kind in ("docstring", "help"):
        for at, word in openings(text.text):
            if word in words()["openings"]:
                yield f"{path.as_posix()}:{text.line_of(at)}: begins with {word!r} -> {words()['openings'][word]}"


def openings(text: str) -> Iterator[tuple[int, str]]:
    """First words of a docstring and of its arguments, with their places."""
    if first := re.search(r"\w+", text):
        yield first.start(), first[0]
    yield from ((found.start(1), found[1]) for found in ARGUMENT.finditer(text))


def all_faults() -> dict[str, list[str]]:
    """Faults by file."""
    found: dict[str, list[str]] = defaultdict(list)
    for text in texts():
        found[text.path.relative_to(ROOT).as_posix()] += faults(text)
    return {path: lines for path, lines in found.items() if lines}


if __name__ == "__main__":
    listed = all_faults()
    print("\n".join(listed if "--files" in sys.argv else chain.from_iterable(listed.values())))
