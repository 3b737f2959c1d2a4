"""The parts of a cost beyond the price: estimates of tokens, a log of finished calls, and upper bounds.

Read in this order: `token_estimate` (tokens of a call whose server did not count them), `call_log` (calls that a
cancelled question has already made), `signal_calls` (which models a signal asks), `bounds` (the most a question costs).
"""
