"""`corea merge`: one file of answers, and one summary, from the shards of a run."""

from typing import Annotated

import typer

from corea.cli.options import CascadeOptions, JsonOption, spread
from corea.cli.run import report


@spread
def merge(
    out: Annotated[str, typer.Argument(help="The --out of the shards; their journals are in OUT.shards.")],
    options: CascadeOptions,
    partial: Annotated[
        bool, typer.Option("--partial", help="Merge what is there of shards that have not ended.")
    ] = False,
    free_text: Annotated[bool, typer.Option("--free-text", help="As for `corea run`.")] = False,
    json: JsonOption = False,
) -> None:
    """Merge the shards of a run into one file of answers, in the order of the questions."""
    from corea.cli.configuration import build_cascade, settings_of_answers
    from corea.run.merge import merge_shards

    built, config, _ = build_cascade(options)
    summary = merge_shards(out, settings_of_answers(config, built), partial=partial, budget_usd=config.run.budget_usd)
    report(summary, built, free_text=free_text, json=json)
