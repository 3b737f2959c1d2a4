"""What made the bundled pair, and the paper's tables: programs on top of the public API, run from a clone."""
