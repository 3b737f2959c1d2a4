"""A statement of confidence as it was found in a text."""

from msgspec import Struct

from corea.parsing.numbers import Number
from corea.parsing.roles import Role


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
    def of(
        cls,
        number: Number,
        offset: int,
        at: int,
        role: Role = Role.PLAIN,
        *,
        option: str = "",
        is_key: bool = False,
        turned: bool = False,
    ) -> "Statement":
        """That of a number in a window that begins at `offset`; `turned`, of an uncertainty."""
        value = number.value
        if turned and value is not None:
            value, role = round(1 - value, 12), min(role, Role.REVERSED)
        start, end, stop = offset + number.start, offset + number.end, offset + number.stop
        return cls(value, start, end, stop, at, role, option, is_key)

    @classmethod
    def unread(cls, at: int, role: Role, *, key: bool = False) -> "Statement":
        """One without a number."""
        return cls(None, at, at, at, at, role, is_key=key)
