"""Other APIs than chat completions. Inside, every request is a chat request: an API translates at the edge.

A request is translated into a chat request, which routing, policies, budgets and the cascade treat like any other. The
chat answer, its chunks and its errors are translated back. Where the last stage's server speaks the API itself (`apis`
of its backend), that stage is sent the client's own request, and its answer is passed on as it came.
"""

from corea.gateway.apis.api import Api
from corea.gateway.apis.messages import MESSAGES
from corea.gateway.apis.responses_stream import RESPONSES
from corea.gateway.apis.texts import COMPLETIONS, EMBEDDINGS

APIS: dict[str, Api] = {api.path: api for api in (MESSAGES, RESPONSES, COMPLETIONS, EMBEDDINGS)}
"""By path."""
