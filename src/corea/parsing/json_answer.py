"""The value of an answer's key in JSON, or in a Python dict: decoded, with its place in the text.

In a text that is JSON the top level counts; elsewhere the last key with a value.
"""

import json
import re
from typing import Any, cast

from corea.parsing.text import LONGEST, Extracted, positions, regex

_GROUPS = (
    r"(?:(?:the|my|your)[_ ]?)?(?:final|correct|short|predicted|selected|chosen|best)?[_ ]?(?:answer"
    r"|ans)(?:[_ ]?(?:choice|letter|text|value|option))?",
    r"(?:final|correct|selected|chosen|best)?[_ ]?(?:choice|option)(?:[_ ]?(?:letter|id))?",
    r"(?:final[_ ]?)?(?:result|solution|prediction|output|response|value)",
)
_KEYS = [regex(group) for group in _GROUPS]
_STEMS = (("answer", "ans"), ("choice", "option"), ("result", "solution", "prediction", "output", "response"))
_INNER = ("value", "text", "letter", "choice", "option", "answer", "final", "result", "content", "label", "id")
_PAIR = regex(
    r"[\"'](?P<key>[a-zA-Z_ ]{2,30})[\"']\s{0,4}:\s{0,8}(?:(?P<open>[\[{])|\"(?P<double>(?:[^\"\\]|\\.){0,2000})\""
    r"|'(?P<single>(?:[^'\\]|\\.){0,2000})'|(?P<bare>[^\s\"',}\]{\[][^\",}\]\n]{0,200}))",
    re.S,
)
_CAMEL_CASE = regex(r"(?<=[a-z])(?=[A-Z])")
_BRACKETS = regex(r"\"(?:[^\"\\]|\\.){0,2000}\"|'(?:[^'\\]|\\.){0,2000}'|[\[\]{}]", re.S)
_LATEX = regex(
    r"(?<!\\)\\(?=(?:frac|forall|flat|text|times|theta|tan|tau|triangle|to(?![a-z])|beta|boxed|binom|bar|begin|bmod"
    r"|right|rho|rangle|neq?(?![a-z])|nu(?![a-z])|nabla|not|[^\"\\/bfnrtu]))"
)
"""A single backslash of LaTeX, which JSON needs doubled."""
Value = Extracted[str] | None


def answer_in_json(text: str, low: str, start: int, end: int) -> Value:
    """The answer that JSON in `text[start:end]` gives."""
    if "{" not in low or not any(mark in low for mark in ('":', "':", '" :', "' :")):
        return None
    whole: dict[str, Any] | None = None
    for key, stems in zip(_KEYS, _STEMS, strict=True):
        places = positions(low, stems, start, end, 32)
        if len(places) > 1:
            whole = whole or _top_level(text, start, end)
        for at in places:
            quote = max(low.rfind('"', max(start, at - 16), at), low.rfind("'", max(start, at - 16), at))
            match = _PAIR.match(text, quote, end) if quote >= 0 else None
            if not match or not key.fullmatch(_CAMEL_CASE.sub("_", match["key"]).lower()):
                continue
            value, span = _value(text, match, end)
            if whole is not None and match["key"] in whole and _shown(whole[match["key"]]) != value:
                continue  # of a step or an alternative
            if value is not None and value.strip():
                return Extracted(value, *span)
    return None


def _top_level(text: str, start: int, end: int) -> dict[str, Any] | None:
    """The object that the text is (without code fences) or ends with; None if it does not parse."""
    opened, closed = text.find("{", start, end), text.rfind("}", start, end)
    if opened < 0 or closed < opened or closed - opened > 20_000:
        return None
    found = _loaded(text[opened : closed + 1])
    return cast(dict[str, Any], found) if isinstance(found, dict) else None


def _loaded(written: str) -> Any:
    """The value of JSON, after doubling LaTeX's single backslashes; None if it does not parse."""
    try:
        return json.loads(_LATEX.sub(r"\\\\", written), strict=False)
    except (ValueError, RecursionError):
        return None


def _shown(value: Any) -> str | None:
    """A decoded value as the answer it represents."""
    if value is None or isinstance(value, bool):
        return None if value is None else str(value).lower()
    if isinstance(value, dict):
        inner = cast(dict[str, Any], value)
        return next((shown for key in _INNER if key in inner and (shown := _shown(inner[key]))), None)
    if isinstance(value, list):
        items = [_shown(item) for item in cast(list[Any], value)]
        return ", ".join(item for item in items if item) if items and all(items) else None
    return str(value)


def _value(text: str, match: re.Match[str], end: int) -> tuple[str | None, tuple[int, int]]:
    """Decoded value of a key, and its place."""
    group = match.lastgroup or "bare"
    if group != "open":
        written = match[group]
        if group == "bare":
            bare = written.strip()
            span = (match.start(group), match.start(group) + len(bare))
            return (None if bare.lower() in ("null", "none") else bare), span
        return decoded(written, group == "single"), match.span(group)
    begin, stop = match.start("open"), _closing(text, match.start("open"), end)
    if stop < 0:
        return None, (begin, end)
    written = text[begin:stop]
    found = _loaded(written) or _loaded(written.replace("'", '"'))
    return (written if found is None else _shown(found)), (begin, stop)


def _closing(text: str, begin: int, end: int) -> int:
    """Position after the bracket that closes the one at `begin`; -1 if none does."""
    depth = 0
    for found in _BRACKETS.finditer(text, begin, min(end, begin + LONGEST)):
        depth += (found[0] in "[{") - (found[0] in "]}")
        if depth == 0:
            return found.end()
    return -1


def decoded(written: str, single: bool = False) -> str:
    """Content of a string without its escapes; as written if they are not those of JSON."""
    if "\\" not in written:
        return written
    fixed = re.sub(r'(?<!\\)"', r"\"", written.replace("\\'", "'")) if single else written
    found = _loaded(f'"{fixed}"')
    return found if isinstance(found, str) else written
