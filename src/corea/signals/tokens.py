"""Positions of a completion's tokens in its text, the log-probabilities that signals need and traces keep."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from corea.types import Completion, Confidence, Sampling, TokenLogprob
from corea.types import replace as replaced


def tokens_within(completion: Completion, start: int, end: int) -> list[tuple[int, TokenLogprob]]:
    """The tokens that share a character with `text[start:end]`, each with its own start in the text.

    Empty where there are none: no log-probabilities, or tokens that do not join to the text (some servers leave out
    special tokens, or cut the text at a stop word: the text is then searched in the joined tokens).
    """
    return [(at, token) for at, token in _placed(completion) if at < end and at + len(token.token) > start]


def _placed(completion: Completion) -> Iterable[tuple[int, TokenLogprob]]:
    logprobs = completion.logprobs or ()
    if completion.logprobs_at:
        return zip(completion.logprobs_at, logprobs, strict=True)
    at = -"".join(token.token for token in logprobs).find(completion.text)
    if at > 0:
        return ()
    places = [at := at + length for length in (0, *(len(token.token) for token in logprobs))]
    return zip(places, logprobs, strict=False)


def wants_logprobs(signal: Any) -> bool:
    """True if a signal states that it reads log-probabilities."""
    return bool(getattr(signal, "top_logprobs_wanted", 0) or getattr(signal, "logprobs_wanted", False))


def with_logprobs(sampling: Sampling, *signals: Any) -> Sampling:
    """The sampling, asking for the log-probabilities that these signals say they read."""
    top = max((int(getattr(each, "top_logprobs_wanted", 0) or 0) for each in signals), default=0)
    if any(wants_logprobs(each) for each in signals):
        return replace(sampling, logprobs=True, top_logprobs=max(top, sampling.top_logprobs))
    return sampling


def used_logprobs(completion: Completion, signal: Any, confidence: Confidence | None) -> Completion:
    """The completion with only the log-probabilities that its signal used: at most about a twentieth of the bytes.

    All are kept if the signal reads none, since the settings then asked for them, and if it gave no confidence.
    Alternatives are kept only for a signal that reads them.
    """
    if completion.logprobs is None or confidence is None or not wants_logprobs(signal):
        return completion
    kept = completion if confidence.spans is None else keep_spans(completion, confidence.spans)
    if getattr(signal, "top_logprobs_wanted", 0) or not kept.logprobs:
        return kept
    return replaced(kept, logprobs=tuple(TokenLogprob(token.token, token.logprob) for token in kept.logprobs))


def keep_spans(completion: Completion, spans: Iterable[tuple[int, int]]) -> Completion:
    """The completion with the log-probabilities of the tokens in these (start, end) characters of its text alone."""
    spans = tuple(spans)
    whole = list(_placed(completion))
    kept = [(at, t) for at, t in whole if any(at < end and at + len(t.token) > start for start, end in spans)]
    if completion.logprobs is None or (kept and len(kept) == len(completion.logprobs)):
        return completion
    at, tokens = tuple(at for at, _ in kept), tuple(token for _, token in kept)
    return replaced(completion, logprobs=tokens or None, logprobs_at=at)
