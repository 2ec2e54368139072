"""A file's column of times, whatever it is written in, as UTC nanoseconds; and what it was taken for."""

from __future__ import annotations

import numpy as np
import polars as pl

from adapters.bar_quality import NO_TIME
from engine.bars import NS_PER_DAY, NS_PER_SECOND, FloatColumn, IntColumn

# From each magnitude on, a count of time since 1970 is taken for this unit: in seconds the first is the year
# 5138, in milliseconds 1973, so that no two units share a year that matters.
_UNITS = (
    (1e17, "ns", 1),
    (1e14, "us", 1_000),
    (1e11, "ms", 1_000_000),
    (0.0, "s", NS_PER_SECOND),
)
_NANOSECONDS = {"ns": 1, "us": 1_000, "ms": 1_000_000}
_ZONED = r"(?i)\d\d(:?\d\d){1,2}(\.\d+)? ?(z|utc|gmt|[+-]\d\d:?\d\d)$"
_FORMATS = (
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%d",
    "%Y%m%d %H%M%S",
    "%Y%m%d %H:%M:%S%.f",
    "%Y%m%d %H:%M",
    "%Y%m%d",
)
_ZONED_FORMATS = ("%Y-%m-%d %H:%M:%S%.f%z", "%Y-%m-%d %H:%M%z")


def times_ns(column: pl.Series) -> tuple[IntColumn, str]:
    """Return times as int64 UTC ns, NO_TIME where a cell is none, and a word on what the column holds."""
    match column.dtype:
        case pl.Datetime() as dtype:
            return _of_datetimes(column, dtype)
        case pl.Date():
            days = column.cast(pl.Int64).fill_null(np.iinfo(np.int64).max).to_numpy()
            return _scaled(days, NS_PER_DAY), "dates"
        case pl.String():
            return _of_text(column)
        case dtype if dtype.is_integer():
            return _of_integers(column.cast(pl.Int64, strict=False))
        case dtype if dtype.is_float() or dtype.is_decimal():
            return _of_floats(column.cast(pl.Float64))
        case _:
            return np.full(len(column), NO_TIME), f"nothing that is a time ({column.dtype})"


def _of_datetimes(column: pl.Series, dtype: pl.Datetime) -> tuple[IntColumn, str]:
    counts = column.cast(pl.Int64).fill_null(np.iinfo(np.int64).max).to_numpy()
    zone = "UTC" if dtype.time_zone is None else str(dtype.time_zone)
    taken = "no zone, taken as UTC" if dtype.time_zone is None else f"zone {zone}"
    return _scaled(counts, _NANOSECONDS[dtype.time_unit]), f"timestamps in {dtype.time_unit}, {taken}"


def _of_integers(column: pl.Series) -> tuple[IntColumn, str]:
    known = column.drop_nulls().to_numpy()
    if not len(known):
        return np.full(len(column), NO_TIME), "no times"
    middle = float(np.median(known))
    if 19_000_101 <= middle <= 21_001_231:
        return _of_text(column.cast(pl.String))
    unit, factor = _unit(middle)
    counts = column.fill_null(np.iinfo(np.int64).max).to_numpy()
    return _scaled(counts, factor), f"integers in {unit}"


def _of_floats(column: pl.Series) -> tuple[IntColumn, str]:
    values: FloatColumn = column.fill_null(np.nan).to_numpy()
    known = values[np.isfinite(values)]
    if not len(known):
        return np.full(len(column), NO_TIME), "no times"
    unit, factor = _unit(float(np.median(known)))
    with np.errstate(invalid="ignore"):
        whole = np.floor(values)
        usable = np.isfinite(values) & (np.abs(whole) < 2.0**62 / factor)
    whole = np.where(usable, whole, 0.0)
    # A double of seconds is good to some hundred ns, so that the fraction is kept to the microsecond.
    fraction_us = np.rint(np.where(usable, values - whole, 0.0) * (factor / 1_000)).astype(np.int64)
    ts_ns = whole.astype(np.int64) * factor + fraction_us * 1_000
    ts_ns[~usable] = NO_TIME
    return ts_ns, f"numbers in {unit}"


def _of_text(column: pl.Series) -> tuple[IntColumn, str]:
    text = column.str.strip_chars()
    numeric = text.str.contains(r"^[+-]?\d+$")
    eight_digits = text.str.contains(r"^(19|20)\d{6}$")
    known = len(column) - column.null_count()
    if known and int((numeric & ~eight_digits).sum()) * 2 >= known:
        return _of_integers(text.set(~numeric, None).cast(pl.Int64, strict=False))
    numbers = text.str.contains(r"^[+-]?\d+\.?\d*([eE][+-]?\d+)?$")
    if known and int((numbers & ~eight_digits).sum()) * 2 >= known:
        return _of_floats(text.set(~numbers, None).cast(pl.Float64, strict=False))
    return _of_dates(text)


def _of_dates(text: pl.Series) -> tuple[IntColumn, str]:
    plain = text.str.replace(r"^(\d{4})[/.](\d\d)[/.](\d\d)", "$1-$2-$3").str.replace(r"(\d)[Tt](\d)", "$1 $2")
    is_zoned = plain.str.contains(_ZONED)
    naive = plain.set(is_zoned.fill_null(value=False), None)
    times = _first_that_fits(naive, _FORMATS)
    if not is_zoned.any():
        return times, "text without a zone, taken as UTC"
    zoned = plain.set(~is_zoned.fill_null(value=False), None)
    zoned = zoned.str.replace(r"(?i) ?(z|utc|gmt)$", "+00:00").str.replace(r" ([+-]\d\d:?\d\d)$", "$1")
    zoned_times = _first_that_fits(zoned, _ZONED_FORMATS)
    both = np.where(times == NO_TIME, zoned_times, times)
    return both, "text with a zone" + ("" if (times == NO_TIME).all() else ", and text without, taken as UTC")


def _first_that_fits(text: pl.Series, formats: tuple[str, ...]) -> IntColumn:
    times = pl.Series("times", [None] * len(text), dtype=pl.Int64)
    for written in formats:
        rest = text.set(times.is_not_null(), None)
        if rest.null_count() == len(rest):
            break
        parsed = rest.str.to_datetime(written, time_unit="us", strict=False, ambiguous="null")
        times = times.zip_with(times.is_not_null(), parsed.cast(pl.Int64))
    return _scaled(times.fill_null(np.iinfo(np.int64).max).to_numpy(), 1_000)


def _unit(middle: float) -> tuple[str, int]:
    for least, unit, factor in _UNITS:
        if abs(middle) >= least:
            return unit, factor
    raise AssertionError("the last unit takes every number")


def _scaled(counts: IntColumn, factor: int) -> IntColumn:
    """Multiply; NO_TIME where 64 bits cannot hold it, as for nulls, filled with the greatest."""
    limit = (2**63 - 1) // factor
    usable = (counts < limit) & (counts > -limit)
    scaled: IntColumn = np.where(usable, counts, 0) * np.int64(factor)
    scaled[~usable] = NO_TIME
    return scaled
