"""Access and spending.

`auth` (principals and admissions), `keys` (API keys), `budgets` (admission and settlement), `budget_holds` (spend
authorised on disk ahead of use), `rate_limit`, `decision_log`, `db_writer` (the writing thread), `database` (the file).
"""
