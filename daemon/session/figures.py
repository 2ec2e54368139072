"""Everything that a session counts, as one immutable tree a second: what Prometheus and the live line read."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from adapters.captures.importing import software
from adapters.captures.report import Reason
from adapters.feeds.live import LiveFeed
from adapters.metrics import figures as told
from adapters.rest_gate import RestGate
from adapters.store.writer import StoreWriter
from daemon.session.commanding import Commander
from daemon.session.controller import SessionFacts
from daemon.session.feedwatch import FeedWatch
from daemon.session.funding import FundingWatch
from daemon.session.loop import RunLoop
from daemon.session.narrator import Narrator
from daemon.session.pump import ROWS_WAITING_MAX, StorePump
from daemon.session.recorder import Recorder
from daemon.session.sequencer import RECORDS_WAITING_MAX, Sequencer
from engine.bars import NS_PER_SECOND
from engine.kernels import layout
from engine.reading import Scale
from engine.tape_replay import TapeReplay

# Why connections end and messages are left out, so that a counter stands at 0 before its first.
RECONNECT_REASONS = (
    "closed", "reset", "refused", "timeout", "unreachable", "tls", "protocol", "oversized", "silent", "stale", "mute",
    "book", "defect",
)  # fmt: skip
REJECT_REASONS = ("REST", *(reason.value for reason in Reason))


class Figures:
    """Reads the parts of a session."""

    def __init__(
        self, facts: SessionFacts, replay: TapeReplay, feed: LiveFeed, watch: FeedWatch, gate: RestGate,
        sequencer: Sequencer, recorder: Recorder, loop: RunLoop, pump: StorePump, store: StoreWriter,
        narrator: Narrator, commander: Commander, funding: FundingWatch,
    ) -> None:  # fmt: skip
        self._facts = facts
        self._replay = replay
        self._feed = feed
        self._watch = watch
        self._gate = gate
        self._sequencer = sequencer
        self._recorder = recorder
        self._loop = loop
        self._pump = pump
        self._store = store
        self._narrator = narrator
        self._commander = commander
        self._funding = funding
        # Looking a version up opens files: 2 ms, too much for every second.
        self._versions = (software(), platform.python_version(), importlib.metadata.version("cryptofeed"))

    def now(self) -> told.DaemonFigures:
        """The figures of this moment."""
        replay, narrator = self._replay, self._narrator
        return told.DaemonFigures(
            published_monotonic_ns=time.monotonic_ns(),
            session=told.SessionFigures(
                self._facts.name, *self._versions,
                self._facts.started_ns, self._facts.restarts,
            ),
            channels=self._channels(), exchanges=(self._exchange(),), rest=self._rest(), symbols=self._symbols(),
            queues=(
                told.QueueFigures(
                    "records", self._sequencer.records_waiting, RECORDS_WAITING_MAX, 0, self._sequencer.records_most
                ),
                told.QueueFigures(
                    "store", self._pump.rows_waiting, ROWS_WAITING_MAX, 0, self._pump.rows_waiting_most
                ),
            ),
            latency=told.LatencyFigures(
                self._loop.receive_to_decision.snapshot(), self._pump.decision_to_stored.snapshot(),
                self._loop.loop_lateness.snapshot(), self._recorder.sync_seconds.snapshot(),
            ),
            tape=told.TapeFigures(
                self._recorder.writer.written_bytes, self._recorder.last_seq, self._recorder.last_seq,
                self._recorder.acknowledged_seq, shutil.disk_usage(self._recorder.writer.folder).free,
            ),
            store=told.StoreFigures(
                self._store.statistics().rows, self._store.statistics().transactions, self._pump.stored_seq
            ),
            orders=told.OrderFigures(dict(narrator.orders), dict(narrator.rejections), dict(narrator.models)),
            account=account_figures(replay), positions=self._positions(),
            strategies=tuple(
                told.StrategyFigures(run.name, fate, narrator.faults[run.name])
                for run, fate in zip(replay.runs, replay.fates, strict=True)
            ),
            control=told.ControlFigures(dict(self._commander.reloads), dict(self._commander.kinds)),
            funding=told.FundingFigures(narrator.settlements, self._funding.alarms),
        )  # fmt: skip

    def _channels(self) -> tuple[told.ChannelFigures, ...]:
        messages: Counter[str] = Counter()
        last: dict[str, int] = {}
        for (channel, _), heard in self._feed.statistics.channels.items():
            messages[channel] += heard.count
            last[channel] = max(last.get(channel, 0), heard.receive_ns)
        return tuple(
            told.ChannelFigures(self._facts.exchange, channel, count, last[channel] or None)
            for channel, count in messages.items()
        )

    def _exchange(self) -> told.ExchangeFigures:
        statistics = self._feed.statistics
        is_open = [each.state == "connected" for each in self._watch.connections.values()]
        return told.ExchangeFigures(
            self._facts.exchange, sum(is_open), sum(statistics.connects.values()),
            _with_zeros(statistics.reconnects, RECONNECT_REASONS), _with_zeros(statistics.rejects, REJECT_REASONS),
        )  # fmt: skip

    def _rest(self) -> tuple[told.RestFigures, ...]:
        now_ns = time.monotonic_ns()
        return tuple(
            told.RestFigures(
                host.host, host.requests, dict(host.refused), host.failures, host.retries,
                max(0.0, (host.banned_until_ns - now_ns) / NS_PER_SECOND),
            )
            for host in self._gate.statistics()
        )  # fmt: skip

    def _symbols(self) -> tuple[told.SymbolFigures, ...]:
        state, statistics = self._replay.engine.state, self._feed.statistics
        found = []
        for index, scale in enumerate(self._replay.scales):
            book, symbol = state.books[index], scale.instrument.symbol
            is_valid = int(book["state"]) == layout.BOOK_VALID
            gaps = {
                told.GAP_REASONS[reason]: count for (own, reason), count in statistics.gaps.items() if own == symbol
            }
            age_ns = int(state.core["ts_ns"][0]) - int(book["book_ns"])
            found.append(
                told.SymbolFigures(
                    self._facts.exchange, symbol, gaps, statistics.trade_ids_skipped[symbol], is_valid,
                    max(0, age_ns) / NS_PER_SECOND if book["book_ns"] else None,
                    _price(scale, book["best_bid"]) if is_valid else None,
                    _price(scale, book["best_ask"]) if is_valid else None,
                )
            )  # fmt: skip
        return tuple(found)

    def _positions(self) -> tuple[told.PositionFigures, ...]:
        ledgers, count = self._replay.engine.state.ledgers, len(self._replay.scales)
        return tuple(
            told.PositionFigures(
                run.name, scale.instrument.symbol, float(scale.size(int(ledger["lots"]))),
                float(scale.money(int(ledger["realised"]))), float(scale.money(int(ledger["fees"]))),
            )
            for index, run in enumerate(self._replay.runs)
            for market in run.markets
            for scale, ledger in ((self._replay.scales[market], ledgers[index * count + market]),)
        )  # fmt: skip


def account_figures(replay: TapeReplay) -> told.AccountFigures:
    """The account as it stands."""
    core, scale = replay.engine.state.core, replay.scales[0]

    def money(name: str) -> float:
        return float(scale.money(int(core[name][0])))

    equity, peak = int(core["cash"][0]) + int(core["floating"][0]), int(core["equity_peak"][0])
    return told.AccountFigures(
        initial_cash=money("initial_cash"), cash=money("cash"), equity=float(scale.money(equity)),
        drawdown_ratio=max(0.0, (peak - equity) / peak) if peak > 0 else 0.0, exposure=money("exposure"),
        margin=money("margin"), fees_paid=money("fees"), funding_paid=money("funding"),
        is_halted=bool(core["halt"][0]),
    )  # fmt: skip


def _with_zeros(counts: Mapping[str, int], names: tuple[str, ...]) -> dict[str, int]:
    return dict.fromkeys(names, 0) | dict(counts)


def _price(scale: Scale, ticks: Any) -> float | None:
    return scale.price(int(ticks)) if int(ticks) > 0 else None
