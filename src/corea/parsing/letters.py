"""The letter of a choice, in the notations and languages in which texts write it."""

import re

from corea.parsing.answer_words import OPTION

_NAMES = rf"(?:(?:la|el|il|die|der|das|het|l['’])\s?)?(?:option|choice|answer|letter|{OPTION})"
_NAMED = re.compile(rf"(?:{_NAMES}\s{{0,2}}|(?:la|el|il|die|het)\s)(?=[^\w\s]|[A-Z](?![\w]))", re.I)
_LONE = re.compile(r"[(\[{（【]?\s?([A-Z])\s?[)\]}）】]?[.):。]?(?:\s?(?:选项|番|번))?", re.I)
_LETTERED = re.compile(
    r"(?:[(\[（【]([A-Z])[)\]）】][\s:.,-]{0,4}|([A-Z])(?:\s?[):）、．：]|\.(?=\s)(?!\s?[A-Z]\.)|\s[-–—]\s|\s?(?:->|→)"
    r"|,?\s(?=because|since|as\s|which))\s{0,4})(?=\S)",
    re.I,
)
_TRAILING = re.compile(r"\s\(?(?:option|choice|answer)?\s?\(([A-Z])\)$|\s\((?:option|choice|answer)\s([A-Z])\)$", re.I)
_GLOSSED = re.compile(r"([A-Z])\s\([^()\n]{1,80}\)")  # C (Paris)
_ANOTHER = re.compile(r"(?:\band\b|\bor\b|[,;/&]|\n)\s{0,3}(?:option\s)?(?:\([A-Z]\)|[A-Z][).:])")
_MARKUP = re.compile(r"\\text(?:bf|it)?|\\mathrm|\*\*|[{}*]")
_WIDE = {
    ord(wide): letter
    for i, letter in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    for wide in map(chr, (0xFF21 + i, 0x24B6 + i, 0xFF41 + i, 0x24D0 + i))
}
"""Full-width and circled letters: Ｂ, Ⓑ."""
_INITIALS = re.compile(r"[A-Z]\.\s?[A-Z]\.")


def choice_letter(answer: str, choices: int | None = None) -> str | None:
    """The letter of a choice in any notation (B, (b), B) bank, Option B, bank (B), la B, 选项B), else None.

    Where the number of choices is not known, only capitals A to J are letters, but for a lone "(b)" or "b)".
    """
    if choices == 0 or (answer[:1].isdigit() and not answer.endswith(")")):
        return None
    answer = answer if answer.isascii() else answer.translate(_WIDE)
    text = _MARKUP.sub("", answer).replace("\\ ", " ").strip(" _`$\\.,。")
    named = _NAMED.match(text) if text[1:2].isalpha() or text[1:2] in "'’" else None
    text = text[named.end() :] if named else text
    if match := _LONE.fullmatch(text):
        letter = match[1]
        dressed = len(text) > 1 or named is not None
    elif match := _LETTERED.match(text):
        if _ANOTHER.search(text, match.end()) or _INITIALS.match(text):
            return None
        letter = match[1] or match[2]
        dressed = True
        if letter.islower() and choices is None:
            return None
    elif choices and (match := _GLOSSED.fullmatch(text)):
        letter, dressed = match[1], True
    elif len(text) <= 120 and (match := _TRAILING.search(text)):
        letter, dressed = match[1] or match[2], True
    else:
        return None
    if letter.islower() and not (dressed or choices):
        return None
    index = ord(letter.upper()) - ord("A")
    return letter.upper() if index < (choices or 10) else None
