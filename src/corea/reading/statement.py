"""A statement of confidence as it was found in a text."""

from msgspec import Struct

from corea.reading.roles import Role


class Statement(Struct, frozen=True):
    """A stated confidence; its digits are `[start:end]` of the folded text and it ends at `stop`.

    `value` is None where something stands in its place that is no probability: "high", "N/A", "0.7 to 0.8".
    """

    value: float | None
    start: int
    end: int
    stop: int
    at: int
    """Where its label or word begins."""
    role: Role
    option: str = ""
    """The option, or the number in a list, that it belongs to."""
    is_key: bool = False
    """Of a JSON object."""

    @classmethod
    def unread(cls, at: int, role: Role, *, key: bool = False) -> "Statement":
        """One without a number."""
        return cls(None, at, at, at, at, role, is_key=key)
