"""The guarantee, tried out: pairs of models with known truth, other ways to choose a threshold, and few labels.

In reading order: `simulated.py` makes the pairs; `drop_tests.py` has looser tests, and `threshold_methods.py` compares
the saving of each way to choose;
`few_label_trials.py` tries calibration from few labels. `__main__.py` is the command; the
experiments that the documentation quotes are `experiments/calibrate`.
"""
