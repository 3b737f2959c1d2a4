"""What Prometheus sees after a handful of requests."""

from dataclasses import replace
from decimal import Decimal

import pytest
from msgspec import structs
from prometheus_client.parser import text_string_to_metric_families
from tests.gateway.chat.test_service import never
from tests.gateway.conftest import UNSURE, House, make_house

from corea.baseline_cost import CalibrationFacts
from corea.errors import BackendTimeout
from corea.gateway.errors import GatewayError
from corea.gateway.ops.metrics import Metrics


def exposed(house: House, metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Every sample by its name and label values, in the order of the labels' names."""
    for done in house.done:
        metrics.record(done)
    samples = [s for family in text_string_to_metric_families(metrics.text().decode()) for s in family.samples]
    return {(s.name, *(value for _, value in sorted(s.labels.items()))): s.value for s in samples}


def make_metrics() -> Metrics:
    return Metrics(
        lambda: {"corea_requests_running": 3.0}, lambda: 7, lambda: {("large", "2"): "open", ("small", "1"): "closed"}
    )


async def test_requests_decisions_tokens_and_money() -> None:
    house = make_house([UNSURE, UNSURE, "<answer>19</answer><confidence>1</confidence>"])
    answers = [(await house.post(stream=False)).json(), (await house.post()).json(), (await house.post()).json()]
    seen = exposed(house, make_metrics())
    assert seen["corea_requests_total", "corea", "large", "200"] == 2
    assert seen["corea_requests_total", "corea", "small", "200"] == 1
    assert seen["corea_decisions_total", "corea", "defer", "small"] == 2
    assert seen["corea_decisions_total", "corea", "keep", "small"] == 1
    tokens = sum(value for key, value in seen.items() if key[0] == "corea_tokens_total")
    assert tokens == sum(answer["usage"]["total_tokens"] for answer in answers)
    spent = sum(Decimal(str(answer["corea"]["cost_usd"])) for answer in answers)
    assert seen["corea_spent_usd_total", "corea"] == pytest.approx(float(spent), rel=1e-12)
    assert seen["corea_request_seconds_count", "corea", "large"] == 2
    assert ("corea_first_text_seconds_count", "corea", "large") not in seen


async def test_the_saving_against_the_request_as_it_came_is_counted_where_a_calibration_measured_it() -> None:
    house = make_house([UNSURE, "<answer>19</answer><confidence>1</confidence>"])
    one, two = [(await house.post(stream=False)).json()["corea"] for _ in range(2)]
    assert ("corea_saved_plain_usd", "corea") not in exposed(house, make_metrics())
    for done in house.done:
        cascade = replace(done.state.plan.cascade, calibrated=CalibrationFacts(plain_share=0.5))
        done.state.plan = structs.replace(done.state.plan, cascade=cascade)
    saved = sum(each["baseline_cost_usd"] / 2 - each["cost_usd"] for each in (one, two))
    assert exposed(house, make_metrics())["corea_saved_plain_usd", "corea"] == pytest.approx(saved)


async def test_failures_hang_ups_and_what_is_looked_at() -> None:
    house = make_house(UNSURE, BackendTimeout("slow"))
    await house.post(stream=True)
    metrics = make_metrics()
    metrics.refused(GatewayError(401, "no", code="missing_api_key"))
    seen = exposed(house, metrics)
    assert seen["corea_requests_total", "corea", "", "504"] == 1
    assert seen["corea_requests_refused_total", "missing_api_key", "401"] == 1
    assert (seen["corea_requests_running",], seen["corea_decisions_dropped_total",]) == (3, 7)
    assert seen["corea_breaker_open", "2", "large", "open"] == 1
    assert seen["corea_breaker_open", "1", "small", "closed"] == 0
    assert seen["process_resident_memory_bytes",] > 0


async def test_first_text_of_streams() -> None:
    house = make_house()
    await house.post(stream=True)
    assert exposed(house, make_metrics())["corea_first_text_seconds_count", "corea", "small"] == 1


async def test_a_race_is_counted_by_its_winner() -> None:
    house = make_house(never(), "nineteen", hedge_seconds=0.001)
    assert (await house.post()).json()["corea"]["stage"] == "large"
    seen = exposed(house, make_metrics())
    assert seen["corea_hedges_total", "corea", "large"] == 1
