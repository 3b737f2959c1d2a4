"""The batch run: a file or pipe of questions in, answers out, resumable and within a budget.

In the order in which a question meets them: `source` (files and pipes), `byte_streams` (their bytes as UTF-8),
`readers` (rows of JSON, CSV and Parquet), `rows` (their checks and their stream), `runner` (asks them), `budget`
(reserves worst cases), `journal` (survives kills) with `answer_settings` (which must not change), `shortcomings` and
`summary` (counts and costs), `output` (the file of answers); `shutdown` stops a run.
"""
