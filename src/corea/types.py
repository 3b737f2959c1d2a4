"""The records: frozen data without behaviour.

Money is `Decimal` in USD, time is float seconds, tokens are whole numbers. Those that are made for every question are
`msgspec.Struct`s, where a frozen dataclass takes 25 times as long to make and twice as long to write; `replace` gives
one with other fields, and `Sampling`, a setting, is a dataclass like all settings.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.structs import replace

from corea.errors import ConfigError

__all__ = [
    "OUTSIDE", "TRACE_VERSION", "ZERO_USD", "Completion", "Confidence", "Decision", "Message", "NativeRequest",
    "Question", "Sampling", "Status", "Step", "StreamPart", "TokenLogprob", "Trace", "Usage", "Verdict", "replace",
]  # fmt: skip

TRACE_VERSION = 1
ZERO_USD = Decimal(0)
SET_BY_COREA = ("model", "messages", "stream", "stream_options")  # fields of a request
OTHER_MODELS = ("models", "fallbacks")  # OpenRouter, LiteLLM: others may answer, at other prices
LIMITS = ("max_tokens", "max_completion_tokens", "n_predict")  # OpenAI's two, llama.cpp's
OUTSIDE = "unlike all rows that calibrated"  # how the reason of such a missing confidence begins
ANSWERS = ("n", "best_of")  # how many answers, each of them billed


class Decision(StrEnum):
    """The decision of a policy on an answer, and of a pre-policy on a question."""

    KEEP = "keep"
    DEFER = "defer"
    ABSTAIN = "abstain"  # a person should answer (only where a policy has a lower threshold)


class Status(StrEnum):
    """The outcome of a question."""

    ANSWERED = "answered"
    FALLBACK = "fallback"  # the last stage was down; the best deferred answer was returned instead
    ABSTAINED = "abstained"
    FAILED = "failed"
    WAITING = "waiting"  # for a batch API, before its next stage; only in the journal of a run


class Message(Struct, frozen=True):
    """One chat message.

    Args:
        content: The text of it; for a message of several parts, its text parts joined.
        raw: The whole message as the client sent it, where it carries more than role and text (images,
            tool calls); a backend that can sends this instead, untouched.
    """

    role: str
    content: str
    raw: Mapping[str, Any] | None = None


class NativeRequest(Struct, frozen=True, kw_only=True):
    """A request as a client sent it in another API than chat completions, for a server that speaks that API.

    Args:
        api: Its name in a backend's `apis`, such as "messages".
        body: All its fields.
        headers: Those for the server.
        only: Fields that no chat request can carry, each with the reason.
        own: Fields that no operator's policy concerns, since the gateway uses them itself.
        server: The backend that is sent it; any other one is sent the messages that it was translated into.
    """

    api: str
    body: Mapping[str, Any]
    headers: Mapping[str, str] = {}
    only: Mapping[str, str] = {}
    own: frozenset[str] = frozenset()
    server: Any = None


class Question(Struct, frozen=True, kw_only=True):
    """A question: an id and chat messages; in datasets also the reference answer.

    Args:
        choices: The options of a multiple-choice question, letters A.. in order; they are NOT yet in `messages`
            (a prompt renders them).
        category: A slice for reports and per-group thresholds (a subject, a level).
        meta: Other fields of the source; passed along, never interpreted.
        native: The request that `messages` were translated from; a question with other messages has none.
    """

    id: str
    messages: tuple[Message, ...]
    reference: str | None = None
    choices: tuple[str, ...] = ()
    category: str | None = None
    meta: Mapping[str, Any] = {}
    native: NativeRequest | None = None

    @classmethod
    def of(cls, text: str, *, id: str = "question", reference: str | None = None) -> "Question":
        """A single-turn question from its text."""
        return cls(id=id, messages=(Message("user", text),), reference=reference)

    @property
    def text(self) -> str:
        """The last user message, which is the question in a single-turn one; "" if there is none."""
        return next((m.content for m in reversed(self.messages) if m.role == "user"), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Sampling settings of a call. None leaves a setting to the backend.

    Args:
        max_tokens: Largest number of tokens of a completion.
        temperature, top_p, seed, stop: As in the protocol of OpenAI.
        logprobs: Ask for the log-probability of each token written.
        top_logprobs: Ask also for so many alternatives at each position (servers allow up to 20).
        extra: Request fields passed through to a server untouched; none that COREA sets itself.

    Raises:
        ConfigError: A limit is not a whole number of at least 1 (some servers take -1 for no limit: that is None here),
            or `extra` has a field that would change the model or the question.
    """

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: bool = False
    top_logprobs: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        if self.max_tokens is not None and not _is_count(self.max_tokens):
            raise ConfigError(
                f"max_tokens: got {self.max_tokens!r}, expected a whole number of at least 1; leave it out for no limit"
            )
        for key, expected in wrong_fields(self.extra).items():
            got = f"{self.extra[key]!r:.60}" if key in (*LIMITS, *ANSWERS) else "it"
            raise ConfigError(f"extra.{key}: got {got}, expected {expected}")


def wrong_fields(extra: Mapping[str, Any]) -> dict[str, str]:
    """Request fields that cannot be passed through, each with what is expected instead."""
    wrong = {
        **{key: "it left out: COREA sets it itself" for key in SET_BY_COREA if key in extra},
        **{key: "it left out: a stage has one model, with its price" for key in OTHER_MODELS if key in extra},
    }
    for key in (*LIMITS, *ANSWERS):
        if key in extra and not _is_count(extra[key]):
            wrong[key] = "a whole number of at least 1; leave it out for the server's own"
    return wrong


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


class Usage(Struct, frozen=True, kw_only=True):
    """Tokens of one or several calls.

    `cached_tokens` (read from a cache) and `cache_write_tokens` (written to one) are disjoint parts of `prompt_tokens`,
    `cache_write_1h_tokens` those of the latter that are kept for an hour; `reasoning_tokens` are part of
    `completion_tokens`, as OpenAI counts. `estimated` marks counts that no server or tokenizer gave. `web_searches`,
    and `tool_calls` of its other tools, ran at the server, which charges them beside the tokens.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False
    web_searches: int = 0
    tool_calls: int = 0

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
            cache_write_1h_tokens=self.cache_write_1h_tokens + other.cache_write_1h_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
            estimated=self.estimated or other.estimated,
            web_searches=self.web_searches + other.web_searches,
            tool_calls=self.tool_calls + other.tool_calls,
        )


class TokenLogprob(Struct, frozen=True):
    """One written token, its natural-log probability, and the alternatives there as (token, logprob), best first."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


class Completion(Struct, frozen=True, kw_only=True):
    """The text that one model wrote.

    Args:
        text: Text of the model, without reasoning if the server separates it.
        model: The name given by the server, else the configured one.
        reasoning: Separate reasoning text (`reasoning_content`), "" if none.
        finish_reason: "stop", "length", "tool_calls", ... as OpenAI names them; None if unknown.
        logprobs: Per token of `text`; their tokens join to `text`. None if not asked for or not given.
        logprobs_at: The character of `text` at which each of these tokens begins, where a trace keeps only some of
            them; empty where all are there.
        seconds: From the first byte sent in the successful attempt to the last received.
        first_token_seconds: The same until the first text; None if not streamed.
        retries: Failed attempts before this one.
        wasted: Tokens known to be billed in those failed attempts; None if none are known.
        cost_usd: The charge reported by the server (some do); None leaves it to the price table.
        confidence: A confidence recorded with a replayed answer, with no text to read it from.
        reasoning_fields: Names of the message's fields that held `reasoning`.
        outside: Other fields of the server's response (`system_fingerprint`, ...), under "choice" those of its choice
            (with the log-probabilities as they came), under "usage" the counts that `usage` has no place for; None
            without any.
        raw: The message's other fields as they came (tool calls, refusal, ...), and its `content` where that is not a
            text; None without any.
    """

    text: str
    model: str
    usage: Usage = Usage()
    reasoning: str = ""
    finish_reason: str | None = None
    logprobs: tuple[TokenLogprob, ...] | None = None
    logprobs_at: tuple[int, ...] = ()
    seconds: float = 0.0
    first_token_seconds: float | None = None
    retries: int = 0
    wasted: Usage | None = None
    cost_usd: Decimal | None = None
    confidence: float | None = None
    reasoning_fields: tuple[str, ...] = ()
    outside: Mapping[str, Any] | None = None
    raw: Mapping[str, Any] | None = None

    @property
    def cut_by_limit(self) -> bool:
        """True where the token limit cut the text off (`finish_reason` "length")."""
        return self.finish_reason == "length"


class StreamPart(Struct, frozen=True):
    """A piece of a streamed answer that has more than text.

    Args:
        fields: Of the delta, beside role and text: tool calls (each with its index), reasoning, refusal, ...
        logprobs: The log-probabilities of the piece, as the server wrote them.
        outside: The chunk's other fields around the delta, under "choice" those of its choice.
    """

    text: str = ""
    fields: Mapping[str, Any] = {}
    logprobs: Raw | None = None
    outside: Mapping[str, Any] = {}


class Confidence(Struct, frozen=True, kw_only=True):
    """A probability that an answer is right, and the signal behind it.

    Args:
        value: In [0, 1], or None where the signal could not be computed: never 0 or 0.5 in its place.
        score: The number that a calibration's threshold is for, in [0, 1]; None without a calibration, where thresholds
            are for `value`, and where `value` is None.
        reason: The reason of a missing value, or a remark on it (such as "3 % of the mass was not seen").
        calls: Further model calls that the signal needed; they are paid for and counted.
        spans: The (start, end) characters of the completion's text whose log-probabilities were used; traces keep only
            these. None: all of them, or unknown.
        inputs: The numbers that a calibration's map read, by column, those that were measured; no field without one.
    """

    value: float | None
    signal: str
    reason: str = ""
    calls: tuple[Completion, ...] = ()
    spans: tuple[tuple[int, int], ...] | None = None
    score: float | None = None
    inputs: Mapping[str, float] | UnsetType = UNSET

    @property
    def deciding(self) -> float | None:
        """The number that a threshold is compared with: the score, else the value."""
        return self.value if self.score is None else self.score

    @property
    def outside(self) -> bool:
        """True where a calibration gives no score, as an input is unlike all rows that it was fitted on."""
        return self.value is None and self.reason.startswith(OUTSIDE)


class Verdict(Struct, frozen=True):
    """A grader's verdict, and the answer it extracted from the text (None: none found)."""

    correct: bool
    extracted: str | None
    reason: str = ""


class Step(Struct, frozen=True, kw_only=True):
    """One stage's attempt at a question.

    Exactly one of these holds: `completion` is set; `error` is set (a failed call may also have a partial
    completion that was billed); `skipped` says why the stage was not asked.
    `threshold` is what the policy compared the confidence's score (else its value) with; None where it has none.
    `cost_usd` covers the completion, billed retries and the signal's own calls. None: not known (no price).
    """

    stage: str
    completion: Completion | None = None
    answer: str | None = None
    confidence: Confidence | None = None
    decision: Decision | None = None
    cost_usd: Decimal | None = ZERO_USD
    seconds: float = 0.0
    error: str | None = None
    error_kind: str | None = None  # the error's class, such as "BackendTimeout"
    error_status: int | None = None  # the server's HTTP status, if any
    error_body: Any = None  # the server's own error object, if any
    retry_after_seconds: float | None = None  # the delay that the server asked for
    skipped: str | None = None
    threshold: float | None = None


class Trace(Struct, frozen=True, kw_only=True):
    """The complete record of one question. One versioned JSON line (see `corea.trace_io`).

    Args:
        answer: The final short answer read from the answering stage's text; None where none could be read.
        text: The answering stage's whole text; None when the question failed.
        stage: The name of the stage whose answer was returned, or that abstained (answer and text are then None);
            None when the question failed.
        baseline_cost_usd: The cost of the last stage alone: measured where it was called, else an estimate.
        baseline_estimated: True for an estimate; with a cost of None where it cannot be estimated.
        baseline_assumed: True for an estimate made before any call to the last stage: it is assumed to use as many
            tokens as the answering stage.
        flags: Important remarks for readers, such as "calibration forced".
    """

    question_id: str
    steps: tuple[Step, ...]
    status: Status
    answer: str | None = None
    text: str | None = None
    stage: str | None = None
    error: str | None = None
    cost_usd: Decimal | None = ZERO_USD
    baseline_cost_usd: Decimal | None = None
    baseline_estimated: bool = False
    baseline_assumed: bool = False
    seconds: float = 0.0
    flags: tuple[str, ...] = ()
    trace_id: str = ""
    version: int = TRACE_VERSION

    @property
    def confidence(self) -> Confidence | None:
        """The confidence of the answer that was returned, if its stage measured one."""
        return next((s.confidence for s in self.steps if s.stage == self.stage and not s.error), None)

    @property
    def deferred(self) -> bool:
        """True where any stage deferred."""
        for step in self.steps:  # noqa: SIM110  # `any` takes four times as long, and each request passes here
            if step.decision is Decision.DEFER:
                return True
        return False

    @property
    def saved_usd(self) -> Decimal | None:
        """Baseline minus cost; negative when the cascade cost more; None where either is unknown."""
        if self.baseline_cost_usd is None or self.cost_usd is None:
            return None
        return self.baseline_cost_usd - self.cost_usd
