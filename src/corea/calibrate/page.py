"""The calibration report as one HTML file that needs nothing else: no script, no font, no picture from elsewhere."""

import io
from collections.abc import Sequence
from html import escape
from typing import Any

from corea.calibrate.artefact import Calibration
from corea.calibrate.report import COSTS, NAMES, baselines, labels_words, signal_words, threshold_words, violations
from corea.errors import ConfigError
from corea.registry import install_hint

INK, GREY, BLUE, GREEN, ORANGE, GOLD = "#1c2733", "#8a95a0", "#2a5d8f", "#2a7d4f", "#b3541e", "#b8860b"
STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2733}
h1{font-size:1.5rem;margin-bottom:.3rem}h2{font-size:1.15rem;margin:2.2rem 0 .6rem}p{margin:.5rem 0}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;width:100%;font-size:.95rem}
td,th{padding:.3rem .6rem;border-bottom:1px solid #d8dee4;text-align:right;white-space:nowrap}
th{color:#57626d;font-weight:600}td:first-child,th:first-child{text-align:left;white-space:normal}
tr.warn td{background:#fcf1ea}tr.ours td{font-weight:600;background:#eef7f1}
.verdict{font-size:1.25rem;padding:.9rem 1.1rem;border-left:.4rem solid #2a7d4f;background:#eef7f1}
.infeasible{border-color:#b3541e;background:#fcf1ea}.warning{padding:.6rem 1rem;background:#fcf1ea}
.two{display:grid;grid-template-columns:1fr 1fr;gap:2rem;align-items:start}
@media(max-width:45rem){.two{grid-template-columns:1fr}}
svg{max-width:100%;height:auto}small,.note{color:#57626d;font-size:.9rem}ul{padding-left:1.2rem}"""


def html(found: Calibration) -> str:
    """One self-contained page.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    binding, guarantee = found.binding, found.guarantee
    chain = [str(part["model"]) for part in found.tiers] or [str(binding["slm"])]
    title = f"Calibration: {' deferring to '.join([*chain, str(binding['llm'])])}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p class='verdict{'' if found.certified else ' infeasible'}'>{escape(found.sentence)}</p>",
        _promise(found),
        _facts(found),
        _warning(found),
        "".join(f"<li>{escape(each)}</li>" for each in found.advice).join(("<h2>What next</h2><ul>", "</ul>"))
        if found.advice else "",
        *_pictures(found),
        "<h2>On the rows of the test</h2>", f"<div class='two'>{_shares(found)}{_money(found)}</div>",
        _beside(found), _categories(found),
    ]  # fmt: skip
    if notes := found.data["notes"]:
        parts.append("<h2>Notes</h2><ul>" + "".join(f"<li>{escape(note)}</li>" for note in notes) + "</ul>")
    parts.append(
        f"<p><small>corea {found.corea_version} · {escape(found.created)} · data {escape(found.data['digest'])} · "
        f"{escape(guarantee['test'])}</small></p>"
    )
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
        f"<title>{escape(title)}</title><style>{STYLE}</style><body>{''.join(parts)}</body></html>\n"
    )


def _promise(found: Calibration) -> str:
    asked, holds = (escape(str(found.guarantee[name])) for name in ("promise", "holds_for"))
    if found.certified:
        return f"<p>Promise: {asked}. It holds for {holds}.</p>"
    return f"<p>Asked for: {asked}. No threshold that saves anything is certified for that.</p>"


def _facts(found: Calibration) -> str:
    guarantee = found.guarantee
    said = [f"{guarantee['n_fit']:,} questions fitted the map, {guarantee['n_test']:,} others tested it"]
    if guarantee.get("n_gold") is not None:
        said.append(f"labels: {labels_words(guarantee)}")
    said += [f"threshold: {words}" for words in threshold_words(found)]
    said += [f"signal: {words}" for words in signal_words(found)]
    return "<ul>" + "".join(f"<li>{escape(each)}</li>" for each in said) + "</ul>"


def _warning(found: Calibration) -> str:
    if not (names := violations(found)):
        return ""
    advice = "" if found.tiers else " Calibrate with <code>&#8209;&#8209;by&#8209;group</code> for a promise to each."
    return (
        "<p class='warning'>The promise is for all questions together; these slices lose more than it allows: "
        f"{escape(', '.join(names))}.{advice}</p>"
    )


# --- tables ---------------------------------------------------------------------------------------------------------


def _table(head: Sequence[str], rows: Sequence[tuple[Sequence[str], str]]) -> str:
    """A table of text cells; each row with its class, "" for none."""
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(
        f"<tr{f' class={kind!r}' if kind else ''}>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
        for cells, kind in rows
    )
    return f"<table><tr>{top}</tr>{body}</table>"


def _shares(found: Calibration) -> str:
    rows: list[tuple[Sequence[str], str]] = []
    for name, title in NAMES.items():
        if name in found.expected:
            e, unit = found.expected[name], "" if name == "drop" else " %"
            value = f"{100 * e['value']:.1f}{unit or ' points'}"
            rows.append(((title, value, f"{100 * e['low']:.1f} to {100 * e['high']:.1f}"), _ours(name)))
    return _table(("", "value", "95 %"), rows)


def _money(found: Calibration) -> str:
    rows: list[tuple[Sequence[str], str]] = []
    for name, title in COSTS.items():
        if name in found.expected:
            e = found.expected[name]
            interval = f"{1000 * e['low']:.3g} to {1000 * e['high']:.3g}"
            rows.append(((title, f"{1000 * e['value']:.3g}", interval), _ours(name)))
    return _table(("USD per 1,000 questions", "value", "95 %"), rows)


def _beside(found: Calibration) -> str:
    """What a cascade is held against."""
    if not found.report:
        return ""
    e = found.expected
    rows = [(name, each.get("cost_usd"), each["accuracy"]) for name, each, _ in baselines(found)]
    ours = ("this cascade", e["mean_cost_usd"]["value"], e["pass_at_1"]["value"])
    cells: list[tuple[Sequence[str], str]] = [
        ((name, "" if cost is None else f"{1000 * cost:.3g}", f"{100 * accuracy:.1f}"), kind)
        for (name, cost, accuracy), kind in ((ours, "ours"), *((row, "") for row in rows))
    ]
    return "<h2>Beside it</h2>" + _table(("", "USD per 1,000 questions", "right answers, %"), cells)


def _ours(name: str) -> str:
    return "ours" if name in ("pass_at_1", "saving", "mean_cost_usd") else ""


def _categories(found: Calibration) -> str:
    rows: list[tuple[Sequence[str], str]] = []
    bad = violations(found)
    for row in found.report.get("categories", ()):
        name = row["category"] + (" (small model not asked)" if row["skipped"] else "")
        cells = [f"{100 * row[k]:.1f}" for k in ("pass_at_1", "llm_pass_at_1", "slm_pass_at_1", "llm_share", "saving")]
        drop = f"{100 * row['drop']:.1f} ({100 * row['drop_low']:.1f} to {100 * row['drop_high']:.1f})"
        rows.append(((name, f"{row['n']:,}", *cells, drop), "warn" if row["category"] in bad else ""))
    if not rows:
        return ""
    head = ("slice", "n", "cascade %", "large %", "small %", "deferred %", "saving %", "drop, points (95 %)")
    return f"<h2>By {escape(str(found.data.get('group', 'category')))}</h2>{_table(head, rows)}"


# --- pictures -------------------------------------------------------------------------------------------------------


def _pictures(found: Calibration) -> list[str]:
    if not found.report:
        return []
    before, after = found.report["ece_before"], found.report["ece_after"]
    whose = f" of {escape(str(found.tiers[0]['model']))}" if found.tiers else ""
    gaps = "" if before is None or after is None else f" ECE {before:.3f} as stated, {after:.3f} after the map."
    return [
        "<h2>Accuracy against cost</h2>", _frontier(found),
        f"<h2>Reliability{whose}, before and after the map</h2>", _reliability(found),
        "<p class='note'>Each bar is the share of right answers among those with about that confidence; a calibrated "
        f"signal ends on the line. Below, how many answers there are.{gaps}</p>",
    ]  # fmt: skip


def _figure(width: float, height: float) -> Any:
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ConfigError(f"report: needs matplotlib, which is not installed; {install_hint('matplotlib')}") from error
    with rc_context({"svg.fonttype": "path", "font.size": 10}):
        return Figure(figsize=(width, height), layout="constrained")


def _tidy(axes: Any) -> Any:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK)
    axes.grid(True, color="#e8ecf0", linewidth=0.8)
    axes.set_axisbelow(True)
    return axes


def _frontier(found: Calibration) -> str:
    figure = _figure(9, 4.6)
    axes = _tidy(figure.add_subplot())
    report, expected = found.report, found.expected
    curve, several = report["frontier"], len(found.tiers) > 1
    label = f"{found.tiers[0]['model']} alone before the last" if several else "every threshold of this score"
    axes.plot(_usd(curve["cost_usd"]), [100 * a for a in curve["accuracy"]], color=BLUE, lw=1.8, label=label)
    ends = [(expected[f"{p}mean_cost_usd"]["value"], expected[f"{p}pass_at_1"]["value"]) for p in ("slm_", "llm_")]
    axes.plot(_usd([c for c, _ in ends]), [100 * a for _, a in ends], "--", color=GREY, lw=1.2, label="random deferral")
    for (cost, accuracy), name, place in zip(ends, ("small alone", "large alone"), ((8, -4), (8, 4)), strict=True):
        axes.plot(1000 * cost, 100 * accuracy, "o", color=INK, ms=6)
        axes.annotate(name, (1000 * cost, 100 * accuracy), textcoords="offset points", xytext=place)
    for name, mark, colour in (("oracle", "*", GOLD), ("published_rule", "X", ORANGE)):
        each, size = report[name], 13 if mark == "*" else 8
        axes.plot(1000 * each["cost_usd"], 100 * each["accuracy"], mark, color=colour, ms=size, ls="none",
                  label=name.replace("_", " "))  # fmt: skip
    if (limit := found.guarantee["goals"].get("max_drop")) is not None:
        floor = 100 * (expected["llm_pass_at_1"]["value"] - limit)
        axes.axhline(
            floor,
            color=GREEN,
            lw=1,
            ls=":",
            label=f"{'promise' if found.certified else 'asked for'}: large model less {100 * limit:g} points",
        )
    if found.certified:
        x, y = expected["mean_cost_usd"], expected["pass_at_1"]
        axes.errorbar(
            1000 * x["value"], 100 * y["value"],
            xerr=[[1000 * (x["value"] - x["low"])], [1000 * (x["high"] - x["value"])]],
            yerr=[[100 * (y["value"] - y["low"])], [100 * (y["high"] - y["value"])]],
            fmt="D", ms=7, color=GREEN, capsize=4, label="chosen, with 95 % intervals",
        )  # fmt: skip
    axes.set(xlabel="USD per 1,000 questions", ylabel="right answers, %")
    axes.margins(x=0.08, y=0.1)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9)
    return _svg(figure)


def _usd(costs: Sequence[float]) -> list[float]:
    return [1000 * cost for cost in costs]


def _reliability(found: Calibration) -> str:
    figure = _figure(9, 4.2)
    grid = figure.add_gridspec(2, 2, height_ratios=(4, 1))
    for column, (name, title) in enumerate(
        (("reliability_before", "as stated"), ("reliability_after", "after the map"))
    ):
        bars = found.report[name]
        x, width = [bar["confidence"] for bar in bars], 0.05
        top, low = _tidy(figure.add_subplot(grid[0, column])), _tidy(figure.add_subplot(grid[1, column]))
        top.bar(x, [bar["accuracy"] for bar in bars], width=width, color=BLUE, alpha=0.85)
        top.plot([0, 1], [0, 1], "--", color=GREY, lw=1.2)
        top.set(xlim=(-0.03, 1.03), ylim=(0, 1), title=title, ylabel="share right" if column == 0 else "")
        low.bar(x, [bar["count"] for bar in bars], width=width, color=GREY)
        low.set(xlim=(-0.03, 1.03), xlabel="confidence", ylabel="answers" if column == 0 else "")
    return _svg(figure)


def _svg(figure: Any) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    return text[text.index("<svg") :]
