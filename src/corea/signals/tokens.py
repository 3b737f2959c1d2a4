"""Where the tokens of a completion stand in its text, and what a signal needs of them."""

from dataclasses import replace
from typing import Any

from corea.types import Completion, Sampling, TokenLogprob


def tokens_within(completion: Completion, start: int, end: int) -> list[tuple[int, TokenLogprob]]:
    """The tokens that share a character with `text[start:end]`, each with its own start in the text.

    Empty where there are none: no log-probabilities, or tokens that do not join to the text (some servers leave out
    special tokens, or cut the text at a stop word: then the text is sought within what they join to).
    """
    logprobs = completion.logprobs or ()
    at = -"".join(token.token for token in logprobs).find(completion.text)
    if at > 0:
        return []
    found: list[tuple[int, TokenLogprob]] = []
    for token in logprobs:
        if at < end and at + len(token.token) > start:
            found.append((at, token))
        at += len(token.token)
    return found


def with_logprobs(sampling: Sampling, *signals: Any) -> Sampling:
    """The sampling, asking for the log-probabilities that these signals say they read."""
    top = max((int(getattr(each, "top_logprobs_wanted", 0) or 0) for each in signals), default=0)
    if top or any(getattr(each, "logprobs_wanted", False) for each in signals):
        return replace(sampling, logprobs=True, top_logprobs=max(top, sampling.top_logprobs))
    return sampling
