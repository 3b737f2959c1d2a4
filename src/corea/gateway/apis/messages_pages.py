"""The Messages API beside its answers: the number of a request's tokens, and the list of models.

Source: https://docs.anthropic.com/en/api/messages-count-tokens and https://docs.anthropic.com/en/api/models-list
"""

from datetime import UTC, datetime
from typing import Any, NamedTuple

from corea.costs.bounds import request_tokens
from corea.errors import BackendError, ConfigError
from corea.gateway.apis.api import JSON
from corea.gateway.chat.request import ChatRequest
from corea.gateway.ops.openapi import ModelList, ModelObject
from corea.types import Question, Sampling

COUNT = "/v1/messages/count_tokens"
NOT_COUNTED = {"max_tokens", "stream", "stop_sequences", "temperature", "top_p", "top_k", "metadata"}


class TokenCount(NamedTuple):
    """The tokens of a request; `exact` if the model's server has counted them."""

    tokens: int
    exact: bool


async def counted(request: ChatRequest, backend: Any) -> TokenCount:
    """The tokens of a request: counted by the last stage's server where it speaks the API, else an estimate.

    The estimate is a quarter of the bytes, with the additions of `corea.costs.bounds`.
    """
    native = request.native
    if native is not None and native.api in getattr(backend, "apis", ()):
        body = {name: value for name, value in native.body.items() if name not in NOT_COUNTED}
        try:
            return TokenCount(await backend.count_tokens(body, native.headers), exact=True)
        except (BackendError, ConfigError):
            pass  # of servers with this API, not all count
    question = Question(id="", messages=request.messages)
    return TokenCount(request_tokens(question, Sampling(extra=request.extra)) // 4, exact=False)


def model_page(found: ModelList | ModelObject) -> JSON:
    """A model, or the list of all, in the form of the API."""
    if isinstance(found, ModelObject):
        created = datetime.fromtimestamp(found.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        names = {"id": found.id, "display_name": found.id}
        return {"type": "model", **names, "created_at": created, "lifecycle": "active"}
    models = [model_page(model) for model in found.data]
    first, last = (models[0]["id"], models[-1]["id"]) if models else (None, None)
    return {"data": models, "has_more": False, "first_id": first, "last_id": last}
