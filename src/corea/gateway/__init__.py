"""OpenAI-compatible server in front of cascades (extra `gateway`).

In the order in which a request meets them:

- `server/`: the process, its connections, the ASGI application.
- `chat/`: reading a request, routing it, asking the cascade, writing the answer.
- `billing/`: API keys, budgets and rate limits, and the database of spending and decisions.
- `ops/`: settings, metrics, response cache, session affinity, OpenAPI document.
- `errors.py`: the errors that any of them answers a client with.
"""
