"""Signals say how sure one may be of an answer. To add one: a file with a class, and a line here."""

SIGNALS: dict[str, str] = {
    "verbalized": "corea.signals.verbalized:Verbalized",
    "expected": "corea.signals.expected:Expected",
    "mean_token_probability": "corea.signals.logprob:MeanTokenProbability",
    "answer_token_probability": "corea.signals.logprob:AnswerTokenProbability",
    "self_check": "corea.signals.self_check:SelfCheck",
    "agreement": "corea.signals.agreement:Agreement",
}

FROM_THE_COMPLETION = ("verbalized", "mean_token_probability", "answer_token_probability")
"""Those that read a completion alone: they cost nothing, and can be measured afterwards on what was recorded."""
