"""API keys: read from the environment at each call, and removed from everything that is written or shown."""

import html
import json
import os
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from corea.errors import ConfigError
from corea.secrets import HIDDEN, PREFIXED, Secret, may_be_key

LEAST_LENGTH = 8  # shorter "keys" ("EMPTY", "ollama") are not secret, and a model may write them
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
USUAL_NAME = re.compile(r"[A-Z][A-Z0-9]{0,15}(?:_[A-Z0-9]{1,15}){1,6}", re.ASCII)
WORDS = re.compile(r"(?:[A-Z_]+|[a-z_]+)[0-9]{0,3}", re.ASCII)
LONGEST_PLAIN_NAME = 16  # keys are longer
PLAIN = re.compile(r"[\w.~-]+", re.ASCII)  # unchanged by any escaping
LOOKS_SECRET = re.compile(
    r"\b(sk-(?=.{4})|bearer\s+(?=\S{16}))[^\s\"'<>,;]+", re.IGNORECASE
)  # a server may echo part of a key


def without_frames(error: BaseException) -> BaseException:
    """The same error and its causes without the frames of other libraries, whose variables hold keys."""
    following: BaseException | None = error
    seen = set[int]()
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        following.__traceback__ = None
        following = following.__cause__ or following.__context__
    return error


def variable_name(name: str, where: str) -> str:
    """The name of an environment variable in a setting.

    Raises:
        ConfigError: It is not a valid name, or looks like a key ("gsk_..."); it is not shown.
    """
    if not VARIABLE.fullmatch(name) or _looks_pasted(name):
        raise ConfigError(
            f"{where}: got a value that is not the name of an environment variable (not shown, it may be a key), "
            "expected a name such as OPENAI_API_KEY; put the key into that variable, and not into a file"
        )
    return name


def _looks_pasted(name: str) -> bool:
    if USUAL_NAME.fullmatch(name):
        return False
    return bool(PREFIXED.match(name)) or (may_be_key(name) and not WORDS.fullmatch(name))


def shown_name(name: str) -> str:
    """A variable's name for a message; "[hidden]" if it may be a key pasted in its place."""
    return name if len(name) <= LONGEST_PLAIN_NAME or USUAL_NAME.fullmatch(name) else "[hidden]"


def read_key(name: str) -> Secret:
    """The key in an environment variable.

    Raises:
        ConfigError: It is not set, is empty, or no HTTP header can carry it. The key is not in the message.
    """
    if fault := _fault_of_key(os.environ.get(name, "").strip()):
        raise ConfigError(f"environment variable {shown_name(name)}: {fault.format(name=shown_name(name))}")
    return Secret(os.environ[name].strip())


def _fault_of_key(key: str) -> str | None:
    """The reason why a key cannot be sent, or None. The caller raises, so that no frame of the error has the key."""
    if not key:
        return "got nothing, expected an API key; set it with `export {name}=...`"
    if not key.isascii() or not key.isprintable():
        return (
            "got a key with a line break or a letter outside ASCII, expected one line of plain characters; "
            "copy the key again"
        )
    return None


@dataclass(frozen=True, slots=True, repr=False)
class KeyRedactor:
    """The keys that one call was sent with, to remove them from the response. Its repr shows none."""

    keys: tuple[str, ...]

    def hide_bytes(self, received: bytes) -> bytes:
        """A response without the keys, which a server that echoes its request would send back."""
        for form in self._forms():
            if form.encode() in received:
                received = received.replace(form.encode(), HIDDEN.encode())
        return received

    def hide(self, text: str) -> str:
        """The text without the keys, plain or escaped, and without anything that looks like one."""
        for form in self._forms():
            text = text.replace(form, HIDDEN)
        return LOOKS_SECRET.sub(lambda found: found[1] + HIDDEN, text)

    def hide_all(self, value: Any) -> Any:
        """The same for every string in decoded JSON."""
        if isinstance(value, str):
            return self.hide(value)
        if isinstance(value, list):
            return [self.hide_all(item) for item in value]
        if isinstance(value, dict):
            return {self.hide(str(key)): self.hide_all(item) for key, item in value.items()}
        return value

    def _forms(self) -> list[str]:
        """Each key, plain and, if it has characters to escape, in the forms of JSON, HTML and URLs; longest first."""
        if not self.keys:
            return []
        forms: set[str] = set()
        for key in self.keys:
            if len(key) >= LEAST_LENGTH:
                forms.add(key)
                if not PLAIN.fullmatch(key):
                    once = json.dumps(key)[1:-1]
                    forms |= {once, json.dumps(once)[1:-1], html.escape(key), html.escape(key, quote=False)}
                    forms.add(quote(key, safe=""))
        return sorted(forms, key=len, reverse=True)

    def __repr__(self) -> str:
        return f"KeyRedactor({len(self.keys)})"
