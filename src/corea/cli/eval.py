"""`corea eval`: figures of answered runs or recordings, beside random deferral, best single model and oracle."""

from pathlib import Path
from typing import Annotated, Any

import typer

from corea.cli.console import percent, print_json
from corea.cli.options import GraderOption, JsonOption, PriceOption
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
    json: JsonOption = False,
) -> None:
    """Judge answered runs or recordings: accuracy, cost, deferral, and how good the confidence is."""
    if not runs:
        raise ConfigError("eval: got no file, expected answers of `corea run` or recorded rows; name at least one")
    if grader is not None and questions is None:
        raise ConfigError(
            "--grader: got it without --questions, expected the questions to grade by; give --questions FILE"
        )
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
        found.append(measure(str(path), answers, other, tau=tau, prices=prices))
    if json:
        print_json([each.as_dict() for each in found] if len(found) > 1 else found[0].as_dict())
        return
    for each in found:
        _show(each)


def _show(found: EvalResult) -> None:
    from rich.console import Console

    from corea.cli.figures_table import figures_table
    from corea.graders import graders_in_words

    console = Console(highlight=False)
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
    _show_signal(console, found)
    if found.table is not None:
        console.print(figures_table(found.table))
    if found.note:
        console.print(f"  {found.note}")
    if found.missing:
        console.print(f"  {found.missing}")


def _show_signal(console: Any, found: EvalResult) -> None:
    signal = found.signal
    if not signal.n:
        console.print("  no confidence is stated")
        return
    console.print(
        f"  confidence: AUROC {signal.auroc:.3f} ({signal.auroc_low:.3f} - {signal.auroc_high:.3f}) · "
        f"ECE {signal.ece:.3f} · Brier {signal.brier:.3f} · AURC {signal.aurc:.3f} · "
        f"{signal.distinct} distinct · {signal.unstated} unstated"
    )
