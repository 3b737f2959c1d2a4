"""OpenAI-compatible servers, in the order of a call.

settings, with addresses and api_keys; client; circuit_breaker and retry; wire (request and response), http, deadlines;
sse and stream; usage and logprobs of the response; errors.
"""
