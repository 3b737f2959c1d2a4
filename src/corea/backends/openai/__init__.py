"""OpenAI-compatible servers, in the order of a call: settings, api_keys, addresses; wire (the request), http, retry,
circuit_breaker, deadlines; sse and stream (the response), usage, logprobs, errors; client.
"""
