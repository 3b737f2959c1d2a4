"""A name in a configuration -> a class, imported on first use."""

import json
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from corea.errors import ConfigError, unknown_name


def resolve(where: str, name: str, table: Mapping[str, str]) -> Any:
    """The object that `name` stands for: a key of `table`, or itself "package.module:Name" for a plug elsewhere.

    Args:
        where: The setting that holds the name, for the error message.
        table: Plain dict of "module:Name" strings.

    Raises:
        ConfigError: The name is in no table, or what it names cannot be imported.
    """
    target = name if ":" in name else table.get(name)
    if target is None:
        raise unknown_name(where, name, list(table))
    module_name, _, attribute = target.partition(":")
    try:
        return getattr(import_module(module_name), attribute)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        own = name is target and module_name.startswith(missing)  # probably a file of the user's
        hint = "put its folder on PYTHONPATH, or install it" if own else install_hint(missing)
        raise ConfigError(f"{where}: {name!r} needs the module {missing!r}, which is not installed; {hint}") from error
    except AttributeError as error:
        raise ConfigError(f"{where}: module {module_name!r} has no {attribute!r}") from error


def import_extra(needs: str, module: str) -> Any:
    """A module of an optional extra.

    Args:
        needs: The feature that needs it, for the error message.

    Raises:
        ConfigError: It is not installed, or does not load.
    """
    try:
        return import_module(module)
    except ImportError as error:
        need_extra(needs, error.name or module)
        raise ConfigError(f"{needs} needs {error.name or module}, which does not load ({error})") from error


def need_extra(needs: str, module: str) -> None:
    """Checks, without importing it, that a module of an optional extra is installed.

    Raises:
        ConfigError: It is not.
    """
    root = module.split(".")[0]
    if find_spec(root) is None:
        package = DISTRIBUTIONS.get(root, root.replace("_", "-"))
        raise ConfigError(f"{needs} needs {package}, which is not installed; {install_hint(root)}")


def install_hint(module: str) -> str:
    """The command that installs a missing module, by its extra."""
    root = module.split(".")[0]
    extra = EXTRAS.get(root)
    return _with_extra(extra) if extra else f"pip install {root}"


def _with_extra(extra: str) -> str:
    """The command that adds an extra to this very installation: a clone, a wheel, a repository, or a package index.

    Source: PEP 610, `direct_url.json`.
    """
    clone = Path(__file__).resolve().parents[2]
    if (clone / "pyproject.toml").is_file():
        return _from_folder(clone, extra)
    try:
        origin = json.loads(distribution("corea").read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        origin = {}
    url = str(origin.get("url", ""))
    if not url:
        return f"pip install 'corea[{extra}]'"
    if "dir_info" in origin:
        return _from_folder(Path(url2pathname(urlsplit(url).path)), extra)
    version_control = origin.get("vcs_info")
    if version_control:
        url = f"{version_control['vcs']}+{url}@{version_control['commit_id']}"
    return f"pip install 'corea[{extra}] @ {url}'"


def _from_folder(folder: Path, extra: str) -> str:
    here = "" if Path.cwd() == folder else f" in {folder}"
    return f"pip install '.[{extra}]'{here}"


DISTRIBUTIONS = {"sklearn": "scikit-learn", "jsonschema_rs": "jsonschema-rs"}  # not named after their module
EXTRAS = {
    "onnxruntime_genai": "engine",
    "onnxruntime": "engine",
    "torch": "local",
    "transformers": "local",
    "accelerate": "train",
    "trl": "train",
    "peft": "train",
    "datasets": "train",
    "uvicorn": "gateway",
    "uvloop": "gateway",
    "httptools": "gateway",
    "prometheus_client": "gateway",
    "opentelemetry": "otel",
    "sklearn": "calibrate",
    "scipy": "calibrate",
    "matplotlib": "report",
    "jinja2": "report",
    "math_verify": "math",
    "sympy": "math",
    "pyarrow": "parquet",
    "jsonschema_rs": "schema",
    "ray": "ray",
}
