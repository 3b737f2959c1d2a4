"""The libraries of the extra `calibrate`, asked for where they are needed."""

from typing import Any

from corea.errors import ConfigError
from corea.registry import install_hint


def need_scipy() -> Any:
    """scipy, with `special` loaded.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import scipy
        import scipy.special as _special
    except ModuleNotFoundError as error:
        raise ConfigError(f"calibrate: needs scipy, which is not installed; {install_hint('scipy')}") from error
    assert _special is scipy.special
    return scipy


def need_sklearn() -> Any:
    """scikit-learn, with the estimators that the maps use loaded.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import sklearn
        from sklearn import isotonic, linear_model, tree
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"calibrate: needs scikit-learn, which is not installed; {install_hint('sklearn')}"
        ) from error
    assert all((isotonic, linear_model, tree))
    return sklearn
