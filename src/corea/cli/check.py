"""`corea check`: does this configuration work? One screen."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from corea.cli.console import EXIT_FAILED, print_json
from corea.cli.options import ConfigOption, JsonOption, SetOption
from corea.prices import Price
from corea.types import Question, Status, Step, Trace

if TYPE_CHECKING:
    from corea.stage import Stage

QUESTION = "Tom has 12 apples and buys 7 more. How many apples does he have now?"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked: where, what, whether it is well, and what was seen."""

    where: str
    what: str
    ok: bool
    seen: str


def check(config: ConfigOption = None, set_: SetOption = None, json: JsonOption = False) -> None:
    """Tell whether the configuration works: reaches each backend, logprobs come, prices known, a question answered."""
    findings = asyncio.run(_findings(config, set_))
    if json:
        print_json({"ok": all(f.ok for f in findings), "checks": [_as_dict(f) for f in findings]})
    else:
        _show(findings)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(EXIT_FAILED)


async def _findings(config_path: Any, overrides: Any) -> list[Finding]:
    from corea.build import build, price_of
    from corea.cli.configuration import find_config
    from corea.costs.signal_calls import signal_calls
    from corea.errors import CoreaError

    config, _ = find_config(config_path, overrides)
    findings = [Finding("configuration", "is read", True, config.source)]
    for name in config.cascades:
        built = build(config, name, need_prices=False)
        try:
            for stage in built.cascade.stages:
                where = f"{name}/{stage.name}"
                try:
                    price = price_of(config, config.stages[stage.name], stage.backend, built.prices)
                    findings.append(Finding(where, "price is known", True, _price(price)))
                except CoreaError as error:
                    findings.append(Finding(where, "price is known", False, str(error)))
                findings += await _probe(where, stage)
                for call in signal_calls(stage.signal):
                    if call.backend is not stage.backend:
                        findings += _checker(f"{where}/signal", call.backend.model, stage.price_of(call.backend))
            trace = await built.cascade.ask(Question.of(QUESTION))
            findings.append(_answers(name, trace, built.cascade.stages))
            findings += [_signal(f"{name}/{step.stage}", step) for step in trace.steps if step.confidence]
        finally:
            await built.cascade.close()
    return findings


def _checker(where: str, model: str, price: Price | None) -> list[Finding]:
    """The price of another model that a signal asks."""
    if price is None:
        return [Finding(where, "price is known", False, f'{model} has no price; add [prices."{model}"]')]
    return [Finding(where, "price is known", True, f"{model}: {_price(price)}")]


async def _probe(where: str, stage: Any) -> list[Finding]:
    from corea.errors import CoreaError

    wants = stage.sampling.logprobs
    try:
        if probe := getattr(stage.backend, "probe", None):
            probed = await probe()
            seen = probed.error or f"{stage.backend.model}: {probed}"
            reached, gave = not probed.error, probed.logprobs
        else:
            completion = await stage.backend.complete(Question.of(QUESTION), stage.sampling)
            seen = f"{completion.model}: {completion.usage.completion_tokens} tokens in {completion.seconds:.2f} s"
            reached, gave = True, completion.logprobs is not None
    except CoreaError as error:
        return [Finding(where, "is reached", False, str(error))]
    findings = [Finding(where, "is reached", reached, seen)]
    if wants and reached:
        note = "come" if gave else 'do not come: use signal = "verbalized", or a server that gives them'
        findings.append(Finding(where, "logprobs come", gave, note))
    return findings


def _price(price: Price) -> str:
    if price.assumed_free:
        return f"{price.source}; it runs on hardware of your own (add it to [prices] if it costs)"
    if price.machine_usd_per_hour is not None:
        return f"${price.machine_usd_per_hour} per machine-hour at {price.tokens_per_second} tokens/s ({price.source})"
    tokens = f"${price.input_usd_per_mtok} in, ${price.output_usd_per_mtok} out per million tokens"
    return f"{tokens} ({price.source})"


def _answers(name: str, trace: Trace, stages: "Sequence[Stage]") -> Finding:
    from corea.cli.advice import why_one_is_unreadable

    seen = trace.error or trace.status.value
    if trace.status is Status.ANSWERED:
        seen = why_one_is_unreadable(trace, stages) or f"{trace.answer!r} by {trace.stage} in {trace.seconds:.2f} s"
    well = trace.status is Status.ANSWERED and trace.answer is not None
    return Finding(name, "answers a question", well, seen)


def _signal(where: str, step: Step) -> Finding:
    assert step.confidence is not None
    value = step.confidence.value
    seen = f"{step.confidence.signal} {value:.3f}" if value is not None else step.confidence.reason
    return Finding(where, "states a confidence", value is not None, seen)


def _show(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("", "where", "check", "what was seen"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        mark = "[green]ok[/]" if finding.ok else "[red]NO[/]"
        table.add_row(mark, escape(finding.where), finding.what, escape(finding.seen))
    Console().print(table)


def _as_dict(finding: Finding) -> dict[str, Any]:
    return {"where": finding.where, "check": finding.what, "ok": finding.ok, "seen": finding.seen}
