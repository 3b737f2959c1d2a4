"""The same run on a Ray cluster: a killed worker, another version, the embedded pair. Ray takes long to start."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest
from answering import cascade, question_lines
from pool_parts import parts

from corea.errors import ConfigError
from corea.run.answer_settings import answer_settings
from corea.run.pool import PoolJob, run_pool
from corea.run.ray_workers import RayWorker, RayWorkers
from corea.run.summary import RunOutcome, RunProgress

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
ROWS = 60


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "0")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    ray.init(num_cpus=4, include_dashboard=False, object_store_memory=150 * 1024**2, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_killed_workers_and_coordinators_are_started_again_and_every_row_is_answered_once(tmp_path: Path) -> None:
    workers, killed = RayWorkers.connect(None), list[int]()

    def kill_coordinator(progress: RunProgress) -> None:
        if not killed and progress.done:
            workers.ray.kill(workers.coordinator, no_restart=False)
            killed.append(progress.done)

    (tmp_path / "questions.jsonl").write_bytes(question_lines(ROWS))
    job = PoolJob(
        build=partial(parts, str(tmp_path), ("q7", "q40"), seconds=0.02),
        settings=answer_settings(cascade()),
        questions=str(tmp_path / "questions.jsonl"),
        output=str(tmp_path / "answers.jsonl"),
        concurrency=8,
        budget_usd=Decimal("0.02"),
    )
    summary = run_pool(workers, job, 2, on_progress=kill_coordinator)
    assert len(killed) == 1
    assert summary.ledger.cost_usd + summary.lost_usd_at_most <= Decimal("0.02")
    assert (summary.outcome, summary.done) == (RunOutcome.COMPLETE, ROWS)
    ids = [json.loads(line)["question_id"] for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert ids == [f"q{n}" for n in range(ROWS)]
    twice = Counter((tmp_path / "calls").read_text().split()).total() - ROWS
    assert 2 <= twice <= summary.lost <= 2 * 4


def test_a_worker_of_another_version_is_refused() -> None:
    ended = RayWorker().run("9.9", b"", None)
    assert ended.error == "worker: has corea 0.1.0, expected 9.9, the driver's; install it there"


def test_an_address_without_a_cluster_is_refused_in_one_line() -> None:
    pytest.importorskip("ray")
    with pytest.raises(
        ConfigError, match=r"--address: got '127.0.0.1:1', where no Ray cluster can be joined"
    ) as caught:
        RayWorkers.connect("127.0.0.1:1")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_the_embedded_pair_answers_in_ray_workers(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime_genai")
    rows = [{"id": f"q{n}", "question": f"What is {n} + {n}?"} for n in range(4)]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [sys.executable, "-m", "corea.cli.main", "run", "q.jsonl", "-o", "a.jsonl", "--json"]
    ran = subprocess.run([*command, "--engine", "ray", "--workers", "2"], cwd=tmp_path, capture_output=True, text=True)
    summary = json.loads(ran.stdout)
    assert (summary["outcome"], summary["done"], summary["failed"]) == ("complete", 4, 0)
