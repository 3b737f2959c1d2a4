"""Option sets of `corea calibrate` and its subcommands, by the panels of their help."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corea.cli.console import amount
from corea.cli.options import FILE, FOLDER, MODELS, NAME, NAMES, USD, ConcurrencyOption, RowOptions, TargetOptions
from corea.cli.rows import names_of
from corea.errors import ConfigError

if TYPE_CHECKING:
    from corea.calibrate.settings import CalibrateSettings
    from corea.config import Config

METHOD, FEW_LABELS, STORE, PEOPLE = "Method", "Few labels", "A gateway's audit", "A judge and people"


def _option(panel: str, metavar: str | None, text: str, *names: str) -> Any:
    return typer.Option(*names, metavar=metavar, help=text, rich_help_panel=panel, show_default=False)


MapOption = Annotated[
    str | None,
    _option(METHOD, NAME, "Score map: auto, identity (the first signal as it is), linear or trees. Default: auto."),
]


@dataclass(frozen=True, kw_only=True)
class MethodOptions:
    """How the maps and thresholds are fitted."""

    map: MapOption = None
    probability: Annotated[
        str | None, _option(METHOD, NAME, "Probability map: auto, isotonic, platt or beta. Default: auto.")
    ] = None
    by_group: Annotated[
        bool | None, _option(METHOD, None, "One threshold for each group, with a joint guarantee.", "--by-group")
    ] = None
    use_category: Annotated[
        bool | None,
        _option(METHOD, None, "Maps and rules may read the category; every question must then carry one. Default: no.",
                "--use-category/--no-use-category"),
    ] = None  # fmt: skip
    pre_policy: Annotated[
        bool | None,
        _option(METHOD, None, "With --use-category: skip the small model in groups where it does not pay.",
                "--pre-policy/--no-pre-policy"),
    ] = None  # fmt: skip
    router: Annotated[
        bool | None,
        _option(METHOD, None, "Learn from the question's text where the small model is not worth asking; tested "
                "together with the threshold. Default: no.", "--router/--no-router"),
    ] = None  # fmt: skip
    map_from: Annotated[
        list[Path] | None,
        _option(METHOD, FILE, "An older calibration, or older rows of both models: they fit the map, all new rows "
                "test; may be repeated."),
    ] = None  # fmt: skip
    seed: Annotated[int | None, _option(METHOD, None, "Random seed of the fit/test split. Default: 0.")] = None
    tier: Annotated[
        list[str] | None,
        _option(METHOD, NAME, "A model before the last, small to large; repeated, for three and more models."),
    ] = None


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """How the models of a configuration are asked, without recorded rows."""

    cascade: Annotated[str | None, _option(MODELS, NAME, "Cascade of the configuration. Default: the first.")] = None
    answers: Annotated[
        Path | None, _option(MODELS, FOLDER, "Folder of the answers, to resume from. Default: next to --out.")
    ] = None
    budget_usd: Annotated[
        str | None, _option(MODELS, USD, "Stop asking before more than this is spent, over all starts.")
    ] = None
    concurrency: ConcurrencyOption = None
    repeat: Annotated[
        int,
        typer.Option(min=0, help="Stored answers of each stage to ask for again, to find a changed model.",
                     rich_help_panel=MODELS),
    ] = 5  # fmt: skip
    baseline_sample: Annotated[
        int,
        typer.Option(min=0, help="Questions to ask the large model as they came, where its prompt adds words of ours.",
                     rich_help_panel=MODELS),
    ] = 50  # fmt: skip
    extra_signals: Annotated[
        str, _option(MODELS, NAMES, "Further signals to measure on the answers, comma separated; they cost nothing.")
    ] = ""


@dataclass(frozen=True, kw_only=True)
class StoreOptions:
    """Questions that the audit of a gateway drew, in place of recorded rows."""

    from_store: Annotated[
        str | None,
        _option(
            STORE, FILE, "Database of `corea serve`, a file or postgresql://...: the questions that its audit drew."
        ),
    ] = None
    since: Annotated[str | None, _option(STORE, "DATE", "Only those drawn from this day on (UTC).")] = None


@dataclass(frozen=True, kw_only=True)
class LabelOptions:
    """Calibration of rows that lack labels."""

    few_labels: Annotated[
        bool | None,
        _option(FEW_LABELS, None, "Rows may lack labels: the large model's answer is the reference.", "--few-labels"),
    ] = None
    select_for_labelling: Annotated[
        Path | None, _option(FEW_LABELS, FILE, "Write the ids most worth labelling there, and end.")
    ] = None
    count: Annotated[int, typer.Option(min=1, help="How many ids to select.", rich_help_panel=FEW_LABELS)] = 200
    labels: Annotated[
        Path | None,
        _option(FEW_LABELS, FILE, "With [calibrate.judge]: the file of --select-for-labelling, labelled by people."),
    ] = None


@dataclass(frozen=True, kw_only=True)
class PeopleOptions:
    """People's labels of fresh answers, for a calibration that was made with a judge."""

    labels: Annotated[
        Path | None,
        _option(PEOPLE, FILE, "With --fresh: the file of --select-for-labelling, labelled by people."),
    ] = None
    verdicts: Annotated[
        Path | None,
        _option(
            PEOPLE, FILE, "With --labels: a judge's verdicts on these answers, judge-*.jsonl of `corea calibrate`."
        ),
    ] = None
    select_for_labelling: Annotated[
        Path | None,
        _option(PEOPLE, FILE, "With --fresh: write blind pairs there, drawn from what the calibration keeps, and end."),
    ] = None
    count: Annotated[int, typer.Option(min=1, help="How many pairs to select.", rich_help_panel=PEOPLE)] = 200


def refuse_unread(rows: RowOptions, method: MethodOptions, models: ModelOptions, labels: LabelOptions) -> None:
    """Refuses options that are only for the source of answers that was not chosen.

    Raises:
        ConfigError: One is given.
    """
    read = {"traces", "reference", "questions", "grader", "group"} | (
        {"price", "signals"} if method.map_from else set[str]()
    )
    options, other, hint = (models, "asked models", "") if rows.traces else (
        rows, "recorded rows (--traces)", ", and set models and prices in corea.toml"
    )  # fmt: skip
    given = [
        "--" + each.name.replace("_", "-")
        for each in fields(options)
        if getattr(options, each.name) != each.default and (options is models or each.name not in read)
    ]
    if labels.labels is not None and rows.traces:
        given.append("--labels")
    if method.tier and not rows.traces:
        given.append("--tier")
    if given:
        source = "recorded rows" if rows.traces else "asked models"
        raise ConfigError(
            f"calibrate: got {', '.join(given)} with {source}, expected it only with {other}; leave it out{hint}"
        )


def merged(
    config: "Config | None",
    rows: RowOptions,
    targets: TargetOptions,
    method: MethodOptions,
    models: ModelOptions = ModelOptions(),
    labels: LabelOptions = LabelOptions(),
) -> "CalibrateSettings":
    """The table `[calibrate]` of a configuration, each value replaced where the command line gives one.

    Raises:
        ConfigError: The table has an unknown key or a wrong value.
    """
    from corea.calibrate.settings import CalibrateSettings
    from corea.config import settings

    given = {
        "max_drop": targets.max_drop, "max_risk": targets.max_risk, "max_cost_usd": targets.max_cost,
        "value_usd": targets.value, "abstain_usd": targets.abstain_cost, "cost_cap_usd": targets.cost_cap,
        "delta": targets.delta, "map": method.map, "probability": method.probability, "by_group": method.by_group,
        "use_category": method.use_category, "pre_policy": method.pre_policy, "router": method.router,
        "seed": method.seed, "few_labels": labels.few_labels,
        "questions": None if rows.questions is None else str(rows.questions), "grader": rows.grader,
        "group": rows.group, "extra_signals": names_of(models.extra_signals) or None,
        "budget_usd": None if models.budget_usd is None else amount(models.budget_usd),
    }  # fmt: skip
    table = {} if config is None else dict(config.calibrate)
    if config is not None and "questions" in table:
        table["questions"] = str(config.path(str(table["questions"])))
    if rows.traces:
        table.pop("judge", None)  # it is asked with the models of the configuration
    table |= {name: value for name, value in given.items() if value is not None}
    return settings(f"{config.source if config else 'options'}: calibrate", CalibrateSettings, table)
