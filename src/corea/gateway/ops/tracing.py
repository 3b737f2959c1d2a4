"""Spans of requests: one SERVER span each, and one CLIENT child for each attempt of a call to a model's server.

A model in this process has an INTERNAL child. Nothing imports this module unless `gateway.traces.endpoint` is set.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import corea
from corea.call_observer import observer
from corea.errors import BackendError
from corea.gateway.asgi import Scope, find_header
from corea.gateway.chat.request_state import CompletedRequest
from corea.gateway.chat.routing import RequestPlan
from corea.gateway.errors import GatewayError
from corea.gateway.ops import span_names as names
from corea.gateway.ops.health import servers_of
from corea.gateway.ops.logs import error_kind
from corea.gateway.ops.settings import GatewayTraces
from corea.stage import OnStep, Stage
from corea.types import Completion, Question, Sampling, Step

OPERATIONS = {"completions": "text_completion", "embeddings": "embeddings"}  # by the API of a request; others chat
_w3c = TraceContextTextMapPropagator()


class Tracing:
    """Makes the spans of all requests and exports them in the background.

    Args:
        processor: In place of the OTLP exporter; for tests.
    """

    def __init__(self, settings: GatewayTraces, processor: SpanProcessor | None = None) -> None:
        resource = Resource.create({"service.name": settings.service, "service.version": corea.__version__})
        sampler = ParentBased(TraceIdRatioBased(settings.sample))
        self.provider: TracerProvider = TracerProvider(resource=resource, sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(processor or BatchSpanProcessor(OTLPSpanExporter(settings.endpoint)))
        self.content: bool = settings.content
        self._tracer: Tracer = self.provider.get_tracer("corea", corea.__version__)

    @contextmanager
    def request(self, scope: Scope, path: str, status: Callable[[], int]) -> Iterator[None]:
        """The SERVER span of a request, which is a child of the client's span, if it names one.

        Args:
            status: Of the response, at its end.
        """
        carrier = {
            name: value.decode("latin-1")
            for name in ("traceparent", "tracestate")
            if (value := find_header(scope, name.encode())) is not None
        }
        attributes: dict[str, Any] = {names.METHOD: scope["method"], names.ROUTE: path}
        if server := scope.get("server"):
            attributes |= {names.SERVER_ADDRESS: server[0], names.SERVER_PORT: server[1] or 0}
        span = self._tracer.start_span(
            f"{scope['method']} {path}", _w3c.extract(carrier), SpanKind.SERVER, attributes=attributes
        )
        spans = RequestSpans(self._tracer, span, content=self.content)
        token = observer.set(spans)
        code, kind = 500, "internal_error"
        try:
            yield
            code, kind = status(), None
        except GatewayError as error:
            code, kind = error.status, error.code or str(error.status)
            raise
        finally:
            observer.reset(token)
            spans.end(code, kind)

    def completed(self, completed: CompletedRequest) -> None:
        """Notes the outcome of the present request."""
        spans = observer.get()
        if isinstance(spans, RequestSpans):
            spans.completed(completed)

    def close(self) -> None:
        """Exports what is left."""
        self.provider.shutdown()


class CallSpan:
    """One attempt of a call; its span ends when its step does, with the time at which the attempt ended."""

    def __init__(self, span: Span, stage: str | None, *, content: bool) -> None:
        self.span = span
        self.stage = stage
        self.content = content
        self.at: int | None = None  # its end
        self.answered: bool = False
        carrier: dict[str, str] = {}
        _w3c.inject(carrier, set_span_in_context(span))
        self.headers: Mapping[str, str] = carrier

    def ended(self, completion: Completion | None, error: BaseException | None) -> None:
        """Notes the end of the attempt."""
        self.at, self.answered = time.time_ns(), completion is not None
        if completion is not None:
            _describe(self.span, completion, content=self.content)
        if error is not None:
            _fail(self.span, _error_type(error))
            if isinstance(error, BackendError) and isinstance(error.spent, Completion):
                _describe(self.span, error.spent, content=False)


class RequestSpans:
    """The spans of one request; a `CallObserver`."""

    def __init__(self, tracer: Tracer, span: Span, *, content: bool) -> None:
        self.tracer = tracer
        self.span = span
        self.content = content
        self.context: Context = set_span_in_context(span)
        self.plan: RequestPlan | None = None
        self.calls: list[CallSpan] = []
        self.over: set[str] = set()  # stages that have ended

    def begin(self, backend: Any, question: Question, sampling: Sampling) -> CallSpan:
        """The span of an attempt."""
        found = self._stage_of(backend)
        span = self._start(backend, question, sampling, SpanKind.CLIENT)
        call = CallSpan(span, found.name if found is not None else None, content=self.content)
        self.calls.append(call)
        return call

    def follow(self, plan: RequestPlan, on_step: OnStep) -> OnStep:
        """The same function, which then also ends the spans of each step."""
        self.plan = plan

        def step_ended(step: Step) -> None:
            on_step(step)
            self.step(step)

        return step_ended

    def step(self, step: Step) -> None:
        """Ends the spans of a step's calls, with its decision at the call that gave its answer."""
        self.over.add(step.stage)
        own = [call for call in self.calls if call.stage in (step.stage, None)]
        self.calls = [call for call in self.calls if call not in own]
        stage = next((s for s in self.plan.cascade.stages if s.name == step.stage), None) if self.plan else None
        if not own and stage is not None and step.skipped is None and error_kind(step) != "breaker_open":
            own = [self._in_process(stage, step)]
        answer = next((call for call in own if call.answered), own[-1] if own else None)
        for call in own:
            call.span.set_attribute(names.STAGE, step.stage)
            if call is answer:
                _set(call.span, _outcome(step))
            call.span.end(call.at)

    def completed(self, completed: CompletedRequest) -> None:
        """Notes the outcome of the request."""
        trace, state = completed.trace, completed.state
        measured = next((s.confidence for s in reversed(trace.steps) if s.confidence is not None), None)
        found: dict[str, Any] = {
            names.TRACE_ID: trace.trace_id,
            names.CASCADE: state.plan.route,
            names.STAGE: trace.stage,
            names.DECISION: "defer" if trace.deferred else "keep",
            names.CONFIDENCE: measured.value if measured is not None else None,
            names.THRESHOLD: state.plan.threshold,
            names.COST_USD: float(trace.cost_usd) if trace.cost_usd is not None else None,
            names.SAVED_USD: float(trace.saved_usd) if trace.saved_usd is not None else None,
            names.CACHED: state.cached or None,
            names.CONVERSATION: state.request.controls.session,
            names.REQUEST_MODEL: state.request.body.model,
            names.REQUEST_STREAM: state.request.body.stream or None,
        }
        _set(self.span, found)
        if completed.error is not None:
            _fail(self.span, completed.error.code or str(completed.error.status))

    def end(self, status: int, kind: str | None) -> None:
        """Ends the request's span, and those of calls without a step."""
        for call in self.calls:
            call.span.end(call.at)
        self.span.set_attribute(names.STATUS, status)
        if kind is not None:
            _fail(self.span, kind, server=status >= 500)
        self.span.end()

    def _start(
        self, backend: Any, question: Question, sampling: Sampling, kind: SpanKind, began: int | None = None
    ) -> Span:
        operation = OPERATIONS.get(question.native.api, "chat") if question.native is not None else "chat"
        span = self.tracer.start_span(f"{operation} {backend.model}", self.context, kind, start_time=began)
        url = urlsplit(getattr(getattr(backend, "settings", None), "base_url", None) or "")
        host = url.hostname if kind is SpanKind.CLIENT else None
        found: dict[str, Any] = {
            names.OPERATION: operation,
            names.PROVIDER: names.provider_of(host) if host else names.IN_PROCESS,
            names.REQUEST_MODEL: backend.model,
            names.REQUEST_MAX_TOKENS: sampling.max_tokens,
            names.REQUEST_TEMPERATURE: sampling.temperature,
            names.REQUEST_TOP_P: sampling.top_p,
            names.REQUEST_SEED: sampling.seed,
            names.REQUEST_STOP: list(sampling.stop) or None,
            names.SERVER_ADDRESS: host,
            names.SERVER_PORT: (url.port or (443 if url.scheme == "https" else 80)) if host else None,
        }
        _set(span, found)
        if self.content:
            messages = [{"role": m.role, "parts": [{"type": "text", "content": m.content}]} for m in question.messages]
            span.set_attribute(names.INPUT_MESSAGES, json.dumps(messages, ensure_ascii=False))
        return span

    def _in_process(self, stage: Stage, step: Step) -> CallSpan:
        """The span of a call to a model in this process, which has just ended with its signal."""
        began = time.time_ns() - int(step.seconds * 1e9)
        plan = self.plan
        assert plan is not None
        span = self._start(stage.backend, plan.question, stage.sampling, SpanKind.INTERNAL, began)
        call = CallSpan(span, stage.name, content=self.content)
        call.ended(step.completion, None)
        if step.error is not None:
            _fail(span, step.error_kind or "error")
        if step.completion is not None and 0 < step.completion.seconds <= step.seconds:
            call.at = began + int(step.completion.seconds * 1e9)
        return call

    def _stage_of(self, backend: Any) -> Stage | None:
        """The stage that asks a backend: of several, the first that has not ended."""
        if self.plan is None:
            return None
        for stage in self.plan.cascade.stages:
            asked = [stage.backend, *stage.backends]
            servers = [server for each in asked for server in getattr(each, "backends", [each])]
            if stage.name not in self.over and any(server is backend for server in (*servers, *servers_of(stage))):
                return stage
        return None


def _outcome(step: Step) -> dict[str, Any]:
    confidence = step.confidence
    return {
        names.CONFIDENCE: confidence.value if confidence is not None else None,
        names.THRESHOLD: step.threshold,
        names.DECISION: step.decision.value if step.decision is not None and confidence is not None else None,
        names.COST_USD: float(step.cost_usd) if step.cost_usd is not None else None,
    }


def _describe(span: Span, completion: Completion, *, content: bool) -> None:
    usage = completion.usage
    finish = completion.finish_reason
    found: dict[str, Any] = {
        names.RESPONSE_MODEL: completion.model,
        names.RESPONSE_FINISH: [finish] if finish is not None else None,
        names.RESPONSE_FIRST_CHUNK: completion.first_token_seconds,
        names.INPUT_TOKENS: usage.prompt_tokens,
        names.OUTPUT_TOKENS: usage.completion_tokens,
        names.CACHE_READ_TOKENS: usage.cached_tokens or None,
        names.CACHE_WRITE_TOKENS: usage.cache_write_tokens or None,
        names.REASONING_TOKENS: usage.reasoning_tokens or None,
    }
    _set(span, found)
    if content:
        message = {
            "role": "assistant",
            "parts": [{"type": "text", "content": completion.text}],
            "finish_reason": finish,
        }
        span.set_attribute(names.OUTPUT_MESSAGES, json.dumps([message], ensure_ascii=False))


def _set(span: Span, attributes: Mapping[str, Any]) -> None:
    span.set_attributes({name: value for name, value in attributes.items() if value is not None})


def _error_type(error: BaseException) -> str:
    """The HTTP status of a failed call, else the error's class; its words may quote the prompt."""
    if isinstance(error, BackendError) and error.status is not None and error.status >= 400:
        return str(error.status)
    return type(error).__name__


def _fail(span: Span, kind: str, *, server: bool = True) -> None:
    span.set_attribute(names.ERROR_TYPE, kind)
    if server:  # a SERVER span of a client's fault has no error status
        span.set_status(Status(StatusCode.ERROR))
