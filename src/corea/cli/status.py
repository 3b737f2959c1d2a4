"""`corea status`: how far a run is, from its journal, while it goes on or has left."""

from pathlib import Path
from typing import Annotated, Any

import typer

from corea.cli.console import print_json
from corea.cli.options import JsonOption


def status(
    out: Annotated[str, typer.Argument(help="The --out of the run.")],
    json: JsonOption = False,
) -> None:
    """Show how far a run is: questions done, those that wait for a batch, and the batches under way."""
    from corea.run.shards import journals_of

    own = Path(f"{out}.journal")
    facts = [status_of(path) for path in (journals_of(out) if not own.exists() else ()) or [own]]
    if json:
        print_json(facts[0] if len(facts) == 1 else {"shards": facts})
        return
    done, rows, waiting = (sum(each[name] for each in facts) for name in ("done", "rows", "waiting"))
    print(f"{done:,}{f' of {rows:,}' if rows else ''} questions done, {waiting:,} wait for a batch")
    for each in (batch for shard in facts for batch in shard["batches"]):
        where = each["id"] or f"{each['key']} (not created)"
        print(f"batch {where} of stage {each['stage']}: {each['step']}, {each['left']:,} questions")


def status_of(path: Path) -> dict[str, Any]:
    """The counts in a journal, as plain values.

    Raises:
        DataError: It cannot be read, or is damaged.
    """
    from corea.run.journal import Journal

    journal = Journal(path).read(lambda row, line: True)
    waiting = journal.waiting
    return {
        "done": journal.answered,
        "rows": journal.rows,
        "waiting": waiting.count,
        "batches": [
            {
                "key": note.key,
                "id": note.id,
                "stage": note.stage,
                "step": note.step.value,
                "questions": note.count,
                "left": waiting.left(note.key),
                "planned_at": note.at,
            }
            for note in waiting.batches.values()
        ],
    }
