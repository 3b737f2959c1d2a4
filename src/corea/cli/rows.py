"""What commands share that read recorded rows of two models: the options that choose them, and their table."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from corea.errors import ConfigError
from corea.money import read_usd

if TYPE_CHECKING:
    from corea.calibrate.tables import Pairs
    from corea.prices import Price
    from corea.types import Question

FILE, NAME, PRICE, USD, SHARE = "FILE", "NAME", "NAME=IN/OUT", "USD", "SHARE"  # stand in the help for what to give

SlmOption = Annotated[
    str, typer.Option(metavar=NAME, help="The small model's name, where --traces holds several.", show_default=False)
]
LlmOption = Annotated[
    str,
    typer.Option(metavar=NAME, help="The large model's name, where --reference holds several.", show_default=False),
]
VariantOption = Annotated[
    str, typer.Option(metavar=NAME, help="Which variant of the small model's rows.", show_default=False)
]
LlmVariantOption = Annotated[
    str, typer.Option(metavar=NAME, help="Which variant of the large model's rows.", show_default=False)
]
PriceOption = Annotated[
    list[str] | None,
    typer.Option(metavar=PRICE, help="USD per million prompt and completion tokens; may be repeated."),
]
SignalsOption = Annotated[
    str,
    typer.Option(
        metavar="NAME,...", help="Columns to use, comma separated; default: all there are.", show_default=False
    ),
]
GroupOption = Annotated[str, typer.Option(metavar=NAME, help="The column that holds the slice of a row.")]
MaxDropOption = Annotated[
    float | None,
    typer.Option(metavar=SHARE, help="Accuracy at most so far below the large model; .02 is 2 points."),
]
MaxRiskOption = Annotated[
    float | None, typer.Option(metavar=SHARE, help="Share of the kept answers that may be wrong.")
]
MaxCostOption = Annotated[float | None, typer.Option(metavar=USD, help="Mean cost of a question.")]
ValueOption = Annotated[float | None, typer.Option(metavar=USD, help="What an error costs.")]
CostCapOption = Annotated[
    float | None, typer.Option(metavar=USD, help="What no question exceeds with both models asked.")
]
GraderOption = Annotated[
    str | None, typer.Option(metavar=NAME, help="One grader for all questions; default: each one's own.")
]
DeltaOption = Annotated[float, typer.Option(metavar=SHARE, help="Chance that a promise is broken.")]
MapOption = Annotated[
    str, typer.Option(metavar=NAME, help="auto, identity (the first signal as it is), linear or trees.")
]


@dataclass(frozen=True, kw_only=True)
class RowsAsked:
    """The recorded rows that a command line names; its words are those of `corea.calibrate.tables.load_pairs`.

    Args:
        questions: Questions with references, where the files are runs of `corea run` and not yet graded.
        grader: One for all these questions; by default each one's own.
    """

    traces: list[Path]
    reference: list[Path]
    slm: str = ""
    llm: str = ""
    variant: str = ""
    llm_variant: str = ""
    price: list[str] | None = None
    signals: str = ""
    group: str = "category"
    questions: Path | None = None
    labelled: bool = True
    grader: str | None = None

    def pairs(self) -> "Pairs":
        """The calibration table.

        Raises:
            ConfigError, DataError: See `corea.calibrate.tables.load_pairs`.
        """
        from corea.calibrate.tables import load_pairs

        if self.questions is not None:
            return self._graded(self.questions)
        if self.grader is not None:
            raise ConfigError("--grader: got recorded rows, which bring their own grades; give --questions for runs")
        prices = {
            name: (float(each.input_usd_per_mtok), float(each.output_usd_per_mtok))
            for name, each in prices_of(self.price).items()
        }
        return load_pairs(
            self.traces, self.reference, slm=self.slm, llm=self.llm, variant=self.variant,
            llm_variant=self.llm_variant, prices=prices, signals=list(names_of(self.signals)) or None,
            group=self.group, labelled=self.labelled,
        )  # fmt: skip

    def of_models(self, names: list[str]) -> "list[Pairs]":
        """A table against the large model for each of these."""
        return [replace(self, slm=name).pairs() for name in names]

    def _graded(self, questions: Path) -> "Pairs":
        if len(self.traces) > 1 or len(self.reference) > 1:
            raise ConfigError("--questions: got several files of a model, expected one run each; join them first")
        from corea.evaluate.apply import pairs_of_table
        from corea.records.read import RowSource, read_table

        sources = [
            RowSource(paths=self.traces, model=self.slm, variant=self.variant),
            RowSource(
                paths=self.reference, model=self.llm, variant=self.llm_variant, option="--llm",
                variant_option="--llm-variant",
            ),
        ]  # fmt: skip
        prices = {
            name: (float(each.input_usd_per_mtok), float(each.output_usd_per_mtok))
            for name, each in prices_of(self.price).items()
        }
        table = read_table(
            sources, prices=prices, questions=read_questions(questions, self.grader), grader=self.grader,
            signals=list(names_of(self.signals)) or None, group=self.group,
        )  # fmt: skip
        return pairs_of_table(table)[0]


def names_of(text: str) -> tuple[str, ...]:
    """Names separated by commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def prices_of(texts: list[str] | None) -> "dict[str, Price]":
    """Prices given as NAME=IN/OUT, by name."""
    return dict(map(_price, texts or []))


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
        ConfigError, DataError: See `corea.records.grade.read_labelled`.
    """
    from corea.records.grade import read_labelled

    return read_labelled(str(path), labelled=False, grader=grader)
