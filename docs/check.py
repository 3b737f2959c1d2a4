"""Builds the documentation, strictly: quoted numbers are the stored ones, links lead somewhere, snippets run.

Numbers and tables come from experiments/results/, settings and commands from the code: see stored_values.py, tables.py
and reference.py; a result whose measured code has changed since is an error, see stamps.py. `--refresh` first puts the
stored values in: read the diff, the words around a number may no longer be true.

A Python snippet runs in an empty folder, in a process of its own, unless the line before its fence is
`<!-- no-run: why -->`. Snippets of one page share their folder, in order. A `console` snippet runs each
`$ corea ...` line in that folder too. With `<!-- serve: corea serve -->` before the fence that command runs beside the
snippet, on a free port that stands in for 8000.
"""

import argparse
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
from pathlib import Path
from urllib.request import urlopen

import stamps
import stored_values
import tables

ROOT = Path(__file__).parents[1]
SECONDS = 120  # for a snippet's command
LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)|!\[[^\]\n]*\]\(([^)\s]+)\)")
INCLUDE = re.compile(r'(?m)^--8<-- "(.+)"$')
FENCE = re.compile(r"(?m)^(?:<!-- (no-run|serve): ([^\n]*?) *-->\n)?```(\w+)[^\n]*\n(.*?)^```", re.S)


def pages() -> list[Path]:
    parts = (ROOT / "docs").glob("**/*.md")
    return [ROOT / "README.md", *sorted(page for page in parts if not page.parent.name.startswith("_"))]


def anchors(page: Path) -> set[str]:
    text = INCLUDE.sub(lambda found: (ROOT / "docs" / found[1]).read_text(), page.read_text())
    heads = re.findall(r"(?m)^#+ (.+)$", text)
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
                    where = f"{page.relative_to(ROOT)}: a {language} snippet"
                    try:
                        done = subprocess.run(
                            words, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS
                        )
                    except subprocess.TimeoutExpired:
                        found.append(f"{where} does not end within {SECONDS} s: {command[-1][:80]!r}")
                        continue
                    if done.returncode:
                        tail = (done.stderr or done.stdout).strip().splitlines()[-1:]
                        found.append(f"{where} fails: {command[-1][:80]!r}: {tail}")
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


def built() -> int:
    """Builds the site; prints its warnings, of which each is an error (`--quiet` would hide them from `--strict`)."""
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # about a release of mkdocs that is not ours
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        print("\n".join(line for line in done.stderr.splitlines() if not line.startswith("INFO")), file=sys.stderr)
    return done.returncode


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--no-snippets", action="store_true", help="leave the snippets out (they take minutes)")
    options.add_argument("--no-site", action="store_true", help="check only; build no HTML")
    options.add_argument("--only", help="only pages whose name holds this")
    options.add_argument("--refresh", action="store_true", help="put the stored values in the place of quoted ones")
    chosen = options.parse_args()
    if chosen.refresh:
        tables.write()
    found = tables.stale() + stamps.stale()
    for page in [p for p in pages() if not chosen.only or chosen.only in p.name]:
        if chosen.refresh:
            page.write_text(stored_values.refreshed(page.read_text()))
        found += [f"{page.relative_to(ROOT)}: {line}" for line in stored_values.wrong_numbers(page.read_text())]
        found += broken_links(page)
        if not chosen.no_snippets:
            found += failing_snippets(page)
    for line in found:
        print(line, file=sys.stderr)
    print(f"results that do not name the code they measured: {', '.join(stamps.unstamped()) or 'none'}")
    if not found and not chosen.no_site:
        return built()
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
