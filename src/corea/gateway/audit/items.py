"""Questions on their way through the audit, and what is to be stored of their answers."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from corea.gateway.audit.store import DrawnRow
from corea.gateway.audit.traffic import AnswerComparer, Traffic, encoded
from corea.gateway.ops.settings import GatewayStorage

log: logging.Logger = logging.getLogger("corea.gateway")


class RecentAnswer(msgspec.Struct, kw_only=True):
    """A served answer, in memory only.

    Args:
        answer: Its short answer, if one was read.
        reference: The last stage's, where it was asked too.
    """

    key_id: str | None
    cascade: str
    answer: str | None
    reference: str | None = None


@dataclass(slots=True)
class AuditItem:
    """A question on its way.

    Args:
        row: None: it was not drawn, and is only watched.
        differ: The two answers differ; None: not known.
    """

    traffic: Traffic
    row: DrawnRow | None
    differ: bool | None = None


def compare(
    batch: list[AuditItem],
    comparers: tuple[AnswerComparer, AnswerComparer],
    storage: GatewayStorage,
    redact: Callable[[str], str],
) -> None:
    """Compares the two answers to each question, and completes its row; blocks.

    Args:
        comparers: Of short answers, and of the texts that a judge compares.
    """
    for item in batch:
        traffic, row = item.traffic, item.row
        draft, reference = traffic.draft, traffic.reference
        if draft is not None and reference is not None and reference.error is None:
            item.differ = comparers[bool(traffic.judge)].differ(traffic.plan.question, draft, reference)
        if row is not None:
            row.differ, row.facts = item.differ, encoded(traffic)
            row.served, row.reference = _texts(traffic, redact) if storage.store_text else (None, None)


def _texts(traffic: Traffic, redact: Callable[[str], str]) -> tuple[str | None, str | None]:
    """The texts of the draft and of the last stage's answer, as they are stored."""
    completions = [step.completion if step is not None else None for step in (traffic.draft, traffic.reference)]
    try:
        first, second = (None if each is None else redact(each.text) for each in completions)
    except Exception as error:  # the operator's own function
        log.error("gateway.storage.redact failed (%s); the texts of an audit are not stored", type(error).__name__)
        return None, None
    return first, second
