"""A short real run of the bundled small model's recipe, in a process of its own: python runs.py OUT STEPS"""

import sys
import warnings
from pathlib import Path
from random import Random

warnings.filterwarnings("ignore")

import torch  # noqa: E402  (warnings first)

from corea.parsing import read_answer  # noqa: E402
from corea.prompts import Prompt  # noqa: E402
from corea.train.rlcc import save  # noqa: E402
from corea.types import Question, Verdict  # noqa: E402
from recipes.bundled_pair.problems import sample  # noqa: E402
from recipes.bundled_pair.rlcc import BundledRlcc, make_trainer  # noqa: E402

MODEL = Path(__file__).parents[3] / "tests" / "train" / "data" / "cold"
CPU = {
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "disable_tqdm": True,
    "model_init_kwargs": {"dtype": "float32"},
}


class Exact:
    def grade(self, question: Question, text: str) -> Verdict:
        answer = read_answer(text)
        return Verdict(answer == question.reference, answer)


def smoke(out: Path, steps: int) -> None:
    """The recipe, for as many steps as fit a test."""
    torch.set_num_threads(1)
    settings = BundledRlcc(
        model=str(MODEL),
        out=out,
        max_tokens=112,
        trl={**CPU, "beta": 0.05},
        reward="l2-group",
        credit="all-values",
        entropy_bonus=0.05,
        confidence_weight=100.0,
        questions_per_step=32,
        generations=4,
        temperature=0.5,
        learning_rate=4e-4,
        matrix_learning_rate=1e-3,
        steps=steps,
        evaluate_every=steps,
        shrinking_rollouts=True,
        length_chunks=8,
    )
    questions = sample("slm", 2000, settings.seed) + sample("rl", 2000, settings.seed)
    Random(settings.seed).shuffle(questions)
    trainer = make_trainer(
        settings,
        questions=questions,
        held_out=sample("slm", 384, 7, split="validation"),
        grader=Exact(),
        prompt=Prompt("bundled"),
    )
    trainer.train()
    trainer.evaluate()
    save(settings, trainer, questions, Prompt("bundled"), "python recipes/bundled_pair/tests/runs.py")


if __name__ == "__main__":
    smoke(Path(sys.argv[1]), int(sys.argv[2]))
