"""Cascades for the workers of a pool: importable by processes and actors, and able to kill the worker that asks."""

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from answering import cascade, small_reply

from corea.cascade import Cascade
from corea.run.answer_settings import answer_settings
from corea.types import Question


def parts(
    folder: str, kills: tuple[str, ...] = (), *, always: bool = False, seconds: float = 0.0
) -> tuple[Cascade, Mapping[str, Any]]:
    """A cascade that logs each call, and kills its worker once when it is asked one of these questions.

    Args:
        always: Not once but each time.
        seconds: Of each call.
    """
    log = os.open(Path(folder) / "calls", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def reply(question: Question) -> str:
        os.write(log, f"{question.id}\n".encode())
        time.sleep(seconds)
        if question.id in kills:
            mark = Path(folder) / f"killed-{question.id}"
            if always or not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return small_reply(question)

    made = cascade(reply)
    return made, answer_settings(cascade())


def failing(folder: str) -> tuple[Cascade, Mapping[str, Any]]:
    """A cascade whose models are down."""

    def fail(question: Question) -> str:
        time.sleep(0.002)
        raise ValueError("down")

    return cascade(fail, fail), answer_settings(cascade())


def slow(folder: str) -> tuple[Cascade, Mapping[str, Any]]:
    """A cascade that asks its driver to stop when it is asked question q3."""

    def reply(question: Question) -> str:
        if question.id == "q3":
            os.kill(os.getppid(), signal.SIGINT)
        time.sleep(0.02)
        return small_reply(question)

    return cascade(reply), answer_settings(cascade())
