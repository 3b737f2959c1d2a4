"""Outputs read per second by one core: confidence and answer of typical texts, and of hostile ones of 1 MB.

The confidence is timed alone too.

Times are processor time, since the machine may be shared; of the hostile texts also as a clock on the wall tells it,
which means something on an idle machine only.

python bench/parsing.py [--json]
"""

import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "parsing"))

from test_hostile import PIECES

from corea.parsing import read_answer, read_confidence

REASONING = (
    "Janet's ducks lay 16 eggs per day. She eats 3 for breakfast and bakes muffins with 4, "
    "so 16 - 3 - 4 = 9 eggs are left. "
    "At $2 each she makes 9 * 2 = $18 every day at the market, which is what the question asks for.\n"
)
TYPICAL = [
    f"<think>{REASONING * 2}</think>\n<answer>18</answer>\n<confidence>0.92</confidence>",
    f"{REASONING}#### 18\nCONF: 0.80",
    f"{REASONING * 3}The final answer is \\(\\boxed{{18}}\\).\n\n**Confidence Level:** 9/10",
    f'{REASONING}{{"answer": "18", "confidence": 0.85}}',
    f"{REASONING * 2}Therefore, the answer is 18. I am 95% sure.",
    f"{REASONING * 4}\\boxed{{18}}",
    "<think>A bank keeps money.</think>\n<answer>B) bank</answer>\n<confidence>0.7</confidence>",
    REASONING * 2,
]
MEGABYTE = 1_000_000
STATEMENTS = [
    "confidence: ",
    "Confidence: high ",
    '"confidence": {"a": 0.1, ',
    '{"confidence": ',
    "<confidence>step 1: 0.95, ",
    "| confidence |\n|---|\n",
    "confidence in step 1: 0.5\n",
    "0.9 → ",
    "0.9 * ",
    "0.9 ",
    "9",
    "I am 95% sure if it would ",
    "lower that to 0.5 ",
    "置信度：",
    "90%的把握",
    "\n",
]
"""Pieces that cost the reader of confidences most."""
PATTERNS = 250  # of 2 to 8 pieces, repeated


def hostile() -> list[str]:
    """Pieces that are repeated to a megabyte: those of the tests, and patterns of them."""
    rng = random.Random(7)
    pieces = PIECES + STATEMENTS
    return pieces + ["".join(rng.choices(pieces, k=rng.randint(2, 8))) for _ in range(PATTERNS)]


def _both(text: str) -> None:
    read_confidence(text)
    read_answer(text)


def outputs_per_second(read: Callable[[str], object] = _both, seconds: float = 1.0) -> float:
    """Best of five rounds."""
    best = 0.0
    for _ in range(5):
        done, start = 0, time.process_time()
        while (elapsed := time.process_time() - start) < seconds / 5:
            for text in TYPICAL:
                read(text)
            done += len(TYPICAL)
        best = max(best, done / elapsed)
    return best


def slowest_hostile_ms() -> dict[str, float | str]:
    """Milliseconds that the readers need for the slowest megabyte, best of three, and what it repeats."""
    slowest: dict[str, float | str] = {"processor_ms": 0.0, "wall_ms": 0.0, "piece": "", "confidence_ms": 0.0}
    for piece in hostile():
        text = (piece * (MEGABYTE // len(piece.encode()) + 1))[:MEGABYTE]
        times = [_timed(text) for _ in range(3)]
        processor, wall, confidence = (min(column) for column in zip(*times, strict=True))
        if processor > float(slowest["processor_ms"]):
            slowest |= {"processor_ms": round(processor, 1), "piece": piece}
        slowest["wall_ms"] = round(max(float(slowest["wall_ms"]), wall), 1)
        slowest["confidence_ms"] = round(max(float(slowest["confidence_ms"]), confidence), 1)
    return slowest


def _timed(text: str) -> tuple[float, float, float]:
    """Milliseconds: of processor time and on the wall for both readers, and of processor time for the confidence."""
    processor, wall = time.process_time(), time.perf_counter()
    read_confidence(text)
    confidence = time.process_time() - processor
    read_answer(text)
    return 1000 * (time.process_time() - processor), 1000 * (time.perf_counter() - wall), 1000 * confidence


def main() -> None:
    rate, confidences = outputs_per_second(), outputs_per_second(read_confidence)
    slowest = slowest_hostile_ms()
    figures = {
        "reading_outputs_per_second": round(rate),
        "reading_confidences_per_second": round(confidences),
        "reading_mean_characters": round(sum(map(len, TYPICAL)) / len(TYPICAL)),
        "reading_hostile_texts": len(hostile()),
        "reading_hostile_megabyte_ms": slowest["processor_ms"],
        "reading_hostile_megabyte_wall_ms": slowest["wall_ms"],
        "reading_hostile_piece": slowest["piece"],
        "reading_hostile_confidence_ms": slowest["confidence_ms"],
    }
    if "--json" in sys.argv:
        print(json.dumps(figures))
        return
    print(f"{round(rate):,} outputs/s (answer and confidence, mean {figures['reading_mean_characters']} characters)")
    print(
        f"{round(confidences):,} outputs/s (confidence alone), {slowest['confidence_ms']} ms for its slowest megabyte"
    )
    print(
        f"{slowest['processor_ms']} ms of processor time for the slowest of {len(hostile())} hostile megabytes "
        f"({slowest['piece']!r} repeated), {slowest['wall_ms']} ms on the wall"
    )


if __name__ == "__main__":
    main()
