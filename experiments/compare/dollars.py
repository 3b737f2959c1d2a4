"""What the certified pairs save in dollars: the pair map's savings times the large model's bill for 100,000 questions.

    python experiments/compare/dollars.py --data FOLDER     (FOLDER holds traces/; or COREA_DATA)

Reads experiments/results/pairs.json and, for the bill, the recorded lengths of the large models' answers at the prices
of pairs.py. Only pairs with two public prices, whose large model is at least 2 points better; the savings are those of
the signals that a cascade measures live, on the half of the questions that was not used for the calibration.
Writes experiments/results/dollars.json and docs/images/dollars.svg; `--only-draw` draws the stored figures.
"""

import argparse
import json
import os
import sys
from html import escape
from pathlib import Path
from typing import Any

from pairs import all_pairs, costs, price_of

from corea.prices import PriceTable
from recipes.paper.provenance import commit

ROOT = Path(__file__).parents[2]
QUESTIONS, SHOWN = 100_000, 0.10
BLUE, INK, GREY, LIGHT = "#0b5fa5", "#222222", "#666666", "#e6e6e6"


def bills(folder: Path) -> dict[tuple[str, str, str], float]:
    """USD of the large model for `QUESTIONS` questions, by data set and both models' names."""
    table, found = PriceTable(), {}
    for dataset, own, other, names in all_pairs(folder):
        rows = [other[key] for key in sorted(own.keys() & other.keys())]
        price, _ = price_of(rows[0]["model"], table)
        found[dataset, *names] = QUESTIONS * float(costs(rows, dataset, price).mean())
    return found


def measured(folder: Path) -> dict[str, Any]:
    stored = json.loads((ROOT / "experiments/results/pairs.json").read_text())
    eligible = [
        pair for pair in stored["pairs"]
        if not pair["assumed_price"] and pair["large_accuracy"] - pair["small_accuracy"] > 0.02
    ]  # fmt: skip
    bill, rows = bills(folder), []
    for pair in eligible:
        if kept := pair["certified_blend"]:
            usd = bill[pair["dataset"], pair["small"], pair["large"]]
            saved = {name: usd * kept["saving"][name] for name in ("value", "low", "high")}
            names = {name: pair[name] for name in ("small", "large", "dataset", "n")}
            rows.append({**names, "large_usd": usd, "saved_usd": saved, **kept})
    rows.sort(key=lambda row: -row["saved_usd"]["value"])
    shown = [row for row in rows if row["saving"]["value"] > SHOWN]
    return {
        "commit": commit(), "pairs_commit": stored["provenance"]["commit"], "questions": QUESTIONS,
        "eligible": len(eligible), "certified": len(rows), "shown": len(shown), "pairs": rows,
    }  # fmt: skip


def draw(found: dict[str, Any]) -> str:
    """An SVG of 700 px: one bar for each pair that saves more than `SHOWN`, with its interval."""
    rows = [row for row in found["pairs"] if row["saving"]["value"] > SHOWN]
    left, width, top, step = 232, 210, 74, 30
    scale = width / max(row["saved_usd"]["high"] for row in rows)
    height = top + step * len(rows) + 62
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 700 {height}" width="700" height="{height}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="13">',
        f'<rect width="700" height="{height}" fill="#ffffff"/>',
        f'<text x="16" y="27" font-size="17" font-weight="bold" fill="{INK}">Saved on {QUESTIONS:,} questions, '
        "and accuracy lost</text>",
        f'<text x="16" y="49" font-size="12" fill="{GREY}">certified at 95 % to lose at most 2 points, on one half of '
        "8,067 MMLU-Pro questions; measured on the other</text>",
    ]
    for index, row in enumerate(rows):
        y, usd = top + step * index, row["saved_usd"]
        middle, end = y + 9, left + scale * usd["value"]
        low, high = (left + scale * usd[name] for name in ("low", "high"))
        parts += [
            f'<text x="{left - 8}" y="{y + 13.5}" text-anchor="end" fill="{INK}">{escape(row["small"])} → '
            f"{escape(row['large'])}</text>",
            f'<rect x="{left}" y="{y}" width="{end - left:.1f}" height="18" fill="{BLUE}"/>',
            f'<path d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} {y + 5}v8M{high:.1f} {y + 5}v8" stroke="{INK}" '
            'fill="none"/>',
            f'<text x="{high + 8:.1f}" y="{y + 13.5}" fill="{INK}"><tspan font-weight="bold">${usd["value"]:,.0f}'
            f"</tspan> of ${row['large_usd']:,.0f} ({100 * row['saving']['value']:.0f} %), "
            f"{_points(row['drop']['value'])}</text>",
        ]
    note = top + step * len(rows) + 16
    small = f'font-size="12" fill="{GREY}"'
    left_out = found["certified"] - found["shown"]
    none = found["eligible"] - found["certified"]
    parts += [
        f'<line x1="{left}" y1="{top - 6}" x2="{left}" y2="{note - 20}" stroke="{GREY}"/>',
        f'<text x="16" y="{note}" {small}>{found["shown"]} of {found["eligible"]} pairs with public '
        f"prices: {left_out} more save {100 * SHOWN:.0f} % or less, and for {none} nothing is certified.</text>",
        f'<text x="16" y="{note + 18}" {small}>Recorded answers, models as they are; prompts counted '
        "as 250 tokens. Lines: 95 % intervals of the saving.</text>",
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _points(drop: float) -> str:
    return f"{abs(100 * drop):.1f} points {'lost' if drop >= 0 else 'gained'}"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, default=os.environ.get("COREA_DATA"))
    options.add_argument("--out", type=Path, default=ROOT / "experiments/results/dollars.json")
    options.add_argument("--picture", type=Path, default=ROOT / "docs/images/dollars.svg")
    options.add_argument("--only-draw", action="store_true")
    chosen = options.parse_args()
    if chosen.only_draw:
        found = json.loads(chosen.out.read_text())
    elif chosen.data is None:
        sys.exit("--data (or COREA_DATA) must name the folder of recorded outputs")
    else:
        found = measured(Path(chosen.data))
        chosen.out.write_text(json.dumps(found, indent=1) + "\n")
    chosen.picture.write_text(draw(found), encoding="utf-8")
    for row in found["pairs"]:
        print(f"{row['small']:16}{row['large']:20}{row['saved_usd']['value']:9.2f} of {row['large_usd']:9.2f} USD")


if __name__ == "__main__":
    main()
