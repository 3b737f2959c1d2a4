"""The published datasets: for each, where it is from and how a row of the hub's shape becomes a question."""

import logging
from collections.abc import Sequence
from typing import ClassVar

from corea.datasets.source import HubSource, PublishedDataset, Row, choice_question, stable_bucket, text_question
from corea.types import Question


def _gsm8k(row: Row, default_id: str) -> Question:
    solution, mark, answer = row["answer"].rpartition("####")
    if not mark:
        raise ValueError("the answer has no '####'")
    meta = {"steps": solution.count("<<")}
    return text_question(id=default_id, text=row["question"], reference=answer.strip().replace(",", ""), meta=meta)


class Gsm8k(PublishedDataset):
    """GSM8K, grade-school word problems: train (7,473) and test (1,319); the answer is the number after "####".

    Source: Cobbe et al. 2021, arXiv:2110.14168.
    """

    source: ClassVar[HubSource] = HubSource(
        hub="openai/gsm8k",
        config="main",
        revision="e53f048856ff4f594e959d75785d2c2d37b678ee",
        licence="MIT",
        grader="number",
        splits={"train": "train", "test": "test"},
        to_question=_gsm8k,
    )


def _math500(row: Row, default_id: str) -> Question:
    name = str(row.get("unique_id") or default_id).removeprefix("test/").removesuffix(".json")
    return text_question(
        id=f"math500-{name.replace('/', '-')}" if row.get("unique_id") else default_id,
        text=row["problem"],
        reference=str(row["answer"]),
        category=row.get("subject"),
        meta={"level": row.get("level")},
    )


class Math500(PublishedDataset):
    """MATH-500, competition problems of the MATH test set with answers in LaTeX: test (500).

    MATH was taken down at its publisher's request in 2025: measure with it, do not republish it.

    Source: Lightman et al. 2023, arXiv:2305.20050; MATH: Hendrycks et al. 2021, arXiv:2103.03874.
    """

    source: ClassVar[HubSource] = HubSource(
        hub="HuggingFaceH4/MATH-500",
        revision="6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be",
        licence="MIT (MATH); not to be republished",
        grader="maths",
        splits={"test": "test"},
        columns=("problem", "answer", "subject", "level", "unique_id"),
        publishable=False,
        to_question=_math500,
    )


_OLYMPIAD_HINTS = ("answer_type", "unit", "error", "is_multiple_answer")


def _olympiadbench(row: Row, default_id: str) -> Question:
    answers = row["final_answer"]
    answers = [answers] if isinstance(answers, str) else answers
    return text_question(
        id=f"olympiadbench-{row['id']}" if row.get("id") is not None else default_id,
        text=row["question"],
        reference=", ".join(str(answer).strip().strip("$") for answer in answers),
        category=row.get("subfield"),
        meta={key: row[key] for key in _OLYMPIAD_HINTS if row.get(key)},
    )


class OlympiadBench(PublishedDataset):
    """OlympiadBench, its open-ended English mathematics without images: test (674; the hub calls it train).

    Several answers are joined by ", ".

    Source: He et al. 2024, arXiv:2402.14008.
    """

    source: ClassVar[HubSource] = HubSource(
        hub="Hothan/OlympiadBench",
        config="OE_TO_maths_en_COMP",
        revision="91184b52131e7fc9455fef848035173aea8cc01a",
        licence="MIT (OpenBMB/OlympiadBench)",
        grader="olympiad",
        splits={"test": "train"},
        columns=("id", "question", "final_answer", "subfield", *_OLYMPIAD_HINTS),
        to_question=_olympiadbench,
    )


def _commonsenseqa(row: Row, default_id: str) -> Question:
    asked = row["question"]
    if isinstance(asked, str):
        text, concept = asked, row.get("question_concept")
        labels, options = row["choices"]["label"], row["choices"]["text"]
    else:  # the authors' own files
        text, concept = asked["stem"], asked.get("question_concept")
        labels = [choice["label"] for choice in asked["choices"]]
        options = [choice["text"] for choice in asked["choices"]]
    if row["answerKey"] not in labels:
        raise ValueError(f"the answer {row['answerKey']!r} is none of {', '.join(labels)}")
    right = list(labels).index(row["answerKey"])
    name = f"commonsenseqa-{row['id']}" if row.get("id") else default_id
    return choice_question(id=name, text=text, options=options, right=right, meta={"concept": concept})


class CommonsenseQA(PublishedDataset):
    """CommonsenseQA, everyday questions with five options, in the hub's shape or the authors' own.

    Splits train (9,741) and test (1,221: the hub's validation, since the answers of its test set are not public).

    Source: Talmor et al. 2019, arXiv:1811.00937.
    """

    source: ClassVar[HubSource] = HubSource(
        hub="tau/commonsense_qa",
        revision="94630fe30dad47192a8546eb75f094926d47e155",
        licence="MIT",
        grader="choice",
        splits={"train": "train", "test": "validation"},
        to_question=_commonsenseqa,
    )


_GPQA_OPTIONS = ("Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")


def _gpqa(row: Row, default_id: str) -> Question:
    right_text = row["Correct Answer"].strip()
    options = [row[name].strip() for name in _GPQA_OPTIONS]
    name = str(row.get("Record ID") or default_id)
    right = stable_bucket(name + right_text, 4)
    options.insert(right, right_text)
    return choice_question(
        id=f"gpqa-{name}",
        text=row["Question"],
        options=options,
        right=right,
        category=row.get("High-level domain"),
        meta={"private": True},
    )


class Gpqa(PublishedDataset):
    """GPQA diamond, graduate questions of natural science with four options: test (198; the hub calls it train).

    A record's id decides the position of the right option. The authors ask that no question be published in plain
    text: this project has none, and its reports print none. The hub asks for a log-in and a promise before it gives
    the file.

    Source: Rein et al. 2023, arXiv:2311.12022.
    """

    source: ClassVar[HubSource] = HubSource(
        hub="Idavidrein/gpqa",
        config="gpqa_diamond",
        revision="633f5ee89ab8ad4522a9f850766b73f62147ffdd",
        licence="CC-BY-4.0; not to be published in plain text",
        grader="choice",
        splits={"test": "train"},
        columns=("Record ID", "Question", "Correct Answer", "High-level domain", *_GPQA_OPTIONS),
        publishable=False,
        to_question=_gpqa,
    )


_DEEPMATH_BUCKETS = 206  # about 500 of 103,022 questions each
_SET_ASIDE = {0: "test", 1: "validation"}


def _deepmath(row: Row, default_id: str) -> Question:
    text = row["question"].strip()
    return text_question(
        id=f"deepmath-{stable_bucket(text, 1 << 48):012x}",
        text=text,
        reference=str(row["final_answer"]),
        category=row.get("topic"),
        meta={"difficulty": row.get("difficulty")},
    )


class DeepMath(PublishedDataset):
    """DeepMath-103K, hard mathematics with checkable answers, decontaminated and made for training.

    Splits train, validation and test: the hub has train alone, so about 500 questions each are set aside for the
    others by a hash of their text. (The DeepMath500 of arXiv:2603.03752 is not public; this is not it.) A question that
    repeats an earlier one except for spaces and case is dropped, whatever its split; a warning of the logger
    `corea.datasets` counts them.

    Source: He et al. 2025, arXiv:2504.11456.
    """

    source: ClassVar[HubSource] = HubSource(
        hub="zwhe99/DeepMath-103K",
        revision="5cf055d1fe3d7a2eb19719ac020211469736ae44",
        licence="MIT",
        grader="maths",
        splits={"train": "train", "validation": "train", "test": "train"},
        columns=("question", "final_answer", "difficulty", "topic"),
        to_question=_deepmath,
    )

    def load(self, split: str) -> list[Question]:
        """The questions whose text falls into this split."""
        questions = _distinct(self.source.load(self.path, split))
        return [q for q in questions if _SET_ASIDE.get(stable_bucket(q.text, _DEEPMATH_BUCKETS), "train") == split]


def _distinct(questions: Sequence[Question]) -> list[Question]:
    """The first question of each text; logs how many repeated one."""
    first: dict[str, Question] = {}
    for question in questions:
        first.setdefault("".join(question.text.split()).casefold(), question)
    if dropped := len(questions) - len(first):
        logging.getLogger("corea.datasets").warning(
            "dataset DeepMath-103K: %s of %s questions repeat an earlier one and were dropped",
            f"{dropped:,}", f"{len(questions):,}",
        )  # fmt: skip
    return list(first.values())


def _mmlu_pro(row: Row, default_id: str) -> Question:
    right = ord(row["answer"]) - ord("A")
    name = f"mmlu-pro-{row['question_id']}" if row.get("question_id") is not None else default_id
    return choice_question(
        id=name, text=row["question"], options=row["options"], right=right, category=row.get("category")
    )


class MmluPro(PublishedDataset):
    """MMLU-Pro, questions of fourteen subjects with up to ten options: validation (70) and test (12,032).

    Source: Wang et al. 2024, arXiv:2406.01574.
    """

    source: ClassVar[HubSource] = HubSource(
        hub="TIGER-Lab/MMLU-Pro",
        revision="b189ec765aa7ed75c8acfea42df31fdae71f97be",
        licence="MIT",
        grader="choice",
        splits={"validation": "validation", "test": "test"},
        columns=("question_id", "question", "options", "answer", "category"),
        to_question=_mmlu_pro,
    )
