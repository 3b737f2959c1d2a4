"""Measures of the source tree: sizes, class names, imports. `python -m tests.house` prints them and their ceilings."""

import ast
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "corea"
ENTRY_POINTS = ("corea", "corea.cli.main")
NAMED = re.compile(r"(corea[\w.]+)(:\w+)?")  # a module, or an object of a registry, in a string
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
Graph = dict[str, set[str]]


def house() -> dict[str, Any]:
    """Ceilings and exceptions, from house.toml."""
    return tomllib.loads((ROOT / "tests" / "house.toml").read_text(encoding="utf-8"))


@cache
def modules() -> dict[str, Path]:
    """Every module of the package, by its dotted name."""
    names = {path: path.relative_to(ROOT / "src").with_suffix("").parts for path in sorted(PACKAGE.rglob("*.py"))}
    return {".".join(parts[:-1] if parts[-1] == "__init__" else parts): path for path, parts in names.items()}


@cache
def parsed(path: Path) -> ast.Module:
    """Syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def file_lines() -> dict[Path, int]:
    """Lines of each file of the package."""
    return {path: len(path.read_text(encoding="utf-8").splitlines()) for path in modules().values()}


def function_lines() -> dict[str, int]:
    """Lines of each function of the package, by `module:line name`."""
    return {
        f"{name}:{node.lineno} {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for name, path in modules().items()
        for node in ast.walk(parsed(path))
        if isinstance(node, FUNCTIONS)
    }


def classes() -> dict[str, list[str]]:
    """Modules that define each class, by its name."""
    found: dict[str, list[str]] = defaultdict(list)
    for name, path in modules().items():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(name)
    return found


def repeated_classes() -> dict[str, list[str]]:
    """Class names defined more than once, with their modules."""
    return {name: places for name, places in classes().items() if len(places) > 1}


def imported(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Modules of the package that import statements name."""
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (each for each in (node.module, *(f"{node.module}.{a.name}" for a in node.names)))
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes that run when a module is imported: not in functions, nor for type checkers alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, FUNCTIONS) or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)):
            continue
        yield node
        yield from at_import(node)


def import_graph() -> Graph:
    """Modules that each module imports when it is imported itself."""
    return {name: _known(imported(at_import(parsed(path))), name) for name, path in modules().items()}


def use_graph() -> Graph:
    """Modules that each module uses: imports anywhere, and strings of registries."""
    graph: Graph = {}
    for name, path in modules().items():
        nodes = list(ast.walk(parsed(path)))
        values = (node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))
        strings = (found[1] for found in map(NAMED.fullmatch, values) if found)
        graph[name] = _known(chain(imported(nodes), strings), name)
    return graph


def _known(names: Iterable[str], itself: str = "") -> set[str]:
    return {name for name in names if name in modules() and name != itself}


def documented() -> set[str]:
    """Modules that the documentation and the examples import."""
    pages = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md"]
    blocks = [re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M) for page in pages]
    programs = [*chain.from_iterable(blocks), *(path.read_text("utf-8") for path in (ROOT / "examples").glob("*.py"))]
    return _known(name for program in programs for name in imported(ast.walk(ast.parse(program))))


def unused_modules() -> set[str]:
    """Modules that neither the command line, nor the public names, nor the documentation reaches."""
    graph, reached = use_graph(), set[str]()
    waiting = [*ENTRY_POINTS, *documented()]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += graph[name]
    packages = {name for name, path in modules().items() if path.name == "__init__.py"}
    return set(modules()) - reached - packages


def circles() -> list[list[str]]:
    """Groups of modules that import each other, directly or not."""
    graph = import_graph()
    reach = {name: _reach(graph, name) for name in graph}
    groups = {tuple(sorted(to for to in reach[name] if name in reach[to])) for name in graph if name in reach[name]}
    return [list(group) for group in sorted(groups)]


def _reach(graph: Graph, start: str) -> set[str]:
    found, waiting = set[str](), list(graph[start])
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += graph[name]
    return found


def figures() -> dict[str, int]:
    """Measured sizes, by the keys of house.toml."""
    files = file_lines()
    return {
        "files": len(files),
        "lines": sum(files.values()),
        "longest_file": max(files.values()),
        "longest_function": max(function_lines().values()),
    }


if __name__ == "__main__":
    for key, value in figures().items():
        size = house()["sizes"][key]
        print(f"{key:20}{value:>8,}   now {size['now']:>8,}   target {size['target']:>8,}")
    functions, files = function_lines(), {str(path.relative_to(ROOT)): lines for path, lines in file_lines().items()}
    for heading, found in {
        "functions over 60 lines": [f"{n} {where}" for where, n in functions.items() if n > 60],
        "files over 400 lines": [f"{n} {where}" for where, n in files.items() if n > 400],
        "class names defined twice": [f"{name}: {', '.join(at)}" for name, at in repeated_classes().items()],
        "unused modules": sorted(unused_modules()),
        "circles": [" ".join(circle) for circle in circles()],
    }.items():
        print(f"\n{heading}: {len(found)}", *sorted(found), sep="\n  ")
