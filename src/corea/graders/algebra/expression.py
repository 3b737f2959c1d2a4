"""Expressions: a tree read from tokens, or an error where any token is left over."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from corea.graders.algebra.notation import FUNCTIONS, MathToken

_DEEPEST = 120
_LONGEST = 300  # tokens


class Unreadable(ValueError):
    """Raised for tokens that are not one whole expression."""


@dataclass(frozen=True, slots=True)
class Node:
    """An expression: `op` is "number", "variable", "constant", or the operation on `args`.

    A number keeps in `name` how a decimal was written, since rounded values are compared by their digits.
    """

    op: str
    args: tuple["Node", ...] = ()
    name: str = ""
    value: Fraction = Fraction(0)

    def walk(self) -> "list[Node]":
        """This node and all below it."""
        return [self, *(below for arg in self.args for below in arg.walk())]

    def renamed(self, old: str, new: str) -> "Node":
        """The expression with another name for a variable."""
        name = new if self.op == "variable" and self.name == old else self.name
        return Node(self.op, tuple(arg.renamed(old, new) for arg in self.args), name, self.value)

    @property
    def variables(self) -> set[str]:
        """Names of the variables."""
        return {node.name for node in self.walk() if node.op == "variable"}


def number(value: int | Fraction) -> Node:
    """A number as a node."""
    return Node("number", value=Fraction(value))


DEGREE = Node("/", (Node("constant", name="pi"), number(180)))
_TRIGONOMETRIC_TEXT = "sin cos tan cot sec csc"
TRIGONOMETRIC = frozenset(_TRIGONOMETRIC_TEXT.split())


def parse_expression(tokens: Sequence[MathToken]) -> Node:
    """The expression that the tokens are, all of them.

    Raises:
        Unreadable: They are none, or not only one.
    """
    if len(tokens) > _LONGEST:
        raise Unreadable("too long")
    parser = _ExpressionParser(tokens)
    node = parser.sum()
    if parser.peek() is not _END:
        raise Unreadable(f"left over: {parser.peek().text}")
    return node


_SIGNS = ("+", "-", "±", "∓")
_CLOSING = {"(": ")", "[": "]", "{": "}", "⟪": "⟫"}
_INVERSES = {"sin": "arcsin", "cos": "arccos", "tan": "arctan", "cot": "arccot"}
_ACCENTS_TEXT = "vec hat overline tilde overrightarrow widehat dot angle triangle measuredangle"
_ACCENTS = frozenset(_ACCENTS_TEXT.split())


def _nested(method: Callable[["_ExpressionParser"], Node]) -> Callable[["_ExpressionParser"], Node]:
    """A method of the parser that may come to call itself: no deeper than `_DEEPEST`."""

    def guarded(parser: "_ExpressionParser") -> Node:
        parser.depth += 1
        if parser.depth > _DEEPEST:
            raise Unreadable("nested too deeply")
        node = method(parser)
        parser.depth -= 1
        return node

    return guarded


class _ExpressionParser:
    """Recursive descent over tokens: sum, product, signed, power, atom."""

    def __init__(self, tokens: Sequence[MathToken]) -> None:
        self.tokens = [*(piece for token in tokens for piece in _letters_of(token)), _END, _END, _END]
        self.at = 0
        self.depth = 0
        self.bars = 0

    def peek(self, ahead: int = 0) -> MathToken:
        return self.tokens[self.at + ahead]

    def take(self) -> MathToken:
        token = self.peek()
        self.at += 1
        return token

    def accept(self, *texts: str) -> str:
        """The next token's text, taken, where it is one of these; else ""."""
        text = self.tokens[self.at].text
        if text not in texts:
            return ""
        self.at += 1
        return text

    def expect(self, text: str) -> None:
        if not self.accept(text):
            raise Unreadable(f"expected {text}")

    @_nested
    def sum(self) -> Node:
        node = self.product()
        while sign := self.accept(*_SIGNS):
            node = Node(sign, (node, self.product()))
        return node

    def product(self) -> Node:
        node = self.signed()
        while True:
            if operation := self.accept("*", "/", "mod"):
                node = Node(operation, (node, self.signed()))
            elif self.starts_atom():
                node = self.joined(node)
            else:
                return node

    def joined(self, left: Node) -> Node:
        """Two factors without a sign between them: a product, or a mixed number (2\\frac{1}{2}, 2 1/2)."""
        begins_with_digit = self.peek().kind == "number"
        before, begin = self.tokens[self.at - 1], self.at
        if begins_with_digit and before.kind in ("letter", "command"):
            raise Unreadable("a number after a letter")
        right = self.power()
        if begins_with_digit and before.kind == "number":
            if not self.tokens[begin].spaced or self.peek().text != "/" or self.peek(1).kind != "number":
                raise Unreadable("two numbers side by side")
            right = Node(self.take().text, (right, self.power()))
            if not _is_mixed(left, right):
                raise Unreadable("two numbers side by side")
        is_written_mixed = begins_with_digit or (before.kind == "number" and self.tokens[begin].text == "frac")
        return Node("+" if is_written_mixed and _is_mixed(left, right) else "*", (left, right))

    @_nested
    def signed(self) -> Node:
        sign = self.accept(*_SIGNS)
        if not sign:
            return self.power()
        value = self.mixed_power()
        if sign == "+":
            return value
        return Node("negative", (value,)) if sign == "-" else Node(sign, (number(0), value))

    def mixed_power(self) -> Node:
        """The operand of a sign: a whole mixed number, and no further."""
        node = self.signed() if self.peek().text in ("-", "+") else self.power()
        is_whole = self.tokens[self.at - 1].kind == "number"
        if is_whole and (self.peek().text == "frac" or (self.peek().kind == "number" and self.peek().spaced)):
            return self.joined(node)
        return node

    def power(self) -> Node:
        node = self.factorial(self.atom())
        return Node("^", (node, self.exponent())) if self.accept("^") else node

    @_nested
    def exponent(self) -> Node:
        if sign := self.accept("+", "-"):
            inner = self.exponent()
            return Node("negative", (inner,)) if sign == "-" else inner
        return self.power()

    def factorial(self, node: Node) -> Node:
        """A node with the factorial and degree signs after it."""
        start = self.at
        while sign := self.accept("!", "°"):
            if self.at - start > 3:
                raise Unreadable("a factorial of a factorial of a factorial")
            node = Node("factorial", (node,)) if sign == "!" else Node("*", (node, DEGREE))
        return node

    def starts_atom(self) -> bool:
        token = self.peek()
        if token.kind in ("number", "letter", "command"):
            return token.text not in ("rfloor", "rceil", "mod", "pmod")
        return token.text in ("(", "[", "{") or (token.text == "|" and not self.bars)

    @_nested
    def atom(self) -> Node:
        token = self.take()
        if token.kind == "number":
            return Node("number", name=token.text if "." in token.text else "", value=Fraction(token.text))
        if token.kind == "letter":
            return self.letter(token)
        if token.kind == "command":
            return self.command(token.text)
        if token.text in ("(", "[", "{"):
            bars, self.bars = self.bars, 0
            node = self.sum()
            self.expect(_CLOSING[token.text])
            self.bars = bars
            return node
        if token.text == "|":
            self.bars += 1
            node = self.sum()
            self.expect("|")
            self.bars -= 1
            return Node("abs", (node,))
        raise Unreadable(f"unexpected {token.text or 'end'}")

    def letter(self, token: MathToken) -> Node:
        name = token.text + self.subscript()
        if name in ("e", "i"):
            return Node("constant", name=name)
        if name in ("f", "g", "h") and self.peek().text == "(":
            raise Unreadable("an unknown function")
        if self.peek().text in ("'", "′"):
            raise Unreadable("a derivative")
        return Node("variable", name=name)

    def subscript(self) -> str:
        return "_" + "".join(piece.text for piece in self.group()) if self.accept("_") else ""

    def group(self) -> list[MathToken]:
        """The tokens of one argument: all within braces, else one."""
        if self.peek().text != "{":
            return [self.take()]
        depth, start = 0, self.at + 1
        while True:
            token = self.take()
            if token is _END:
                raise Unreadable("an open brace")
            depth += (token.text == "{") - (token.text == "}")
            if not depth:
                return self.tokens[start : self.at - 1]

    def command(self, name: str) -> Node:
        if name in ("pi", "infty"):
            return Node("constant", name=name)
        if name == "frac":
            return Node("/", (self.short_argument(), self.short_argument()))
        if name == "binom" and self.peek().text == "{":
            return Node("binom", (self.short_argument(), self.short_argument()))
        if name in ("sqrt", "cbrt"):
            return self.root(name)
        if name in ("lfloor", "lceil"):
            node = self.sum()
            self.expect("r" + name[1:])
            return Node(name[1:], (node,))
        if name in _ACCENTS:
            written = self.group()
            if name in ("angle", "triangle", "measuredangle"):
                while self.peek().kind == "letter" and self.peek().text.isupper():
                    written.append(self.take())
            return Node("variable", name=name + " " + " ".join(token.text for token in written))
        if name in FUNCTIONS - {"mod", "frac", "binom"}:
            return self.function(name)
        raise Unreadable(f"\\{name}")

    def short_argument(self) -> Node:
        """One argument of a command: a group, or a single digit or letter (\\frac12)."""
        token = self.peek()
        if token.kind == "number" and "." not in token.text and len(token.text) > 1:
            self.tokens[self.at] = MathToken("number", token.text[1:], upright=token.upright)
            return number(int(token.text[0]))
        return self.atom()

    def root(self, name: str) -> Node:
        degree = number(3 if name == "cbrt" else 2)
        if name == "sqrt" and self.accept("["):
            degree = self.sum()
            self.expect("]")
        return Node("root", (self.atom(), degree))

    def function(self, name: str) -> Node:
        base = self.base() if name == "log" else None
        power: Node | None = None
        if self.accept("^"):
            power = self.exponent()
            if power in (Node("negative", (number(1),)), number(-1)):
                if name not in _INVERSES:
                    raise Unreadable("a power of -1 of a function")
                name, power = _INVERSES[name], None
        base = base or (self.base() if name == "log" else None)
        node = Node(name, (*self.arguments(name), *((base,) if base else ())))
        return Node("^", (node, power)) if power else node

    def base(self) -> Node | None:
        if not self.accept("_"):
            return None
        return self.atom() if self.peek(1).text == "(" else self.short_argument()

    def arguments(self, name: str) -> tuple[Node, ...]:
        takes_several = name in ("gcd", "lcm", "max", "min")
        if opening := self.accept("(", "[", "{"):
            found = [self.sum()]
            while takes_several and self.accept(","):
                found.append(self.sum())
            self.expect(_CLOSING[opening])
            return tuple(found)
        if takes_several:
            raise Unreadable(f"{name} without brackets")
        node = self.signed()
        while self.starts_atom() and self.peek().text not in FUNCTIONS - {"frac", "sqrt"}:
            node = Node("*", (node, self.power()))
        return (node,)


def _letters_of(token: MathToken) -> list[MathToken]:
    """A short word as the product of its letters (ab, xyz, PV); longer ones are words and stay so."""
    is_product = token.kind == "word" and len(token.text) <= 3 and token.text.isascii() and not token.upright
    if not is_product or token.text.istitle() or token.text.lower() in _NO_PRODUCT:
        return [token]
    return [MathToken("letter", letter, token.spaced and i == 0) for i, letter in enumerate(token.text)]


_NO_PRODUCT_TEXT = "and or not no yes is are the odd of to at if for all any one two six ten mod nor but per"
_NO_PRODUCT = frozenset(_NO_PRODUCT_TEXT.split())


def _is_mixed(whole: Node, part: Node) -> bool:
    """True if a whole number beside a fraction is a mixed number: both of digits, the fraction proper."""
    if whole.op != "number" or whole.name or part.op != "/":
        return False
    over, under = part.args
    return over.op == under.op == "number" and not over.name and not under.name and 0 < over.value < under.value


_END = MathToken("end", "")
