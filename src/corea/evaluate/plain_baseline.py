"""The saving against the last model asked with each question as it came, which is the cost without COREA."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from msgspec.structs import replace

from corea.calibrate.artefact import Calibration
from corea.errors import DataError
from corea.evaluate.extra_calls import asks_plainly
from corea.metrics import Interval, cost_interval, ratio_interval, share_interval
from corea.records.answer import RecordedAnswer
from corea.records.table import OutcomeTable
from corea.stage import Stage

RECORDED = (
    "the saving is against the recorded cost of {model}, with whatever prompt that was; where your own requests are "
    "shorter, record their cost as plain_cost_usd in its rows"
)
ASKED_PLAINLY = "the saving is against {model} asked with each question as it came, as it is without COREA"
LEAST = 10  # plain answers that a saving is stated on
NOT_MEASURED = (
    "the saving is against {model} with the prompt of its stage: what your own requests cost was not measured; "
    "--baseline-sample measures it"
)


def with_plain_baseline(found: Calibration, table: OutcomeTable, *, without: str = "") -> Calibration:
    """The calibration with its figures against the last model asked plainly, where the table has its costs.

    The saving is 1 - (1 - saving) / r, where r is the plain cost as a share of the calibrated one on the sampled
    questions; its interval is the delta method's on the logarithm, with both parts taken as independent.

    Args:
        table: The rows that calibrated. `without`: a note for a table with fewer than 10 such costs.

    Raises:
        DataError: A plain cost is negative, or all are 0.
    """
    last = table.last
    at = np.zeros(len(table), dtype=bool) if last.plain_cost_usd is None else ~np.isnan(last.plain_cost_usd)
    n = int(at.sum())
    if last.plain_cost_usd is None or n < LEAST:
        notes = [*found.data.notes, *([without.format(model=last.name)] if without else [])]
        return replace(found, data=replace(found.data, notes=notes))
    plain, wrapped = last.plain_cost_usd[at], last.cost_usd[at]
    if (plain < 0).any() or not plain.sum() > 0 or not wrapped.sum() > 0:
        raise DataError(
            f"calibrate: plain_cost_usd or cost_usd of {last.name} holds a cost below 0, or only 0, expected costs of "
            "questions asked as they came; correct the rows"
        )
    saving = _saving(found.expected["saving"], ratio_interval(plain, wrapped))
    figures = {"plain_saving": saving, "plain_llm_mean_cost_usd": cost_interval(plain)}
    if last.plain_correct is not None and not np.isnan(last.plain_correct[at]).any():
        figures["plain_llm_pass_at_1"] = share_interval(last.plain_correct[at])
    return replace(
        found, expected=found.expected | figures, sentence=f"{found.sentence}; {_words(saving, last.name, n)}"
    )


def plain_note(last: Stage, plain: Mapping[str, RecordedAnswer], *, measured: bool) -> str:
    """The baseline of the saving, and what measuring it cost."""
    if not measured:
        return (ASKED_PLAINLY if asks_plainly(last) else NOT_MEASURED).format(model=last.backend.model)
    cost = sum(answer.cost_usd or 0.0 for answer in plain.values())
    return f"asking {last.name} plainly, for the baseline, costs {cost:.4g} USD for {len(plain):,} answers"


def plain_columns(table: OutcomeTable, plain: Mapping[str, RecordedAnswer]) -> dict[str, Any]:
    """The (N,) columns of the last model asked plainly, NaN where it was not."""
    answers = [plain.get(str(key)) for key in table.ids]
    costs, right = ([getattr(each, name, None) for each in answers] for name in ("cost_usd", "correct"))
    columns = {"plain_cost_usd": costs, "plain_correct": right}
    return {k: np.array([np.nan if v is None else v for v in values], np.float64) for k, values in columns.items()}


def _saving(saving: Interval, ratio: Interval) -> Interval:
    """The saving against the plain cost, from the one against the calibrated cost and the ratio of the two costs."""
    share = 1 - saving.value
    if share <= 0:  # nothing is paid at all
        return saving
    value = share / ratio.value
    halves = (math.log(high / low) / 2 for low, high in ((1 - saving.high, 1 - saving.low), (ratio.low, ratio.high)))
    spread = math.exp(math.hypot(*halves))
    return Interval(1 - value, 1 - value * spread, 1 - value / spread)


def _words(saving: Interval, model: str, n: int) -> str:
    asked = f"{model} asked with the question as it came ({n:,} questions)"
    if saving.value >= 0:
        between = f"(95 %: {100 * saving.low:.0f} to {100 * saving.high:.0f})"
        return f"against {asked} it saves {100 * saving.value:.0f} % {between}"
    low, high = 1 - saving.high, 1 - saving.low
    return f"it costs {1 - saving.value:.2f} times (95 %: {low:.2f} to {high:.2f}) as much as {asked}"
