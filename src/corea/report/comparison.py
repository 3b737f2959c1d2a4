"""A comparison as table cells, the same for the terminal, Markdown and the page."""

from collections.abc import Sequence

from corea.evaluate.compare import ComparisonRow, SignalComparison
from corea.evaluate.figures import FiguresRow
from corea.metrics import Interval
from corea.report.calibration import TableRow

HEAD = (
    "signal", "threshold", "tau", "right, %", "USD / 1,000", "to LLM, %", "points lost", "saved, %", "p right",
    "p cost",
)  # fmt: skip
SIGNAL_HEAD = ("signal", "values", "none stated", "distinct", "AUROC", "ECE", "Brier", "AURC")


def explanations(found: SignalComparison) -> list[str]:
    """How the tables are to be read."""
    small, large = found.models
    return [
        f"{small} deferring to {large}: {found.n_fit:,} questions choose thresholds, {found.n_test:,} others judge "
        "them, and every figure is of the latter.",
        f"Thresholds are for at most {100 * found.settings.max_drop:g} points below the large model. 'cheapest': "
        "the cheapest that keeps to it on the questions it is chosen on; 'published rule': the large model's own "
        f"accuracy; 'certified': with a guarantee at {100 * (1 - found.settings.delta):g} %.",
        'In brackets: 95 % intervals, given the thresholds. "(over)": more is lost than was aimed at.',
        "p: paired tests against the first row (McNemar's exact test of the answers, sign-flip permutation test of the "
        "cost), not corrected for the number of rows.",
    ]


def comparison_rows(found: SignalComparison) -> list[TableRow]:
    """Every signal and threshold, then the baselines."""
    rows = [_row(row, found.settings.max_drop, "" if i else "ours") for i, row in enumerate(found.rows)]
    return rows + [TableRow((each.name, "", "", *_figures(each), "", ""), "bound") for each in found.baselines]


def _row(row: ComparisonRow, max_drop: float, kind: str) -> TableRow:
    tau = "" if row.tau is None else f"{row.tau:.4g}"
    if row.figures is None:
        return TableRow((row.signal, row.chooser, f"not computed: {row.reason}", *[""] * (len(HEAD) - 3)), "absent")
    cells = _figures(row.figures, max_drop)
    return TableRow((row.signal, row.chooser, tau, *cells, _p_value(row.p_accuracy), _p_value(row.p_cost)), kind)


def _figures(row: FiguresRow, max_drop: float | None = None) -> tuple[str, ...]:
    over = " (over)" if max_drop is not None and row.drop.value > max_drop else ""
    return (
        _interval(row.accuracy, 100, ".1f"),
        _interval(row.cost_usd, 1000, ".4g"),
        _interval(row.llm_share, 100, ".1f"),
        _interval(row.drop, 100, "+.1f") + over,
        _interval(row.saving, 100, ".1f"),
    )


def _interval(found: Interval, scale: float, how: str) -> str:
    value, low, high = (f"{scale * each:{how}}" for each in (found.value, found.low, found.high))
    return value if low == high else f"{value} [{low}, {high}]"


def _p_value(p: float | None) -> str:
    return "" if p is None else "< .001" if p < 0.001 else f"{p:.3f}"


def signal_rows(found: SignalComparison) -> list[TableRow]:
    """The quality of each signal on the test split."""
    rows: list[TableRow] = []
    for name, report in found.signals.items():
        q = report.quality
        others = [f"{each:.3f}" for each in (q.ece, q.brier, q.aurc)]
        rows.append(TableRow((name, f"{q.n:,}", f"{q.unstated:,}", f"{q.distinct:,}", q.auroc_words, *others)))
    return rows


def markdown(found: SignalComparison) -> str:
    """The whole comparison as Markdown."""
    lines = [f"# {' deferring to '.join(found.models)}", "", *(f"- {line}" for line in explanations(found)), ""]
    lines += [*_markdown_table(HEAD, comparison_rows(found)), "", *_markdown_table(SIGNAL_HEAD, signal_rows(found))]
    lines += ["", *(f"- {note}" for note in found.notes)] if found.notes else []
    return "\n".join(lines) + "\n"


def _markdown_table(head: Sequence[str], rows: Sequence[TableRow]) -> list[str]:
    cells = [tuple(head), ("---",) * len(head), *(row.cells for row in rows)]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in cells]
