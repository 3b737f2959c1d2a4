"""The paper's comparison (28 rows of roles, signals, probes and routers), which pairs carry a cascade, early deferral.

In reading order: `settings.py` is the TOML file, `methods.py` the rows; `splits.py` loads the questions of both splits,
`models.py` opens the models, `collect.py` asks them and `answer_cache.py` stores their answers, `probe.py` their hidden
states; `answers.py` keeps the calibration apart from the evaluation split; `scores.py` and `apply_methods.py` fit and
apply each method, `quality.py` and `comparison_table.py` judge it; `examples.py`, `text.py`, `plots.py` and `page.py`
show it; `session.py` is one comparison from questions to results, with its `provenance.py`. `__main__.py` has the
commands. `pair_map.py` measures a pair by its signal and its price ratio, `early_deferral.py` stops the small model
while it writes; `experiments/compare` runs both and stores what the documentation quotes.
"""
