"""Prompts: text files that turn a question into messages, and that anyone can replace.

A prompt file is plain text in up to two parts, headed by lines `=== system ===` and `=== user ===`; without headings
it is all user part. In the user part `{question}` is replaced by the question's text and its lettered choices, if any.
Every other brace is left as it is.
"""

import hashlib
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from corea.errors import ConfigError
from corea.types import Message, Question

BUILT_IN = Path(__file__).parent
THINK, ANSWER, CONFIDENCE = "<think>", "<answer>", "<confidence>"
PROMPT_TAGS = frozenset({THINK, ANSWER, CONFIDENCE})
_SYSTEM, _USER = "=== system ===", "=== user ==="


@dataclass(frozen=True)
class Prompt:
    """A prompt by its two parts; `system` may be empty.

    Args:
        name: Name in traces and calibrations.
        user: Must hold `{question}`, once.
    """

    name: str
    user: str = "{question}"
    system: str = ""

    def __post_init__(self) -> None:
        if self.user.count("{question}") != 1:
            found = self.user.count("{question}")
            raise ConfigError(
                f"prompt {self.name}: got {found} of '{{question}}', expected exactly one; add it where it belongs"
            )

    @cached_property
    def sha256(self) -> str:
        """Hash of the wording."""
        return hashlib.sha256(f"{self.system}\0{self.user}".encode()).hexdigest()

    @property
    def is_plain(self) -> bool:
        """True where it adds no words to the question."""
        return not self.system and self.user == "{question}"

    @cached_property
    def tags(self) -> frozenset[str]:
        """The tags that it asks for, of PROMPT_TAGS."""
        text = f"{self.system}{self.user}".lower()
        return frozenset(tag for tag in PROMPT_TAGS if tag in text)

    @cached_property
    def size(self) -> int:
        """Bytes that it adds to a question."""
        return len(self.system.encode()) + len(self.user.encode()) - len("{question}")

    @cached_property
    def _system_message(self) -> Message:
        return Message("system", self.system)

    def render(self, question: Question) -> Question:
        """The same question with the messages that a model is sent.

        The last user message is wrapped; one with other parts than text (images) is sent as it came. The system part
        follows the conversation's own instructions in the same message: many chat templates allow only one, at the top.
        """
        if len(question.messages) == 1 and (only := question.messages[0]).role == "user" and only.raw is None:
            asked = Message("user", self.user.replace("{question}", only.content + lettered(question.choices)))
            return _with_messages(question, (self._system_message, asked) if self.system else (asked,))
        messages = list(question.messages)
        last = next((i for i in reversed(range(len(messages))) if messages[i].role == "user"), None)
        if last is not None and (self.user != "{question}" or question.choices) and _is_text(messages[last]):
            text = messages[last].content + lettered(question.choices)
            messages[last] = Message("user", self.user.replace("{question}", text))
        if self.system:
            if messages and messages[0].role in ("system", "developer"):
                messages[0] = _with_text(messages[0], f"\n\n{self.system}")
            else:
                messages.insert(0, self._system_message)
        return _with_messages(question, tuple(messages))

    def characters(self, question: Question) -> int:
        """The characters of the messages that `render` gives."""
        if len(question.messages) == 1 and (only := question.messages[0]).role == "user" and only.raw is None:
            choices = len(lettered(question.choices)) if question.choices else 0
            return len(self.system) + len(self.user) - len("{question}") + len(only.content) + choices
        return characters_of(self.render(question))


def characters_of(question: Question) -> int:
    """The characters of a question's messages."""
    return sum(len(message.content) for message in question.messages)


def _with_messages(question: Question, messages: tuple[Message, ...]) -> Question:
    """The question with other messages; written out, because `replace` takes five times as long and this is hot."""
    return Question(
        id=question.id,
        messages=messages,
        reference=question.reference,
        choices=question.choices,
        category=question.category,
        meta=question.meta,
    )


def _is_text(message: Message) -> bool:
    """True if a message has only text, in one or several parts."""
    if message.raw is None:
        return True
    content: Any = message.raw.get("content")
    parts = content if isinstance(content, list) else [{"type": "text"}]
    return all(isinstance(part, dict) and part.get("type") == "text" for part in parts)


def _with_text(message: Message, more: str) -> Message:
    """The message with more text at its end; its other fields and parts stay."""
    if message.raw is None:
        return Message(message.role, message.content + more)
    content: Any = message.raw.get("content")
    parts: Any = [*content, {"type": "text", "text": more}] if isinstance(content, list) else message.content + more
    return Message(message.role, message.content + more, raw={**message.raw, "content": parts})


def lettered(choices: tuple[str, ...]) -> str:
    """The options of a choice question as lines "A. ...", with a newline before; "" where there are none."""
    return "" if not choices else "".join(f"\n{chr(ord('A') + i)}. {choice}" for i, choice in enumerate(choices))


def is_prompt_file(name: str) -> bool:
    """True for the path of a prompt file, False for the name of a built-in prompt."""
    return "/" in name or "\\" in name or name.endswith(".txt")


def load_prompt(name: str) -> Prompt:
    """A built-in prompt by name, or one of your own by path.

    Raises:
        ConfigError: There is no such prompt or file, or it has no `{question}`.
    """
    path = BUILT_IN / f"{name}.txt"
    if is_prompt_file(name):
        path = Path(name)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(sorted(p.stem for p in BUILT_IN.glob("*.txt")))
        raise ConfigError(
            f"prompt: cannot read {name!r}; expected one of {known}, or the path of a text file"
        ) from error
    return parse_prompt(path.stem, text)


def parse_prompt(name: str, text: str) -> Prompt:
    """A prompt from a prompt file's text."""
    if _USER not in text:
        return Prompt(name, user=text.strip("\n"))
    head, _, user = text.partition(_USER)
    return Prompt(name, user=user.strip("\n"), system=head.partition(_SYSTEM)[2].strip("\n"))


def prompt_text(prompt: Prompt) -> str:
    """A prompt as the text of a prompt file; `parse_prompt` reads it."""
    return f"=== system ===\n{prompt.system}\n=== user ===\n{prompt.user}\n" if prompt.system else f"{prompt.user}\n"


@cache
def _draft_note() -> str:
    return (BUILT_IN / "draft.md").read_text(encoding="utf-8")


def with_draft(question: Question, draft: str) -> Question:
    """A rendered question with an earlier stage's draft behind it, named as one that may be wrong."""
    note = _draft_note().replace("{draft}", draft)
    messages = list(question.messages)
    if messages and messages[-1].role == "user" and messages[-1].raw is None:
        messages[-1] = Message("user", f"{messages[-1].content}\n\n{note}")
    else:
        messages.append(Message("user", note))
    return _with_messages(question, tuple(messages))
