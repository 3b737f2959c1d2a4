"""A cascade of fake models for the tests of the run; as a program, one start of a run that can be killed.

python answering.py QUESTIONS ANSWERS CALLS [kill-at-write] [bytes-of-that-write]
"""

import asyncio
import json
import os
import signal
import sys
from decimal import Decimal

from corea.backends.fake import FakeBackend
from corea.cascade import Cascade, Stage
from corea.datasets.question_source import QuestionSource
from corea.parsing import read_confidence
from corea.policies.threshold import Threshold
from corea.prices import Price
from corea.run import runner
from corea.run.journal import Journal
from corea.types import Completion, Confidence, Question, Sampling

SMALL = Price(input_usd_per_mtok=Decimal(1), output_usd_per_mtok=Decimal(2), source="small")
LARGE = Price(input_usd_per_mtok=Decimal(10), output_usd_per_mtok=Decimal(20), source="large")


class Stated:
    """The confidence in the text."""

    async def measure(self, question: Question, completion: Completion) -> Confidence:
        return Confidence(value=read_confidence(completion.text), signal="stated")


def number(question: Question) -> int:
    return int(question.text.split()[-1])


def small_reply(question: Question) -> str:
    """Right and sure for two in three."""
    n = number(question)
    return f"<answer>{n}</answer><confidence>{0.2 if n % 3 == 0 else 0.9}</confidence>"


def large_reply(question: Question) -> str:
    return f"<answer>{number(question)}</answer>"


def cascade(small: object = small_reply, large: object = large_reply) -> Cascade:
    """Two fake models at 1 and 10 USD per million words read, twice that for words written."""
    limit = Sampling(max_tokens=50)
    return Cascade(
        stages=(
            Stage(
                name="small",
                backend=FakeBackend("small", small),  # pyright: ignore[reportArgumentType]
                sampling=limit,
                signal=Stated(),
                policy=Threshold(0.5),
                price=SMALL,
            ),
            Stage(name="large", backend=FakeBackend("large", large), sampling=limit, price=LARGE),  # pyright: ignore[reportArgumentType]
        )
    )


def question_lines(count: int) -> bytes:
    rows = ({"id": f"q{n}", "question": f"What is number {n}"} for n in range(count))
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


async def start(paths: tuple[str, str, str], kill_at: int, torn: int) -> None:
    questions, answers, calls = paths
    log = os.open(calls, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def logged(question: Question) -> str:
        os.write(log, f"{question.id}\n".encode())
        return small_reply(question)

    writes = 0

    def write(descriptor: int, data: bytes) -> int:
        nonlocal writes
        writes += 1
        if writes == kill_at:
            os.write(descriptor, data[:torn])
            os.kill(os.getpid(), signal.SIGKILL)
        return os.write(descriptor, data)

    runner.Journal = lambda path: Journal(path, write=write)  # pyright: ignore
    summary = await runner.run_batch(
        cascade(logged), QuestionSource(questions), answers, concurrency=8, settings={"test": 1}
    )
    print(json.dumps(summary.as_dict()))


if __name__ == "__main__":
    limits = [int(argument) for argument in sys.argv[4:]] + [0, 0]
    asyncio.run(start((sys.argv[1], sys.argv[2], sys.argv[3]), limits[0], limits[1]))
