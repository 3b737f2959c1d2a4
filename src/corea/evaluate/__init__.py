"""Evaluation: accuracy and cost of a cascade, beside both models alone and the baselines.

In the order in which a question meets them: `collect.py` asks each stage alone and makes a table of the outcomes;
`thresholds.py` chooses thresholds without a guarantee; `figures.py` gives accuracy, cost, drop and saving with their
intervals; `measure.py` judges a run or recording (`corea eval`), `apply.py` a calibration on new rows, `promise.py` its
guarantee there; `compare.py` signals and thresholds on one's own rows; `demo.py` is the whole on two models.
"""
