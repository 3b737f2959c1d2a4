# pyright: basic
"""Where the seconds and the memory of a training step go: `Meter`, and the RLCC trainer with one attached."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from corea.train import trainer as recipe

GB = 1e9


class Meter:
    """Wall seconds and peak memory (allocated, GB) by part; a part's figures are without the parts inside it.

    Args:
        out: JSON file; what is known is written after each step, so that a run that is stopped leaves its figures.
    """

    def __init__(self, out: Path, **facts: Any) -> None:
        self.out, self.facts = out, facts
        self.stack = ["loading"]
        self.seconds: Counter[str] = Counter()
        self.peaks: dict[str, float] = {}
        self.steps: list[dict[str, float]] = []
        self.tokens = self.rollouts = self.stated = 0
        self.since = time.perf_counter()

    def _fold(self) -> None:
        """What was used since the last call belongs to the innermost part."""
        part = self.stack[-1]
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            self.peaks[part] = max(self.peaks.get(part, 0.0), torch.cuda.max_memory_allocated() / GB)
            torch.cuda.reset_peak_memory_stats()
        now = time.perf_counter()
        self.seconds[part] += now - self.since
        self.since = now

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """What happens inside is counted under this name."""
        self._fold()
        self.stack.append(name)
        try:
            yield
        finally:
            self._fold()
            self.stack.pop()

    def enter(self, name: str) -> None:
        """From now on the outermost part is this one."""
        self._fold()
        self.stack[0] = name

    def step(self, before: Counter[str]) -> None:
        """Keeps one step's seconds by part."""
        self._fold()
        spent = {part: round(self.seconds[part] - before[part], 4) for part in self.seconds}
        counts = {"tokens": self.tokens, "rollouts": self.rollouts, "stated": self.stated}
        self.steps.append({part: s for part, s in spent.items() if s} | counts)
        self.tokens = self.rollouts = self.stated = 0
        self.write()

    def write(self, **facts: Any) -> None:
        """Adds facts and writes the file."""
        self._fold()
        self.facts |= facts
        reserved = torch.cuda.max_memory_reserved() / GB if torch.cuda.is_available() else 0.0
        told = self.facts | {
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
            "torch": torch.__version__,
            "seconds": {part: round(s, 2) for part, s in self.seconds.items()},
            "peak_gb": {part: round(peak, 2) for part, peak in self.peaks.items()},
            "reserved_gb": round(reserved, 2),
            "steps": self.steps,
        }
        self.out.parent.mkdir(parents=True, exist_ok=True)
        self.out.write_text(json.dumps(told, indent=1, default=str) + "\n")


class Steps(TrainerCallback):
    """Tells the meter where a step begins and ends, the optimiser's part included."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.meter.enter("optimiser")  # what is in no part of the trainer's
        self.before = Counter(self.meter.seconds)

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.meter.step(self.before)
        self.meter.enter("between")


def attach(meter: Meter) -> None:
    """From now on `corea.train.rlcc` makes a trainer that this meter watches."""

    class Watched(recipe.RlccTrainer):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.add_callback(Steps(meter))
            weights = list(self.model.parameters())
            trained = sum(p.numel() for p in weights if p.requires_grad)
            meter.write(parameters=sum(p.numel() for p in weights), trained=trained)

        def _generate(self, *args: Any, **kwargs: Any):
            with meter.part("generation"):
                return super()._generate(*args, **kwargs)

        def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):
            with meter.part("rewards"):
                paid = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
            if self.model.training:
                meter.rollouts += len(completion_ids_list)
                meter.tokens += sum(map(len, completion_ids_list))
                meter.stated += sum(map(bool, self._local["places"]))
            return paid

        def _compute_loss(self, *args: Any, **kwargs: Any):
            with meter.part("loss"):
                return super()._compute_loss(*args, **kwargs)

        def training_step(self, *args: Any, **kwargs: Any):
            with meter.part("gradient"):
                return super().training_step(*args, **kwargs)

        def evaluation_loop(self, *args: Any, **kwargs: Any):
            with meter.part("held out"):
                return super().evaluation_loop(*args, **kwargs)

    recipe.RlccTrainer = Watched
