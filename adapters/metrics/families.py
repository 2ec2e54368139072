"""The metrics themselves: names, help texts, labels, and where each value comes from. `docs/metrics.md` lists them.

Names follow Prometheus: prefix, base units last, `_total` on what only rises. What can fall is a gauge, so also fees
and funding, which are net of rebates and of what was received. Labels have few values: exchanges, channels, symbols,
strategies, and reasons of a closed list.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from adapters.metrics import figures
from adapters.metrics.histogram import HistogramSnapshot
from engine.bars import NS_PER_SECOND

_STATUSES = tuple(map(str, figures.REFUSED_STATUSES))
Row = tuple[Sequence[str], float | None]
"""One sample: the labels' values, and a number or None, which leaves it out."""


def of_session(session: figures.SessionFigures) -> Iterator[Metric]:
    """What runs, and since when."""
    about = {"version": session.version, "python": session.python, "cryptofeed": session.cryptofeed}
    yield InfoMetricFamily(
        "tapewright_build", "Versions of the program, and the session's name.", {**about, "session": session.name}
    )
    started = session.started_ns / NS_PER_SECOND
    yield _gauge("start_time_seconds", "When the process started, seconds since 1970.", started)
    yield _counter("restarts", "How often this session was started again, after a stop or a crash.", session.restarts)


def of_channels(channels: Sequence[figures.ChannelFigures]) -> Iterator[Metric]:
    """Messages, and when the last one came."""
    labels = ("exchange", "channel")
    yield _counters(
        "messages", "Messages received.", labels, (((each.exchange, each.channel), each.messages) for each in channels)
    )
    yield _gauges(
        "last_message_timestamp_seconds", "When the last message was received, seconds since 1970.", labels,
        (((each.exchange, each.channel), _seconds(each.last_message_ns)) for each in channels),
    )  # fmt: skip


def of_exchanges(exchanges: Sequence[figures.ExchangeFigures]) -> Iterator[Metric]:
    """Connections and rejected messages."""
    label = ("exchange",)
    yield _gauges(
        "connections_open", "Websockets that are open.", label,
        (((each.exchange,), each.connections_open) for each in exchanges),
    )  # fmt: skip
    yield _counters(
        "connects", "Websockets opened, first ones included.", label,
        (((each.exchange,), each.connects) for each in exchanges),
    )  # fmt: skip
    yield _counters(
        "reconnects", "Connections that were opened again, by what ended the one before.", ("exchange", "reason"),
        _by_value(((each.exchange,), each.reconnects_by_reason) for each in exchanges),
    )  # fmt: skip
    yield _counters(
        "rejected_messages", "Messages, or parts of them, that were left out.", ("exchange", "reason"),
        _by_value(((each.exchange,), each.rejects_by_reason) for each in exchanges),
    )  # fmt: skip


def of_rest(hosts: Sequence[figures.RestFigures]) -> Iterator[Metric]:
    """Requests to REST interfaces, and bans."""
    label = ("host",)
    names = [((each.host,), each) for each in hosts]
    yield _counters("rest_requests", "REST requests sent.", label, ((name, each.requests) for name, each in names))
    yield _counters(
        "rest_refused", "REST requests the venue refused, by HTTP status.", ("host", "status"),
        _by_value(((name, _by_text(each.refused_by_status)) for name, each in names), _STATUSES),
    )  # fmt: skip
    yield _counters(
        "rest_failures", "REST requests that got no answer, or a broken one.", label,
        ((name, each.failures) for name, each in names),
    )  # fmt: skip
    yield _counters("rest_retries", "REST requests sent again.", label, ((name, each.retries) for name, each in names))
    yield _gauges(
        "rest_banned_seconds", "How long no request will be sent, because the venue said so.", label,
        ((name, each.banned_seconds_left) for name, each in names),
    )  # fmt: skip


def of_symbols(symbols: Sequence[figures.SymbolFigures]) -> Iterator[Metric]:
    """Books and gaps."""
    labels = ("exchange", "symbol")
    names = [((each.exchange, each.symbol), each) for each in symbols]
    yield _counters(
        "gaps", "Gaps in an instrument's data.", (*labels, "reason"),
        _by_value(((name, each.gaps_by_reason) for name, each in names), tuple(figures.GAP_REASONS.values())),
    )  # fmt: skip
    yield _counters(
        "trade_ids_skipped", "Trades that were never received, by their ids.", labels,
        ((name, each.trade_ids_skipped) for name, each in names),
    )  # fmt: skip
    yield _gauges(
        "book_valid", "1 while the book can be trusted, else 0: no decision, no fill.", labels,
        ((name, float(each.is_book_valid)) for name, each in names),
    )  # fmt: skip
    yield _gauges(
        "book_age_seconds", "Time since the last change of the book was received.", labels,
        ((name, each.book_age_seconds) for name, each in names),
    )  # fmt: skip
    yield _gauges(
        "best_bid_price", "Best bid of a valid book.", labels, ((name, each.best_bid) for name, each in names)
    )
    yield _gauges(
        "best_ask_price", "Best ask of a valid book.", labels, ((name, each.best_ask) for name, each in names)
    )


def of_queues(queues: Sequence[figures.QueueFigures]) -> Iterator[Metric]:
    """Bounded queues."""
    label = ("queue",)
    yield _gauges("queue_depth", "Items waiting.", label, (((each.name,), each.depth) for each in queues))
    yield _gauges("queue_capacity", "Items that fit.", label, (((each.name,), each.capacity) for each in queues))
    yield _gauges(
        "queue_high_water",
        "The most items that ever waited.",
        label,
        (((each.name,), each.high_water) for each in queues),
    )
    yield _counters(
        "queue_dropped", "Items replaced by newer ones before they were read.", label,
        (((each.name,), each.dropped) for each in queues),
    )  # fmt: skip


def of_latency(latency: figures.LatencyFigures) -> Iterator[Metric]:
    """Durations."""
    yield _histogram(
        "receive_to_decision_seconds", "From a message's receipt to the end of what was decided on it.",
        latency.receive_to_decision,
    )  # fmt: skip
    yield _histogram(
        "decision_to_stored_seconds", "From a decision to its rows being committed.", latency.decision_to_stored
    )
    yield _histogram("loop_lateness_seconds", "How late a timer of the event loop fired.", latency.loop_lateness)
    yield _histogram("tape_sync_seconds", "How long an fdatasync of the tape took.", latency.tape_sync)


def of_tape(tape: figures.TapeFigures) -> Iterator[Metric]:
    """The recorder."""
    yield _counter("tape_written_bytes", "Bytes written to the tape, compressed.", tape.bytes_written)
    yield _counter("tape_records", "Records appended to the tape.", tape.records)
    yield _gauge("tape_last_seq", "Seq of the record appended last.", tape.last_seq)
    yield _gauge("tape_acknowledged_seq", "Seq up to which records are safe on the disk.", tape.acknowledged_seq)
    yield _gauge("disk_free_bytes", "Space left on the disk of tape and store.", tape.disk_free_bytes)


def of_store(store: figures.StoreFigures) -> Iterator[Metric]:
    """The SQLite store."""
    yield _counter("store_rows", "Rows stored.", store.rows)
    yield _counter("store_transactions", "Transactions committed.", store.transactions)
    yield _gauge("store_last_seq", "Seq of the tape's record up to which everything is stored.", store.last_seq)


def of_orders(orders: figures.OrderFigures) -> Iterator[Metric]:
    """Orders and fills."""
    yield _counters(
        "orders", "Orders that came into a state.", ("state",),
        _by_value((((), orders.by_state),), figures.ORDER_STATES),
    )  # fmt: skip
    yield _counters(
        "orders_rejected", "Orders that were rejected, by reason.", ("reason",),
        _by_value((((), orders.rejected_by_reason),), figures.REJECTION_REASONS),
    )  # fmt: skip
    yield _counters(
        "fills", "Fills, by the model that gave the price.", ("model",),
        _by_value((((), orders.fills_by_model),), figures.FILL_MODELS),
    )  # fmt: skip


def of_account(account: figures.AccountFigures) -> Iterator[Metric]:
    """Money, in units of the quote currency."""
    yield _gauge("initial_cash", "Cash the account began with.", account.initial_cash)
    yield _gauge("cash", "Cash without open positions' results.", account.cash)
    yield _gauge("equity", "Cash and what closing all positions at the mark would bring.", account.equity)
    yield _gauge("drawdown_ratio", "How far equity is below its highest, 0 to 1.", account.drawdown_ratio)
    yield _gauge("exposure", "Gross value of all positions.", account.exposure)
    yield _gauge("margin", "Margin held by positions.", account.margin)
    yield _gauge("fees_paid", "Fees paid, less rebates.", account.fees_paid)
    yield _gauge("funding_paid", "Funding paid, less funding received.", account.funding_paid)
    yield _gauge("halted", "1 while the account's guards refuse new orders, else 0.", float(account.is_halted))


def of_positions(positions: Sequence[figures.PositionFigures]) -> Iterator[Metric]:
    """Strategies on symbols."""
    labels = ("strategy", "symbol")
    names = [((each.strategy, each.symbol), each) for each in positions]
    yield _gauges(
        "strategy_position", "Signed size of the position, in the instrument's units.", labels,
        ((name, each.position) for name, each in names),
    )  # fmt: skip
    yield _gauges(
        "strategy_realised", "Result of what was closed, before fees and funding.", labels,
        ((name, each.realised) for name, each in names),
    )  # fmt: skip
    yield _gauges(
        "strategy_fees_paid", "Fees paid, less rebates.", labels, ((name, each.fees_paid) for name, each in names)
    )


def of_strategies(strategies: Sequence[figures.StrategyFigures]) -> Iterator[Metric]:
    """States and faults."""
    yield _gauges(
        "strategy_state", "1 for the state a strategy is in, 0 for the others.", ("strategy", "state"),
        (
            ((each.strategy, state), float(state == each.state))
            for each in strategies
            for state in figures.STRATEGY_STATES
        ),
    )  # fmt: skip
    yield _counters(
        "strategy_faults", "How often a strategy's code failed.", ("strategy",),
        (((each.strategy,), each.faults) for each in strategies),
    )  # fmt: skip


def of_control(control: figures.ControlFigures) -> Iterator[Metric]:
    """What people asked for."""
    yield _counters(
        "reloads", "Hot reloads of strategies, by result.", ("result",),
        _by_value((((), control.reloads_by_result),), figures.RELOAD_RESULTS),
    )  # fmt: skip
    yield _counters(
        "commands", "Commands taken, by kind.", ("kind",),
        _by_value((((), control.commands_by_kind),), figures.COMMAND_KINDS),
    )  # fmt: skip


def of_funding(funding: figures.FundingFigures) -> Iterator[Metric]:
    """Funding settlements."""
    yield _counter("funding_settlements", "Funding settlements that were booked.", funding.settlements)
    yield _counter("funding_missing", "Alarms for a funding settlement that did not come.", funding.missing_alarms)


def _seconds(ns: int | None) -> float | None:
    return None if ns is None else ns / NS_PER_SECOND


def _by_text(counts: Mapping[int, int]) -> Mapping[str, int]:
    return {str(value): count for value, count in counts.items()}


def _by_value(groups: Iterable[tuple[Sequence[str], Mapping[str, int]]], known: Sequence[str] = ()) -> Iterator[Row]:
    """A row for each value of the last label: those known first, with 0 where they were not counted."""
    for labels, counts in groups:
        for value in dict.fromkeys((*known, *counts)):
            yield (*labels, value), counts.get(value, 0)


def _counter(name: str, documentation: str, value: float) -> Metric:
    return CounterMetricFamily(f"tapewright_{name}", documentation, value)


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(f"tapewright_{name}", documentation, value)


def _counters(name: str, documentation: str, labels: Sequence[str], rows: Iterable[Row]) -> Metric:
    return _filled(CounterMetricFamily(f"tapewright_{name}", documentation, labels=labels), rows)


def _gauges(name: str, documentation: str, labels: Sequence[str], rows: Iterable[Row]) -> Metric:
    return _filled(GaugeMetricFamily(f"tapewright_{name}", documentation, labels=labels), rows)


def _filled(family: CounterMetricFamily | GaugeMetricFamily, rows: Iterable[Row]) -> Metric:
    for labels, value in rows:
        if value is not None:
            family.add_metric(labels, value)
    return family


def _histogram(name: str, documentation: str, snapshot: HistogramSnapshot) -> Metric:
    """Counts up to each bound, as Prometheus wants them: each bucket holds the shorter ones too."""
    bounds = (*(repr(float(bound)) for bound in snapshot.bounds_seconds), "+Inf")
    buckets = list(zip(bounds, map(float, accumulate(snapshot.counts)), strict=True))
    return HistogramMetricFamily(f"tapewright_{name}", documentation, buckets, snapshot.sum_seconds)
