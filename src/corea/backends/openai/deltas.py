"""The fields of a message beside its text, joined from the deltas of a stream."""

from collections.abc import Mapping
from typing import Any

FIXED = frozenset({"id", "type", "role", "index", "format", "object"})  # replaced, where other strings are continued


class MergedDeltas:
    """A message's fields beside role and text (tool calls, refusal, audio, ...)."""

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}
        self._places: dict[int, int] = {}  # index of a server's tool call -> its place here

    def add(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Adds a delta's fields; returns them with an index at each tool call."""
        if "tool_calls" in fields:
            calls = fields.pop("tool_calls")
            fields |= {"tool_calls": self._numbered(calls)} if isinstance(calls, list) else {}
        _merge(self.fields, fields)
        return fields

    def message(self) -> dict[str, Any] | None:
        """The fields of the whole message; None if there are none."""
        if not self._places:
            return self.fields or None
        calls: list[dict[str, Any]] = self.fields["tool_calls"]
        return {**self.fields, "tool_calls": [{k: v for k, v in call.items() if k != "index"} for call in calls]}

    def _numbered(self, pieces: list[Any]) -> list[dict[str, Any]]:
        numbered: list[dict[str, Any]] = []
        for piece in pieces:
            if isinstance(piece, dict):
                numbered.append({**piece, "index": self._place(piece, numbered)})
        return numbered

    def _place(self, piece: Mapping[str, Any], just: list[dict[str, Any]]) -> int:
        """The call that a piece continues, or a new one.

        A piece without an index continues the call of its id, and the last one if it has neither id nor name. An index
        given again with another id and a name is a call of its own: some servers count each chunk from 0.
        """
        calls = [*self.fields.get("tool_calls", ()), *just]
        index, call_id = piece.get("index"), piece.get("id")
        function = piece.get("function")
        named = isinstance(function, dict) and bool(function.get("name"))
        last = max([-1, *(call["index"] for call in calls)])
        if isinstance(index, int):
            place = self._places.get(index)
            if place is not None:
                had = next((call.get("id") for call in calls if call["index"] == place), None)
                if not (named and call_id and had and call_id != had):
                    return place
            self._places[index] = last + 1
            return last + 1
        same = next((call["index"] for call in calls if call_id and call.get("id") == call_id), None)
        if same is None:
            same = last + 1 if call_id or named or last < 0 else last
        self._places[same] = same
        return same


def _merge(had: dict[str, Any], new: Mapping[str, Any]) -> None:
    """Continues strings and lists, merges objects (those of a list by their index), replaces anything else."""
    for key, value in new.items():
        old = had.get(key)
        if value is None:
            had.setdefault(key, None)
        elif isinstance(value, dict):
            had[key] = old if isinstance(old, dict) else {}
            _merge(had[key], value)
        elif isinstance(value, list):
            had[key] = old if isinstance(old, list) else []
            _extend(had[key], value)
        elif isinstance(value, str) and isinstance(old, str) and key not in FIXED:
            had[key] = old if key == "name" and old == value else old + value
        else:
            had[key] = value


def _extend(had: list[Any], new: list[Any]) -> None:
    for item in new:
        if not isinstance(item, dict):
            had.append(item)
            continue
        index = item.get("index")
        same = next((o for o in had if isinstance(o, dict) and index is not None and o.get("index") == index), None)
        if same is None:
            same = {}
            had.append(same)
        _merge(same, item)


def joined_outside(earlier: Mapping[str, Any], later: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields of two chunks around their deltas (`StreamPart.outside`), the later ones first."""
    choice = {**earlier.get("choice", {}), **later.get("choice", {})}
    return {**earlier, **later, "choice": choice} if choice else {**earlier, **later}
