"""Options that several commands share: one declaration each, and sets of them as dataclasses.

A command takes a set as one parameter, and `spread` shows its fields to typer as options of their own:

    @spread
    def evaluate(runs: RunsArgument, rows: RowOptions, json: JsonOption = False) -> None: ...
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import update_wrapper
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

FILE, FOLDER, NAME, NAMES, PRICE, USD, SHARE = "FILE", "FOLDER", "NAME", "NAME,...", "NAME=IN/OUT", "USD", "SHARE"
CONFIGURATION, ROWS, TARGETS = "Configuration", "Recorded rows", "Targets"  # panels of the help
MODELS = "Asking the models"


def _option(panel: str | None, metavar: str | None, text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, metavar=metavar, help=text, rich_help_panel=panel, **more)


def _row(metavar: str, text: str) -> Any:
    return _option(ROWS, metavar, text, show_default=False)


ConfigOption = Annotated[
    Path | None,
    _option(
        CONFIGURATION, FILE, "Configuration file. Default: corea.toml here if there is one, else the bundled pair.",
        "--config", "-c",
    ),
]  # fmt: skip
SetOption = Annotated[
    list[str] | None,
    _option(CONFIGURATION, "KEY=VALUE", "Override one setting, as a.b=value; may be repeated.", "--set"),
]
CascadeOption = Annotated[str | None, _option(CONFIGURATION, NAME, "Cascade of the configuration. Default: the first.")]
CalibrationOption = Annotated[
    Path | None,
    _option(CONFIGURATION, FILE, "Calibration, as written by `corea calibrate`; it decides which answers are kept."),
]
ForceOption = Annotated[
    bool,
    _option(CONFIGURATION, None, "Use a calibration made for another configuration; traces are marked.", "--force"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]
BudgetOption = Annotated[
    str | None, _option(None, USD, "Stop before more than this is spent, over all starts of a run.", "--budget-usd")
]
ConcurrencyOption = Annotated[int | None, typer.Option(min=1, help="Questions in flight at once.")]
QuestionsOption = Annotated[Path | None, _row(FILE, "Questions with reference answers.")]
GraderOption = Annotated[str | None, _row(NAME, "Grader of all questions. Default: each question's own.")]
PriceOption = Annotated[
    list[str] | None, _row(PRICE, "Price in USD per million prompt and completion tokens; may be repeated.")
]


@dataclass(frozen=True, kw_only=True)
class ConfigOptions:
    """Configuration that a command works with."""

    config: ConfigOption = None
    set_: SetOption = None


@dataclass(frozen=True, kw_only=True)
class CascadeOptions(ConfigOptions):
    """One cascade of a configuration, with a calibration in place of its own."""

    cascade: CascadeOption = None
    calibration: CalibrationOption = None
    force: ForceOption = False


@dataclass(frozen=True, kw_only=True)
class RowOptions:
    """Recorded rows of a small and a large model: files, and the models, variants and columns to read from them."""

    traces: Annotated[list[Path] | None, _row(FILE, "Rows or a run of the small model; may be repeated.")] = None
    reference: Annotated[list[Path] | None, _row(FILE, "Rows or a run of the large model; may be repeated.")] = None
    slm: Annotated[str, _row(NAME, "Small model to read, if --traces holds several.")] = ""
    llm: Annotated[str, _row(NAME, "Large model to read, if --reference holds several.")] = ""
    variant: Annotated[str, _row(NAME, "Variant of the small model's rows.")] = ""
    llm_variant: Annotated[str, _row(NAME, "Variant of the large model's rows.")] = ""
    price: PriceOption = None
    signals: Annotated[
        str, _row(NAMES, "Signal columns, also those only recorded. Default: what a cascade measures live.")
    ] = ""
    group: Annotated[str | None, _row(NAME, "Column that holds the group of a row. Default: category.")] = None
    questions: QuestionsOption = None
    grader: GraderOption = None
    second_opinion: Annotated[
        str, _row("FILE[:MODEL]", "Rows or a run of another model whose answers the small model's are compared with.")
    ] = ""


def _target(metavar: str, text: str) -> Any:
    return _option(TARGETS, metavar, text)


@dataclass(frozen=True, kw_only=True)
class TargetOptions:
    """Targets that a calibration guarantees, or the cost that it minimises."""

    max_drop: Annotated[float | None, _target(SHARE, "Largest accuracy loss to the large model; .02: 2 points.")] = None
    max_risk: Annotated[float | None, _target(SHARE, "Largest error rate among the kept answers.")] = None
    max_cost: Annotated[float | None, _target(USD, "Largest mean cost per question.")] = None
    value: Annotated[float | None, _target(USD, "Cost of a wrong answer.")] = None
    abstain_cost: Annotated[float | None, _target(USD, "Cost of an answer by a person; with --value.")] = None
    cost_cap: Annotated[float | None, _target(USD, "Largest cost of any one question that asks every model.")] = None
    delta: Annotated[
        float | None, _target(SHARE, "Failure probability of the guarantee. Default: .05, 95 % confidence.")
    ] = None


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """The same command, with the fields of each option set in the place of the set.

    Args:
        command: A function of annotated parameters; those annotated with a dataclass are option sets.
    """
    parameters = inspect.signature(command, eval_str=True).parameters.values()
    sets: dict[str, Any] = {
        parameter.name: parameter.annotation for parameter in parameters if is_dataclass(parameter.annotation)
    }
    flat: list[inspect.Parameter] = []
    for parameter in parameters:
        flat += _fields(sets[parameter.name]) if parameter.name in sets else [parameter]

    def run(**given: Any) -> None:
        filled = {
            name: kind(**{field.name: given.pop(field.name) for field in fields(kind)}) for name, kind in sets.items()
        }
        command(**given, **filled)

    update_wrapper(run, command)
    shown: Any = run
    shown.__signature__ = inspect.Signature([each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in flat])
    shown.__annotations__ = {each.name: each.annotation for each in flat}
    return run


def _fields(kind: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    return [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, annotation=hints[field.name], default=field.default
        )
        for field in fields(kind)
    ]
