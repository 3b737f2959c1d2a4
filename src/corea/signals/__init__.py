"""Confidence signals: the probability that an answer is right, from its text, its log-probabilities or further calls.

In order of cost: verbalized (the stated number), logprob, expected (over number_forms, scored and alternatives),
self_check (over self_verdict), agreement; validators (over check_worker) and command check a draft, and Validated
composes them with another signal; calibrated_signal applies a confidence map. measured checks the value that a signal
returns, tokens finds tokens in the text. To add one: a file with a class, and a line here.
"""

SIGNALS: dict[str, str] = {
    "verbalized": "corea.signals.verbalized:Verbalized",
    "expected": "corea.signals.expected:Expected",
    "mean_token_probability": "corea.signals.logprob:MeanTokenProbability",
    "answer_token_probability": "corea.signals.logprob:AnswerTokenProbability",
    "self_check": "corea.signals.self_check:SelfCheck",
    "agreement": "corea.signals.agreement:Agreement",
    "valid_json": "corea.signals.validators:ValidJson",
    "valid_tool_call": "corea.signals.validators:ValidToolCall",
    "not_refused": "corea.signals.validators:NotRefused",
}

VALIDATORS: dict[str, str] = {
    **SIGNALS,
    "regex": "corea.signals.validators:MatchesRegex",
    "command": "corea.signals.command:CommandCheck",
}
"""Kinds in `[[stages.NAME.validators]]`: any signal, and those that need options."""

FROM_THE_COMPLETION = (
    "verbalized", "mean_token_probability", "answer_token_probability", "valid_json", "valid_tool_call", "not_refused",
)  # fmt: skip
"""Signals of the completion alone: they cost nothing, and can be measured later on recorded completions."""
