"""Alert rules and dashboard: no metric, label or value in them that /metrics does not have."""

import json
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from tests.gateway.conftest import UNSURE, make_house

from corea.gateway.ops.metrics import KeyBudget, Metrics

DEPLOY = Path(__file__).parents[3] / "deploy"
RULES = DEPLOY / "prometheus" / "alerts.yml"
DASHBOARD = DEPLOY / "grafana" / "corea.json"
METRIC = re.compile(r"\b((?:corea|process)_\w+)(?:\{([^}]*)\})?")
BY = re.compile(r"\bby \(([^)]*)\)")
ADDED_BY_PROMETHEUS = {"instance", "job"}
Series = dict[str, list[dict[str, str]]]


def expressions() -> Iterator[tuple[str, str]]:
    """The rules' and the panels' expressions, by name."""
    for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


async def exposed() -> Series:
    """The series of a gateway that has answered one request, by the name of their samples."""
    house = make_house(UNSURE)
    breakers = {("large", "1"): "open"}
    gauges: dict[str, float] = dict.fromkeys(
        ("corea_requests_running", "corea_decisions_waiting", "corea_accounts_failing"), 0.0
    )
    metrics = Metrics(lambda: gauges, lambda: 0, lambda: breakers)
    metrics.retries = lambda: dict.fromkeys(breakers, 0)
    metrics.budgets = lambda: [KeyBudget("0123", "day", 2.0, 1.0)]
    metrics.use(house.gateway.chat.routes.cascades, "abc")
    await house.post()
    metrics.record(house.last)
    found: Series = defaultdict(list)
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            found[sample.name].append(sample.labels)
    return found


async def test_every_metric_label_and_value_exists() -> None:
    series, problems, used = await exposed(), list[str](), 0
    for name, expression in expressions():
        metrics = METRIC.findall(expression)
        used += len(metrics)
        labels = set[str]()
        for metric, matchers in metrics:
            if metric not in series:
                problems.append(f"{name}: no metric {metric}")
                continue
            labels |= {label for each in series[metric] for label in each}
            for label, value in re.findall(r'(\w+)="([^"]*)"', matchers):
                if not any(each.get(label) == value for each in series[metric]):
                    problems.append(f"{name}: no {metric} with {label}={value!r}")
            for label in re.findall(r"(\w+)=~", matchers):
                if label not in labels:
                    problems.append(f"{name}: {metric} has no label {label}")
        for label in {each.strip() for found in BY.findall(expression) for each in found.split(",")}:
            if label not in labels | ADDED_BY_PROMETHEUS:
                problems.append(f"{name}: no label {label}")
    assert problems == []
    assert used > 60


async def test_a_misspelt_metric_would_be_found() -> None:
    assert [m for m, _ in METRIC.findall("rate(corea_request_total[5m])") if m in await exposed()] == []


async def test_the_series_of_a_cascade_are_there_before_its_first_request() -> None:
    house = make_house()
    metrics = Metrics(dict, lambda: 0, dict)
    metrics.use(house.gateway.chat.routes.cascades, "abc")
    samples = {
        (s.name, *(value for _, value in sorted(s.labels.items()))): s.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for s in family.samples
    }
    for expected in (
        ("corea_requests_total", "corea", "large", "200"),
        ("corea_requests_total", "corea", "", "503"),
        ("corea_decisions_total", "corea", "defer", "small"),
        ("corea_stage_errors_total", "corea", "timeout", "large"),
        ("corea_requests_refused_total", "insufficient_quota", "429"),
        ("corea_hedges_total", "corea", "large"),
        ("corea_stage_seconds_count", "corea", "small"),
        ("corea_confidence_count", "corea", "small"),
        ("corea_spent_usd_total", "corea"),
    ):
        assert samples[expected] == 0, expected
    assert ("corea_confidence_count", "corea", "large") not in samples  # the last stage measures none
    assert samples["corea_threshold", "corea", "small"] == 0.8
    assert samples["corea_config_info", "abc"] == 1
    assert samples["corea_config_last_reload_successful",] == 1


def test_every_alert_is_explained_in_the_documentation() -> None:
    page = (DEPLOY.parent / "docs" / "operations.md").read_text(encoding="utf-8")
    rules: list[Any] = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"][0]["rules"]
    assert [rule["alert"] for rule in rules if f"`{rule['alert']}`" not in page] == []


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool comes with Prometheus (Debian: prometheus)")
@pytest.mark.parametrize("words", [("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")])
def test_promtool_accepts_the_rules(words: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", *words], cwd=RULES.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
