# pyright: basic, reportPrivateImportUsage=false
# (transformers, datasets, peft and TRL are only partly typed)
"""`corea train cold-start`: supervised training that teaches a pretrained model to answer in the prompt's form.

Taught texts are a reasoning, an answer and a stated confidence, from each question's own steps or from recorded texts.
Confidences drawn evenly from 0.00 to 0.99 carry nothing yet, and make every number likely: reinforcement learning can
move to a number only if it is sometimes stated.
"""

import asyncio
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from corea.backends.replay import ReplayBackend, ReplaySettings
from corea.errors import BackendError, ConfigError, DataError
from corea.graders import grade_all
from corea.metrics.intervals import wilson_interval
from corea.parsing import is_well_formed, read_answer, read_confidence, without_thinking
from corea.prompts import Prompt
from corea.protocols import Grader
from corea.train.data import data_hash, messages
from corea.train.model_card import write_card
from corea.train.saving import save_model
from corea.train.settings import last_checkpoint, trl_settings
from corea.types import Question, Sampling

CONFIDENCES = ("uniform", "recorded", "none")
CHECK_BATCH = 64
IGNORED = -100  # label of a token that is not taught


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStartSettings:
    """Settings of one run; `[questions]`, `[held_out]`, `grader` and `prompt` as for RLCC.

    Args:
        model: A Hugging Face folder or name.
        out: Folder of the trained model; the command line sets it.
        recorded: Options of `corea.backends.replay.ReplaySettings`: the texts to teach, by the questions' ids, such as
            a larger model's. Those graded wrong are left out. Empty: texts are made of each question's `reasoning`.
        reasoning: The key of a question's other fields that holds a written solution.
        confidence: The number taught. "uniform": drawn evenly from 0.00 to 0.99; "recorded": that of the recording;
            "none" (or false): the text is taught up to its confidence tag, and the model keeps its own numbers.
        epochs: Passes over the texts.
        batch: Texts of one optimiser step on one process.
        learning_rate: Of AdamW, falling linearly to 0; 1e-3 suits LoRA, 1e-5 all weights.
        check_tokens: The longest reply of the final check, on the held-out questions.
        save_every: Steps between two checkpoints.
        seed: Of the order, the confidences and LoRA.
        lora: Settings of `peft.LoraConfig`; empty trains all weights.
        trl: Further settings of `trl.SFTConfig`.
    """

    model: str
    out: Path
    recorded: Mapping[str, Any] = field(default_factory=dict[str, Any])
    reasoning: str = "steps"
    confidence: str | bool = "uniform"
    epochs: float = 1.0
    batch: int = 16
    learning_rate: float = 1e-3
    check_tokens: int = 256
    save_every: int = 50
    seed: int = 1
    lora: Mapping[str, Any] = field(default_factory=dict[str, Any])
    trl: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        if self.taught not in CONFIDENCES:
            raise ConfigError(
                f"train.confidence: got {self.confidence!r}, expected one of {', '.join(CONFIDENCES)}, or false"
            )
        if self.taught == "recorded" and not self.recorded:
            raise ConfigError("train.confidence: got 'recorded' without a table [recorded]; add one, or use 'uniform'")

    @property
    def taught(self) -> str:
        """`confidence`, with "none" for false."""
        return "none" if self.confidence is False else str(self.confidence)


@dataclass(frozen=True, slots=True)
class TaughtText:
    """A question and the text taught as its answer; characters from `end` on are not taught."""

    question: Question
    text: str
    end: int


def cold_start(
    settings: ColdStartSettings,
    *,
    questions: Sequence[Question],
    held_out: Sequence[Question],
    grader: Grader,
    prompt: Prompt,
    command: str,
) -> Path:
    """Trains, and returns the Hugging Face folder. A run that was killed resumes from its last checkpoint.

    Raises:
        ConfigError: The model has no end token. DataError: A question has no text to teach.
    """
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    texts = taught_texts(settings, questions, grader)
    model, tokenizer = load_model(settings.model, **settings.trl.get("model_init_kwargs", {}))
    ours: dict[str, Any] = {
        "output_dir": str(settings.out / "checkpoints"),
        "num_train_epochs": settings.epochs,
        "per_device_train_batch_size": settings.batch,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": 5,
        "max_length": None,
        "save_steps": settings.save_every,
        "save_total_limit": 1,
        "logging_steps": 1,
        "report_to": "none",
        "seed": settings.seed,
    }
    trainer = SFTTrainer(
        model=model,
        processing_class=tokenizer,
        args=trl_settings(SFTConfig, **{**ours, **settings.trl, "model_init_kwargs": None}),
        train_dataset=encoded(texts, tokenizer, prompt),
        peft_config=LoraConfig(task_type="CAUSAL_LM", **settings.lora) if settings.lora else None,
    )
    before = check(trainer, held_out, grader, prompt, settings)
    trainer.train(resume_from_checkpoint=last_checkpoint(settings.out))
    after = check(trainer, held_out, grader, prompt, settings)
    save_model(trainer, base=settings.model, out=settings.out, prompt=prompt, adapter=bool(settings.lora))
    if trainer.accelerator.is_main_process:
        record(settings, trainer, [text.question for text in texts], {"before": before, "after": after}, command)
    return settings.out


def load_model(name: str, **options: Any) -> tuple[Any, Any]:
    """A causal model and its tokenizer.

    Raises:
        ConfigError: It cannot be loaded, or its tokenizer's end token does not end its texts.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name, padding_side="left")
        model = AutoModelForCausalLM.from_pretrained(name, **{"dtype": "float32", **options})
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"train.model: got {name!r}, which cannot be loaded ({' '.join(str(error).split())[:200]}); "
            "expected a Hugging Face folder, or the name of a model on its hub that can be reached"
        ) from error
    ends = model.generation_config.eos_token_id
    if tokenizer.eos_token_id is None or tokenizer.eos_token_id not in (ends if isinstance(ends, list) else [ends]):
        raise ConfigError(
            f"train.model: {name} generates up to the token {ends}, and its tokenizer's end token is "
            f"{tokenizer.eos_token_id}; expected the same, or it never stops; set eos_token_id in its files"
        )
    if not tokenizer.chat_template:
        raise ConfigError(f"train.model: {name} has no chat template; expected an instruct model, or add one to it")
    return model, tokenizer


def taught_texts(settings: ColdStartSettings, questions: Sequence[Question], grader: Grader) -> list[TaughtText]:
    """The texts to teach, in the form of the default prompt: reasoning, answer, confidence.

    Raises:
        DataError: A question has neither a recorded text nor steps, or no recorded text is right.
    """
    rng = random.Random(settings.seed)
    if settings.recorded:
        rows = recorded_texts(settings, questions, grader)
    else:
        rows = [(question, *steps_of(question, settings.reasoning), None) for question in questions]
    taught = []
    for question, reasoning, answer, recorded in rows:
        stated = recorded if settings.taught == "recorded" else rng.randrange(100) / 100
        if stated is None:
            raise DataError(
                f"question {question.id}: its recorded text states no confidence; use confidence = 'uniform'"
            )
        head = f"<think>{reasoning}</think><answer>{answer}</answer><confidence>"
        text = f"{head}{stated:.2f}</confidence>"
        taught.append(TaughtText(question, text, len(head) if settings.taught == "none" else len(text)))
    return taught


def steps_of(question: Question, key: str) -> tuple[str, str]:
    """Reasoning and answer of a question with a written solution."""
    steps = question.meta.get(key)
    if not isinstance(steps, str) or not steps.strip() or question.reference is None:
        raise DataError(
            f"question {question.id}: got {key} = {steps!r}, expected a written solution; name its field in "
            "train.reasoning, or give a table [recorded] with texts to teach"
        )
    return steps.strip(), question.reference


def recorded_texts(
    settings: ColdStartSettings, questions: Sequence[Question], grader: Grader
) -> list[tuple[Question, str, str, float | None]]:
    """Question, reasoning, answer and stated confidence of each recorded text that is right."""
    recording = ReplayBackend(ReplaySettings(**settings.recorded))

    async def read() -> list[Any]:
        return [await recording.complete(question, Sampling()) for question in questions]

    try:
        completions = asyncio.run(read())
    except BackendError as error:
        raise DataError(f"train.recorded: {error}") from error
    verdicts = grade_all(grader, [(q, c.text) for q, c in zip(questions, completions, strict=True)])
    rows = []
    for question, completion, verdict in zip(questions, completions, verdicts, strict=True):
        answer = read_answer(completion.text)
        if not verdict.correct or answer is None:
            continue
        stated = read_confidence(completion.text)
        rows.append(
            (question, reasoning_of(completion.text), answer, completion.confidence if stated is None else stated)
        )
    if not rows:
        raise DataError(f"train.recorded: none of {len(questions)} recorded texts is right, expected texts to teach")
    return rows


def reasoning_of(text: str) -> str:
    """The reasoning of any model's text: what is inside its thinking tags, else the text before its answer's tag."""
    thinking = text.partition("<think>")[2].partition("</think>")[0].strip()
    return thinking or without_thinking(text).partition("<answer>")[0].strip() or "(no steps)"


def encoded(texts: Sequence[TaughtText], tokenizer: Any, prompt: Prompt) -> Any:
    """A datasets.Dataset of token ids, with labels on the taught texts and the tokenizer's end token alone.

    Prompt and text are tokenised separately, as they are when a model writes.
    """
    from datasets import Dataset

    rows = []
    for taught in texts:
        asked = tokenizer.apply_chat_template(messages(prompt, taught.question), add_generation_prompt=True, **IDS)
        written = tokenizer(taught.text, add_special_tokens=False, return_offsets_mapping=True)
        labels = [
            id_ if start < taught.end else IGNORED
            for id_, (start, _) in zip(written["input_ids"], written["offset_mapping"], strict=True)
        ]
        end = tokenizer.eos_token_id
        whole = taught.end == len(taught.text)
        rows.append(
            {
                "input_ids": [*asked, *written["input_ids"], end],
                "labels": [*[IGNORED] * len(asked), *labels, end if whole else IGNORED],
            }
        )
    return Dataset.from_list(rows)


IDS: dict[str, Any] = {"tokenize": True, "return_dict": False}


def check(
    trainer: Any, questions: Sequence[Question], grader: Grader, prompt: Prompt, settings: ColdStartSettings
) -> dict[str, Any]:
    """Figures of replies sampled at temperature 1, as reinforcement learning samples them; on the main process.

    `formed` is the share of well-formed replies with its interval, `correct` that of right answers.
    """
    if not trainer.accelerator.is_main_process or trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        return {}
    texts = sampled(trainer.model, trainer.processing_class, questions, prompt, settings)
    verdicts = grade_all(grader, list(zip(questions, texts, strict=True)))
    formed, n = sum(map(is_well_formed, texts)), len(texts)
    interval = wilson_interval(formed, n)
    return {
        "questions": n,
        "formed": formed / n,
        "formed_low": interval.low,
        "formed_high": interval.high,
        "correct": sum(verdict.correct for verdict in verdicts) / n,
        "example": texts[0],
    }


def sampled(
    model: Any, tokenizer: Any, questions: Sequence[Question], prompt: Prompt, settings: ColdStartSettings
) -> list[str]:
    """A sampled reply for each question."""
    import torch

    torch.manual_seed(settings.seed)
    training, model.config.use_cache = model.training, True
    model.eval()
    tokenizer.padding_side = "left"
    texts: list[str] = []
    for start in range(0, len(questions), CHECK_BATCH):
        some = [messages(prompt, question) for question in questions[start : start + CHECK_BATCH]]
        asked = tokenizer.apply_chat_template(
            some, add_generation_prompt=True, return_tensors="pt", padding=True, return_dict=True
        ).to(model.device)
        with torch.no_grad():
            replies = model.generate(
                **asked, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=settings.check_tokens
            )
        texts += tokenizer.batch_decode(replies[:, asked["input_ids"].shape[1] :], skip_special_tokens=True)
    model.train(training)
    return texts


def record(
    settings: ColdStartSettings,
    trainer: Any,
    questions: Sequence[Question],
    checks: Mapping[str, Mapping[str, Any]],
    command: str,
) -> None:
    """Facts of the run, its log and the model card."""
    out = settings.out
    (out / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in trainer.state.log_history))
    facts = {
        "recipe": "cold-start",
        "settings": asdict(settings) | {"out": out.name, "model": Path(settings.model).name},
        "parameters": trainer.model.num_parameters(),
        "data_hash": data_hash(list(questions)),
        "texts": len(questions),
        "steps": trainer.state.global_step,
        "held_out": checks,
    }
    (out / "training.json").write_text(json.dumps(facts, indent=1, default=str) + "\n")
    figures = {name: {k: v for k, v in row.items() if k != "example"} for name, row in checks.items()}
    write_card(
        out,
        title=out.name,
        purpose=f"{Path(settings.model).name}, taught to reason, answer and state a number as its confidence, which "
        "carries nothing yet: train it further with `corea train rlcc`.",
        base=settings.model,
        command=command,
        figures=figures,
        notes=["held-out replies are sampled at temperature 1, before and after; 95 % intervals (Wilson)"],
    )
