"""Training: settings, data (questions, grader, prompt), rlcc (the recipe), trainer (TRL's, extended) over group
(rewards), advantages, confidence_credit and rollout_metrics; model_card; export to the embedded form.
"""
