"""Fuzzes the targets with atheris: `python -m tests.fuzz.run [--seconds 120] [NAME ...]`.

An input that fails is written below out/fuzz/NAME/ and ends the run: give it to `test_targets.py`, and mend its kind.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from tests.house import ROOT

LIMITS = ["-timeout=20", "-rss_limit_mb=4096", "-max_len=4096", "-print_final_stats=1", "-close_fd_mask=1"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seconds", type=int, default=120, help="for each target")
    parser.add_argument("--here", action="store_true", help="in this process; it does not return")
    asked = parser.parse_args()
    if asked.here:
        fuzz(asked.names[0], asked.seconds)
    from tests.fuzz.targets import TARGETS

    for name in asked.names or TARGETS:
        print(f"--- {name}, {asked.seconds} s", flush=True)
        command = [sys.executable, "-m", "tests.fuzz.run", "--here", "--seconds", str(asked.seconds), name]
        if subprocess.run(command, cwd=ROOT).returncode:
            return 1
    return 0


def fuzz(name: str, seconds: int) -> None:
    """Runs one target until the time is over, or it fails; ends the process."""
    import atheris  # pyright: ignore[reportMissingImports]

    with atheris.instrument_imports(include=["corea", "tomllib"]):
        from tests.fuzz.targets import TARGETS
    target, folder = TARGETS[name], ROOT / "out" / "fuzz" / name
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds):
        Path(folder / f"seed-{number}").write_bytes(seed)
    atheris.Setup(
        [sys.argv[0], str(folder), f"-artifact_prefix={folder}/", f"-max_total_time={seconds}", *LIMITS], target.run
    )
    atheris.Fuzz()


if __name__ == "__main__":
    raise SystemExit(main())
