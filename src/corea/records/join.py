"""Joins the answers of several models by question id into an outcome table."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from corea.errors import DataError
from corea.graders import count_graders, graders_in_words
from corea.metrics import auroc
from corea.metrics.arrays import Floats
from corea.metrics.score_map import SECOND_OPINION
from corea.records.answer import AnswerSet, RecordedAnswer
from corea.records.table import MEASURED_LIVE, ModelOutcomes, OutcomeTable, Strings
from corea.signals import SIGNALS
from corea.signals.agreement import equivalent
from corea.types import Question
from corea.types import replace as question_with

Answers = Sequence[RecordedAnswer]
Prices = Mapping[str, tuple[float, float]]
OPINION_COST = "second_opinion_cost_usd"
NOT_SIGNALS = {
    "confidence", "completion_tokens", "prompt_tokens", "correct", "cost_usd", "correct_recorded", "disputed",
    "latency_ms", "response_chars", "max_new_tokens", "seconds", "plain_cost_usd", "plain_correct",
    OPINION_COST,
}  # fmt: skip
# words of a column's name that make it a grade, and those with which it is none: p_correct
GRADES = re.compile(
    r"(?<![a-z0-9])(em|exact|match|correct|correctness|judge|grade|grader|graded|acc|accuracy|f1|rouge|bleu|gold|reward)"
    r"(?![a-z0-9])"
)
CHANCES = re.compile(r"(?<![a-z0-9])(p|prob|probability|confidence|logprob)(?![a-z0-9])")
NEARLY_PERFECT = 0.99  # AUROC; no confidence separates right from wrong so well, and a grade does


def join_answers(
    sets: Sequence[AnswerSet],
    *,
    prices: Prices | None = None,
    signals: Sequence[str] | None = None,
    category_column: str = "category",
) -> OutcomeTable:
    """The table of the questions that all models answered, in the first set's order.

    An answer of an earlier model that failed counts as wrong and without a confidence, as a cascade would defer it;
    questions at which the last model failed are left out, and a note says how many.

    Args:
        sets: By model, from small to large. Signals are read of all but the last, or of the only one.
        prices: By model, USD per million prompt and completion tokens; replaces the recorded cost.
        signals: Columns to use, the main one first, also those that no cascade measures live. None: `MEASURED_LIVE`.
        category_column: The name of the column that the answers' categories come from.

    Raises:
        DataError: No question is in all sets, no confidence is recorded, or a cost is not known.
    """
    ids, notes = _common_ids(sets)
    answers_S = [[each.answers[key] for key in ids] for each in sets]
    models, costs = list[ModelOutcomes](), list[str]()
    more = list[str]()
    for index, (each, answers) in enumerate(zip(sets, answers_S, strict=True)):
        cost, note = _costs(answers, each.model, prices)
        costs.append(note)
        model = ModelOutcomes(
            name=each.model,
            reported=each.reported[0] if len(each.reported) == 1 else None,
            correct=np.array([np.nan if a.correct is None else a.correct for a in answers]),
            cost_usd=cost,
            answers=_strings([a.answer for a in answers]),
        )
        if index < len(sets) - 1 or len(sets) == 1:
            model, said = _with_signals(model, answers, signals)
            more += said
        plain = {name: _numbers(answers, name) for name in ("plain_cost_usd", "plain_correct")}
        model = replace(model, **{name: values for name, values in plain.items() if not np.isnan(values).all()})
        if SECOND_OPINION in model.signals:
            costs_N = _opinion_costs(answers, model.name)
            model = replace(model, opinion_cost_usd=costs_N, opinion_model=each.second_opinion)
        if index < len(sets) - 1:
            model = replace(model, agreement=_agreement(answers, answers_S[-1]))
        models.append(model)
    graders = count_graders(a.grader for a in answers_S[0] if a.grader)
    graded = [f"graded by {graders_in_words(graders)}"] if graders else []
    return OutcomeTable(
        ids=_strings(ids),
        models=tuple(models),
        clusters=(clusters := _clusters(answers_S[0])),
        texts=_texts(answers_S[0]),
        categories=_categories(answers_S[0]),
        category_column=category_column,
        prints=_strings([a.print for a in answers_S[0]]),
        notes=tuple(note for note in (*notes, _cluster_note(clusters), *graded, *costs, *more) if note),
    )


def _common_ids(sets: Sequence[AnswerSet]) -> tuple[list[str], list[str]]:
    """The ids that every set has and the last model answered, with notes on the others."""
    shared = [key for key in sets[0].answers if all(key in each.answers for each in sets[1:])]
    if not shared:
        examples = ", ".join(repr(next(iter(each.answers))) for each in sets)
        raise DataError(
            f"no question id is in all files (such as {examples}), expected the same questions; check the ids"
        )
    ids = [key for key in shared if not sets[-1].answers[key].failed] if len(sets) > 1 else shared
    if not ids:
        raise DataError(f"every question failed at {sets[-1].model}, expected answers; ask it again")
    lost = max(map(len, sets)) - len(shared)
    failed = len(shared) - len(ids)
    notes = [note for each in sets for note in each.notes]
    notes.append(count_of(lost, "question is", "questions are", "not in every model's rows and left out"))
    notes.append(count_of(failed, "question", "questions", f"failed at {sets[-1].model} and were left out"))
    return ids, notes


def _with_signals(
    model: ModelOutcomes, answers: Answers, signals: Sequence[str] | None
) -> tuple[ModelOutcomes, list[str]]:
    """The outcomes with their signals and token counts, and notes on what could not be used."""
    names = list(signals) if signals is not None else _live_columns(answers, model.name)
    measured, notes = _measured(answers, names, model.name)
    notes += _suspected_grades(measured, model)
    notes += [_left_out(answers, model.name)] if signals is None else []
    failed = sum(a.failed for a in answers)
    notes.append(count_of(failed, "answer", "answers", f"of {model.name} failed and count as deferred"))
    unread = np.array([a.answer is None for a in answers])
    needs_answer = bool(0 < unread.mean() <= 0.5)  # more, and the source simply does not record answers
    if needs_answer:  # an answer that cannot be read cannot be kept
        measured = {name: np.where(unread, np.nan, values) for name, values in measured.items()}
        rest = f"of {model.name} could not be read: always deferred"
        notes.append(count_of(int(unread.sum()), "answer", "answers", rest))
    tokens = _numbers(answers, "completion_tokens")
    kind = _kind(answers)
    model = replace(
        model,
        signals=measured,
        completion_tokens=None if np.isnan(tokens).all() or np.nanstd(tokens) == 0 else tokens,
        signal_kind=kind or names[0],
        kind_measured_live=_kind_measured_live(answers),
        needs_answer=needs_answer,
    )
    return model, notes


def _kind(answers: Answers) -> str:
    """The kind of signal behind "confidence"; "" where it is not stated."""
    return next((a.confidence_kind for a in answers if a.confidence_kind), "")


def _kind_measured_live(answers: Answers) -> bool:
    """False for a recording whose "confidence" is of a kind that no cascade has; a run measured its own."""
    kind = _kind(answers).removeprefix("mapped ")
    return kind in ("", *SIGNALS) or any(a.kept is not None for a in answers)


def _live_columns(answers: Answers, model: str) -> list[str]:
    """The columns that a cascade measures live and that have values."""
    live = [name for name in MEASURED_LIVE if name != "confidence" or _kind_measured_live(answers)]
    found = [name for name in live if not np.isnan(_numbers(answers, name)).all()]
    found = [name for name in found if name == "confidence" or _is_signal(answers, name)]
    if found:
        return found
    others = [*([] if "confidence" in live else ["confidence"]), *_recorded_columns(answers)]
    named = f"; got {', '.join(others)}, which are only recorded: --signals NAME uses them" if others else ""
    kind = "" if "confidence" in live else f" (its confidence is of the kind {_kind(answers)!r})"
    raise DataError(
        f"calibrate: no row of {model} has a confidence that is measured live{kind}, expected the field confidence in "
        f"[0, 1]{named or '; measure a signal first'}"
    )


def _recorded_columns(answers: Answers) -> list[str]:
    """The columns that look like signals and that no cascade measures live."""
    names = {name: None for answer in answers for name in answer.numbers}
    return [name for name in names if name not in {*NOT_SIGNALS, *MEASURED_LIVE} and _is_signal(answers, name)]


def _is_signal(answers: Answers, name: str) -> bool:
    """True for a column that half of the rows have and of which 19 of 20 numbers at least are in [0, 1]."""
    values = _numbers(answers, name)
    seen = values[~np.isnan(values)]
    inside = seen[(seen >= 0) & (seen <= 1)]
    return len(seen) >= len(answers) / 2 and len(inside) >= 0.95 * len(seen) and bool(inside.std() > 0)


def _left_out(answers: Answers, model: str) -> str:
    """A note on the recorded columns that are not used, "" for none."""
    if not (names := _recorded_columns(answers)):
        return ""
    return f"not used of {model}, as no cascade measures it live: {', '.join(names)}; --signals NAME,... names columns"


def _suspected_grades(measured: Mapping[str, Floats], model: ModelOutcomes) -> list[str]:
    """Notes on columns that seem to hold the grade: a live answer has none yet.

    Raises:
        DataError: A column that no cascade measures live tells right from wrong almost without error.
    """
    notes: list[str] = []
    for name, values in measured.items():
        there = ~np.isnan(values) & ~np.isnan(model.correct)
        area = auroc(values[there], model.correct[there]) if there.any() else np.nan
        if max(area, 1 - area) >= NEARLY_PERFECT:
            perfect = f"the column {name!r} of {model.name} tells right from wrong with AUROC {area:.3f}"
            if name not in MEASURED_LIVE:
                raise DataError(
                    f"calibrate: {perfect}, expected signals that a live answer has; name other columns: --signals "
                    "confidence,..."
                )
            notes.append(f"{perfect}: make sure that it is not the grade itself")
        if GRADES.search(name.lower()) and not CHANCES.search(name.lower()):
            notes.append(f"the column {name} of {model.name} is named like a grade, which a live answer does not have")
    return notes


def _measured(answers: Answers, names: Sequence[str], model: str) -> tuple[dict[str, Floats], list[str]]:
    """The signals by name, NaN where not in [0, 1], and a note on each that was not."""
    found: dict[str, Floats] = {}
    notes: list[str] = []
    for name in names:
        values = _numbers(answers, name)
        _check_signal(answers, name, values, model)
        outside = (values < 0) | (values > 1)
        rest = f"of {name} of {model} outside [0, 1]: not measured"
        notes.append(count_of(int(outside.sum()), "value", "values", rest))
        found[name] = np.where(outside, np.nan, values)
    return found, notes


def _check_signal(answers: Answers, name: str, values: Floats, model: str) -> None:
    """Refuses a signal that no row has, and one in percent."""
    seen = values[~np.isnan(values)]
    if not len(seen) and not any(name in a.numbers for a in answers):
        there = sorted({each for a in answers for each in a.numbers} - (NOT_SIGNALS - {"confidence"}))
        raise DataError(
            f"calibrate: no row of {model} has a number in the column {name!r}, expected one of "
            f"{', '.join(there) or 'none: no column holds numbers'}; choose with --signals"
        )
    if len(seen) and np.median(seen) > 1 and seen.max() <= 100:
        raise DataError(
            f"calibrate: {name!r} of {model} holds values such as {np.median(seen):g}, expected a number in [0, 1]; "
            "divide percentages by 100"
        )


def _numbers(answers: Answers, name: str) -> Floats:
    out = np.array([answer.numbers.get(name, np.nan) for answer in answers], dtype=np.float64)
    if np.isinf(out).any():
        key = answers[int(np.flatnonzero(np.isinf(out))[0])].id
        raise DataError(f"question {key!r}: {name} is infinite, expected a number or null; correct the row")
    return out


def _costs(answers: Answers, model: str, prices: Prices | None) -> tuple[Floats, str]:
    if prices and model in prices:
        into, out = prices[model]
        prompt, completion = _numbers(answers, "prompt_tokens"), _numbers(answers, "completion_tokens")
        if (
            (into > 0 or out > 0)
            and np.isnan(prompt if into > 0 else completion).all()
            and (out <= 0 or np.isnan(completion).all())
        ):
            raise DataError(
                f"calibrate: the rows of {model} have no token counts, so --price gives no cost; record prompt_tokens "
                "and completion_tokens, or cost_usd and no --price"
            )
        cost = (into * np.nan_to_num(prompt) + out * np.nan_to_num(completion)) / 1e6
        unknown = [
            f"{int(np.isnan(counts).sum())} {name} counts of {model} were not recorded and count as 0"
            for counts, price, name in ((prompt, into, "prompt"), (completion, out, "completion"))
            if price > 0 and np.isnan(counts).any()
        ]
        return cost, "; ".join(unknown)
    recorded = _numbers(answers, "cost_usd")
    if np.isnan(recorded).all():
        known = f" (prices are given for {', '.join(prices)})" if prices else ""
        raise DataError(
            f"calibrate: the rows of {model} have no cost_usd and no price is known{known}; give --price {model}=IN/OUT"
        )
    if np.isnan(recorded).any():
        key = answers[int(np.flatnonzero(np.isnan(recorded))[0])].id
        raise DataError(f"calibrate: question {key!r} of {model} has no cost_usd; give --price {model}=IN/OUT")
    return recorded, ""


def with_second_opinion(
    first: AnswerSet,
    other: AnswerSet,
    *,
    prices: Prices | None = None,
    questions: Mapping[str, Question] | None = None,
) -> AnswerSet:
    """The first model's answers with the columns that another model's answers to the same questions give.

    `second_opinion` is 1 where the two answers agree, 0 where they differ or the other one cannot be read, and missing
    where the first cannot be read (then the other model is not asked, at no cost) or the second model failed. Questions
    that it was not asked are left out.

    Args:
        questions: By id, for the grader that compares; by default it is found from the answer.

    Raises:
        DataError: No question has a second answer, or its cost is not known.
    """
    keys = [key for key in first.answers if key in other.answers]
    if not keys:
        raise DataError(f"--second-opinion: no question of {first.model} has an answer of {other.model}; ask it too")
    seconds = [other.answers[key] for key in keys]
    costs, note = _costs(seconds, other.model, prices)
    found: dict[str, RecordedAnswer] = {}
    for key, second, cost in zip(keys, seconds, costs.tolist(), strict=True):
        mine = first.answers[key]
        if mine.answer is None or second.failed:
            spent = 0.0 if mine.answer is None else cost
            found[key] = replace(mine, numbers={**mine.numbers, OPINION_COST: spent})
            continue
        question = (questions or {}).get(key) or Question.of(mine.text or "", id=key)
        value = float(second.answer is not None and equivalent(question, mine.answer, second.answer))
        found[key] = replace(mine, numbers={**mine.numbers, SECOND_OPINION: value, OPINION_COST: cost})
    lost = count_of(len(first) - len(keys), "question has", "questions have", f"no answer of {other.model}: left out")
    notes = [f"the second opinion on {first.model} is that of {other.model}", *filter(None, (note, lost))]
    return replace(first, answers=found, notes=(*first.notes, *notes), second_opinion=other.model)


def _opinion_costs(answers: Answers, model: str) -> Floats:
    costs = _numbers(answers, OPINION_COST)
    if np.isnan(costs).any():
        raise DataError(
            f"calibrate: the rows of {model} have a second opinion without its cost, expected {OPINION_COST} in each; "
            "record it"
        )
    return costs


def _agreement(mine: Answers, last: Answers) -> Floats:
    """(N,) 1.0 where two answers are the same by the question's grader, as a gateway's audit compares them."""
    return np.array([_same(a, b) for a, b in zip(mine, last, strict=True)])


def _same(mine: RecordedAnswer, last: RecordedAnswer) -> float:
    if mine.answer is None or last.answer is None:
        return np.nan
    question = Question.of(mine.text or "", id=mine.id)
    if mine.grader:
        question = question_with(question, meta={"grader": mine.grader})
    return float(equivalent(question, mine.answer, last.answer))


def _clusters(answers: Answers) -> Strings | None:
    """The cluster of each row; None where no question comes twice. A row without a text is a cluster of its own."""
    found = [a.cluster or f"id {a.id}" for a in answers]
    return _strings(found) if len(set(found)) < len(found) else None


def _cluster_note(clusters: Strings | None) -> str:
    if clusters is None:
        return ""
    _, sizes = np.unique(clusters.astype(str), return_counts=True)
    return (
        f"{len(clusters):,} rows are {len(sizes):,} distinct questions, one of them {sizes.max():,} times: split and "
        "tested by question, if none is repeated more often (assumed); the 95 % intervals count each row"
    )


def _categories(answers: Answers) -> Strings | None:
    return _strings([a.category for a in answers]) if any(a.category for a in answers) else None


def _texts(answers: Answers) -> Strings | None:
    return _strings([a.text for a in answers]) if any(a.text for a in answers) else None


def count_of(count: int, one: str, many: str, rest: str) -> str:
    """ "1 answer of m ..." or "2 answers of m ..."; "" for none."""
    return f"{count} {one if count == 1 else many} {rest}" if count else ""


def _strings(values: Sequence[str | None]) -> Strings:
    return np.array(values, dtype=object)
