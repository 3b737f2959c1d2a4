"""`corea ask`: the answer to one question."""

import asyncio
from typing import Annotated, Any

import typer

from corea.cli.console import EXIT_BACKEND, EXIT_FAILED, complain, print_json, read_stdin, usd
from corea.cli.options import CascadeOptions, JsonOption, spread
from corea.errors import ConfigError
from corea.prices import COUNTED_AS_FREE
from corea.stage import Mode
from corea.types import Question, Status, Step, Trace


@spread
def ask(
    question: Annotated[str, typer.Argument(help="The question; `-` reads it from standard input.")],
    options: CascadeOptions,
    full: Annotated[bool, typer.Option("--full", help="Also print the whole text of the answer.")] = False,
    json: JsonOption = False,
) -> None:
    """Answer one question: the answer, its confidence, the model, cost and saving."""
    from corea.cli.advice import defers_everything, refuse_unknown_inputs, why_one_is_unreadable
    from corea.cli.configuration import BUNDLED_NOTE, build_cascade

    if question == "-":
        question = read_stdin("corea ask -")
    if not question.strip():
        raise ConfigError("corea ask: got an empty question, expected some text; put it in quotes")
    built, _, bundled = build_cascade(options)
    refuse_unknown_inputs(built.cascade, "corea ask")

    async def answer() -> Trace:
        try:
            return await built.cascade.ask(Question.of(question))
        finally:
            await built.cascade.close()

    trace = asyncio.run(answer())
    if json:
        print_json(as_dict(trace))
    elif trace.status is not Status.FAILED:
        _show(trace, built.cascade.stages[-1].mode, full=full)
        if bundled:
            print(BUNDLED_NOTE)
    if trace.status is Status.FAILED:
        complain(trace.error or "the question failed")
        raise typer.Exit(EXIT_BACKEND)
    for line in defers_everything(built.cascade, trace):
        complain(line)
    if why := why_one_is_unreadable(trace, built.cascade.stages):
        complain(why)
        raise typer.Exit(EXIT_FAILED)


def as_dict(trace: Trace) -> dict[str, Any]:
    """Trace as `--json` prints it."""
    return {
        "answer": trace.answer,
        "text": trace.text,
        "status": trace.status.value,
        "stage": trace.stage,
        "model": _model(trace),
        "confidence": trace.confidence.value if trace.confidence else None,
        "score": trace.confidence.score if trace.confidence else None,
        "threshold": next((step.threshold for step in trace.steps if step.stage == trace.stage), None),
        "deferred": trace.deferred,
        "cost_usd": trace.cost_usd,
        "baseline_cost_usd": trace.baseline_cost_usd,
        "baseline_estimated": trace.baseline_estimated,
        "baseline_assumed": trace.baseline_assumed,
        "saved_usd": trace.saved_usd,
        "seconds": round(trace.seconds, 4),
        "error": trace.error,
        "flags": list(trace.flags),
        "trace_id": trace.trace_id,
    }


def _show(trace: Trace, mode: Mode, *, full: bool) -> None:
    if full and trace.text and mode is Mode.ANSWER:
        print(trace.text.strip() + "\n")
    without = "(abstained: ask a person)" if trace.status is Status.ABSTAINED else "(an empty text)"
    print(trace.answer if trace.answer is not None else (trace.text or "").strip() or without)
    for step in trace.steps:
        print(f"  {_line(step, mode)}")
    for flag in trace.flags:
        if flag.startswith(COUNTED_AS_FREE):
            print(f"  {flag}")
    saved = f"saved {usd(trace.saved_usd)}" if trace.saved_usd is not None else "saved unknown"
    estimate = " (estimate)" if trace.baseline_estimated and trace.saved_usd is not None else ""
    if trace.baseline_assumed:
        estimate = " (if the large model writes as many tokens)"
    print(f"  {_model(trace)} · cost {usd(trace.cost_usd)} · {saved}{estimate} · {trace.seconds:.2f} s")


def _line(step: Step, mode: Mode) -> str:
    if step.skipped:
        return f"{step.stage}: skipped ({step.skipped})"
    if step.error:
        return f"{step.stage}: {step.error}"
    read = step.answer
    if read is None:
        read = "answered" if mode is Mode.CHAT else "no short answer read"
    line = f"{step.stage}: {read}"
    if step.confidence is None:
        return line
    value = step.confidence.value
    stated = f"confidence {value:.2f}" if value is not None else f"no confidence ({step.confidence.reason})"
    if step.confidence.score is not None:
        limit = "all deferred" if step.threshold is None else f"threshold {step.threshold:.4g}"
        stated += f", score {step.confidence.score:.4g}, {limit}"
    return f"{line} · {stated} ({step.confidence.signal}) · {step.decision.value if step.decision else ''}"


def _model(trace: Trace) -> str | None:
    step = next((s for s in reversed(trace.steps) if s.stage == trace.stage and s.completion), None)
    return step.completion.model if step and step.completion else trace.stage
