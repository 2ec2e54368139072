"""`tapewright data download` and `data list`: history from a venue, and what is stored of all markets.

Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, assert_never

import typer

from engine.errors import EXIT_FINDINGS, UsageError

if TYPE_CHECKING:
    from adapters.data_catalog import StoredFile
    from adapters.downloads.model import DownloadKind, DownloadReport


class Venue(StrEnum):
    """Where from."""

    BINANCE_FUTURES = "BINANCE_FUTURES"
    BINANCE = "BINANCE"


class Kind(StrEnum):
    """What is downloaded."""

    bars = "bars"
    funding = "funding"
    mark = "mark"
    instrument = "instrument"


Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def download(
    context: typer.Context,
    symbol: Annotated[str, typer.Option(help="As the venue calls it, such as BTCUSDT.")],
    start: Annotated[str, typer.Option(help="First instant, UTC: 2022-01-01, or 2022-01-01T08:00.")] = "",
    end: Annotated[str, typer.Option(help="The instant after the last [now].")] = "",
    timeframe: Annotated[str, typer.Option(help="Such as 1m, 15m, 4h, 1d; of mark prices [8h].")] = "",
    exchange: Annotated[Venue, typer.Option(help="USD-M futures, or spot.")] = Venue.BINANCE_FUTURES,
    kind: Annotated[Kind, typer.Option(help="Bars, settled funding, mark prices, or tick and lot.")] = Kind.bars,
    rest: Annotated[str, typer.Option(help="Address in place of the venue's own, as http://127.0.0.1:8765.")] = "",
    as_json: Json = False,
) -> None:
    """Download history that is not stored yet; what was interrupted goes on where it ended."""
    if not timeframe and kind is Kind.bars:
        raise UsageError("The timeframe of the bars is not given", remedy="Give it, such as --timeframe 1m.")
    if rest and not rest.startswith(("http://", "https://")):
        raise UsageError(f"--rest {rest} is no REST address", remedy="Write it with its scheme, as https://host.")
    if kind is Kind.instrument:
        _download_instrument(context.obj.home, symbol, exchange, rest, as_json=as_json)
        return
    if not start:
        raise UsageError("Where to begin is not given", remedy="Give it, such as --start 2022-01-01.")
    start_ns = _moment_ns("--start", start)
    end_ns = _moment_ns("--end", end) if end else time.time_ns()
    from adapters.downloads.model import MARK_TIMEFRAME, DownloadOrder
    from daemon.downloading import run_download
    from daemon.stages import Quiet, Terminal

    timeframe = "" if kind is Kind.funding else timeframe or MARK_TIMEFRAME
    order = DownloadOrder(symbol, timeframe, start_ns, end_ns, exchange.value, _rows_of(kind), rest)
    report = run_download(context.obj.home, order, Quiet() if as_json else Terminal(unit="rows"))
    if as_json:
        import msgspec

        typer.echo(msgspec.json.encode(report).decode())
        return
    typer.echo("\n".join(_report_lines(report)))


def _rows_of(kind: Kind) -> DownloadKind:
    match kind:
        case Kind.bars | Kind.instrument:
            return "bars"
        case Kind.funding:
            return "funding"
        case Kind.mark:
            return "mark"
        case _:
            assert_never(kind)


def _download_instrument(home: Path, symbol: str, exchange: Venue, rest: str, *, as_json: bool) -> None:
    from adapters.bar_files import shown
    from daemon.downloading import described, download_instrument

    found, path = download_instrument(home, symbol, exchange.value, rest)
    if as_json:
        import msgspec

        typer.echo(msgspec.json.encode(found).decode())
    else:
        typer.echo(f"{symbol} of {exchange.value}: {described(found)}: {shown(path)}\n  from {found.source}")


def list_(context: typer.Context, as_json: Json = False) -> None:
    """List every stored file: span, gaps, source, content hash. Ends with 1 where one cannot be read."""
    from adapters.data_catalog import stored_files

    home: Path = context.obj.home
    files = stored_files(home)
    if as_json:
        import msgspec

        typer.echo(msgspec.json.encode({"files": files}).decode())
    elif files:
        typer.echo("\n".join(line for file in files for line in _file_lines(file)))
    else:
        typer.echo("Nothing is stored under data/. Run: tapewright data download, data import or data synth")
    if any(file.error for file in files):
        raise typer.Exit(EXIT_FINDINGS)


def _moment_ns(option: str, text: str) -> int:
    from config.scalars import moment_ns_of

    found = moment_ns_of(text)
    if found is None:
        raise UsageError(
            f"{option} {text!r} is no time", remedy="Write a UTC date or an ISO time: 2022-01-01, 2022-01-01T08:00:00Z."
        )
    return found


def _report_lines(report: DownloadReport) -> list[str]:
    from adapters.bar_quality import time_text

    what = f"{report.timeframe} {report.kind}" if report.timeframe else report.kind
    fetched = f"{report.rows_fetched:,} rows fetched by {report.requests} requests"
    lines = [f"{report.symbol} {what} from {report.exchange}: {fetched}, {report.rows_count:,} stored: {report.stored}"]
    if report.rows_count:
        lines.append(f"  {time_text(report.first_ts_ns)} to {time_text(report.last_ts_ns)} UTC")
    if report.listed_ns:
        lines.append(f"  nothing before {time_text(report.listed_ns)} UTC: the venue's first row")
    lines += [f"  {note}" for note in report.notes]
    if report.gaps_count:
        listed = ", ".join(f"{time_text(gap.first_ts_ns)} ({gap.bars_count})" for gap in report.gaps)
        more = ", ..." if report.gaps_count > len(report.gaps) else ""
        lines.append(
            f"  {report.rows_missing:,} rows missing at the venue in {report.gaps_count:,} runs: {listed}{more}"
        )
    lines.append(f"  from {report.source}")
    lines.append(f"  content sha256 {report.content_sha256}")
    return lines


def _file_lines(file: StoredFile) -> list[str]:
    from adapters.bar_quality import time_text

    name = f"{file.path}: {file.symbol} {file.timeframe + ' ' if file.timeframe else ''}{file.kind}"
    if file.error:
        return [f"{name}: CANNOT BE READ: {file.error}"]
    gaps = f"{file.rows_missing:,} missing in {file.gaps_count:,} runs" if file.gaps_count else "no gaps"
    lines = [f"{name}, {file.rows_count:,} rows, {gaps}"]
    if file.rows_count:
        lines.append(f"  {time_text(file.first_ts_ns)} to {time_text(file.last_ts_ns)} UTC")
    lines.append(f"  from {', '.join(file.sources) or 'a source that the file does not name'}")
    if file.content_sha256:
        lines.append(f"  content sha256 {file.content_sha256}")
    return lines
