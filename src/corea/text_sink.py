"""The text of an answer on its way to the caller."""

from collections.abc import Awaitable, Callable

from corea.types import StreamPart

OnText = Callable[[str], Awaitable[None]]
OnPart = Callable[[StreamPart], Awaitable[None]]


class TextSink:
    """Passes an answer on to the caller, and records whether any of it has been passed.

    Args:
        on_part: Receives the pieces that have more than text; None: only their text is passed.
    """

    def __init__(self, on_text: OnText, on_part: OnPart | None = None) -> None:
        self.on_text = on_text
        self.on_part = on_part
        self.begun: bool = False

    async def __call__(self, piece: str | StreamPart) -> None:
        self.begun = self.begun or bool(piece)
        if isinstance(piece, str):
            await self.on_text(piece)
        elif self.on_part is not None:
            await self.on_part(piece)
        elif piece.text:
            await self.on_text(piece.text)
