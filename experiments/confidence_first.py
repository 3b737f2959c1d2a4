"""What stating the confidence before the answer does to its AUROC, with the bundled pair's small model.

    python experiments/confidence_first.py [--n 1000] [--seed 2034] [--json experiments/results/confidence_first.json]

Three ways, on the same generated questions of the split "test" (their seed is used for nothing else):

- `last`: as the pair was trained: reasoning, answer, then the confidence; read as it ships, by its expectation.
- `first_scored`: the expectation of the number right behind the question, before a word of the answer is written: the
  same signal over a reply that opens with `<confidence>`. It has to foretell whether the answer of `last` is right. The
  model never learnt to open so: what probability it gives to numbers there is brought to a sum of 1.
- `first_prompt`: the built-in prompt `confidence_first`, as `confidence_first = true` at a stage uses it. The bundled
  model was trained on questions alone, and its chat template leaves the system part out.
"""

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np

from corea.build import build, bundled_config
from corea.metrics import auroc, expected_calibration_error
from corea.metrics.calibration import auroc_interval
from corea.parsing import read_answer
from corea.prompts import load_prompt
from corea.signals.expected import Expected
from corea.types import Completion, Question, Sampling
from recipes.bundled_pair.dataset import Generated

SETS = {"in_domain": "slm", "out_of_domain": "ood"}
OPENING = "<confidence>0.50</confidence>"  # the number is only a place: all of 0.00 to 1.00 are weighed in it
MOST_UNSEEN = 1 - 1e-9
SAMPLING = Sampling(max_tokens=160, temperature=0.0)


async def ask(backend: Any, signal: Expected, question: Question) -> dict[str, tuple[bool, float | None]]:
    """Whether the answer is right, and the confidence, each way."""
    written = await backend.complete(question, SAMPLING)
    right = read_answer(written.text) == question.reference
    last = await signal.measure(question, written)
    anyhow = Expected(backend, most_unseen=MOST_UNSEEN)
    first = await anyhow.measure(question, Completion(text=OPENING, model=backend.model))
    put = load_prompt("confidence_first").render(question)
    prompted = await backend.complete(put, SAMPLING)
    stated = await signal.measure(put, prompted)
    return {
        "last": (right, last.value),
        "first_scored": (right, first.value),
        "first_prompt": (read_answer(prompted.text) == question.reference, stated.value),
    }


def summary(pairs: list[tuple[bool, float | None]]) -> dict[str, Any]:
    """Accuracy over all; AUROC and ECE over those with a confidence."""
    known = [(right, value) for right, value in pairs if value is not None]
    found: dict[str, Any] = {
        "n": len(pairs),
        "accuracy": float(np.mean([right for right, _ in pairs])),
        "stated": len(known) / len(pairs),
    }
    correct = np.array([right for right, _ in known], dtype=bool)
    value = np.array([value for _, value in known], dtype=float)
    if correct.any() and not correct.all():
        low, high = auroc_interval(value, correct)
        found |= {"auroc": auroc(value, correct), "auroc_low": low, "auroc_high": high}
        found["ece"] = expected_calibration_error(value, correct)
    return found


async def measure(n: int, seed: int) -> dict[str, Any]:
    """All figures."""
    cascade = build(bundled_config()).cascade
    backend = cascade.stages[0].backend
    signal = Expected(backend)
    found: dict[str, Any] = {"seed": seed, "split": "test"}
    try:
        for name, world in SETS.items():
            questions = Generated(world=world, n=n, gym=0, seed=seed).load("test")
            asked = [
                await asyncio.gather(*(ask(backend, signal, q) for q in questions[i : i + 64])) for i in range(0, n, 64)
            ]
            rows = [row for batch in asked for row in batch]
            found[name] = {way: summary([row[way] for row in rows]) for way in rows[0]}
    finally:
        await cascade.close()
    return found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1000, help="questions of each set")
    parser.add_argument("--seed", type=int, default=2034)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    given = parser.parse_args()
    text = json.dumps(asyncio.run(measure(given.n, given.seed)), indent=1)
    print(text)
    if given.json:
        given.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
