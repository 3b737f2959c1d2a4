"""The report: one HTML page that needs nothing else, no script and no file from elsewhere."""

import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from corea.evaluate.compare import pictures
from corea.evaluate.compare.text import (
    HEAD,
    TESTED,
    bound,
    cells,
    checks,
    explanations,
    heading,
    provenance_lines,
    saved_head,
)

Json = Mapping[str, Any]
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1480px; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { margin-top: 2.6rem; border-bottom: 1px solid #bbb } h3 { margin-top: 1.6rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: 12px; white-space: nowrap }
th { white-space: normal }
th, td { padding: .2rem .45rem; text-align: right; vertical-align: top; border-bottom: 1px solid #ddd }
th:first-child, td:first-child { text-align: left } th { border-bottom: 2px solid #222 }
tr.ours { font-weight: bold; background: #eee } tr.bound { font-style: italic }
tr.absent td { color: #555; text-align: left; white-space: normal }
td small { color: #555; font-weight: normal }
svg { max-width: 100%; height: auto }
details { margin: .4rem 0 } summary { cursor: pointer }
pre { white-space: pre-wrap; background: #f4f4f4; padding: .6rem; font-size: 12px; margin: .3rem 0 }
.box { border: 1px solid #888; padding: .4rem 1rem; font-size: 13px } .box dt { font-weight: bold }
.box dd { margin: 0 0 .3rem 1rem; overflow-wrap: anywhere }
"""


def page(results: Json) -> str:
    """The whole page."""
    body = [f"<h1>{escape(results['name'])}</h1>", _list((*explanations(results), *results["notes"]))]
    places = [(_anchor(d), d["dataset"]) for d in results["datasets"]] + [("provenance", "provenance")]
    body.append("<p>" + " · ".join(f'<a href="#{at}">{escape(name)}</a>' for at, name in places) + "</p>")
    for dataset in results["datasets"]:
        body += _dataset(dataset, results)
    body += ['<h2 id="provenance">Provenance</h2>', _box(results)]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(results['name'])}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _anchor(dataset: Json) -> str:
    return "data-" + "-".join(re.findall(r"\w+", dataset["dataset"]))


def _dataset(dataset: Json, results: Json) -> list[str]:
    parts = [
        f'<h2 id="{_anchor(dataset)}">{escape(heading(dataset).lstrip("# "))}</h2>',
        pictures.frontier(dataset, results),
        pictures.savings(dataset, results),
        f'<div class="wide">{_table(dataset, results)}</div>',
    ]
    parts += ["<h3>Reliability, and how often each confidence comes</h3>", pictures.reliability(dataset, results)]
    parts += [f"<h3>By the paper's rule of thumb: tau = the LLM's pass@1</h3>{_rules(dataset)}", _seeds(dataset)]
    parts += ["<h3>Where each method fails</h3>", *_examples(dataset)]
    parts += ["<h3>Checked and spent</h3>", _list(checks(dataset))]
    return parts


def _table(dataset: Json, results: Json) -> str:
    drops = results["max_drops"]
    saved = [saved_head(d) for d in drops]
    head = "".join(f"<th>{escape(h)}</th>" for h in (*HEAD, *saved, *TESTED))
    rows: list[str] = []
    columns = len(HEAD) - 1 + len(saved) + len(TESTED)
    for cell in dataset["cells"]:
        if cell["not_run"]:
            why = f'<td colspan="{columns}">cannot be computed: {escape(cell["not_run"])}</td>'
            rows.append(f'<tr class="absent"><td>{escape(cell["method"])}</td>{why}</tr>')
            continue
        kind = ' class="ours"' if cell["method"] == results["reference"] else ""
        rows.append(f"<tr{kind}>{_cells(c.strip('*') for c in cells(cell, results))}</tr>")
    rows += [f'<tr class="bound">{_cells(c.strip("_") for c in bound(b, len(drops)))}</tr>' for b in dataset["bounds"]]
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _cells(texts: Iterable[str]) -> str:
    return "".join(f"<td>{_small(text)}</td>" for text in texts)


def _small(text: str) -> str:
    """What follows the value in small print: its interval on one line, drop or p on the next."""
    value, mark, rest = escape(text).partition(" [")
    inside, _, further = rest.partition("], ")
    if not mark:
        return value
    return (
        f"{value}<br><small>[{inside}]<br>{further}</small>"
        if further
        else f"{value}<br><small>[{inside.rstrip(']')}]</small>"
    )


def _rules(dataset: Json) -> str:
    rows: list[str] = []
    for cell in dataset["cells"]:
        if found := cell["rule"]:
            values = (
                f"{100 * found['accuracy']['value']:.1f}",
                f"{100 * found['drop']['value']:+.1f}",
                f"{100 * found['llm_share']['value']:.1f}",
                f"{100 * found['saving']['value']:.1f} %",
            )
            rows.append(f"<tr><td>{escape(cell['method'])}</td>{_cells(values)}</tr>")
    head = "<tr><th>method</th><th>pass@1</th><th>points lost</th><th>LLM%</th><th>saved</th></tr>"
    return f'<div class="wide"><table><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table></div>'


def _seeds(dataset: Json) -> str:
    shown = [c for c in dataset["cells"] if c["per_seed"] and c["score"]]
    if not shown:
        return ""
    rows: list[str] = []
    for cell in shown:
        each = list(cell["per_seed"].values())
        spread = [_spread([s[what] for s in each]) for what in ("accuracy", "llm_share", "saving", "drop")]
        spread += [_spread([s[what] for s in each], scale=1, digits=3) for what in ("ece", "auroc")]
        rows.append(f"<tr><td>{escape(cell['method'])}</td><td>{cell['trained']}</td>{_cells(spread)}</tr>")
    names = ("method", "training runs", "pass@1", "LLM%", "saved, %", "points lost", "ECE", "AUROC")
    head = "<tr>" + "".join(f"<th>{name}</th>" for name in names) + "</tr>"
    count = len(shown[0]["per_seed"])
    return (
        f"<h3>Each of the {count} seeds alone: lowest to highest</h3>"
        f'<div class="wide"><table><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _spread(values: list[float | None], *, scale: float = 100, digits: int = 1) -> str:
    known = [scale * v for v in values if v is not None]
    return f"{min(known):.{digits}f} to {max(known):.{digits}f}" if known else ""


def _examples(dataset: Json) -> list[str]:
    if not dataset["publishable"]:
        return ["<p>The authors of this dataset ask that its text not be published; no example is shown.</p>"]
    parts: list[str] = []
    for method, found in dataset["examples"].items():
        if not found:
            continue
        shown = "".join(_example(e) for e in found)
        parts.append(
            f"<details><summary>{escape(method)}: {len(found)} of its surest mistakes</summary>{shown}</details>"
        )
    return parts


def _example(found: Json) -> str:
    score = "" if found["score"] is None else f", score {found['score']:.2f}"
    return (
        f"<p><b>{escape(str(found['id']))}</b>{escape(score)}: said {escape(str(found['said']))}, right is "
        f"{escape(str(found['reference']))}, the LLM said {escape(str(found['llm_said']))}</p>"
        f"<pre>{escape(found['question'])}</pre><pre>{escape(found['text'])}</pre>"
    )


def _list(lines: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def _box(results: Json) -> str:
    lines = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in provenance_lines(results))
    config = f"<details><summary>configuration</summary><pre>{escape(results['provenance']['config'])}</pre></details>"
    return f'<div class="box"><dl>{lines}</dl>{config}</div>'
