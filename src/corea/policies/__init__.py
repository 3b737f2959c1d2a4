"""Policies keep or defer an answer; pre-policies see the question alone. To add one: a class, and a line here."""

POLICIES: dict[str, str] = {
    "threshold": "corea.policies.threshold:Threshold",
    "calibrated": "corea.policies.calibrated:Calibrated",
}

PRE_POLICIES: dict[str, str] = {
    "skip-categories": "corea.policies.pre_policies:SkipCategories",
    "skip-long": "corea.policies.pre_policies:SkipLong",
}
