"""The audit of a running gateway: drawn questions, labels, and the detectors that watch both.

`traffic` finds what a completed request shows and compares its answers; `auditor` draws, asks the last stage within the
budget, and passes on what it found; `watch` runs the detectors and reports alarms; `feedback` takes labels; `store` has
all the SQL; `evidence` reads it for people, `sample` for calibrations.
"""
