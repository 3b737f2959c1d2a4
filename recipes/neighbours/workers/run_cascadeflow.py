"""cascadeflow's quality check of each draft, with its own confidence from the text: JSON in and out."""

import contextlib
import json
import logging
import sys
import time

logging.disable(logging.CRITICAL)
with contextlib.redirect_stdout(sys.stderr):
    from cascadeflow.quality import ProductionConfidenceEstimator, QualityConfig, QualityValidator  # pyright: ignore[reportMissingImports]

    given = json.load(sys.stdin)
    estimator, check = ProductionConfidenceEstimator(), QualityValidator(QualityConfig.for_cascade())
    start, passed, score = time.perf_counter(), [], []
    for question, draft in zip(given["texts"], given["drafts"], strict=True):
        confidence = estimator.estimate(draft, query=question).final_confidence
        found = check.validate(draft, question, confidence)
        passed.append(int(found.passed))
        score.append(float(found.score))
    ms = 1000 * (time.perf_counter() - start) / len(passed)
json.dump({"keep": passed, "score": score, "ms": ms}, sys.stdout)
