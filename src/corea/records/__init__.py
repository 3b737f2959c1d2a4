"""Records: N questions answered by S models, from the recording to the report.

In the order in which an answer meets them:

- `answer`: one answer, recorded or graded from the trace of a run.
- `read`: one reader for recorded rows, runs of `corea run`, and live answers.
- `table`: `OutcomeTable`, the record that calibration and evaluation share.
"""
