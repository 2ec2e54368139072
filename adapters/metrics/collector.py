"""Figures to metrics: nothing is kept here, everything is made anew from the newest figures when somebody asks.

So the daemon's hot path counts in plain integers, and a scrape costs only the thread that serves it. What each metric
means is in `families`, by area.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric

from adapters.metrics import families
from adapters.metrics.figures import DaemonFigures
from engine.bars import NS_PER_SECOND


class DaemonCollector:
    """Turns what `figures` gives into metric families. `figures` and `monotonic_ns` are called from any thread."""

    def __init__(
        self, figures: Callable[[], DaemonFigures], monotonic_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._figures = figures
        self._monotonic_ns = monotonic_ns

    def collect(self) -> Iterable[Metric]:
        """Every family; the names are the same each time, also where a family has no samples."""
        figures = self._figures()
        yield self._age(figures)
        yield from self._families(figures)

    def _age(self, figures: DaemonFigures) -> Metric:
        age_ns = max(self._monotonic_ns() - figures.published_monotonic_ns, 0)
        return GaugeMetricFamily(
            "tapewright_snapshot_age_seconds",
            "Age of the figures served here; it grows while the event loop does not run.",
            age_ns / NS_PER_SECOND,
        )

    @staticmethod
    def _families(figures: DaemonFigures) -> Iterator[Metric]:
        yield from families.of_session(figures.session)
        yield from families.of_channels(figures.channels)
        yield from families.of_exchanges(figures.exchanges)
        yield from families.of_rest(figures.rest)
        yield from families.of_symbols(figures.symbols)
        yield from families.of_queues(figures.queues)
        yield from families.of_latency(figures.latency)
        yield from families.of_tape(figures.tape)
        yield from families.of_store(figures.store)
        yield from families.of_orders(figures.orders)
        yield from families.of_account(figures.account)
        yield from families.of_positions(figures.positions)
        yield from families.of_strategies(figures.strategies)
        yield from families.of_control(figures.control)
        yield from families.of_funding(figures.funding)


def registry_of(figures: Callable[[], DaemonFigures]) -> CollectorRegistry:
    """A registry of its own: the daemon's figures, and the process's memory, CPU time, descriptors and collections.

    `figures` is called once here, so that the names are known and a name that stands twice is found at the start.
    """
    registry = CollectorRegistry(auto_describe=True)
    registry.register(DaemonCollector(figures))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry
