"""Filter of a text stream: removes a prompt's tags, special tokens, reasoning and `<confidence>`.

The marks of reasoning are those of `corea.parsing.thinking`. A closing mark without an opening one removes only itself,
since the text before it has been sent by then.
"""

import re
from dataclasses import dataclass

from corea.parsing.thinking import BARE_HARMONY, CLOSES_OF, MARKS, TOKENS, opens_bare_harmony

HIDDEN: dict[str, tuple[str, ...]] = {**CLOSES_OF, "<confidence>": ("</confidence>",)}
TAGS = sorted({*MARKS, *TOKENS, *HIDDEN, "<answer>", "</answer>"}, key=len, reverse=True)
LONGEST = len(TAGS[0])
_TAG = re.compile("|".join(map(re.escape, TAGS)))
_BEGUN = {tag[:i] for tag in TAGS for i in range(1, len(tag))}
_START = re.compile("[" + "".join(re.escape(first) for first in sorted({tag[0] for tag in TAGS})) + "]")


@dataclass(slots=True)
class TagFilter:
    """Takes pieces of text, and returns the visible text as soon as it is certain, in memory of the longest tag.

    Args:
        held: Text that may yet become a tag.
        closing: Closing marks of the hidden block that is open.
        first: No text has been examined yet.
        begun: Visible text has been returned.
        space: White space that is returned only if more text follows.
    """

    held: str = ""
    closing: tuple[str, ...] = ()
    first: bool = True
    begun: bool = False
    space: str = ""

    def feed(self, piece: str) -> str:
        """The text that has become certain with this piece."""
        self.held += piece
        return self._without_outer_space("".join(self._certain(last=False)))

    def end(self) -> str:
        """The text that was held back."""
        return self._without_outer_space("".join(self._certain(last=True)))

    def _certain(self, *, last: bool) -> list[str]:
        shown: list[str] = []
        if self.first and self.held:
            if not last and len(self.held) <= 8 and BARE_HARMONY.opens[0].startswith(self.held.lower()):
                return []
            self.first = False
            self.closing = BARE_HARMONY.closes if opens_bare_harmony(self.held.lower()) else ()
        at, low = 0, self.held.replace("İ", "I").lower()
        while at < len(low):
            if self.closing:
                closed, at = self._closed(low, at)
                if not closed:
                    at = len(low) if last else at
                    break
                continue
            start = _START.search(low, at)
            shown.append(self.held[at : start.start() if start else len(low)])
            at = start.start() if start else len(low)
            if not last and len(low) - at < LONGEST and low[at:] in _BEGUN:
                break  # it may yet become a tag, or a longer one
            tag = _TAG.match(low, at)
            shown.append("" if tag else self.held[at : at + 1])
            at = tag.end() if tag else at + 1
            self.closing = HIDDEN.get(tag[0], ()) if tag else ()
        self.held = self.held[at:]
        return shown

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
