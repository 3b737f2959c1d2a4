"""The calibration table: one row a question, with what the small model said and measured, and what both cost."""

import gzip
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import numpy.typing as npt

from corea.errors import ConfigError, DataError
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
                    f"calibrate: the signal {name!r} has no value in any row; choose another with --signals"
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
    small = _Rows.read(traces, "--slm", slm, variant, "--variant", labelled)
    large = _Rows.read(references, "--llm", llm, llm_variant, "--llm-variant", labelled)
    ids = [key for key in small.rows if key in large.rows]
    if not ids:
        a, b = next(iter(small.rows)), next(iter(large.rows))
        raise DataError(
            f"calibrate: no id is in both files (such as {a!r} and {b!r}), expected the same questions; check the ids"
        )
    notes = [*small.notes, *large.notes]
    if lost := max(len(small.rows), len(large.rows)) - len(ids):
        notes.append(f"{lost} questions are in one file only and were left out")
    mine, theirs = [small.rows[key] for key in ids], [large.rows[key] for key in ids]
    names = list(signals) if signals is not None else _signal_columns(mine)
    categories = [row.get(group, row.get("subject") if group == "category" else None) for row in mine]
    slm_cost, note_slm = _costs(mine, small.model, prices)
    llm_cost, note_llm = _costs(theirs, large.model, prices)
    notes += [note for note in (note_slm, note_llm) if note]
    tokens = _numbers(mine, "completion_tokens")
    answers = [(a.get("answer"), b.get("answer")) for a, b in zip(mine, theirs, strict=True)]
    measured: dict[str, Floats] = {}
    for name in names:
        values = _numbers(mine, name)
        outside = (values < 0) | (values > 1)
        if outside.any():
            notes.append(f"{int(outside.sum())} values of {name} lie outside [0, 1] and count as not measured")
        measured[name] = np.where(outside, np.nan, values)
    unread = np.array([row.get("answer") is None for row in mine])
    needs_answer = bool(0 < unread.mean() <= 0.5)  # more, and the file simply does not record answers
    if needs_answer:  # however sure it sounds, there is nothing to keep
        notes.append(f"{int(unread.sum())} answers of {small.model} could not be read and are always deferred")
        measured = {name: np.where(unread, np.nan, values) for name, values in measured.items()}
    table = Pairs(
        ids=np.array(ids, dtype=object),
        signals=measured,
        slm_correct=_numbers(mine, "correct"),
        llm_correct=_numbers(theirs, "correct"),
        slm_cost=slm_cost,
        llm_cost=llm_cost,
        completion_tokens=None if np.isnan(tokens).all() or np.nanstd(tokens) == 0 else tokens,
        category=np.array([None if c is None else str(c) for c in categories], dtype=object)
        if any(categories)
        else None,
        agree=np.array([np.nan if None in pair else float(str(pair[0]) == str(pair[1])) for pair in answers]),
        slm=small.model,
        llm=large.model,
        notes=tuple(notes),
        signal=next(
            (str(r["confidence_kind"]) for r in mine if r.get("confidence_kind")), names[0] if names else "confidence"
        ),
        needs_answer=needs_answer,
        digest=_digest(mine, theirs, names),
    )
    if labelled:
        table.check()
    return table


@dataclass(frozen=True, slots=True)
class _Rows:
    rows: dict[str, dict[str, Any]]
    model: str
    notes: tuple[str, ...]

    @classmethod
    def read(
        cls, paths: Sequence[str | Path], option: str, model: str, variant: str, variant_option: str, labelled: bool
    ) -> "_Rows":
        found: dict[str, dict[str, Any]] = {}
        models: dict[str, int] = {}
        variants: dict[str, int] = {}
        notes: list[str] = []
        where = ", ".join(str(p) for p in paths)
        for path, number, row in _lines(paths):
            name, kind = str(row.get("model") or ""), str(row.get("variant") or "")
            models[name] = models.get(name, 0) + 1
            if model and name != model:
                continue
            variants[kind] = variants.get(kind, 0) + 1
            if variant and kind != variant:
                continue
            key = row.get("id", row.get("question_id"))
            if key is None:
                raise DataError("a row has no id, expected one a question; add the field id", path=path, line=number)
            if row.get("correct") not in ((0, 1) if labelled else (0, 1, None)):  # True and 1.0 are such too
                raise DataError(
                    f"question {key!r}: got correct = {row.get('correct')!r}, expected 0 or 1; label it",
                    path=path, line=number,
                )  # fmt: skip
            if str(key) in found:
                if not model and len(models) > 1:
                    raise ConfigError(
                        f"{where}: holds the models {', '.join(sorted(models))}; choose one with {option}"
                    )
                if not variant and len(variants) > 1:
                    raise ConfigError(
                        f"{where}: holds the variants {', '.join(sorted(variants))}; choose with {variant_option}"
                    )
                raise DataError(f"question {key!r} comes twice, expected once; drop one", path=path, line=number)
            found[str(key)] = row
        if not found:
            there = sorted(variants if model and variants else models)
            raise ConfigError(
                f"{where}: no row of {option} {model!r}" + (f", {variant_option} {variant!r}" if variant else "")
                + f", expected one of {', '.join(map(repr, there)) or 'some rows'}"
            )  # fmt: skip
        used = {str(row.get("model") or "") for row in found.values()}
        if len(used) > 1:
            raise ConfigError(f"{where}: holds the models {', '.join(sorted(used))}; choose one with {option}")
        disputed = sum(bool(row.get("disputed")) for row in found.values())
        if disputed:
            notes.append(f"{disputed} labels of {used.copy().pop()} are marked as disputed by their source")
        return cls(found, used.pop() or "model", tuple(notes))


def _lines(paths: Sequence[str | Path]) -> Iterator[tuple[str, int, dict[str, Any]]]:
    decoder = msgspec.json.Decoder()
    for path in map(Path, paths):
        try:
            with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
                for number, line in enumerate(lines, 1):
                    if not line.strip():
                        continue
                    row = decoder.decode(line)
                    if not isinstance(row, dict):
                        raise DataError(f"got {row!r:.40}, expected an object a line", path=str(path), line=number)
                    if "steps" in row and "correct" not in row:
                        raise DataError(
                            "is a run of `corea run`, which is not graded; give --questions FILE with the references",
                            path=str(path), line=number,
                        )  # fmt: skip
                    yield str(path), number, cast(dict[str, Any], row)
        except FileNotFoundError as error:
            raise ConfigError(f"{path}: no such file") from error
        except msgspec.DecodeError as error:
            raise DataError(f"not JSON ({error}), expected one object a line", path=str(path)) from error
        except (OSError, EOFError) as error:
            raise DataError(f"cannot be read ({error})", path=str(path)) from error


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
