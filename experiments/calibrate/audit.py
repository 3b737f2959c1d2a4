"""The audit of a gateway on recorded rows replayed as traffic: what alarms, and after how many questions.

    python experiments/calibrate/audit.py --data FOLDER     (FOLDER holds traces/; or COREA_DATA)

MMLU-Pro, stated confidence. Half of the rows, by seed, calibrates at `--max-drop`; the other half is the traffic. Then
"swapped": another small model answers in the place of the first one; "subject": only questions of one category come,
and the calibration has not seen that category; "steady": nothing changes. Each is simulated with the detectors alone
on traffic drawn with replacement, and replayed once through a running `corea serve` whose models are a scripted server
that gives the recorded answers. An audit draws `--share` of the questions. Writes
experiments/results/calibrate/audit.json.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from populations import LARGE, MMLU_PRO, SMALL, our_names
from tests.fakes.server import Say, running

from corea.calibrate import Calibration, FitOptions, Monitor, OutcomeTable, Targets, fit
from corea.calibrate.monitor import Detector
from corea.records.join import join_answers
from corea.records.read import RowSource, read_answers
from recipes.paper.provenance import commit

RESULTS = Path(__file__).parents[1] / "results" / "calibrate" / "audit.json"
PAIR, SWAPPED, SUBJECT = "gpt-4.1-nano -> gpt-4.1", "Llama-3.2-3B-Instruct", "law"
STEADY = 500  # questions before a change
CONFIG = """
[cascade]
calibration = "calibration.json"
[stages.small.backend]
kind = "openai"
model = "{small}"
base_url = "{url}"
[stages.large.backend]
kind = "openai"
model = "{large}"
base_url = "{url}"
[prices."{small}"]
input_usd_per_mtok = "0.1"
output_usd_per_mtok = "0.4"
[prices."{large}"]
input_usd_per_mtok = "2"
output_usd_per_mtok = "8"
[gateway.audit]
share = {share}
budget_day_usd = "1000"
every = {every}
"""


@dataclass(frozen=True)
class Scenario:
    """Tables before and after the change; the same one where nothing changes."""

    name: str
    found: Calibration
    before: OutcomeTable
    after: OutcomeTable


def rows_of(folder: Path, small: str) -> OutcomeTable:
    _, _, large, ratio = MMLU_PRO[PAIR]
    sets = [our_names(read_answers(RowSource(paths=[folder / "traces" / file], model=name)))
            for file, name in ((SMALL, small), (LARGE, large))]  # fmt: skip
    return join_answers(sets, prices={small: (0.0, 1.0), large: (0.0, float(ratio))}, signals=["confidence"])


def scenarios(folder: Path, max_drop: float) -> Iterator[Scenario]:
    """The steady one with the artefact that all but the new subject share."""
    _, small, _, _ = MMLU_PRO[PAIR]
    table, other = rows_of(folder, small), rows_of(folder, SWAPPED)
    targets, options = Targets(max_drop=max_drop), FitOptions(map="identity")
    half = np.random.default_rng(0).permutation(len(table))
    found = fit(table.take(np.sort(half[: len(half) // 2])), targets, options)
    traffic = table.take(np.sort(half[len(half) // 2 :]))
    ids = set(traffic.ids.tolist())
    swapped = other.take([i for i, key in enumerate(other.ids) if key in ids])
    yield Scenario("steady", found, traffic, traffic)
    yield Scenario("swapped", found, traffic, swapped)
    categories = np.asarray(table.categories)
    known = np.flatnonzero(categories != SUBJECT)
    known = known[np.random.default_rng(0).permutation(len(known))]
    found = fit(table.take(np.sort(known[: len(known) // 2])), targets, options)
    yield Scenario(
        "subject",
        found,
        table.take(np.sort(known[len(known) // 2 :])),
        table.take(np.flatnonzero(categories == SUBJECT)),
    )


def facts(found: Calibration, table: OutcomeTable) -> tuple[Any, Any]:
    """(N,) kept by the artefact; the two answers differ, NaN where one cannot be read."""
    return found.apply(table).kept, 1 - np.asarray(table.first.agreement)


class Streams:
    """One detector of `corea.calibrate.monitor` over S streams at once: its recursion, row by row."""

    def __init__(self, alone: Detector, streams: int) -> None:
        self.bets, self.centres = alone.stakes
        self.evidence, self.seen = np.zeros((streams, len(self.bets))), np.zeros(streams, dtype=int)
        self.every, self.name = alone.every, alone.name

    def observe(self, there: Any, values: Any) -> Any:
        """(S,) True where the evidence reaches the limit, after one observation of the streams that have one."""
        grown = (self.evidence + 1.0) * (1.0 + self.bets * (values[:, None] - self.centres))
        self.evidence = np.where(there[:, None], grown, self.evidence)
        self.seen += there
        return self.evidence.mean(axis=1) >= self.every


def simulate(each: Scenario, streams: int, questions: int, share: float, every: float) -> dict[str, Any]:
    """Alarms of the detectors alone, over streams that change after `STEADY` questions."""
    parts = [facts(each.found, table) for table in (each.before, each.after)]
    rng, monitor = np.random.default_rng(7), Monitor.of_calibration(each.found, every=every)
    deferred, audited = Streams(monitor.deferred, streams), Streams(monitor.audited, streams)
    first, by = np.full(streams, -1), np.full(streams, "", dtype=object)
    for n in range(questions):
        kept, differ = parts[n >= STEADY]
        at = rng.integers(len(kept), size=streams)
        read, drawn = ~np.isnan(differ[at]), rng.random(streams) < share
        values = np.nan_to_num(differ[at])
        for detector, there in ((deferred, read & ~kept[at]), (audited, read & kept[at] & drawn)):
            new = detector.observe(there, values) & (first < 0)
            first[new], by[new] = n + 1, detector.name
        if read[0] and not kept[at][0]:
            monitor.deferred.observe(float(values[0]))
    assert np.isclose(monitor.deferred.evidence, deferred.evidence[0].mean())  # the detector itself, on one stream
    times = (first - STEADY)[first > STEADY].tolist()
    seen = float((deferred.seen + audited.seen).mean())
    return {
        "streams": streams, "questions": questions, "observations": seen, "share": float((first > 0).mean()),
        "before_the_change": int(((first > 0) & (first <= STEADY)).sum()),
        "by": {name: int((by == name).sum()) for name in ("deferred", "audited")},
        "stated_at_most": min(1.0, seen / every),
        "median": float(np.median(times)) if times else None,
        "nine_of_ten": float(np.quantile(times, 0.9)) if times else None,
    }  # fmt: skip


@contextmanager
def serving(each: Scenario, folder: Path, script: dict[str, OutcomeTable], share: float, every: float) -> Iterator[str]:
    """A running `corea serve` with the artefact, over a scripted server that gives the answers of `script["now"]`."""
    _, small, large, _ = MMLU_PRO[PAIR]
    places: dict[int, dict[str, int]] = {}

    def say(asked: Any) -> Any:
        table = script["now"]
        place = places.setdefault(id(table), {key: i for i, key in enumerate(table.ids)})
        at = place[next(word for word in asked.question.split() if word.startswith("mmlu-pro-"))]
        model = table.first if asked.body["model"] == small else table.last
        answer = "I do not know." if model.answers[at] is None else f"<answer>{model.answers[at]}</answer>"
        stated = "" if model is table.last or np.isnan(model.confidence[at]) else (
            f"<confidence>{model.confidence[at]!s}</confidence>"
        )  # fmt: skip
        return Say(answer + stated, model=asked.body["model"])

    with running(say) as url:
        each.found.save(folder / "calibration.json")
        (folder / "corea.toml").write_text(CONFIG.format(small=small, large=large, url=url, share=share, every=every))
        command = [sys.executable, "-m", "corea.cli.main", "serve", "--port", "0"]
        process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        try:
            line = next(line for line in process.stderr if "corea serves" in line)
            yield line.split(" at ")[1].strip().removesuffix("/v1")
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)


def through_gateway(each: Scenario, questions: int, share: float, every: float) -> dict[str, Any]:
    """The first question after which the gateway's responses say that there is an alarm."""
    rng, script = np.random.default_rng(11), {"now": each.before}
    with tempfile.TemporaryDirectory() as folder, serving(each, Path(folder), script, share, every) as url:
        client, alarmed = httpx.Client(timeout=60), None
        while client.get(f"{url}/readyz").status_code != 200:
            time.sleep(0.05)
        for n in range(questions):
            script["now"] = each.after if n >= STEADY else each.before
            key = script["now"].ids[rng.integers(len(script["now"]))]
            body = {"model": "corea", "messages": [{"role": "user", "content": f"Question {key} again"}]}
            response = client.post(f"{url}/v1/chat/completions", json=body)
            response.raise_for_status()
            if alarmed is None and "x-corea-audit" in response.headers:
                alarmed = n
                break
        time.sleep(0.5)
        (evidence,) = client.get(f"{url}/v1/audit").json()["cascades"]
    names = ("source", "n", "rate", "evidence", "low", "high", "alarm")
    return {
        "questions": questions if alarmed is None else alarmed, "alarm_after_the_change": alarmed and alarmed - STEADY,
        "alarm": evidence["alarm"], "drawn": evidence["drawn"],
        "sources": [{name: source[name] for name in names} for source in evidence["sources"]],
    }  # fmt: skip


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument(
        "--data", type=Path, default=os.environ.get("COREA_DATA"), required="COREA_DATA" not in os.environ
    )
    options.add_argument("--max-drop", type=float, default=0.05)
    options.add_argument("--share", type=float, default=0.2)
    options.add_argument("--every", type=float, default=10_000.0)
    options.add_argument("--streams", type=int, default=1000)
    options.add_argument("--questions", type=int, default=3000)
    options.add_argument("--live", type=int, default=1500, help="questions through the gateway, at most")
    options.add_argument("--out", type=Path, default=RESULTS)
    given = options.parse_args()
    found: dict[str, Any] = {
        "commit": commit(), "pair": PAIR, "swapped": SWAPPED, "subject": SUBJECT, "max_drop": given.max_drop,
        "share": given.share, "every": given.every, "steady": STEADY, "scenarios": {},
    }  # fmt: skip
    for each in scenarios(given.data, given.max_drop):
        watched = each.found.watched
        assert watched is not None, each.found.sentence
        shares = {}
        for name, table in (("before", each.before), ("after", each.after)):
            kept, differ = facts(each.found, table)
            shares[name] = {"n": len(table), "deferred": float(np.nanmean(differ[~kept])),
                            "kept": float(np.nanmean(differ[kept])), "kept_share": float(kept.mean())}  # fmt: skip
        found["scenarios"][each.name] = {
            "bounds": {"deferred": watched.deferred_differ, "kept": watched.kept_differ}, "shares": shares,
            "gateway": through_gateway(each, given.live, given.share, given.every),
            "detectors": simulate(each, given.streams, given.questions, given.share, given.every),
        }  # fmt: skip
        print(json.dumps({each.name: found["scenarios"][each.name]}, indent=1), flush=True)
        given.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
