"""Provenance of a result: commit, configuration, versions, machine, command."""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

CODE = ("src", "recipes", "experiments/*.py")
PACKAGES = (
    "corea",
    "numpy",
    "scikit-learn",
    "torch",
    "transformers",
    "onnxruntime-genai",
    "genai-prices",
    "math-verify",
)


def provenance(*, command: str, config: str, config_sha256: str, now: datetime | None = None) -> dict[str, Any]:
    """The box at the end of every report.

    Args:
        config: The configuration's whole text; it names no keys, those come from the environment.
    """
    return {
        "made": (now or datetime.now(UTC)).isoformat(timespec="seconds"),
        "command": command,
        "commit": commit(),
        "config_sha256": config_sha256,
        "config": config,
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {_processor()}",
    }


def commit() -> str:
    """The commit of the checkout that runs, with "+changes" where its code differs; "no checkout" where none is."""
    here = Path(__file__).parent
    try:
        head = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"], cwd=here, capture_output=True, text=True, timeout=10
        )
        if head.returncode:
            return "no checkout"
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no", "--", *(f":/{part}" for part in CODE)],
            cwd=here,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "no checkout"
    return head.stdout.strip() + ("+changes" if changed.stdout.strip() else "")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), sys.platform)
