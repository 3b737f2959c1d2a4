"""`corea check`: reaches every backend of a configuration, and asks each cascade one question."""

import asyncio
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import typer

from corea.cli.console import EXIT_FAILED, note, print_json
from corea.cli.options import ConfigOptions, JsonOption, spread
from corea.errors import CoreaError
from corea.prices import Price
from corea.secrets import shown_url
from corea.types import Question, Status, Step, Trace

if TYPE_CHECKING:
    from corea.build import BuiltCascade
    from corea.config import Config
    from corea.stage import Stage

QUESTION = "Tom has 12 apples and buys 7 more. How many apples does he have now?"


@dataclass(frozen=True, slots=True)
class Check:
    """Result of one check.

    Args:
        where: The cascade, or the cascade and its stage.
        check: The property checked.
        seen: Evidence: an answer, a price, an error.
    """

    where: str
    check: str
    ok: bool
    seen: str


@spread
def check(options: ConfigOptions, json: JsonOption = False) -> None:
    """Check a configuration: backends reached, logprobs returned, prices known, a question answered."""
    checks = asyncio.run(run_checks(options))
    passed = all(each.ok for each in checks)
    if json:
        print_json({"ok": passed, "checks": [asdict(each) for each in checks]})
    else:
        show_checks(checks)
    if not passed:
        raise typer.Exit(EXIT_FAILED)


async def run_checks(options: ConfigOptions, *, first_only: bool = False) -> list[Check]:
    """All checks of a configuration; `first_only`: those of its first cascade, without the gateway."""
    from corea.cli.configuration import find_config

    config, bundled = find_config(options.config, options.set_)
    checks = [Check("configuration", "is read", True, config.source)]
    if config.gateway and not first_only:
        checks += _gateway(config, bundled=bundled)
    for name in [config.cascade(None)[0]] if first_only else config.cascades:
        checks += await _cascade(config, name)
    return checks


async def _cascade(config: "Config", name: str) -> list[Check]:
    """The checks of one cascade; one that fails does not keep the others from being made."""
    from corea.build import build

    try:
        built = build(config, name, need_prices=False)
    except CoreaError as error:
        return [Check(name, "can be built", False, str(error))]
    checks: list[Check] = []
    try:
        for stage in built.cascade.stages:
            if sys.stderr.isatty():  # a model may take minutes to load
                note(f"asking {name}/{stage.name} ({stage.backend.model}) ...")
            checks += [*_prices(config, built, stage), *await _reached(f"{name}/{stage.name}", stage)]
        try:
            trace = await built.cascade.ask(Question.of(QUESTION))
        except CoreaError as error:  # such as a missing key, which every call would lack
            return [*checks, Check(name, "answers a question", False, str(error))]
        checks.append(_answers(name, trace, built.cascade.stages))
        stages = {stage.name: stage for stage in built.cascade.stages}
        checks += [_signal(f"{name}/{s.stage}", s, stages[s.stage]) for s in trace.steps if s.confidence]
    finally:
        await built.cascade.close()
    return checks


def _gateway(config: "Config", *, bundled: bool) -> Iterator[Check]:
    """All that `corea serve` would refuse at its start, and its warnings."""
    from corea.build import BackendCache, build_all
    from corea.cli.configuration import find_gateway, state_folder
    from corea.registry import resolve

    try:
        settings = find_gateway(config)
        loaded = resolve("corea check", "corea.gateway.server.serve:LiveConfig", {})
        check_config = resolve("corea check", "corea.gateway.server.serve:check_config", {})
        cascades, backends = build_all(config, BackendCache())
        folder = state_folder(config, bundled=bundled)
        warnings = check_config(loaded(settings, cascades, backends, folder))
        yield Check("gateway", "would start", True, "; ".join(warnings) or f"{settings.host} port {settings.port}")
    except CoreaError as error:
        yield Check("gateway", "would start", False, str(error))


def _prices(config: "Config", built: "BuiltCascade", stage: "Stage") -> Iterator[Check]:
    """The prices of a stage's model, and of other models that its signal and second opinion ask."""
    from corea.build import price_of
    from corea.costs.signal_calls import signal_calls

    where = f"{built.name}/{stage.name}"
    try:
        price = price_of(config, config.stages[stage.name], stage.backend, built.prices)
        yield Check(where, "price is known", True, _price(stage.backend.model, price))
    except CoreaError as error:
        yield Check(where, "price is known", False, str(error))
    for call in (*signal_calls(stage.signal), *signal_calls(stage.second_opinion)):
        if call.backend is not stage.backend:
            model, known = call.backend.model, stage.price_of(call.backend)
            seen = f"{model}: {_price(model, known)}" if known else f'{model} has no price; add [prices."{model}"]'
            yield Check(f"{where}/signal", "price is known", known is not None, seen)


async def _reached(where: str, stage: "Stage") -> list[Check]:
    from corea.cli.advice import no_logprobs

    if several := getattr(stage.backend, "backends", ()):  # the same model on several servers
        found: list[Check] = []
        for backend in several:
            found += await _reached(
                f"{where} at {shown_url(backend.settings.base_url)}", replace(stage, backend=backend)
            )
        return found
    try:
        if probe := getattr(stage.backend, "probe", None):
            probed = await probe()
            short = f"{probed.model} answered in {probed.seconds:.2f} s" if stage.sampling.logprobs else probed
            seen = probed.error or f"{stage.backend.model}: {short}"
            reached, gave = not probed.error, probed.logprobs
        else:
            completion = await stage.backend.complete(Question.of(QUESTION), stage.sampling)
            seen = f"{completion.model}: {completion.usage.completion_tokens} tokens in {completion.seconds:.2f} s"
            reached, gave = True, completion.logprobs is not None
    except CoreaError as error:
        return [Check(where, "is reached", False, str(error))]
    checks = [Check(where, "is reached", reached, seen)]
    if stage.sampling.logprobs and reached:
        advice = "come" if gave else f"do not come: {no_logprobs(stage)}"
        checks.append(Check(where, "logprobs come", gave, advice))
    return checks


def _price(model: str, price: Price) -> str:
    if price.assumed_free:
        fields = "input_usd_per_mtok and output_usd_per_mtok"
        return f'{price.source}; it runs on hardware of your own (if it costs, add [prices."{model}"] with {fields})'
    if price.machine_usd_per_hour is not None:
        return f"${price.machine_usd_per_hour} per machine-hour at {price.tokens_per_second} tokens/s ({price.source})"
    tokens = f"${price.input_usd_per_mtok} in, ${price.output_usd_per_mtok} out per million tokens"
    return f"{tokens} ({price.source})"


def _answers(name: str, trace: Trace, stages: "Sequence[Stage]") -> Check:
    from corea.cli.advice import why_one_is_unreadable

    seen = trace.error or trace.status.value
    if trace.status is Status.ANSWERED:
        said = trace.answer if trace.answer is not None else (trace.text or "")[:60]
        fault = why_one_is_unreadable(trace, stages)
        seen = fault or f"{said!r} by {trace.stage} in {trace.seconds:.2f} s"
        return Check(name, "answers a question", not fault, seen)
    return Check(name, "answers a question", False, seen)


def _signal(where: str, step: Step, stage: "Stage") -> Check:
    from corea.cli.advice import LOGPROBS, no_logprobs
    from corea.signals.validators import failed_validator

    assert step.confidence is not None
    if failed_validator(step.confidence):
        return Check(where, "validates a draft", True, f"deferred, {step.confidence.reason}")
    value = step.confidence.value
    without, unasked, _ = step.confidence.reason.partition(LOGPROBS)  # every signal asks for what it needs
    seen = f"{without}; {no_logprobs(stage)}" if unasked else without
    seen = f"{step.confidence.signal} {value:.3f}" if value is not None else seen
    return Check(where, "states a confidence", value is not None, seen)


def show_checks(checks: list[Check]) -> None:
    """Prints the checks as a table."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("", "where", "check", "what was seen"):
        table.add_column(column, overflow="fold")
    for each in checks:
        mark = "[green]ok[/]" if each.ok else "[red]NO[/]"
        table.add_row(mark, escape(each.where), each.check, escape(each.seen))
    Console().print(table)
