"""The compiled core and its plain twin behind one face, so that a test can feed both the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from engine.core import Engine
from engine.instruments import Instrument
from engine.kernels import layout
from engine.settings import RunSettings
from tests.property.twin import Record, Request, Twin, TwinInstrument, TwinSettings


@dataclass(frozen=True)
class Said:
    """Everything that a machine said about its inputs."""

    outputs: list[tuple[int, ...]]
    samples: list[tuple[int, ...]]
    hash: int
    figures: dict[str, int]


def whole(value: Decimal) -> int:
    """Turn a decimal that must be whole into an integer."""
    assert value == int(value)
    return int(value)


def e12(value: Decimal | None) -> int:
    return 0 if value is None else whole(value * 10**12)


def twin_of(settings: RunSettings, instruments: Sequence[Instrument], strategies: int) -> Twin:
    """Build the twin of a run, turning decimals into integers without the engine's help."""
    unit = 10**settings.cash_decimals
    execution, slippage, risk = settings.execution, settings.slippage, settings.risk
    commission = settings.commission
    own = TwinSettings(
        initial_cash=whole(settings.initial_cash * unit),
        fill_mode=execution.fill_model,
        priority=execution.same_bar_priority,
        limit_touch=execution.limit_fill == "touch",
        stop_fill=execution.stop_fill,
        latency_bars=execution.latency_bars,
        max_volume_share_e12=e12(execution.max_volume_share),
        leverage_e12=e12(settings.leverage),
        isolated=settings.margin == "isolated",
        slippage_model=slippage.model,
        bps_e12=e12(slippage.bps / 10_000),
        slip_ticks=slippage.ticks,
        atr_length=slippage.atr_length,
        atr_factor=float(slippage.atr_factor),
        spread_e12=e12(slippage.spread_bps / 10_000),
        spread_ticks=slippage.spread_ticks,
        per_order=whole(commission.per_order * unit),
        per_fill=whole(commission.per_fill * unit),
        liquidation_fee_e12=e12(settings.liquidation_fee_bps / 10_000),
        max_drawdown_e12=e12(risk.max_drawdown),
        strategy_max_drawdown_e12=e12(risk.strategy_max_drawdown),
        daily_loss_e12=e12(risk.daily_loss_limit),
        max_leverage_e12=e12(risk.max_leverage),
        max_open_positions=risk.max_open_positions or 0,
        flatten=risk.on_trip == "flatten",
        close_at_end=settings.close_at_end,
    )
    return Twin(own, [_twin_instrument(settings, instrument) for instrument in instruments], strategies)


def _twin_instrument(settings: RunSettings, instrument: Instrument) -> TwinInstrument:
    unit = 10**settings.cash_decimals
    factor = instrument.lot_size * instrument.multiplier * unit
    inverse = instrument.kind == "inverse"
    factor = factor / instrument.tick_size if inverse else factor * instrument.tick_size
    tiers = tuple(
        (whole(tier.notional_floor * unit), e12(tier.maintenance_rate), whole(tier.maintenance_amount * unit))
        for tier in instrument.tiers
    )
    return TwinInstrument(
        kind=instrument.kind,
        factor=whole(factor),
        minimum_notional=whole(instrument.minimum_notional * unit),
        tiers=tiers or ((0, e12(instrument.maintenance_rate), 0),),
        maker_e12=e12(settings.commission.maker_bps / 10_000),
        taker_e12=e12(settings.commission.taker_bps / 10_000),
    )


def record_rows(records: Iterable[Record]) -> np.ndarray[Any, Any]:
    return _rows([asdict(record) for record in records], layout.RECORD)


def request_rows(requests: Iterable[Request]) -> np.ndarray[Any, Any]:
    return _rows([asdict(request) for request in requests], layout.REQUEST)


def _rows(rows: list[dict[str, int]], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    table = np.zeros(len(rows), dtype=dtype)
    for index, row in enumerate(rows):
        for name, value in row.items():
            table[name][index] = value
    return table


def said_by_twin(twin: Twin) -> Said:
    figures = {
        "cash": twin.cash, "realised": twin.pnl, "fees": twin.fees, "funding": twin.funding,
        "ambiguous_bars": twin.ambiguous_bars, "seq": twin.seq, "step": twin.step, "ts_ns": twin.ts,
        "halt": twin.halt, "order_count": len(twin.orders), "trade_count": twin.trades,
        "open_ledgers": sum(1 for ledger in twin.ledgers if ledger.lots != 0),
        "live_orders": sum(1 for order in twin.orders if order.working),
    }  # fmt: skip
    return Said(list(twin.outputs), list(twin.samples), twin.hash, figures)


class Core:
    """The compiled core, keeping what it said."""

    def __init__(self, settings: RunSettings, instruments: Sequence[Instrument], strategies: int) -> None:
        # Little room at first, so that growing it is tried all the time.
        self.build = lambda: Engine(settings, instruments, strategies, samples=4, orders=4)
        self.engine = self.build()
        self.outputs: list[tuple[int, ...]] = []
        self.samples: list[tuple[int, ...]] = []

    # Methods do what the engine's of the same names do.
    def advance(self, events: Any, start: int, stop: int, requests: Any) -> None:  # noqa: D102
        while start < stop:
            start, _ = self.engine.advance(events, start, stop, requests)

    def submit(self, requests: Any) -> int:  # noqa: D102
        return self.engine.submit(requests)

    def drain(self) -> None:
        """Read what the engine has said since the last time."""
        self.outputs += [tuple(row) for row in self.engine.outputs().tolist()]
        self.samples += [tuple(row) for row in self.engine.samples().tolist()]

    def reincarnate(self) -> None:
        """Go on in a new engine that knows nothing but the snapshot."""
        snapshot = self.engine.snapshot()
        self.engine = self.build()
        self.engine.restore(snapshot)

    def said(self, names: Iterable[str]) -> Said:
        """Everything said so far, with these figures of the account."""
        self.drain()
        account = self.engine.state.core
        figures = {name: int(account[name][0]) for name in names}
        return Said(self.outputs, self.samples, self.engine.hash, figures)
