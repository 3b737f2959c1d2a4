"""Confidence signals: the probability that an answer is right, from its text, its log-probabilities or further calls.

In order of cost: verbalized (the stated number), logprob, expected (over number_forms, scored and alternatives),
self_check (over self_verdict), agreement; calibrated_signal applies a confidence map. measured checks the value that a
signal returns, tokens finds tokens in the text. To add one: a file with a class, and a line here.
"""

SIGNALS: dict[str, str] = {
    "verbalized": "corea.signals.verbalized:Verbalized",
    "expected": "corea.signals.expected:Expected",
    "mean_token_probability": "corea.signals.logprob:MeanTokenProbability",
    "answer_token_probability": "corea.signals.logprob:AnswerTokenProbability",
    "self_check": "corea.signals.self_check:SelfCheck",
    "agreement": "corea.signals.agreement:Agreement",
}

FROM_THE_COMPLETION = ("verbalized", "mean_token_probability", "answer_token_probability")
"""Signals of the completion alone: they cost nothing, and can be measured later on recorded completions."""
