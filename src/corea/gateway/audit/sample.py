"""The random sample that an audit drew, as tables for a calibration.

Every question of the traffic had the same chance to be drawn, whatever it was and whatever was answered. What is not
known of a drawn question (no label, a call that failed) is left to the worst case and to the best one: then no label
that someone chose to give, or not to give, can make a guarantee look better than it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from corea.calibrate.rules import CascadeAnswers
from corea.errors import ConfigError, DataError
from corea.gateway.audit.store import ASKED, DrawnRow, LabelRow, drawn_rows, label_rows
from corea.gateway.audit.traffic import QuestionFacts, StageFacts, read_facts
from corea.gateway.billing.connection import SqlConnection
from corea.records.answer import AnswerSet, RecordedAnswer
from corea.records.join import join_answers
from corea.records.table import OutcomeTable

OUTCOMES = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0))  # correctness of the small and of the large answer


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnQuestion:
    """A drawn question with what is known of it.

    Args:
        possible: The outcomes (small right, large right) that its labels admit.
    """

    row: DrawnRow
    facts: QuestionFacts
    possible: tuple[tuple[float, float], ...]

    @property
    def kept(self) -> bool:
        """True where an earlier stage answered."""
        return self.row.kept

    def gap(self, outcome: tuple[float, float]) -> float:
        """The accuracy lost by the cascade, in an outcome."""
        return outcome[1] - outcome[0] if self.kept else 0.0

    def worst(self) -> tuple[float, float]:
        """The possible outcome with the largest loss, and there with the fewest right answers."""
        return max(self.possible, key=lambda outcome: (self.gap(outcome), -outcome[0], -outcome[1]))

    def best(self) -> tuple[float, float]:
        """The possible outcome with the smallest loss, and there with the most right answers."""
        return min(self.possible, key=lambda outcome: (self.gap(outcome), -outcome[0], -outcome[1]))

    def if_kept(self, *, risk: bool) -> tuple[float, float]:
        """The possible outcome with the largest loss if the small answer were kept; two equal answers lose nothing.

        Args:
            risk: Wrong kept answers count too: then two equal answers are wrong, else right, where no label says.
        """
        return max(self.possible, key=lambda outcome: (outcome[1] - outcome[0], (-1) ** risk * sum(outcome)))


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSample:
    """The drawn questions of one cascade, each with the same chance to be among them.

    Args:
        probability: That chance: the smallest one in force while they were drawn.
        in_flight: Others, whose call had not ended.
        chosen_labels: Labels of this cascade by others than reviewers, or of questions that were not drawn: unused.
    """

    cascade: str
    questions: tuple[DrawnQuestion, ...]
    probability: float
    in_flight: int
    chosen_labels: int

    def __len__(self) -> int:
        return len(self.questions)

    @property
    def open(self) -> int:
        """Kept questions whose loss is not known."""
        return sum(each.gap(each.worst()) != each.gap(each.best()) for each in self.questions)

    def decided_by(self, calibration: str) -> "StoredSample":
        """Those on which an artefact of this digest decided."""
        return replace(self, questions=tuple(q for q in self.questions if q.row.calibration == calibration))

    def take(self, at: Any) -> "StoredSample":
        """Those at these indices."""
        return replace(self, questions=tuple(self.questions[int(i)] for i in at))

    @property
    def clusters(self) -> list[str]:
        """A name that equal questions share."""
        return [q.facts.cluster or q.row.trace_id for q in self.questions]

    @property
    def prints(self) -> list[str]:
        """The short hashes by which an artefact knows the questions that calibrated it."""
        return [RecordedAnswer(id=q.row.trace_id, correct=None, cluster=c).print for q, c in self._with_clusters()]

    def _with_clusters(self) -> list[tuple[DrawnQuestion, str]]:
        return list(zip(self.questions, self.clusters, strict=True))

    def decided(self, *, worst: bool) -> tuple[OutcomeTable, CascadeAnswers]:
        """The questions as the cascade decided them, at the worst or the best of what is not known.

        Raises:
            DataError: The cost of an answer is not known.
        """
        outcomes = np.array([each.worst() if worst else each.best() for each in self.questions])
        kept = np.array([each.kept for each in self.questions])
        cost = np.array([_cost(each) for each in self.questions])
        table = OutcomeTable.from_arrays(
            correct=outcomes, cost_usd=np.stack([cost, cost], axis=1), confidence=np.full(len(kept), np.nan),
            ids=[each.row.trace_id for each in self.questions],
        )  # fmt: skip
        stage = np.where(kept, 0, 1)
        answers = CascadeAnswers(stage=stage, last=1, cost_usd=cost, correct=outcomes[np.arange(len(kept)), stage])
        return table, answers

    def to_calibrate(self, *, risk: bool, names: Sequence[str] = ()) -> OutcomeTable:
        """The outcomes of both models, with the small one's signals; what is not known at the worst.

        Args:
            risk: The share of wrong kept answers is a target: then an answer without a label counts as wrong.
            names: The two models' names; by default as their servers stated them.

        Raises:
            DataError: A question was not put to the small model, or several models answered.
        """
        skipped = sum(each.facts.small is None for each in self.questions)
        if skipped:
            raise DataError(
                f"the small model was not asked {skipped:,} of {len(self):,} drawn questions (a router or a failure), "
                "expected its answer to each; calibrate on recorded rows"
            )
        stages = [each.facts.large for each in self.questions]
        known = [stage.cost_usd for stage in stages if stage is not None and stage.cost_usd is not None]
        if not known:
            raise DataError("no drawn question has an answer of the large model with a cost, expected some; audit more")
        small: dict[str, RecordedAnswer] = {}
        large: dict[str, RecordedAnswer] = {}
        for each in self.questions:
            key, outcome = each.row.trace_id, each.if_kept(risk=risk)
            small[key] = _recorded(each, each.facts.small, outcome[0], None)
            large[key] = _recorded(each, each.facts.large, outcome[1], sum(known) / len(known))
        named = names or [_model(self.questions, part) for part in ("small", "large")]
        table = join_answers([AnswerSet(answers=a, model=n) for a, n in zip((small, large), named, strict=True)])
        table.check()
        return table


def read_sample(connection: SqlConnection, cascade: str | None, *, since: float = 0.0) -> StoredSample:
    """The drawn questions of a cascade; by default of the only one.

    Args:
        since: Only those drawn from then on, in seconds since 1970.

    Raises:
        ConfigError: There are several cascades, or none of this name.
        DataError: No question was drawn.
    """
    names = [name for (name,) in connection.execute("SELECT DISTINCT cascade FROM audits ORDER BY cascade")]
    if cascade is None and len(names) > 1:
        raise ConfigError(f"--cascade: got none, expected one of {', '.join(names)}; name it")
    cascade = cascade if cascade is not None else "".join(names)
    rows = drawn_rows(connection, "cascade = ? AND at >= ?", cascade, since)
    labels = label_rows(connection, "(cascade = ? OR ? = '') AND at >= ?", cascade, cascade, since)
    chosen = sum(not label.sampled for label in labels)
    done = [row for row in rows if row.state != ASKED]
    if not done:
        given = f" ({chosen:,} labels that people chose to send are not a random sample, and certify nothing)"
        raise DataError(
            f"got no drawn question{f' of {cascade}' if cascade else ''}{given if chosen else ''}, expected those "
            "of an audit; set gateway.audit.share"
        )
    probability = min(row.probability for row in done)
    by_trace: dict[str, LabelRow] = {label.trace_id: label for label in labels if label.sampled}
    drawn = [row for row in done if row.draw < probability]
    return StoredSample(
        cascade=cascade,
        questions=tuple(_question(row, by_trace) for row in drawn),
        probability=probability,
        in_flight=len(rows) - len(done),
        chosen_labels=chosen,
    )


def _question(row: DrawnRow, labels: Mapping[str, LabelRow]) -> DrawnQuestion:
    label, possible, facts = labels.get(row.trace_id), list(OUTCOMES), read_facts(row.facts)
    if row.differ is not None and not (row.differ and facts.judge):  # of two texts that differ both may be right
        possible = [(a, b) for a, b in possible if (a == b if not row.differ else not (a and b))]
    if label is not None and label.served in (0.0, 1.0) and label.reference in (0.0, 1.0) and row.kept:
        possible = [(label.served, label.reference)]
    elif label is not None:
        served = 1 - row.kept
        if label.served in (0.0, 1.0):
            possible = [outcome for outcome in possible if outcome[served] == label.served]
    return DrawnQuestion(row=row, facts=facts, possible=tuple(possible))


def _cost(question: DrawnQuestion) -> float:
    if question.facts.cost_usd is None:
        raise DataError(
            f"the cost of {question.row.trace_id} is not known, expected that of every answer; give each model a price"
        )
    return question.facts.cost_usd


def _recorded(
    question: DrawnQuestion, stage: StageFacts | None, correct: float, missing_cost: float | None
) -> RecordedAnswer:
    """An answer of the sample; of a call that failed, with the mean cost of the others."""
    stage = stage or StageFacts(stage="")
    cost = stage.cost_usd if stage.cost_usd is not None else missing_cost
    numbers = {name: value for name, value in stage.inputs.items() if name != "second_opinion"}
    numbers |= {"prompt_tokens": float(stage.prompt_tokens), "completion_tokens": float(stage.completion_tokens)}
    if cost is not None:
        numbers["cost_usd"] = cost
    same = not question.row.differ
    return RecordedAnswer(
        id=question.row.trace_id,
        correct=correct,
        model=stage.model,
        answer=("a" if missing_cost is None or same else "b") if stage.readable else None,
        numbers=numbers,
        confidence_kind=stage.kind.removeprefix("mapped "),
        cluster=question.facts.cluster or None,
        failed=stage.failed and missing_cost is None,
    )


def _model(questions: Sequence[DrawnQuestion], part: str) -> str:
    """The one name under which a model answered.

    Raises:
        DataError: There are several.
    """
    found = {stage.model for q in questions if (stage := getattr(q.facts, part)) is not None and stage.model}
    if len(found) != 1:
        named = ", ".join(sorted(found)) or "none"
        raise DataError(
            f"the {part} model answered as {named}, expected one name; take those since it changed: --since DATE"
        )
    return found.pop()
