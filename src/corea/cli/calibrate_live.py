"""The calibration tables that a live configuration gives: its own models are asked, resumably and within a budget."""

import asyncio
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from corea.cli.console import EXIT_INTERRUPTED, complain
from corea.cli.example_questions import write_examples
from corea.errors import ConfigError

if TYPE_CHECKING:
    from corea.calibrate.tables import Pairs

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
    from corea.evaluate.live import Asking, ask_stages, load_questions, tables_of

    settings, bundled = find_config(live.config, live.set_)
    name, wanted = settings.cascade(live.cascade)
    settings = replace(settings, cascades={**settings.cascades, name: replace(wanted, calibration=None)})
    built = build(settings, name)
    questions = _questions(live, bundled=bundled)
    known = load_questions(str(questions), labelled=live.labelled, grader=live.grader)
    asking = Asking(
        folder=live.answers,
        budget_usd=settings.run.budget_usd if live.budget_usd is None else live.budget_usd,
        concurrency=live.concurrency or settings.run.concurrency,
        also=live.also,
        grader=live.grader,
        declared={stage.name: settings.stages[stage.name].backend for stage in built.cascade.stages},
    )

    async def ask() -> "list[Pairs]":
        from corea.run.shutdown import stopping_on_signals

        try:
            with stopping_on_signals() as stop, _Display(quiet=live.quiet) as display:
                told = replace(asking, stop=stop, on_progress=display)
                traces_S = await ask_stages(built.cascade, str(questions), len(known), told)
            return await tables_of(built.cascade, known, traces_S, asking)
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


class _Display:
    """A progress bar that names the stage; nothing when quiet."""

    def __init__(self, *, quiet: bool) -> None:
        from corea.cli.run import ProgressDisplay

        self.display = None if quiet else ProgressDisplay()

    def __enter__(self) -> Any:
        return None if self.display is None else self

    def __exit__(self, *ended: object) -> None:
        if self.display is not None:
            self.display.__exit__(*ended)

    def __call__(self, stage: str, progress: Any) -> None:
        assert self.display is not None
        self.display.bars.update(self.display.task, description=f"asking {stage}")
        self.display(progress)
