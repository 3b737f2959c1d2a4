"""Programs that made the bundled pair and the paper's tables, on top of the public API, run from a clone."""
