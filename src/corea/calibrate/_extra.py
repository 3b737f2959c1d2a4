"""Libraries of the extra `calibrate`, imported when they are needed."""

from typing import Any

from corea.registry import import_extra


def need_scipy() -> Any:
    """scipy, with `special` loaded.

    Raises:
        ConfigError: It is not installed.
    """
    import_extra("calibrate:", "scipy.special")
    return import_extra("calibrate:", "scipy")


def need_sklearn() -> Any:
    """scikit-learn, with the estimators of the maps loaded.

    Raises:
        ConfigError: It is not installed.
    """
    for module in ("isotonic", "linear_model", "tree"):
        import_extra("calibrate:", f"sklearn.{module}")
    return import_extra("calibrate:", "sklearn")
