"""The locks fit pyproject.toml, name no index, and are what the tests run with; wheel and sdist are reproducible."""

import os
import re
import subprocess
import sys
import tarfile
import tomllib
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests.house import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = {"core": [], **PROJECT["optional-dependencies"]}
LOCKS = ROOT / "locks"
LINE = re.compile(r"(?m)^([\w.-]+)==(\S+)(?: ; (.+?))? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)")
PYTHONS = ("3.11", "3.12", "3.13")
PLATFORMS = ("linux", "darwin", "win32")


def locked(name: str) -> dict[str, list[tuple[str, Marker | None]]]:
    """The versions of a lock, each with its marker, by package."""
    found: dict[str, list[tuple[str, Marker | None]]] = {}
    for package, version, marker, _ in LINE.findall((LOCKS / f"{name}.txt").read_text()):
        found.setdefault(canonicalize_name(package), []).append((version, Marker(marker) if marker else None))
    return found


def constraints() -> dict[str, str]:
    lines = [line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line]
    return {canonicalize_name(name): version for name, version in lines}


def missing(name: str, wanted: list[str], python: str, platform: str) -> list[str]:
    """The requirements that a lock does not fulfil with this Python on this platform."""
    place: Any = {
        **default_environment(),
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": platform,
    }
    has = {
        package: [v for v, marker in found if marker is None or marker.evaluate(place)]
        for package, found in locked(name).items()
    }
    asked = [each for each in map(Requirement, wanted) if each.marker is None or each.marker.evaluate(place)]
    return [
        str(each) for each in asked if not any(map(each.specifier.contains, has.get(canonicalize_name(each.name), [])))
    ]


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_lock_fits_pyproject(extra: str) -> None:
    for python in PYTHONS:
        for platform in PLATFORMS:
            assert missing(extra, [*PROJECT["dependencies"], *EXTRAS[extra]], python, platform) == []


def test_a_requirement_that_a_lock_lacks_is_found() -> None:
    assert missing("core", ["numpy>=99", "asyncpg", "typer; sys_platform == 'os2'"], "3.11", "linux") == [
        "numpy>=99",
        "asyncpg",
    ]


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_tests_run_with_the_locked_versions(extra: str) -> None:
    pinned = constraints()
    differ = {
        name: found for name, found in locked(extra).items()
        if name in pinned and pinned[name] not in [version for version, _ in found]
    }  # fmt: skip
    assert differ == {}


@pytest.mark.parametrize("path", sorted(LOCKS.glob("*.txt")), ids=lambda path: path.name)
def test_every_line_of_a_lock_has_hashes_and_none_an_address(path: Path) -> None:
    text = path.read_text()
    assert LINE.sub("", text) == ""
    assert "://" not in text


def test_there_is_a_lock_for_each_extra_and_no_other() -> None:
    assert {path.stem for path in LOCKS.glob("*.txt")} == {*EXTRAS, "build", "tools"}
    makefile = (ROOT / "Makefile").read_text()
    assert set(re.findall(r"(?m)^EXTRAS := (.*)$", makefile)[0].split()) == {*EXTRAS} - {"core"}
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert missing("build", build, "3.11", "linux") == []
    tools = [line for line in (LOCKS / "tools.in").read_text().splitlines() if not line.startswith("#")]
    assert missing("tools", [*tools, *build], "3.11", "linux") == []


def test_the_list_of_parts_is_of_what_the_image_installs() -> None:
    image = re.findall(r"(?m)^IMAGE := (.*)$", (ROOT / "Makefile").read_text())[0].split()
    assert re.findall(r"-r locks/(\w+)\.txt", (ROOT / "deploy" / "Dockerfile").read_text()) == [*image, "build"]


def build(source: Path, out: Path, clock: str) -> dict[str, str]:
    """SHA-256 of the wheel and sdist of a folder, by name."""
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(out)]
    environment = {**os.environ, "TZ": clock, "PYTHONHASHSEED": str(len(clock))}
    subprocess.run(command, cwd=source, env=environment, check=True, capture_output=True, timeout=100)
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in out.iterdir()}


def test_wheel_and_sdist_are_reproducible_also_from_the_sdist(tmp_path: Path) -> None:
    first = build(ROOT, tmp_path / "a", "UTC")
    assert sorted(name.rpartition(".")[2] for name in first) == ["gz", "whl"]
    packed = next((tmp_path / "a").glob("*.tar.gz"))
    with tarfile.open(packed) as archive:
        archive.extractall(tmp_path, filter="data")
    unpacked = tmp_path / packed.name.removesuffix(".tar.gz")
    for path in unpacked.rglob("*.py"):
        os.utime(path, (1_700_000_000, 1_700_000_000))
        path.chmod(0o600)
    assert build(unpacked, tmp_path / "b", "Asia/Tokyo") == first


@pytest.mark.parametrize(
    ("fragments", "told"),
    [({}, "has no fragment"), ({"a.md": "Text"}, "a.md: begins with 'Text'")],
)
def test_fragments_that_cannot_be_gathered_are_refused(
    tmp_path: Path, gather: Any, fragments: dict[str, str], told: str
) -> None:
    (tmp_path / "changelog.d").mkdir()
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 0.1.0 (2026-01-01)\n\n- old\n")
    for name, text in fragments.items():
        (tmp_path / "changelog.d" / name).write_text(text)
    with pytest.raises(ValueError, match=told):
        gather(tmp_path, "0.2.0", "2026-12-01")


def test_fragments_become_the_newest_section(tmp_path: Path, gather: Any) -> None:
    (tmp_path / "changelog.d").mkdir()
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\nHead.\n\n## 0.1.0 (2026-01-01)\n\n- old\n")
    (tmp_path / "changelog.d" / "b.md").write_text("- two\n  more\n")
    (tmp_path / "changelog.d" / "a.md").write_text("- one\n")
    assert [path.name for path in gather(tmp_path, "0.2.0", "2026-12-01")] == ["a.md", "b.md"]
    assert (tmp_path / "CHANGELOG.md").read_text() == (
        "# Changelog\n\nHead.\n\n## 0.2.0 (2026-12-01)\n\n- one\n- two\n  more\n\n## 0.1.0 (2026-01-01)\n\n- old\n"
    )
    with pytest.raises(ValueError, match=r"has 0\.2\.0 already"):
        gather(tmp_path, "0.2.0", "2026-12-02")


@pytest.fixture
def gather(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "changelog.d"))
    return import_module("gather").gather


def test_every_fragment_here_can_be_gathered() -> None:
    heads = {path.name: path.read_text().strip()[:2] for path in (ROOT / "changelog.d").glob("*.md")}
    assert {name: head for name, head in heads.items() if head != "- "} == {}


def test_the_workflow_publishes_without_a_token_what_the_citation_and_pyproject_name() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())
    publish = workflow["jobs"]["publish"]
    assert (workflow["permissions"], publish["permissions"]) == ({}, {"id-token": "write"})
    assert "secrets." not in (ROOT / ".github" / "workflows" / "release.yml").read_text()
    used = [step["uses"] for job in workflow["jobs"].values() for step in job["steps"] if "uses" in step]
    assert [name for name in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", name)] == []
    targets = re.findall(r"(?m)^(\w+):", (ROOT / "Makefile").read_text())
    run = " ".join(step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"])
    assert set(re.findall(r"make (\w+)", run)) <= set(targets)
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["license"], citation["title"]) == (
        PROJECT["version"],
        PROJECT["license"],
        "COREA",
    )
