"""Calls of a live calibration beside its own: stored answers asked for again, and the last model asked plainly.

FOLDER/STAGE.repeated.jsonl     the traces of stored questions that were asked again, at any start
FOLDER/STAGE.plain-HASH.jsonl   the traces of the last stage asked with each question as it came, by its settings
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from random import Random

import msgspec

from corea.cascade import Cascade
from corea.costs.bounds import question_bound
from corea.errors import BackendError, BudgetError, ConfigError, DataError
from corea.metrics.intervals import binomial_cdf
from corea.prices import EXACT
from corea.prompts import load_prompt
from corea.records.answer import RecordedAnswer, answering_model, answers_of_traces
from corea.run.answer_settings import answer_settings
from corea.run.budget import check_bounded
from corea.run.shutdown import Stop
from corea.signals.agreement import same_answer
from corea.stage import Mode, Stage, total
from corea.trace_io import decode, encode
from corea.types import ZERO_USD, Question, Status, Trace

GREEDY = 0.1  # share of answers that one model may change at temperature 0, by batching or other hardware
SAMPLED = 0.5  # two samples of one model differ in being right with probability 2 p (1 - p), at most this
UNMEASURED = (
    "{name} could not be measured on any answer and is left out: the server gives no token probabilities, or the "
    "answers were stored without them; name another folder with --answers to ask again"
)
LEVEL = 0.05  # a change that is less likely than this under that share is refused


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSettings:
    """How extra calls are made.

    Args:
        budget_usd: For all that is asked in this folder; None: unlimited.
    """

    concurrency: int = 32
    budget_usd: Decimal | None = None
    stop: Stop | None = None


def make_folder(folder: Path) -> None:
    """Makes the folder of the answers.

    Raises:
        DataError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"cannot be made ({error.strerror}), expected a folder for the answers; name another with --answers",
            path=str(folder),
        ) from error


def traces_in(path: Path) -> list[Trace]:
    """The traces of a file that is appended to, without an incomplete last line; none where there is no file."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return [decode(line, path=str(path), number=n) for n, line in enumerate(lines, 1) if line.endswith(b"\n")]


def cost_of(traces: Sequence[Trace]) -> Decimal:
    """The known cost of these traces together."""
    return total([trace.cost_usd or ZERO_USD for trace in traces]) or ZERO_USD


def priced_now(stage: Stage, traces: Mapping[str, Trace], ids: Iterable[str]) -> list[Trace]:
    """Those traces of a stage asked alone, with what its answers would cost now: prices may have changed since."""
    found = (traces[key] for key in ids if key in traces)
    return [msgspec.structs.replace(t, steps=(*map(stage.priced, t.steps[:1]), *t.steps[1:])) for t in found]


def most_usd(cascade: Cascade, questions: Sequence[Question]) -> Decimal | None:
    """The most that asking these questions can cost; None where that has no bound."""
    return total([question_bound(cascade.stages, question) for question in questions]) if questions else ZERO_USD


def at_most(usd: Decimal | None) -> str:
    """A bound of a cost in words."""
    return "a cost without a bound (max_tokens is not set)" if usd is None else f"at most {float(usd):.4g} USD"


async def ask_into(
    cascade: Cascade, questions: Sequence[Question], path: Path, what: str, spent: Decimal, settings: CallSettings
) -> list[Trace]:
    """Asks these questions, and appends each trace to a file.

    Args:
        what: The purpose, for messages. `spent`: of the budget so far.

    Raises:
        BudgetError: They may cost more than is left; none is asked. BackendError: None was answered.
        InterruptedError: It was stopped.
    """
    if not questions:
        return []
    if settings.budget_usd is not None:
        check_bounded(cascade)
        most = most_usd(cascade, questions) or ZERO_USD
        if EXACT.add(spent, most) > settings.budget_usd:
            raise BudgetError(
                f"calibrate: {what} may cost up to {float(most):.4g} USD, and {float(spent):.4g} of the budget of "
                f"{settings.budget_usd} USD are spent; raise --budget-usd, or give --repeat 0 and --baseline-sample 0"
            )
    cascade.check()
    kept = traces_in(path)
    path.write_bytes(b"".join(encode(trace) + b"\n" for trace in kept))  # without an incomplete last line
    found: list[Trace] = []
    with path.open("ab") as out:
        async for trace in cascade.ask_many(questions, concurrency=settings.concurrency):
            out.write(encode(trace) + b"\n")
            out.flush()
            found.append(trace)
            if settings.stop is not None and settings.stop.asked:
                raise InterruptedError(f"calibrate: interrupted while {what}; start the same command again to go on")
    if all(trace.status is Status.FAILED for trace in found):
        raise BackendError(f"calibrate: {what}: {found[0].error}; start the same command again to go on")
    return found


# --- the model behind a name ----------------------------------------------------------------------------------------


def reported_model(stage: Stage, traces: Sequence[Trace], folder: Path) -> str | None:
    """The one model name that the server stated in these traces of one stage; None where nothing was answered.

    Raises:
        ConfigError: There are several.
    """
    counts: dict[str, int] = {}
    for trace in traces:
        if (name := answering_model(trace)) is not None:
            counts[name] = counts.get(name, 0) + 1
    if len(counts) > 1:
        said = " and ".join(f"{name!r} ({count:,})" for name, count in counts.items())
        raise ConfigError(
            f"calibrate: the answers of stage {stage.name} in {folder} came as {said}, expected one model; name one "
            f"version in stages.{stage.name}.backend.model, and another folder with --answers"
        )
    return next(iter(counts), None)


async def repeat_stored(
    cascade: Cascade,
    questions: Mapping[str, Question],
    stored: Mapping[str, Trace],
    folder: Path,
    *,
    count: int,
    spent: Decimal,
    settings: CallSettings,
    grader: str | None = None,
) -> dict[str, int] | None:
    """Asks some stored questions of a stage again, and compares: a model may have changed behind its name.

    An answer is changed where only one of the two is right; at temperature 0 also where both are wrong or unlabelled
    and differ. More changes than would happen by chance in 5 of 100 repetitions, at the shares above, are refused.

    Args:
        cascade: The stage alone. `stored`: its answers of earlier starts, by question id.

    Returns:
        How many were asked again, and how many changed; None where none was stored, or `count` is 0.

    Raises:
        ConfigError: The model has changed. BudgetError, BackendError, InterruptedError: See `ask_into`.
    """
    stage, path = cascade.stages[0], folder / f"{cascade.stages[0].name}.repeated.jsonl"
    greedy, ids = _greedy(stage), repeatable(stage, questions, stored)
    chosen = Random(len(traces_in(path))).sample(ids, min(count, len(ids)))
    if not chosen:
        return None
    asked = [questions[key] for key in chosen]
    new = await ask_into(cascade, asked, path, f"asking {stage.name} again for stored answers", spent, settings)
    new = [trace for trace in new if trace.status is not Status.FAILED]
    before = [stored[trace.question_id] for trace in new]
    reported_model(stage, [*stored.values(), *new], folder)
    first, second = (answers_of_traces(questions, traces, grader) for traces in (before, new))
    changed = sum(_changed(first[key], second[key], greedy=greedy) for key in second)
    share = GREEDY if greedy else SAMPLED
    if 1 - binomial_cdf(changed - 1, len(new), share) < LEVEL:
        raise ConfigError(
            f"calibrate: {changed} of {len(new)} stored answers of stage {stage.name} came out otherwise when asked "
            f"again, expected about {100 * share:g} % at most: the model behind {stage.backend.model!r} has probably "
            "changed; name another folder with --answers, or --repeat 0 to use the stored answers all the same"
        )
    return {"asked": len(new), "changed": changed}


def repeatable(stage: Stage, questions: Mapping[str, Question], stored: Mapping[str, Trace]) -> list[str]:
    """The stored questions whose answers, asked for again, can be compared: not the texts of a chat."""
    return [key for key in stored if key in questions and (_greedy(stage) or questions[key].reference is not None)]


def _greedy(stage: Stage) -> bool:
    return stage.sampling.temperature == 0 and stage.mode is Mode.ANSWER


def _changed(first: RecordedAnswer, second: RecordedAnswer, *, greedy: bool) -> bool:
    if first.correct != second.correct or first.correct or not greedy:
        return first.correct != second.correct
    if first.answer is None or second.answer is None:
        return first.answer != second.answer
    return not same_answer(first.answer, second.answer)


# --- the baseline ---------------------------------------------------------------------------------------------------


def asks_plainly(stage: Stage) -> bool:
    """True where a stage is sent each question as it came, without words of ours."""
    return stage.prompt is None or stage.prompt.is_plain


@dataclass(frozen=True, slots=True)
class PlainSample:
    """A random sample of the questions for the last stage as they came, of which earlier starts answered some.

    Args:
        path: The file of the traces. `known`: those there under the same settings, by question id.
    """

    cascade: Cascade
    questions: Sequence[Question]
    path: Path
    known: Mapping[str, Trace]

    @classmethod
    def of(cls, last: Stage, questions: Mapping[str, Question], folder: Path, count: int) -> "PlainSample":
        """The sample of `count` questions, the same at each start."""
        cascade = Cascade(stages=(replace(last, prompt=load_prompt("plain")),), name=last.name)
        said = sha256(msgspec.json.encode(answer_settings(cascade))).hexdigest()[:8]
        path = folder / f"{last.name}.plain-{said}.jsonl"
        chosen = Random(0).sample(list(questions), min(count, len(questions)))
        known = {trace.question_id: trace for trace in traces_in(path) if trace.status is not Status.FAILED}
        return cls(cascade, [questions[key] for key in chosen], path, known)

    @property
    def missing(self) -> list[Question]:
        """Those that must be asked yet."""
        return [question for question in self.questions if question.id not in self.known]

    async def ask(
        self, *, spent: Decimal, settings: CallSettings, grader: str | None = None
    ) -> dict[str, RecordedAnswer]:
        """Graded answers by question id; failed ones are left out.

        Raises:
            BudgetError, BackendError, InterruptedError: See `ask_into`.
        """
        what = f"asking {self.cascade.name} plainly, for the baseline"
        new = await ask_into(self.cascade, self.missing, self.path, what, spent, settings)
        known = {**self.known, **{trace.question_id: trace for trace in new if trace.status is not Status.FAILED}}
        asked = {question.id: question for question in self.questions if question.id in known}
        return answers_of_traces(asked, priced_now(self.cascade.stages[0], known, asked), grader)
