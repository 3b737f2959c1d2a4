"""The structure: imports point down only, and importing does nothing heavy."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEAVY = {
    "torch",
    "transformers",
    "onnxruntime",
    "onnxruntime_genai",
    "pydantic",
    "starlette",
    "uvicorn",
    "sklearn",
    "scipy",
    "matplotlib",
    "aiohttp",
}


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(' '.join({{m.split('.')[0] for m in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_corea_loads_nothing_heavy() -> None:
    assert loaded_by("import corea") & HEAVY == set()


def test_the_cascade_and_the_readers_load_neither_a_model_library_nor_a_server() -> None:
    assert loaded_by("import corea; corea.Cascade; corea.read_answer") & (HEAVY - {"aiohttp"}) == set()


def test_imports_point_down_only() -> None:
    done = subprocess.run([Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_every_module_is_in_a_layer() -> None:
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    named = {name.strip() for layer in contract["layers"] for name in layer.split("|")}
    there = {p.stem for p in (ROOT / "src/corea").iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    split = {name.partition(".")[0] for name in named if "." in name}  # packages whose modules have layers of their own
    assert there - {"__init__"} <= named | split
    for package in split:
        modules = {f"{package}.{path.stem}" for path in (ROOT / "src/corea" / package).glob("*.py")}
        assert modules - {f"{package}.__init__"} <= named
