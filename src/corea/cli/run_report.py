"""The progress of `corea run`, its summary in a few lines for people, and its exit code."""

from collections.abc import Sequence

from corea.baseline_cost import OVER_CAP
from corea.cli.advice import Advice, traces_of
from corea.cli.console import EXIT_BACKEND, EXIT_BUDGET, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_WAITING, percent, usd
from corea.ledger import Ledger
from corea.report.terminal import ProgressBars
from corea.run.shortcomings import ShortcomingKind
from corea.run.summary import RunOutcome, RunProgress, RunSummary
from corea.stage import Stage


def show_progress(bars: ProgressBars, phase: str, progress: RunProgress) -> None:
    """Counts, rate, deferral rate, money spent and saved, and time left."""
    ledger = progress.ledger
    left = f" · {progress.seconds_left:,.0f} s left" if progress.seconds_left is not None else ""
    left += f" · {progress.waiting:,} wait for a batch" if progress.waiting else ""
    facts = (
        f"{progress.rate:,.0f}/s{left} · deferred {percent(ledger.defer_rate)} · spent {usd(ledger.cost_usd)} · "
        f"saved {usd(ledger.saved_usd)}"
    )
    bars.show(phase, progress.done, progress.total, facts)


def describe(summary: RunSummary, stages: Sequence[Stage], *, free_text: bool = False) -> list[str]:
    """Summary of a run of these stages, in a few lines for people."""
    ledger, of = summary.ledger, f" of {summary.total:,}" if summary.total is not None else ""
    resumed = f" ({summary.resumed:,} of them by earlier starts)" if summary.resumed else ""
    unreadable = summary.shortcomings.unreadable(free_text=free_text)
    without = f", {unreadable:,} {'empty' if free_text else 'without a readable answer'}" if unreadable else ""
    answered = summary.done - summary.failed - unreadable
    lines = [
        f"{summary.outcome.value}: {summary.done:,}{of} questions done{resumed}: "
        f"{answered:,} answered, {summary.failed:,} failed{without}, in {summary.seconds:.1f} s",
        f"deferred {percent(ledger.defer_rate)} · cost {usd(ledger.cost_usd)} · "
        f"large model alone{_prompted(stages)} {usd(ledger.baseline_usd)}{_how_known(ledger)} · "
        f"saved {usd(ledger.saved_usd)}",
        *_against_plain(ledger),
        *ledger.counted_as_free,
        *_estimated(ledger),
        *_guaranteed_cost(summary),
        *Advice(summary.shortcomings, stages, traces_of(summary), free_text=free_text).lines(),
        *_about_the_questions(summary),
    ]
    if summary.lost:
        lines.append(
            f"in flight when an earlier start was killed: {_number(summary.lost, 'question')}, asked again and "
            "perhaps paid twice"
        )
    lines += _about_batches(summary)
    if summary.outcome is RunOutcome.BUDGET:
        lines.append(_budget_ended(summary))
    if summary.last_error and (summary.failed or summary.outcome is RunOutcome.GAVE_UP):
        lines.append(f"last error: {summary.last_error}")
    return [*lines, f"answers: {summary.output}"]


def _about_batches(summary: RunSummary) -> list[str]:
    lines: list[str] = []
    if summary.ignored_results:
        lines.append(f"lines of batch results that are not used: {summary.ignored_results:,}")
    if summary.waiting:
        lines.append(
            f"waiting for a batch: {_number(summary.waiting, 'question')}, {summary.batches:,} under way; start "
            f"the same command again, or see `corea status {summary.output}`"
        )
    return lines


def _prompted(stages: Sequence[Stage]) -> str:
    """The prompt of the large model, where it adds words to the user's own requests: they may cost less."""
    prompt = stages[-1].prompt if stages else None
    return "" if prompt is None or prompt.is_plain else f" (with prompt {prompt.name})"


def _estimated(ledger: Ledger) -> list[str]:
    named = " and ".join(name for name in ledger.estimated_stages if ledger.stages[name].cost_usd)
    return [f"part of the cost is estimated: the server of stage {named} did not report all tokens"] if named else []


def _against_plain(ledger: Ledger) -> list[str]:
    if (plain := ledger.plain_baseline_usd) is None:
        return []
    share = f"{ledger.calibrated.plain_share:.2f} of that, as measured at calibration"
    return [
        f"large model asked with each question as it came ({share}) {usd(plain)} · saved {usd(ledger.plain_saved_usd)}"
    ]


def _guaranteed_cost(summary: RunSummary) -> list[str]:
    """The mean cost against the guaranteed one, and its conditions where they do not hold."""
    ledger, costs = summary.ledger, summary.ledger.calibrated
    if costs.cap_usd is None or not ledger.questions:
        return []
    lines: list[str] = []
    if costs.mean_usd is not None:
        mean = float(ledger.cost_usd) / ledger.questions
        over = ", MORE than guaranteed: beyond chance, or on other questions than calibrated" * (mean > costs.mean_usd)
        lines.append(f"mean cost {mean:.4g} USD a question, guaranteed {costs.mean_usd:g} on average{over}")
    if count := ledger.flags.get(OVER_CAP, 0):
        lines.append(
            f"{_number(count, 'question')} cost more than {costs.cap_usd:g} USD, the most that the guarantee assumes: "
            "it does not hold for questions like these; calibrate again with a larger --cost-cap"
        )
    new = sum(summary.shortcomings.by_stage(ShortcomingKind.OUTSIDE).values()) / ledger.questions
    if costs.new_inputs_share is not None and new > costs.new_inputs_share:
        lines.append(
            f"{percent(new)} of the questions have inputs unlike those that calibrated, at most "
            f"{percent(costs.new_inputs_share)} are assumed: the guarantee of costs does not hold for them"
        )
    return lines


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _about_the_questions(summary: RunSummary) -> list[str]:
    lines: list[str] = []
    if summary.bad_rows:
        lines += [f"bad rows, which were left out: {summary.bad_rows:,}", *(f"  {m}" for m in summary.bad_row_messages)]
    if summary.removed:
        lines.append(
            f"removed from the questions since an earlier start: {_number(summary.removed, 'row')}, of them "
            f"{summary.removed_answered:,} answered, which count in the cost and are left out of the output"
        )
    if summary.unused:
        named = ", ".join(f"{key} ({_number(count, 'row')})" for key, count in sorted(summary.unused.items()))
        lines.append(f"set in the requests and not used, as the configuration decides it: {named}")
    return lines


def _budget_ended(summary: RunSummary) -> str:
    if summary.next_usd_at_most is None:
        return f"stopped before the budget of {usd(summary.budget_usd)} could be exceeded; raise it to go on"
    lower = "" if summary.done else ", or lower max_tokens"
    return (
        f"stopped before the budget of {usd(summary.budget_usd)} could be exceeded: the next question may cost up to "
        f"{usd(summary.next_usd_at_most)}, and {usd(summary.left_usd)} is left; raise it to go on{lower}"
    )


def _how_known(ledger: Ledger) -> str:
    if ledger.baseline_is_assumed:
        return " (assumed: it was never asked; as many tokens as the small model)"
    return " (estimate)" if ledger.baseline_is_estimate else ""


def exit_code_of(summary: RunSummary, *, free_text: bool = False) -> int:
    """The exit code of a run that ended normally."""
    codes = {
        RunOutcome.BUDGET: EXIT_BUDGET,
        RunOutcome.WAITING: EXIT_WAITING,
        RunOutcome.INTERRUPTED: EXIT_INTERRUPTED,
        RunOutcome.GAVE_UP: EXIT_BACKEND,
    }
    unreadable = summary.shortcomings.unreadable(free_text=free_text)
    return codes.get(summary.outcome, EXIT_FAILED if summary.failed or summary.bad_rows or unreadable else 0)
