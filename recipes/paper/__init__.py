"""Studies around the paper's comparison that are not a product: which pairs carry a cascade, and early deferral.

`pair_map.py` measures a pair by its signal and its price ratio; `early_deferral.py` stops the small model while it
writes. `experiments/compare` runs them and stores what the documentation quotes.
"""
