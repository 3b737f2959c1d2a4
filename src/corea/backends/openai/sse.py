"""Server-sent events from bytes in pieces of any size.

Source: WHATWG HTML, sec. 9.2, "Server-sent events", without the lone carriage return as a line end.
"""

from collections.abc import Iterator

MOST_BYTES = 16 * 1024 * 1024  # of one event: bounds memory for a line without end


class EventReader:
    """Yields the `data` of each complete event; comments (keep-alives) and other fields are skipped."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._data: list[bytes] = []
        self._held = 0

    def feed(self, received: bytes) -> Iterator[bytes]:
        """The events that these bytes complete.

        Raises:
            ValueError: One event has more than MOST_BYTES.
        """
        end = received.rfind(b"\n")
        if end < 0:
            self._keep(received)
            return
        lines = (bytes(self._rest) + received[:end]).split(b"\n")
        self._rest.clear()
        for line in lines:
            line = line.removesuffix(b"\r")
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
                self._held += len(line)
            elif not line and self._data:
                yield self._take()
        self._keep(received[end + 1 :])

    def finish(self) -> Iterator[bytes]:
        """The event that the end of the stream completes, if its blank line is missing."""
        if self._rest:
            yield from self.feed(b"\n")
        if self._data:
            yield self._take()

    def _keep(self, received: bytes) -> None:
        self._rest += received
        if len(self._rest) + self._held > MOST_BYTES:
            raise ValueError(f"got an event of more than {MOST_BYTES} bytes")

    def _take(self) -> bytes:
        data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        self._data.clear()
        self._held = 0
        return data
