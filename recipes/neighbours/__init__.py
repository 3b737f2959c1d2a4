"""Neighbours of COREA on the same rows: other cascades and routers, each at its own best, and COREA's ways.

- `problem`: the arrays that every way gets, its choice, and what a choice saves and loses.
- `cascades`, `routers`: the ways, COREA's and published rules; `installed`: packages in environments of their own.
- `measure`: all ways over all splits. `boards`: the file formats of RouterBench and RouterArena.
"""
