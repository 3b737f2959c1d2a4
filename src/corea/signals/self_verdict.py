"""Yes or no in the reply of a model that was asked if an answer is right."""

import re
from dataclasses import dataclass
from enum import Enum

_YES_WORDS = """
yes yeah yep yup yea aye true correct right accurate valid affirmative absolutely definitely certainly exactly indeed
agreed agree confirmed ja oui sí sì si sim tak да richtig korrekt wahr vrai exact correcto correcta cierto verdadero
certo corretto vero верно правильно
"""
_NO_WORDS = """
no nope nah false incorrect wrong inaccurate invalid mistaken untrue erroneous negative disagree incorrectly nein nicht
falsch non faux não nao falso falsa нет неверно неправильно incorrecto incorrecta errado sbagliato
"""
_EASTERN_YES = """
没错 沒錯 没有错 沒有錯 不错 不錯 正确 正確 正しい 对 對 是 はい 맞 네
"""
_EASTERN_NO = """
不正确 不正確 不对 不對 不是 错 錯 否 正しくない 正しくありません いいえ 間違 아니 틀
"""
YES, NO = frozenset(_YES_WORDS.split()), frozenset(_NO_WORDS.split())
EASTERN = {word: words is _EASTERN_YES for words in (_EASTERN_NO, _EASTERN_YES) for word in words.split()}
_RIGHT = r"(?:correct|right|true|accurate|valid)"
_WRONG = r"(?:incorrect|wrong|false|mistaken|inaccurate|untrue|invalid|erroneous)"
_NOUN = r"(?:answers?|values?|results?|solutions?|options?|choices?|ones?|numbers?|responses?|conclusions?)"
_NOT = r"(?:\bnot|n't|n’t|\bnever|\bcannot\s+be|\bhardly)"
_FEW_WORDS = r"(?:\s+(?!but\b|and\b|or\b)[a-z]+){0,2}"
_THIS = r"\b(?:that|this|it|which|yours?)(?:['’]s|\s+is|\s+was)(?:\s+(?:indeed|in\s+fact))?(?:\s+(?:the|a|an))?"


class _Says(Enum):
    YES = True
    NO = False
    UNSURE = "unsure"
    NOTHING = "nothing"


_OTHERS = r"(?:\s+(?!but\b|and\b|or\b)[a-z]+){0,4}"
_OPEN = "sure|certain|clear|possible|enough|confident|know|able|determine|verify|tell|say"
_FIND_OUT = "say|tell|know|be\\s+determined|determine|verify|judge|confirm|answer|assess"
_UNSURE = "unsure|uncertain|unclear|maybe|perhaps|possibly|probably|depends|unknown|unable|impossible|unless|if|whether"
_TO_CHECK = "check|verify|see|think|determine|confirm|compute|calculate|evaluate|recalculate|work"
_PARTLY = r"partially|partly|mostly|almost|nearly|half|somewhat|close\s+to"
_FAULT = "mistakes?|errors?|issues?|problems?|doubts?|flaws?"
_SURELY = r"absolutely|definitely|certainly|of\s+course|surely|probably"
_PATTERNS: tuple[tuple[_Says, str], ...] = (  # the first that matches at a place counts
    (_Says.NOTHING, r"[^.!?\n]{0,300}\?"),  # the question repeated
    (_Says.UNSURE, rf"\b(?:yes|true|{_RIGHT})\s*(?:/|\s(?:or|and)\s)\s*(?:no\b|not\b|false|{_WRONG})"),
    (_Says.UNSURE, rf"{_NOT}{_FEW_WORDS}\s+(?:{_OPEN})\b"),
    (_Says.UNSURE, rf"\b(?:{_UNSURE}|(?:may|might|could|should)\s+be)\b"),
    (_Says.UNSURE, rf"\b(?:can(?:not|['’]t)|could(?:\s+not|n['’]t))\s+(?:\w+\s+)?(?:{_FIND_OUT})\b"),
    (_Says.UNSURE, rf"\b(?:let\s+me|let['’]s|let\s+us|(?:need|have)\s+to|must)\s+(?:[a-z]+\s+)?(?:{_TO_CHECK})\b"),
    (_Says.UNSURE, rf"\b(?:{_PARTLY})\s+{_RIGHT}\b"),
    (_Says.YES, rf"{_NOT}{_FEW_WORDS}\s+{_WRONG}\b"),
    (_Says.NO, rf"(?:{_NOT}|\bneither|\bfar\s+from){_OTHERS}\s+{_RIGHT}\b"),
    (_Says.YES, rf"\b(?:no|not\s+any|without(?:\s+any)?)\s+(?:[a-z]+\s+)?(?:{_FAULT})\b"),
    (
        _Says.NO,
        rf"\b(?:there\s+(?:is|are)|contains?|has|made|makes)\s+(?:(?!no\b|not\b)[a-z]+\s+){{0,2}}(?:{_FAULT})\b",
    ),
    (_Says.NO, rf"\b(?:{_SURELY})\s+not\b(?:{_FEW_WORDS}\s+{_RIGHT}\b)?"),
    (_Says.YES, rf"{_THIS}\s+{_RIGHT}\s+{_NOUN}\b"),
    (_Says.NO, rf"\b{_WRONG}\s+{_NOUN}\b"),
    (_Says.NOTHING, rf"\b{_RIGHT}\s+(?:{_NOUN}|way|approach|method|triangles?|angles?|side|hand|formula|steps?)\b"),
    (_Says.NOTHING, r"\bnot\s+only\b"),
    (_Says.YES, r"\bof\s+course\b"),
    (_Says.YES, "[没不]错|[沒不]錯|没有错|沒有錯"),
    (_Says.NO, "|".join(_EASTERN_NO.split())),
    (_Says.YES, "|".join(_EASTERN_YES.split())),
    (_Says.NO, rf"{_NOT}\b(?:\s+(?:exactly|absolutely|certainly|definitely|indeed|agree)\b)?"),
    (_Says.NO, rf"\b(?:{'|'.join(sorted(NO))})\b"),
    (_Says.YES, rf"\b(?:{'|'.join(sorted(YES))})\b"),
)
_ANY = re.compile("|".join(f"(?P<p{i}>{pattern})" for i, (_, pattern) in enumerate(_PATTERNS)))
_RESERVED = re.compile(r"\b(?:but|however|except|although|though|pero|mais|aber)\b|但")
_LETTER = re.compile(r"[\W_]*([yntf])[\W_]*\Z")
_BESIDE = " \t\r\n*\"'`_.,:;!#>-([{}])<|“”‘’▁Ġ"
_SHORT = {"in": False, "wr": False, "fa": False, "n": False, "ye": True, "tr": True, "y": True}


@dataclass(frozen=True, slots=True)
class SelfVerdict:
    """Yes or no, and the character of the text at which it begins."""

    right: bool
    at: int


def find_verdict(text: str) -> SelfVerdict | None:
    """The yes or no of a text; None if it has neither, is unsure, or contradicts itself ("Yes, but ...")."""
    low = text.lower()
    if letter := _LETTER.match(low):
        return SelfVerdict(letter[1] in "yt", letter.start(1))
    found: SelfVerdict | None = None
    for match in _ANY.finditer(low):
        says = _PATTERNS[int((match.lastgroup or "p0")[1:])][0]
        if says is _Says.NOTHING:
            continue
        if says is _Says.UNSURE:
            break
        if found is None:
            found = SelfVerdict(says is _Says.YES, match.start())
        elif found.right is not (says is _Says.YES):
            return None
    return None if found and found.right and _RESERVED.search(low, found.at) else found


def token_verdict(token: str) -> bool | None:
    """True for a token that is yes or begins such a word, False for no; None: neither."""
    word = token.strip(_BESIDE).lower()
    if word in YES or word in NO or word in ("not", "never"):
        return word in YES
    if word in _SHORT:
        return _SHORT[word]
    for begun, says in EASTERN.items():
        if word.startswith(begun):
            return says
    kinds = {
        says for words, says in ((YES, True), (NO, False)) for each in words if len(word) > 2 and each.startswith(word)
    }
    return kinds.pop() if len(kinds) == 1 else None
