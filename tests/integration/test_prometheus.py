"""A real Prometheus against the metrics endpoint: it is scraped, and every question of the dashboard has an answer."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml

from adapters.metrics import DaemonFigures, MetricsEndpoint
from tests.prometheus import (
    ALERTS,
    ALERTS_TEST,
    CONFIG,
    Prometheus,
    dashboard_expressions,
    free_port,
    made_figures,
    needs_prometheus,
    promtool,
    running_prometheus,
)

pytestmark = needs_prometheus


def _session() -> MetricsEndpoint:
    """A session whose counts go on, second by second."""
    start = time.monotonic()

    def figures() -> DaemonFigures:
        return made_figures(10 + int(time.monotonic() - start))

    return MetricsEndpoint(figures, 0)


def test_prometheus_scrapes_and_the_whole_dashboard_is_answered(tmp_path: Path) -> None:
    silent = f"127.0.0.1:{free_port()}"
    with _session() as endpoint:
        instance = f"127.0.0.1:{endpoint.port}"
        with running_prometheus(tmp_path, [instance, silent]) as prometheus:
            prometheus.wait_until_scraped(instance)
            assert prometheus.value(f'up{{instance="{instance}"}}') == 1
            assert prometheus.value(f'up{{instance="{silent}"}}') == 0
            assert len(dashboard_expressions(instance)) > 60
            assert prometheus.unanswered(instance) == []
            # The same questions about a target that says nothing: what counts as answered above is no constant.
            answered = set(dashboard_expressions(silent)) - set(prometheus.unanswered(silent))
            assert {each.panel for each in answered} <= {"Process", "Scrapes"}
            _check_values(prometheus, instance)
            _check_rules(prometheus, instance)


def _check_values(prometheus: Prometheus, instance: str) -> None:
    """What Prometheus has is what the session said."""
    here = f'instance="{instance}"'
    assert prometheus.value(f"tapewright_funding_paid{{{here}}}") == -4.25
    assert prometheus.value(f'tapewright_rest_refused_total{{{here}, status="500"}}') == 4
    assert prometheus.value(f'tapewright_strategy_state{{{here}, strategy="maker", state="faulted"}}') == 1
    messages = f'tapewright_messages_total{{{here}, channel="l2_book"}}'
    assert prometheus.value(messages) % 1_900 == 0
    assert prometheus.value(f"rate({messages}[30s])") > 0
    median = f"histogram_quantile(0.5, tapewright_receive_to_decision_seconds_bucket{{{here}}})"
    assert 250e-6 < prometheus.value(median) < 500e-6


def _check_rules(prometheus: Prometheus, instance: str) -> None:
    """All rules are evaluated without an error, and the faulted strategy is noticed."""
    prometheus.wait_for(f'ALERTS{{alertname="TapewrightStrategyFaulted", instance="{instance}"}}')
    groups = prometheus.get("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == sum(len(group["rules"]) for group in yaml.safe_load(ALERTS.read_text())["groups"])
    assert {rule["name"]: rule.get("lastError", "") for rule in rules if rule["health"] != "ok"} == {}


def test_an_expression_that_does_not_parse_is_noticed(tmp_path: Path) -> None:
    with running_prometheus(tmp_path, []) as prometheus, pytest.raises(urllib.error.HTTPError) as caught:
        prometheus.series("rate(up[1m]")
    with caught.value as answer:
        assert "parse error" in json.load(answer)["error"]


def test_promtool_approves_of_the_metrics() -> None:
    with _session() as endpoint, urllib.request.urlopen(endpoint.address, timeout=10) as answer:
        text = answer.read()
    assert b"tapewright_messages_total" in text
    assert promtool("check", "metrics", stdin=text) == ""


def test_promtool_approves_of_configuration_and_rules() -> None:
    assert "SUCCESS" in promtool("check", "config", CONFIG)
    assert "SUCCESS" in promtool("check", "rules", "--lint=all", "--lint-fatal", ALERTS)


def test_each_alert_fires_when_it_should_and_only_then() -> None:
    promtool("test", "rules", ALERTS_TEST)
    tested = ALERTS_TEST.read_text(encoding="utf-8")
    for group in yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            assert f'alertname="{rule["alert"]}"' in tested, rule["alert"]
            assert set(rule["annotations"]) == {"summary", "description"}, rule["alert"]
            assert len(rule["annotations"]["description"]) > 100, rule["alert"]
