"""`corea eval`: figures of answered runs or recordings, beside random deferral, best single model and oracle."""

from pathlib import Path
from typing import Annotated, Any

import typer

from corea.calibrate import load
from corea.cli.console import EXIT_FAILED, percent, print_json
from corea.cli.options import FILE, GraderOption, JsonOption, PriceOption
from corea.cli.rows import prices_of, read_questions
from corea.errors import ConfigError
from corea.evaluate.measure import EvalResult, measure
from corea.prices import PriceTable
from corea.records.read import RowSource, read_answers


def evaluate(
    runs: Annotated[list[Path] | None, typer.Argument(help="Answers of `corea run`, or recorded rows.")] = None,
    questions: Annotated[Path | None, typer.Option(help="The questions with references; to grade runs.")] = None,
    grader: GraderOption = None,
    against: Annotated[Path | None, typer.Option(help="The large model's answers to the same questions.")] = None,
    tau: Annotated[float | None, typer.Option(help="Keep at or above it, instead of as the run did.")] = None,
    slm: Annotated[str, typer.Option(help="Model to read, if a recording holds several.")] = "",
    llm: Annotated[str, typer.Option(help="Model to read from --against.")] = "",
    variant: Annotated[str, typer.Option(help="Variant of the small model's rows.")] = "",
    llm_variant: Annotated[str, typer.Option(help="Variant of the large model's rows.")] = "",
    price: PriceOption = None,
    calibration: Annotated[
        Path | None, typer.Option(metavar=FILE, help="The run's artefact of `corea calibrate`; tests its guarantee.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 where rows contradict the guarantee.")] = False,
    json: JsonOption = False,
) -> None:
    """Judge answered runs or recordings: accuracy, cost, deferral, and how good the confidence is."""
    if not runs:
        raise ConfigError("eval: got no file, expected answers of `corea run` or recorded rows; name at least one")
    if grader is not None and questions is None:
        raise ConfigError(
            "--grader: got it without --questions, expected the questions to grade by; give --questions FILE"
        )
    if strict and calibration is None:
        raise ConfigError(
            "--strict: got it without --calibration, expected the guarantee to test; give --calibration FILE"
        )
    promised = None if calibration is None else load(calibration)
    prices = PriceTable(prices_of(price)) if price else None
    known = None if questions is None else read_questions(questions, grader)
    other = None
    if against is not None:
        source = RowSource(
            paths=[against], model=llm, variant=llm_variant, option="--llm", variant_option="--llm-variant"
        )
        other = read_answers(source, questions=known, grader=grader)
    found: list[EvalResult] = []
    for path in runs:
        source = RowSource(paths=[path], model=slm, variant=variant)
        answers = read_answers(source, questions=known, grader=grader)
        found.append(measure(str(path), answers, other, tau=tau, prices=prices, calibration=promised))
    if json:
        print_json([each.as_dict() for each in found] if len(found) > 1 else found[0].as_dict())
    else:
        _show_all(found)
    if strict and any(each.promise is not None and each.promise.contradicted for each in found):
        raise typer.Exit(EXIT_FAILED)


def _show_all(found: list[EvalResult]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    for each in found:
        if each.promise is not None and each.promise.headline:
            where = f" ({each.name})" if len(found) > 1 else ""
            console.print(f"[bold]{each.promise.headline}[/]{where}", soft_wrap=True)
    for each in found:
        _show(console, each)


def _show(console: Any, found: EvalResult) -> None:
    from corea.cli.figures_table import figures_table
    from corea.graders import graders_in_words

    console.print(f"[bold]{found.name}[/]: {found.n:,} questions, {found.failed:,} failed")
    console.print(
        f"  pass@1 {percent(found.pass_at_1.value)} "
        f"(95 %: {100 * found.pass_at_1.low:.1f} - {100 * found.pass_at_1.high:.1f})"
    )
    if found.graders:
        console.print(f"  graded by {graders_in_words(dict(found.graders))}")
    cost = "unknown" if found.mean_cost_usd is None else f"{1000 * found.mean_cost_usd:.6g} USD / 1,000 questions"
    console.print(f"  cost {cost}" + (" (estimated token counts)" if found.costs_estimated else ""))
    for line in found.counted_as_free:
        console.print(f"  {line}")
    if found.coverage is not None:
        console.print(
            f"  to the LLM {percent(found.llm_share)} · coverage {percent(found.coverage)} · "
            f"selective risk {percent(found.selective_risk)}"
        )
    if found.outside:
        console.print(f"  {found.outside:,} deferred, as an input is unlike all rows that calibrated")
    _show_signal(console, found)
    if found.table is not None:
        console.print(figures_table(found.table, console.width))
    if found.note:
        console.print(f"  {found.note}")
    if found.missing:
        console.print(f"  {found.missing}")
    for line in _promise_lines(found):
        console.print(f"  {line}")


def _promise_lines(found: EvalResult) -> list[str]:
    if found.promise is None:
        return ["a calibration decided: --calibration FILE tests its guarantee here"] if found.mapped else []
    met = [
        f"{name} {'met' if met else 'not met'} on {found.promise.n:,} rows" for name, met in found.promise.met.items()
    ]
    return [*met, *found.promise.notes]


def _show_signal(console: Any, found: EvalResult) -> None:
    signal = found.signal
    if not signal.n:
        console.print("  no confidence is stated")
        return
    is_probability = signal.ece == signal.ece
    errors = f"ECE {signal.ece:.3f} · Brier {signal.brier:.3f} · " if is_probability else ""
    console.print(
        f"  {'confidence' if is_probability else 'score (not a probability)'}: "
        f"AUROC {signal.auroc_words} · {errors}"
        f"AURC {signal.aurc:.3f} · {signal.distinct} distinct · {signal.unstated} unstated"
    )
