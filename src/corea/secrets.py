"""Detection of texts that may be API keys, so that they are never shown."""

import re
from typing import Any, SupportsIndex, cast

HIDDEN = "[key]"
PREFIXED = re.compile(
    r"(?<![A-Za-z0-9])(?:sk-[\w-]{4,}|(?:sk|rk|gsk|hf|xai|csk|tgp|r8|fw|pplx|nvapi|ghp|gho|glpat)[_-](?:\w+[_-])?\w{12,}"
    r"|(?:AIza|AKIA|ASIA|github_pat_|eyJ)[\w-]{8,})|(?i:\b(?:bearer|basic)\s+\S{6,})",
    re.ASCII,
)  # as OpenAI, Stripe, Groq, Hugging Face, xAI, ... and Google, AWS and tokens in JSON begin
RUN = re.compile(r"[A-Za-z0-9+=]{12,}", re.ASCII)
LONGEST_WORD = 20
TOKEN = re.compile(r"[\w+/=-]{16,}", re.ASCII)
UNRULY = re.compile(r"(?<=[a-z])[A-Z]|(?<=[A-Za-z])\d(?=[A-Za-z])", re.ASCII)  # where no word or name goes on


class Secret(str):
    """A key whose repr, and that of its parts, is hidden: tracebacks with local variables print it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(HIDDEN)

    def __getitem__(self, index: SupportsIndex | slice) -> "Secret":
        return Secret(super().__getitem__(index))


def may_be_key(text: str) -> bool:
    """True for a text that may hold a key: a known prefix, or a run of digits and letters that is not a word.

    A name of a model ("claude-3-5-sonnet-20241022"), a variable or an address has none.
    """
    if PREFIXED.search(text) or any(_is_no_word(run) for run in RUN.findall(text)):
        return True
    return any(len(UNRULY.findall(token)) >= 4 for token in TOKEN.findall(text))


def _is_no_word(run: str) -> bool:
    digits = sum(map(str.isdigit, run))
    return digits > 0 if len(run) < LONGEST_WORD else True


def marked(value: Any) -> Any:
    """Decoded TOML or JSON in which every text and name that may be a key is a Secret."""
    if isinstance(value, str):
        return Secret(value) if may_be_key(value) else value
    if isinstance(value, dict):
        entries = cast(dict[str, Any], value)
        return {marked(key): marked(item) for key, item in entries.items()}
    if isinstance(value, list):
        return [marked(item) for item in cast(list[Any], value)]
    return value


def shown(value: Any) -> str:
    """A rejected value for an error message; one that may be a key is not shown."""
    hidden = isinstance(value, Secret) or (not isinstance(value, float) and may_be_key(str(value)))
    return "a value that is not shown (it may be a key)" if hidden else repr(value)


def shown_url(url: str) -> str:
    """An address without its user and query, and without the parts of its path that may be keys."""
    scheme, mark, rest = url.rpartition("://")
    place, *path = rest.partition("?")[0].split("@")[-1].split("/")
    user = f"{HIDDEN}@" if "@" in rest else ""
    query = "?..." if "?" in rest else ""
    return scheme + mark + user + "/".join([place, *(HIDDEN if may_be_key(part) else part for part in path)]) + query


def keys_in_path(url: str) -> tuple[str, ...]:
    """The parts of an address's path that may be keys."""
    return tuple(part for part in url.partition("://")[2].split("/")[1:] if may_be_key(part))
