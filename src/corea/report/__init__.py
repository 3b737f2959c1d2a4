"""Reports for people: what a calibration, an evaluation or a comparison found, in a terminal and as HTML pages.

In reading order: `terminal.py` shows progress bars; `calibration.py` puts a calibration into lines, words and table
cells; `plots.py` draws the frontier and the reliability diagram; `html.py` fills the pages of `templates/`, each one
file without scripts and without anything from elsewhere.
"""
