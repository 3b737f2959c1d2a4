"""Reports for people: what a calibration, an evaluation or a comparison found, in a terminal and as HTML pages.

In reading order: `terminal.py` shows progress bars; `calibration.py` and `comparison.py` put what was found into lines,
words and table cells; `plots.py` draws accuracy against cost and reliability, `frontiers.py` the former for each
kind of result; `html.py` fills the pages of `templates/`, each one file without scripts and without external requests.
"""
