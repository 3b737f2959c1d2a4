"""Multiple choice: a letter however it is written, or an option's own text where the question lists its options.

An answer names an option in one of these ways, tried in this order; where a way fits two options, or a letter and the
text beside it contradict each other, the answer names none:

1. it is the option's text, signs and case included ("-5", "C#", "E. coli"), LaTeX unified;
2. it is the same text once normalised ("BLUE." for "blue"; see `corea.graders.text.normalise`);
3. it is the option's letter (B, (b), "B) bank", "Option B", "bank (B)", "I think it's B");
4. it is the same number ("4.0" for "4", "1/2" for "0.5");
5. it has the option's words, and beside them only words that do not change it ("It is the blue one", "Yes, it is").
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from corea.graders.number import Quantity, read_number, same_amount
from corea.graders.text import as_written, is_priced, normalise
from corea.parsing import Extracted, choice_letter, find_answer
from corea.types import Question, Verdict


@dataclass(frozen=True, slots=True)
class ChoiceGrader:
    """Right when the answer names the same option as the reference, by letter or by its text."""

    def grade(self, question: Question, text: str) -> Verdict:
        options = question.choices
        wanted = _reference_letter(question.reference or "", options)
        if wanted is None:
            return Verdict(False, None, f"the reference {question.reference!r} is no option")
        stated = find_answer(text, choices=len(options) or None)
        if stated is None:
            return Verdict(False, None, "no answer found")
        written = _written(text, stated)
        if written is None:
            return Verdict(False, stated.value, "the answer says which option is wrong")
        letter = option_letter(stated.value, options, written=written)
        if letter is None and options and as_written(written) == as_written(options[_index(wanted)]):
            letter = wanted  # two options read the same
        if letter is None:
            return Verdict(False, stated.value, "the answer names no option, or several")
        return Verdict(letter == wanted, letter)

    def reference_error(self, question: Question) -> str | None:
        options = question.choices
        if option_letter(question.reference or "", options) is not None:
            return None
        return f"names none of the options A to {_letter(len(options) - 1)}, or several" if options else _NO_LETTER


_NO_LETTER = "is no letter of an option"


def _written(text: str, stated: Extracted[str]) -> str | None:
    """The answer as the text has it, with what reading takes off and means something; None where it is denied."""
    start, end = stated.start, stated.end
    if text[start - 1 : start] in _BEFORE_DENIED and DENIED.search(text, max(0, start - 40), start):
        return None
    written, after = text[start:end], text[end : end + 1]
    if is_priced(text, start, end):
        return "$" + written
    if after == "*" and _is_starred(text, start, end):
        return written + "*"
    if after in (",", "?") and len(stated.value) < 3:
        return written + text[end : end + 60].partition("\n")[0]  # "B, which is Rome" is read as B
    return written


def _is_starred(text: str, start: int, end: int) -> bool:
    """True if the answer ends in a star that closes no emphasis: "A*" is a search, and no letter."""
    line = text.rfind("\n", 0, start) + 1
    return text[end : end + 1] == "*" != text[end + 1 : end + 2] and "*" not in text[line:start]


def _reference_letter(reference: str, options: Sequence[str]) -> str | None:
    """The letter of a reference: itself, else the option with its text."""
    letter = reference.strip().upper()
    if len(letter) == 1 and "A" <= letter <= _letter((len(options) or 26) - 1):
        return letter
    return option_letter(reference, options)


def option_letter(answer: str, options: Sequence[str], *, written: str | None = None) -> str | None:
    """The letter of the option that an answer names; None where it names none, or several.

    Args:
        written: The answer as the text has it, where `answer` is only what reading made of it ("E" of "E. coli").
    """
    written = written if written and len(written) >= len(answer) else answer
    if not options:
        return None if is_name(written) else choice_letter(answer) or _letter_said(written, 26)
    listed = OptionTexts.of(tuple(options))
    if len(written) == 1 and listed.are_letters:
        return choice_letter(answer, len(options))
    letter = choice_letter(answer, len(options))
    if (letter is None or listed.may_look_lettered) and (index := listed.named(written)) is not None:
        return _letter(index)
    if written.endswith("*"):
        return None
    letter = letter or _letter_said(written, len(options)) or listed.counted(written)
    if letter:
        return letter if (len(written) < 4 and "?" not in written) or listed.agrees(written, _index(letter)) else None
    index = listed.equal_number(written)
    if index is None:
        index = listed.inside(written)
    return None if index is None else _letter(index)


def _letter(index: int) -> str:
    return chr(ord("A") + index)


def _index(letter: str) -> int:
    return ord(letter) - ord("A")


_BEFORE_DENIED = (" ", "(", "*", '"', "'")
_LETTER_SAID = re.compile(
    r"(?i:(?:(?:so|therefore|thus|hence|then),?\s)?(?:i\s(?:would\s)?(?:think|believe|guess|choose|pick|select|say|go\swith)"
    r"|i['’]d\s(?:say|pick|choose|guess|go\swith)|(?:my|the)\s(?:(?:correct|right|best|final)\s)?(?:answer|option|choice)\s(?:is|must\sbe|should\sbe)"
    r"|it\s(?:is|must\sbe|should\sbe)|it['’]s|that['’]s|that\sis|definitely|probably|clearly|only|must\sbe),?\s"
    r"(?:(?:that|it['’]s|it\sis|probably|definitely|clearly|the\sanswer\sis)\s){0,3}(?:(?:option|choice|letter)\s)?)?[(\[]?([A-Z])[)\]]?(?:\sonly)?[.!?]?"
)


_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")
_COUNTED = re.compile(
    rf"(?:it['’]s\s|it\sis\s)?(?:the\s)?(?:({'|'.join(_ORDINALS)})\s(?:option|choice|answer|one)"
    r"|(?:option|choice)\s(?:number\s|#\s?)?(\d))(?:\sis\s(?:the\s)?(?:correct|right|best)(?:\s(?:one|answer))?)?",
    re.I,
)
_REMARKED = re.compile(r"\(?([A-Z])\)?\s\([^()]*\)")


def _letter_said(written: str, count: int) -> str | None:
    """The letter of a short sentence: "I think it's B"."""
    if not 1 < len(written) < 80:
        return None
    plain = as_written(written)
    match = _LETTER_SAID.fullmatch(CONTRAST.sub("", plain)) or _REMARKED.fullmatch(plain)
    return match[1] if match and _index(match[1]) < count else None


@dataclass(frozen=True, slots=True)
class OptionTexts:
    """A question's options in the forms that answers are compared with."""

    exact: tuple[str, ...]
    normal: tuple[str, ...]
    amounts: tuple[Quantity | None, ...]
    may_look_lettered: bool
    """An option reads like a letter with its text ("C", "E. coli"), so that its text is looked for before a letter."""
    are_letters: bool
    """Every option is a letter that is also a label ("B", "A"): a letter then is a label."""

    @classmethod
    @lru_cache(maxsize=1024)
    def of(cls, options: tuple[str, ...]) -> "OptionTexts":
        labels = [chr(ord("A") + i) for i in range(len(options))]
        return cls(
            exact=tuple(map(as_written, options)),
            normal=tuple(_normal(_CANNOT.sub("cannot", as_written(option))) for option in options),
            amounts=tuple(map(read_number, options)),
            may_look_lettered=any(choice_letter(option, 26) or _LABEL.match(option) for option in options),
            are_letters=all(option.strip().upper() in labels for option in options),
        )

    def named(self, answer: str) -> int | None:
        """The option that an answer is: as written, else once both are normalised."""
        plain = as_written(answer)
        if plain in self.exact:
            return _only(self.exact, plain)
        return _only(self.normal, _normal(_CANNOT.sub("cannot", plain)))

    def agrees(self, written: str, index: int) -> bool:
        """True if the words beside a letter may go with it: not those of another option, nor a name ("E. coli")."""
        plain = as_written(written)
        beside = _LABEL.sub("", plain)
        other = self.named(beside)
        if other is not None:
            return other == index
        if (another := _ANOTHER.search(plain)) and another[1] != chr(ord("A") + index):
            return False
        if (
            _REJECTED.match(plain)
            or DENIED.search(f"{beside} ")
            or self._begins(_NAMELY.sub("", beside)) not in (None, index)
        ):
            return False
        return not is_name(plain) or beside.casefold() in self.normal[index]

    def _begins(self, beside: str) -> int | None:
        """The option, of several the longest, with whose text some words begin."""
        said = f"{normalise(beside)} "
        begun = [i for i, option in enumerate(self.normal) if len(option) > 2 and said.startswith(f"{option} ")]
        return max(begun, key=lambda i: len(self.normal[i]), default=None)

    def counted(self, answer: str) -> str | None:
        """The letter of the option that an answer counts: "the second option", "Option 2"; None if 2 is an option."""
        match = _COUNTED.fullmatch(as_written(answer))
        if not match:
            return None
        if match[2] and any(amount and amount.value == int(match[2]) for amount in self.amounts):
            return None
        index = int(match[2]) - 1 if match[2] else _ORDINALS.index(match[1].casefold())
        return _letter(index) if 0 <= index < len(self.exact) else None

    def equal_number(self, answer: str) -> int | None:
        """The only option with the same number, and the same unit where both have one: "4.0" for "4"."""
        said = read_number(answer)
        if said is None:
            return None
        equal = [i for i, amount in enumerate(self.amounts) if amount and _same(said, amount)]
        return equal[0] if len(equal) == 1 else None

    def inside(self, answer: str) -> int | None:
        """The only option whose words are in the answer, where no word beside them changes what it says."""
        plain = CONTRAST.sub("", _CANNOT.sub("cannot", as_written(answer)))
        said = normalise(plain)
        found = [i for i, option in enumerate(self.normal) if len(option) > 1 and _has_words(said, option)]
        longest = [i for i in found if not any(i != j and _has_words(self.normal[j], self.normal[i]) for j in found)]
        if len(longest) != 1 or not self.normal[longest[0]].replace(" ", "").isalpha():
            return None
        index, option = longest[0], self.normal[longest[0]]
        beside = f" {said} ".replace(f" {option} ", " ", 1).split()
        if _HARMLESS.issuperset(beside):
            return index
        if len(beside) > 1 and _CHANGES.isdisjoint(beside):
            ends = said.endswith(f" {option}") and beside[-1] in _LEADS_TO
            if ends or (" " in option and len(beside) >= _SENTENCE):
                return index
        starts = plain.casefold().startswith(self.exact[index].casefold())
        explains = starts and _EXPLAINS.match(plain, len(self.exact[index]))
        return index if explains and _WITHDRAWS.isdisjoint(beside) else None


def _same(said: Quantity, option: Quantity) -> bool:
    """True if two amounts are equal; a percent sign of the answer's own makes it a share: 5% is not the option 5."""
    if said.percent and not option.percent:
        said = Quantity(said.value / 100)
    units_fit = not said.unit or not option.unit or said.unit.rstrip("s") == option.unit.rstrip("s")
    return units_fit and same_amount(option, said)


def is_name(plain: str) -> bool:
    """True if the letter at the start belongs to a name: E. coli, D. H. Lawrence."""
    return _ABBREVIATED.match(plain) is not None and _NAME.fullmatch(_LABEL.sub("", plain)) is not None


def _only(texts: Sequence[str], text: str) -> int | None:
    """The index of the only one of some texts that equals `text`."""
    return texts.index(text) if text and texts.count(text) == 1 else None


def _has_words(text: str, part: str) -> bool:
    """True if the words of `part` stand together in `text`."""
    return f" {part} " in f" {text} "


_ABBREVIATED = re.compile(r"[A-Za-z]\.\s")
_NAME = re.compile(r"(?:[A-Z]\.\s?)+\S.*|(?!because|since|as\s|the\s|it\s|this\s|that\s|they\s)[a-z]+(?:\s\S+){0,2}")
_LABEL = re.compile(
    r"^(?:(?:option|choice|answer|letter)\s?)?[(\[{]?\s?[A-Za-z]\s?(?:[)\]}.:,]|\s[-–—]\s|(?=\s\()|$)[\s.:,)-]*"
    r"|\s*\((?:(?:option|choice|answer)\s)?\(?[A-Z]\)+$",
    re.I,
)
_ANOTHER = re.compile(
    r"(?:\bor\b|\band\b|\bmaybe\b|\bperhaps\b|\bpossibly\b|\bthen\b|[/→,;&])\s?(?:maybe\s|perhaps\s|possibly\s|also\s){0,2}"
    r"\(?([A-Z])[\s).?]*$"
)
_REJECTED = re.compile(
    r"\W*[A-Z]\W+(?:is\s)?(?:not\s(?:sure|correct|right|it)|wrong|incorrect|unsure|eliminated)\b", re.I
)
_NAMELY = re.compile(r"^\W*(?:which|that)\s(?:is|says|states|means)\s|^\W*(?:i\.e\.|namely|meaning)\W+", re.I)
DENIED = re.compile(
    r"(?:\bnot|n['’]t|\bnever|\bcannot|\bnor|\bneither|\bthan|\bexcept|\binstead of|\bunlike)\s"
    r"(?:be\s|the\s|option\s|choice\s|answer\s){0,3}[(*\"']*$",
    re.I,
)
_CANNOT = re.compile(r"\b(?:can['’]t|can not)\b", re.I)
CONTRAST = re.compile(r"(?:,\s*|\s)(?:and\s)?(?:not|rather than|instead of)\s[^,.;]*$", re.I)
_EXPLAINS = re.compile(r"[,;:.!]\s|\s[-(]|\s(?:because|since|as)\s", re.I)
_SENTENCE = 4  # words beside an option of several words that make a sentence: "New York City" is none
_WITHDRAW = """but however or nor although though unless except wait actually instead wrong incorrect false both"""
_CHANGE = """not no never none neither cannot cant dont doesnt isnt arent wasnt werent wont wouldnt shouldnt didnt non
anti un without unlike than rather avoid exclude excludes excluded excluding eliminate eliminated rule rules ruled
reject rejected less more if only all any every other others different unlikely impossible hardly either"""
_LEAD_TO = """is was are were be called named cause causes caused means becomes become in at to by"""
_LEAVE = """it its is was are be a an the one ones that this these they he she i we you would should must will think
thinks believe guess say said says choose chose pick select go with my our answer option choice correct right best most
likely probably definitely certainly clearly obviously indeed so thus therefore hence of course to for on in at way sure
final here there called named known as does do has have"""
_WITHDRAWS = frozenset(_WITHDRAW.split())
_CHANGES = _WITHDRAWS | frozenset(_CHANGE.split())
_LEADS_TO = frozenset(_LEAD_TO.split())
_HARMLESS = frozenset(_LEAVE.split())


_LONG_WORD = re.compile(r"[^\W\d_]{3}")
_SYMBOL = re.compile(r"[a-z]{1,2}[A-Z][A-Za-z]?")  # mW is not MW


def _normal(plain: str) -> str:
    """Normalised text; of a formula only the spaces and the case go, of a symbol nothing."""
    is_formula = not plain.isalpha() and not _LONG_WORD.search(plain)
    if _SYMBOL.fullmatch(plain):
        return plain
    return plain.replace(" ", "").casefold() if is_formula else normalise(plain)
