"""The code that a stored result measures: hashes of its script and of the modules under it.

Only what computes figures counts: calibration, metrics, policies and records, the recipes, and the script with its
neighbours in its folder. Comments, docstrings and blank lines do not.
"""

import ast
import hashlib
import io
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
COUNTED = ("corea.calibrate", "corea.metrics", "corea.policies", "corea.records", "recipes")
NOT_MEASURED = ("recipes.paper.provenance", "recipes.paper.measured_code", "recipes.paper.plots")
Read = Callable[[str], str | None]
"""The text of a file of the repository by its path; None where there is no such file."""


def here(path: str) -> str | None:
    """A file of this checkout."""
    file = ROOT / path
    return file.read_text(encoding="utf-8") if file.is_file() else None


def stamped(found: dict[str, Any], script: str) -> dict[str, Any]:
    """The result with the script that made it and the code that it measures."""
    name = Path(script).resolve().relative_to(ROOT).as_posix()
    return {**found, "code": {"script": name, "files": code_of(name)}}


def code_of(script: str, read: Read = here) -> dict[str, str]:
    """Short hashes by path: the script, and each counted module that it imports, directly or through such modules."""
    found, left = dict[str, str](), [script]
    while left:
        path = left.pop()
        if path in found or (text := read(path)) is None:
            continue
        found[path] = hashlib.sha256(normal(text).encode()).hexdigest()[:12]
        left += _imported(text, path, read)
    return dict(sorted(found.items()))


def normal(text: str) -> str:
    """The code without comments, docstrings, blank lines and spaces at the ends of lines."""
    lines = text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and (
            ast.get_docstring(node, clean=False) is not None
        ):
            said = node.body[0]
            for row in range(said.lineno - 1, said.end_lineno or said.lineno):
                lines[row] = ""
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _imported(text: str, path: str, read: Read) -> Iterator[str]:
    """Paths of the counted modules, and of those beside a script, that the text imports."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _file(alias.name, None, path, read)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield from _file(node.module, alias.name, path, read)


def _file(module: str, name: str | None, path: str, read: Read) -> Iterator[str]:
    if module.startswith(NOT_MEASURED) or (module == "recipes.paper" and f"{module}.{name}" in NOT_MEASURED):
        return
    if not any(module == each or module.startswith(f"{each}.") for each in COUNTED):
        beside = f"{Path(path).parent.as_posix()}/{module}.py"
        if path.startswith("experiments/") and "." not in module and read(beside) is not None:
            yield beside
        return
    base = ("src/" if module.startswith("corea") else "") + module.replace(".", "/")
    if name is not None and read(f"{base}/{name}.py") is not None:
        yield f"{base}/{name}.py"
    elif (package := read(f"{base}/__init__.py")) is not None:
        origin = next((getattr(n, "module", None) for n in ast.walk(ast.parse(package)) if _binds(n, name)), None)
        yield from _file(origin, name, path, read) if origin and origin != module else (f"{base}/__init__.py",)
    else:
        yield f"{base}.py"


def _binds(node: ast.AST, name: str | None) -> bool:
    return isinstance(node, ast.ImportFrom) and any((alias.asname or alias.name) == name for alias in node.names)
