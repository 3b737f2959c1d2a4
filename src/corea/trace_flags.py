"""Ids and flags of traces, and the draft that is returned where the last stage is down."""

import logging
import os
from functools import lru_cache
from random import Random

from corea.early_exit import CUT
from corea.types import Step

log: logging.Logger = logging.getLogger("corea")
_random = Random(os.urandom(32))
OTHER_MODEL = "calibration: another model"
COST_INCOMPLETE = "cost incomplete: tools that ran at the server have no price"
CUT_BY_LIMIT = "cut by the token limit"
"""Flag of a trace whose answer was cut off by the token limit: its short answer may be missing or not final."""


def other_models(calibrated: dict[str, str], steps: tuple[Step, ...]) -> list[str]:
    """A flag for each step whose server stated another model than at calibration."""
    flags: list[str] = []
    for step in steps:
        expected, completion = calibrated.get(step.stage), step.completion
        if expected is None or completion is None or step.error is not None or completion.finish_reason == CUT:
            continue  # the name in an answer that was cut off is the configured one
        if completion.model != expected:
            flag = f"{OTHER_MODEL}: stage {step.stage} answered as {completion.model!r}, calibrated as {expected!r}"
            flags.append(flag)
            _warn_once(flag)
    return flags


@lru_cache(maxsize=256)
def _warn_once(flag: str) -> None:
    log.warning("%s; calibrate again", flag)


def best_draft(steps: tuple[Step, ...]) -> Step | None:
    """The deferred answer with the highest confidence; a missing one counts as lowest, the later of equals wins."""
    drafts = [s for s in steps if s.error is None and s.completion is not None and s.completion.finish_reason != CUT]

    def confidence_of(step: Step) -> float:
        return step.confidence.value if step.confidence and step.confidence.value is not None else -1.0

    return max(reversed(drafts), key=confidence_of, default=None)


def new_id() -> str:
    """A unique trace id. It need not be secret, so the operating system's random source is not needed for each."""
    return _random.randbytes(16).hex()
