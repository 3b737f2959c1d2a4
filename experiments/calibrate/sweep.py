"""All figures of the guarantee's sweep, from one commit: runs the experiments one after the other.

    python experiments/calibrate/sweep.py --data FOLDER [--out FOLDER]     (FOLDER holds traces/)

About two hours on one core. Each experiment writes its file piece by piece; with --out to another folder than the
stored results.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results" / "calibrate"
WITH_DATA = {"validity": "--data", "groups": "--data", "judge": "--data", "power": "--data"}
WITH_DATA |= {"tiers": "--traces", "ppi": "--traces"}  # these want the folder traces/ itself
ALL = ("validity", "joint_validity", "gold_labels", "groups", "tiers", "judge", "ppi", "power", "end_to_end")


def command(name: str, data: Path, out: Path) -> list[str]:
    given = [sys.executable, str(HERE / f"{name}.py")]
    if option := WITH_DATA.get(name):
        given += [option, str(data / "traces" if option == "--traces" else data)]
    if name == "power":
        given += ["--draws", "200"]
    return [*given, "--out", str(out / f"{name}.json")]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--out", type=Path, default=RESULTS)
    options.add_argument("--only", nargs="+", choices=ALL, default=ALL)
    given = options.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for name in given.only:
        subprocess.run(command(name, given.data, given.out), check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


if __name__ == "__main__":
    main()
