"""`corea demo`: a whole cascade on the screen, with no key and no GPU."""

import asyncio
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corea.cli.console import print_json, usd
from corea.cli.figures_table import figures_table
from corea.cli.options import JsonOption
from corea.errors import ConfigError
from corea.models import BUNDLED
from corea.report.terminal import ProgressBars
from corea.types import Decision, Question, Trace

if TYPE_CHECKING:
    from corea.evaluate.demo import DemoResult

ESTIMATES = (
    "Token counts were not recorded: they are estimated from the text (4 characters a token), and so is every cost."
)


def demo(
    recorded: Annotated[
        bool, typer.Option("--recorded", help="Replay recorded outputs of real models instead of the bundled pair.")
    ] = False,
    questions: Annotated[int, typer.Option(min=1, max=2000, help="How many questions to ask in batch.")] = 400,
    out: Annotated[Path, typer.Option(help="Folder for the picture.")] = Path("out"),
    no_picture: Annotated[bool, typer.Option("--no-picture", help="Draw no picture, and write no file.")] = False,
    json: JsonOption = False,
) -> None:
    """Show a cascade at work: questions one by one, then in batch, then a table and picture of accuracy and cost."""
    from rich.console import Console

    from corea.evaluate.demo import run_demo

    console = Console(quiet=json)
    recorded = recorded or not BUNDLED.exists()
    cascade, asked, title = _recorded() if recorded else _bundled(questions)
    console.print(f"[bold]{title}[/]\n")

    async def whole() -> "DemoResult":
        try:
            for question in [] if recorded else asked[:6]:
                _one(console, question, await cascade.ask(question))
            with ProgressBars(quiet=json) as bars:
                return await run_demo(
                    cascade, asked, max_drop=0.02 if recorded else None,
                    on_trace=partial(_count, bars, len(asked), Counter()),
                )  # fmt: skip
        finally:
            await cascade.close()

    shown = asyncio.run(whole())
    picture, why = None, ""
    if not no_picture:
        picture, why = _draw(shown, out / ("recorded.png" if recorded else "demo.png"), title)
    if json:
        print_json({**shown.as_dict(), "picture": picture})
        return
    taus = " and ".join(f"{tau:.2f}" for tau in shown.taus)
    console.print(f"{len(shown.outcomes)} questions; threshold {taus} chosen {shown.chosen_on}\n")
    console.print(figures_table(shown.rows, console.width))
    signal = shown.signal
    console.print(
        f"\nconfidence: AUROC {signal.auroc:.3f} ({signal.auroc_low:.3f}-{signal.auroc_high:.3f}), "
        f"ECE {signal.ece:.3f}, Brier {signal.brier:.3f}, {signal.distinct} distinct values, {signal.unstated} unstated"
    )
    ledger = shown.ledger
    console.print(
        f"ledger: spent {usd(ledger.cost_usd)}, of it {usd(ledger.stages['small'].discarded_usd)} on drafts that were "
        f"deferred; the large model alone: {usd(ledger.baseline_usd)}"
        + (" (part estimated)" if ledger.baseline_is_estimate else "")
    )
    if shown.estimated:
        console.print(ESTIMATES)
    if not no_picture:
        console.print(f"picture: {picture}" if picture else f"no picture: {why}", markup=False, soft_wrap=True)


def _draw(shown: "DemoResult", path: Path, title: str) -> tuple[Path | None, str]:
    """The picture's path; or None, and why there is none."""
    from corea.report.frontiers import evaluation_frontier
    from corea.report.plots import save

    note = ESTIMATES if shown.estimated else ""
    try:
        return save(evaluation_frontier(shown.outcomes, shown.rows, title=title, note=note), path), ""
    except ConfigError as error:  # a missing extra
        return None, str(error)
    except OSError as error:
        return None, f"{path} cannot be written ({error.strerror}); give --out elsewhere"


def _recorded() -> tuple[Any, list[Question], str]:
    from corea.build import build
    from corea.config import load_config
    from corea.datasets.local import RecordedQuestions
    from corea.demo import RECORDED_CONFIG

    built = build(load_config(RECORDED_CONFIG))
    asked = RecordedQuestions().load("test")
    return built.cascade, asked, "Recorded outputs: Qwen2.5-Math-1.5B deferring to gpt-4o-mini on GSM8K"


def _bundled(count: int) -> tuple[Any, list[Question], str]:
    from corea.build import build, bundled_config
    from corea.demo import bundled_questions

    built = build(bundled_config())
    asked = bundled_questions("test", count)
    return built.cascade, asked, "The bundled pair, live: two tiny models on generated problems"


def _one(console: Any, question: Question, trace: Trace) -> None:
    console.print(question.text, markup=False)
    for step in trace.steps:
        sure = (
            f", confidence {step.confidence.value:.2f}" if step.confidence and step.confidence.value is not None else ""
        )
        decision = step.decision if step.confidence else None
        verb = f" -> {decision.value}" if decision else ""
        style = {Decision.KEEP: "green", Decision.DEFER: "yellow"}.get(decision) if decision else None
        console.print(f"  {step.stage}: {step.answer}{sure}{verb}", markup=False, highlight=False, style=style)
    right = "right" if trace.answer == question.reference else f"wrong, {question.reference} is right"
    console.print(f"  {right} · cost {usd(trace.cost_usd)}\n", markup=False, highlight=False)


def _count(bars: ProgressBars, total: int, done: "Counter[str]", phase: str, trace: Trace) -> None:
    del trace
    done[phase] += 1
    bars.show({"small": "small alone", "large": "large alone"}.get(phase, phase), done[phase], total)
