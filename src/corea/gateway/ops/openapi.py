"""The server's OpenAPI 3.1 document. Bodies are described by the structs that check and write them."""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

import corea
from corea.gateway.audit.evidence import AuditEvidence
from corea.gateway.audit.feedback import FeedbackBody, FeedbackTaken
from corea.gateway.chat.reply import ChatCompletion
from corea.gateway.chat.request import ChatBody

JSON = dict[str, Any]
REF = "#/components/schemas/{name}"
ERRORS = ("400", "401", "403", "404", "408", "413", "415", "422", "429", "499", "500", "502", "503", "504")


class HealthObject(Struct):
    """State of the server; with `?deep`, the last stages that cannot answer, each with the reason.

    `alarms` are the cascades whose audit has alarmed, until someone acknowledges.
    """

    status: str
    stages: dict[str, str] | UnsetType = UNSET
    alarms: list[str] | UnsetType = UNSET


class ModelObject(Struct):
    """A name that `model` may have."""

    id: str
    created: int
    object: str = "model"
    owned_by: str = "corea"


class ModelList(Struct):
    """All names that `model` may have."""

    data: list[ModelObject]
    object: str = "list"


class ErrorDetails(Struct):
    """The reason why there is no answer."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorObject(Struct):
    """An error response."""

    error: ErrorDetails


BODIES = (
    ChatBody,
    ChatCompletion,
    FeedbackBody,
    FeedbackTaken,
    AuditEvidence,
    HealthObject,
    ModelObject,
    ModelList,
    ErrorObject,
)


def openapi_document(apis: Iterable[str] = (), *, audit: bool = False) -> JSON:
    """The document that /openapi.json serves.

    Args:
        apis: Paths of the APIs beside chat completions, which others define.
        audit: The paths of the audit are served.
    """
    name = {"name": "model", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    deep = {"name": "deep", "in": "query", "schema": {"type": "string"}, "allowEmptyValue": True}
    text = {"text/plain": {"schema": {"type": "string"}}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "COREA gateway",
            "version": corea.__version__,
            "description": "Chat completions and other APIs, answered by a small model where it is confident.",
        },
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "paths": {
            "/v1/chat/completions": {"post": _chat()},
            **{path: {"post": _other(path)} for path in apis},
            **(_audit() if audit else {}),
            "/v1/models": {"get": _get("Every name that `model` may have.", _json("ModelList"), errors=("401",))},
            "/v1/models/{model}": {
                "get": {**_get("One model.", _json("ModelObject"), errors=("401", "403", "404")), "parameters": [name]}
            },
            "/healthz": {"get": _get("The process runs.", _json("HealthObject"))},
            "/readyz": {
                "get": _get("Requests are accepted.", _json("HealthObject"), also=("503",)) | {"parameters": [deep]}
            },
            "/metrics": {"get": _get("Counters and histograms in Prometheus' text format.", text)},
            "/openapi.json": {"get": _get("This document.", {"application/json": {"schema": {"type": "object"}}})},
        },
    }


def _schemas() -> JSON:
    """Schemas of all bodies; amounts, which are Decimals, are written as numbers."""
    _, found = msgspec.json.schema_components(BODIES, ref_template=REF)
    amount, number = b'{"type":"string","format":"decimal"}', b'{"type":"number"}'
    return msgspec.json.decode(msgspec.json.encode(found).replace(amount, number))


def _chat() -> JSON:
    answer = {
        "description": "The answer; with `stream` server-sent events of chat.completion.chunk objects.",
        "content": {**_json("ChatCompletion"), "text/event-stream": {}},  # 3.1 has no schema for events
    }
    return {
        "operationId": "chat",
        "summary": "Answer a chat.",
        "security": [{"key": []}, {}],
        "requestBody": {"required": True, "content": _json("ChatBody")},
        "responses": {"200": answer, **{code: _error() for code in ERRORS}},
    }


def _audit() -> JSON:
    errors = {code: _error() for code in ("400", "401", "403", "404", "408", "409", "413", "415", "500", "503")}
    feedback = {
        "operationId": "feedback",
        "summary": "Label an answer.",
        "security": [{"key": []}, {}],
        "requestBody": {"required": True, "content": _json("FeedbackBody")},
        "responses": {
            "200": {"description": "The label as it was stored.", "content": _json("FeedbackTaken")},
            **errors,
        },
    }
    evidence = _get("State and evidence of the audit.", _json("AuditEvidence"), errors=("401", "403"))
    return {"/v1/feedback": {"post": feedback}, "/v1/audit": {"get": evidence}}


def _other(path: str) -> JSON:
    """An API that others define: any object, since what is not known is passed on."""
    any_object: JSON = {"application/json": {"schema": {"type": "object"}}}
    answer = {"description": "The answer, or its stream.", "content": {**any_object, "text/event-stream": {}}}
    errors = {code: {"description": "Reason why there is no answer.", "content": any_object} for code in ERRORS}
    named: JSON = {"type": "object", "required": ["model"], "properties": {"model": {"type": "string"}}}
    return {
        "operationId": path.removeprefix("/v1/").replace("/", "_"),
        "summary": f"Answer a request of {path}.",
        "security": [{"key": []}, {}],
        "requestBody": {"required": True, "content": {"application/json": {"schema": named}}},
        "responses": {"200": answer, **errors},
    }


def _get(summary: str, content: JSON, *, errors: tuple[str, ...] = (), also: tuple[str, ...] = ()) -> JSON:
    responses: JSON = {"200": {"description": summary, "content": content}}
    responses |= {code: {"description": "Not now.", "content": content} for code in also}
    return {"summary": summary, "responses": responses | {code: _error() for code in errors}}


def _json(schema: str) -> JSON:
    return {"application/json": {"schema": {"$ref": REF.format(name=schema)}}}


def _error() -> JSON:
    return {"description": "Reason why there is no answer.", "content": _json("ErrorObject")}
