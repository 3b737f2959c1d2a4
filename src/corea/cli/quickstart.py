"""`corea quickstart`: check, calibrate and report for labelled questions, and the next step with its money."""

import asyncio
import signal
import sys
from dataclasses import replace
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from corea.cli.calibrate import write_calibration
from corea.cli.calibrate_live import live_table
from corea.cli.calibrate_options import MethodOptions, ModelOptions, merged
from corea.cli.check import run_checks, show_checks
from corea.cli.console import EXIT_FAILED, complain, usd
from corea.cli.options import FILE, SHARE, BudgetOption, ConfigOptions, QuietOption, RowOptions, TargetOptions, spread
from corea.errors import ConfigError
from corea.registry import install_hint

if TYPE_CHECKING:
    from corea.calibrate import Calibration

MAX_DROP = 0.02  # the target where neither the command line nor corea.toml has one
WITHOUT_A_MONTH = 100_000  # questions that money is stated for


@spread
def quickstart(
    questions: Annotated[Path, typer.Argument(metavar=FILE, help="Questions with reference answers.")],
    configuration: ConfigOptions,
    questions_per_month: Annotated[
        int | None,
        typer.Option(min=1, help="Your traffic, to state the money of a month. Default: of 100,000 questions."),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(metavar=SHARE, help="Largest accuracy loss to the large model. Default: .02, 2 points."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask the models without waiting for a yes.")] = False,
    budget_usd: BudgetOption = None,
    out: Annotated[
        Path, typer.Option("--out", metavar=FILE, help="Artefact to write; the report is next to it.")
    ] = Path("calibration.json"),
    quiet: QuietOption = False,
) -> None:
    """Check two models, calibrate them on labelled questions, and say what to do next, in money.

    Says what asking the models costs at most, and waits for a yes (or --yes, or --budget-usd). Started again, it
    resumes from the stored answers. INFEASIBLE is a result, not an error.
    """
    from corea.calibrate import fit
    from corea.cli.configuration import find_config
    from corea.evaluate.plain_baseline import with_plain_baseline

    config, bundled = find_config(configuration.config, configuration.set_)
    if bundled:
        raise ConfigError(
            "quickstart: no corea.toml here, expected one with your two models; write it with `corea init`"
        )
    models = ModelOptions(budget_usd=budget_usd)
    rows, targets = RowOptions(questions=questions), TargetOptions(max_drop=max_drop)
    settings = merged(config, rows, targets, MethodOptions(), models)
    if settings.judged:
        raise ConfigError("quickstart: got [calibrate.judge], whose pairs people label; use `corea calibrate`")
    if all(getattr(settings, name) is None for name in ("max_drop", "max_risk", "max_cost_usd", "value_usd")):
        settings = replace(settings, max_drop=MAX_DROP)
    options, _ = settings.options, settings.targets  # checked before any model is asked
    print("1. Check: both models are asked one question.\n")
    checks = asyncio.run(run_checks(configuration, first_only=True))
    show_checks(checks)
    if not all(check.ok for check in checks):
        complain("quickstart: a check failed; correct corea.toml (docs/troubleshooting.md) and start again")
        raise typer.Exit(EXIT_FAILED)
    print(
        f"\n2. Calibrate: both models answer {questions}, once; a second start resumes from the stored answers.\n",
        flush=True,
    )
    limited = yes or budget_usd is not None or settings.budget_usd is not None
    table, binding, wanted = live_table(
        settings, configuration, models, answers=out.with_suffix(".answers"), quiet=quiet,
        confirm=None if limited else _agree,
    )  # fmt: skip
    found = with_plain_baseline(fit(table, wanted, options, binding=binding), table)
    missing = [name for name in ("jinja2", "matplotlib") if find_spec(name) is None]
    write_calibration(found, out, None if missing else out.with_suffix(".html"))
    if missing:
        print(f"no report: it needs {missing[0]}; {install_hint(missing[0])}")
    print("\n3. What to do next\n")
    print("\n".join(next_page(found, questions_per_month, out, configuration.config)))


def next_page(found: "Calibration", per_month: int | None, artefact: Path, config: Path | None = None) -> list[str]:
    """What a calibration saves in USD, and the next steps, in lines.

    Args:
        per_month: Questions of a month; None: the money of 100,000 questions is stated.
    """
    questions = per_month or WITHOUT_A_MONTH
    of = f"{questions:,} questions" + (" a month" if per_month else "")
    plain = "plain_saving" in found.expected
    large = found.expected["plain_llm_mean_cost_usd" if plain else "llm_mean_cost_usd"].value * questions
    saving = found.expected["plain_saving" if plain else "saving"]
    model, shown = found.binding[-1].model, usd(large)
    if not found.certified:
        return [
            f"Nothing is certified: stay with {model} ({shown} for {of}).",
            "With this calibration a cascade defers every question, and pays the small model on top. What may help:",
            *(f"  - {each}" for each in found.advice),
            "  - docs/bill.md, \"If nothing is saved\"",
        ]  # fmt: skip
    low, value, high = (usd(large * each) for each in (saving.low, saving.value, saving.high))
    lines = [
        f"{of}, like those of your file:",
        f"  {'large model alone':20}{shown}  ({model}" + (", asked as the question came)" if plain else ")"),
        f"  {'with the cascade':20}{usd(large * (1 - saving.value))}",
        f"  {'saved':20}{value}  (95 %: {low} to {high})",
        f"Guarantee: {found.guarantee.statement}.",
        "",
    ]
    if saving.value <= 0:
        return [*lines, f"It does not pay: stay with {model}, or try a cheaper small model (docs/bill.md)."]
    option = "" if config is None else f" --config {config}"
    return [
        *lines,
        f"  - an application: `corea serve{option} --calibration {artefact}`, then set its base URL to",
        "    http://127.0.0.1:8000/v1 and its model to the cascade's name (docs/gateway.md)",
        f"  - a file: `corea run later.jsonl --out answers.jsonl{option} --calibration {artefact}`",
        "  - for good: set `calibration` under [cascade] of corea.toml; calibrate again when the traffic or a model",
        "    changes (docs/guarantee.md)",
    ]


def _agree(most: Decimal | None) -> None:
    """Asks on the terminal before the models are asked.

    Raises:
        ConfigError: There is none. Abort: The answer is no.
    """
    cost = "a cost without a bound" if most is None else f"at most {usd(most)}"
    if not sys.stdin.isatty():
        raise ConfigError(f"quickstart: asking the models costs {cost}, expected a yes; give --yes or --budget-usd USD")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a run's own handler would wait for the answer
    try:
        typer.confirm(
            f"Ask the models now ({cost}: every answer at max_tokens, with all retries)?",
            default=True,
            abort=True,
            err=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)
