"""The calibration table: one row a question, with what the small model said and measured, and what both cost."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from corea.calibrate.recordings import Choice, Recording
from corea.errors import DataError
from corea.metrics.arrays import Floats

Strings = npt.NDArray[np.object_]
PLAIN = {"confidence", "completion_tokens", "prompt_tokens", "correct", "cost_usd"}
NOT_SIGNALS = PLAIN | {"correct_recorded", "disputed", "latency_ms", "response_chars", "max_new_tokens", "seconds"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """N questions that both models answered; arrays are (N,).

    Args:
        signals: The small model's columns a map may read: "confidence" first, others by their own names; NaN where
            not measured. The large model's columns are never in it.
        slm_correct: 1.0 right, 0.0 wrong.
        category: None where none was recorded.
        notes: What a reader of the report must know about this table.
        needs_answer: Whether rows without a readable answer count as not measured.
        agree: Whether the two models' answers are the same, NaN where an answer is unknown.
    """

    ids: Strings
    signals: Mapping[str, Floats]
    slm_correct: Floats
    llm_correct: Floats
    slm_cost: Floats
    llm_cost: Floats
    completion_tokens: Floats | None = None
    category: Strings | None = None
    agree: Floats | None = None
    slm: str = "small"
    llm: str = "large"
    notes: tuple[str, ...] = ()
    signal: str = "verbalized"
    needs_answer: bool = False
    digest: str = ""
    columns: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def confidence(self) -> Floats:
        """The first signal."""
        return next(iter(self.signals.values()))

    def inputs(self) -> dict[str, Any]:
        """What a map may read, by column name."""
        found: dict[str, Any] = dict(self.signals)
        if self.completion_tokens is not None:
            found["completion_tokens"] = self.completion_tokens
        if self.category is not None:
            found["category"] = self.category
        return found

    def take(self, at: Any) -> "Pairs":
        """The rows at these places."""
        values: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, np.ndarray):
                value = value[at]
            elif each.name in ("signals", "columns"):
                value = {name: np.asarray(column)[at] for name, column in value.items()}
            values[each.name] = value
        return Pairs(**values)

    def check(self) -> None:
        """Refuses a table that no threshold can be learnt from.

        Raises:
            DataError: Too few rows, one class only, ids twice, or numbers that are none.
        """
        n = len(self)
        if n < 20:
            raise DataError(f"calibrate: got {n} questions that both models answered, expected at least 20; label more")
        if len(set(self.ids.tolist())) != n:
            raise DataError("calibrate: an id comes twice, expected each question once; drop the copies")
        for name in ("slm_correct", "llm_correct", "slm_cost", "llm_cost"):
            values: Floats = getattr(self, name)
            if not np.isfinite(values).all() or (values < 0).any():
                raise DataError(
                    f"calibrate: {name} holds NaN, infinite or negative values, expected finite ones; mend the rows"
                )
        if self.slm_correct.min() == self.slm_correct.max():
            what = "right" if self.slm_correct[0] else "wrong"
            raise DataError(
                f"calibrate: every answer of {self.slm} is {what}, expected both kinds; use harder or easier questions"
            )
        for name, column in self.signals.items():
            if np.isnan(column).all():
                raise DataError(
                    f"calibrate: the signal {name!r} has no value in [0, 1] in any row; choose another with --signals"
                )
        if not self.llm_cost.sum() > 0:
            raise DataError(
                f"calibrate: the answers of {self.llm} cost nothing, nothing to save; give --price {self.llm}=IN/OUT"
            )


def load_pairs(
    traces: Sequence[str | Path],
    references: Sequence[str | Path],
    *,
    slm: str = "",
    llm: str = "",
    variant: str = "",
    llm_variant: str = "",
    prices: Mapping[str, tuple[float, float]] | None = None,
    signals: Sequence[str] | None = None,
    group: str = "category",
    labelled: bool = True,
) -> Pairs:
    """The table of two recordings, joined by question id.

    Args:
        traces: Files of JSON lines with at least id, correct (0 or 1) and confidence, of the small model.
        references: The same for the large model (its confidence is never read).
        slm: Which model's rows, by its name in the field `model`; may be empty where a file holds one.
        prices: By model, USD per million prompt and completion tokens. A count that is not recorded is 0.
        signals: Columns to use, the main one first. None: "confidence" and every further column of numbers in [0, 1].
        group: The column that holds a row's slice.
        labelled: False lets rows without a label through, for `corea.calibrate.poor`: their correctness is NaN.

    Raises:
        ConfigError: A file is not there, or the model or variant must be chosen.
        DataError: Rows that cannot be used: unlabelled, twice, that do not join, or without a cost.
    """
    small = Recording.read(traces, Choice(option="--slm", model=slm, variant=variant, labelled=labelled))
    large = Recording.read(references, Choice(option="--llm", model=llm, variant=llm_variant, labelled=labelled))
    ids = _common_ids(small, large)
    mine, theirs = [small.rows[key] for key in ids], [large.rows[key] for key in ids]
    names = list(signals) if signals is not None else _signal_columns(mine)
    slm_cost, note_slm = _costs(mine, small.model, prices)
    llm_cost, note_llm = _costs(theirs, large.model, prices)
    measured, outside = _measured(mine, names, small.model)
    unread = np.array([row.get("answer") is None for row in mine])
    needs_answer = bool(0 < unread.mean() <= 0.5)  # more, and the file simply does not record answers
    if needs_answer:  # however sure it sounds, there is nothing to keep
        measured = {name: np.where(unread, np.nan, values) for name, values in measured.items()}
    lost = max(len(small.rows), len(large.rows)) - len(ids)
    notes = (
        *small.notes, *large.notes, count_of(lost, "question is", "questions are", "in one file only and left out"),
        note_slm, note_llm, *outside, unread_note(int(unread.sum()) * needs_answer, small.model),
    )  # fmt: skip
    tokens = _numbers(mine, "completion_tokens")
    kinds = (str(row["confidence_kind"]) for row in mine if row.get("confidence_kind"))
    table = Pairs(
        ids=np.array(ids, dtype=object),
        signals=measured,
        slm_correct=_numbers(mine, "correct"),
        llm_correct=_numbers(theirs, "correct"),
        slm_cost=slm_cost,
        llm_cost=llm_cost,
        completion_tokens=None if np.isnan(tokens).all() or np.nanstd(tokens) == 0 else tokens,
        category=_categories(mine, group),
        agree=_agreement(mine, theirs),
        slm=small.model,
        llm=large.model,
        notes=tuple(note for note in notes if note),
        signal=next(kinds, names[0] if names else "confidence"),
        needs_answer=needs_answer,
        digest=_digest(mine, theirs, names),
    )
    if labelled:
        table.check()
    return table


def count_of(count: int, one: str, many: str, rest: str) -> str:
    """ "1 answer of m ..." or "2 answers of m ..."; "" for none."""
    return f"{count} {one if count == 1 else many} {rest}" if count else ""


def unread_note(count: int, model: str) -> str:
    """What a reader must know of answers that could not be read; "" where all could."""
    return count_of(count, "answer", "answers", f"of {model} could not be read: always deferred")


def _common_ids(small: Recording, large: Recording) -> list[str]:
    ids = [key for key in small.rows if key in large.rows]
    if not ids:
        a, b = next(iter(small.rows)), next(iter(large.rows))
        raise DataError(
            f"calibrate: no id is in both files (such as {a!r} and {b!r}), expected the same questions; check the ids"
        )
    return ids


def _measured(
    rows: Sequence[Mapping[str, Any]], names: Sequence[str], model: str
) -> tuple[dict[str, Floats], list[str]]:
    """The signals by name, NaN where not in [0, 1], and a note on each that was not."""
    found: dict[str, Floats] = {}
    notes: list[str] = []
    for name in names:
        values = _numbers(rows, name)
        outside = (values < 0) | (values > 1)
        rest = f"of {name} of {model} outside [0, 1]: not measured"
        notes.append(count_of(int(outside.sum()), "value", "values", rest))
        found[name] = np.where(outside, np.nan, values)
    return found, notes


def _categories(rows: Sequence[Mapping[str, Any]], group: str) -> Strings | None:
    found = [row.get(group, row.get("subject") if group == "category" else None) for row in rows]
    return np.array([None if c is None else str(c) for c in found], dtype=object) if any(found) else None


def _agreement(mine: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]) -> Floats:
    answers = [(a.get("answer"), b.get("answer")) for a, b in zip(mine, theirs, strict=True)]
    return np.array([np.nan if None in pair else float(str(pair[0]) == str(pair[1])) for pair in answers])


def _numbers(rows: Sequence[Mapping[str, Any]], name: str) -> Floats:
    out = np.full(len(rows), np.nan)
    for i, row in enumerate(rows):
        value = row.get(name)
        if value is None or isinstance(value, str | list | dict):
            continue
        out[i] = float(value)
        if math.isinf(out[i]):
            raise DataError(f"question {row.get('id')!r}: {name} is infinite, expected a number or null; mend the row")
    return out


def _signal_columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """ "confidence" where it has values, then every other column whose numbers (19 of 20 at least) lie in [0, 1]."""
    names = {name: None for row in rows for name, value in row.items() if type(value) in (int, float)}
    found: list[str] = []
    for name in names:
        if name in NOT_SIGNALS:
            continue
        values = _numbers(rows, name)
        seen = values[~np.isnan(values)]
        inside = seen[(seen >= 0) & (seen <= 1)]
        if len(seen) >= len(rows) / 2 and len(inside) >= 0.95 * len(seen) and inside.std() > 0:
            found.append(name)
    main = _numbers(rows, "confidence")
    if np.isnan(main).all() and not found:
        raise DataError(
            "calibrate: no row has a confidence, expected the field confidence in [0, 1]; measure a signal first"
        )
    return found if np.isnan(main).all() else ["confidence", *found]


def _costs(
    rows: Sequence[Mapping[str, Any]], model: str, prices: Mapping[str, tuple[float, float]] | None
) -> tuple[Floats, str]:
    if prices and model in prices:
        into, out = prices[model]
        prompt, completion = _numbers(rows, "prompt_tokens"), _numbers(rows, "completion_tokens")
        cost = (into * np.nan_to_num(prompt) + out * np.nan_to_num(completion)) / 1e6
        unknown = [
            f"{int(np.isnan(counts).sum())} {what} counts of {model} were not recorded and count as 0"
            for counts, price, what in ((prompt, into, "prompt"), (completion, out, "completion"))
            if price > 0 and np.isnan(counts).any()
        ]
        return cost, "; ".join(unknown)
    recorded = _numbers(rows, "cost_usd")
    if np.isnan(recorded).all():
        known = f" (prices are given for {', '.join(prices)})" if prices else ""
        raise DataError(
            f"calibrate: the rows of {model} have no cost_usd and no price is known{known}; give --price {model}=IN/OUT"
        )
    if np.isnan(recorded).any():
        at = int(np.flatnonzero(np.isnan(recorded))[0])
        raise DataError(
            f"calibrate: question {rows[at].get('id')!r} of {model} has no cost_usd; give --price {model}=IN/OUT"
        )
    return recorded, ""


def _digest(mine: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    found = hashlib.sha256()
    for a, b in zip(mine, theirs, strict=True):
        found.update(
            msgspec.json.encode([a.get("id"), a.get("correct"), b.get("correct"), [a.get(name) for name in names]])
        )
    return f"sha256:{found.hexdigest()}"
