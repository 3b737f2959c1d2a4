"""Means over the datasets of a group: in domain, out of domain in mathematics, and beyond."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recipes.paper.text import MEANT, operating

QUALITY = ("ece", "auroc")


def means(datasets: Sequence[Mapping[str, Any]], groups: Mapping[str, str], operate_at: float) -> list[dict[str, Any]]:
    """One row for each group and method: the mean of its figures, each dataset with the same weight.

    At the threshold for a drop of `operate_at`, and under "rule" at the paper's rule of thumb. A method is in a group's
    rows only if it ran on each of its datasets. The ends of an interval are those of the datasets', combined as of
    independent estimates (MOVER: Zou and Donner 2008, https://doi.org/10.1002/sim.3095).
    """
    rows: list[dict[str, Any]] = []
    for group in dict.fromkeys(filter(None, groups.values())):
        own = [each for each in datasets if groups.get(each["dataset"]) == group]
        for cells in zip(*(each["cells"] for each in own), strict=True):
            if any(cell["not_run"] for cell in cells):
                continue
            points = [operating(cell, operate_at) for cell in cells]
            rules = [cell["rule"] or operating(cell, operate_at) for cell in cells]
            rows.append(
                {
                    "group": group,
                    "datasets": [each["dataset"] for each in own],
                    "method": cells[0]["method"],
                    **{name: mean_interval([point[name] for point in points]) for name in MEANT},
                    "rule": {name: mean_interval([rule[name] for rule in rules]) for name in MEANT},
                    **{name: mean_interval([cell["quality"].get(name) for cell in cells]) for name in QUALITY},
                }
            )
    return rows


def mean_interval(found: Sequence[Mapping[str, Any] | None]) -> dict[str, float] | None:
    """The mean of independent estimates with its interval; None where one of them has no value."""
    known = [each for each in found if each is not None and np.isfinite(each["value"])]
    if len(known) < len(found):
        return None
    value, low, high = (np.array([each[name] for each in known], dtype=float) for name in ("value", "low", "high"))
    mean = float(value.mean())
    below, above = (float(np.sqrt(np.sum(ends**2))) / len(known) for ends in (value - low, high - value))
    return {"value": mean, "low": mean - below, "high": mean + above}
