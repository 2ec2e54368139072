"""Bars that are read from somewhere else than the home folder: another folder, or S3, file by file as under `data/raw`.

S3 is read by polars, of a range only the row groups that can hold it. Its address, region and keys come from the
environment (`AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`, ...), as for every other program.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from adapters.bar_files import FRAME_ERRORS, bars_of, checked_symbol, read_bars, rows_in
from engine.bars import Bars, timeframe_ns
from engine.errors import DataError, InputMissingError

S3 = "s3://"


def bank_path(home: Path, bank: str, symbol: str, timeframe: str) -> Path:
    """Where a bank that is a folder has the bars of a symbol."""
    return home / bank / _name(symbol, timeframe)


def read_bank(
    home: Path, bank: str, symbol: str, timeframe: str, start_ns: int | None = None, end_ns: int | None = None
) -> Bars:  # fmt: skip
    """Return the bars of a bank, as `read_bars` does of the home's own; raises InputMissingError and DataError."""
    if bank.startswith(S3):
        return _read_s3(f"{bank.rstrip('/')}/{_name(symbol, timeframe)}", symbol, timeframe, start_ns, end_ns)
    path = bank_path(home, bank, symbol, timeframe)
    if not path.exists():
        raise InputMissingError(
            f"Data file not found: {path}", remedy="Put it there, or leave data.bank out to read what the home has."
        )
    return read_bars(path, symbol, timeframe, start_ns, end_ns)


def _read_s3(address: str, symbol: str, timeframe: str, start_ns: int | None, end_ns: int | None) -> Bars:
    try:
        frame = rows_in(pl.scan_parquet(address), start_ns, end_ns)
    except FileNotFoundError:
        raise InputMissingError(
            f"Data file not found: {address}",
            remedy="Put it there, or leave data.bank out to read what the home has.",
        ) from None
    except FRAME_ERRORS as error:
        cause = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputMissingError(
            f"{address} cannot be read: {cause}",
            remedy="See data.bank, and what of AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID and"
            " AWS_SECRET_ACCESS_KEY the environment has.",
        ) from None
    try:
        return bars_of(address, frame, symbol, timeframe)
    except DataError as error:
        error.remedy = "Copy the file here, import it, and put what is then stored in its place."
        raise


def _name(symbol: str, timeframe: str) -> str:
    timeframe_ns(timeframe)
    return f"{checked_symbol(symbol)}_{timeframe}.parquet"
