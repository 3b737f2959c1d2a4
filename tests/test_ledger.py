import json
from decimal import Decimal

from corea.ledger import Ledger
from corea.types import Completion, Confidence, Decision, Status, Step, Trace, Usage, replace


def _step(stage: str, cost: str, decision: Decision = Decision.KEEP, **more: object) -> Step:
    usage = Usage(prompt_tokens=100, cached_tokens=40, completion_tokens=20, reasoning_tokens=5)
    completion = Completion(text="t", model=stage, usage=usage)
    return Step(stage=stage, completion=completion, decision=decision, cost_usd=Decimal(cost), seconds=0.5, **more)  # pyright: ignore


def _trace(
    *steps: Step, baseline: str | None = None, estimated: bool = False, status: Status = Status.ANSWERED
) -> Trace:
    known = [s.cost_usd for s in steps if s.cost_usd is not None]
    return Trace(
        question_id="q",
        steps=steps,
        status=status,
        cost_usd=sum(known, Decimal(0)),
        baseline_cost_usd=None if baseline is None else Decimal(baseline),
        baseline_estimated=estimated,
    )


KEPT = _trace(_step("small", "0.001"), baseline="0.010", estimated=True)
DEFERRED = _trace(_step("small", "0.001", Decision.DEFER), _step("large", "0.012"), baseline="0.012")


def _ledger(*traces: Trace) -> Ledger:
    ledger = Ledger()
    for trace in traces:
        ledger.add(trace)
    return ledger


def test_the_discarded_small_model_pass_is_paid_for() -> None:
    ledger = _ledger(KEPT, DEFERRED)
    assert ledger.cost_usd == Decimal("0.014")
    assert ledger.stages["small"].discarded_usd == Decimal("0.001")
    assert ledger.defer_rate == 0.5
    assert ledger.saved_usd == Decimal("0.008")
    assert ledger.baseline_is_estimate


def test_billed_retries_cached_reasoning_and_signal_tokens_are_told_apart() -> None:
    call = Completion(text="", model="small", usage=Usage(prompt_tokens=7, completion_tokens=1))
    completion = Completion(
        text="",
        model="small",
        usage=Usage(prompt_tokens=10, cached_tokens=4, cache_write_tokens=3, completion_tokens=6, reasoning_tokens=2),
        retries=2,
        wasted=Usage(prompt_tokens=20),
    )
    confidence = Confidence(value=0.5, signal="self_check", calls=(call, call))
    ledger = _ledger(_trace(Step(stage="small", completion=completion, confidence=confidence, decision=Decision.KEEP)))
    stage = ledger.as_dict()["stages"]["small"]
    assert stage["tokens"] == {"prompt": 10, "cached": 4, "cache_write": 3, "completion": 6, "reasoning": 2}
    assert stage["wasted_tokens"]["prompt"] == 20
    assert (stage["retries"], stage["signal_calls"], stage["signal_tokens"]["prompt"]) == (2, 2, 14)


def test_a_question_kept_before_anything_was_measured_gets_the_mean_baseline() -> None:
    unknown = _trace(_step("small", "0.001"), estimated=True)
    ledger = _ledger(unknown, DEFERRED)
    assert ledger.baseline_usd == Decimal("0.024")
    assert ledger.as_dict()["baseline_estimated"] is True
    assert ledger.as_dict()["baseline_measured_questions"] == 1


def test_what_was_assumed_gives_way_to_the_mean_of_what_was_measured() -> None:
    assumed = replace(KEPT, baseline_cost_usd=Decimal("0.002"), baseline_assumed=True)
    alone, both = _ledger(assumed, assumed), _ledger(assumed, assumed, DEFERRED)
    assert (alone.baseline_usd, alone.baseline_is_assumed) == (Decimal("0.004"), True)
    assert (both.baseline_usd, both.baseline_is_assumed) == (Decimal("0.036"), False)
    assert (alone.as_dict()["baseline_assumed"], both.as_dict()["baseline_assumed"]) == (True, False)


def test_with_nothing_measured_nothing_is_said_to_be_saved() -> None:
    ledger = _ledger(_trace(_step("small", "0.001"), estimated=True))
    assert ledger.baseline_usd is None
    assert ledger.as_dict()["saved_usd"] is None


def test_an_unknown_price_makes_no_saving_up() -> None:
    step = Step(stage="large", completion=Completion(text="", model="m"), decision=Decision.KEEP, cost_usd=None)
    unpriced = Trace(question_id="q", steps=(step,), status=Status.ANSWERED, cost_usd=None, baseline_cost_usd=None)
    ledger = _ledger(DEFERRED, unpriced)
    assert ledger.saved_usd is None
    assert ledger.as_dict()["unpriced_questions"] == 1
    assert ledger.stages["large"].unpriced == 1


def test_a_failed_question_costs_but_has_no_baseline() -> None:
    failed = _trace(
        _step("small", "0.001", Decision.DEFER),
        Step(stage="large", error="down"),
        baseline="0.01",
        estimated=True,
        status=Status.FAILED,
    )
    ledger = _ledger(failed, DEFERRED)
    assert ledger.cost_usd == Decimal("0.014")
    assert ledger.baseline_usd == Decimal("0.012")
    assert (ledger.failed, ledger.stages["large"].errors) == (1, 1)


def test_charges_with_many_decimals_still_sum_exactly() -> None:
    charge = "0.1234567890123456789012345678901234567"
    ledger = _ledger(*[_trace(_step("large", charge))] * 3)
    assert ledger.as_dict()["cost_usd"] == "0.3703703670370370367037037036703703701"


def test_the_dict_is_plain_json() -> None:
    assert json.loads(json.dumps(_ledger(KEPT, DEFERRED).as_dict()))["cost_usd"] == "0.014"


def test_the_total_is_the_sum_of_the_rows_to_the_last_digit() -> None:
    costs = [Decimal(f"0.{'0' * (n % 17)}{n}{n * 7919}") for n in range(1, 400)]
    ledger = _ledger(*(_trace(_step("small", str(cost))) for cost in costs))
    scale = 60
    exact = sum(int(cost.scaleb(scale)) for cost in costs)
    assert int(ledger.cost_usd.scaleb(scale)) == exact
    assert ledger.stages["small"].cost_usd == ledger.cost_usd
