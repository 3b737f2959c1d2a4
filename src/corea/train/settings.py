"""What the training recipes share: the files of a trained folder, and TRL's settings."""

from collections.abc import Callable
from typing import Any, TypeVar

from corea.errors import ConfigError

T = TypeVar("T")

PROMPT_FILE = "corea_prompt.txt"  # the system text the model was trained with


def trl_settings(kind: Callable[..., T], *, switch: str = "trl.use_cpu", **values: Any) -> T:
    """TRL's own settings of this kind; a refusal, such as of bf16 without a GPU, is one line.

    Args:
        switch: The setting that trains on the CPU, for that line.
    """
    try:
        return kind(**values)
    except (ValueError, TypeError, ImportError) as error:
        raise ConfigError(
            f"train: TRL refuses these settings here ({' '.join(str(error).split())}); change them, or without a GPU "
            f"set {switch} = true"
        ) from error
