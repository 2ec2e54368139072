"""Stored bars, with their funding, as a tape: the same records a backtest on bars is fed, in the same order.

Funding and mark prices are taken where they are stored beside the bars (`data/funding`, `data/mark` of the same home);
each file that was read is a source of the session.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from adapters.bar_files import name_of, read_bars
from adapters.captures.capture_file import checksum
from adapters.captures.importing import ImportOptions, TapeImport, session_name, software
from adapters.captures.report import FileCount, ImportReport
from adapters.funding_files import read_funding_table
from adapters.tape.documents import Session, TapeInstrument, TapeSource
from engine.bars import Bars
from engine.errors import DataError, UsageError
from engine.instruments import Instrument
from engine.kernels import layout
from engine.market import FundingSeries, Market, event_stream
from engine.precision import infer_unit

_BATCH_RECORDS = 16_384
_INSTRUMENTS_MOST = 0xFFFE
# Some files carry the noise of binary sums in their last digits; two units in the last place are taken for that.
_NOISE_ULPS = 2


class _Loaded(msgspec.Struct, frozen=True):
    market: Market
    bars_file: Path
    funding_files: tuple[Path, ...]
    metadata: dict[str, str]


def open_bars(paths: Sequence[Path], options: ImportOptions) -> TapeImport:
    """Read stored bars and make ready to write them; raises UsageError, InputMissingError or DataError."""
    assert len(paths) <= _INSTRUMENTS_MOST
    if len(paths) > 1 and (options.tick_size or options.lot_size):
        raise UsageError("--tick and --lot are for one symbol", remedy="Import it alone, or leave them out.")
    loaded = sorted((_load(path, options) for path in paths), key=lambda each: each.market.instrument.symbol)
    symbols = [each.market.instrument.symbol for each in loaded]
    if len(set(symbols)) < len(symbols):
        raise UsageError("Two of the files hold the same symbol", remedy="Name one file for each symbol.")
    files = [each.bars_file for each in loaded] + [path for each in loaded for path in each.funding_files]
    sources = tuple(TapeSource(path.name, "bars", checksum(path), path.stat().st_size) for path in files)
    records = event_stream([each.market for each in loaded]).records
    records["source"] = np.minimum(records["instrument"], len(files) - 1)
    funding_source = {
        index: files.index(each.funding_files[0]) for index, each in enumerate(loaded) if each.funding_files
    }
    for index, source in funding_source.items():
        is_funding = (records["kind"] == layout.FUNDING) & (records["instrument"] == index)
        records["source"][is_funding] = source
    report = ImportReport()
    report.files.extend(FileCount(each.bars_file.name, "bars", len(each.market.bars), 0) for each in loaded)
    session = Session(
        session=session_name(int(records["ts_receive_ns"][0]), sources),
        created_ns=int(records["ts_receive_ns"][0]),
        software=software(),
        instruments=tuple(_described(each) for each in loaded),
        sources=sources,
    )
    return TapeImport(session, _batches(records, report), report)


def _load(path: Path, options: ImportOptions) -> _Loaded:
    named = name_of(path)
    if named is None:
        raise UsageError(
            f"{path}: the name does not tell symbol and timeframe",
            remedy="Import stored bars, such as data/raw/BTCUSDT_1m.parquet; first: tapewright data import FILE"
            " --symbol BTCUSDT --timeframe 1m",
        )
    symbol, timeframe = named
    bars = read_bars(path, symbol, timeframe)
    if not len(bars):
        raise DataError(f"{path} holds no bars", remedy="Import the source again.")
    prices = (bars.open, bars.high, bars.low, bars.close)
    tick = options.tick_size or infer_unit(*prices, noise_ulps=_NOISE_ULPS)
    lot = options.lot_size or infer_unit(bars.volume, noise_ulps=_NOISE_ULPS)
    funding, funding_files = _funding(path, bars, options)
    metadata = {
        "timeframe": timeframe,
        "tick_size_is": "given" if options.tick_size else "finest decimals seen",
        "lot_size_is": "given" if options.lot_size else "finest decimals seen",
    }
    return _Loaded(Market(Instrument(symbol, tick, lot), bars, funding), path, funding_files, metadata)


def _funding(path: Path, bars: Bars, options: ImportOptions) -> tuple[FundingSeries | None, tuple[Path, ...]]:
    data = path.resolve().parent.parent
    rates, marks = (data / folder / f"{bars.symbol}.parquet" for folder in ("funding", "mark"))
    if "funding" in options.without or not rates.is_file():
        return None, ()
    table = read_funding_table(bars.symbol, rates, marks if marks.is_file() else None)
    files = (rates, marks) if marks.is_file() else (rates,)
    return FundingSeries(table.ts_ns, table.rate_e12, table.mark_e8), files


def _described(loaded: _Loaded) -> TapeInstrument:
    instrument = loaded.market.instrument
    return TapeInstrument(
        symbol=instrument.symbol,
        venue="",
        kind=instrument.kind,
        tick_size=Decimal(f"{instrument.tick_size:f}"),
        lot_size=Decimal(f"{instrument.lot_size:f}"),
        channels=("bars", "funding") if loaded.funding_files else ("bars",),
        metadata=dict(loaded.metadata),
    )


def _batches(records: NDArray[Any], report: ImportReport) -> Iterator[NDArray[Any]]:
    for start in range(0, len(records), _BATCH_RECORDS):
        batch = records[start : start + _BATCH_RECORDS]
        report.counts.update(Counter(batch["kind"].tolist()))
        yield batch
