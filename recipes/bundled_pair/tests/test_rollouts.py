"""Shrinking rollouts write what `generate` writes."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from recipes.bundled_pair.problems import sample  # noqa: E402  (after the checks)
from recipes.bundled_pair.rollouts import shrinking_rollouts  # noqa: E402

COLD = Path(__file__).parents[3] / "tests" / "train" / "data" / "cold"


@pytest.fixture(scope="module")
def trainer() -> SimpleNamespace:
    model = transformers.AutoModelForCausalLM.from_pretrained(COLD, dtype=torch.float32)
    return SimpleNamespace(
        model=model,
        accelerator=SimpleNamespace(unwrap_model=lambda it: it),
        processing_class=transformers.AutoTokenizer.from_pretrained(COLD),
        eos_token_ids=[model.config.eos_token_id],
        max_completion_length=40,
        temperature=1e-4,  # as good as greedy
    )


def test_rows_that_leave_the_batch_change_nothing_for_the_rest(trainer: SimpleNamespace) -> None:
    asked = [[{"role": "user", "content": q.text}] for q in sample("slm", 12, 3, split="validation")]
    together = shrinking_rollouts(asked, trainer)["completion_ids"]
    alone = [shrinking_rollouts([one], trainer)["completion_ids"][0] for one in asked]
    assert len({len(reply) for reply in together}) > 3  # some left early
    confidence = trainer.processing_class.convert_tokens_to_ids("<confidence>")
    before = [reply[: reply.index(confidence)] if confidence in reply else reply for reply in together]
    assert before == [reply[: len(b)] for reply, b in zip(alone, before, strict=True)]


def test_a_reply_ends_with_its_end_token_or_at_the_limit(trainer: SimpleNamespace) -> None:
    asked = [[{"role": "user", "content": q.text}] for q in sample("slm", 8, 5, split="validation")]
    end = trainer.eos_token_ids[0]
    for reply in shrinking_rollouts(asked, trainer)["completion_ids"]:
        assert end not in reply[:-1]
        assert reply[-1] == end or len(reply) == 40


def switch_checkpointing(model: Any, verb: str) -> None:
    """transformers gave it another name in between."""
    new, old = f"activation_checkpointing_{verb}", f"gradient_checkpointing_{verb}"
    getattr(model, new if hasattr(model, new) else old)()


def test_gradient_checkpointing_and_training_mode_are_put_aside(trainer: SimpleNamespace) -> None:
    asked = [[{"role": "user", "content": q.text}] for q in sample("slm", 3, 5, split="validation")]
    plain = shrinking_rollouts(asked, trainer)["completion_ids"]
    switch_checkpointing(trainer.model, "enable")
    trainer.model.train()
    try:
        confidence = trainer.processing_class.convert_tokens_to_ids("<confidence>")
        again = shrinking_rollouts(asked, trainer)["completion_ids"]
        assert [r[: r.index(confidence)] for r in again] == [r[: r.index(confidence)] for r in plain]
        assert trainer.model.training
    finally:
        switch_checkpointing(trainer.model, "disable")
        trainer.model.eval()
