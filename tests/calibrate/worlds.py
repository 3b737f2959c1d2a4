"""Simulated pairs of models with known truth."""

from corea.calibrate.worlds import world

__all__ = ["world"]
