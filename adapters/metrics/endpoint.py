"""/metrics on 127.0.0.1, for Prometheus: served by threads, so that no reader, however slow, is noticed elsewhere.

prometheus_client's own handler answers (text format, OpenMetrics where asked for, gzip); the server around it is ours,
because the client's keeps a stalled reader's thread for ever: here a reader has a time limit, there is room for a
bounded number of them, and closing ends them all. Only this machine's own names are answered: else a page in a browser
here, that has pointed its name at 127.0.0.1, would read what the account is worth.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from socketserver import TCPServer, ThreadingMixIn
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, MetricsHandler

from adapters.metrics.collector import registry_of
from adapters.metrics.figures import DaemonFigures
from engine.errors import UsageError

HOST = "127.0.0.1"
PATH = "/metrics"
_NAMES = (HOST, "localhost")
READER_SECONDS_MAX = 10.0
"""How long a reader may take to send its request, and how long it may let an answer wait."""
READERS_MAX = 8
"""Readers at one time; who comes while all are there is turned away at once."""
_POLL_SECONDS = 0.1  # how long `close` may wait for the server's thread
_log = logging.getLogger(__name__)


class MetricsEndpoint:
    """Serves what `figures` gives, from now until `close`; `port` 0: any that is free.

    `figures` is called from the endpoint's threads, and must give something immutable. Raises UsageError where the
    port cannot be had.
    """

    def __init__(
        self, figures: Callable[[], DaemonFigures], port: int, *, reader_seconds: float = READER_SECONDS_MAX
    ) -> None:
        handler = _handler_of(registry_of(figures), reader_seconds)
        try:
            self._server = _Server((HOST, port), handler)
        except (OSError, OverflowError) as error:
            raise _cannot_listen(port, error) from error
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), name="metrics", daemon=True
        )
        self._thread.start()

    def __enter__(self) -> MetricsEndpoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def address(self) -> str:
        """What to give Prometheus, or a browser."""
        return f"http://{HOST}:{self.port}{PATH}"

    def close(self) -> None:
        """Stop listening and hang up on every reader; when it returns there is no thread and no socket left."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server.hang_up()


class _Server(ThreadingMixIn, TCPServer):
    """A thread for each reader, and a list of them."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[MetricsHandler]) -> None:
        self._readers: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a reader in a thread of its own, or turn it away."""
        thread = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), name="metrics reader", daemon=True
        )
        with self._lock:
            has_room = len(self._readers) < READERS_MAX
            if has_room:
                self._readers[request] = thread
        if has_room:
            thread.start()
        else:
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        """End one reader's connection; called by its own thread."""
        with self._lock:
            self._readers.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the signature of socketserver
        """A reader that went away is its own matter; anything else is ours, and is logged."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            _log.exception("metrics could not be served")

    def hang_up(self) -> None:
        """End all readers, and wait for their threads; nobody is listening for new ones any more."""
        with self._lock:
            readers = list(self._readers.items())
        for request, thread in readers:
            with contextlib.suppress(OSError):  # it ended in the meantime
                request.shutdown(socket.SHUT_RDWR)
            thread.join()


def _handler_of(metrics: CollectorRegistry, reader_seconds: float) -> type[MetricsHandler]:
    class Handler(MetricsHandler):
        registry = metrics
        timeout = reader_seconds  # of each wait for the socket, and of sending the answer as a whole

        def do_GET(self) -> None:  # noqa: N802 - the name that http.server calls
            if not all(_names_this_machine(host) for host in self.headers.get_all("Host", [])):
                self.send_error(HTTPStatus.MISDIRECTED_REQUEST, f"Ask http://{HOST}:PORT or http://localhost:PORT")
            elif urlsplit(self.path).path == PATH:
                super().do_GET()
            else:
                self.send_error(HTTPStatus.NOT_FOUND, f"The metrics are at {PATH}")

    return Handler


def _names_this_machine(host: str) -> bool:
    """Whether a Host header does, with whatever port: a tunnel may have another."""
    name, _, port = host.strip().lower().partition(":")
    return name in _NAMES and (port == "" or port.isdecimal())


def refuse_taken_port(port: int) -> None:
    """Raise the UsageError that an endpoint on this port would raise, if it would."""
    try:
        socket.create_server((HOST, port)).close()
    except (OSError, OverflowError) as error:
        raise _cannot_listen(port, error) from error


def _cannot_listen(port: int, error: OSError | OverflowError) -> UsageError:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return UsageError(
            f"the metrics port {port} on {HOST} is taken by another program",
            remedy="Set metrics.port to one that is free, or to 0 for no metrics; a second session needs its own.",
        )
    return UsageError(
        f"the metrics port {port} on {HOST} cannot be listened on: {error}",
        remedy="Set metrics.port to a number from 1024 to 65535, or to 0 for no metrics.",
    )
