"""API keys: from the environment only, read at each call, and kept out of everything that is written or shown."""

import html
import json
import os
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from corea.errors import ConfigError

HIDDEN = "[key]"
LEAST_LENGTH = 8  # shorter "keys" ("EMPTY", "ollama") are no secrets, and words that a model may write
PLAIN = re.compile(r"[\w.~-]+", re.ASCII)  # no form of escaping touches these
LOOKS_SECRET = re.compile(
    r"\b(sk-(?=.{4})|bearer\s+(?=\S{16}))[^\s\"'<>,;]+", re.IGNORECASE
)  # a server may echo part of a key


def read_key(name: str) -> str:
    """The key in an environment variable.

    Raises:
        ConfigError: It is not set, is empty, or holds what no HTTP header can carry. The key is not in the message.
    """
    key = os.environ.get(name, "").strip()
    if not key:
        raise ConfigError(
            f"environment variable {name}: got nothing, expected an API key; set it with `export {name}=...`"
        )
    if not key.isascii() or not key.isprintable():
        raise ConfigError(
            f"environment variable {name}: got a key with a line break or a letter outside ASCII, expected one line of "
            "plain characters; copy the key again"
        )
    return key


@dataclass(frozen=True, slots=True, repr=False)
class Secrets:
    """The keys that one call was sent with; it can take them out of what comes back. Its own repr shows none."""

    keys: tuple[str, ...]

    def hide_bytes(self, received: bytes) -> bytes:
        """What was received without the keys, as a server that echoes its request would give them back."""
        for form in self._forms():
            if form.encode() in received:
                received = received.replace(form.encode(), HIDDEN.encode())
        return received

    def hide(self, text: str) -> str:
        """The text without the keys, plain or escaped, nor anything that looks like one."""
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
        """Each key as it is and, if it has marks that are escaped, as JSON, HTML and URLs write it; longest first."""
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
        return f"Secrets({len(self.keys)})"
