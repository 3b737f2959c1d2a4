"""Packages in environments of their own: set up, run over JSON, and how large they are."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from corea.errors import ConfigError

WORKERS = Path(__file__).parent / "workers"
PINNED = {
    "mapie": "mapie==1.6.0", "automix": "automix-llm==1.0.3", "cascadeflow": "cascadeflow==1.2.0",
    "litellm": "litellm==1.110.2",
}  # fmt: skip


def environment(folder: Path, name: str) -> Path | None:
    """The Python of a neighbour's environment; None where it was not set up."""
    found = folder / name / "bin" / "python"
    return found if found.exists() else None


def megabytes(folder: Path) -> float:
    """Size of an environment's packages in MB, without the installer."""
    files = [file for file in folder.glob("lib/python*/site-packages/**/*") if file.is_file() and not file.is_symlink()]
    tools = ("pip", "setuptools", "_distutils_hack")
    return sum(file.stat().st_size for file in files if file.relative_to(folder).parts[3] not in tools) / 1e6


def run(folder: Path, name: str, given: dict[str, Any]) -> dict[str, Any]:
    """Answer of a neighbour's worker; JSON both ways.

    Raises:
        ConfigError: The worker fails.
    """
    python = environment(folder, name)
    if python is None:
        raise ConfigError(f"neighbours: got no environment {folder / name}, expected one; run `make neighbours`")
    command = [str(python), str(WORKERS / f"run_{name}.py")]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError(f"neighbours: {name} fails: {done.stderr.strip().splitlines()[-1:]}")
    return json.loads(done.stdout)


def available(folder: Path) -> Sequence[str]:
    """The neighbours that are set up."""
    return [name for name in PINNED if environment(folder, name)]
