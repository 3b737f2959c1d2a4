"""What a label says of the promise: the accuracy lost by keeping an answer."""

import sqlite3

from corea.gateway.audit.store import DrawnRow, LabelRow, label_rows
from corea.gateway.audit.watch import CascadeWatch


def gap_of(row: DrawnRow, label: LabelRow | None) -> float | None:
    """The last stage's correctness minus the served answer's: 1, 0 or -1; None where a label does not settle it.

    Two answers that are the same are right or wrong together. Of two that differ, one that is right makes the other
    wrong; where the served one is wrong, the label must say of the last stage's too.
    """
    if not row.kept or row.differ is None:
        return None
    if not row.differ:
        return 0.0
    if label is None or label.served not in (0.0, 1.0):
        return None
    reference = 0.0 if label.served and label.reference is None else label.reference
    return None if reference not in (0.0, 1.0) else reference - label.served


def observe_label(connection: sqlite3.Connection, watch: CascadeWatch, row: DrawnRow) -> bool:
    """Shows the loss on a drawn question to the detector of labels, once; True if it is settled now."""
    if not row.settled:
        found = label_rows(connection, "trace_id = ? AND sampled = 1", row.trace_id)
        gaps = [gap for label in found or [None] if (gap := gap_of(row, label)) is not None]
        if gaps:
            watch.observe("labelled", gaps[-1])
            row.settled = True
    return row.settled
