"""Recorded rows that a command line names, as one table; and the prices and questions that go with them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from corea.cli.options import RowOptions
from corea.errors import ConfigError
from corea.money import read_usd

if TYPE_CHECKING:
    from corea.calibrate import Calibration
    from corea.prices import Price
    from corea.records.read import RowSource
    from corea.records.table import OutcomeTable
    from corea.types import Question


def read_rows(rows: RowOptions, tiers: Sequence[str] = (), *, labelled: bool = True) -> "OutcomeTable":
    """The table of the models that these options name.

    Args:
        tiers: The models before the last, from small to large, where there are several; all in `rows.traces`.
        labelled: False admits rows without a label.

    Raises:
        ConfigError, DataError: See `corea.records.read.read_table`.
    """
    from corea.records.read import RowSource, read_table

    if rows.grader is not None and rows.questions is None:
        raise ConfigError("--grader: got recorded rows, which bring their own grades; give --questions for runs")
    sources = [
        RowSource(paths=rows.traces or [], model=name, variant=rows.variant, option="--tier" if tiers else "--slm")
        for name in tiers or (rows.slm,)
    ]
    last = RowSource(
        paths=rows.reference or [], model=rows.llm, variant=rows.llm_variant, option="--llm",
        variant_option="--llm-variant",
    )  # fmt: skip
    return read_table(
        [*sources, last],
        prices=usd_per_mtok(rows.price),
        signals=_signals(rows.signals),
        group=rows.group or "category",
        labelled=labelled,
        questions=None if rows.questions is None else read_questions(rows.questions, rows.grader),
        grader=rows.grader,
        second_opinion=_second_opinion(rows.second_opinion) if rows.second_opinion else None,
    )


def rows_for(found: "Calibration", rows: RowOptions) -> tuple[RowOptions, Sequence[str]]:
    """The options of `read_rows` for the models and columns of a calibration, where they do not say otherwise."""
    *first, last = (stage.model for stage in found.binding)
    rows = replace(
        rows, llm=rows.llm or last, slm=rows.slm or first[0], signals=rows.signals or ",".join(found.data.signals),
        group=found.data.category_column,
    )  # fmt: skip
    return rows, first if len(first) > 1 else ()


def _second_opinion(text: str) -> "RowSource":
    from corea.records.read import RowSource

    path, _, model = (text, "", "") if Path(text).exists() else text.rpartition(":")
    return RowSource(paths=[path or model], model=model if path else "", option="--second-opinion FILE:MODEL")


def _signals(text: str) -> list[str] | None:
    names = list(names_of(text))
    if text and not names:
        raise ConfigError(f"--signals: got {text!r}, expected names of columns, comma separated")
    return names or None


def names_of(text: str) -> tuple[str, ...]:
    """Names separated by commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def prices_of(texts: list[str] | None) -> "dict[str, Price]":
    """Prices given as NAME=IN/OUT, by name."""
    return dict(map(_price, texts or []))


def usd_per_mtok(texts: list[str] | None) -> dict[str, tuple[float, float]]:
    """Likewise, as USD per million prompt and completion tokens."""
    return {
        name: (float(each.input_usd_per_mtok), float(each.output_usd_per_mtok))
        for name, each in prices_of(texts).items()
    }


def _price(text: str) -> "tuple[str, Price]":
    from corea.prices import Price

    name, _, amounts = text.rpartition("=")
    inward, _, outward = amounts.partition("/")
    try:
        price = Price(
            input_usd_per_mtok=read_usd("--price", inward),
            output_usd_per_mtok=read_usd("--price", outward),
            source="--price",
        )
        if name:
            return name, price
    except ConfigError:
        pass
    raise ConfigError(f"--price: got {text!r}, expected NAME=IN/OUT in USD per million tokens, such as m=0.15/0.60")


def read_questions(path: Path, grader: str | None = None) -> "dict[str, Question]":
    """The questions of a file, by id; every reference can be read by its grader, or by `grader`.

    Raises:
        ConfigError, DataError: See `corea.datasets.local.read_labelled`.
    """
    from corea.datasets.local import read_labelled

    return read_labelled(str(path), labelled=False, grader=grader)
