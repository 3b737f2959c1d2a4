"""One RL run on the generated problems: python experiments/rl/run.py MODEL OUT [key=value ...]

`model` is a cold-started folder. Keys are settings of `corea.train.rlcc.Rlcc`; `trl.KEY` goes to TRL. Of the `prompts`
RL problems, share `home` is in domain (world slm), `odd` from the odd parts of world rl (made-up names, unreadable
words, strange kinds), the others from all of rl; `held` problems are held out.
"""

import sys
import tomllib
from pathlib import Path
from typing import Any

import torch

from corea.config import settings as read_settings
from corea.prompts import Prompt
from corea.reading import read_answer
from corea.tasks import sample, worlds
from corea.train.rlcc import Rlcc, rlcc
from corea.types import Question, Verdict

DEFAULTS: dict[str, Any] = {
    "max_tokens": 112,
    "shrinking_rollouts": True,
    "length_chunks": 4,
    "steps": 200,
    "learning_rate": 4e-4,
    "evaluate_every": 40,
}
TRL: dict[str, Any] = {"use_cpu": True, "bf16": False, "gradient_checkpointing": False, "disable_tqdm": True}


class Exact:
    """Right where the answer equals the reference to the letter."""

    def grade(self, question: Question, text: str) -> Verdict:
        answer = read_answer(text)
        return Verdict(answer == question.reference, answer)


def main(model: str, out: str, *pairs: str) -> None:
    torch.set_num_threads(1)
    table: dict[str, Any] = {**DEFAULTS, "trl": dict(TRL)}
    for pair in pairs:
        key, _, text = pair.partition("=")
        try:
            value = tomllib.loads(f"v = {text}")["v"]
        except tomllib.TOMLDecodeError:
            value = text
        if key.startswith("trl."):
            table["trl"][key[4:]] = value
        else:
            table[key] = value
    prompts, held = table.pop("prompts", 20_000), table.pop("held", 384)
    shares = {"slm": table.pop("home", 0.0), "odd": table.pop("odd", 0.0)}
    shares["rl"] = 1 - sum(shares.values())
    worlds.WORLDS = {**worlds.WORLDS, "odd": worlds.WORLDS["rl"][1:]}
    settings = read_settings("train", Rlcc, table, model=model, out=Path(out))
    rlcc(
        settings,
        questions=[q for world, share in shares.items() for q in sample(world, round(share * prompts), settings.seed)],
        held_out=sample("slm", held, 7, split="validation"),
        grader=Exact(),
        prompt=Prompt("plain"),
        command=" ".join(["python experiments/rl/run.py", Path(model).name, Path(out).name, *pairs]),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
