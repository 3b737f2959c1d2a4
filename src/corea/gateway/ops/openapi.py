"""What the server offers, as an OpenAPI 3.1 document. Requests are described as strictly as they are checked."""

from typing import Any

import corea

JSON = dict[str, Any]
NULLABLE_NUMBER: JSON = {"type": ["number", "null"]}


def openapi_document() -> JSON:
    """The document that /openapi.json serves."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "COREA gateway",
            "version": corea.__version__,
            "description": "OpenAI-compatible chat completions, answered by a small model where it is sure.",
        },
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "paths": {
            "/v1/chat/completions": {"post": _chat()},
            "/v1/models": {"get": _get("Every model that a request may name.", "ModelList", faults=("401",))},
            "/v1/models/{model}": {
                "get": {
                    **_get("One model.", "Model", faults=("401", "404")),
                    "parameters": [
                        {"name": "model", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
                    ],
                }
            },
            "/healthz": {"get": _get("The process runs.", "Health")},
            "/readyz": {"get": {**_get("Requests are answered.", "Health", also=("503",))}},
            "/metrics": {"get": _text("Counters and histograms in Prometheus' text format.")},
            "/openapi.json": {"get": _get("This document.", "Any")},
        },
    }


def _chat() -> JSON:
    answer = {
        "description": "The answer; with `stream` server-sent events of chat.completion.chunk objects.",
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/Completion"}},
            "text/event-stream": {},  # 3.1 has no word for the schema of an event
        },
    }
    faults = ("400", "401", "403", "404", "413", "429", "499", "500", "502", "503", "504")
    return {
        "operationId": "chat",
        "summary": "Answer a chat.",
        "security": [{"key": []}, {}],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ChatRequest"}}},
        },
        "responses": {"200": answer, "422": _fault(), **{code: _fault() for code in faults}},
    }


def _get(summary: str, schema: str, *, faults: tuple[str, ...] = (), also: tuple[str, ...] = ()) -> JSON:
    body = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    responses: JSON = {"200": {"description": summary, "content": body}}
    responses |= {code: {"description": "Not now.", "content": body} for code in also}
    return {"summary": summary, "responses": responses | {code: _fault() for code in faults}}


def _text(summary: str) -> JSON:
    return {
        "summary": summary,
        "responses": {"200": {"description": summary, "content": {"text/plain": {"schema": {"type": "string"}}}}},
    }


def _fault() -> JSON:
    return {
        "description": "Why there is no answer.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/GatewayError"}}},
    }


def _object(properties: JSON, required: tuple[str, ...] = (), **more: Any) -> JSON:
    return {"type": "object", "properties": properties, "required": list(required), **more}


_PART = _object({"type": {"type": "string"}, "text": {"type": "string"}}, ("type",))
_CONTENT: JSON = {"oneOf": [{"type": "string"}, {"type": "array", "items": _PART}]}
_MESSAGE: JSON = {
    "oneOf": [
        _object(
            {
                "role": {"enum": ["system", "developer", "user", "tool", "function"]},
                "content": _CONTENT,
            },
            ("role", "content"),
        ),
        _object(
            {"role": {"const": "assistant"}, "content": {"oneOf": [*_CONTENT["oneOf"], {"type": "null"}]}},
            ("role",),
        ),
    ]
}
_CONTROLS = _object(
    {
        "threshold": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
        "max_cost_usd": {"type": ["number", "null"], "minimum": 0},
        "stage": {"type": ["string", "null"]},
        "raw": {"type": ["boolean", "null"]},
        "session": {"type": ["string", "null"]},
    },
    additionalProperties=False,
)
SCHEMAS: JSON = {
    "Any": {"type": "object"},
    "Health": _object({"status": {"type": "string"}}, ("status",)),
    "Model": _object(
        {
            "id": {"type": "string"},
            "object": {"const": "model"},
            "created": {"type": "integer"},
            "owned_by": {"type": "string"},
        },
        ("id", "object", "created", "owned_by"),
    ),
    "ModelList": _object(
        {"object": {"const": "list"}, "data": {"type": "array", "items": {"$ref": "#/components/schemas/Model"}}},
        ("object", "data"),
    ),
    "GatewayError": _object(
        {
            "error": _object(
                {
                    "message": {"type": "string"},
                    "type": {"type": "string"},
                    "param": {"type": ["string", "null"]},
                    "code": {"type": ["string", "null"]},
                },
                ("message", "type", "param", "code"),
            )
        },
        ("error",),
    ),
    "ChatRequest": _object(
        {
            "model": {"type": "string", "minLength": 1},
            "messages": {"type": "array", "minItems": 1, "items": _MESSAGE},
            "stream": {"type": ["boolean", "null"]},
            "stream_options": {"type": ["object", "null"]},
            "n": {"enum": [1, None]},
            "max_tokens": {"type": ["integer", "null"], "minimum": 1, "maximum": 10_000_000},
            "max_completion_tokens": {"type": ["integer", "null"], "minimum": 1, "maximum": 10_000_000},
            "temperature": {"type": ["number", "null"], "minimum": 0, "maximum": 2},
            "top_p": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
            "stop": {
                "oneOf": [
                    {"type": "string", "minLength": 1},
                    {"type": "array", "maxItems": 4, "items": {"type": "string", "minLength": 1}},
                    {"type": "null"},
                ]
            },
            "seed": {"type": ["integer", "null"], "minimum": -(2**63), "maximum": 2**63 - 1},
            "logprobs": {"type": ["boolean", "null"]},
            "top_logprobs": {"type": ["integer", "null"], "minimum": 0, "maximum": 20},
            "corea": {"oneOf": [_CONTROLS, {"type": "null"}]},
        },
        ("model", "messages"),
        additionalProperties=True,
    ),
    "Completion": _object(
        {
            "id": {"type": "string"},
            "object": {"const": "chat.completion"},
            "created": {"type": "integer"},
            "model": {"type": "string"},
            "choices": {"type": "array", "minItems": 1, "maxItems": 1, "items": {"type": "object"}},
            "usage": _object(
                {
                    "prompt_tokens": {"type": "integer"},
                    "completion_tokens": {"type": "integer"},
                    "total_tokens": {"type": "integer"},
                },
                ("prompt_tokens", "completion_tokens", "total_tokens"),
            ),
            "corea": _object(
                {
                    "trace_id": {"type": "string"},
                    "stage": {"type": ["string", "null"]},
                    "confidence": NULLABLE_NUMBER,
                    "threshold": NULLABLE_NUMBER,
                    "cost_usd": NULLABLE_NUMBER,
                    "saved_usd": NULLABLE_NUMBER,
                },
                ("trace_id", "stage"),
            ),
        },
        ("id", "object", "created", "model", "choices", "usage", "corea"),
    ),
}
