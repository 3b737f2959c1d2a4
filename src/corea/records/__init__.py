"""Records: N questions answered by S models, from the recording to the report.

In the order in which an answer meets them:

- `grade`: labelled questions, and verdicts on the answers of a run.
- `read`: one reader for recorded rows, runs of `corea run`, and live answers.
- `table`: `OutcomeTable`, the record that calibration and evaluation share.
"""
