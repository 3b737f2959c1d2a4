"""What the fake models say, for the tests of all clients alike: the question's first word decides."""

import json
from typing import Any

from tests.fakes.server import Act, Asked, Fail, Hang, Say

SURE = "<think>12 + 7 = 19</think><answer>19</answer> <confidence>0.9</confidence>"
UNSURE = "<think>a guess</think><answer>18</answer> <confidence>0.2</confidence>"
LARGE = "It is nineteen, surely."
REASONING = "12 and 7: add them"
CALL: dict[str, Any] = {
    "index": 0,
    "id": "call_1",
    "type": "function",
    "function": {"name": "add", "arguments": '{"a": 12, "b": 7}'},
}


def reply(asked: Asked) -> Act:
    """The act for a request."""
    large = asked.body["model"] == "large"
    word = asked.body["messages"][-1]["content"]
    if large and any("reason:" in str(message.get("content")) for message in asked.body["messages"]):
        return reasoned(asked)
    if large and asked.body.get("tools") and asked.body["messages"][-1]["role"] == "user":
        return Say("", finish_reason="tool_calls", message={"tool_calls": [CALL]})
    if large and asked.body.get("response_format"):
        return Say(json.dumps({"sum": 19}))
    text = word if isinstance(word, str) else ""
    if "status" in text:
        return Fail(int(text.split("status ")[1][:3]), "no luck today")
    if "hang" in text:
        return Hang()
    if "broken" in text:
        return Say(LARGE if large else UNSURE, break_after=2 if large else None)
    if large:
        return Say(LARGE)
    return Say(UNSURE if "hard" in text else SURE)


def reasoned(asked: Asked) -> Act:
    """A call of a tool with its reasoning; then, as at DeepSeek, a refusal where a turn comes back without it."""
    turns = [message for message in asked.body["messages"] if message["role"] == "assistant"]
    if any(turn.get("reasoning_content") != REASONING for turn in turns):
        return Fail(400, "The reasoning_content in the thinking mode must be passed back to the API.")
    if turns:
        return Say(LARGE)
    return Say("", finish_reason="tool_calls", message={"reasoning_content": REASONING, "tool_calls": [CALL]})
