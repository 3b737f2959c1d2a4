"""Builds the documentation, strictly: quoted numbers are the stored ones, links lead somewhere, snippets run.

A number in README.md or docs/ that comes from a stored result is followed by a comment that names it:

    saves 27.1 %<!--= pair/in_domain.json#coreas.saving percent1 -->

The file is looked up in experiments/results/, the part after `#` is a path into it (list indices are numbers), and the
last word is how it is printed: percent0..percent2, f0..f4 (decimals), n (thousands commas), usd4, or s (as it is).
`--refresh` first puts the stored values in: read the diff, the words around a number may no longer be true.

A Python snippet runs in an empty folder, in a process of its own, unless the line before its fence is
`<!-- no-run: why -->`. Snippets of one page share their folder, in order. A `console` snippet runs each
`$ corea ...` line in that folder too. With `<!-- serve: corea serve -->` before the fence that command runs beside the
snippet, on a free port that stands in for 8000.
"""

import argparse
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any
from urllib.request import urlopen

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "experiments" / "results"
QUOTED = re.compile(r"([^\s|(>*]+(?: %)?)\**<!--= ([^\s#]+)#(\S+) (\w+) -->")
MARKED = re.compile(r"<!--= ")
LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)|!\[[^\]\n]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"(?m)^(?:<!-- (no-run|serve): ([^\n]*?) *-->\n)?```(\w+)[^\n]*\n(.*?)^```", re.S)


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]


def show(value: object, how: str) -> str:
    if how == "s":
        return str(value)
    if how == "n":
        return f"{int(value):,}"  # pyright: ignore[reportArgumentType]
    number, digits = float(value), int(how[-1])  # pyright: ignore[reportArgumentType]
    if how.startswith("percent"):
        return f"{100 * number:.{digits}f} %"
    return f"${number:.{digits}f}" if how.startswith("usd") else f"{number:.{digits}f}"


@cache
def stored(path: Path) -> Any:
    return json.loads(path.read_text())


def look_up(file: str, path: str) -> object:
    value = stored(RESULTS / file)
    for key in path.split("."):
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value


def refreshed(text: str) -> str:
    """The text with every quoted number as it is stored; one that is not stored stays, for the check to find."""

    def put(quote: re.Match[str]) -> str:
        try:
            value = show(look_up(quote[2], quote[3]), quote[4])
        except (OSError, KeyError, IndexError, ValueError, TypeError):
            return quote[0]
        return value + quote[0].removeprefix(quote[1])

    return QUOTED.sub(put, text)


def wrong_numbers(page: Path) -> list[str]:
    text, found = page.read_text(), []
    for quote in QUOTED.finditer(text):
        quoted, file, path, how = quote.groups()
        try:
            stored = show(look_up(file, path), how)
        except (OSError, KeyError, IndexError, ValueError, TypeError) as error:
            found.append(f"{file}#{path}: no such stored result ({type(error).__name__}: {error})")
            continue
        if quoted.strip() != stored:
            found.append(f"got {quoted!r}, stored is {stored!r} ({file}#{path})")
    if len(MARKED.findall(text)) != len(QUOTED.findall(text)):
        found.append("a <!--= --> comment does not follow a number or is malformed")
    return [f"{page.relative_to(ROOT)}: {line}" for line in found]


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"(?m)^#+ (.+)$", page.read_text())
    return {re.sub(r"[^\w\- ]", "", head.replace("`", "")).strip().lower().replace(" ", "-") for head in heads}


def broken_links(page: Path) -> list[str]:
    found: list[str] = []
    for link in LINK.finditer(re.sub(r"(?ms)^```.*?^```|`[^`\n]+`", "", page.read_text())):
        target = link.group(1) or link.group(2)
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path) if path else page
        if not there.exists():
            found.append(f"{page.relative_to(ROOT)}: link to {target}: no such file")
        elif anchor and there.suffix == ".md" and anchor not in anchors(there):
            found.append(f"{page.relative_to(ROOT)}: link to {target}: no such heading")
    return found


def failing_snippets(page: Path) -> list[str]:
    found: list[str] = []
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "NO_COLOR": "1",
    }
    with tempfile.TemporaryDirectory() as folder:
        for mark, said, language, body in FENCE.findall(page.read_text()):
            if mark == "no-run" or language not in ("python", "console"):
                continue
            commands = [[sys.executable, "-c", body]]
            if language == "console":
                commands = [["sh", "-c", line[2:]] for line in body.splitlines() if line.startswith("$ corea")]
            with server(said, folder, environment) if mark == "serve" else nullcontext(8000) as port:
                for command in commands:
                    words = [word.replace("127.0.0.1:8000", f"127.0.0.1:{port}") for word in command]
                    done = subprocess.run(
                        words, cwd=folder, env=environment, capture_output=True, text=True, timeout=600
                    )
                    if done.returncode:
                        tail = (done.stderr or done.stdout).strip().splitlines()[-1:]
                        where = page.relative_to(ROOT)
                        found.append(f"{where}: a {language} snippet fails: {command[-1][:80]!r}: {tail}")
    return found


@contextmanager
def server(command: str, folder: str, environment: dict[str, str]) -> Iterator[int]:
    """A gateway on a free port of this machine, up and taking requests."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    running = subprocess.Popen(
        [*shlex.split(command), "--port", str(port)], cwd=folder, env=environment, stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(600):
            try:
                with urlopen(f"http://127.0.0.1:{port}/readyz"):
                    break
            except OSError:
                time.sleep(0.1)
        yield port
    finally:
        running.terminate()
        running.wait(timeout=60)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--no-snippets", action="store_true", help="leave the snippets out (they take minutes)")
    options.add_argument("--no-site", action="store_true", help="check only; build no HTML")
    options.add_argument("--only", help="only pages whose name holds this")
    options.add_argument("--refresh", action="store_true", help="put the stored values in the place of quoted ones")
    chosen = options.parse_args()
    found: list[str] = []
    for page in [p for p in pages() if not chosen.only or chosen.only in p.name]:
        if chosen.refresh:
            page.write_text(refreshed(page.read_text()))
        found += wrong_numbers(page) + broken_links(page)
        if not chosen.no_snippets:
            found += failing_snippets(page)
    for line in found:
        print(line, file=sys.stderr)
    if not found and not chosen.no_site:
        return subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"], cwd=ROOT).returncode
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
