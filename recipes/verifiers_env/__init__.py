"""RLCC as an environment of verifiers; see `corea_rlcc.py`."""
