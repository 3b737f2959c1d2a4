"""OpenAI's completions and embeddings, which only a server that speaks them can answer: a stage with them in `apis`.

Source: https://platform.openai.com/docs/api-reference/completions and .../embeddings
"""

from typing import Any

from msgspec import Struct

from corea.gateway.apis.api import JSON, Translated, read_object
from corea.gateway.asgi import encode_json
from corea.gateway.errors import bad_field, unsupported
from corea.types import ANSWERS, LIMITS, OTHER_MODELS

DEFAULT_TOKENS = 16  # of a completion whose request sets no limit, as at OpenAI


class _AsItCame:
    """Answers that are never translated: the model's server has given them."""

    def whole(self, answer: JSON) -> JSON:
        """See `Answers`."""
        raise AssertionError("a chat answer to a request of another API")

    def events(self, chunk: JSON) -> list[JSON]:
        """See `Answers`: the beginning of every chat, before the first event of the server."""
        return []

    def end(self) -> list[JSON]:
        """See `Answers`."""
        return []

    def failed(self, error: JSON, sent: int) -> list[JSON]:
        """See `Answers`."""
        return []


class TextApi(Struct, frozen=True, kw_only=True):
    """An API whose requests are a text, or several.

    Args:
        text: The field that has it.
    """

    name: str
    path: str
    own: frozenset[str]
    text: str
    streams: bool
    forwarded: tuple[str, ...] = ()
    named_events: bool = False

    def translate(self, body: JSON, *, cache_control: bool) -> Translated:
        """A chat request with the text, for its costs alone. See `Api`."""
        text: Any = body.get(self.text)
        if not isinstance(text, str | list) or text == []:
            raise bad_field(self.text, text, "a text, or a list of texts or of tokens")
        stream = body.get("stream")
        if stream not in (None, False, True):
            raise bad_field("stream", stream, "true or false")
        if stream and not self.streams:
            raise unsupported("stream", f"{self.path} has no streams")
        if body.get("stream_options") is not None:
            read_object(body["stream_options"], "stream_options")
        content = text if isinstance(text, str) else encode_json(text).decode()
        chat: JSON = {"model": body["model"], "messages": [{"role": "user", "content": content}], "stream": stream}
        chat |= {name: body[name] for name in OTHER_MODELS if name in body}  # which are refused
        chat |= {"corea": body.get("corea"), **(_limits(body) if self.streams else {"max_completion_tokens": 1})}
        why = f'the operator names a model for it by apis = ["{self.name}"] at the backend of a stage'
        return Translated(chat=chat, answers=_AsItCame(), only={"model": why})

    def error(self, error: JSON, status: int | None, request_id: str) -> JSON:
        """See `Api`."""
        return {"error": error}


def _limits(body: JSON) -> JSON:
    """The most tokens of one completion, and how many there are."""
    prompts, given = body["prompt"], {name: body[name] for name in (*LIMITS, *ANSWERS) if body.get(name) is not None}
    for name, value in given.items():
        if type(value) is not int or value < 1:
            raise bad_field(name, value, "a whole number of at least 1")
    limits = [given[name] for name in LIMITS if name in given]  # by any name: see `native_request`
    count = max([1, *(given[name] for name in ANSWERS if name in given)])
    if isinstance(prompts, list) and not isinstance(prompts[0], int):
        count *= len(prompts)
    return {"max_completion_tokens": min(limits, default=DEFAULT_TOKENS), **({"best_of": count} if count > 1 else {})}


COMPLETIONS = TextApi(
    name="completions",
    path="/v1/completions",
    own=frozenset(
        {"model", "prompt", "stream", "stream_options", "max_tokens", "temperature", "top_p", "stop", "seed"}
    ),
    text="prompt",
    streams=True,
)
EMBEDDINGS = TextApi(
    name="embeddings",
    path="/v1/embeddings",
    own=frozenset({"model", "input", "encoding_format", "dimensions"}),
    text="input",
    streams=False,
)
