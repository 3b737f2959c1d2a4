"""Replays recorded outputs of real models: 914 GSM8K questions, a 1.5B model deferring to gpt-4o-mini."""

import asyncio

from corea.build import build
from corea.config import load_config
from corea.datasets import load_dataset
from corea.demo import RECORDED_CONFIG
from corea.graders.number import NumberGrader
from corea.ledger import Ledger

cascade = build(load_config(RECORDED_CONFIG, ["stages.small.threshold=0.9"])).cascade
asked = {question.id: question for question in load_dataset("recorded")}


async def main() -> None:
    ledger, right = Ledger(), 0
    async for trace in cascade.ask_many(asked.values(), concurrency=16):
        ledger.add(trace)
        right += NumberGrader().grade(asked[trace.question_id], trace.text or "").correct
    print(f"{right} of {len(asked)} right, {100 * ledger.defer_rate:.1f} % sent to the large model")
    print(f"cost ${ledger.cost_usd}, the large model alone ${ledger.baseline_usd} (token counts are estimates)")


asyncio.run(main())
