"""A name in a file -> a class, imported only when asked for."""

import json
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
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
        own = name is target and module_name.startswith(missing)  # a file of the user's, as likely as not
        hint = "put its folder on PYTHONPATH, or install it" if own else install_hint(missing)
        raise ConfigError(f"{where}: {name!r} needs the module {missing!r}, which is not installed; {hint}") from error
    except AttributeError as error:
        raise ConfigError(f"{where}: module {module_name!r} has no {attribute!r}") from error


def install_hint(module: str) -> str:
    """How to get a missing module, by the extra that brings it."""
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


EXTRAS = {
    "onnxruntime_genai": "engine",
    "onnxruntime": "engine",
    "torch": "local",
    "transformers": "local",
    "accelerate": "train",
    "trl": "train",
    "peft": "train",
    "datasets": "train",
    "starlette": "gateway",
    "uvicorn": "gateway",
    "uvloop": "gateway",
    "httptools": "gateway",
    "prometheus_client": "gateway",
    "sklearn": "calibrate",
    "scipy": "calibrate",
    "matplotlib": "report",
    "jinja2": "report",
    "math_verify": "math",
    "sympy": "math",
    "pyarrow": "parquet",
}
