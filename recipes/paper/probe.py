"""Hidden states for the probe: the last layer's state at the end of a completion, and its mean over it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from corea.errors import ConfigError
from corea.prompts import Prompt
from corea.protocols import Backend
from corea.types import Question
from recipes.paper.answer_cache import AnswerCache
from recipes.paper.answers import question_hash

BATCH = 16


def hidden_states(
    cache: AnswerCache, open_backend: Callable[[], Backend], prompt: Prompt, questions: Sequence[Question]
) -> Mapping[str, Any]:
    """By question hash, a vector of twice the model's width: the last token's state, and the mean of the completion's.

    They are stored with the cache; no model is loaded if all are stored.

    Raises:
        ConfigError: The backend is not a transformers model.

    Source: a probe on the hidden state at the answer's end, as in Kadavath et al. 2022, arXiv:2207.05221, sec. 5.
    """
    path = cache.path.with_suffix(".npz")
    stored = _read(path)
    missing = [q for q in questions if question_hash(q) not in stored and question_hash(q) in cache.rows]
    if missing:
        stored = {**stored, **_taken(cache, open_backend(), prompt, missing)}
        keys = list(stored)
        np.savez_compressed(path, keys=np.array(keys), vectors=np.array([stored[k] for k in keys], dtype=np.float32))
    return stored


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    with np.load(path) as data:
        return dict(zip(data["keys"].tolist(), data["vectors"], strict=True))


def _taken(cache: AnswerCache, backend: Backend, prompt: Prompt, questions: Sequence[Question]) -> dict[str, Any]:
    from corea.backends.local.transformers import HFBackend, HFEngine  # brings torch

    if not isinstance(backend, HFBackend):
        raise ConfigError("compare: probe = true: hidden states need the backend kind 'hf'; set probe = false")
    engine = HFEngine(backend.settings)
    found: dict[str, Any] = {}
    for at in range(0, len(questions), BATCH):
        some = questions[at : at + BATCH]
        heads = [engine.prompt(prompt.render(q))[1] for q in some]
        tails = [engine.encode(cache.rows[question_hash(q)]["response"]) or [0] for q in some]
        ids, mask = engine.padded([[*head, *tail] for head, tail in zip(heads, tails, strict=True)])
        with engine.torch.inference_mode():
            out = engine.model(**engine.inputs(ids, mask), output_hidden_states=True)
        last = out.hidden_states[-1].float().cpu().numpy()
        for question, tail, states in zip(some, tails, last, strict=True):  # padded on the left
            found[question_hash(question)] = np.concatenate([states[-1], states[-len(tail) :].mean(axis=0)])
    return found
