"""Where sentences end: not after "Mr.", "St.", "J. K.", "U.S.", "No. 5", "e.g." or "3 p.m.", nor inside "3.5"."""

import re

_NEVER_WORDS = """
mr mrs ms mx dr st mt ft prof gen sen rep gov capt lt col sgt rev hon fr vs v approx ca cf fig figs eq eqs ch
sec vol pp al ed eds e.g i.e z.b bzw d.h p.ej viz resp incl excl temp max min avg est op
"""
_NEVER = frozenset(_NEVER_WORDS.split())
"""Abbreviations after which more of the sentence comes."""

_MAYBE_WORDS = """
jr sr inc ltd co corp bros dept univ ave blvd rd etc jan feb mar apr jun jul aug sept oct nov dec a.m p.m am
pm ph.d lb lbs oz sq cu hr hrs mins
"""
_MAYBE = frozenset(_MAYBE_WORDS.split())
"""Abbreviations that may end a sentence: they do before a word that begins one."""

_STARTER = re.compile(
    r"[\s\"'*_()\[\]]{0,6}(?:the|this|that|these|those|it|its|he|she|they|we|i|you|there|here|so|therefore|thus|hence|"
    r"because|since|as|if|for|from|in|on|at|to|by|when|while|however|but|and|an?|note|explanation|reason(?:ing)?|"
    r"confidence|step|now|then|let|both|all|each|to|hope|please|would|my|our|his|her|their|option|choice|answer|"
    r"with|after|given|wait|actually|no|yes)(?![\w.'])",
    re.I,
)
_SAFE = re.compile(r"[.!?。！？।\n](?:(?<![.!?])|(?=[\s\"'”’)\]*_<]|\Z))")
_NUMBERED = re.compile(r"[.]\s{0,3}\d")


def ends_here(text: str, at: int, begin: int = 0) -> bool:
    """Whether the mark at `at`, with space after it, ends a sentence that begins at `begin` or before."""
    if text[at] != ".":
        return True
    token = _word_before(text, max(begin, at - 16), at)
    if not token[:1].isalpha():
        return not (token and _lists(text, at - len(token), at))
    if len(token) > 6 and "." not in token:
        return True  # no abbreviation
    rest = text[at + 1 : at + 30]
    if "\n" in rest[: len(rest) - len(rest.lstrip())] or not rest.strip():
        return True
    low = token.lower()
    counted = text[max(begin, at - len(token) - 2) : at - len(token)].strip()[-1:].isdigit()
    if low in _NEVER and not counted:
        return False
    if low in ("no", "nos", "nr", "p"):
        return not _NUMBERED.match(text, at)
    initial = "." in token or (len(token) == 1 and token.isupper())
    if initial or low in _MAYBE or low in _NEVER:
        follows = rest.lstrip(" *_\"'(")
        return (_STARTER.match(rest) is not None and follows[:1].isupper()) or not (
            follows[:1].isalnum() or follows[:1] in "$\\-&"
        )
    return not (len(token) == 1 and rest.lstrip()[:1].islower())


def _word_before(text: str, start: int, at: int) -> str:
    """The letters, digits and inner periods that stand before `at`: "U.S", "J", "12"."""
    begin = at
    while begin > start and (text[begin - 1].isalnum() or text[begin - 1] == "."):
        begin -= 1
    return text[begin:at].lstrip(".")


def _lists(text: str, start: int, at: int) -> bool:
    """Whether digits before a period number a line of a list ("2. Paris")."""
    line = text[max(0, start - 6) : start]
    return (
        text[start:at].isdigit()
        and at - start < 3
        and line.rsplit("\n", 1)[-1].strip(" *_#(") == ""
        and ("\n" in line or start < 6)
    )


def sentence_end(text: str, start: int, end: int) -> int:
    """Where the sentence that goes on at `start` ends, before `end`."""
    for mark in _SAFE.finditer(text, start, end):
        if mark[0] == "\n" or ends_here(text, mark.start(), start):
            return mark.start()
    return end


def last_sentence(text: str, start: int, end: int) -> int:
    """Where the last sentence of `text[start:end]` begins; a displayed formula counts with its first line."""
    limit = end
    for left, right in (("\\[", "\\]"), ("$$", "$$")):
        if text.endswith(right, start, end) and (opened := text.rfind(left, start, end - 2)) >= 0:
            limit = opened + 1
    for reach in (200, 500):  # most sentences are short
        begin = max(start, limit - reach)
        for mark in reversed(list(_SAFE.finditer(text, begin, limit))):
            after = text[mark.end() : limit].strip(" \t\n*_)\"'")
            if after and (mark[0] == "\n" or ends_here(text, mark.start(), begin)):
                return mark.end()
        if begin == start:
            break
    return begin
