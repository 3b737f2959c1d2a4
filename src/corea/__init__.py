"""COREA: small models answer when they are sure, large ones when they are not."""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from corea.errors import BackendError, BudgetError, ConfigError, CoreaError, DataError, TrainError
from corea.types import (
    Completion,
    Confidence,
    Decision,
    Message,
    Question,
    Sampling,
    Status,
    Step,
    TokenLogprob,
    Trace,
    Usage,
    Verdict,
)
from corea.version import VERSION

if TYPE_CHECKING:
    from corea.cascade import Cascade
    from corea.parsing import read_answer, read_confidence
    from corea.stage import Stage

__version__ = VERSION

logging.getLogger(__name__).addHandler(logging.NullHandler())  # an application decides what is shown

_LAZY = {
    "Cascade": "corea.cascade",
    "Stage": "corea.stage",
    "read_answer": "corea.parsing",
    "read_confidence": "corea.parsing",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'corea' has no attribute {name!r}")


__all__ = [
    "BackendError",
    "BudgetError",
    "Cascade",
    "Completion",
    "Confidence",
    "ConfigError",
    "CoreaError",
    "DataError",
    "Decision",
    "Message",
    "Question",
    "Sampling",
    "Stage",
    "Status",
    "Step",
    "TokenLogprob",
    "Trace",
    "TrainError",
    "Usage",
    "Verdict",
    "read_answer",
    "read_confidence",
]
