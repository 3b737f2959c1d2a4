"""Replay: recorded answers instead of calls, to evaluate a cascade without any model.

A recording is JSON lines (`.jsonl` or `.jsonl.gz`), one row per question, model and variant:

    {"id": "gsm8k-test-0000", "model": "m", "variant": "t2", "response": "... #### 18", "confidence": 0.8, "correct": 1}

`id` and `model` are required; `variant`, `response`, `answer`, `confidence`, `confidence_kind`, `correct`,
`prompt_tokens`, `completion_tokens`, `cost_usd`, `latency_ms` and `question` are optional, and null means absent. Two
missing facts are filled in, and marked:

- Token counts are estimated (`Usage.estimated`) at 4 characters a token: of the recorded response, and of the recorded
  question, or of the messages asked where the recording has none.
- A row without its response gets a text with the recorded answer in the default format, "<answer>B</answer>";
  `Completion.raw["text_synthesised"]` says so.

The row itself, without the texts, is in `Completion.raw["recorded"]`, for an evaluation that needs `correct`.
"""

import math
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from corea.costs.token_estimate import tokens_of_length
from corea.errors import BackendError, ConfigError, DataError
from corea.files.rows import FileFormat, read_rows
from corea.types import Completion, Question, Sampling, Usage, replace

TEXTS = ("response", "question")
SUFFIXES = (".jsonl", ".jsonl.gz")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySettings:
    """The recording, and the answers of it that are replayed.

    Args:
        path: A file of rows, or a folder of such files.
        model: The name in the rows; optional if there is only one.
        variant: Likewise (a prompt, a token limit).
        name: Its name in traces and price tables; the model's name by default.
    """

    path: str
    model: str = ""
    variant: str = ""
    name: str = ""


class ReplayBackend:
    """Answers each question with its recorded completion, whatever the sampling. A question without one is an error."""

    def __init__(self, settings: ReplaySettings) -> None:
        """Reads the recording.

        Raises:
            ConfigError: The file does not exist, or the model or variant must be named, or is not in it.
            DataError: A row is invalid, or a question has two; with the line.
        """
        rows = _chosen(settings)
        self.model: str = settings.name or rows[0][1]["model"]
        self._where = f"{settings.path} ({', '.join(filter(None, (settings.model, settings.variant))) or 'all rows'})"
        self._completions: dict[str, Completion] = {}
        lines: dict[str, str] = {}
        for where, row in rows:
            if (first := lines.setdefault(row["id"], where)) != where:
                path, _, line = where.rpartition(":")
                raise DataError(
                    f"a second answer to {row['id']!r}, the first is at {first}; expected one a question, model and "
                    "variant; remove one of them",
                    path=path,
                    line=int(line),
                )
            self._completions[row["id"]] = _completion(row, self.model)

    def __len__(self) -> int:
        return len(self._completions)

    async def complete(self, question: Question, sampling: Sampling) -> Completion:
        """The recorded answer, without log-probabilities."""
        try:
            completion = self._completions[question.id]
        except KeyError:
            raise BackendError(
                f"got question {question.id!r}, which has no recorded answer in {self._where} among "
                f"{len(self._completions)}; ask only recorded questions, or choose another model or variant",
                backend=self.model,
            ) from None
        usage = completion.usage
        if usage.estimated and not usage.prompt_tokens:  # neither the count nor the question was recorded
            asked = tokens_of_length(sum(len(message.content) for message in question.messages))
            return replace(completion, usage=replace(usage, prompt_tokens=asked))
        return completion

    async def stream(self, question: Question, sampling: Sampling) -> AsyncIterator[str | Completion]:
        """The recorded text at once, then the completion."""
        completion = await self.complete(question, sampling)
        if completion.text:
            yield completion.text
        yield completion


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a recording, each with "file:line"; `id`, `model` and `variant` are text."""
    for file in _files(path):
        for line, row in read_rows(file, FileFormat.JSONL):
            try:
                yield f"{file}:{line}", _row(row)
            except DataError as error:
                raise DataError(str(error), path=str(file), line=line) from error


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.name.endswith(SUFFIXES))
        if not files:
            raise ConfigError(
                f"path: got folder {str(path)!r}, which holds no .jsonl or .jsonl.gz; expected recordings"
            )
        return files
    if not path.is_file():
        raise ConfigError(f"path: got {str(path)!r}, which is not a file; expected a recording (.jsonl or .jsonl.gz)")
    return [path]


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    for key in ("id", "model"):
        if not isinstance(row.get(key), str) or not row[key]:
            raise DataError(f"{key}: got {row.get(key)!r}, expected a text")
    confidence = row.get("confidence")
    if confidence is not None and not (isinstance(confidence, int | float) and 0 <= confidence <= 1):
        raise DataError(f"confidence: got {confidence!r}, expected a number from 0 to 1, or null")
    for key in ("prompt_tokens", "completion_tokens", "cost_usd", "latency_ms"):
        number = row.get(key)
        if number is not None and not (isinstance(number, int | float) and math.isfinite(number) and number >= 0):
            raise DataError(f"{key}: got {number!r}, expected a number from 0, or null")
    return {**row, "variant": str(row.get("variant") or "")}


def _chosen(settings: ReplaySettings) -> list[tuple[str, dict[str, Any]]]:
    """The rows of the model and variant that the settings name."""
    rows: list[tuple[str, dict[str, Any]]] = []
    others: set[tuple[str, str]] = set()
    for where, row in _rows(Path(settings.path)):
        own = settings.model in ("", row["model"]) and settings.variant in ("", row["variant"])
        rows.append((where, row)) if own else others.add((row["model"], row["variant"]))
    found = {(row["model"], row["variant"]) for _, row in rows}
    if len(found) == 1:
        return rows
    got = f"model {settings.model!r} and variant {settings.variant!r}"
    there = "; ".join(f"{model!r}, {variant!r}" for model, variant in sorted(found or others)[:12]) or "no row"
    matched = f"match {len(found)} recordings" if found else "match none"
    raise ConfigError(f"{settings.path}: {got} {matched}; expected to choose one of (model, variant): {there}")


def _completion(row: Mapping[str, Any], model: str) -> Completion:
    response, answer = row.get("response"), row.get("answer")
    synthesised = not isinstance(response, str)
    text = response if isinstance(response, str) else "" if answer is None else f"<answer>{answer}</answer>"
    raw: dict[str, Any] = {"recorded": {key: value for key, value in row.items() if key not in TEXTS}}
    if synthesised:
        raw["text_synthesised"] = True
    cost, latency = row.get("cost_usd"), row.get("latency_ms")
    return Completion(
        text=text,
        model=model,
        usage=_usage(row, None if synthesised else text),
        seconds=latency / 1000 if latency is not None else 0.0,
        cost_usd=None if cost is None else Decimal(str(cost)),
        confidence=row.get("confidence"),
        raw=raw,
    )


def _usage(row: Mapping[str, Any], text: str | None) -> Usage:
    """Recorded counts; else an estimate from the text, or from the length recorded in its place."""
    prompt, written = row.get("prompt_tokens"), row.get("completion_tokens")
    length = len(text) if text is not None else row.get("response_chars")
    return Usage(
        prompt_tokens=tokens_of_length(len(row.get("question") or "")) if prompt is None else int(prompt),
        completion_tokens=tokens_of_length(length or 0) if written is None else int(written),
        estimated=prompt is None or written is None,
    )
