"""The training of the bundled pair: problems, tokenizer, cold start, reinforcement learning, and the packed questions.

In reading order: `problems/` generates questions of graded difficulty and `dataset.py` gives them to training;
`format.py`, `tokenizer.py`, `optimizer.py`, `cold_start.py` and `net2net.py` make a model that answers and states a
confidence; `rollouts.py`, `length_bucketing.py`, `trainer.py` and `rlcc.py` teach it what to state; `answering.py` and
`scripts/` measure and package it; `pack_questions.py` writes the questions that ship with the package. `__main__.py`
has the commands.
"""
