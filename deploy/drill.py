"""A drill: calibrate, start, load, kill the models, break the promise, use a budget up, restore from a backup.

    python deploy/drill.py [--seconds 3]

It starts `corea serve` in a temporary folder, in front of two scripted models' servers of its own on loopback, and
prints at each step what its operator saw: /readyz?deep, the counters that changed, the lines of the log. It exits with
1 if the operator did not see what docs/operations.md says.
"""

import argparse
import asyncio
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from aiohttp import web

CONFIG = """
[cascade]
name = "corea"
stages = ["small", "large"]
{calibration}
[stages.small.backend]
kind = "openai"
model = "small"
base_url = "{small}"
breaker_failures = 3
breaker_cool_down_seconds = 1
[stages.large]
prompt = "plain"
[stages.large.backend]
kind = "openai"
model = "large"
base_url = "{large}"
breaker_failures = 3
breaker_cool_down_seconds = 1
[prices.small]
input_usd_per_mtok = "0.15"
output_usd_per_mtok = "0.60"
[prices.large]
input_usd_per_mtok = "2.5"
output_usd_per_mtok = "10"
[gateway]
port = 0
[gateway.audit]
share = 0.25
budget_day_usd = 5
on_alarm = "defer"
[gateway.logs]
repeat_seconds = 1
[gateway.metrics]
keys = true
"""
SHOWN = (  # counters, by the start of their name
    "corea_requests_total", "corea_requests_refused_total", "corea_decisions_total", "corea_stage_errors_total",
    "corea_stage_retries_total", "corea_spent_usd_total", "corea_confidence_sum", "corea_confidence_count",
    "corea_audits_total", "corea_audit_alarm",
)  # fmt: skip


class Model:
    """A scripted model's server, in a thread of its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.swapped = False  # for a model that is sure of everything, and mostly wrong
        self.answers = 0
        self.port = 0
        self._stop: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    def start(self) -> None:
        """Listens; on the same port as before."""
        ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True).start()
        assert ready.wait(10)

    def kill(self) -> None:
        """Closes all connections and listens no more."""
        assert self._stop is not None
        loop, event = self._stop
        loop.call_soon_threadsafe(event.set)
        time.sleep(0.2)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def _serve(self, ready: threading.Event) -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        self._stop = asyncio.get_running_loop(), asyncio.Event()
        ready.set()
        await self._stop[1].wait()
        await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.answers += 1
        asked = (await request.json())["messages"][-1]["content"]
        number = int(re.findall(r"(\d+) \+ 7", asked)[-1])
        sure = self.swapped or self.answers % 10 < 7
        right = self.name == "large" or number % 3 == 0 or (sure and not self.swapped and number % 20 != 1)
        answer, confidence = number + (7 if right else 6), 0.9 if sure else 0.3
        text = f"<think>{number} + 7</think><answer>{answer}</answer><confidence>{confidence}</confidence>"
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 50, "completion_tokens": 30, "total_tokens": 80}
        return web.json_response({"id": "x", "object": "chat.completion", "created": 1, "model": self.name,
                                  "choices": [choice], "usage": usage})  # fmt: skip


class Gateway:
    """`corea serve`, seen as its operator sees it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log: list[str] = []
        self.url = ""
        self.numbers = itertools.count(1000)
        self.counters: dict[str, float] = {}

    def start(self) -> None:
        """Starts it and waits until it is ready."""
        command = [sys.executable, "-m", "corea.cli.main", "serve"]
        self.process = subprocess.Popen(
            command, cwd=self.folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True).start()
        self.url = self._wait("corea serves").split(" at ")[1].removesuffix("/v1")
        while self.get("/readyz")[0] != 200:
            time.sleep(0.05)
        self.counters = self._scrape()

    def stop(self) -> None:
        """Stops it gracefully."""
        self.process.terminate()
        self.process.wait(30)

    def corea(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Runs a command beside it."""
        command = [sys.executable, "-m", "corea.cli.main", *words]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a page; 0 where nothing answers."""
        try:
            with urllib.request.urlopen(f"{self.url}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def ask(self, key: str) -> str:
        """The outcome of a question: the stage that answered, or the code of the error."""
        question = {"role": "user", "content": f"What is {next(self.numbers)} + 7?"}
        body = {"model": "corea", "max_tokens": 100, "messages": [question]}
        headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
        request = urllib.request.Request(f"{self.url}/v1/chat/completions", json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return str(json.load(answer)["corea"]["stage"])
        except urllib.error.HTTPError as error:
            return f"{error.code} {json.load(error)['error']['code']}"
        except OSError as error:
            return type(error).__name__

    def load(self, key: str, seconds: float) -> Counter[str]:
        """Outcomes of questions, eight at a time, for a while."""
        until, outcomes = time.monotonic() + seconds, Counter[str]()

        def work() -> list[str]:
            found = list[str]()
            while time.monotonic() < until:
                found.append(self.ask(key))
                time.sleep(0.02)
            return found

        with ThreadPoolExecutor(8) as pool:
            for each in [pool.submit(work) for _ in range(8)]:
                outcomes.update(each.result())
        return outcomes

    def seen(self) -> dict[str, float]:
        """Prints what is new, and returns the counters that changed, by how much."""
        time.sleep(1.2)  # the log's and the watch's intervals
        now = self._scrape()
        changed = {name: value - self.counters.get(name, 0) for name, value in now.items()}
        changed = {name: value for name, value in changed.items() if value}
        self.counters = now
        status, body = self.get("/readyz?deep")
        print(f"  /readyz?deep: {status} {body}")
        for name, value in sorted(changed.items()):
            if name.startswith(SHOWN):
                print(f"  {name} +{value:g}")
        lines, self.log[:] = list(self.log), []
        for line in lines[:12]:
            print(f"  log: {line[:200]}")
        if len(lines) > 12:
            print(f"  log: and {len(lines) - 12} lines more")
        self.lines = "\n".join(lines)
        return changed

    def _scrape(self) -> dict[str, float]:
        lines = [line for line in self.get("/metrics")[1].splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def _read(self, stream: Any) -> None:
        for line in stream:
            self.log.append(line.rstrip())

    def _wait(self, text: str) -> str:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            for line in self.log:
                if text in line:
                    return line
            time.sleep(0.05)
        raise SystemExit(f"the gateway did not say {text!r}: {self.log}")


class Drill:
    """The steps, each with what its operator must see."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self.seconds = seconds
        self.small, self.large = Model("small"), Model("large")
        self.gateway = Gateway(folder)
        self.failed: list[str] = []

    def run(self) -> int:
        """Runs all steps; the exit code."""
        try:
            for step in (self.start, self.load, self.kill, self.revive, self.break_promise, self.exhaust, self.restore):
                print(f"\n{step.__doc__}")
                step()
        finally:
            self.gateway.stop()
        print(f"\n{len(self.failed)} things were not seen: {self.failed}" if self.failed else "\nAll was seen.")
        return 1 if self.failed else 0

    def must(self, what: str, seen: bool) -> None:
        print(f"  {'seen' if seen else 'NOT SEEN'}: {what}")
        if not seen:
            self.failed.append(what)

    def start(self) -> None:
        """1. Calibrate, and start."""
        self.small.start()
        self.large.start()
        folder, servers = self.gateway.folder, {"small": self.small.url, "large": self.large.url}
        (folder / "corea.toml").write_text(CONFIG.format(calibration="", **servers))
        questions = [{"id": f"q{n}", "question": f"What is {n} + 7?", "reference": str(n + 7)} for n in range(600)]
        (folder / "questions.jsonl").write_text("\n".join(map(json.dumps, questions)) + "\n")
        made = self.gateway.corea("calibrate", "--questions", "questions.jsonl", "--max-drop", "0.05")
        print(f"  {next((line for line in made.stdout.splitlines() if 'certified' in line), made.stderr).strip()}")
        self.must("a certified calibration", made.returncode == 0)
        (folder / "corea.toml").write_text(CONFIG.format(calibration='calibration = "calibration.json"', **servers))
        created = self.gateway.corea("keys", "create", "alice", "--budget-usd", "100", "--json")
        self.key = json.loads(created.stdout)["key"]
        self.gateway.start()
        self.gateway.seen()
        self.must("ready", self.gateway.get("/readyz?deep")[0] == 200)

    def load(self) -> None:
        """2. Load."""
        print(f"  answers by stage: {dict(self.gateway.load(self.key, self.seconds))}")
        changed = self.gateway.seen()
        self.must("drafts that are kept and deferred", _sum(changed, "corea_decisions_total") > 0)

    def kill(self) -> None:
        """3. Both models' servers are killed."""
        self.small.kill()
        self.large.kill()
        print(f"  outcomes: {dict(self.gateway.load(self.key, self.seconds))}")
        changed = self.gateway.seen()
        self.must("deep readiness fails", self.gateway.get("/readyz?deep")[0] == 503)
        self.must("the log says that all models are down", "all its models are down" in self.gateway.lines)
        self.must("the breakers' lines", "calls are held back" in self.gateway.lines)
        self.must("failures by kind", _sum(changed, "corea_stage_errors_total") > 0)
        self.must("unanswered requests", _sum(changed, "corea_requests_total", 'status="503"') > 0)

    def revive(self) -> None:
        """4. They are started again."""
        self.small.start()
        self.large.start()
        time.sleep(1.1)  # the breakers' cool-down
        print(f"  outcomes: {dict(self.gateway.load(self.key, self.seconds))}")
        self.gateway.seen()
        self.must("ready again", self.gateway.get("/readyz?deep")[0] == 200)
        self.must("the log says that they are available again", "is available again" in self.gateway.lines)

    def break_promise(self) -> None:
        """5. The small model is swapped for one that is sure of everything: the promise breaks; the audit sees it."""
        self.small.swapped = True
        print(f"  answers by stage: {dict(self.gateway.load(self.key, self.seconds))}")
        changed = self.gateway.seen()
        mean = _sum(changed, "corea_confidence_sum") / max(_sum(changed, "corea_confidence_count"), 1)
        print(f"  mean confidence: {mean:.2f}")
        self.must("the mean confidence has moved", mean > 0.75)
        self.must("the audit's alarm in the log", "audit alarm: cascade corea" in self.gateway.lines)
        self.must("the alarm in the metrics", _sum(changed, "corea_audit_alarm") > 0)
        self.must("the alarm in /readyz", '"alarms":["corea"]' in self.gateway.get("/readyz")[1])
        self.must("the large model answers everything", {self.gateway.ask(self.key) for _ in range(20)} == {"large"})
        evidence = self.gateway.corea("audit")
        print("".join(f"  audit: {line}\n" for line in evidence.stdout.splitlines()), end="")
        self.must("exit code 1 of corea audit", evidence.returncode == 1)
        self.small.swapped = False
        self.gateway.corea("audit", "--acknowledge")
        time.sleep(2.5)  # the server follows within two seconds
        self.must("the small model again, after a person looked", "small" in self.gateway.load(self.key, 1))

    def exhaust(self) -> None:
        """6. A key uses its budget up."""
        made = self.gateway.corea("keys", "create", "bob", "--budget-usd", "0.01", "--json")
        key = json.loads(made.stdout)["key"]
        outcomes = Counter(self.gateway.ask(key) for _ in range(200))
        print(f"  outcomes: {dict(outcomes)}")
        changed = self.gateway.seen()
        self.must("refusals for the budget", _sum(changed, "corea_requests_refused_total", "insufficient_quota") > 0)

    def restore(self) -> None:
        """7. The database is copied under load, damaged, and restored."""
        with ThreadPoolExecutor(1) as pool:
            loading = pool.submit(self.gateway.load, self.key, self.seconds)
            time.sleep(self.seconds / 2)
            print(f"  backup: {self.gateway.corea('state', 'backup', 'copy.db').stdout.strip()}")
            loading.result()
        self.gateway.stop()
        path = self.gateway.folder / "corea.db"
        content = path.read_bytes()
        path.write_bytes(b"\0" * 4096 + content[4096:])
        refused = self.gateway.corea("serve")
        print(f"  start: {refused.stderr.strip()[-200:]}")
        self.must("a damaged database is not served", refused.returncode != 0)
        restored = self.gateway.corea("state", "restore", "copy.db")
        print(f"  restore: {restored.stdout.strip()}")
        self.must("the restore", restored.returncode == 0)
        self.gateway.log.clear()
        self.gateway.start()
        found = json.loads(self.gateway.corea("keys", "list", "--json").stdout)["keys"]
        print(f"  keys: {[(key['name'], key['spent_usd'], key['requests']) for key in found]}")
        self.must("the keys and their spending", all(float(key["spent_usd"]) > 0 for key in found) and len(found) == 2)
        self.must("answers again", self.gateway.ask(self.key) in ("small", "large"))
        self.gateway.seen()


def _sum(counters: dict[str, float], name: str, part: str = "") -> float:
    return sum(value for series, value in counters.items() if series.startswith(name) and part in series)


def main() -> int:
    """Runs the drill in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each load")
    given = parser.parse_args()
    os.environ["PYTHONUNBUFFERED"] = "1"
    folder = Path(tempfile.mkdtemp(prefix="corea-drill-"))
    try:
        return Drill(folder, given.seconds).run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
