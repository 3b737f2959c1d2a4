"""The log-probabilities of an OpenAI-compatible response, by token, aligned with its text."""

import codecs
from collections.abc import Iterator, Sequence

import msgspec

from corea.types import TokenLogprob

REPLACED = "\ufffd"  # in place of bytes that are not a character
IMPOSSIBLE = -9999.0  # a log-probability of minus infinity, as vLLM writes it: JSON has no infinity


class ListedToken(msgspec.Struct):
    """A token as a server lists it; `bytes` if it is not whole characters."""

    token: str = ""
    logprob: float | None = None
    bytes: list[int] | None = None
    top_logprobs: "list[ListedToken] | None" = None


class _TokenList(msgspec.Struct):
    content: list[ListedToken] | None = None


_read_logprobs = msgspec.json.Decoder(_TokenList).decode


def read_tokens(raw: msgspec.Raw) -> list[ListedToken]:
    """The tokens of a choice; none if they are not in the form of the chat endpoint."""
    try:
        logprobs = _read_logprobs(raw)
    except (ValueError, RecursionError):
        return []
    return logprobs.content or []


def aligned(tokens: Sequence[ListedToken], text: str) -> tuple[TokenLogprob, ...] | None:
    """The log-probabilities of the tokens of `text`, whose strings join to it.

    Servers also list tokens that are not in the text (reasoning that was split off, an end token, a stop string): these
    are left out. A character that is split over several tokens belongs to the last of them. None if the tokens do not
    contain the text.
    """
    strings = list(_strings(tokens))
    inside = _cut(tokens, strings, text)
    if inside is None and REPLACED in text + "".join(strings):
        # broken characters: each server shows them in its own way, so compare what is around them
        whole = _cut(tokens, [string.replace(REPLACED, "") for string in strings], text.replace(REPLACED, ""))
        inside = _with_replaced(whole, text) if whole else None
    if inside is None:
        return None
    return tuple(TokenLogprob(string, _logprob(token), _top(token)) for token, string in inside)


def _strings(tokens: Sequence[ListedToken]) -> Iterator[str]:
    """Each token's string; one that ends within a character leaves that character to the next."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for token in tokens:
        if token.bytes is None:
            yield token.token
        else:
            yield decoder.decode(bytes(byte & 255 for byte in token.bytes))


def _cut(tokens: Sequence[ListedToken], strings: Sequence[str], text: str) -> list[tuple[ListedToken, str]] | None:
    """The tokens of the text, at its last occurrence in their strings; None if it has none."""
    joined = "".join(strings)
    start = 0 if joined == text else joined.rfind(text)
    if start < 0:
        return None
    end = start + len(text)
    kept: list[tuple[ListedToken, str]] = []
    after = 0
    for token, string in zip(tokens, strings, strict=True):
        before, after = after, after + len(string)
        inside = string if start <= before and after <= end else string[max(0, start - before) : max(0, end - before)]
        if inside or (token.token and not string and start <= before < end):
            kept.append((token, inside))
    return kept


def _with_replaced(whole: Sequence[tuple[ListedToken, str]], text: str) -> list[tuple[ListedToken, str]]:
    """The same tokens with the broken characters of the text: each in the token of the next whole one, or the last."""
    given: list[tuple[ListedToken, str]] = []
    position = 0
    for token, string in whole:
        begin = position
        for character in string:
            position = text.index(character, position) + 1
        given.append((token, text[begin:position]))
    token, string = given[-1]
    given[-1] = (token, string + text[position:])
    return given


def _top(token: ListedToken) -> tuple[tuple[str, float], ...]:
    if not token.top_logprobs:
        return ()
    top = [(alternative.token, _logprob(alternative)) for alternative in token.top_logprobs]
    top.sort(key=lambda pair: pair[1], reverse=True)
    return tuple(top)


def _logprob(token: ListedToken) -> float:
    return IMPOSSIBLE if token.logprob is None else token.logprob
