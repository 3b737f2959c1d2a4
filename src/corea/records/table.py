"""The outcome table: N questions answered by S models, with each answer's correctness, cost, tokens and signals."""

import hashlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from corea.errors import ConfigError, DataError
from corea.metrics.arrays import Floats
from corea.metrics.score_map import SECOND_OPINION
from corea.signals import FROM_THE_COMPLETION

Strings = npt.NDArray[np.object_]
LEAST_ROWS = 20  # questions that a threshold can be learnt from
MEASURED_LIVE = ("confidence", *FROM_THE_COMPLETION, SECOND_OPINION)
"""Columns that a live cascade has: its stage's own signal, those that read the completion alone, a second opinion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOutcomes:
    """One model's answers to the N questions of a table; arrays are (N,).

    Args:
        name: The model's name, as in traces and prices.
        correct: 1.0 right, 0.0 wrong, NaN without a label.
        cost_usd: USD an answer; NaN where it is not known.
        signals: Confidence signals by column name, the main one first; NaN where not measured. Empty where none are
            read, as for the last model of a cascade.
        completion_tokens: None where not recorded, or the same for all answers.
        answers: The extracted answers, None for one that could not be read; None where not recorded.
        agreement: 1.0 where the answer equals that of the table's last model, 0.0 where it differs, NaN where either
            is not known; None for the last model itself, and where no answers were recorded.
        reported: The model's name as its server stated it, in a run; None: not known.
        plain_cost_usd: USD of the same model asked with the question as it came, NaN where it was not; None: nowhere.
        plain_correct: Likewise 1.0 where that answer was right.
        signal_kind: The kind of signal behind "confidence", such as "verbalized".
        kind_measured_live: False where that kind is recorded only: no cascade measures it.
        needs_answer: An answer that cannot be read counts as one without a confidence, so that it is deferred.
        opinion_cost_usd: USD of the second opinion of each answer, 0 where none is asked for; None: there is none.
        opinion_model: The model that gives it.
        judged: 1.0 where a judge prefers the last model's answer, -1.0 where it prefers this one, 0.0 for a tie; None:
            there is no judge. Labels are then people's preferences: see `corea.calibrate.few_labels`.
        judge_model: The model that judges.
    """

    name: str
    correct: Floats
    cost_usd: Floats
    signals: Mapping[str, Floats] = field(default_factory=dict[str, Floats])
    completion_tokens: Floats | None = None
    answers: Strings | None = None
    agreement: Floats | None = None
    reported: str | None = None
    plain_cost_usd: Floats | None = None
    plain_correct: Floats | None = None
    signal_kind: str = "confidence"
    kind_measured_live: bool = True
    needs_answer: bool = False
    opinion_cost_usd: Floats | None = None
    opinion_model: str | None = None
    judged: Floats | None = None
    judge_model: str | None = None

    @property
    def confidence(self) -> Floats:
        """The main signal; NaN everywhere where there is none."""
        return next(iter(self.signals.values()), np.full(len(self.correct), np.nan))

    @property
    def full_cost_usd(self) -> Floats:
        """USD an answer with its second opinion."""
        return self.cost_usd if self.opinion_cost_usd is None else self.cost_usd + self.opinion_cost_usd

    @property
    def recorded_signals(self) -> list[str]:
        """The signals that no cascade measures live, such as a judge model's reading of the answer."""
        live = MEASURED_LIVE if self.kind_measured_live else MEASURED_LIVE[1:]
        return [name for name in self.signals if name not in live]

    def take(self, at: Any) -> "ModelOutcomes":
        """The outcomes at these row indices."""
        return _take(self, at)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeTable:
    """N questions answered by S models, in the order in which a cascade asks them; arrays are (N,).

    Args:
        ids: Question ids, each once.
        models: Small to large; the last one only answers.
        texts: The text of each question; None where not recorded.
        clusters: The group of dependent questions that a row belongs to; None: rows are independent.
        categories: The slice of each question; None where none was recorded.
        category_column: The recorded column that `categories` holds.
        notes: Remarks on this table for the reader of a report.
        prints: Short hashes that equal questions share (`RecordedAnswer.print`); None: not known.
    """

    ids: Strings
    models: tuple[ModelOutcomes, ...]
    clusters: Strings | None = None
    texts: Strings | None = None
    categories: Strings | None = None
    category_column: str = "category"
    notes: tuple[str, ...] = ()
    prints: Strings | None = None

    @classmethod
    def from_arrays(
        cls,
        *,
        correct: Any,
        cost_usd: Any,
        confidence: Any,
        ids: Sequence[str] | None = None,
        names: Sequence[str] = (),
        categories: Sequence[str | None] | None = None,
        clusters: Sequence[str] | None = None,
        texts: Sequence[str | None] | None = None,
    ) -> "OutcomeTable":
        """A table from plain arrays.

        Args:
            correct: (N, S) 1 right, 0 wrong, NaN unlabelled; columns from small to large model.
            cost_usd: (N, S) USD an answer, or (S,) where each model's answers cost the same.
            confidence: (N,) or (N, S - 1) of all models but the last, in [0, 1], NaN where not stated.
            ids: By default the row numbers. They decide ties, so that the same question is always treated alike.
            names: S model names; by default "small", "large" or "model1", "model2", ...
            categories: N slices. clusters: N groups of dependent questions. texts: N questions, for a router.

        Raises:
            ConfigError: The shapes do not fit together.
        """
        correct = np.atleast_2d(np.asarray(correct, dtype=np.float64))
        n, s = correct.shape
        stated = np.asarray(confidence, dtype=np.float64).reshape(-1, 1) if np.ndim(confidence) == 1 else confidence
        stated = np.asarray(stated, dtype=np.float64)
        if s < 2 or stated.shape != (n, s - 1):
            raise ConfigError(
                f"table: got correct of shape {correct.shape} and confidence of shape {np.shape(confidence)}, expected "
                "(N, S) and (N, S - 1) with S of at least 2 models"
            )
        cost = np.broadcast_to(np.asarray(cost_usd, dtype=np.float64), (n, s))
        names = names or (("small", "large") if s == 2 else [f"model{i + 1}" for i in range(s)])
        return cls(
            ids=_strings(ids if ids is not None else [str(i) for i in range(n)]),
            models=tuple(
                ModelOutcomes(
                    name=names[i],
                    correct=correct[:, i],
                    cost_usd=cost[:, i],
                    signals={"confidence": stated[:, i]} if i < s - 1 else {},
                )
                for i in range(s)
            ),
            categories=None if categories is None else _strings(categories),
            clusters=None if clusters is None else _strings(clusters),
            texts=None if texts is None else _strings(texts),
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def first(self) -> ModelOutcomes:
        """The model that is asked first."""
        return self.models[0]

    @property
    def last(self) -> ModelOutcomes:
        """The model that answers what every other one deferred."""
        return self.models[-1]

    @property
    def stages(self) -> tuple[ModelOutcomes, ...]:
        """The models whose answers may be kept: all but the last."""
        return self.models[:-1]

    @property
    def digest(self) -> str:
        """SHA-256 of ids, labels and signals: the same for the same rows."""
        found = hashlib.sha256("\n".join(map(str, self.ids)).encode())
        for model in self.models:
            for name, column in (("correct", model.correct), *model.signals.items()):
                found.update(f"\0{name}\0".encode())
                found.update(np.where(np.isnan(column), np.nan, column + 0.0).astype("<f8").tobytes())
        return f"sha256:{found.hexdigest()}"

    @property
    def packed_prints(self) -> str:
        """The distinct short hashes, joined and in base64; "" where they are not known."""
        return "" if self.prints is None else b64encode(bytes.fromhex("".join(sorted(set(self.prints))))).decode()

    def columns(self, stage: int) -> dict[str, Any]:
        """The (N,) columns that a confidence map of this stage may read, by name."""
        model = self.models[stage]
        found: dict[str, Any] = dict(model.signals)
        if model.completion_tokens is not None:
            found["completion_tokens"] = model.completion_tokens
        if self.categories is not None:
            found["category"] = self.categories
        return found

    def take(self, at: Any) -> "OutcomeTable":
        """The rows at these indices."""
        return replace(_take(self, at), models=tuple(model.take(at) for model in self.models))

    def of(self, *names: str) -> "OutcomeTable":
        """The same questions with these models only, in this order.

        Raises:
            ConfigError: A name is not in the table.
        """
        known = {model.name: model for model in self.models}
        if lacking := [name for name in names if name not in known]:
            raise ConfigError(f"table: no model {lacking[0]!r}, expected one of {', '.join(known)}")
        return replace(self, models=tuple(known[name] for name in names))

    def change(self, index: int, **values: Any) -> "OutcomeTable":
        """The table with these fields of one model replaced."""
        models = list(self.models)
        models[index] = replace(models[index], **values)
        return replace(self, models=tuple(models))

    def check(self) -> None:
        """Refuses a table that no threshold can be learnt from.

        Raises:
            ConfigError: There are fewer than two models.
            DataError: Too few rows, one class only, ids twice, or numbers that are none.
        """
        if len(self.models) < 2:
            raise ConfigError(f"calibrate: got {len(self.models)} model, expected two or more; name a large model too")
        if len(self) < LEAST_ROWS:
            raise DataError(
                f"calibrate: got {len(self)} questions that all models answered, expected at least {LEAST_ROWS}; "
                "label more"
            )
        if self.clusters is not None and (distinct := len(set(self.clusters.tolist()))) < LEAST_ROWS:
            raise DataError(
                f"calibrate: got {len(self)} rows of {distinct} distinct questions, expected at least {LEAST_ROWS}; "
                "label others"
            )
        self.check_ids()
        for model in self.models:
            for name in ("correct", "cost_usd"):
                values: Floats = getattr(model, name)
                if not np.isfinite(values).all() or (values < 0).any():
                    raise DataError(
                        f"calibrate: {name} of {model.name} holds NaN, infinite or negative values, expected finite "
                        "ones; correct the rows"
                    )
        for model in self.stages:
            _check_stage(model)
        if not self.last.cost_usd.sum() > 0:
            name = self.last.name
            raise DataError(
                f"calibrate: the answers of {name} cost nothing, nothing to save; give --price {name}=IN/OUT, "
                f'or add [prices."{name}"] to corea.toml where models are asked'
            )

    def distinct(self) -> "OutcomeTable":
        """The table with the first row of each cluster, and a note on the others."""
        if self.clusters is None:
            return self
        at = self.first_of_cluster(np.arange(len(self)))
        note = f"{len(self) - len(at):,} rows repeat a question and are left out: each question counts once"
        return replace(self.take(at), clusters=None, notes=(*self.notes, note))

    def first_of_cluster(self, at: Any) -> Any:
        """Of these row indices, in their order, the first of each cluster."""
        if self.clusters is None:
            return at
        _, first = np.unique(self.clusters[at].astype(str), return_index=True)
        return at[np.sort(first)]

    def check_ids(self) -> None:
        """Refuses ids that are not unique.

        Raises:
            DataError: An id comes twice.
        """
        if len(set(self.ids.tolist())) != len(self):
            raise DataError("calibrate: an id comes twice, expected each question once; drop the copies")


def _check_stage(model: ModelOutcomes) -> None:
    if model.correct.min() == model.correct.max():
        found = "right" if model.correct[0] else "wrong"
        raise DataError(
            f"calibrate: every answer of {model.name} is {found}, expected both kinds; use harder or easier questions"
        )
    for name, column in model.signals.items():
        if np.isnan(column).all():
            raise DataError(
                f"calibrate: the signal {name!r} has no value in [0, 1] in any row; choose another with --signals"
            )


def _take(record: Any, at: Any) -> Any:
    """The record with each of its arrays, also in mappings, at these row indices."""
    values: dict[str, Any] = {}
    for each in fields(record):
        value = getattr(record, each.name)
        if isinstance(value, np.ndarray):
            values[each.name] = value[at]
        elif isinstance(value, Mapping):
            values[each.name] = {name: column[at] for name, column in value.items()}
    return replace(record, **values)


def _strings(values: Sequence[Any]) -> Strings:
    out = np.empty(len(values), dtype=object)
    out[:] = [None if value is None else str(value) for value in values]
    return out
