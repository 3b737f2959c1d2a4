"""Traces to and from JSON lines."""

import gzip
from decimal import Decimal
from pathlib import Path

import pytest

from corea.cascade import Cascade
from corea.errors import DataError
from corea.policies.threshold import Threshold
from corea.protocols import Signal
from corea.signals.expected import Expected
from corea.signals.logprob import MeanTokenProbability
from corea.signals.verbalized import Verbalized
from corea.stage import Stage
from corea.trace_io import decode, encode, read_traces
from corea.types import (
    Completion,
    Confidence,
    Decision,
    Question,
    Sampling,
    Status,
    Step,
    TokenLogprob,
    Trace,
    Usage,
)

TRACE = Trace(
    question_id="q1",
    steps=(
        Step(
            stage="small",
            completion=Completion(
                text="<answer>19</answer>",
                model="m",
                usage=Usage(prompt_tokens=3, cached_tokens=1, completion_tokens=5, reasoning_tokens=2, estimated=True),
                logprobs=(TokenLogprob("19", -0.25, (("19", -0.25), ("20", -1.5))),),
                wasted=Usage(prompt_tokens=3),
                cost_usd=Decimal("0.1000000000000000000001"),
                raw={"tool_calls": [{"id": "x"}]},
            ),
            answer="19",
            confidence=Confidence(value=None, signal="verbalized", reason="none stated"),
            decision=Decision.DEFER,
            cost_usd=Decimal("1E-15"),
        ),
        Step(stage="large", error="down", error_kind="BackendTimeout"),
    ),
    status=Status.FAILED,
    error="down",
    cost_usd=None,
    flags=("calibration forced",),
    trace_id="t1",
)


def test_a_trace_comes_back_as_it_went() -> None:
    assert decode(encode(TRACE)) == TRACE


def test_a_trace_is_one_line() -> None:
    assert b"\n" not in encode(TRACE)


@pytest.mark.parametrize("name", ["traces.jsonl", "traces.jsonl.gz"])
def test_files_plain_and_packed(tmp_path: Path, name: str) -> None:
    lines = (encode(TRACE) + b"\n") * 2
    (tmp_path / name).write_bytes(gzip.compress(lines) if name.endswith(".gz") else lines)
    assert list(read_traces(tmp_path / name)) == [TRACE, TRACE]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{", "traces.jsonl:2: not a trace"),
        (b'{"version": 9}', "traces.jsonl:2: trace version 9, expected 1; install a newer corea"),
        (b'{"version": 1}', "traces.jsonl:2: not a trace"),
        (b"\xff", "traces.jsonl:2: not a trace"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: bytes, said: str) -> None:
    path = tmp_path / "traces.jsonl"
    path.write_bytes(encode(TRACE) + b"\n" + line + b"\n")
    with pytest.raises(DataError, match=said):
        list(read_traces(path))


def test_a_missing_and_a_damaged_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        list(read_traces(tmp_path / "none.jsonl"))
    (tmp_path / "bad.jsonl.gz").write_bytes(b"not gzip")
    with pytest.raises(DataError, match="cannot be read"):
        list(read_traces(tmp_path / "bad.jsonl.gz"))


# ---- log-probabilities

WORDS = ["the", " sum", " of", " twelve", " apples", " is", " then", " 19", ",", " so"]
NUMBER = ["\n\nCONF: ", "0", ".", "8", "5", "\n"]


class Talkative:
    """A server that writes 200 tokens, each with 20 alternatives, as the `expected` signal asks for them."""

    model = "talkative"

    async def complete(self, question: Question, sampling: Sampling) -> Completion:
        written = [WORDS[i % 10] for i in range(194)] + NUMBER
        return Completion(
            text="".join(written),
            model=self.model,
            logprobs=tuple(self.token(i, token) for i, token in enumerate(written)),
        )

    @staticmethod
    def token(place: int, token: str) -> TokenLogprob:
        others = [f"{i}" for i in range(10)] if token in "85" else [f" w{i}" for i in range(20)]
        tops = [(other, -4.0 - (place * 7 + i) % 11 / 7) for i, other in enumerate(others) if other != token]
        return TokenLogprob(token, -0.0625, ((token, -0.0625), *tops[:19]))


async def trace_of(signal: Signal, *, keep_logprobs: bool) -> Trace:
    small = Stage(
        name="small",
        backend=Talkative(),
        signal=signal,
        policy=Threshold(0.5),
        sampling=Sampling(logprobs=True, top_logprobs=20),
        keep_logprobs=keep_logprobs,
    )
    return await Cascade(stages=(small, Stage(name="large", backend=Talkative()))).ask(Question.of("How many?"))


async def test_a_trace_keeps_only_the_log_probabilities_that_the_signal_used() -> None:
    whole, kept = [await trace_of(Expected(), keep_logprobs=keep) for keep in (True, False)]
    assert 10 * len(encode(kept)) <= len(encode(whole))
    completion = kept.steps[0].completion
    assert completion is not None
    assert [token.token for token in completion.logprobs or ()] == ["0", ".", "8", "5", "\n"]
    kept_at = zip(completion.logprobs_at, completion.logprobs or (), strict=True)
    assert all(completion.text.startswith(token.token, at) for at, token in kept_at)
    assert kept.confidence == whole.confidence


async def test_the_signal_can_be_measured_again_from_a_trace_that_was_read() -> None:
    trace = decode(encode(await trace_of(Expected(), keep_logprobs=False)))
    completion = trace.steps[0].completion
    assert completion is not None
    assert trace.confidence is not None
    assert trace.confidence.value is not None
    assert (await Expected().measure(Question.of("How many?"), completion)) == trace.confidence


async def test_a_signal_of_all_tokens_keeps_them_without_their_alternatives() -> None:
    trace = await trace_of(MeanTokenProbability(), keep_logprobs=False)
    completion = trace.steps[0].completion
    assert completion is not None
    assert len(completion.logprobs or ()) == 200
    assert not any(token.top for token in completion.logprobs or ())
    assert await MeanTokenProbability().measure(Question.of("How many?"), completion) == trace.confidence


async def test_log_probabilities_that_no_signal_reads_were_asked_for_and_stay() -> None:
    trace = await trace_of(Verbalized(), keep_logprobs=False)
    assert trace.steps[0].completion == await Talkative().complete(Question.of("How many?"), Sampling())
