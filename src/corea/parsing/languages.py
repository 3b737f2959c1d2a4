"""Sentences that state a confidence in other languages than English: "ich bin zu 90 % sicher", "我有90%的把握"."""

import re

from corea.parsing.labels import positions
from corea.parsing.numbers import Bare, first_number, plain
from corea.parsing.roles import is_statistical
from corea.parsing.statement import Statement

_LATIN = (
    "sicher", "segur", "certeza", "certezza", "sicur", "zeker", "confian", "konfiden", "fiducia", "convencid",
    "überzeugt", "convinto", "overtuigd", "yakin", "pewien", "pewn",
)  # fmt: skip
STEMS = (
    *_LATIN, "sûr", "säker", "certain", "pewnoś", "уверен", "把握", "信心", "自信", "確信", "确信", "肯定", "확신",
    "자신", "واثق", "متأكد", "ثقة", "यकीन", "विश्वास", "आश्वस्त",
)  # fmt: skip

_SURE = (
    r"(?:sicher|überzeugt|segur[oa]|sûre?|certaine?|sicur[oa]|convint[oa]|convencid[oa]|certez|confian|konfiden"
    r"|fiducia|zeker|overtuigd|säker|yakin|pewien|pewn[aye]|pewnoś|уверен"
    r"|把握|信心|自信|確信|确信|肯定|확신|자신|واثق|متأكد|(?:ال)?ثقة|यकीन|विश्वास|आश्वस्त)"
)
_AFTER = re.compile(rf"[ \t*_%]{{0,4}}(?:的|の|de\s|del\s|en\s|di\s|van\s|का\s|से\s|정도\s|로\s)?(?:mi\s|la\s)?{_SURE}")
_BEFORE = re.compile(
    r"(?:sicher\szu|überzeugt\szu|sûre?\sà|certaine?\sà|sicur[oa]\sal|convint[oa]\sal|segur[oa]\s(?:al|en\sun|a"
    r"|de\s(?:un|al))|convencid[oa]\sal|zeker\svoor|pewien\sna|pewn[ay]\sna|confiante?\sà"
    r"|(?:уверен[а-я]{0,3})\sна|信心(?:是|为|有)?|自信(?:は|が)?|确信|把握(?:是|为|有)?|(?:واثق"
    r"|متأكد)ة?\s(?:من\s\w{1,12}\s)?بنسبة|ثق(?:ة|تي)\sبنسبة"
    r"|(?:confian[zçc](?:a|e)?|konfidenz|fiducia|certezza|certeza|sicherheit"
    r"|zekerheid)(?:\s\w{1,10}){0,4}\s(?:ist|liegt\sbei|beträgt|est(?:\sde)?|es(?:\sde(?:l)?)?|é(?:\sde)?"
    r"|è(?:\sdel(?:l')?)?|is))"
    r"[ \t*_]{0,3}(?:(?:etwa|environ|circa|cerca\sde|около|примерно|около|rund|ungefähr|около|aproximadamente|大约"
    r"|约|約)\s?)?$"
)
_DENIED = re.compile(
    r"(?<!\w)(?:nicht|nie|kein\w{0,2}|pas|non|não|nunca|no|niet|geen|nie|не|لست|ليس"
    r"|नहीं)(?!\w)(?:\s\w{1,12}){0,3}\s?$|(?:没有?|沒有?|不(?:是|太|能)?)\w{0,6}$"
)
_DENIED_BEHIND = re.compile(r"[^.\n。]{0,30}(?:ません|않|नहीं|ない(?!か))")
_OTHERS = re.compile(
    r"(?<!\w)(?:ist|war|sind|hat|est|était|sont|está|están|tiene|é|tem|è|ha|is|heeft|jest|он|она|они|врач|автор|эксперт\w*)\s"
    r"(?:(?!ich|je|yo|eu|io|ik|suis|bin|estoy|estou|sono|ben|jestem|я)\w{1,12}\s){0,3}\W*$"
    r"|(?:^|[,，。.!?\n])\s?(?![^,，。]{0,12}(?:我|对|對|此|所以|目前|大概|大约|应该|至少|仍|还|也|只))[\u4e00-\u9fff]{1,6}有$"
    r"|(?:他|她|你|您|医生|专家|作者|老师|学生|用户|研究者|科学家|医師|著者|専門家|彼|의사|저자|전문가|그는|그녀)[^我,，。.]{0,12}$"
)
"""Somebody else as subject: a verb in the third person, "der Arzt ist zu", or such a person."""
_NOUN = re.compile(r"confian|konfiden|fiducia|certe|sicherheit|zekerheid|pewnoś|信心|自信|把握|확신도")


def foreign_sentence(low: str, start: int, end: int) -> Statement | None:
    """The last such sentence; a percentage or a fraction only."""
    stems = _LATIN if low.isascii() else STEMS
    for at in positions(low, stems, start, end, 24):
        if is_statistical(low, at, end):
            continue
        begin = max(start, at - 50)
        window, stem = plain(low[begin : min(end, at + 60)]), at - begin
        if found := _beside(window, stem, begin):
            return found
    return None


def _beside(window: str, stem: int, begin: int) -> Statement | None:
    """The number just before or behind the word for "sure" at `stem`."""
    pos = 0
    while number := first_number(window, pos, bare=Bare.LABEL):
        pos = max(number.stop, number.start + 1)
        if number.value is None or not (number.scaled or number.fractional):
            continue
        joined = _AFTER.match(window, number.stop) if number.stop <= stem + 1 else None
        says = (joined and joined.end() > stem) or (number.start > stem and _BEFORE.search(window, 0, number.start))
        if (
            says
            and not _DENIED.search(window[: number.start])
            and not _denied(window, stem, number.stop)
            and ((number.start > stem and _NOUN.match(window, stem)) or not _OTHERS.search(window[: number.start]))
        ):
            return Statement.of(number, begin, begin + stem)
    return None


def _denied(window: str, stem: int, stop: int) -> bool:
    """Whether "not" comes behind, or before the word for "sure" that the number follows."""
    return _DENIED_BEHIND.match(window, max(stem, stop)) is not None or (
        stop > stem and _DENIED.search(window[:stem]) is not None
    )
