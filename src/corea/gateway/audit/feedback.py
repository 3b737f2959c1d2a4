"""`POST /v1/feedback`: a label for a trace."""

import asyncio
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from corea.gateway.audit.auditor import Auditor
from corea.gateway.audit.store import LabelRow, drawn_row, finish_drawn, put_label
from corea.gateway.audit.watch import observe_label
from corea.gateway.billing.auth import Principal
from corea.gateway.billing.connection import SqlConnection
from corea.gateway.chat.request import read_json
from corea.gateway.errors import GatewayError, bad_field
from corea.parsing import read_answer
from corea.signals.agreement import equivalent
from corea.types import Question

Said = Literal["right", "wrong"]
TESTS = "tests the promise: a reviewer's label of a drawn question"
WAITS = 6  # for a decision that another server has taken, and is storing
WAIT_SECONDS = 0.2
SHOWN = "is shown apart, and tests no promise: not of a random sample"
TEXTS = "SELECT key_id, cascade, answer FROM decisions WHERE trace_id = ?"
LABELS = ("verdict", "score", "answer")


class FeedbackBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A label: one of `verdict`, `score` and `answer`.

    Args:
        verdict: Of the answer that was served.
        score: Likewise, from 0 (wrong) to 1 (right); one in between decides no test.
        answer: The right answer, with which the served one is compared by the question's grader.
        reference_verdict: Of the last stage's answer, where the question was audited.
        source: A name for who says so; a later label of the same source replaces its earlier one.
    """

    trace_id: Annotated[str, Meta(min_length=1, max_length=100)]
    verdict: Said | None = None
    score: Annotated[float, Meta(ge=0, le=1)] | None = None
    answer: Annotated[str, Meta(min_length=1, max_length=10_000)] | None = None
    reference_verdict: Said | None = None
    source: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:-]{1,40}$")] = "user"


class FeedbackTaken(Struct, kw_only=True):
    """A label as it was stored.

    Args:
        served, reference: Correctness of the two answers, in [0, 1].
        changed: False if the same label was there already.
        use: Its use, in words.
    """

    trace_id: str
    source: str
    served: float
    reference: float | None
    changed: bool
    use: str


@dataclass(frozen=True, slots=True)
class _Known:
    """Known facts of a trace."""

    key_id: str | None
    cascade: str
    answer: str | None
    reference: str | None


def read_feedback(body: bytes) -> FeedbackBody:
    """A label from a request's body.

    Raises:
        GatewayError: It is not one; names the field.
    """
    fields = read_json(body)
    try:
        found = msgspec.convert(fields, FeedbackBody)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$.")
        name = path.rstrip("`") or problem.partition("field `")[2].rstrip("`")
        known = ", ".join(FeedbackBody.__struct_fields__)
        expected = f"one of the fields {known}" if "unknown field" in problem else _expected(problem)
        raise bad_field(name or "body", fields.get(name), expected) from error
    given = [name for name in LABELS if getattr(found, name) is not None]
    if len(given) != 1:
        raise bad_field("verdict", ", ".join(given) or None, f"one of {', '.join(LABELS)}, and only one")
    return found


def _expected(problem: str) -> str:
    if "enum" in problem:
        return "right or wrong"
    if "missing required" in problem:
        return "the trace id of an answer, from its header x-corea-trace-id"
    return problem.removeprefix("Expected ").partition(", got")[0]


async def take_feedback(auditor: Auditor, body: bytes, principal: Principal, *, admin: bool) -> FeedbackTaken:
    """Stores a label, and shows it to the detectors where it tests the promise.

    Args:
        admin: It may label any trace, also as a reviewer.

    Raises:
        GatewayError: The label is not one, there is no such trace of this key, or it cannot be graded.
    """
    given = read_feedback(body)
    reviewer = given.source in auditor.settings.audit.reviewers
    if reviewer and not admin:
        message = (
            f"source: got {given.source!r}, a reviewer's, expected another one from a key that administers nothing."
        )
        raise GatewayError(403, message, "permission_error", "admin_only", "source")
    known = await _found(auditor, given.trace_id)
    if known is None or not (admin or known.key_id == principal.id):
        message = f"trace_id: got {given.trace_id!r}, expected one of this key's stored answers."
        raise GatewayError(404, message, code="trace_not_found", param="trace_id")
    served, reference = await asyncio.to_thread(_graded, given, known)

    def take(connection: SqlConnection) -> FeedbackTaken:
        row = drawn_row(connection, given.trace_id)
        label = LabelRow(
            trace_id=given.trace_id, source=given.source, at=auditor.clock(), key_id=principal.id,
            cascade=known.cascade, sampled=reviewer and row is not None, served=served, reference=reference,
        )  # fmt: skip
        before = put_label(connection, label)
        watch = auditor.watches.get(known.cascade)
        unsettled = label.sampled and row is not None and not row.settled
        if unsettled and row is not None and watch is not None and observe_label(connection, watch, row):
            finish_drawn(connection, row)
        return FeedbackTaken(
            trace_id=label.trace_id, source=label.source, served=served, reference=reference,
            changed=before is None or not label.same(before), use=TESTS if label.sampled else SHOWN,
        )  # fmt: skip

    taken = await auditor.store.run(lambda connection: auditor.observe(connection, take))
    await auditor.report()
    return taken


async def _found(auditor: Auditor, trace_id: str) -> _Known | None:
    """A trace of any server."""
    for wait in range(WAITS if auditor.store.shared else 1):
        await asyncio.sleep(WAIT_SECONDS if wait else 0)
        known = await auditor.store.run(lambda connection: _known(connection, auditor, trace_id), reads=True)
        if known is not None:
            return known
    return None


def _known(connection: SqlConnection, auditor: Auditor, trace_id: str) -> _Known | None:
    """A trace of this server's memory, or of the database."""
    row, recent = drawn_row(connection, trace_id), auditor.recent.get(trace_id)
    stored = connection.execute(TEXTS, (trace_id,)).fetchone()
    reference = _short(row.reference) if row is not None else None
    if recent is not None:
        return _Known(recent.key_id, recent.cascade, recent.answer, recent.reference or reference)
    if stored is None:
        return None
    return _Known(stored[0], stored[1], _short(stored[2]), reference)


def _short(text: str | None) -> str | None:
    return None if text is None else read_answer(text)


def _graded(given: FeedbackBody, known: _Known) -> tuple[float, float | None]:
    """Correctness of the served and of the last stage's answer.

    Raises:
        GatewayError: The right answer is given, and the served one is not known any more.
    """
    reference = None if given.reference_verdict is None else float(given.reference_verdict == "right")
    if given.answer is None:
        return (float(given.verdict == "right") if given.score is None else given.score), reference
    if known.answer is None:
        message = (
            "answer: the served answer is not known here (a chat, older, or not read from its text), expected a "
            "verdict or a score; gateway.storage.store_text keeps texts."
        )
        raise GatewayError(409, message, code="answer_not_kept", param="answer")
    right = read_answer(given.answer) or given.answer
    question: Any = Question.of("")
    if reference is None and known.reference is not None:
        reference = float(equivalent(question, right, known.reference))
    return float(equivalent(question, right, known.answer)), reference
