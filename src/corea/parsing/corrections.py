"""Where a text takes back the answer it gave, and where it runs on into another question."""

import re

from corea.parsing.answer_words import QUESTION

RATHER = r"[\s,;(*–—-]{1,6}(?P<rather>or\srather|make\sthat|no,?\swait)\b"
"""How a sentence takes back what it has just said."""

_DOUBT = re.compile(
    r"(?:^|[.!?…—)\]}*>$|]\s{0,3}|\n\s{0,3})[\"'*_(\[#>-]{0,4}(?:(?:oh|ah|hmm+|uh|but|ok(?:ay)?|and|well"
    r"|no)[,.…!\s]{1,4}){0,3}"
    r"(?P<strong>wait\b(?!\s(?:for|until|time))|correction\b|(?:i\s(?:apologi[sz]e|apologi\w+)|apologies"
    r"|my\smistake|my\sbad|oops|whoops|scratch\sthat|hold\son|never\s?mind|strike\sthat)"
    r"|on\s(?:second\sthought|reflection|closer)|i\s(?:made|see\s(?:my|an|the)\s(?:mistake|error)"
    r"|need\sto\s(?:correct|fix|revise|redo)|misread|miscalculated|miscounted|was\swrong|forgot|must\scorrect"
    r"|overlooked)"
    r"|that(?:'s|\sis|\swas)\s(?:not\s(?:right|correct)|wrong|incorrect|a\smistake)|this\s(?:is"
    r"|was)\s(?:not\s(?:right|correct)|wrong|incorrect)"
    r"|let\sme\s(?:re\w{2,12}|double[\s-]?check|correct|fix|redo|try\sagain|start\sover)|hmm+\b|sorry[,.]"
    r"|moment\smal|warte\b|halt[,!]|korrektur|attende?[zs]?\b|espera\b|aspetta|等等|等一下|不对|更正|待って|잠깐|подожд|стоп)"
    r"|(?P<weak>actually[,\s]|no,\s(?:it|the|that)|(?:upon|after|on)\s(?:re\w{3,14}|further|double|checking|closer"
    r"|second)|re-?(?:check|consider|evaluat|calculat|comput)\w{0,6}|in\sfact[,\s]|edit\b|update[d]?\b\s?:|revised"
    r"|corrected)"
    rf"|{RATHER}"
)
_CONFIRMS = re.compile(
    r"\b(?:(?:yes|yep|indeed|still|also|again)[,.!\s]|(?:is|was|looks|checks?|that's|it's"
    r"|all)\s(?:indeed\s)?(?:correct|right|fine|good|out|consistent|confirmed)|confirm(?:s|ed)|"
    r"matches|same\s(?:answer|result)|stands|holds|✓|✅|consistent|verified)"
)


_NO_MORE = re.compile(r"\W*(?:conf[a-z]{0,7}(?:\slevel)?\W{1,8}[\d./%]{1,8}\W*(?:confidence)?\W*)?")
"""What says nothing more of the answer: marks, and a number for the confidence."""


def doubt_after(low: str, at: int, end: int) -> tuple[int, bool] | None:
    """Where the text begins to take back what it said before `at`, and whether plainly so; None where it does not."""
    window = low[at : min(end, at + 3000)]
    found = None if _NO_MORE.fullmatch(window) else _DOUBT.search(window)
    if not found:
        return None
    return at + found.start(found.lastgroup or 0), found.lastgroup != "weak"


def confirms(low: str, at: int, end: int) -> bool:
    """Whether the second look ends with the same: "yes, that checks out"."""
    tail = low[max(at, end - 200) : end]
    return _CONFIRMS.search(tail) is not None and not re.search(r"\b(?:not|wrong|incorrect|n't)\b", tail)


_ROLES = (
    r"(?:next\s|new\s|another\s|follow-?up\s)?(?:question|problem|exercise|q|human|user|instruction|input|example|"
    rf"{QUESTION})(?:\s?#?\d{{1,3}})?\s?[*_]{{0,2}}(?:[:.](?=[\s*_])|：)"
)
_NEXT = re.compile(
    rf"\n[ \t#*_>]{{0,6}}(?:{_ROLES}|\[inst\]|(?<=#)\s?(?:instruction|question|input|human|user|problem)\b)"
)
_TURN = re.compile(r"<\|(?:im_start|start_header_id|user|start)\|>|<start_of_turn>|(?<=<\|im_end\|>)|(?<=<\|eot_id\|>)")


def next_question(low: str, start: int, end: int) -> list[int]:
    """Where the text seems to run on into another question, the first first; there must be something before it."""
    found: list[int] = []
    patterns = (_NEXT, _TURN) if "<|" in low or "<start_of" in low else (_NEXT,)
    for pattern in patterns if low.find("\n", start, end) >= 0 or len(patterns) > 1 else ():
        for match in pattern.finditer(low, start + 1, end):
            if low[start : match.start()].strip():
                found.append(match.start())
            if len(found) >= 3:
                break
    return sorted(found)


_INTRODUCTION = re.compile(
    r"\W{0,6}(?:sure|ok(?:ay)?|certainly|absolutely|of\scourse|great|alright|hello|hi|thanks?|let(?:'s|\sus|\sme)|here|below|to\s(?:solve"
    r"|find|answer)|i(?:'ll|\swill)|we(?:'ll|\swill)|solution|gern|natürlich|klar|hier|claro|por\ssupuesto|aquí|vamos|bien\ssûr|voici|d'accord"
    r"|certo|ecco|конечно|вот|давайте|好的|当然|以下|让我|下面|はい|では|네|물론)(?![a-z])"
)


def introduces(low: str, start: int, end: int) -> bool:
    """Whether a text before a question only introduces it ("Sure, let's solve it."), so that it is the text's own."""
    return _INTRODUCTION.match(low, start, end) is not None or low[start:end].rstrip(" \n*_").endswith((":", "!"))
