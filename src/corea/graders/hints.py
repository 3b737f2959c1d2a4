"""What a question says about grading beside its reference: tolerances, a unit, and that it has several answers.

The fields are those of OlympiadBench (`error`, `unit`, `is_multiple_answer`), or of this project's recorded form of it
(`tolerance`, `unit`, `multiple_answers`). Source: https://github.com/OpenBMB/OlympiadBench, README and
`inference/judge.py`: `error` is an absolute tolerance, or one for each answer, separated by commas, where an empty one
means none.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast


@dataclass(frozen=True, slots=True)
class GradingHints:
    """How the answer is to be compared.

    Args:
        tolerances: Absolute; none, one for all answers, or one for each in the order of the reference.
        unit: As the question's author wrote it, "" where none is stated.
        several: Whether the reference lists several answers, in any order.
    """

    tolerances: tuple[float, ...] = ()
    unit: str = ""
    several: bool = False

    @classmethod
    def of(cls, meta: Mapping[str, Any]) -> "GradingHints":
        """The hints of a question's `meta`.

        Raises:
            ValueError: The tolerance is no number.
        """
        several = meta.get("is_multiple_answer") or meta.get("multiple_answers")
        unit = str(meta.get("unit") or "").strip()
        return cls(_tolerances(meta.get("error") or meta.get("tolerance")), unit, _is_true(several))

    def tolerance(self, answer: int) -> float:
        """The tolerance of the answer of this index; 0 where there is none."""
        if not self.tolerances:
            return 0.0
        return self.tolerances[answer if 1 < len(self.tolerances) > answer else 0]


def _is_true(value: Any) -> bool:
    return value.strip().casefold() in ("true", "1", "yes") if isinstance(value, str) else bool(value)


def _tolerances(stated: Any) -> tuple[float, ...]:
    if stated is None or stated == "":
        return ()
    texts = stated.strip(" []()").split(",") if isinstance(stated, str) else stated
    several = cast(list[Any], texts) if isinstance(texts, list | tuple) else [texts]
    found = tuple(_tolerance(each) for each in several)
    return found if any(found) else ()


def _tolerance(stated: Any) -> float:
    text = str(stated).strip(" $\"'")
    if not text:
        return 0.0
    power = re.fullmatch(r"10\^\{?(-?\d+)\}?", text)
    try:
        value = float(f"1e{power[1]}" if power else text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise ValueError(f"the tolerance {stated!r} is no number of at least 0, such as '1e-3'")
    return value
