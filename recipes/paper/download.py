"""The six datasets of the paper as files of the hub's shape, at the revisions that `corea.datasets` states."""

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from corea.datasets import DATASETS
from corea.errors import ConfigError, DataError
from corea.registry import resolve

PAPER = ("deepmath", "math500", "gsm8k", "olympiadbench", "gpqa", "commonsenseqa")
TERMS = "log in with `hf auth login`, accept its terms at https://huggingface.co/datasets/{hub}, and run this again"
Load = Callable[..., Any]


def download(name: str, folder: Path, load: Load | None = None) -> Path:
    """FOLDER/NAME.jsonl: the rows that a dataset's split `test` (and DeepMath's others) is made of; kept if there.

    Args:
        load: `datasets.load_dataset`; replaced in tests.

    Raises:
        ConfigError: The package `datasets` is missing.
        DataError: The hub does not give it: no network, or a dataset that asks for a log-in.
    """
    path = folder / f"{name}.jsonl"
    if path.exists():
        return path
    if load is None:
        try:
            load = cast(Load, import_module("datasets").load_dataset)
        except ImportError as error:
            raise ConfigError("download: the package 'datasets' is missing; pip install datasets") from error
    source, from_hub = resolve("dataset", name, DATASETS).source, load
    try:
        rows = list(from_hub(source.hub, source.config, split=source.splits["test"], revision=source.revision))
    except Exception as error:  # the hub's client raises many kinds
        advice = TERMS.format(hub=source.hub) if not source.publishable else "see that the hub can be reached"
        raise DataError(f"{source.hub} could not be loaded ({type(error).__name__}); {advice}", path=name) from error
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8") as file:
        for row in rows:
            wanted = {key: row[key] for key in source.columns or row if key in row}
            file.write(json.dumps(wanted, ensure_ascii=False, default=str) + "\n")
    part.replace(path)
    return path
