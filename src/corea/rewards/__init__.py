"""Rewards of rollouts. A reward sees one whole group: the G rollouts of one question.

`correctness` and `format` (outcome) count in every recipe; a recipe's name chooses the reward for the stated confidence
(calibration).
"""

REWARDS = {
    "correctness": "corea.rewards.outcome:Correctness",
    "format": "corea.rewards.outcome:FormatReward",
    # by the recipe's name
    "rlcc": "corea.rewards.calibration:rlcc",
    "brier": "corea.rewards.calibration:brier",
    "rlvr": "corea.rewards.calibration:NoConfidenceReward",
    # by distance and estimate
    "l1-group": "corea.rewards.calibration:l1_group",
    "l2-group": "corea.rewards.calibration:l2_group",
    "l2-hybrid": "corea.rewards.calibration:l2_hybrid",
    "kl-group": "corea.rewards.calibration:kl_group",
    "l1-sample": "corea.rewards.calibration:l1_sample",
    "l2-sample": "corea.rewards.calibration:l2_sample",
    "kl-sample": "corea.rewards.calibration:kl_sample",
}
