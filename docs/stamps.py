"""Stored results whose code has changed since they were measured: `python docs/stamps.py`.

A result of a stamped script holds the code that it measures (recipes/paper/measured_code.py). Where that has changed,
`docs/check.py` fails until the script has run again, or until somebody has made sure that the figures are the same:

    python docs/stamps.py --same calibrate/targets.json --because "renamed a variable"

A result from before the stamps gets one by the code of the commit that it names:

    python docs/stamps.py --from-commit calibrate/targets.json experiments/calibrate/targets.py
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from recipes.paper.measured_code import ROOT, Read, code_of

RESULTS = ROOT / "experiments" / "results"


def changed(stored: dict[str, Any]) -> list[str]:
    """The files that are not as they were when the result was measured."""
    then, now = stored["code"]["files"], code_of(stored["code"]["script"])
    return sorted(path for path in {*then, *now} if then.get(path) != now.get(path))


def stale(results: Path = RESULTS) -> list[str]:
    """One line for each stamped result whose code has changed."""
    found: list[str] = []
    for file in sorted(results.rglob("*.json")):
        stored = json.loads(file.read_text())
        if isinstance(stored, dict) and "code" in stored and (files := changed(stored)):
            more = f" and {len(files) - 2} more" if len(files) > 2 else ""
            name = file.relative_to(results).as_posix()
            found.append(
                f"{name}: measured before a change of {', '.join(files[:2])}{more}; run {stored['code']['script']}, or "
                f"`python docs/stamps.py --same {name} --because WHY` where no figure changes"
            )
    return found


def unstamped(results: Path = RESULTS) -> list[str]:
    """The results that do not name their code."""
    files = sorted(results.rglob("*.json"))
    return [
        file.relative_to(results).as_posix()
        for file in files
        if not (isinstance(stored := json.loads(file.read_text()), dict) and "code" in stored)
    ]


def at(commit: str) -> Read:
    """Files as they were at a commit."""

    def read(path: str) -> str | None:
        done = subprocess.run(["git", "show", f"{commit}:{path}"], cwd=ROOT, capture_output=True, text=True)
        return None if done.returncode else done.stdout

    return read


def same(file: Path, why: str) -> None:
    """Stamps a result with the code of today, and says why no figure changes."""
    stored = json.loads(file.read_text())
    script = stored["code"]["script"]
    stored["code"] = {"script": script, "files": code_of(script), "same_figures_because": why}
    file.write_text(json.dumps(stored, indent=1) + "\n")


def from_commit(file: Path, script: str) -> None:
    """Stamps a result with the code of the commit that it names."""
    stored = json.loads(file.read_text())
    commit = stored.get("commit") or stored.get("provenance", {}).get("commit", "")
    files = code_of(script, at(commit)) if commit and "+" not in commit else {}
    if not files:
        sys.exit(f"{file}: got the commit {commit!r}, expected one without changes that has {script}; run it again")
    file.write_text(json.dumps({**stored, "code": {"script": script, "files": files}}, indent=1) + "\n")


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--same", metavar="RESULT")
    options.add_argument("--because", metavar="WHY")
    options.add_argument("--from-commit", nargs=2, metavar=("RESULT", "SCRIPT"))
    chosen = options.parse_args()
    if bool(chosen.same) != bool(chosen.because):
        options.error("--same and --because belong together")
    if chosen.same:
        same(RESULTS / chosen.same, chosen.because)
    if chosen.from_commit:
        from_commit(RESULTS / chosen.from_commit[0], chosen.from_commit[1])
    found = stale()
    print("\n".join([*found, f"without a stamp: {', '.join(unstamped()) or 'none'}"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
