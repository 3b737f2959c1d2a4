"""Filter of a text stream: removes the reasoning, `<answer>` marks and `<confidence>` that a prompt asked for.

The reasoning is removed only where the text begins with it; the marks are those of `corea.parsing.thinking`. Nothing
inside code (`...` or a fenced block) is removed.
"""

import re
from dataclasses import dataclass, field

from corea.parsing.thinking import BARE_HARMONY, CLOSES_OF, MARKS, TOKENS, opens_bare_harmony
from corea.prompts import ANSWER, CONFIDENCE, PROMPT_TAGS, THINK

FENCE, TICK, LINE = "```", "`", "\n"
CLOSES = frozenset(MARKS) - CLOSES_OF.keys()
TAGS = sorted({*MARKS, *TOKENS, ANSWER, "</answer>", CONFIDENCE, FENCE, TICK, LINE}, key=len, reverse=True)
LONGEST = len(TAGS[0])
_TAG = re.compile("|".join(map(re.escape, TAGS)))
_BEGUN = {tag[:i] for tag in TAGS for i in range(1, len(tag))}
_FIRST = "".join(re.escape(first) for first in sorted({tag[0] for tag in TAGS} - {LINE}))
_START = {"": re.compile(f"[{_FIRST}]"), FENCE: re.compile("`"), TICK: re.compile("[`\n]")}  # by the code that is open
_PLAIN = f"[^{_FIRST}]*"
_AS_ASKED = re.compile(  # the form that the default prompt asks for, as most drafts have it
    rf"\s*<think>{_PLAIN}</think>\s*<answer>({_PLAIN})</answer>\s*(?:<confidence>[\d.]{{1,9}}</confidence>\s*)?\Z"
)
_STATED = re.compile(r"<confidence>(?:[^<\n]{0,40}</confidence>| ?[\d.,%]{1,20}|\s*\Z)")
_STATING = re.compile(r"<confidence>(?:\s*|[^<\n]{0,40}(?:</?[a-z]{0,10})?)")


@dataclass(slots=True)
class TagFilter:
    """Takes pieces of text, and returns the visible text as soon as it is certain.

    Args:
        tags: The tags that the prompt asked for, of PROMPT_TAGS.
        held: Text that may yet become a tag.
        waiting: Text at the beginning that is reasoning if its closing mark follows (some chat templates write the
            opening one themselves). It is visible if none has come before the answer or the end.
        closing: Closing marks of the hidden block that is open.
        code: The mark that ends the code that is open.
        first: No text has been examined yet.
        leading: Nothing has come yet but hidden parts and white space.
        seen: The marks around an answer that were removed: one of each.
        begun: Visible text has been returned.
        space: White space that is returned only if more text follows.
    """

    tags: frozenset[str] = PROMPT_TAGS
    held: str = ""
    waiting: list[str] | None = None
    closing: tuple[str, ...] = ()
    code: str = ""
    first: bool = True
    leading: bool = True
    seen: set[str] = field(default_factory=set[str])
    begun: bool = False
    space: str = ""

    def __post_init__(self) -> None:
        self.waiting = [] if THINK in self.tags else None

    def whole(self, text: str) -> str:
        """The visible text of a whole text: what `feed` and `end` give for its pieces."""
        if self.tags == PROMPT_TAGS and (found := _AS_ASKED.match(text)):
            return found[1].strip()
        return self.feed(text) + self.end()

    def feed(self, piece: str) -> str:
        """The text that has become certain with this piece."""
        self.held += piece
        return self._without_outer_space("".join(self._certain(last=False)))

    def end(self) -> str:
        """The text that was held back."""
        shown = self._certain(last=True)
        return self._without_outer_space("".join([*(self.waiting or ()), *shown]))

    def _certain(self, *, last: bool) -> list[str]:
        shown: list[str] = []
        if self.first and self.held and THINK in self.tags:
            if not last and len(self.held) <= 8 and BARE_HARMONY.opens[0].startswith(self.held.lower()):
                return []
            self.first = False
            if opens_bare_harmony(self.held.lower()):
                self.closing, self.waiting = BARE_HARMONY.closes, None
        at, low = 0, self.held.replace("İ", "I").lower()
        while at < len(low):
            if self.closing:
                closed, at = self._closed(low, at)
                if not closed:
                    at = len(low) if last else at
                    break
                continue
            start = _START[self.code].search(low, at)
            until = start.start() if start else len(low)
            if until > at:
                self._show(self.held[at:until], shown)
                at = until
            if start is None:
                break
            if not last and len(low) - at < LONGEST and low[at:] in _BEGUN:
                break  # it may yet become a tag, or a longer one
            tag = _TAG.match(low, at)
            mark = tag[0] if tag else low[at : at + 1]
            length = self._hidden(mark, low[at:], shown, last=last)
            if length is None:
                break
            if not length:
                self._show(self.held[at : at + len(mark)], shown)
            at += length or len(mark)
        self.held = self.held[at:]
        return shown

    def _hidden(self, mark: str, rest: str, shown: list[str], *, last: bool) -> int | None:
        """The length of a tag that is removed here, 0 for visible text; None: more text is needed to tell."""
        if self.code or mark in (FENCE, TICK, LINE):
            self._note_code(mark)
            return 0
        if mark == CONFIDENCE and CONFIDENCE in self.tags:
            if not last and _STATING.fullmatch(rest):
                return None
            stated = _STATED.match(rest)
            return stated.end() if stated else 0
        if mark in (ANSWER, "</answer>") and ANSWER in self.tags and mark not in self.seen:
            self.seen.add(mark)
            shown += self.waiting or ()
            self.waiting, self.leading = None, False
            return len(mark)
        if mark in CLOSES_OF and self.leading and THINK in self.tags:
            self.closing, self.waiting = CLOSES_OF[mark], None
            return len(mark)
        if mark in CLOSES_OF and self.waiting is not None:  # opened here, so the text before it is not reasoning
            shown += self.waiting
            self.waiting = None
        if mark in CLOSES and self.waiting is not None:
            self.waiting = None
            return len(mark)
        return len(mark) if mark in TOKENS and self.tags else 0

    def _note_code(self, mark: str) -> None:
        if not self.code:
            self.code = mark if mark in (FENCE, TICK) else ""
        elif mark == self.code or (self.code == TICK and mark == LINE):
            self.code = ""

    def _show(self, text: str, shown: list[str]) -> None:
        if text and not text.isspace():
            self.leading = False
        (shown if self.waiting is None else self.waiting).append(text)

    def _closed(self, low: str, at: int) -> tuple[bool, int]:
        """True if the hidden block ends in `low[at:]`, and the position to continue from."""
        ends = [(place, -len(mark)) for mark in self.closing if (place := low.find(mark, at)) >= 0]
        if not ends:
            return False, max(at, len(low) - max(map(len, self.closing)) + 1)
        place, length = min(ends)
        self.closing = ()
        return True, place - length

    def _without_outer_space(self, text: str) -> str:
        if not self.begun:
            text = text.lstrip()
            self.begun = bool(text)
        text = self.space + text
        shown = text.rstrip()
        self.space = text[len(shown) :]
        return shown
