"""The names of the datasets, each with the class that loads it; and the grader that a dataset declares."""

from functools import lru_cache
from typing import Any

from corea.registry import resolve
from corea.types import Question, replace

DATASETS = {
    "gsm8k": "corea.datasets.published:Gsm8k",
    "math500": "corea.datasets.published:Math500",
    "olympiadbench": "corea.datasets.published:OlympiadBench",
    "commonsenseqa": "corea.datasets.published:CommonsenseQA",
    "gpqa": "corea.datasets.published:Gpqa",
    "deepmath": "corea.datasets.published:DeepMath",
    "mmlu_pro": "corea.datasets.published:MmluPro",
    "jsonl": "corea.datasets.local:JsonLines",
    "recorded": "corea.datasets.local:RecordedQuestions",
    "bundled": "corea.datasets.local:BundledQuestions",
}


@lru_cache(maxsize=64)
def declared_grader(dataset: str) -> str | None:
    """The default grader of a dataset; None where none is registered under this name, or it declares none."""
    if dataset not in DATASETS:
        return None
    source: Any = getattr(resolve("dataset", dataset, DATASETS), "source", None)
    return None if source is None else str(source.grader)


def graded_by(question: Question, grader: str) -> Question:
    """The question with this grader, whatever it states."""
    return replace(question, meta={**question.meta, "grader": grader})


def with_grader(question: Question, declared: str | None = None) -> Question:
    """The question with its grader in `meta["grader"]`: its own, else that of the dataset that its row names.

    Args:
        declared: The grader of the dataset that is loaded, for rows that name none.
    """
    if question.meta.get("grader"):
        return question
    name = declared_grader(str(question.meta.get("dataset"))) or declared
    return graded_by(question, name) if name else question
