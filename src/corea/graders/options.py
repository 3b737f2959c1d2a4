"""The options of a multiple-choice question, and which of them an answer names by its text."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from corea.graders.markup import as_written
from corea.graders.number import Quantity, read_number, same_amount
from corea.graders.text import normalise
from corea.parsing import choice_letter


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
            normal=tuple(_normal(as_written(option)) for option in options),
            amounts=tuple(map(read_number, options)),
            may_look_lettered=any(choice_letter(option, 26) or _LABEL.match(option) for option in options),
            are_letters=all(option.strip().upper() in labels for option in options),
        )

    def named(self, answer: str) -> int | None:
        """The option that an answer is: as written, else once both are normalised."""
        plain = as_written(answer)
        if plain in self.exact:
            return _only(self.exact, plain)
        return _only(self.normal, _normal(plain))

    def agrees(self, written: str, index: int) -> bool:
        """Whether the words beside a letter may go with it: not those of another option, nor a name ("E. coli")."""
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

    def equal_number(self, answer: str) -> int | None:
        """The only option with the same number, and the same unit where both have one: "4.0" for "4"."""
        said = read_number(answer)
        if said is None:
            return None
        equal = [i for i, amount in enumerate(self.amounts) if amount and _same(said, amount)]
        return equal[0] if len(equal) == 1 else None

    def inside(self, answer: str) -> int | None:
        """The only option whose words are in the answer, where no word beside them changes what it says."""
        plain = CONTRAST.sub("", as_written(answer))
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
    """Whether two amounts are equal; a percent sign of the answer's own makes it a share: 5% is not the option 5."""
    if said.percent and not option.percent:
        said = Quantity(said.value / 100)
    units_fit = not said.unit or not option.unit or said.unit.rstrip("s") == option.unit.rstrip("s")
    return units_fit and same_amount(option, said)


def is_name(plain: str) -> bool:
    """Whether the letter at the start belongs to a name: E. coli, D. H. Lawrence."""
    return _ABBREVIATED.match(plain) is not None and _NAME.fullmatch(_LABEL.sub("", plain)) is not None


def _only(texts: Sequence[str], text: str) -> int | None:
    """The index of the only one of some texts that equals `text`."""
    return texts.index(text) if text and texts.count(text) == 1 else None


def _has_words(text: str, part: str) -> bool:
    """Whether the words of `part` stand together in `text`."""
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
