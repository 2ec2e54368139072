"""A running session as its watchers have it: the service manager, Prometheus with the dashboard, HTTP, the stream."""

from __future__ import annotations

import json
import socket
import threading
import urllib.request
from pathlib import Path

from tests.prometheus import free_port, needs_prometheus, promtool, running_prometheus
from tests.sessions import Daemon, exchange, wait_until


class Manager:
    """A service manager's end of NOTIFY_SOCKET."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.messages: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while message := self._socket.recv(4096):
            self.messages.append(message.decode())

    def close(self) -> None:
        """Hear no more."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", str(self.path))
        self._thread.join(5)
        self._socket.close()


def test_the_service_manager_hears_of_ready_watchdog_and_stopping(tmp_path: Path) -> None:
    manager = Manager(tmp_path / "notify")
    environment = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "2000000"}
    with exchange("--seed", "3") as venue, Daemon(tmp_path / "home", venue, environment=environment) as daemon:
        daemon.running()
        wait_until(
            lambda: sum("WATCHDOG=1" in each for each in manager.messages) >= 3, 30, lambda: str(manager.messages)
        )
        daemon.stop()
    manager.close()
    lines = [line for message in manager.messages for line in message.split("\n")]
    assert lines.index("READY=1") < lines.index("WATCHDOG=1") < lines.index("STOPPING=1")


@needs_prometheus
def test_prometheus_scrapes_it_and_every_expression_of_the_dashboard_answers(tmp_path: Path) -> None:
    port = free_port()
    with exchange("--seed", "3", "--funding-seconds", "10") as venue, Daemon(
        tmp_path / "home", venue, arguments=["--set", f"metrics.port={port}"]
    ) as daemon:  # fmt: skip
        daemon.running().synchronised()
        daemon.lines.wait_for("fill", count=3)
        (tmp_path / "prometheus").mkdir()
        instance = f"127.0.0.1:{port}"
        with urllib.request.urlopen(f"http://{instance}/metrics") as answer:
            text = answer.read()
        assert promtool("check", "metrics", stdin=text) == ""
        with running_prometheus(tmp_path / "prometheus", [instance]) as prometheus:
            prometheus.wait_until_scraped(instance)
            assert prometheus.value(f'up{{instance="{instance}"}}') == 1
            wait_until(lambda: not prometheus.unanswered(instance), 60, lambda: str(prometheus.unanswered(instance)))
        daemon.stop()
        assert daemon.verify()["equal"]


def test_http_answers_with_the_token_of_the_session(tmp_path: Path) -> None:
    port = free_port()
    with exchange("--seed", "3") as venue, Daemon(
        tmp_path / "home", venue, arguments=["--set", f"control.http_port={port}"]
    ) as daemon:  # fmt: skip
        daemon.running().synchronised()
        token = (daemon.tape.parent / "control-token").read_text().strip()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/status", headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(request) as answer:
            status = json.loads(answer.read())
        assert (status["state"], [each["book"] for each in status["symbols"]]) == ("running", ["valid", "valid"])
        halt = json.dumps({"do": "halt", "reason": "test"}).encode()
        command = urllib.request.Request(
            f"http://127.0.0.1:{port}/commands", method="POST", data=halt,
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )  # fmt: skip
        with urllib.request.urlopen(command) as answer:
            assert json.loads(answer.read())["seq"] > 0
        assert daemon.ctl("status")["halted"]
        daemon.stop()
        assert daemon.verify()["equal"]
