"""Rows per second that each grader grades, reading the answer out of the text included.

The first five run in this process and are timed by processor time: the machine may be shared. The rows of "algebra" can
be settled by a worker alone and are all different; they are timed on the clock, once through the pool, its workers
started beforehand, and once in a bare loop of math-verify in this process. (Polynomials need none: see "maths".)

python bench/graders.py [--json]
"""

import json
import sys
import time

from corea.graders import grade_all, load_grader
from corea.graders.maths import MathsGrader
from corea.graders.pool import WorkerLimits, close_pools, shared_pool
from corea.graders.worker import WARM_UP, equivalent
from corea.types import Message, Question

REASONING = "She sells 16 - 3 - 4 = 9 eggs a day. At $2 each that is 9 * 2 = $18 every day at the market. " * 2
WORDS = ("bank", "library", "department store", "mall", "new york")
ROWS = {
    "number": [
        ("18", REASONING + "\n#### 18"),
        ("1234.5", "<answer>$1,234.50</answer>"),
        ("7/2", "The answer is 3.5."),
    ],
    "choice": [("A", "<think>so</think><answer>A) bank</answer>"), ("B", "The answer is (C)."), ("D", "Answer: mall")],
    "text": [("Marie Curie", "<answer>marie curie</answer>"), ("yes", "The answer is no.")],
    "text_f1": [("the old red house", "<answer>an old house of red brick</answer>"), ("yes", "The answer is no.")],
    "maths": [
        ("\\frac{1}{2}", REASONING + "\\boxed{\\dfrac12}"),
        ("11\\sqrt2", "<answer>11\\sqrt{2}</answer>"),
        ("x^2+2x", "<answer>x(x+2)</answer>"),
    ],
}


def asked(name: str, reference: str) -> Question:
    choices = WORDS if name == "choice" else ()
    return Question(id="q", messages=(Message("user", "?"),), reference=reference, choices=choices)


def rows_per_second(name: str, seconds: float = 0.3) -> float:
    """Best of three rounds."""
    grader = load_grader(name)
    rows = [(asked(name, reference), text) for reference, text in ROWS[name]] * 20
    best = 0.0
    for _ in range(3):
        done, start = 0, time.process_time()
        while (elapsed := time.process_time() - start) < seconds:
            grade_all(grader, rows)
            done += len(rows)
        best = max(best, done / elapsed)
    return best


def algebra_rows_per_second(count: int = 120) -> tuple[float, float, int]:
    """Rows per second through the pool and in a bare loop, and the number of workers."""
    limits = WorkerLimits(seconds=30)
    pairs = [(f"\\ln {n * n}", f"2\\ln {n}") for n in range(2, count // 2 + 2)]
    pairs += [(f"\\frac{{1}}{{\\sqrt{{{n}}}}}", f"\\sqrt{{{n}}}/{n}") for n in range(2, count // 2 + 2)]
    rows = [(asked("maths", reference), f"<answer>{answer}</answer>") for reference, answer in pairs]
    shared_pool(limits).compare_many([(f"\\ln {n * n}", f"2\\ln({n})") for n in range(8 * limits.processes)])
    start = time.perf_counter()
    verdicts = MathsGrader(limits).grade_many(rows)
    pooled = len(rows) / (time.perf_counter() - start)
    assert all(verdict.correct for verdict in verdicts)
    close_pools()
    for pair in WARM_UP:
        equivalent(*pair)
    start = time.perf_counter()
    assert all(equivalent(*pair) for pair in pairs)
    return pooled, len(pairs) / (time.perf_counter() - start), limits.processes


def main() -> None:
    figures = {f"graders_{name}_rows_per_second": round(rows_per_second(name)) for name in ROWS}
    pooled, bare, workers = algebra_rows_per_second()
    figures |= {
        "graders_algebra_rows_per_second": round(pooled, 1),
        "graders_algebra_to_bare_ratio": round(pooled / bare, 2),
        "graders_algebra_workers": workers,
    }
    if "--json" in sys.argv:
        print(json.dumps(figures))
        return
    for name in ROWS:
        print(f"{name:8} {figures[f'graders_{name}_rows_per_second']:>8,} rows/s")
    print(f"algebra  {pooled:>8.1f} rows/s with {workers} workers, {pooled / bare:.2f} times a bare loop")


if __name__ == "__main__":
    main()
