"""Sentences that do not state the writer's own answer: views of others, remarks, checks, corrections, refusals.

A statement about the writer ("I don't know", "I can't help with that") is a refusal. A statement about the matter is an
answer, since it can be right: "unknown", "cannot be determined", "no solution", "none".
"""

import re

from corea.parsing.text import clause_before, regex

_BUT_SO = regex(
    r"\b(?:but|however|yet|so|therefore|thus|hence)\b[,\s]"
    r"|[;:]\s|\)\s"
)
_OTHERS = regex(r"‹others_view›")
"""Other people's views, and mistakes."""
_BEFORE = regex(r"\b(?:‹earlier_view›)\b")
"""Earlier views of the writer."""
CONDITION = regex(
    r"(?<!\w)(?:if|unless|suppos(?:e|ing)|assuming|were\sit|had\s(?:i|it|the))(?!\w)(?!\s(?:pressed|asked|forced"
    r"|pushed)(?!\w)|\si\s(?:had|have|must|need|were\s(?:asked|forced|pressed))(?:\sto)?\s(?:give|put|say|quantify"
    r"|state|assign|rate|estimate|express))"
)
_REMARK = regex(r"(?:‹remark›)")
_CHECK = regex(
    r"(?:(?:let(?:'s|\sus|\sme)\s|we\s(?:can\s)?|to\s|quick\s|as\sa\s|double[\s-]|sanity\s|now\s)*(?:‹check›)\b)"
)
_OTHERWISE = regex(
    r"(?:(?:and|but|or|note(?:\sthat)?|however|alternatively|of\scourse)?[,:]?\s?)(?:if|unless|with(?:out)?|had|were"
    r"|assuming|suppose|including|excluding|otherwise|(?:even\s)?counting)\b[^.]*\b(?:would|could|might)\b"
    r"|[^.]*\b(?:would|could|might)\s(?:have\s)?(?:be(?:en)?|get|become|rise|change)\b[^.]*\b(?:if|unless"
    r"|with(?:out)?)\b"
)
_ABOUT_CONFIDENCE = regex(
    r"\b(?:confidence\s(?:level|score|rating)|level\sof\sconfidence|my\sconfidence|i(?:'m|\sam)\s(?:\w{2,12}ly\s"
    r"|very\s)?confident)\b(?!\sinterval)"
)
_STATES = regex(
    r"^(?:thank|best|note|check|easy|simple|enjoy|done)\w*\b[^.]*=\s?\S"
    r"|^best\s(?:answer|choice|option)"
)
RATHER = r"[\s,;(*–—-]{1,6}(?P<rather>or\srather|make\sthat|no,?\swait)\b"
"""Pattern of a correction within a sentence."""
_DOUBT = regex(
    r"(?:^|[.!?…—)\]}*>$|]\s{0,3}|\n\s{0,3})[\"'*_(\[#>-]{0,4}(?:(?:oh|ah|hmm+|uh|but|ok(?:ay)?|and|well|no)"
    r"[,.…!\s]{1,4}){0,3}(?P<strong>‹wait›)"
    r"|(?P<weak>actually[,\s]|no,\s(?:it|the|that)|(?:upon|after|on)\s(?:re\w{3,14}|further|double|checking|closer"
    r"|second)|re-?(?:check|consider|evaluat|calculat|comput)\w{0,6}|in\sfact[,\s]|edit\b|update[d]?\b\s?:|revised"
    r"|corrected)"
    rf"|{RATHER}"
)
_CONFIRMS = regex(
    r"\b(?:(?:yes|yep|indeed|still|also|again)[,.!\s]|(?:is|was|looks|checks?|that's|it's|all)\s(?:indeed\s)?(?:correct"
    r"|right|fine|good|out|consistent|confirmed)|confirm(?:s|ed)|matches|same\s(?:answer|result)|stands|holds|✓|✅"
    r"|consistent|verified)"
)
_NO_MORE = regex(r"\W*(?:conf[a-z]{0,7}(?:\slevel)?\W{1,8}[\d./%]{1,8}\W*(?:confidence)?\W*)?")
"""Text that cannot correct an answer: marks, and a number for the confidence."""
_NEXT = regex(
    r"\n[ \t#*_>]{0,6}(?:(?:next\s|new\s|another\s|follow-?up\s)?(?:question|problem|exercise|q|human|user|instruction"
    r"|input|example|‹question›)(?:\s?#?\d{1,3})?\s?[*_]{0,2}(?:[:.](?=[\s*_])|：)|\[inst\]|(?<=#)\s?(?:instruction"
    r"|question|input|human|user|problem)\b)"
)
_CHAT_TURN = regex(r"<\|(?:im_start|start_header_id|user|start)\|>|<start_of_turn>|(?<=<\|im_end\|>)|(?<=<\|eot_id\|>)")
_INTRODUCTION = regex(r"\W{0,6}(?:‹introduction›)(?![a-z])")
_LONGEST = 300  # characters of a text that says no more than that
_SAYING = regex(r"‹refusal›", re.I)
_SORRY = regex(r"(?:my\s)?(?:‹sorry›)(?:\s(?:about|for)\s(?:that|this))?", re.I)
_ENDS = regex(r"[.!]+(?:\s+|$)|。+|\n+")


def is_doubtful(low: str, start: int, at: int) -> bool:
    """True if the words of a sentence before `at` make the rest a hypothetical, or someone else's view."""
    clause = clause_before(low[max(start, at - 160) : at])
    turns = list(_BUT_SO.finditer(clause))
    clause = clause[turns[-1].end() :] if turns else clause
    return any(pattern.search(clause) for pattern in (_OTHERS, _BEFORE, CONDITION))


def is_remark(sentence: str) -> bool:
    """True if a folded sentence is a farewell, an offer of help, a comment or a question to the reader."""
    bare = sentence.strip(" \t\n*_#>-–—()[]\"'`~.…!✅👍😊🙂🎉")
    if not bare or not any(c.isalnum() for c in bare):
        return True
    if sentence.rstrip(" *_)\"'").endswith(("?", "？")):
        return True
    if "confiden" in bare and _ABOUT_CONFIDENCE.search(bare) and "answer" not in bare:
        return True
    return _REMARK.match(bare) is not None and not _STATES.search(bare)


def is_check(sentence: str) -> bool:
    """True if a folded sentence verifies an earlier result: "Check: 3 * 4 = 12"."""
    return _CHECK.match(sentence.strip(" \t\n*_#>-(✅✓✔")) is not None


def is_hypothetical(sentence: str) -> bool:
    """True if a folded sentence is counterfactual, or reports others' views; a calculation is neither."""
    bare = sentence.strip(" \t\n*_(")
    if "=" in bare:
        return False
    modal = "would" in bare or "could" in bare or "might" in bare
    return _OTHERS.search(bare) is not None or (modal and _OTHERWISE.match(bare) is not None)


def doubt_after(low: str, at: int, end: int) -> tuple[int, bool] | None:
    """Start of the first correction after `at`, and True if it is explicit; None if there is none."""
    window = low[at : min(end, at + 3000)]
    found = None if _NO_MORE.fullmatch(window) else _DOUBT.search(window)
    if not found:
        return None
    return at + found.start(found.lastgroup or 0), found.lastgroup != "weak"


def confirms(low: str, at: int, end: int) -> bool:
    """True if a second look ends with the same result: "yes, that checks out"."""
    tail = low[max(at, end - 200) : end]
    return _CONFIRMS.search(tail) is not None and not re.search(r"\b(?:not|wrong|incorrect|n't)\b", tail)


def next_question(low: str, start: int, end: int) -> list[int]:
    """Positions, the first first, where the text seems to continue with another question."""
    found: list[int] = []
    patterns = (_NEXT, _CHAT_TURN) if "<|" in low or "<start_of" in low else (_NEXT,)
    for pattern in patterns if low.find("\n", start, end) >= 0 or len(patterns) > 1 else ():
        for match in pattern.finditer(low, start + 1, end):
            if low[start : match.start()].strip():
                found.append(match.start())
            if len(found) >= 3:
                break
    return sorted(found)


def introduces(low: str, start: int, end: int) -> bool:
    """True if a text before a question only introduces it ("Sure, let's solve it.")."""
    return _INTRODUCTION.match(low, start, end) is not None or low[start:end].rstrip(" \n*_").endswith((":", "!"))


def refuses(text: str) -> bool:
    """True if a text only says that its writer does not know."""
    if not 1 < len(text) <= _LONGEST or not text[0].isalpha():
        return False
    sentences = [part.strip(" \t*_`\"'") for part in _ENDS.split(text.replace("’", "'"))]
    said = [sentence for sentence in sentences if sentence and not _SORRY.fullmatch(sentence)]
    return bool(said) and all(_SAYING.fullmatch(sentence) for sentence in said)
