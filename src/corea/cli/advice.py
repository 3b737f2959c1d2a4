"""Advice on answers that are cut, filtered, unreadable or without a confidence, by their cause."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from corea.cascade import Cascade
from corea.errors import ConfigError
from corea.parsing import is_visibly_blank
from corea.run.shortcomings import (
    Shortcoming,
    ShortcomingKind,
    Shortcomings,
    UnreadableReason,
    answering,
    why_unreadable,
)
from corea.run.summary import RunSummary
from corea.signals.tokens import wants_logprobs
from corea.stage import Mode, Stage
from corea.types import Status, Trace

ANSWER, CONFIDENCE = "<answer>", "<confidence>"
TAG_OF = {  # reason given by a signal, and the tag by which a prompt asks for the missing part
    "the text states no confidence": CONFIDENCE,
    "no answer was found in the text": ANSWER,
    "there is no answer to check": ANSWER,
    "no answer could be read": ANSWER,
}
SEE: dict[UnreadableReason | None, str] = {
    UnreadableReason.FILTERED: "a content filter or refusal, see above",
    UnreadableReason.CUT: "cut off by the token limit, see above",
}
LOGPROBS = "; ask for them with sampling."  # the advice in a signal's reason
PROBE_SECONDS = 15.0
ANOTHER_OUT = "name another --out"


@dataclass(frozen=True, slots=True)
class Advice:
    """Lines of advice on one run.

    Args:
        stages: Stages of the cascade, in order.
        where: File of the traces; None if they went to a pipe.
    """

    found: Shortcomings
    stages: Sequence[Stage]
    where: str | None
    free_text: bool = False

    def lines(self) -> list[str]:
        """One line per kind of fault and stage."""
        writers = {
            ShortcomingKind.CUT: self._cut,
            ShortcomingKind.FILTERED: self._filtered,
            ShortcomingKind.EMPTY if self.free_text else ShortcomingKind.UNREADABLE: self._unreadable,
            ShortcomingKind.UNSTATED: self._unstated,
            ShortcomingKind.OUTSIDE: self._outside,
        }
        places = [stage.name for stage in self.stages]
        faults = sorted(self.found.found, key=lambda fault: places.index(fault.stage) if fault.stage in places else -1)
        return [write(fault) for kind, write in writers.items() for fault in faults if fault.kind is kind]

    def _cut(self, fault: Shortcoming) -> str:
        advice = f"{_more_tokens(fault.stage, self._stage(fault))}, and {ANOTHER_OUT}"
        return f"cut off by the token limit: {self._counted(fault, 'text')}; {advice}"

    def _filtered(self, fault: Shortcoming) -> str:
        return (
            f"ended by a content filter or refused: {self._counted(fault, 'text')}; put these questions in other words "
            f"or take another model there; see finish_reason and text {self._example(fault)}"
        )

    def _unreadable(self, fault: Shortcoming) -> str:
        if fault.kind is ShortcomingKind.EMPTY:
            line = f"{self._counted(fault, 'text')} {'is' if self.found.found[fault] == 1 else 'are'} empty"
        else:
            line = f"{self._counted(fault, 'answer')} could not be read from the text"
        if fault.why in SEE:
            return f"{line}: {SEE[fault.why]}"
        whole = "" if self.free_text else "; or give --free-text for whole texts"
        if fault.why is UnreadableReason.EMPTY:
            nothing = "" if self.free_text else ": it shows nothing"
            return f"{line}{nothing} (thinking does not count); look at the completion {self._example(fault)}"
        if fault.why is UnreadableReason.DECLINED:
            return f"{line}: it says that the model does not know; look at the text {self._example(fault)}{whole}"
        return f"{line}; {self._ask_for(ANSWER, fault)}{whole}"

    def _unstated(self, fault: Shortcoming) -> str:
        line = f"no confidence stated: {self._counted(fault, 'draft')}"
        if fault.why in SEE:
            return f"{line}: {SEE[fault.why]}"
        if fault.why is UnreadableReason.EMPTY:
            return f"{line}: the text shows nothing; look at the completion {self._example(fault)}"
        reason = self.found.reasons[fault.stage].most_common(1)[0][0]
        tag = TAG_OF.get(reason)
        if tag is not None:
            return f"{line} ({reason}); {self._ask_for(tag, fault)}; or take another signal"
        stage = self._stage(fault)
        if LOGPROBS in reason and stage is not None and (stage.sampling.logprobs or stage.sampling.top_logprobs):
            return f"{line} ({reason.partition(LOGPROBS)[0]}); {no_logprobs(stage)}"
        return f"{line} ({reason}); look at the draft {self._example(fault)}"

    def _outside(self, fault: Shortcoming) -> str:
        return (
            f"unlike all rows that calibrated: {self._counted(fault, 'draft')}, deferred; see the confidence's reason "
            f"{self._example(fault)}; if they are many, calibrate again on questions like these"
        )

    def _ask_for(self, tag: str, fault: Shortcoming) -> str:
        stage = self._stage(fault)
        if asks_for(stage, tag):
            return f"the prompt asks for {tag} already: look at the text {self._example(fault)}"
        last = bool(self.stages) and stage is self.stages[-1]
        built_in = "answer_only" if last else "default"
        return f"let stages.{fault.stage}.prompt ask for {tag}, as `{built_in}` does, and {ANOTHER_OUT}"

    def _stage(self, fault: Shortcoming) -> Stage | None:
        return next((stage for stage in self.stages if stage.name == fault.stage), None)

    def _counted(self, fault: Shortcoming, noun: str) -> str:
        count = self.found.found[fault]
        return f"{count:,} {noun}{'' if count == 1 else 's'} of stage {fault.stage}"

    def _example(self, fault: Shortcoming) -> str:
        where = f" in {self.where}" if self.where is not None else ""
        return f"of stage {fault.stage} in the trace of {self.found.examples[fault]!r}{where}"


def _more_tokens(name: str, stage: Stage | None) -> str:
    limit, key = stage.sampling.max_tokens if stage is not None else None, f"stages.{name}.sampling.max_tokens"
    return f"set {key} (the server's own limit holds now)" if limit is None else f"raise {key} (now {limit})"


def no_logprobs(stage: Stage) -> str:
    """Advice where a server gives no token probabilities although the stage asks for them."""
    instead = "self_check" if stage.mode is Mode.CHAT else "verbalized"
    validators = ", or [[validators]]" if stage.mode is Mode.CHAT else ""
    return f'the stage asks for them already: take a server that gives them, or signal = "{instead}"{validators}'


async def blind_stages(cascade: Cascade) -> list[str]:
    """Warnings of a start in `mode = "chat"`: stages whose server gives no token probabilities, which the signal reads.

    Asks such a server for one word, at most 16 tokens. One that does not answer in time gives no warning here.
    """
    lines: list[str] = []
    for stage in cascade.stages[:-1]:
        probe = getattr(stage.backend, "probe", None)
        if stage.mode is Mode.CHAT and wants_logprobs(stage.signal) and probe is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(PROBE_SECONDS):
                    found = await probe()
                    lines += [] if found.error or found.logprobs else [_blind(cascade, stage)]
    return lines


def defers_everything(cascade: Cascade, trace: Trace) -> list[str]:
    """The same warnings from a question that was asked."""
    stages = {stage.name: stage for stage in cascade.stages if stage.mode is Mode.CHAT}
    seen = [(stages.get(step.stage), step.confidence) for step in trace.steps]
    return [
        _blind(cascade, stage)
        for stage, found in seen
        if stage and found and found.value is None and LOGPROBS in found.reason
    ]


def _blind(cascade: Cascade, stage: Stage) -> str:
    return (
        f"cascade {cascade.name}: stage {stage.name} defers everything: {stage.backend.model} gives no token "
        f"probabilities, which its signal reads; {no_logprobs(stage)}"
    )


def asks_for(stage: Stage | None, tag: str) -> bool:
    """True if the prompt of a stage asks for a tag."""
    return stage is not None and stage.prompt is not None and tag in f"{stage.prompt.system}{stage.prompt.user}".lower()


def traces_of(summary: RunSummary) -> str | None:
    """File of the whole traces of a run: its output, or its journal if the output is a table."""
    whole = Path(summary.output.removesuffix(".gz")).suffix.lower() in (".jsonl", ".ndjson", ".json")
    return summary.output if whole and summary.output != "-" else summary.journal


def why_one_is_unreadable(trace: Trace, stages: Sequence[Stage]) -> str | None:
    """Cause and remedy of an unreadable answer, in one line; None if the answer was read or there is none."""
    completion = answering(trace)
    stage = next((stage for stage in stages if stage.name == trace.stage), None)
    if trace.answer is not None or trace.status is Status.ABSTAINED or completion is None or stage is None:
        return None
    if stage.mode is Mode.CHAT:
        shown = completion.raw is not None or not is_visibly_blank(completion.text)
        return None if shown else f"the text of stage {trace.stage} is empty; try another model, or a higher max_tokens"
    prompt = f"the prompt asks for {ANSWER} already, look at the text (`corea ask --full`)"
    if not asks_for(stage, ANSWER):
        prompt = f"let stages.{stage.name}.prompt ask for {ANSWER}, as `default` and `answer_only` do"
    why = {
        UnreadableReason.FILTERED: (
            "a content filter ended the text, or it is a refusal; put the question in other words"
        ),
        UnreadableReason.CUT: f"it was cut off by the token limit; {_more_tokens(stage.name, stage)}",
        UnreadableReason.EMPTY: "it shows nothing (thinking does not count); try another prompt or model",
        UnreadableReason.DECLINED: "it says that the model does not know; ask a larger model",
        UnreadableReason.NOT_FOUND: f"none was found in it; {prompt}",
    }[why_unreadable(completion)]
    return f"no short answer could be read from the text of stage {trace.stage}: {why}"


def refuse_unknown_inputs(cascade: Cascade, command: str) -> None:
    """Refuses a calibration that reads what a command's questions never carry: their category.

    Raises:
        ConfigError: It does.
    """
    for stage in cascade.stages:
        if getattr(stage.signal, "categories", None) is not None or getattr(stage.policy, "categories", None):
            raise ConfigError(
                f"{command}: the calibration reads each question's category, which its questions do not have, so that "
                f"stage {stage.name} would never answer; calibrate without --use-category and --by-group"
            )
