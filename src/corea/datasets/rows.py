"""One row of a file, as a mapping -> a Question."""

import json
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, cast

from corea.errors import DataError
from corea.types import Message, Question

TEXT_KEYS = ("question", "prompt", "text", "problem")
REFERENCE_KEYS = ("reference", "answer")
UNSEEN = "\u200b\u200c\u200d\u2060\ufeff"  # characters of no width, which `str.isspace` does not count
SEEN_AS_BLANK = f"{UNSEEN} \t\r\n\xa0"
SHOWN = 80  # characters of a wrong value in a message
KNOWN = ("id", "messages", "choices", "category", "meta", *TEXT_KEYS, *REFERENCE_KEYS)


def question_from_row(row: Mapping[str, Any], default_id: str, *, category: str = "category") -> Question:
    """The question of a row.

    It has `question` (or `prompt`, `text`, `problem`) or chat `messages`; it may have `id`, `reference` (or
    `answer`), `choices`, `category` and `meta`. Every other key is carried along in `meta`; of these `grader`,
    `dataset` and `answer_type` say how it is graded (`corea.graders.grader_name`).

    Args:
        default_id: The id where the row has none. `category`: another column that holds the category.

    Raises:
        DataError: The row is invalid; the caller adds the place.
    """
    messages = row.get("messages")
    text = next((row[key] for key in TEXT_KEYS if not is_blank(row.get(key))), None)
    if messages:
        messages = _messages(messages)
        asked = [message for message in messages if message.role == "user"] or messages
        if all(is_blank(message.content) and message.raw is None for message in asked):
            raise DataError("messages: got only blank ones, expected a question")
    elif isinstance(text, str):
        messages = (Message("user", text),)
    else:
        raise DataError(_no_text(row, text))
    identity = row.get("id")
    if identity is None or identity == "":
        identity = default_id
    elif not isinstance(identity, str | int) or isinstance(identity, bool):
        raise DataError(f"id: got {_shown(identity)}, expected text or a whole number")
    reference = next((row[key] for key in REFERENCE_KEYS if row.get(key) not in (None, "")), None)
    kind = row.get(category)
    return Question(
        id=str(identity),
        messages=messages,
        reference=None if reference is None else str(reference),
        choices=_choices(row.get("choices")),
        category=None if kind in (None, "") else str(kind),
        meta=_meta(row),
    )


def is_blank(value: Any) -> bool:
    """True for a missing value, and for text with nothing to see in it."""
    if value is None or value == "":
        return True
    return isinstance(value, str) and (value.isspace() or (value[0] in UNSEEN and not value.strip(SEEN_AS_BLANK)))


def _no_text(row: Mapping[str, Any], text: Any) -> str:
    if text is not None:
        return f"question: got {type(text).__name__}, expected text"
    empty = next((key for key in (*TEXT_KEYS, "messages") if key in row), None)
    if empty is not None:
        return f"{empty}: is {'blank' if row[empty] else 'empty'}, expected the question"
    rows = next((key for key, value in row.items() if isinstance(value, list) and len(row) == 1), None)
    if rows is not None:
        return f"got an object around the rows, expected the rows; write the list in {rows!r} alone"
    near = next((f"; is {key!r} meant as 'question'?" for key in row if get_close_matches(key, TEXT_KEYS, n=1)), "")
    return f"got keys {', '.join(map(repr, row)) or 'none'}, expected 'question' or 'messages'{near}"


def _messages(value: Any) -> tuple[Message, ...]:
    value = _from_text(value)
    if not isinstance(value, list):
        raise DataError(f"messages: got {type(value).__name__}, expected a list of objects with role and content")
    return tuple(_message(n, item) for n, item in enumerate(cast(list[Any], value)))


def _message(number: int, item: Any) -> Message:
    if not isinstance(item, dict):
        raise DataError(f"messages[{number}]: got {_shown(item)}, expected an object with role and content")
    message = cast(dict[str, Any], item)
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str):
        raise DataError(f"messages[{number}].role: got {_shown(role)}, expected text such as 'user'")
    if isinstance(content, str) and message.keys() <= {"role", "content"}:
        return Message(role, content)
    if isinstance(content, list):
        parts = [cast(dict[str, Any], part) for part in cast(list[Any], content) if isinstance(part, dict)]
        content = "\n".join(part["text"] for part in parts if isinstance(part.get("text"), str))
    elif content is None:
        content = ""
    if not isinstance(content, str):
        raise DataError(f"messages[{number}].content: got {type(content).__name__}, expected text or a list of parts")
    return Message(role, content, raw=message)


def _choices(value: Any) -> tuple[str, ...]:
    value = _from_text(value)
    if value in (None, ""):
        return ()
    if isinstance(value, dict):
        value = list(cast(dict[str, Any], value).values())
    if not isinstance(value, list):
        raise DataError(f"choices: got {_shown(value)}, expected a list (in CSV, one written as JSON)")
    return tuple(str(choice) for choice in cast(list[Any], value))


def _meta(row: Mapping[str, Any]) -> dict[str, Any]:
    own = _from_text(row.get("meta"))
    if own not in (None, "") and not isinstance(own, dict):
        raise DataError(f"meta: got {_shown(own)}, expected an object")
    rest = {key: value for key, value in row.items() if key not in KNOWN and value is not None}
    return {**rest, **cast(dict[str, Any], own or {})}


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _from_text(value: Any) -> Any:
    """A list or object that a format without them (CSV) wrote as JSON text; other values as they are."""
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value
