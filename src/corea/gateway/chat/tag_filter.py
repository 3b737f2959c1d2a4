"""A stream of text without a prompt's tags and special tokens, without thinking, and without `<confidence>`.

The marks of thinking are the readers' (`corea.parsing.thinking`). What a closing mark that nothing opened would hide
has been sent by then: only the mark itself is left out.
"""

import re
from dataclasses import dataclass, field

from corea.parsing.thinking import BARE_HARMONY, CLOSES_OF, MARKS, TOKENS, opens_bare_harmony

HIDDEN: dict[str, tuple[str, ...]] = {**CLOSES_OF, "<confidence>": ("</confidence>",)}
TAGS = sorted({*MARKS, *TOKENS, *HIDDEN, "<answer>", "</answer>"}, key=len, reverse=True)
LONGEST = len(TAGS[0])
_TAG = re.compile("|".join(map(re.escape, TAGS)))
_BEGUN = {tag[:i] for tag in TAGS for i in range(1, len(tag))}
_START = re.compile("[" + "".join(re.escape(first) for first in sorted({tag[0] for tag in TAGS})) + "]")


@dataclass(slots=True)
class TagFilter:
    """Feed it pieces; it gives what may be shown as soon as that is certain. Memory is bounded by the longest tag."""

    held: str = ""
    closing: tuple[str, ...] = ()  # of the block that hides what comes
    first: bool = True  # nothing has been looked at yet
    begun: bool = field(default=False)
    space: str = ""  # nothing is shown of it until more text follows: a hidden tag may be all that does

    def feed(self, piece: str) -> str:
        """What of the text so far may be shown now."""
        self.held += piece
        return self._without_outer_space("".join(self._certain(last=False)))

    def end(self) -> str:
        """What was held back and turned out to be text."""
        shown = "".join(self._certain(last=True))
        return self._without_outer_space(shown)

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
        """Whether the hiding block ends in `low[at:]`, and from where to go on."""
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
