"""A name in a file -> a class, imported only when asked for."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

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
    return f"pip install 'corea[{extra}]'" if extra else f"pip install {root}"


EXTRAS = {
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
    "math_verify": "math",
    "sympy": "math",
    "pyarrow": "parquet",
    "reasoning_gym": "tasks",
}
