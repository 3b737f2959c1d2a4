"""Metrics of several processes as one."""

import asyncio
from pathlib import Path

from corea.gateway.ops.worker_metrics import WorkerMetrics, summed

ONE = """# HELP a_total Requests.
# TYPE a_total counter
a_total{stage="x y"} 3.0
# HELP g Now.
# TYPE g gauge
g 2.0
# HELP process_start_time_seconds Start.
# TYPE process_start_time_seconds gauge
process_start_time_seconds 100.0
# HELP corea_accounts_failing 1 while it fails.
# TYPE corea_accounts_failing gauge
corea_accounts_failing 1.0
# HELP corea_config_last_reload_successful 1 unless refused.
# TYPE corea_config_last_reload_successful gauge
corea_config_last_reload_successful 1.0
# HELP corea_key_spent_usd Spending.
# TYPE corea_key_spent_usd gauge
corea_key_spent_usd{key="k",period="day"} 0.25
# HELP h Seconds.
# TYPE h histogram
h_bucket{le="1"} 1.0
h_sum 0.5
"""
TWO = (
    ONE.replace("3.0", "4.0")
    .replace("100.0", "90.0")
    .replace("successful 1.0", "successful 0.0")
    .replace('x y"} 4', 'z"} 4')
)


def test_counters_and_histograms_are_added_and_the_dead_keep_theirs() -> None:
    text = summed([ONE, ONE, TWO], [ONE])
    lines = set(text.splitlines())
    assert {'a_total{stage="x y"} 9.0', 'a_total{stage="z"} 4.0', "g 6.0", 'h_bucket{le="1"} 4.0', "h_sum 2.0"} <= lines
    assert {"process_start_time_seconds 90.0", "corea_accounts_failing 1.0"} <= lines
    assert {'corea_key_spent_usd{key="k",period="day"} 0.25', "corea_config_last_reload_successful 0.0"} <= lines
    assert text.count("# TYPE a_total counter") == 1


async def test_a_worker_that_has_ended_stays_in_the_sums(tmp_path: Path) -> None:
    workers = [WorkerMetrics(tmp_path, lambda: ONE.encode()) for _ in range(2)]
    for number, worker in enumerate(workers):
        worker.name = str(number)
        await worker.start()
    assert 'a_total{stage="x y"} 6.0' in (await workers[0].text()).decode()
    await workers[1].stop()
    text = (await workers[0].text()).decode()
    assert 'a_total{stage="x y"} 6.0' in text
    assert "g 2.0" in text.splitlines()
    (tmp_path / "9.sock").touch()  # one that was killed before anybody had asked it
    async with asyncio.timeout(5):
        assert 'a_total{stage="x y"} 6.0' in (await workers[0].text()).decode()
    await workers[0].stop()
