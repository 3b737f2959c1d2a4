"""The part of a stage's text that a client sees."""

from collections.abc import Sequence
from typing import Any

from corea.gateway.chat.tag_filter import TagFilter
from corea.parsing import read_answer
from corea.prompts import PROMPT_TAGS
from corea.stage import Stage

NO_TAGS: frozenset[str] = frozenset()


def tags_of(stage: Stage) -> frozenset[str]:
    """The tags that a stage's text holds by our own doing.

    Its prompt asks for them; or without such a prompt, its model was trained to write them, which shows in a signal
    that reads them or in the backend.
    """
    if stage.prompt is not None and stage.prompt.tags:
        return stage.prompt.tags
    return PROMPT_TAGS if getattr(stage.backend, "writes_tags", False) or _reads_tags(stage.signal) else NO_TAGS


def _reads_tags(signal: Any) -> bool:
    return signal is not None and (getattr(signal, "reads_tags", False) or _reads_tags(getattr(signal, "inner", None)))


class VisibleText:
    """Takes a stage's text in pieces, and returns what a client sees: whole or streamed, the same text.

    Args:
        tags: Removed, see `TagFilter`; the text is unchanged without any.
        stops: The client's stop sequences, where the stage was not sent them.
    """

    def __init__(self, tags: frozenset[str] = NO_TAGS, stops: Sequence[str] = ()) -> None:
        self.unchanged: bool = not tags and not stops
        self.stopped: bool = False
        self._filter = TagFilter(tags) if tags else None
        self._stops = stops
        self._held = ""
        self._shown = False

    def whole(self, text: str) -> str:
        """A whole text as a client sees it: what `feed` and `end` give for its pieces."""
        if self.unchanged:
            return text
        if self._filter is None or self._stops:
            return self.feed(text) + self.end(text)
        return self._filter.whole(text) or read_answer(text) or ""

    def feed(self, piece: str) -> str:
        """The text that is certain with this piece."""
        if self.unchanged:
            return piece
        return self._until_stop(self._filter.feed(piece) if self._filter else piece, last=False)

    def end(self, text: str) -> str:
        """The rest; where all is hidden (some models put everything into their thinking), the short answer.

        Args:
            text: The whole text of the stage.
        """
        if self.unchanged:
            return ""
        rest = self._until_stop(self._filter.end() if self._filter else "", last=True)
        return rest if rest or self._shown or self.stopped or not self._filter else read_answer(text) or ""

    def _until_stop(self, text: str, *, last: bool) -> str:
        if self.stopped:
            return ""
        if self._stops:
            text, self._held = self._held + text, ""
            found = [place for stop in self._stops if (place := text.find(stop)) >= 0]
            if found:
                self.stopped, text = True, text[: min(found)]
            elif not last:
                begun = _begun(text, self._stops)
                text, self._held = text[: len(text) - begun], text[len(text) - begun :]
        self._shown = self._shown or bool(text)
        return text


def _begun(text: str, stops: Sequence[str]) -> int:
    """Length of the longest end of a text that a stop sequence begins with."""
    longest = min(max(map(len, stops)) - 1, len(text))
    return next((n for n in range(longest, 0, -1) if any(stop.startswith(text[-n:]) for stop in stops)), 0)
