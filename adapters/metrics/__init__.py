"""Metrics for Prometheus: the daemon publishes figures, a thread of its own shows them on 127.0.0.1.

`figures` is what the daemon fills, `Histogram` how it counts durations, `MetricsEndpoint` what serves them.
"""

from adapters.metrics.endpoint import MetricsEndpoint, refuse_taken_port
from adapters.metrics.figures import DaemonFigures
from adapters.metrics.histogram import DISK_BOUNDS_SECONDS, LATENCY_BOUNDS_SECONDS, Histogram, HistogramSnapshot

__all__ = [
    "DISK_BOUNDS_SECONDS", "LATENCY_BOUNDS_SECONDS", "DaemonFigures", "Histogram", "HistogramSnapshot",
    "MetricsEndpoint", "refuse_taken_port",
]  # fmt: skip
