"""`tapewright tape export TAPE --bars 1m`: bars made of a tape's prints, as stored bars that a backtest reads."""

from __future__ import annotations

from pathlib import Path

import typer

from engine.errors import DataError


def export_bars(tape: Path, timeframes: list[str], out: Path, *, as_json: bool) -> None:
    """Write `OUT/SYMBOL_TIMEFRAME.parquet` for each symbol with prints and each timeframe, and say so."""
    import msgspec

    from adapters.tape import TapeReader
    from daemon.replaying import tape_run
    from daemon.tape_bars import export_bars as write_bars
    from daemon.verifying import market_config
    from strategies.registry import Registry

    reader = TapeReader(tape)
    run = tape_run(reader, market_config(reader.session()), Registry(tape), is_market_only=True)
    if run.tape is None:
        raise DataError(f"{tape} holds bars already", remedy="What it holds is exported without --bars.")
    written: dict[str, int] = {}
    for timeframe in timeframes:
        files = write_bars(run.tape, run.config.settings, timeframe, out)
        written |= {str(path): rows for path, rows in files.items()}
    if as_json:
        typer.echo(msgspec.json.encode({"tape": str(tape), "out": str(out), "files": written}).decode())
        return
    for path, rows in written.items():
        typer.echo(f"Wrote {rows:,} bars: {path}")
