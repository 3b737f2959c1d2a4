"""Errors of an OpenAI-compatible server, in one line each, with what to do about it."""

import os
import ssl
import time
from collections.abc import Mapping

import aiohttp

from corea.backends.openai import wire
from corea.backends.openai.api_keys import KeyRedactor
from corea.backends.openai.retry import may_help, retry_after_seconds
from corea.backends.openai.settings import OpenAISettings
from corea.errors import BackendError, BackendRefused, BackendTimeout
from corea.types import Completion

NO_HEADERS: Mapping[str, str] = {}


class BreakerOpen(BackendRefused):
    """Refused by our own circuit breaker, not by the server."""


class UnreadableAnswer(BackendError):
    """A 200 whose body is cut off or is not JSON. Retried once, since each attempt may be billed."""


def breaker_open_error(settings: OpenAISettings, failures: int, wait_seconds: float) -> BreakerOpen:
    """The server has failed too often recently to be called now."""
    return BreakerOpen(
        f"got {failures} failures in a row, so calls are held back for {wait_seconds:.0f} s more; see that the "
        "server is up (breaker_failures and breaker_cool_down_seconds set this)",
        backend=settings.where,
        retryable=True,
        retry_after_seconds=wait_seconds,
    )


def connect_timeout_error(settings: OpenAISettings) -> BackendTimeout:
    """No connection was opened in time."""
    return BackendTimeout(
        f"got no connection within {settings.connect_timeout_seconds:g} s, expected one; see that the server runs and "
        "can be reached, or raise connect_timeout_seconds",
        backend=settings.where,
        retryable=True,
    )


def first_byte_timeout_error(settings: OpenAISettings) -> BackendTimeout:
    """No byte of the response came in time."""
    return BackendTimeout(
        f"got no answer within {settings.first_byte_timeout_seconds:g} s, expected its first byte; lower the "
        "concurrency, or raise first_byte_timeout_seconds",
        backend=settings.where,
        retryable=True,
    )


def total_timeout_error(settings: OpenAISettings, spent: Completion | None = None) -> BackendTimeout:
    """The response was not complete in time. Not retried: it would take as long again."""
    return BackendTimeout(
        f"got only part of the answer within {settings.total_timeout_seconds:g} s, expected all of it; lower "
        "max_tokens, or raise total_timeout_seconds",
        backend=settings.where,
        spent=spent,
    )


def connection_error(settings: OpenAISettings, error: Exception, redactor: KeyRedactor) -> BackendError:
    """No response: unknown host, no listener, no valid certificate, or a connection that was cut."""
    cause, where = redactor.hide(cause_of(error)), settings.where
    if isinstance(error, aiohttp.InvalidURL):
        return BackendError(f"got {cause}, expected a URL; correct base_url", backend=where)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        todo = "see that the name in base_url is right and the network is up"
        return BackendRefused(f"cannot find the host ({cause}); {todo}", backend=where, retryable=True)
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        todo = "use http:// for a server without TLS, or give it a certificate that this machine trusts"
        return BackendRefused(f"cannot agree on a secure connection ({cause}); {todo}", backend=where)
    if isinstance(error, aiohttp.ClientConnectorError):
        todo = "start the server, or correct base_url"
        return BackendRefused(f"cannot connect ({cause}); {todo}", backend=where, retryable=True)
    return BackendError(
        f"the connection was cut before an answer ({cause}); see the server's log", backend=where, retryable=True
    )


def body_error(settings: OpenAISettings, error: Exception, status: int) -> BackendError:
    """The connection broke within the body of a response, of which nothing has been passed on."""
    return BackendError(
        f"the connection broke in the middle of the answer ({cause_of(error)}), expected the whole of it; see the "
        "server's log",
        backend=settings.where,
        status=status,
        retryable=True,
    )


def stream_error(settings: OpenAISettings, why: str, spent: Completion | None) -> BackendError:
    """A stream did not reach its end."""
    return BackendError(
        f"the stream broke off ({why}), expected a finish reason and [DONE]; see the server's log",
        backend=settings.where,
        retryable=True,
        spent=spent,
    )


def status_error(
    settings: OpenAISettings, response: aiohttp.ClientResponse, received: bytes, redactor: KeyRedactor
) -> BackendError:
    """A response with another status than 200."""
    status, headers = response.status, response.headers
    if status < 400:
        location = redactor.hide(headers.get("location", "nowhere"))
        return BackendError(
            f"got HTTP {status} (to {location}), expected 200; set base_url to where the API is",
            backend=settings.where,
            status=status,
        )
    return server_error(
        settings,
        wire.read_error(received),
        redactor,
        status=status,
        headers=headers,
        spent=billed_completion(settings, received),
    )


def server_error(
    settings: OpenAISettings,
    error: wire.ServerError,
    redactor: KeyRedactor,
    *,
    status: int | None = None,
    default_status: int = 200,
    headers: Mapping[str, str] = NO_HEADERS,
    spent: Completion | None = None,
) -> BackendError:
    """The server's own error.

    Args:
        status: Of the response; None where the error was in the body of a 200, which may state a status of its own.
        default_status: Decides on a retry if the body states none.
        headers: Of the response.
    """
    status = status or error.status
    message = redactor.hide(error.message)
    got = f"HTTP {status}" if status else "an error instead of an answer"
    kind = BackendRefused if status and 400 <= status < 500 else BackendError
    return (BackendTimeout if status in (408, 504) else kind)(
        f"got {got}{f' ({message})' if message else ''}; {_advice(settings, status or 200, error)}",
        backend=settings.where,
        status=status or 200,
        retryable=may_help(status or default_status, error.code, headers),
        retry_after_seconds=retry_after_seconds(headers, time.time()),
        spent=spent,
        body=redactor.hide_all(error.body),
    )


def no_choices_error(
    settings: OpenAISettings, reply: wire.ChatResponse, received: bytes, redactor: KeyRedactor
) -> BackendError:
    """A 200 without choices: with an error in its body, or empty."""
    if not reply.error:
        return format_error(settings, received)
    return server_error(settings, wire.error_of(reply.error), redactor, spent=billed_completion(settings, received))


def format_error(settings: OpenAISettings, received: bytes) -> BackendError:
    """A 200 without choices; the usage in it counts as spent."""
    return _format_error(BackendError, settings, received, "no choices")


def unreadable_error(settings: OpenAISettings, received: bytes, why: str) -> BackendError:
    """A 200 that cannot be read; the usage in it counts as spent."""
    return _format_error(UnreadableAnswer, settings, received, why)


def _format_error(kind: type[BackendError], settings: OpenAISettings, received: bytes, why: str) -> BackendError:
    start = wire.one_line(received[:200].decode("utf-8", "replace"), 80)
    return kind(
        f"got an answer that is not a chat completion ({why}): {start!r}; is base_url an OpenAI-compatible API?",
        backend=settings.where,
        status=200,
        retryable=True,
        spent=billed_completion(settings, received),
    )


def billed_completion(settings: OpenAISettings, received: bytes) -> Completion | None:
    """The usage in a response that cannot be used otherwise."""
    found = wire.find_usage(received)
    return Completion(text="", model=settings.model, usage=found.usage) if found else None


def cause_of(error: BaseException) -> str:
    """The operating system's message for a failed connection, else the error's, else its name."""
    inner = getattr(error, "os_error", None) or error
    number = getattr(inner, "errno", None)
    if isinstance(number, int) and number > 0 and not isinstance(inner, ssl.SSLError):
        return os.strerror(number)
    if isinstance(inner, aiohttp.ClientPayloadError):
        return "the connection was closed early"  # aiohttp's own message is about transfer lengths
    return wire.one_line(str(inner), 120) or type(error).__name__


def _advice(settings: OpenAISettings, status: int, error: wire.ServerError) -> str:
    variable = settings.api_key_env
    if status in (401, 403):
        if variable:
            return f"see that the environment variable {variable} holds a key that may use this model"
        return "name the environment variable that holds the key in api_key_env"
    if status == 402 or (status == 429 and error.code and "quota" in error.code):
        return "add credit to the account of this key"
    if status == 404:
        return "see that base_url ends in /v1 and that the server has a model of this name"
    if status == 429:
        return "lower the concurrency, or raise max_retries"
    if status in (400, 422):
        if "max_completion_tokens" in error.message:
            other = "max_tokens" if settings.limit_field == "max_completion_tokens" else "max_completion_tokens"
            return f'set max_tokens_field = "{other}"'
        if "seed" in error.message:
            return 'set seed_field = "random_seed" or "none", or leave the seed out'
        if "stream_options" in error.message:
            return "set stream_usage = false"
        return "see the model's name, the sampling settings and the length of the question"
    if status in (408, 504):
        return "the server took too long; lower the concurrency or max_tokens"
    if status >= 500:
        return "the server failed; see its log or status page"
    return "see the server's log, and that base_url ends in /v1"
