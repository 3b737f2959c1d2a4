"""Tokens of a mathematical answer, from LaTeX, Unicode and plain notation alike.

`tokenize` removes what does not change the meaning (sizes, dollars, spacing commands, bold marks) and gives every
notation of one thing the same token: "\\dfrac", "≤" and "<=", "√", "½", "^\\circ" and "degrees".
"""

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction

_FUNCTIONS_TEXT = """
sin cos tan cot sec csc arcsin arccos arctan arccot sinh cosh tanh ln log lg exp sqrt cbrt abs gcd lcm max min
floor ceil binom mod frac
"""
FUNCTIONS = frozenset(_FUNCTIONS_TEXT.split())
_GREEK_TEXT = """
alpha beta gamma delta epsilon varepsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau phi varphi chi
psi omega Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega ell hbar
"""
GREEK = frozenset(_GREEK_TEXT.split())


@dataclass(frozen=True, slots=True)
class MathToken:
    """A piece of notation.

    `kind` is "number", "letter", "word", "command" or "sign"; `spaced`: white space stood before it;
    `upright`: it stood in \\text or \\mathrm.
    """

    kind: str
    text: str
    spaced: bool = False
    upright: bool = False


def tokenize(text: str, *, grouped: bool = True) -> tuple[MathToken, ...]:
    """The tokens of an answer.

    Args:
        grouped: "1,234" is one number; else it is two with a comma between them.
    """
    tokens: list[MathToken] = []
    upright, spaced = 0, False
    for match in _TOKEN[grouped].finditer(_clean(text)):
        kind, written = match.lastgroup or "", match.group()
        if kind == "space":
            spaced = True
        elif written in "⟨⟩":
            upright, spaced = upright + (1 if written == "⟨" else -1), True
        else:
            tokens.append(_token(kind, written, spaced, upright > 0))
            spaced = False
    return tuple(tokens)


def _token(kind: str, written: str, spaced: bool, upright: bool) -> MathToken:
    if kind == "number":
        return MathToken("number", written.replace(",", ""), spaced, upright)
    if kind == "command":
        name = _SAME_COMMAND.get(written[1:], written[1:])
        if name in GREEK:
            return MathToken("letter", name, spaced, upright)
        return MathToken("sign" if name in _SIGNS else "command", name, spaced, upright)
    if kind == "letters":
        name = _SAME_WORD.get(written.lower(), written)
        if name in FUNCTIONS or name in ("pi", "infty"):
            return MathToken("command", name, spaced, upright)
        if written in GREEK:
            return MathToken("letter", written, spaced, upright)
        return MathToken("letter" if len(written) == 1 else "word", written, spaced, upright)
    return MathToken("sign", _SAME_SIGN.get(written, written), spaced, upright)


_LETTERS = r"(?P<letters>[^\W\d_]+(?:['’](?:s|t)\b)?)"
_REST = rf"|(?P<command>\\[a-zA-Z]+|\\\\)|{_LETTERS}|(?P<space>\s+)|(?P<sign><=|>=|!=|==|->|=>|\.\.\.|//|\S)"
_PLAIN_NUMBER = r"\d+(?:\.\d+)?|\.\d+"
_TOKEN = {
    True: re.compile(
        rf"(?P<number>(?<![\d,.])[1-9]\d{{0,2}}(?:,\d{{3}})+(?![\d]|,\d)(?:\.\d+)?|{_PLAIN_NUMBER}){_REST}"
    ),
    False: re.compile(rf"(?P<number>{_PLAIN_NUMBER}){_REST}"),
}
GROUPED = re.compile(r"(?<![\d.])[1-9]\d{0,2}(?:,[1-9]\d{2})+(?!\d)")
"""Writing that may also be a list: no part of it begins with a zero."""

_SIGNS_TEXT = "≤ ≥ ≠ ∈ ∪ ∩ ± ∓ * / ≡ ≈ → … ° < > | ∅ ¬ ⟺ { } ∖"
_SIGNS = frozenset(_SIGNS_TEXT.split())
_COMMANDS = """
≤ le leq leqslant
≥ ge geq geqslant
≠ ne neq
< lt
> gt
≈ approx simeq sim
≡ equiv
∈ in
∪ cup
∩ cap
∖ setminus backslash
∅ emptyset varnothing
¬ neg
→ to rightarrow longrightarrow implies Rightarrow
⟺ iff Leftrightarrow
± pm
∓ mp
* cdot times ast bullet
/ div
| lvert rvert vert mid
{ lbrace
} rbrace
[ lbrack
] rbrack
° degree degrees circ
… dots ldots cdots dotsc dotsb
infty infinity
mod bmod
binom dbinom tbinom choose
overline bar
arctan arctg
tan tg
cot ctg
csc cosec
"""
"""Tokens, each with the commands that are read as it."""
_SAME_COMMAND = {name: line.split()[0] for line in _COMMANDS.strip().splitlines() for name in line.split()[1:]}
_SAME_WORD = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "infinity": "infty"} | {
    name: name for name in FUNCTIONS - {"frac", "mod", "binom"} | {"infty", "pi"}
}
_SAME_SIGN = {
    "<=": "≤", "⩽": "≤", "≦": "≤", ">=": "≥", "⩾": "≥", "≧": "≥", "!=": "≠", "==": "=", "->": "→", "=>": "→", "⇒": "→",
    "...": "…", "⋯": "…", "×": "*", "·": "*", "⋅": "*", "∙": "*", "∗": "*", "÷": "/", "∕": "/", "⁄": "/", "−": "-",
    "–": "-", "—": "-", "‑": "-", "～": "≈", "~": "≈", "≃": "≈", "º": "°", "˚": "°", "∣": "|", "：": ":", "，": ",",
    "；": ";", "（": "(", "）": ")", "∶": ":", "⟶": "→", "⇔": "⟺", "【": "[", "】": "]", "％": "%", "∖": "∖",
}  # fmt: skip
_UNICODE = {
    "π": r"\pi ", "∞": r"\infty ", "√": r"\sqrt ", "∛": r"\sqrt[3] ", "ℝ": r"\reals ", "ℤ": r"\integers ",
    "ℕ": r"\naturals ", "ℚ": r"\rationals ", "ℂ": r"\complexes ", "⌊": r"\lfloor ", "⌋": r"\rfloor ",
    "⌈": r"\lceil ", "⌉": r"\rceil ", "\u200b": "", "\u2061": "", "\u2062": "",
}  # fmt: skip
_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n", strict=True))
_LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉ₙ", "0123456789n", strict=True))
_GREEK_NAME = re.compile(r"GREEK (?:SMALL|CAPITAL) LETTER (\w+)$")
_SETS = {"R": "reals", "Z": "integers", "N": "naturals", "Q": "rationals", "C": "complexes"}
_UPRIGHT = r"text|mbox|mathrm|textrm|textnormal|textsf|texttt|hbox|textit|textbf|emph|operatorname\*?"


def _clean(text: str) -> str:
    """One line of plain characters and LaTeX commands; \\text{...} in angle brackets."""
    if "begin" not in text:
        text = re.sub(r"\\\\(?=[a-zA-Z])", r"\\", text)  # a backslash that was escaped once too often
    text = _raised("".join(_UNICODE.get(char, _fraction(char)) for char in text))
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    for _ in range(3):  # nested commands, from the inside out
        text = re.sub(rf"\\(?:{_UPRIGHT})\s*\{{([^{{}}]*)\}}", r"⟨\1⟩", text)
        text = re.sub(r"\\(?:mathbf|mathit|mathsf|boldsymbol|bm|boxed|mathcal|fbox)\s*\{([^{}]*)\}", r"{\1}", text)
    text = re.sub(r"\\frac\s*\{\s*⟨([^⟩]*)⟩\s*\}\s*\{\s*⟨([^⟩]*)⟩\s*\}", r"⟨\1/\2⟩", text)
    text = _repeating(_without_dollars(text))
    return text.strip().strip("`").strip().rstrip(".;,?。").strip()


def _fraction(char: str) -> str:
    if char.isascii():
        return char
    greek = _GREEK_NAME.match(unicodedata.name(char, ""))
    if greek and greek[1].lower() in GREEK:
        return f"\\{greek[1].lower()} " if char.islower() else f"\\{greek[1].capitalize()} "
    if not unicodedata.decomposition(char):
        return char
    kind = unicodedata.decomposition(char).split()[0]
    written = unicodedata.normalize("NFKC", char)
    if kind == "<fraction>" and "⁄" in written:
        over, under = written.split("⁄")
        return rf" \frac{{{over}}}{{{under}}}"
    return written if kind in ("<wide>", "<noBreak>", "<font>") else char


def _raised(text: str) -> str:
    text = re.sub(f"[{''.join(_RAISED)}]+", lambda run: "^{" + "".join(_RAISED[c] for c in run[0]) + "}", text)
    return re.sub(f"[{''.join(_LOWERED)}]+", lambda run: "_{" + "".join(_LOWERED[c] for c in run[0]) + "}", text)


_REWRITES = (
    (re.compile(r"\\(?:left|right|middle|[Bb]igg?[lrm]?|displaystyle|textstyle|(?:no)?limits)(?![a-zA-Z])\.?"), ""),
    (re.compile(r"(?<=\d)\s*[xX]\s*(?=10\s*\^)"), "*"),
    (re.compile(r",\s*\\!\s*(?=\d)"), ","),
    (re.compile(r"(?<![\w}])(\d+(?:\.\d+)?)[eE]([-+]?\d{1,3})(?![\w.])"), r"\1*10^{\2}"),
    (re.compile(r"\{,\}(?=\d{3})"), ","),
    (re.compile(r"\\!|(?<=\d)\\[,;:]\s*(?=\d{3}(?!\d))"), ""),
    (re.compile(r"(?<![\d.,])(\d{1,3})((?:[ \u00a0\u2009\u202f]\d{3})+)(?![\d/])"), lambda m: re.sub(r"\s", "", m[0])),
    (re.compile(r"(?<!\\)\\[,;:> ]|\\q?quad(?![a-z])|(?<=\S)~(?=\S)|\\hspace\*?\{[^{}]*\}|\\(?:hfill|newline)"), " "),
    (re.compile(r"\\[dtc]frac(?![a-z])"), r"\\frac"),
    (re.compile(r"(?<!\\)\\[()\[\]]"), " "),
    (re.compile(r"\\mathbb\s*\{?([RZNQC])\}?"), lambda m: f"\\{_SETS[m[1]]} "),
    (re.compile(r"\^\s*\{?\s*(?:\\circ|°|\\degrees?|o)\s*\}?(?![a-z])"), " ° "),
    (re.compile(r"(?<=[\d)}])\s*-?degrees?\b", re.I), " ° "),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"\b([aApP])\.\s?([mM])\b\.?"), r"\1\2"),
    (re.compile(r"\\\{|\\lbrace(?![a-z])"), "❴"),
    (re.compile(r"\\\}|\\rbrace(?![a-z])"), "❵"),
    (re.compile(r"\\langle(?![a-z])"), "⟪"),
    (re.compile(r"\\rangle(?![a-z])"), "⟫"),
    (re.compile(r"\\\|"), "‖"),
    (re.compile(r"\\([#&_])"), r"\1"),
    (re.compile(r"^\s*\*\*(.*?)\*\*\s*$", re.S), r"\1"),
    (re.compile(r"\*\*"), "^"),
)  # fmt: skip


def _without_dollars(text: str) -> str:
    """Dollars that enclose maths removed; what is left of them is money."""
    money = text.replace("\\$", "¤")
    bare = money.count("$")
    if bare % 2 and re.match(r"\s*-?\s*\$\s?[\d.]", money):
        money = money.replace("$", "¤", 1)
    return money.replace("$", " ").replace("¤", "$")


_REPEATING = re.compile(r"(\d*)\.(\d*)(?:\\(?:overline|bar|dot)\s*\{?(\d+)\}?|\((\d+)\))(?!\d)")
_ELLIPSIS = re.compile(r"(?<![\d.])(\d*)\.(\d*?)(?:(\d{1,2})\3{2,}|(\d{3,})\4+)\d?(?:\.\.\.|…|\\l?dots)$")


def _repeating(text: str) -> str:
    """Repeating decimals as fractions: 0.1\\overline{6}, 0.1(6) and 0.1666... are 1/6."""

    def as_fraction(match: re.Match[str]) -> str:
        start, period = match[1] + match[2], match[3] or match[4]
        value = Fraction(int(start + period) - int(start or 0), 10 ** len(match[2]) * (10 ** len(period) - 1))
        return rf"{{\frac{{{value.numerator}}}{{{value.denominator}}}}}"

    if len(text) > 400:
        return text
    return _REPEATING.sub(as_fraction, _ELLIPSIS.sub(as_fraction, text))
