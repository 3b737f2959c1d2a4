"""LiteLLM's complexity router as shipped, on each question: JSON in and out.

Questions of its tiers up to MEDIUM go to the small model.
"""

import contextlib
import json
import logging
import sys
import time
from unittest.mock import MagicMock

logging.disable(logging.CRITICAL)
with contextlib.redirect_stdout(sys.stderr):
    from litellm.router_strategy.complexity_router.complexity_router import ComplexityRouter  # pyright: ignore[reportMissingImports]

    given = json.load(sys.stdin)
    router = ComplexityRouter("auto", MagicMock(), derive_savings_baseline=False)
    start, keep, score = time.perf_counter(), [], []
    for question in given["texts"]:
        tier, number, _ = router.classify(question)
        keep.append(int(getattr(tier, "value", tier) in ("NON_REASONING", "SIMPLE", "MEDIUM")))
        score.append(-float(number))
    ms = 1000 * (time.perf_counter() - start) / len(keep)
json.dump({"keep": keep, "score": score, "ms": ms}, sys.stdout)
