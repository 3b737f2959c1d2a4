"""The batch run: a file or pipe of questions in, answers out, resumable and within a budget.

In the order in which a question meets them: `row_checks` (the rows of a source, checked and as a stream), `runner`
(asks them), `budget` (reserves worst cases), `journal` (survives kills) with `answer_settings` (which must not change),
`shortcomings` and `summary` (counts and costs), `output` (the file of answers); `shutdown` stops a run.
"""
