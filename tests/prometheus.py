"""A real Prometheus for tests, on a free port, with the configuration that is shipped, and what the dashboard asks it.

`running_prometheus` starts the process against some targets, `unanswered` puts all expressions of the dashboard to it.
`made_figures` are a session's figures where no session runs.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from adapters.metrics import DISK_BOUNDS_SECONDS, DaemonFigures, Histogram, figures
from engine.bars import NS_PER_SECOND

SYSTEMD = Path(__file__).parents[1] / "systemd"
CONFIG = SYSTEMD / "prometheus" / "prometheus.yml"
ALERTS = SYSTEMD / "prometheus" / "tapewright_alerts.yml"
ALERTS_TEST = SYSTEMD / "prometheus" / "tapewright_alerts_test.yml"
DASHBOARD = SYSTEMD / "grafana" / "dashboards" / "tapewright.json"
JOB = "tapewright"
START_SECONDS_MAX = 60.0  # the machine may be busy; Prometheus itself needs one or two

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="the Debian package prometheus is not installed",
)


class Expression(msgspec.Struct, frozen=True):
    """One question of the dashboard: in which panel it stands, as written, and with Grafana's variables filled in."""

    panel: str
    text: str
    filled: str


class Prometheus:
    """A Prometheus that runs."""

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"

    def get(self, path: str, **parameters: str) -> Any:
        """The `data` of an answer of the HTTP API; an expression that does not parse raises HTTPError."""
        query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
        with urllib.request.urlopen(f"{self.address}/api/v1/{path}{query}", timeout=10) as answer:
            body = json.load(answer)
        assert body["status"] == "success", body
        return body["data"]

    def series(self, expression: str) -> list[dict[str, Any]]:
        """What an expression gives now: series with `metric` and `value`."""
        found = self.get("query", query=expression)
        assert found["resultType"] == "vector", (expression, found["resultType"])
        result: list[dict[str, Any]] = found["result"]
        return result

    def value(self, expression: str) -> float:
        """The value of an expression that gives one series."""
        (only,) = self.series(expression)
        return float(only["value"][1])

    def wait_for(self, expression: str, seconds: float = START_SECONDS_MAX) -> None:
        """Until an expression gives a series."""
        deadline = time.monotonic() + seconds
        while not self.series(expression):
            assert time.monotonic() < deadline, f"no series for {expression}: {self.get('targets')}"
            time.sleep(0.2)

    def wait_until_scraped(self, instance: str, times: int = 4) -> None:
        """Until a target was reached so often: a rate needs two samples."""
        self.wait_for(f'sum_over_time(up{{job="{JOB}", instance="{instance}"}}[1m]) >= {times}')

    def unanswered(self, instance: str) -> list[Expression]:
        """The dashboard's expressions that give no series for a target."""
        return [each for each in dashboard_expressions(instance) if not self.series(each.filled)]


@contextlib.contextmanager
def running_prometheus(folder: Path, targets: Sequence[str], interval: str = "1s") -> Iterator[Prometheus]:
    """Run Prometheus on `targets` (host:port), with the shipped configuration and rules, until the block is left."""
    config = written_config(folder, targets, interval)
    port = free_port()
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
            ],
            stdout=log, stderr=subprocess.STDOUT, cwd=folder,
        )  # fmt: skip
    try:
        prometheus = Prometheus(port)
        _wait_until_ready(prometheus, process, folder / "prometheus.log")
        yield prometheus
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def written_config(folder: Path, targets: Sequence[str], interval: str) -> Path:
    """The shipped configuration, with these targets and this interval between scrapes."""
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    config["global"] |= {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval}
    config["rule_files"] = [str(CONFIG.parent / name) for name in config["rule_files"]]
    (scrape,) = config["scrape_configs"]
    assert scrape["job_name"] == JOB
    scrape["static_configs"] = [{"targets": list(targets)}]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def dashboard_expressions(instance: str = "", path: Path = DASHBOARD) -> list[Expression]:
    """Every expression of the dashboard's panels, as Grafana would send it for one target and all its variables."""
    values = {
        "job": JOB, "instance": instance, "strategy": ".*", "symbol": ".*",
        "__rate_interval": "30s", "__interval": "15s", "__range": "1m",
    }  # fmt: skip
    dashboard = json.loads(path.read_text(encoding="utf-8"))
    return [
        Expression(panel["title"], target["expr"], filled(target["expr"], values))
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    ]


def filled(expression: str, values: Mapping[str, str]) -> str:
    """An expression with its variables (`$name`) replaced; one that is not known raises KeyError."""
    return re.sub(r"\$\{?(\w+)\}?", lambda match: values[match[1]], expression)


def promtool(*arguments: str | Path, stdin: bytes = b"") -> str:
    """What promtool says; anything but approval fails."""
    ran = subprocess.run(["promtool", *map(str, arguments)], input=stdin, capture_output=True, check=False)
    text = (ran.stdout + ran.stderr).decode()
    assert ran.returncode == 0, text
    return text


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(prometheus: Prometheus, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while True:
        assert process.poll() is None, log.read_text(encoding="utf-8")
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{prometheus.address}/-/ready", timeout=5):
            return
        assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
        time.sleep(0.1)


def made_figures(step: int = 1, symbols: int = 2) -> DaemonFigures:
    """Figures of a session with two strategies that has gone on for `step` seconds."""
    names = tuple(f"S{number:04d}USDT" for number in range(symbols))
    exchange, now_ns = "BINANCE_FUTURES", time.time_ns()
    return DaemonFigures(
        published_monotonic_ns=time.monotonic_ns(),
        session=figures.SessionFigures("paper-1", "0.1.0", "3.11.2", "2.4.1", now_ns - step * NS_PER_SECOND, 2),
        channels=(
            figures.ChannelFigures(exchange, "l2_book", 1_900 * step, now_ns),
            figures.ChannelFigures(exchange, "trades", 310 * step, now_ns - 70_000_000),
            figures.ChannelFigures(exchange, "liquidations", 0, None),
        ),
        exchanges=(
            figures.ExchangeFigures(
                exchange, 2, 5, {"closed": 2, "stale": 1, "refused": 0}, {"not a number": 3, 'bad "JSON"': 0}
            ),
        ),
        rest=(figures.RestFigures("fapi.binance.com", 40 + step, {429: 1, 500: 4}, 2, 6, 0.0),),
        symbols=tuple(
            figures.SymbolFigures(exchange, name, {"sequence": step // 10}, 7, True, 0.05, 60_000.1, 60_000.2)
            for name in names
        ),
        queues=(
            figures.QueueFigures("recorder", 12, 4_096, 0, 811),
            figures.QueueFigures("stream", 3, 256, 17 * step, 256),
        ),
        latency=figures.LatencyFigures(
            _observed(step, 180e-6, 420e-6, 0.003), _observed(step, 0.004, 0.02), _observed(step, 60e-6, 0.0011),
            _observed(step, 0.002, 0.013, bounds=DISK_BOUNDS_SECONDS),
        ),
        tape=figures.TapeFigures(14_000 * step, 2_210 * step, 2_210 * step, 2_100 * step, 81_000_000_000),
        store=figures.StoreFigures(9 * step, 3 * step, 2_000 * step),
        orders=figures.OrderFigures(
            {"NEW": 5 * step, "ACTIVE": 4 * step, "FILLED": 3 * step, "REJECTED": step},
            {"post_only": step}, {"depth": 2 * step, "queue": step},
        ),
        account=figures.AccountFigures(
            100_000.0, 99_987.5, 100_021.75 + step, 0.0125, 12_000.0, 600.0, 31.5, -4.25, is_halted=False
        ),
        positions=(
            figures.PositionFigures("ema", names[0], 0.2, 41.5, 12.25),
            figures.PositionFigures("maker", names[0], -0.05, -3.75, 19.25),
        ),
        strategies=(
            figures.StrategyFigures("ema", "running", 0), figures.StrategyFigures("maker", "faulted", 1),
        ),
        control=figures.ControlFigures({"loaded": 1}, {"halt": 1, "resume": 1}),
        funding=figures.FundingFigures(2, 1),
    )  # fmt: skip


def _observed(count: int, *seconds: float, bounds: Sequence[float] | None = None) -> figures.HistogramSnapshot:
    histogram = Histogram() if bounds is None else Histogram(bounds)
    for each in seconds:
        for _ in range(count):
            histogram.observe(each)
    return histogram.snapshot()
