"""How fast and how lean a batch run is, beside a bare aiohttp loop in the same minutes.

    python bench/run.py [--json] [--rounds 5] [--questions 4000] [--memory] [--http-memory] [--million]
                        [--finished 1000000]

Speed: requests per second of `run_batch` (OpenAI-compatible backend, verbalized signal, threshold, prices, ledger, with
journal) against 32 bare workers that post the same bodies with aiohttp and read the JSON answer. Rounds alternate;
the figure is the median of the ratios of neighbours, by the clock and by processor time. Every answer is kept, so that
one request bears all the work of a question.

Memory: peak resident memory in a fresh process: of a run at 10,000 and at 200,000 rows, and of `ask_many` alone at
1,000 and at 1,000,000 questions, with a backend that answers at once in the process; and of `corea run`, the whole
command, over HTTP.

A finished run: `corea run` over HTTP of so many rows, then the same command again, with its questions as they were, and
again after the file was touched, so that every row is compared with the journal.
"""

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp

sys.path.insert(0, str(Path(__file__).parent))

from corea.backends.openai.client import OpenAIBackend, OpenAISettings
from corea.cascade import Cascade, Stage
from corea.datasets.question_source import QuestionSource
from corea.policies.threshold import Threshold
from corea.prices import Price
from corea.prompts import load_prompt
from corea.protocols import Backend
from corea.run.runner import run_batch
from corea.signals.verbalized import Verbalized
from corea.types import Completion, Question, Sampling, Usage
from loopback import REPLY, loopback

WORKERS = 32
QUESTION = (
    "A crate holds four boxes of six eggs each. Seven eggs are taken out to bake cake number {}. How many are left?"
)
WORTH = Price(input_usd_per_mtok=Decimal("0.15"), output_usd_per_mtok=Decimal("0.60"), source="bench")


class AtOnce:
    """A backend that answers in the process, and keeps nothing."""

    model = "at-once"

    async def complete(self, question: Question, sampling: Sampling) -> Completion:
        await asyncio.sleep(0)
        return Completion(text=REPLY, model=self.model, usage=Usage(prompt_tokens=180, completion_tokens=70))


def cascade(backend: Backend) -> Cascade:
    """Two stages on one backend; every answer says 0.9 and is kept by the first."""
    sampling, prompt = Sampling(max_tokens=512, temperature=0.0), load_prompt("default")
    small = Stage(
        name="small",
        backend=backend,
        sampling=sampling,
        signal=Verbalized(),
        policy=Threshold(0.8),
        prompt=prompt,
        price=WORTH,
    )
    return Cascade(stages=(small, Stage(name="large", backend=backend, sampling=sampling, prompt=prompt, price=WORTH)))


def write_questions(path: Path, count: int) -> None:
    """So many different questions as JSON lines."""
    with path.open("w") as file:
        for n in range(count):
            file.write(json.dumps({"id": f"q{n}", "question": QUESTION.format(n)}) + "\n")


async def bare(url: str, bodies: list[dict[str, Any]]) -> float:
    """Requests per second of 32 workers that do nothing but post and read."""
    waiting = iter(bodies)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=WORKERS)) as session:

        async def worker() -> None:
            for body in waiting:
                async with session.post(f"{url}/chat/completions", json=body) as response:
                    answer = await response.json()
                    assert answer["choices"][0]["message"]["content"] == REPLY

        began = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(WORKERS)))
        return len(bodies) / (time.perf_counter() - began)


async def whole(url: str, folder: Path, count: int) -> float:
    """Questions per second of a run, from reading the file to the written answers."""
    asked = cascade(OpenAIBackend(OpenAISettings(model="loopback", base_url=url)))
    began = time.perf_counter()
    summary = await run_batch(
        asked, str(folder / "questions.jsonl"), str(folder / "answers.jsonl"), concurrency=WORKERS
    )
    seconds = time.perf_counter() - began
    await asked.close()
    assert summary.done == count, summary
    assert summary.failed == 0, summary.last_error
    return count / seconds


def speed(rounds: int, count: int) -> dict[str, Any]:
    """Both in turn, after one round of each that is not counted."""
    prompt = load_prompt("default")
    bodies = [
        {
            "model": "loopback",
            "messages": [
                {"role": m.role, "content": m.content} for m in prompt.render(Question.of(QUESTION.format(n))).messages
            ],
            "max_tokens": 512,
            "temperature": 0.0,
        }
        for n in range(count)
    ]
    bare_rates: list[float] = []
    run_rates: list[float] = []
    processor: list[tuple[float, float]] = []
    with loopback() as url:
        for number in range(rounds + 1):
            with tempfile.TemporaryDirectory() as name:
                write_questions(Path(name) / "questions.jsonl", count)
                began = time.process_time()
                one = asyncio.run(bare(url, bodies))
                between = time.process_time()
                other = asyncio.run(whole(url, Path(name), count))
                spent = between - began, time.process_time() - between
            if number:
                bare_rates.append(one)
                run_rates.append(other)
                processor.append(spent)
    ratios = [other / one for one, other in zip(bare_rates, run_rates, strict=True)]
    return {
        "questions": count,
        "rounds": rounds,
        "bare_requests_per_second": _spread(bare_rates),
        "run_requests_per_second": _spread(run_rates),
        "ratio": _spread(ratios),
        "bare_processor_us": _spread([1e6 * one / count for one, _ in processor]),
        "run_processor_us": _spread([1e6 * other / count for _, other in processor]),
        "processor_ratio": _spread([one / other for one, other in processor]),
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 3),
        "low": round(min(values), 3),
        "high": round(max(values), 3),
    }


async def _stream(count: int) -> AsyncIterator[Question]:
    for n in range(count):
        yield Question.of(QUESTION.format(n), id=f"q{n}")


async def _ask_many(count: int) -> None:
    done = 0
    async for _ in cascade(AtOnce()).ask_many(_stream(count), concurrency=WORKERS):
        done += 1
    assert done == count


async def _batch(count: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_questions(folder / "questions.jsonl", count)
        summary = await run_batch(
            cascade(AtOnce()),
            QuestionSource(str(folder / "questions.jsonl")),
            str(folder / "answers.jsonl"),
            concurrency=WORKERS,
        )
    assert summary.done == count


CONFIG = """
[cascade]
stages = ["small", "large"]
[stages.small]
signal = "verbalized"
threshold = 0.8
backend = {{ kind = "openai", model = "loopback", base_url = "{url}" }}
sampling = {{ max_tokens = 512, temperature = 0.0 }}
[stages.large]
backend = {{ kind = "openai", model = "loopback", base_url = "{url}" }}
sampling = {{ max_tokens = 512 }}
[prices.loopback]
input_usd_per_mtok = "0.15"
output_usd_per_mtok = "0.60"
"""


def command_peak_mb(count: int, url: str) -> float:
    """The same of `corea run` itself, as its user starts it, over HTTP."""
    with tempfile.TemporaryDirectory() as name:
        return command(prepared(Path(name), count, url), count)["peak_mb"]


def prepared(folder: Path, count: int, url: str) -> Path:
    """The folder, with questions and a configuration."""
    write_questions(folder / "questions.jsonl", count)
    (folder / "corea.toml").write_text(CONFIG.format(url=url))
    return folder


def command(folder: Path, count: int) -> dict[str, float]:
    """`corea run`, once: seconds by the clock, seconds of the processor, and peak resident memory in 10^6 bytes."""
    words = [sys.executable, "-m", "corea.cli.main", "run", "questions.jsonl", "--out", "answers.jsonl", "--json"]
    began = time.perf_counter()
    process = subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE)
    assert process.stdout is not None
    summary = json.loads(process.stdout.read())
    usage = os.wait4(process.pid, 0)[2]
    seconds = time.perf_counter() - began
    assert (summary["done"], summary["failed"]) == (count, 0), summary
    return {
        "seconds": round(seconds, 2),
        "processor_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mb": round(usage.ru_maxrss * 1024 / 1e6, 1),
    }


def finished(count: int, url: str) -> dict[str, Any]:
    """A run of so many rows, then the same command again, and again with a questions file that was touched."""
    with tempfile.TemporaryDirectory() as name:
        folder = prepared(Path(name), count, url)
        first = command(folder, count)
        sizes = {path.name: path.stat().st_size for path in folder.iterdir() if path.name != "corea.toml"}
        again = command(folder, count)
        (folder / "questions.jsonl").touch()
        touched = command(folder, count)
    return {"rows": count, "first": first, "again": again, "touched": touched, "bytes": sizes}


def peak_mb(kind: str, count: int) -> float:
    """Peak resident memory in 10^6 bytes of a fresh process that does one thing."""
    command = [sys.executable, __file__, "--child", kind, "--questions", str(count)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def memory(peak: Callable[[int], float], counts: list[int]) -> dict[str, Any]:
    """Peaks by number of questions, and what the most add to the least."""
    peaks = {count: peak(count) for count in counts}
    return {
        "peak_mb": {str(k): round(v, 1) for k, v in peaks.items()},
        "growth_mb": round(peaks[counts[-1]] - peaks[counts[0]], 1),
    }


def report(result: dict[str, Any]) -> Iterator[str]:
    """The result in lines for people."""
    for name, values in result.items():
        yield f"{name}: " + ", ".join(f"{key} {value}" for key, value in values.items())


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--questions", type=int, default=4000, help="of each round of the speed part")
    parser.add_argument("--memory", action="store_true", help="also the memory of a run (minutes)")
    parser.add_argument("--http-memory", action="store_true", help="also that of the command over HTTP (minutes)")
    parser.add_argument("--million", action="store_true", help="also the memory of ask_many over a million (minutes)")
    parser.add_argument("--finished", type=int, metavar="ROWS", help="also a finished run of so many rows (minutes)")
    parser.add_argument("--no-speed", action="store_true", help="leave the speed part out")
    parser.add_argument("--child", choices=["batch", "ask_many"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        asyncio.run(_batch(given.questions) if given.child == "batch" else _ask_many(given.questions))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)
        return
    result: dict[str, Any] = {}
    if not given.no_speed:
        result["run"] = speed(given.rounds, given.questions)
    if given.memory:
        result["run_memory"] = memory(lambda count: peak_mb("batch", count), [10_000, 200_000])
    if given.http_memory:
        with loopback() as url:
            result["run_http_memory"] = memory(lambda count: command_peak_mb(count, url), [10_000, 200_000])
    if given.million:
        result["ask_many_memory"] = memory(lambda count: peak_mb("ask_many", count), [1_000, 1_000_000])
    if given.finished:
        with loopback() as url:
            result["finished"] = finished(given.finished, url)
    print(json.dumps(result) if given.json else "\n".join(report(result)))


if __name__ == "__main__":
    main()
