"""A judge: asks a model if the small model's draft is as good as the large model's answer, in both orders.

FOLDER/judge-HASH.jsonl   the traces of its calls, by its settings; collecting into the folder again asks only new pairs

A verdict counts where both orders give it; else it is a tie, so that a preference for a place is none for an answer.
The verdicts stand for people's preferences where these are not known (`corea.calibrate.few_labels`): what is promised
is about people alone.

Source: Zheng et al. 2023, arXiv:2306.05685, sec. 3.4 (both orders, ties).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from corea.cascade import Cascade
from corea.costs.bounds import RETOKENIZED, attempts_at_most, request_tokens
from corea.errors import ConfigError, DataError
from corea.evaluate.collect import CollectedTraces, CollectSettings
from corea.evaluate.extra_calls import CallSettings, ask_into, at_most, cost_of, make_folder, priced_now, traces_in
from corea.parsing import choice_letter, read_answer, visible_text
from corea.prices import EXACT
from corea.prompts import BUILT_IN, Prompt, parse_prompt, prompt_text
from corea.records.table import OutcomeTable, Strings
from corea.run.answer_settings import answer_settings
from corea.stage import Mode, Stage
from corea.types import Completion, Message, Question, Status, Trace

PLACES = re.compile(r"\{(question|answer_a|answer_b)\}")
TIE, A, B = 0, 1, 2
ORDERS = ("draft first", "draft second")
_MARKS = r"[\s:：=*_\"'`\[({<\\–—-]*"
_SIDE = rf"(?:the\s+|an?\s+(?=tie|draw))?(?:answer|response|assistant|option|reply)?{_MARKS}(?:boxed{_MARKS})?"
_STATED = re.compile(
    r"\b(?:verdict|winner|preference|judg(?:e)?ment|decision|(?:better|best)\s+(?:answer|response|one))\b"
    rf"{_MARKS}(?:is{_MARKS})?{_SIDE}(a|b|c|ties?|tied|draw|equal|both|neither)\b"
    r"(?!\s*(?:or|/|and|vs)\b|/|\s+(?:is|was)\s+(?:not|worse|wrong|less)\b|\s*[<>])"
)
_BRACKETS = re.compile(r"\[\[\s*(a|b|c|tie)\s*\]\]")
_ORDER = re.compile(r"\b([ab])\s*(>{1,2}|={1,2}|<{1,2})\s*([ab])\b")
_BETTER = re.compile(
    r"\b(?:answer|response|assistant|option)\s+(a|b)\s+(?:is|was|seems|looks)\s+(?:\w+\s+){0,2}?"
    r"(?:better|best|superior|preferable|stronger)\b"
)
_EVEN = re.compile(r"\b(?:tie|tied|draw|equally|equal|both|neither|same quality|no difference)\b")
_NEGATED = re.compile(r"\bnot?\b|n't\b|n’t\b|\bif\b|\bunless\b")
SHORT = 12  # words of a reply without a stated verdict that is read all the same


def read_verdict(reply: Completion) -> int | None:
    """`A`, `B` or `TIE`, as the reply says; None where it cannot be read, or was cut before a stated verdict."""
    text = visible_text(reply.text)
    low = text.lower()
    if found := [*_STATED.finditer(low), *_BRACKETS.finditer(low)]:
        return _side(max(found, key=lambda each: each.start())[1])
    if reply.cut_by_limit:
        return None
    letter = read_answer(reply.text, choices=3) if "<answer>" in reply.text else choice_letter(text.strip())
    if letter in ("A", "B", "C"):
        return _side(letter.lower())
    if len(low.split()) > SHORT or _NEGATED.search(low):
        return None
    said = {_side(each[1]) for each in _BETTER.finditer(low)} | {
        _ordered(*each.groups()) for each in _ORDER.finditer(low)
    }
    said |= {TIE} if _EVEN.search(low) else set[int]()
    return said.pop() if len(said) == 1 else None


def _ordered(left: str, sign: str, right: str) -> int:
    return TIE if sign[0] == "=" else _side(left if sign[0] == ">" else right)


def _side(word: str) -> int:
    return {"a": A, "b": B}.get(word, TIE)


def load_judge_prompt(path: Path | None) -> Prompt:
    """The judge's prompt; None: the built-in one.

    Raises:
        ConfigError: It cannot be read, or does not hold each of the three places once.
    """
    path = path or BUILT_IN / "judge.md"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"calibrate.judge.prompt: cannot read {str(path)!r}, expected a text file; name one"
        ) from error
    prompt = parse_prompt(path.stem, text)
    for place in ("{answer_a}", "{answer_b}"):
        if (count := prompt.user.count(place)) != 1:
            raise ConfigError(
                f"calibrate.judge.prompt: got {count} of '{place}' in the user part of {path}, expected exactly one; "
                "add it where it belongs"
            )
    return prompt


def conversation(question: Question) -> str:
    """A question as text: its only message, or all of them with their roles."""
    if len(question.messages) == 1:
        return question.text
    return "\n\n".join(f"{each.role}: {each.content}" for each in question.messages)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerPair:
    """The two answers to one question.

    Args:
        draft: None where there is none that could be kept: the call failed, or in a chat the limit cut it.
    """

    question: Question
    draft: str | None
    answer: str

    @property
    def same(self) -> bool:
        """True where the texts are equal but for spaces: then there is nothing to prefer."""
        return self.draft is not None and self.draft.split() == self.answer.split()

    @property
    def asked(self) -> bool:
        """True where a judge is needed."""
        return self.draft is not None and not self.same

    def key(self, order: str) -> str:
        """The id of one of the two calls; it changes with either text."""
        said = sha256(f"{self.draft}\0{self.answer}".encode()).hexdigest()[:12]
        return f"{self.question.id} {said} {order}"


@dataclass(frozen=True, slots=True)
class Verdicts:
    """A judge's verdicts on pairs.

    Args:
        preferred: (N,) 1.0 the large model's answer, -1.0 the draft, 0.0 a tie; 1.0 where there is no draft.
        notes: Remarks for the report, with what the calls cost.
    """

    preferred: Any
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Judge:
    """A model that compares pairs of answers; each is asked twice, once in each order.

    Args:
        stage: The model, with its sampling and price.
    """

    stage: Stage
    prompt: Prompt

    @property
    def cascade(self) -> Cascade:
        """The model alone."""
        return Cascade(stages=(self.stage,), name=self.stage.name)

    def asked(self, pair: AnswerPair, order: str) -> Question:
        """The question for the judge; text in an answer is never taken as a place of the prompt."""
        shown = (pair.draft or "", pair.answer) if order == ORDERS[0] else (pair.answer, pair.draft or "")
        filled = {"question": conversation(pair.question), "answer_a": shown[0], "answer_b": shown[1]}
        user = PLACES.sub(lambda place: filled[place[1]], self.prompt.user)
        system = (Message("system", self.prompt.system),) if self.prompt.system else ()
        return Question(id=pair.key(order), messages=(*system, Message("user", user)))

    def path(self, folder: Path) -> Path:
        """The file of its calls: another one for another model, prompt or sampling."""
        said = [answer_settings(self.cascade), prompt_text(self.prompt)]
        return folder / f"judge-{sha256(msgspec.json.encode(said)).hexdigest()[:8]}.jsonl"

    def most_usd(self, cascade: Cascade, questions: Sequence[Question]) -> Decimal | None:
        """The most that judging can cost, before the answers are known; None where that has no bound."""
        price, limit = self.stage.price, self.stage.sampling.max_tokens
        written = [stage.sampling.max_tokens for stage in cascade.stages]
        if price is None or limit is None or None in written:
            return None
        longest = RETOKENIZED * sum(tokens or 0 for tokens in written)
        most = Decimal(0)
        for question in questions:
            empty = self.asked(AnswerPair(question=question, draft="", answer=""), ORDERS[0])
            one = price.at_most(request_tokens(empty) + longest, limit)
            most = EXACT.add(most, EXACT.multiply(one, 2 * attempts_at_most(self.stage.backend)))
        return most

    def plan(self, cascade: Cascade, known: Mapping[str, Question], folder: Path) -> str:
        """A line on what will be asked and the most that it can cost; pairs that were judged count as judged."""
        stored = [trace.question_id for trace in traces_in(self.path(folder)) if trace.status is not Status.FAILED]
        counts = dict[str, int]()
        for key in stored:
            name = key.rsplit(" ", 3)[0]
            counts[name] = counts.get(name, 0) + 1
        left = [question for key, question in known.items() if counts.get(key, 0) < 2]
        said = f", {len(known) - len(left):,} are judged" if len(left) < len(known) else ""
        most = at_most(self.most_usd(cascade, left))
        return f"asking {self.stage.backend.model} to judge: {len(left):,} pairs, two calls each{said}, besides {most}"

    async def verdicts(
        self, pairs: Sequence[AnswerPair], folder: Path, calls: CallSettings, spent: Decimal
    ) -> Verdicts:
        """Asks for the verdicts that are not stored, and reads all.

        Args:
            spent: Of the budget so far.

        Raises:
            BudgetError, BackendError, InterruptedError: See `ask_into`; what was judged is stored.
        """
        make_folder(folder)
        path = self.path(folder)
        stored = {trace.question_id: trace for trace in traces_in(path) if trace.status is not Status.FAILED}
        questions = [self.asked(pair, order) for pair in pairs if pair.asked for order in ORDERS]
        missing = [question for question in questions if question.id not in stored]
        new = await ask_into(self.cascade, missing, path, f"judging {len(pairs):,} pairs", spent, calls)
        stored |= {trace.question_id: trace for trace in new if trace.status is not Status.FAILED}
        return self._read(pairs, stored, len(missing))

    def _read(self, pairs: Sequence[AnswerPair], stored: Mapping[str, Trace], new: int) -> Verdicts:
        preferred, counts = read_verdicts(pairs, stored)
        keys = [pair.key(order) for pair in pairs if pair.asked for order in ORDERS]
        cost = cost_of(priced_now(self.stage, stored, keys))
        return Verdicts(preferred, (self._words(pairs, preferred, counts), _cost_words(keys, new, cost)))

    def _words(self, pairs: Sequence[AnswerPair], preferred: Any, counts: Mapping[str, int]) -> str:
        asked = np.array([pair.asked for pair in pairs])
        large, draft, tie = (int((asked & (preferred == side)).sum()) for side in (1, -1, 0))
        why = (
            f"{counts['order']:,} as the order decided, {counts['unread']:,} as a verdict could not be read, "
            f"{counts['failed']:,} as a call failed"
        )
        return (
            f"{self.stage.backend.model} judged {int(asked.sum()):,} pairs: it prefers the large model's answer in "
            f"{large:,} and the draft in {draft:,}; {tie:,} ties (of these {why}); "
            f"{sum(pair.same for pair in pairs):,} more have equal texts"
        )


def read_verdicts(pairs: Sequence[AnswerPair], stored: Mapping[str, Trace]) -> tuple[Any, dict[str, int]]:
    """The preferences, as in `Verdicts`, and the ties by their reason: failed, unread, order.

    Args:
        stored: The judge's calls, by id; one that is missing counts as failed.
    """
    preferred, counts = np.zeros(len(pairs)), {"failed": 0, "unread": 0, "order": 0}
    for i, pair in enumerate(pairs):
        if pair.draft is None:
            preferred[i] = 1.0
        elif pair.asked:
            replies = [reply_of(stored.get(pair.key(order))) for order in ORDERS]
            preferred[i], why = both_orders(*replies)
            if why is not None:
                counts[why] += 1
    return preferred, counts


def both_orders(first: Completion | None, second: Completion | None) -> tuple[float, str | None]:
    """The verdict of the two replies to a pair, 1.0 for the large model's answer, and why it is none: a tie.

    Args:
        first: The reply where the draft came first; None: the call failed. `second`: Where it came second.
    """
    if first is None or second is None:
        return 0.0, "failed"
    said, turned = read_verdict(first), read_verdict(second)
    if said is None or turned is None:
        return 0.0, "unread"
    if said != {A: B, B: A}.get(turned, turned):
        return 0.0, "order"
    return {A: -1.0, B: 1.0}.get(said, 0.0), None


def _cost_words(keys: Sequence[str], new: int, cost: Decimal) -> str:
    return f"judging cost {float(cost):.4g} USD for {len(keys):,} calls, {len(keys) - new:,} of them stored before"


def reply_of(trace: Trace | None) -> Completion | None:
    """The completion of a stage that was asked alone; None where there is none."""
    return trace.steps[0].completion if trace is not None and trace.steps else None


# --- a live calibration ---------------------------------------------------------------------------------------------


def check_judge(judge: Judge, cascade: Cascade, known: Mapping[str, Question]) -> list[str]:
    """Warnings on the choice of judge.

    Raises:
        ConfigError: The cascade has not two stages, or the judge has no key.
        DataError: A question has a reference, which a grader reads.
    """
    if len(cascade.stages) != 2:
        raise ConfigError(f"calibrate.judge: got {len(cascade.stages)} stages, expected two: it compares two answers")
    if graded := next((key for key, question in known.items() if question.reference is not None), None):
        raise DataError(
            f"calibrate.judge: question {graded!r} has a reference answer, expected none: grade by it, and drop "
            "[calibrate.judge]; or drop the references, for people's preferences to count"
        )
    judge.stage.check()
    return [
        f"warning: the judge is the model of stage {stage.name}, and models prefer their own answers; another one is "
        "a better judge (the guarantee holds with any: it rests on people's labels)"
        for stage in cascade.stages
        if stage.backend.model == judge.stage.backend.model
    ]


def pairs_of(
    cascade: Cascade, table: OutcomeTable, known: Mapping[str, Question], found: CollectedTraces
) -> list[AnswerPair]:
    """The two answers to each question of a table, in its order."""
    small, large = found.stages
    chat = cascade.stages[0].mode is Mode.CHAT
    return [pair_of(known[key], small[key], large[key], chat=chat) for key in map(str, table.ids)]


def pair_of(question: Question, small: Trace, large: Trace, *, chat: bool) -> AnswerPair:
    """The two answers to a question, of the traces of the stages asked alone."""
    answer = (reply_of(large) or Completion(text="", model="")).text
    reply = reply_of(small)
    if small.status is Status.FAILED or reply is None or not reply.text.strip() or (chat and reply.cut_by_limit):
        return AnswerPair(question=question, draft=None, answer=answer)
    return AnswerPair(question=question, draft=reply.text, answer=answer)


async def judged_table(
    judge: Judge, cascade: Cascade, table: OutcomeTable, known: Mapping[str, Question], found: CollectedTraces,
    settings: CollectSettings,
) -> OutcomeTable:  # fmt: skip
    """The table with a judge's verdicts, whole conversations as `texts`, both answers whole, and no label yet.

    Raises:
        BudgetError, BackendError, InterruptedError: See `Judge.verdicts`.
    """
    pairs = pairs_of(cascade, table, known, found)
    names = ("*.repeated.jsonl", "*.plain-*.jsonl", "judge-*.jsonl")
    spent = cost_of([trace for stage in (*found.stages, *found.opinions) for trace in stage.values()])
    spent = EXACT.add(
        spent, cost_of([trace for name in names for path in settings.folder.glob(name) for trace in traces_in(path)])
    )
    calls = CallSettings(concurrency=settings.concurrency, budget_usd=settings.budget_usd, stop=settings.stop)
    try:
        said = await judge.verdicts(pairs, settings.folder, calls, spent)
    finally:
        await judge.cascade.close()
    table = with_pairs(table, pairs, said.preferred, judge.stage.backend.model)
    return replace(table, notes=(*table.notes, *said.notes))


def with_pairs(
    table: OutcomeTable, pairs: Sequence[AnswerPair], preferred: Any = None, judge: str | None = None
) -> OutcomeTable:
    """The table with both answers and the conversations as whole texts, and no label.

    Args:
        preferred: (N,) as in `Verdicts`, with the `judge` that gave it; None: there are no verdicts.
    """
    unknown = np.full(len(table), np.nan)
    first = replace(
        table.first, correct=unknown, judged=preferred, judge_model=judge,
        agreement=np.array([float(pair.same) for pair in pairs]), answers=_texts([pair.draft for pair in pairs]),
    )  # fmt: skip
    last = replace(table.last, correct=unknown, answers=_texts([pair.answer for pair in pairs]))
    return replace(table, models=(first, last), texts=_texts([conversation(pair.question) for pair in pairs]))


def _texts(texts: Sequence[str | None]) -> Strings:
    out = np.empty(len(texts), dtype=object)
    out[:] = list(texts)
    return out
