"""The calibration tables that a live configuration gives: its own models are asked, resumably and within a budget."""

import asyncio
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from corea.cli.console import EXIT_INTERRUPTED, complain
from corea.cli.example_questions import write_examples
from corea.cli.run_report import show_progress
from corea.errors import ConfigError
from corea.report.terminal import ProgressBars

if TYPE_CHECKING:
    from corea.calibrate.tables import Pairs
    from corea.run.summary import Progress

BUNDLED = 1000  # questions for the bundled pair, which knows only its own kind
BUNDLED_NOTE = (
    "No corea.toml and no --questions: the bundled pair is calibrated on the bundled questions, its own kind."
)


@dataclass(frozen=True, kw_only=True)
class Live:
    """What the command line says about asking."""

    config: Path | None
    set_: list[str] | None
    cascade: str | None
    questions: Path | None
    answers: Path
    budget_usd: Decimal | None
    concurrency: int | None
    also: tuple[str, ...]
    grader: str | None
    labelled: bool
    quiet: bool


def live_tables(live: Live) -> "tuple[list[Pairs], dict[str, Any]]":
    """Each stage's table against the last, and what the artefact is to bind."""
    from corea.build import build
    from corea.calibrate.artefact import binding_of
    from corea.cli.configuration import find_config
    from corea.evaluate.apply import pairs_of_table
    from corea.evaluate.collect import CollectSettings, collect_traces, load_questions, outcome_table

    settings, bundled = find_config(live.config, live.set_)
    name, wanted = settings.cascade(live.cascade)
    settings = replace(settings, cascades={**settings.cascades, name: replace(wanted, calibration=None)})
    built = build(settings, name)
    questions = _questions(live, bundled=bundled)
    known = load_questions(str(questions), labelled=live.labelled, grader=live.grader)
    collecting = CollectSettings(
        folder=live.answers,
        budget_usd=settings.run.budget_usd if live.budget_usd is None else live.budget_usd,
        concurrency=live.concurrency or settings.run.concurrency,
        extra_signals=live.also,
        grader=live.grader,
        declared={stage.name: settings.stages[stage.name].backend for stage in built.cascade.stages},
    )

    async def ask() -> "list[Pairs]":
        from corea.run.shutdown import stopping_on_signals

        try:
            with stopping_on_signals() as stop, ProgressBars(quiet=live.quiet) as bars:
                show = None if live.quiet else partial(_show, bars)
                watched = replace(collecting, stop=stop, on_progress=show)
                traces_S = await collect_traces(built.cascade, str(questions), len(known), watched)
            return pairs_of_table(await outcome_table(built.cascade, known, traces_S, collecting))
        finally:
            await built.cascade.close()

    try:
        return asyncio.run(ask()), binding_of(built.cascade)
    except InterruptedError as error:
        complain(str(error))
        raise typer.Exit(EXIT_INTERRUPTED) from error


def _questions(live: Live, *, bundled: bool) -> Path:
    """The file of questions; for the bundled pair by default the bundled ones, written beside the answers."""
    if live.questions is not None:
        return live.questions
    if not bundled:
        raise ConfigError("calibrate: got no --questions, expected labelled ones for the models to answer; give a file")
    complain(BUNDLED_NOTE)
    path = live.answers / "questions.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_examples(path, BUNDLED, split="validation")
    return path


def _show(bars: ProgressBars, stage: str, progress: "Progress") -> None:
    show_progress(bars, f"asking {stage}", progress)
