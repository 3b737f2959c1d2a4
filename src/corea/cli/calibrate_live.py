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
from corea.errors import ConfigError, unknown_name
from corea.report.terminal import ProgressBars

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from decimal import Decimal

    from corea.build import BackendCache
    from corea.calibrate.artefact import StageBinding
    from corea.calibrate.settings import CalibrateSettings, JudgeSettings
    from corea.calibrate.targets import Targets
    from corea.cascade import Cascade
    from corea.config import Config
    from corea.evaluate.judge import Judge
    from corea.records.table import OutcomeTable
    from corea.run.summary import RunProgress
    from corea.stage import Stage
    from corea.types import Question

BUNDLED = 1000  # questions for the bundled pair, which knows only its own kind
BUNDLED_NOTE = (
    "No corea.toml and no --questions: the bundled pair is calibrated on the bundled questions, its own kind."
)


def live_table(
    wanted: "CalibrateSettings", configuration: ConfigOptions, models: ModelOptions, *, answers: Path, quiet: bool,
    confirm: "Callable[[Decimal | None], None] | None" = None,
) -> "tuple[OutcomeTable, tuple[StageBinding, ...], Targets]":  # fmt: skip
    """The answers of all stages as a table, the binding of the cascade that gave them, and the targets with a cap.

    Args:
        wanted: Questions, grader, further signals and budget.
        answers: The folder of the answers; the same folder resumes.
        confirm: As in `CollectSettings`.
    """
    from corea.build import build
    from corea.cli.configuration import find_config
    from corea.evaluate import collect
    from corea.evaluate.judge import judged_table

    config, bundled = find_config(configuration.config, configuration.set_)
    name, chosen = config.cascade(models.cascade)
    config = replace(config, cascades={**config.cascades, name: replace(chosen, calibration=None)})
    built = build(config, name)
    questions = _questions(wanted.questions, answers, bundled=bundled)
    known = collect.load_questions(
        str(questions), labelled=not wanted.options.few_labels, grader=wanted.grader, group=wanted.group
    )
    judge = _judge(config, wanted, built.cascade, known) if wanted.judged else None
    targets = collect.with_cost_cap(wanted.targets, built.cascade, known)
    collecting = collect.CollectSettings(
        folder=answers,
        budget_usd=config.run.budget_usd if wanted.budget_usd is None else wanted.budget_usd,
        concurrency=config.run.concurrency if models.concurrency is None else models.concurrency,
        repeat=models.repeat,
        baseline_sample=models.baseline_sample,
        extra_signals=wanted.extra_signals, grader=wanted.grader, group=wanted.group, confirm=confirm,
        declared={stage.name: config.stages[stage.name].backend for stage in built.cascade.stages},
    )  # fmt: skip

    async def ask() -> "tuple[OutcomeTable, tuple[StageBinding, ...], Targets]":
        from corea.run.shutdown import stopping_on_signals

        try:
            with stopping_on_signals() as stop, ProgressBars(quiet=quiet) as bars:
                show = None if quiet else partial(_show, bars)
                watched = replace(collecting, stop=stop, on_progress=show, on_plan=None if quiet else note)
                if judge is not None and not quiet:
                    note(judge.plan(built.cascade, known, answers))
                collected = await collect.collect_traces(built.cascade, str(questions), known, watched)
                table = await collect.outcome_table(built.cascade, known, collected, collecting)
                if judge is not None:
                    table = await judged_table(judge, built.cascade, table, known, collected, watched)
            return collect.with_cap_note(table, wanted.targets, targets), collected.binding(built.cascade), targets
        finally:
            await built.cascade.close()

    try:
        return asyncio.run(ask())
    except InterruptedError as error:
        complain(str(error))
        raise typer.Exit(EXIT_INTERRUPTED) from error


def _judge(
    config: "Config", wanted: "CalibrateSettings", cascade: "Cascade", known: "Mapping[str, Question]"
) -> "Judge":
    """The judge of a configuration, with its warnings printed."""
    from corea.evaluate.judge import check_judge

    judge = configured_judge(config, wanted.judge)
    for warning in check_judge(judge, cascade, known):
        complain(warning)
    return judge


def configured_judge(config: "Config", wanted: "JudgeSettings", backends: "BackendCache | None" = None) -> "Judge":
    """The judge of a configuration; raises as `judge_stage` does, or where its prompt cannot be used."""
    from corea.evaluate.judge import Judge, load_judge_prompt

    prompt = None if wanted.prompt is None else config.path(wanted.prompt)
    return Judge(judge_stage(config, wanted, backends), load_judge_prompt(prompt))


def judge_stage(config: "Config", judge: "JudgeSettings", backends: "BackendCache | None" = None) -> "Stage":
    """The stage of the model that judges pairs of answers, with its price.

    Args:
        backends: Shared with other cascades.

    Raises:
        ConfigError: Its stage is unknown, its table is none of a backend, or it has no price.
    """
    from corea.build import build
    from corea.config import CascadeSettings, StageSettings
    from corea.stage import Mode

    where, asked, price = f"{config.source}: calibrate.judge.backend", judge.backend, judge.price
    if isinstance(asked, str):
        if asked not in config.stages:
            raise unknown_name(where, asked, list(config.stages))
        price, asked = price or config.stages[asked].price, config.stages[asked].backend
    if asked is None or "kind" not in asked:
        raise ConfigError(f'{where}: got no kind, expected a stage\'s name, or a table with kind = "..."; add it')
    stages = {"judge": StageSettings(backend=asked, sampling=judge.sampling, price=price)}
    cascades = {"judge": CascadeSettings(mode=Mode.CHAT, stages=("judge",))}
    return build(replace(config, stages=stages, cascades=cascades), backends=backends).cascade.stages[0]


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
