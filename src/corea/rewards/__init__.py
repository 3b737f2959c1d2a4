"""What a rollout is paid for. A reward sees one whole group: the G rollouts of one question.

`correctness` and `format` are paid whatever the recipe; the name of a recipe says how the stated
confidence is paid.
"""

REWARDS = {
    "correctness": "corea.rewards.correctness:Correctness",
    "format": "corea.rewards.format:FormatReward",
    # by the recipe's name
    "rlcc": "corea.rewards.calibration:rlcc",
    "brier": "corea.rewards.calibration:brier",
    "rlvr": "corea.rewards.calibration:NoConfidenceReward",
    # by distance and estimate
    "l1-group": "corea.rewards.calibration:l1_group",
    "l2-group": "corea.rewards.calibration:l2_group",
    "kl-group": "corea.rewards.calibration:kl_group",
    "l1-sample": "corea.rewards.calibration:l1_sample",
    "l2-sample": "corea.rewards.calibration:l2_sample",
    "kl-sample": "corea.rewards.calibration:kl_sample",
}
