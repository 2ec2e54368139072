"""From a config and a home folder to the markets of a run: bars, instruments, funding."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import TypeAlias

import msgspec
import numpy as np

from adapters.bar_bank import S3, bank_path, read_bank
from adapters.bar_files import path_of, read_bars
from adapters.bar_quality import time_text
from adapters.funding_files import funding_path, mark_path, read_funding_table
from adapters.instrument_files import StoredInstrument, instrument_path, read_instrument
from config.model import InstrumentOverride, RunConfig
from engine.bars import Bars, timeframe_ns
from engine.errors import DataError, InputMissingError
from engine.instruments import Instrument
from engine.market import FundingSeries, Market, static_funding
from engine.precision import infer_unit
from engine.settings import Funding

LoadMarket: TypeAlias = Callable[[Path, str, RunConfig], tuple[Market, list[str]]]

# Some files carry the noise of binary sums in their last digits; two units in the last place are taken for that.
_NOISE_ULPS = 2


def load_bars(home: Path, symbol: str, config: RunConfig) -> tuple[Bars, int]:
    """The stored bars of a symbol inside the config's dates, those of its lookback before them, and how many these are.

    Raises InputMissingError where there are none inside the dates.
    """
    path, bank = path_of(home, symbol, config.timeframe), config.data.bank
    span = (lookback_start_ns(config), config.end_ns)
    if bank:
        bars = read_bank(home, bank, symbol, config.timeframe, *span)
    else:
        bars = read_bars(path, symbol, config.timeframe, *span)
    first = 0 if config.start_ns is None else int(np.searchsorted(bars.ts_ns, config.start_ns))
    if first == len(bars):
        raise InputMissingError(
            f"{bank or path}: no bars between start and end",
            remedy="See what there is with: tapewright data check; then correct start and end in the config.",
        )
    return bars, first


def lookback_start_ns(config: RunConfig) -> int | None:
    """From when on a run's bars are wanted, its lookback among them; None where the config has no start."""
    if config.start_ns is None:
        return None
    wanted_ns = config.data.lookback_bars * timeframe_ns(config.timeframe)
    return min(config.start_ns, max(0, config.start_ns - wanted_ns))


def _rows(bars: Bars, rows: slice) -> Bars:
    names = ("ts_ns", "open", "high", "low", "close", "volume")
    return msgspec.structs.replace(bars, **{name: getattr(bars, name)[rows] for name in names})


def market_files(home: Path, symbol: str, config: RunConfig) -> list[Path]:
    """The files that a market is made of, there or not."""
    funding, bank = config.funding, config.data.bank
    is_folder = bank and not bank.startswith(S3)
    return [
        (bank_path(home, bank, symbol, config.timeframe) if is_folder else path_of(home, symbol, config.timeframe)),
        instrument_path(home, symbol),
        home / funding.file.format(symbol=symbol) if funding.file else funding_path(home, symbol),
        home / funding.mark_file.format(symbol=symbol) if funding.mark_file else mark_path(home, symbol),
    ]


def instrument_of(
    bars: Bars, override: InstrumentOverride, cash_decimals: int, listed: StoredInstrument | None = None
) -> Instrument:
    """What the config says of a symbol, else the venue; tick and lot from the decimals of the data where neither does.

    Bars that are finer than the venue's tick are of a time when it was finer: the tick is then one that both are
    multiples of. A lot is never finer than one cash unit at one tick: it is made coarser until that holds.
    """
    tick = override.tick_size or infer_unit(bars.open, bars.high, bars.low, bars.close, noise_ulps=_NOISE_ULPS)
    if override.tick_size is None and listed is not None:
        tick = _common(listed.tick_size, tick)
    multiplier = Decimal(1) if override.multiplier is None else override.multiplier
    kind = override.kind or (listed.kind if listed is not None else "linear")
    lot = override.lot_size
    if lot is None:
        if listed is not None:
            lot = listed.lot_size
        else:
            lot = Decimal(1) if kind == "inverse" else infer_unit(bars.volume, noise_ulps=_NOISE_ULPS)
        unit = Decimal(1).scaleb(-cash_decimals)
        while kind != "inverse" and (lot * tick * multiplier) % unit != 0:
            lot *= 10
    given = {
        name: value
        for name in ("minimum_notional", "maintenance_rate", "tiers")
        if (value := getattr(override, name)) not in (None, ())
    }
    if listed is not None:
        given.setdefault("minimum_notional", listed.minimum_notional)
    return Instrument(bars.symbol, tick, lot, kind=kind, multiplier=multiplier, **given)


def _common(listed: Decimal, seen: Decimal) -> Decimal:
    """The greatest step that a venue's tick and the step of the data are multiples of; the tick, where it goes in."""
    if seen % listed == 0:
        return listed
    places = Decimal(1).scaleb(-max(0, -_exponent(listed), -_exponent(seen)))
    return math.gcd(int(listed / places), int(seen / places)) * places


def _exponent(step: Decimal) -> int:
    exponent = step.as_tuple().exponent
    assert isinstance(exponent, int), "a step is finite"
    return exponent


def _origin(instrument: Instrument, override: InstrumentOverride, listed: StoredInstrument | None) -> str:
    """Where kind, tick and lot come from, in words."""
    given = [name for name in ("kind", "tick_size", "lot_size") if getattr(override, name) is not None]
    config = f"{' and '.join(given)} by the config, " if given else ""
    if listed is None:
        return f"{config}{'else ' if given else ''}from the bars' decimals"
    asked = time_text(listed.fetched_ns)[:10]
    text = f"{config}{'else ' if given else ''}as {listed.exchange} said on {asked}"
    if override.tick_size is None and instrument.tick_size != listed.tick_size:
        text += f", but the bars are finer than its tick {listed.tick_size:f}"
    return text


def funding_of(home: Path, bars: Bars, funding: Funding) -> tuple[FundingSeries | None, str]:
    """The funding of a symbol as the config wants it, and a line that says where it comes from."""
    if not funding.enabled:
        return None, ""
    named = home / funding.file.format(symbol=bars.symbol) if funding.file else None
    path = named or funding_path(home, bars.symbol)
    if named is not None and not named.is_file():
        raise InputMissingError(
            f"Funding file not found: {named}",
            remedy=f"Run: tapewright data import FILE --kind funding --symbol {bars.symbol}, or correct funding.file.",
        )
    if not path.is_file():
        series = static_funding(bars, funding.rate, funding.interval_hours)
        if funding.rate == 0:
            return None, f"{bars.symbol}: no funding file, and the static rate is 0: no funding"
        return series, (
            f"{bars.symbol}: no funding file, so the static rate {funding.rate} every {funding.interval_hours} h"
        )
    mark = home / funding.mark_file.format(symbol=bars.symbol) if funding.mark_file else mark_path(home, bars.symbol)
    if funding.mark_file and not mark.is_file():
        raise InputMissingError(
            f"Mark price file not found: {mark}",
            remedy=f"Run: tapewright data import FILE --kind mark --symbol {bars.symbol}, or correct the config.",
        )
    table = read_funding_table(bars.symbol, path, mark if mark.is_file() else None)
    line = f"{bars.symbol}: {len(table.ts_ns):,} funding rates from {path.name}"
    if table.duplicates_dropped:
        line += f", {table.duplicates_dropped} given twice"
    if table.rows_without_mark:
        line += f", {table.rows_without_mark} without a mark price: the engine's own is taken"
    return FundingSeries(table.ts_ns, table.rate_e12, table.mark_e8), line


def _lookback_line(symbol: str, count: int, config: RunConfig) -> str:
    """What the run's log says of the bars before its start; nothing where none are asked for."""
    wanted = config.data.lookback_bars
    if not wanted:
        return ""
    if config.start_ns is None:
        return f"{symbol}: without a start there are no bars before it to look back on: data.lookback_bars does nothing"
    return f"{symbol}: {count:,} of {wanted:,} bars before the start are there to look back on"


def load_market(home: Path, symbol: str, config: RunConfig) -> tuple[Market, list[str]]:
    """One market of the run, and the lines of the run's log about it."""
    loaded, first = load_bars(home, symbol, config)
    lookback = _rows(loaded, slice(None, first)) if config.data.lookback_bars else None
    bars = _rows(loaded, slice(first, None)) if first else loaded
    override = config.instruments.get(symbol, InstrumentOverride())
    listed = read_instrument(home, symbol)
    instrument = instrument_of(loaded, override, config.settings.cash_decimals, listed)
    funding, line = funding_of(home, bars, config.funding)
    steps = f"tick {instrument.tick_size:f}, lot {instrument.lot_size:f}"
    lines = [f"{symbol}: bars from {config.data.bank}"] if config.data.bank else []
    lines += [f"{symbol}: {instrument.kind}, {steps}, {_origin(instrument, override, listed)}"]
    lines += [text for text in (_lookback_line(symbol, first, config), line) if text]
    if instrument.kind == "spot" and funding is not None:
        raise DataError(
            f"{symbol}: funding is enabled, but a spot instrument pays none",
            remedy="Switch funding off, or give the symbol another kind under `instruments`.",
        )
    return Market(instrument, bars, funding, lookback), lines
