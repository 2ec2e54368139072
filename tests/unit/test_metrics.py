"""Metrics: durations, figures to families, the endpoint and its slow readers, the names in dashboard and document."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import math
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from adapters.metrics import DaemonFigures, Histogram, MetricsEndpoint, endpoint, figures
from adapters.metrics.collector import DaemonCollector, registry_of
from engine.errors import UsageError
from engine.reading import REASONS
from tests.prometheus import ALERTS, CONFIG, DASHBOARD, JOB, SYSTEMD, dashboard_expressions, made_figures

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"
SECOND_NS = 10**9


# Durations.


def test_a_duration_is_counted_in_the_first_bound_that_holds_it() -> None:
    histogram = Histogram((0.001, 0.01, 0.1))
    for seconds in (0.0, 0.001, 0.0010001, 0.05, 0.1, 7.0):
        histogram.observe(seconds)
    assert histogram.snapshot().counts == (2, 1, 2, 1)
    assert histogram.snapshot().sum_seconds == pytest.approx(7.1520001)


def test_a_clock_that_steps_back_does_not_make_the_sum_fall() -> None:
    histogram = Histogram((1.0, 2.0))
    histogram.observe(1.5)
    histogram.observe(-3600.0)
    assert histogram.snapshot() == figures.HistogramSnapshot((1.0, 2.0), (1, 1, 0), 1.5)


def test_a_snapshot_does_not_change_afterwards() -> None:
    histogram = Histogram((1.0,))
    before = histogram.snapshot()
    histogram.observe(0.5)
    assert (before.count, before.sum_seconds) == (0, 0.0)
    assert histogram.snapshot().count == 1


@given(st.lists(st.floats(0, 20), max_size=40), st.sets(st.floats(1e-6, 10), min_size=1, max_size=8))
def test_counts_are_those_of_a_plain_loop(seconds: list[float], bounds: set[float]) -> None:
    histogram = Histogram(sorted(bounds))
    for each in seconds:
        histogram.observe(each)
    edges = [-1.0, *sorted(bounds), math.inf]
    expected = tuple(sum(low < each <= high for each in seconds) for low, high in itertools.pairwise(edges))
    assert histogram.snapshot().counts == expected


@pytest.mark.parametrize("bounds", [(), (1.0, 1.0), (2.0, 1.0)])
def test_bounds_that_do_not_rise_are_a_defect(bounds: tuple[float, ...]) -> None:
    with pytest.raises(AssertionError):
        Histogram(bounds)


# Figures to metrics.


def _lines(given_figures: DaemonFigures) -> dict[str, float]:
    """Every sample as the text format has it: name and labels, and the value."""
    with MetricsEndpoint(lambda: given_figures, 0) as served:
        text = _fetch(served.address)
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            name = f"{sample.name}{{{labels}}}" if labels else sample.name
            assert name not in found, name
            found[name] = sample.value
    return found


def _fetch(address: str, accept: str = "text/plain") -> str:
    request = urllib.request.Request(address, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=30) as answer:
        body: bytes = answer.read()
    return body.decode()


def test_samples_are_named_and_labelled_as_documented() -> None:
    given_figures = made_figures(step=10)
    lines = _lines(given_figures)
    expected = """
        tapewright_build_info{cryptofeed="2.4.1",python="3.11.2",session="paper-1",version="0.1.0"} 1
        tapewright_restarts_total 2
        tapewright_messages_total{channel="l2_book",exchange="BINANCE_FUTURES"} 19000
        tapewright_connections_open{exchange="BINANCE_FUTURES"} 2
        tapewright_reconnects_total{exchange="BINANCE_FUTURES",reason="refused"} 0
        tapewright_rejected_messages_total{exchange="BINANCE_FUTURES",reason="bad "JSON""} 0
        tapewright_gaps_total{exchange="BINANCE_FUTURES",reason="sequence",symbol="S0001USDT"} 1
        tapewright_gaps_total{exchange="BINANCE_FUTURES",reason="downtime",symbol="S0001USDT"} 0
        tapewright_book_valid{exchange="BINANCE_FUTURES",symbol="S0000USDT"} 1
        tapewright_best_bid_price{exchange="BINANCE_FUTURES",symbol="S0000USDT"} 60000.1
        tapewright_queue_dropped_total{queue="stream"} 170
        tapewright_receive_to_decision_seconds_bucket{le="0.0001"} 0
        tapewright_receive_to_decision_seconds_bucket{le="0.00025"} 10
        tapewright_receive_to_decision_seconds_bucket{le="0.0005"} 20
        tapewright_receive_to_decision_seconds_bucket{le="0.005"} 30
        tapewright_receive_to_decision_seconds_bucket{le="+Inf"} 30
        tapewright_receive_to_decision_seconds_count 30
        tapewright_tape_sync_seconds_bucket{le="10.0"} 20
        tapewright_orders_total{state="FILLED"} 30
        tapewright_orders_total{state="EXPIRED"} 0
        tapewright_orders_rejected_total{reason="insufficient_margin"} 0
        tapewright_fills_total{model="queue"} 10
        tapewright_funding_paid -4.25
        tapewright_halted 0
        tapewright_strategy_position{strategy="maker",symbol="S0000USDT"} -0.05
        tapewright_strategy_state{state="faulted",strategy="maker"} 1
        tapewright_strategy_state{state="running",strategy="maker"} 0
        tapewright_commands_total{kind="flatten"} 0
        tapewright_funding_missing_total 1
        tapewright_rest_refused_total{host="fapi.binance.com",status="429"} 1
        tapewright_rest_refused_total{host="fapi.binance.com",status="418"} 0
    """
    for line in filter(None, map(str.strip, expected.splitlines())):
        name, value = line.rsplit(" ", 1)
        assert lines[name] == float(value), line


def test_every_figure_is_shown() -> None:
    """Each number of the tree, made unlike all others, is found among the samples."""
    numbers = itertools.count(1_001)
    tree = _numbered(msgspec.to_builtins(made_figures()), numbers)
    changed = msgspec.convert(tree, DaemonFigures)
    shown = set(_lines(changed).values())
    for place, value in _numbers_in(tree):
        if place[-1] in ("published_monotonic_ns", "bounds_seconds"):
            continue
        is_count = place[-1] == "counts"  # shown as sums up to each bound; the last is that of all
        expected = sum(tree[place[0]][place[1]]["counts"]) if is_count else value
        assert (expected / SECOND_NS if place[-1].endswith("_ns") else expected) in shown, place


def _numbered(node: Any, numbers: Iterator[int], name: str = "") -> Any:
    match node:
        case dict():
            return {key: _numbered(value, numbers, str(key)) for key, value in node.items()}
        case tuple() if name == "bounds_seconds":
            return node
        case tuple():
            return [_numbered(value, numbers, name) for value in node]
        case bool() | str() | None:
            return node
        case _:
            return next(numbers)


def _numbers_in(node: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], float]]:
    match node:
        case dict():
            for key, value in node.items():
                yield from _numbers_in(value, (*place, str(key)))
        case list() | tuple():
            for value in node:
                yield from _numbers_in(value, place)
        case int() | float() if not isinstance(node, bool):
            yield place, node


def test_what_is_not_known_yet_is_left_out_not_shown_as_zero() -> None:
    figured = made_figures()
    symbol = msgspec.structs.replace(
        figured.symbols[0], is_book_valid=False, book_age_seconds=None, best_bid=None, best_ask=None
    )
    lines = _lines(msgspec.structs.replace(figured, symbols=(symbol,)))
    assert lines['tapewright_book_valid{exchange="BINANCE_FUTURES",symbol="S0000USDT"}'] == 0
    assert not any("best_" in name or "book_age" in name for name in lines)
    assert not any("last_message" in name and "liquidations" in name for name in lines)


def test_the_age_of_the_figures_grows_while_nobody_publishes() -> None:
    clock_ns = [0]
    published = msgspec.structs.replace(made_figures(), published_monotonic_ns=5 * SECOND_NS)
    collector = DaemonCollector(lambda: published, lambda: clock_ns[0])

    def age_at(seconds: int) -> float:
        clock_ns[0] = seconds * SECOND_NS
        (age,) = (family for family in collector.collect() if family.name == "tapewright_snapshot_age_seconds")
        return age.samples[0].value

    assert [age_at(5), age_at(7), age_at(67)] == [0.0, 2.0, 62.0]


def test_what_can_fall_is_no_counter() -> None:
    kinds = {family.name: family.type for family in registry_of(made_figures).collect()}
    for name in ("fees_paid", "funding_paid", "strategy_fees_paid", "equity", "queue_high_water", "tape_last_seq"):
        assert kinds[f"tapewright_{name}"] == "gauge"
    assert kinds["tapewright_orders"] == "counter"
    assert kinds["tapewright_loop_lateness_seconds"] == "histogram"


def test_known_reasons_are_the_engine_s() -> None:
    assert {"post_only", "insufficient_margin", "halted", "book_invalid"} <= set(figures.REJECTION_REASONS)
    assert set(figures._OF_NO_REJECTION) <= set(REASONS)
    assert figures.STRATEGY_STATES == ("running", "stopped", "faulted", "quarantined")


def test_openmetrics_is_spoken_where_it_is_asked_for() -> None:
    with MetricsEndpoint(made_figures, 0) as served:
        text = _fetch(served.address, "application/openmetrics-text; version=1.0.0")
    assert text.endswith("# EOF\n")
    families = {family.name: family for family in openmetrics.text_string_to_metric_families(text)}
    assert families["tapewright_build"].type == "info"
    assert families["tapewright_messages"].samples[0].value == 1_900


# The endpoint.


def test_the_metrics_stand_at_one_place(capsys: pytest.CaptureFixture[str]) -> None:
    with MetricsEndpoint(made_figures, 0) as served:
        assert served.address == f"http://127.0.0.1:{served.port}/metrics"
        assert "process_resident_memory_bytes" in _fetch(served.address + "?anything=1")
        assert "tapewright_cash" not in _fetch(served.address + "?name[]=tapewright_equity")
        with pytest.raises(urllib.error.HTTPError) as caught:
            _fetch(f"http://127.0.0.1:{served.port}/")
        with caught.value as answer:
            assert answer.code == 404
            assert "/metrics" in answer.read().decode()
    assert capsys.readouterr() == ("", "")


def test_a_name_that_a_page_has_pointed_here_is_not_answered() -> None:
    with MetricsEndpoint(made_figures, 0) as served:
        for host in ("127.0.0.1", f"127.0.0.1:{served.port}", "LOCALHOST:1", None):
            assert "tapewright_equity" in _asked(served.port, [host] if host else [])
        for hosts in (["evil.example"], [f"evil.example:{served.port}"], ["127.0.0.1.evil.example"], ["localhost:x"],
                      ["127.0.0.1", "evil.example"], [""]):  # fmt: skip
            said = _asked(served.port, hosts)
            assert said.startswith("HTTP/1.0 421 ")
            assert "tapewright_equity" not in said


def _asked(port: int, hosts: list[str]) -> str:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        lines = ["GET /metrics HTTP/1.0", *(f"Host: {host}" for host in hosts), "", ""]
        connection.sendall("\r\n".join(lines).encode())
        with connection.makefile("rb") as answer:
            return answer.read().decode()


def test_a_port_that_is_taken_says_so_and_what_to_do() -> None:
    with MetricsEndpoint(made_figures, 0) as served:
        with pytest.raises(UsageError, match=f"port {served.port} on 127.0.0.1 is taken") as caught:
            MetricsEndpoint(made_figures, served.port)
        assert "metrics.port" in caught.value.remedy
        assert "tapewright_equity" in _fetch(served.address)


def test_a_port_that_does_not_exist_says_so() -> None:
    with pytest.raises(UsageError, match=r"65536 on 127\.0\.0\.1 cannot be listened on"):
        MetricsEndpoint(made_figures, 65_536)


def test_only_this_machine_is_listened_to() -> None:
    with MetricsEndpoint(made_figures, 0) as served:
        assert served._server.server_address[0] == "127.0.0.1"


def test_closing_leaves_no_thread_and_no_socket_also_with_readers_that_stall() -> None:
    threads, sockets = threading.active_count(), _open_sockets()
    served = MetricsEndpoint(_large, 0, reader_seconds=600.0)
    with _half_a_request(served.port), _one_that_never_reads(served.port):
        _wait_until(lambda: threading.active_count() == threads + 3)
        served.close()
        assert threading.active_count() == threads
        assert _open_sockets() == sockets + 2  # those of the readers here
    with MetricsEndpoint(made_figures, served.port) as again:
        assert again.port == served.port


def test_readers_that_stall_hold_up_nobody_else() -> None:
    async def main() -> int:
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        readers = contextlib.ExitStack()
        with MetricsEndpoint(_large, 0) as served, readers:
            readers.enter_context(_half_a_request(served.port))
            readers.enter_context(_one_that_never_reads(served.port))
            task = asyncio.create_task(turn())
            text = await asyncio.to_thread(_fetch, served.address)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        assert "tapewright_equity" in text
        return turns

    assert asyncio.run(main()) > 10


def test_a_reader_that_stalls_is_hung_up_on_in_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    threads = threading.active_count()
    readers = contextlib.ExitStack()
    with MetricsEndpoint(_large, 0, reader_seconds=0.3) as served, readers:
        half = readers.enter_context(_half_a_request(served.port))
        readers.enter_context(_one_that_never_reads(served.port))
        _wait_until(lambda: len(served._server._readers) == 2)
        half.settimeout(30)
        assert half.recv(1) == b""
        _wait_until(lambda: threading.active_count() == threads + 1)
    assert capsys.readouterr() == ("", "")


def test_more_readers_than_there_is_room_for_are_turned_away() -> None:
    with MetricsEndpoint(made_figures, 0, reader_seconds=600.0) as served, contextlib.ExitStack() as stack:
        stalled = [stack.enter_context(_half_a_request(served.port)) for _ in range(endpoint.READERS_MAX)]
        _wait_until(lambda: len(served._server._readers) == endpoint.READERS_MAX)
        with pytest.raises((ConnectionError, urllib.error.URLError)):
            _fetch(served.address)
        stalled[0].close()
        _wait_until(lambda: len(served._server._readers) < endpoint.READERS_MAX)
        assert "tapewright_equity" in _fetch(served.address)


def test_figures_that_cannot_be_had_are_logged_and_the_next_reader_is_served(caplog: pytest.LogCaptureFixture) -> None:
    broken = threading.Event()

    def given_figures() -> DaemonFigures:
        if broken.is_set():
            raise RuntimeError("nothing published")
        return made_figures()

    with MetricsEndpoint(given_figures, 0) as served:
        broken.set()
        with pytest.raises((ConnectionError, urllib.error.URLError)):
            _fetch(served.address)
        broken.clear()
        assert "tapewright_equity" in _fetch(served.address)
    assert "nothing published" in caplog.text


def _large() -> DaemonFigures:
    """More than the buffers of a connection hold."""
    return made_figures(symbols=6_000)


@contextlib.contextmanager
def _half_a_request(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: ")
        yield connection


@contextlib.contextmanager
def _one_that_never_reads(port: int) -> Iterator[socket.socket]:
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.connect(("127.0.0.1", port))
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        yield connection


def _open_sockets() -> int:
    links = (entry.readlink() for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink())
    return sum(str(link).startswith("socket:") for link in links)


def _wait_until(condition: Any, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to this"
        time.sleep(0.02)


# Dashboard, rules and documentation.


def _families() -> dict[str, str]:
    """Names of samples as Prometheus stores them, with the name that the documentation uses."""
    found = {}
    for family in registry_of(made_figures).collect():
        for sample in family.samples:
            is_part = family.type == "histogram"
            found[sample.name] = family.name if is_part else sample.name
    return found


@pytest.mark.parametrize("path", [DASHBOARD, ALERTS], ids=lambda path: path.name)
def test_dashboard_and_rules_ask_for_metrics_that_there_are(path: Path) -> None:
    asked = set(re.findall(r"\b(?:tapewright|process|python)_[a-z_]+", _expressions(path)))
    assert len(asked) > 10
    assert asked - set(_families()) == set()


def test_the_dashboard_shows_every_metric() -> None:
    shown = set(re.findall(r"\btapewright_[a-z_]+", _expressions(DASHBOARD)))
    families = _families()
    ours = {name for name in families.values() if name.startswith("tapewright_")}
    assert ours - {families[name] for name in shown} == set()


def test_the_documentation_s_table_is_what_the_code_says() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    rows = [line for line in text[text.index("## All metrics") :].splitlines() if line.startswith("| `")]
    suffixes = {"counter": "_total", "info": "_info"}
    expected = []
    for family in DaemonCollector(made_figures).collect():
        labels = ", ".join(f"`{label}`" for label in family.samples[0].labels if label != "le")
        name = family.name + suffixes.get(family.type, "")
        expected.append(f"| `{name}` | {family.type} | {labels} | {family.documentation} |")
    assert rows == expected


def test_every_alert_is_documented() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    alerts = re.findall(r"alert: (\w+)", ALERTS.read_text(encoding="utf-8"))
    assert [name for name in alerts if f"`{name}`" not in text] == []


def _expressions(path: Path) -> str:
    if path == DASHBOARD:
        return "\n".join(each.text for each in dashboard_expressions())
    groups = yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    return "\n".join(rule["expr"] for group in groups for rule in group["rules"])


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    assert (dashboard["uid"], dashboard["title"], dashboard["id"]) == ("tapewright", "Tapewright", None)
    assert dashboard["schemaVersion"] >= 39
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = set(
            itertools.product(range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"]))
        )
        assert place["x"] + place["w"] <= 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells
        if panel["type"] == "row":
            assert panel["panels"] == []
            continue
        assert panel["description"], panel["title"]
        for source in (panel["datasource"], *(target["datasource"] for target in panel["targets"])):
            assert source == {"type": "prometheus", "uid": "${datasource}"}
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references) > 0
    titles = [panel["title"] for panel in panels if panel["type"] == "row"]
    assert titles == ["Overview", "Account", "Strategies", "Feeds", "Latency", "Tape and store", "System"]


def test_the_dashboard_s_expressions_are_of_one_target_and_of_grafana_s_span() -> None:
    variables = {each["name"] for each in json.loads(DASHBOARD.read_text(encoding="utf-8"))["templating"]["list"]}
    for each in dashboard_expressions():
        used = set(re.findall(r"\$(\w+)", each.text))
        assert used - {"__rate_interval"} <= variables, each.panel
        selectors = re.findall(r"\b(?:tapewright|process|python|up|scrape)\w*(\{[^}]*\})?", each.text)
        assert all('job="$job", instance="$instance"' in selector for selector in selectors), each.panel
        spans = re.findall(r"(?:rate|increase)\([^\[]*\[([^\]]*)\]", each.text)
        assert set(spans) <= {"$__rate_interval"}, each.panel


def test_grafana_and_prometheus_are_told_the_same() -> None:
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    provisioning = SYSTEMD / "grafana" / "provisioning"
    source = yaml.safe_load((provisioning / "datasources" / "tapewright.yaml").read_text(encoding="utf-8"))
    board = yaml.safe_load((provisioning / "dashboards" / "tapewright.yaml").read_text(encoding="utf-8"))
    assert config["scrape_configs"][0]["job_name"] == JOB
    assert source["datasources"][0]["jsonData"]["timeInterval"] == config["global"]["scrape_interval"]
    assert board["providers"][0]["options"]["path"] in DOCUMENT.read_text(encoding="utf-8")
