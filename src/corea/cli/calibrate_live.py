"""The table and binding of a live configuration: its own models are asked, resumably and within a budget."""

import asyncio
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from corea.cli.calibrate_options import ModelOptions
from corea.cli.console import EXIT_INTERRUPTED, complain, note
from corea.cli.init import write_examples
from corea.cli.options import ConfigOptions
from corea.cli.run_report import show_progress
from corea.errors import ConfigError
from corea.report.terminal import ProgressBars

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from corea.calibrate.artefact import StageBinding
    from corea.calibrate.settings import CalibrateSettings
    from corea.calibrate.targets import Targets
    from corea.records.table import OutcomeTable
    from corea.run.summary import RunProgress

BUNDLED = 1000  # questions for the bundled pair, which knows only its own kind
BUNDLED_NOTE = (
    "No corea.toml and no --questions: the bundled pair is calibrated on the bundled questions, its own kind."
)


def live_table(
    wanted: "CalibrateSettings",
    configuration: ConfigOptions,
    models: ModelOptions,
    *,
    answers: Path,
    quiet: bool,
    confirm: "Callable[[Decimal | None], None] | None" = None,
) -> "tuple[OutcomeTable, tuple[StageBinding, ...], Targets]":
    """The answers of all stages as a table, the binding of the cascade that gave them, and the targets with a cap.

    Args:
        wanted: Questions, grader, further signals and budget.
        answers: The folder of the answers; the same folder resumes.
        confirm: As in `CollectSettings`.
    """
    from corea.build import build
    from corea.cli.configuration import find_config
    from corea.evaluate import collect

    config, bundled = find_config(configuration.config, configuration.set_)
    name, chosen = config.cascade(models.cascade)
    config = replace(config, cascades={**config.cascades, name: replace(chosen, calibration=None)})
    built = build(config, name)
    questions = _questions(wanted.questions, answers, bundled=bundled)
    known = collect.load_questions(
        str(questions), labelled=not wanted.few_labels, grader=wanted.grader, group=wanted.group
    )
    targets = collect.with_cost_cap(wanted.targets, built.cascade, known)
    collecting = collect.CollectSettings(
        folder=answers,
        budget_usd=config.run.budget_usd if wanted.budget_usd is None else wanted.budget_usd,
        concurrency=config.run.concurrency if models.concurrency is None else models.concurrency,
        repeat=models.repeat,
        baseline_sample=models.baseline_sample,
        extra_signals=wanted.extra_signals,
        grader=wanted.grader,
        group=wanted.group,
        confirm=confirm,
        declared={stage.name: config.stages[stage.name].backend for stage in built.cascade.stages},
    )

    async def ask() -> "tuple[OutcomeTable, tuple[StageBinding, ...], Targets]":
        from corea.run.shutdown import stopping_on_signals

        try:
            with stopping_on_signals() as stop, ProgressBars(quiet=quiet) as bars:
                show = None if quiet else partial(_show, bars)
                watched = replace(collecting, stop=stop, on_progress=show, on_plan=None if quiet else note)
                collected = await collect.collect_traces(built.cascade, str(questions), known, watched)
            table = await collect.outcome_table(built.cascade, known, collected, collecting)
            return collect.with_cap_note(table, wanted.targets, targets), collected.binding(built.cascade), targets
        finally:
            await built.cascade.close()

    try:
        return asyncio.run(ask())
    except InterruptedError as error:
        complain(str(error))
        raise typer.Exit(EXIT_INTERRUPTED) from error


def _questions(path: str | None, answers: Path, *, bundled: bool) -> Path:
    """The file of questions; for the bundled pair by default the bundled ones, written into the answers' folder."""
    if path is not None:
        return Path(path)
    if not bundled:
        raise ConfigError("calibrate: got no --questions, expected labelled ones for the models to answer; give a file")
    complain(BUNDLED_NOTE)
    from corea.evaluate.extra_calls import make_folder

    written = answers / "questions.jsonl"
    make_folder(answers)
    write_examples(written, BUNDLED, split="validation")
    return written


def _show(bars: ProgressBars, stage: str, progress: "RunProgress") -> None:
    show_progress(bars, f"asking {stage}", progress)
