"""Rows of OpenAI's batch format, as they are sent to its Batch API.

    {"custom_id": "q1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "...", "messages": [...]}}

The id is `custom_id`, the question is `body.messages`. The configuration decides which models are asked and how, so
every other field of the body is named as unused.

Source: https://platform.openai.com/docs/guides/batch
"""

from collections.abc import Mapping
from typing import Any, cast

from corea.errors import DataError

CHAT = "/chat/completions"
SAYS_NOTHING: tuple[Any, ...] = (None, "", [], {}, False)


def is_batch_row(row: Mapping[str, Any]) -> bool:
    """True for a request of a batch file."""
    return "body" in row and ("custom_id" in row or "url" in row) and "messages" not in row


def row_of_request(row: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The request as a row of COREA's own, and the fields of its body that are not used.

    Raises:
        DataError: It is a request of another kind than a chat completion; without the place, which the caller knows.
    """
    url, method, body = row.get("url"), row.get("method"), row["body"]
    if url is not None and not (isinstance(url, str) and url.rstrip("/").endswith(CHAT)):
        raise DataError(f"url: got {url!r}, expected '/v1{CHAT}', the only kind of request that can be answered")
    if method not in (None, "POST"):
        raise DataError(f"method: got {method!r}, expected 'POST'")
    if not isinstance(body, dict):
        raise DataError(f"body: got {type(body).__name__}, expected an object with messages")
    request = cast(dict[str, Any], body)
    if not isinstance(request.get("messages"), list) or not request["messages"]:
        raise DataError("body.messages: is missing or empty, expected a list of objects with role and content")
    rest = {key: value for key, value in row.items() if key not in ("custom_id", "method", "url", "body")}
    own = {**rest, "id": row.get("custom_id"), "messages": request["messages"]}
    unused = sorted(key for key, value in request.items() if key != "messages" and value not in SAYS_NOTHING)
    return own, tuple(unused)
