"""`corea demo`: a whole cascade on the screen, with no key and no GPU."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corea.cli.console import percent, print_json, usd
from corea.cli.options import JsonOption
from corea.errors import ConfigError
from corea.evaluate.table import Row
from corea.models import BUNDLED
from corea.types import Question, Trace

if TYPE_CHECKING:
    from corea.evaluate.demo import Shown

ESTIMATES = (
    "Token counts were not recorded: they are estimated from the text (4 characters a token), and so is every cost."
)


def demo(
    recorded: Annotated[
        bool, typer.Option("--recorded", help="Replay recorded outputs of real models instead of the bundled pair.")
    ] = False,
    questions: Annotated[int, typer.Option(min=1, max=2000, help="How many questions to ask in batch.")] = 400,
    out: Annotated[Path, typer.Option(help="Folder for the picture.")] = Path("out"),
    json: JsonOption = False,
) -> None:
    """Show a cascade at work: questions one by one, then in batch, then a table and picture of accuracy and cost."""
    from rich.console import Console

    from corea.evaluate.demo import Shown, show

    console = Console(quiet=json)
    recorded = recorded or not BUNDLED.exists()
    cascade, asked, title = _recorded() if recorded else _bundled(questions)
    console.print(f"[bold]{title}[/]\n")

    async def whole() -> Shown:
        try:
            for question in [] if recorded else asked[:6]:
                _one(console, question, await cascade.ask(question))
            with _progress(console) as told:
                return await show(cascade, asked, max_drop=0.02 if recorded else None, on_trace=told)
        finally:
            await cascade.close()

    shown = asyncio.run(whole())
    picture, no_picture = _draw(shown, out / ("recorded.png" if recorded else "demo.png"), title)
    if json:
        print_json({**shown.as_dict(), "picture": picture})
        return
    taus = " and ".join(f"{tau:.2f}" for tau in shown.taus)
    console.print(f"{len(shown.pair)} questions; threshold {taus} chosen {shown.chosen_on}\n")
    console.print(table(shown.table))
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
    console.print(f"picture: {picture}" if picture else f"no picture: {no_picture}", markup=False, soft_wrap=True)


def _draw(shown: "Shown", path: Path, title: str) -> tuple[Path | None, str]:
    """The picture's path; or None, and why there is none."""
    from corea.evaluate.plots import draw_frontier

    note = ESTIMATES if shown.estimated else ""
    try:
        return draw_frontier(shown.pair, shown.table, path, title=title, note=note), ""
    except ConfigError as error:  # a missing extra
        return None, str(error)
    except OSError as error:
        return None, f"{path} cannot be written ({error.strerror}); give --out elsewhere"


def table(found: list[Row]) -> Any:
    """The table for the terminal."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False)
    made.add_column("", min_width=max(len(row.name) for row in found))  # legible in the narrowest window, too
    for name in ("right", "(95 %)", "USD/1,000", "to LLM", "saved (95 %)"):  # 80 columns in all
        made.add_column(name, justify="right")
    for row in found:
        saved = "" if row.name in ("large alone", "small alone") else percent(row.saving)
        if row.saving_low is not None:
            saved += f" ({100 * row.saving_low:.0f} to {100 * (row.saving_high or 0):.0f})"
        interval = f"{100 * row.low:.1f}-{100 * row.high:.1f}"
        cells = (percent(row.accuracy), interval, f"{1000 * row.cost_usd:.4f}", percent(row.llm_share), saved)
        made.add_row(row.name, *cells, style="bold" if row.name.startswith("cascade") else None)
    return made


def _recorded() -> tuple[Any, list[Question], str]:
    from corea.build import build
    from corea.config import load_config
    from corea.datasets.shipped import RecordedQuestions
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
        verb = f" -> {step.decision.value}" if step.confidence and step.decision else ""
        console.print(f"  {step.stage}: {step.answer}{sure}{verb}", markup=False, highlight=False)
    right = "right" if trace.answer == question.reference else f"wrong, {question.reference} is right"
    console.print(f"  {right} · cost {usd(trace.cost_usd)}\n", markup=False, highlight=False)


def _progress(console: Any) -> Any:
    return _Bars(console)


class _Bars:
    """One bar for each pass over the questions."""

    def __init__(self, console: Any) -> None:
        from rich.progress import Progress

        self.bars = Progress(console=console, disable=console.quiet or not console.is_terminal)
        self.tasks: dict[str, Any] = {}

    def __enter__(self) -> "_Bars":
        self.bars.start()
        return self

    def __exit__(self, *ended: object) -> None:
        self.bars.stop()

    def __call__(self, what: str, trace: Trace) -> None:
        if what not in self.tasks:
            self.tasks[what] = self.bars.add_task({"small": "small alone", "large": "large alone"}.get(what, what))
        self.bars.advance(self.tasks[what])
