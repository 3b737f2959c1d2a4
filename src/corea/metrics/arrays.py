"""Checked float arrays, the arguments of every metric."""

from typing import Any

import numpy as np
import numpy.typing as npt

from corea.errors import DataError

Floats = npt.NDArray[np.float64]


def as_floats(where: str, **arrays: Any) -> list[Floats]:
    """One-dimensional float copies of equal length N, in the order given.

    Raises:
        DataError: They are empty, differ in length, or hold NaN or infinity.
    """
    out = [np.asarray(values, dtype=np.float64) for values in arrays.values()]
    sizes = {name: values.shape for name, values in zip(arrays, out, strict=True)}
    if len(set(sizes.values())) != 1 or out[0].ndim != 1 or not out[0].size:
        raise DataError(f"{where}: got shapes {sizes}, expected one equal, non-empty (N,); pass one value an example")
    for name, values in zip(arrays, out, strict=True):
        if not np.isfinite(values).all():
            at = int(np.flatnonzero(~np.isfinite(values))[0])
            raise DataError(
                f"{where}: got {name}[{at}] = {values[at]}, expected finite numbers; leave such rows out first"
            )
    return out
