"""A run on a Ray cluster of several raylets on this machine, while workers, a node and the driver are killed.

    python bench/cluster.py [--questions 20000] [--json]

A server on loopback answers and counts every call. Two workers are killed, a node is removed, then the driver is killed
and started again. Checked at the end: every row is answered once and in order; what the server billed did not exceed
the budget; what was paid twice is at most 1 % and no more than the run counts as in flight at kills; the ledger and the
calls paid twice are together what the server counted.
"""

import argparse
import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

sys.path.insert(0, str(Path(__file__).parent))

from loopback import Answering
from run import write_questions

NUMBER = re.compile(rb"cake number (\d+)\.")
MODEL = re.compile(rb'"model":\s*"(\w+)"')
DELAY_SECONDS = 0.03
PROMPT_TOKENS, COMPLETION_TOKENS = 180, 40
COST = {"small": Decimal("0.000051"), "large": Decimal("0.00051")}  # of one call, by the prices of CONFIG
CONFIG = """
[cascade]
stages = ["small", "large"]
[stages.small]
signal = "verbalized"
threshold = 0.8
backend = {{ kind = "openai", model = "small", base_url = "{url}" }}
sampling = {{ max_tokens = 60, temperature = 0.0 }}
[stages.large]
backend = {{ kind = "openai", model = "large", base_url = "{url}" }}
sampling = {{ max_tokens = 60 }}
[prices.small]
input_usd_per_mtok = "0.15"
output_usd_per_mtok = "0.60"
[prices.large]
input_usd_per_mtok = "1.5"
output_usd_per_mtok = "6.0"
"""


class Counting(Answering):
    """Answers each question with its number after a while; defers three of ten. Counts what it answers."""

    calls: ClassVar[Counter[tuple[str, int]]] = Counter()

    def respond(self, body: bytes) -> None:
        """Answers one request, later."""
        asked, model = NUMBER.search(body), MODEL.search(body)
        assert asked is not None, body
        assert model is not None, body
        number, name = int(asked[1]), model[1].decode()
        self.calls[name, number] += 1
        confidence = 0.2 if number % 10 < 3 else 0.9
        answer = json.dumps({
            "id": "c", "object": "chat.completion", "created": 1, "model": name,
            "choices": [{
                "index": 0, "finish_reason": "stop",
                "message": {
                    "role": "assistant",
                    "content": f"<answer>{number}</answer><confidence>{confidence}</confidence>",
                },
            }],
            "usage": {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": COMPLETION_TOKENS, "total_tokens": 220},
        }).encode()  # fmt: skip
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(answer)
        asyncio.get_running_loop().call_later(DELAY_SECONDS, self.transport.write, head + answer)

    @classmethod
    def billed_usd(cls) -> Decimal:
        """The cost of all calls so far."""
        return sum((COST[name] * times for (name, _), times in list(cls.calls.items())), Decimal(0))


def serve() -> str:
    """Serves in a thread until the process ends; the base URL."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(Counting, "127.0.0.1", 0))
    threading.Thread(target=loop.run_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


class Kills:
    """A driver under way, and what is killed of it."""

    def __init__(self, folder: Path, address: str, count: int, budget: Decimal) -> None:
        self.folder, self.count = folder, count
        self.command = [
            sys.executable, "-m", "corea.cli.main", "run", "questions.jsonl", "--out", "answers.jsonl", "--json",
            "--engine", "ray", "--address", address, "--workers", "4", "--concurrency", "32",
            "--budget-usd", str(budget),
        ]  # fmt: skip
        self.driver = self.start()
        self.log: list[str] = []

    def start(self) -> subprocess.Popen[str]:
        """Starts the driver."""
        return subprocess.Popen(self.command, cwd=self.folder, stdout=subprocess.PIPE, text=True)

    def wait_for(self, share: float) -> None:
        """Waits until this share of the questions has been asked."""
        while len(Counting.calls) < 1.3 * share * self.count:
            assert self.driver.poll() is None, "the driver has ended"
            time.sleep(0.02)

    def workers(self) -> list[int]:
        """The process ids of the cluster's workers that answer a shard."""
        found: list[int] = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    title = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if title.startswith(b"ray::RayWorker.run"):
                    found.append(int(entry.name))
        return found

    def kill_worker(self) -> None:
        """Kills one worker."""
        os.kill(self.workers()[0], signal.SIGKILL)
        self.log.append(f"worker killed after {sum(Counting.calls.values()):,} calls")


def demonstrate(count: int) -> dict[str, Any]:
    """Runs it all; the figures."""
    os.environ.setdefault("RAY_memory_monitor_refresh_ms", "0")
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")
    from ray.cluster_utils import Cluster

    small, large = count * COST["small"], count * 3 // 10 * COST["large"]
    budget = small + large + Decimal("0.2")  # the worst case of what is in flight at the kills
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_questions(folder / "questions.jsonl", count)
        (folder / "corea.toml").write_text(CONFIG.format(url=serve()))
        memory = 150 * 1024**2
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "object_store_memory": memory})
        nodes = [cluster.add_node(num_cpus=2, object_store_memory=memory) for _ in range(2)]
        began = time.monotonic()
        kills = Kills(folder, cluster.address, count, budget)
        try:
            for share in (0.1, 0.25):
                kills.wait_for(share)
                kills.kill_worker()
            kills.wait_for(0.4)
            cluster.remove_node(nodes[0], allow_graceful=False)
            kills.log.append(f"node removed after {sum(Counting.calls.values()):,} calls")
            kills.wait_for(0.6)
            kills.driver.kill()
            kills.driver.wait()
            kills.log.append(f"driver killed after {sum(Counting.calls.values()):,} calls")
            kills.driver = kills.start()
            said, _ = kills.driver.communicate()
            assert said.startswith("{"), f"the driver ended with {kills.driver.returncode}: {said!r}"
            seconds = time.monotonic() - began
        finally:
            kills.driver.kill()
            cluster.shutdown()
        return checked(folder, json.loads(said), count, budget, seconds, kills.log)


def checked(
    folder: Path, summary: dict[str, Any], count: int, budget: Decimal, seconds: float, log: list[str]
) -> dict[str, Any]:
    """The figures, once they are what is promised."""
    with (folder / "answers.jsonl").open() as lines:
        rows = [(trace["question_id"], trace["answer"]) for trace in map(json.loads, lines)]
    ledger = summary["ledger"]
    calls, once = sum(Counting.calls.values()), len(Counting.calls)
    in_ledger = sum(stage["calls"] for stage in ledger["stages"].values())
    journals = sum(path.stat().st_size for path in (folder / "answers.jsonl.shards").glob("*.journal"))
    grants = len((folder / "answers.jsonl.shards" / "grants").read_bytes().splitlines())
    result = {
        "questions": count,
        "rows_once_and_in_order": rows == [(f"q{n}", str(n)) for n in range(count)],
        "calls_billed": calls,
        "calls_needed": once,
        "calls_in_ledger": in_ledger,
        "paid_twice": calls - once,
        "paid_twice_share": round((calls - once) / once, 5),
        "in_flight_at_kills": summary["in_flight_at_kills"],
        "budget_usd": str(budget),
        "billed_usd": str(Counting.billed_usd()),
        "ledger_usd": ledger["cost_usd"],
        "seconds": round(seconds, 1),
        "journal_bytes_a_question": round(journals / count),
        "grants": grants,
        "killed": log,
    }
    assert summary["outcome"] == "complete", result
    assert result["rows_once_and_in_order"], result
    assert Counting.billed_usd() <= budget, result
    assert calls - once <= 0.01 * once, result
    assert calls - in_ledger == calls - once, result  # the ledger has each needed call once
    assert calls - once <= 2 * summary["in_flight_at_kills"], result  # of a question in flight, two stages at most
    return result


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=20_000)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    given = parser.parse_args()
    result = demonstrate(given.questions)
    print(json.dumps(result) if given.json else "\n".join(f"{key}: {value}" for key, value in result.items()))


if __name__ == "__main__":
    main()
