"""Records `corea demo` as an SVG for the README: its own output, in its own colours, line by line.

    python docs/recording.py        writes docs/images/demo.svg

The lines appear in the order of the run, with pauses of at most `PAUSE` seconds; a viewer that does not animate shows
all of them.
"""

import os
import subprocess
import sys
import time
from html import escape
from pathlib import Path

from rich.text import Text

OUT = Path(__file__).parent / "images" / "demo.svg"
COLUMNS, PAUSE, LINE, TOP = 80, 0.7, 18, 44
COLOURS = {"color(2)": "#7ec699", "color(3)": "#e6c07b", "color(5)": "#c397d8", "color(6)": "#70c0b1"}  # of ANSI
FONT = '13px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace'
HEAD = f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 700 HEIGHT" width="700" height="HEIGHT">
<style>text {{ font: {FONT}; fill: #d7dae0; white-space: pre }}
.b {{ font-weight: bold }}
.l {{ animation: show 0.01s both }}
@keyframes show {{ from {{ opacity: 0 }} to {{ opacity: 1 }} }}
@media (prefers-reduced-motion: reduce) {{ .l {{ animation: none }} }}</style>
<rect width="700" height="HEIGHT" rx="8" fill="#1d2026"/>
<circle cx="18" cy="16" r="5" fill="#e06c75"/>
<circle cx="36" cy="16" r="5" fill="#e6c07b"/>
<circle cx="54" cy="16" r="5" fill="#7ec699"/>
"""


def recorded() -> list[tuple[float, str]]:
    """The lines of a run, each with its second."""
    command = [sys.executable, "-m", "corea.cli.main", "demo", "--no-picture"]
    environment = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(COLUMNS), "PYTHONUNBUFFERED": "1", "TERM": "xterm"}
    environment.pop("NO_COLOR", None)
    lines, began = [(0.0, "\x1b[1m$ make demo\x1b[0m")], time.monotonic()
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as run:
        assert run.stdout is not None
        lines += [(time.monotonic() - began, line.rstrip("\n")) for line in run.stdout]
    if run.returncode:
        sys.exit(f"corea demo ended with {run.returncode}")
    return lines


def drawn(lines: list[tuple[float, str]]) -> str:
    """The SVG of these lines."""
    parts, at, last = [HEAD.replace("HEIGHT", str(TOP + LINE * len(lines) + 6))], 0.0, 0.0
    for row, (second, line) in enumerate(lines):
        at, last = at + min(max(second - last, 0.08), PAUSE), second
        text, spans = Text.from_ansi(line), ""
        for piece in text.divide(sorted({edge for span in text.spans for edge in (span.start, span.end)})):
            style = piece.spans[0].style if piece.spans else ""
            names = str(style).split()
            colour = next((COLOURS[name] for name in names if name in COLOURS), None)
            marks = (f' fill="{colour}"' if colour else "") + (' class="b"' if "bold" in names else "")
            spans += f"<tspan{marks}>{escape(piece.plain)}</tspan>" if marks else escape(piece.plain)
        if text.plain.strip():
            parts.append(f'<text class="l" style="animation-delay:{at:.2f}s" x="16" y="{TOP + LINE * row}" '
                         f'xml:space="preserve">{spans}</text>\n')  # fmt: skip
    return "".join([*parts, "</svg>\n"])


if __name__ == "__main__":
    OUT.write_text(drawn(recorded()), encoding="utf-8")
    print(f"{OUT}: {OUT.stat().st_size:,} bytes")
