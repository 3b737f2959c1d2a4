"""The words that label a confidence, in the languages that models answer in."""

import re

LABEL = re.compile(
    r"conf(?:idence|ident)?s?(?P<blocked>[\s_-]{0,2}(?:interval|limit|bound|region|band|set|ind(?:ex|ices)|threshold"
    r"|parameter|cut-?off|coefficient)s?)?"
    r"(?:[\s_-]{0,2}(?:level|score|rating|value|estimate|assessment|percentage|percent|pct|probability)s?)?(?![a-z])"
    r"(?:\.(?=\s?[:=]))?"
    r"|(?P<right>(?:probability|likelihood|chance)\s(?:(?=correct)|of\s(?:being\s|the\sanswer\sbeing\s)?|that\si(?:'m|\sam)\s|that\s(?:my|the"
    r"|this)\s(?:answer|solution)\sis\s)"
    r"(?:correct(?:ness)?|right)|accuracy\sof\s(?:my|this)\s(?:answer|solution)|p\((?:(?:my|the|this)\s)?(?:answer\s(?:is\s|being\s)?)?(?:correct|true|right)\))"
    r"|prob(?:ability)?(?P<field>_(?!of_(?!being|correct|answer))[a-z_]{1,30}|_?yes|_?correct)?(?![a-z])|likelihood(?![a-z])"
    r"|(?P<reversed>uncertainty(?:[\s_-](?:level|score|estimate))?(?![a-z]))|certainty(?:[\s_-](?:level"
    r"|score))?(?![a-z])"
    r"|konfidenz(?:wert|niveau|grad)?(?![a-z])|(?:vertrauens?|sicherheits?)(?:wert|niveau|grad)?(?![a-z])"
    r"|(?:zuversicht|gewissheit)(?![a-z])"
    r"|confian(?:ce|za|ça)(?![a-z])|certitude(?![a-z])|certe(?:za|zza)(?![a-z])|confidenza(?![a-z])"
    r"|fiducia(?![a-z])|keyakinan(?![a-z])"
    r"|(?:zekerheid|betrouwbaarheid|vertrouwen)(?:s(?:niveau|score|graad))?(?![a-z])|pewnoś(?:ć|ci)(?![a-z])"
    r"|уверенност[ьи](?![а-я])"
    r"|置信(?:度|水平|水準)|信心(?:指数|指數|程度|水平|水準|水准|度)?|信頼度|(?:確信|确信)度?|(?:把握|可信|自信)(?:程度|度)"
    r"|(?:확신|신뢰)(?:도|\s?수준)|자신감|(?:ال)?ثق(?:ة|تي)(?!\w)|(?:(?:आत्म)?विश्वास|निश्चितता)(?:\sका)?(?:\sस्तर)?"
    r"|(?P<foreign>wahrscheinlichkeit,?\sdass\s(?:die|meine)\santwort\s(?:korrekt|richtig)\sist"
    r"|probabilité\sque\s(?:ma|la)\sréponse\s(?:soit|est)\s(?:correcte|juste))"
)
"""A label; `blocked`, a term of statistics; `right`, `field`, an event that is the answer's being right; `reversed`."""

ENGLISH_STEMS = (
    "conf",
    "prob",
    "likelihood",
    "certainty",
    "chance of",
    "chance that",
    "accuracy of",
    "p(correct",
    "p(true",
    "p(right",
    "p(answer",
    "p(my a",
    "p(the a",
)
LATIN_STEMS = (
    "konfidenz", "vertrauen", "sicherheit", "zuversicht", "gewissheit", "wahrscheinlichkeit", "certitude", "certeza",
    "certezza", "fiducia", "keyakinan", "zekerheid", "betrouwbaarheid", "vertrouwen",
)  # fmt: skip
OTHER_STEMS = (
    *LATIN_STEMS, "置信", "信心", "信頼度", "確信", "确信", "把握", "可信", "自信", "확신", "신뢰", "자신감",
    "уверенност", "pewnoś", "ثقة", "ثقتي", "विश्वास", "निश्चितता",
)  # fmt: skip
