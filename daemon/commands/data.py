"""`tapewright data`: bring market data in, make some up, and check what is stored.

The home folder comes in `Context.obj.home`. Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daemon.commands import data_download
from engine.errors import EXIT_FINDINGS, InputMissingError, TapewrightError, UsageError

if TYPE_CHECKING:
    from adapters.bar_catalog import BarSummary
    from adapters.bar_import import BarImport
    from adapters.bar_quality import Quality
    from adapters.funding_files import FundingImport

app = typer.Typer(help="Bring market data in, make some up, check it.", no_args_is_help=True)


app.command("download")(data_download.download)
app.command("list")(data_download.list_)


class Kind(StrEnum):
    """What a file holds."""

    bars = "bars"
    funding = "funding"
    mark = "mark"


Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
NoVolume = Annotated[bool, typer.Option("--no-volume", help="Accept a file without volume; zeros stand for it.")]


@app.command("import")
def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="CSV (also .gz, .zip), Parquet or Feather.")],
    symbol: Annotated[str, typer.Option(help="Such as BTCUSDT.")],
    timeframe: Annotated[str, typer.Option(help="Such as 1m, 15m, 4h, 1d; for bars.")] = "",
    kind: Annotated[Kind, typer.Option(help="What the file holds.")] = Kind.bars,
    repair: Annotated[bool, typer.Option("--repair", help="Repair what can be, and record it.")] = False,
    no_volume: NoVolume = False,
    shift_seconds: Annotated[int, typer.Option(help="Add to every time, for files not in UTC or by close.")] = 0,
    as_json: Json = False,
) -> None:
    """Check a file and store it under data/; a file that is refused changes nothing."""
    home: Path = context.obj.home
    if kind is not Kind.bars:
        _import_funding(home, file, symbol, kind, as_json=as_json)
        return
    if not timeframe:
        raise UsageError("The timeframe of the bars is not given", remedy="Give it, such as --timeframe 1m.")
    from adapters.bar_import import import_bars, refusal

    report = import_bars(home, file, symbol, timeframe, repair=repair, no_volume=no_volume, shift_seconds=shift_seconds)
    if as_json:
        _print_json(report)
    if report.refused:
        raise refusal(report)
    if not as_json:
        _print_lines(_import_lines(report))


@app.command()
def synth(
    context: typer.Context,
    symbol: Annotated[str, typer.Option(help="Name of the market.")] = "SYNTH",
    timeframe: Annotated[str, typer.Option(help="Such as 1m, 15m, 4h, 1d.")] = "1m",
    days: Annotated[int, typer.Option(help="How many days, from 2024-01-01 on.")] = 365,
    seed: Annotated[int, typer.Option(help="The same seed gives the same market, on every machine.")] = 1,
    replace: Annotated[bool, typer.Option("--replace", help="Replace stored bars.")] = False,
    as_json: Json = False,
) -> None:
    """Make up a market, so that no download is needed."""
    from adapters.bar_files import content_hash, path_of, shown, stored_hash, write_bars
    from adapters.synthetic_market import synthesize
    from engine.bars import NS_PER_DAY, timeframe_ns

    path = path_of(context.obj.home, symbol, timeframe)
    bars = synthesize(symbol, timeframe, days * NS_PER_DAY // timeframe_ns(timeframe), seed)
    content_sha256 = content_hash(bars)
    if path.exists() and not replace and stored_hash(path) != content_sha256:
        raise UsageError(
            f"{shown(path)} is stored already, with other bars",
            remedy="Give another --symbol, or --replace to lose the stored bars.",
        )
    write_bars(path, bars, (f"made up, seed {seed}",))
    if as_json:
        _print_json(
            {
                "stored": shown(path),
                "symbol": symbol,
                "timeframe": timeframe,
                "rows_count": len(bars),
                "seed": seed,
                "content_sha256": content_sha256,
            }
        )
        return
    _print_lines([f"Made {len(bars):,} bars of {symbol} {timeframe}, seed {seed}: {shown(path)}"])


@app.command()
def check(
    context: typer.Context,
    path: Annotated[Path | None, typer.Argument(help="A file; all stored files where none is given.")] = None,
    symbol: Annotated[str, typer.Option(help="Of stored bars; of PATH where its name does not tell.")] = "",
    timeframe: Annotated[str, typer.Option(help="Of stored bars; of PATH where its name does not tell.")] = "",
    no_volume: NoVolume = False,
    as_json: Json = False,
) -> None:
    """Check bars: span, gaps, findings, content hash. Ends with 1 where something was found."""
    from adapters.bar_catalog import summarize

    named = path is not None or bool(symbol and timeframe)
    summaries: list[BarSummary] = []
    unreadable: list[tuple[Path, TapewrightError]] = []
    for chosen in [path] if path is not None else _chosen_paths(context.obj.home, symbol, timeframe):
        try:
            summaries.append(summarize(chosen, symbol, timeframe, no_volume=no_volume))
        except TapewrightError as error:
            if named:
                raise
            unreadable.append((chosen, error))
    found = bool(unreadable) or not all(summary.sound for summary in summaries)
    if as_json:
        errors = [{"path": str(at), "error": error.message, "remedy": error.remedy} for at, error in unreadable]
        _print_json({"sound": not found, "files": summaries, "unreadable": errors})
    else:
        for summary in summaries:
            _print_lines(_summary_lines(summary))
        for _, trouble in unreadable:
            _print_lines([str(trouble)])
    if found:
        raise typer.Exit(EXIT_FINDINGS)


def _chosen_paths(home: Path, symbol: str, timeframe: str) -> list[Path]:
    from adapters.bar_catalog import stored_paths
    from adapters.bar_files import missing, name_of, path_of

    if symbol and timeframe:
        path = path_of(home, symbol, timeframe)
        if not path.exists():
            raise missing(path, symbol, timeframe)
        return [path]
    paths = []
    for path in stored_paths(home):
        named = name_of(path)
        if named is not None and symbol in ("", named[0]) and timeframe in ("", named[1]):
            paths.append(path)
    if not paths:
        raise InputMissingError(
            "No bars are stored under data/raw" + (f" for {symbol or timeframe}" if symbol or timeframe else ""),
            remedy="Run: tapewright data import FILE --symbol BTCUSDT --timeframe 1m (or: data synth)",
        )
    return paths


def _import_funding(home: Path, file: Path, symbol: str, kind: Kind, *, as_json: bool) -> None:
    from adapters.funding_files import import_funding

    report = import_funding(home, file, symbol, "funding" if kind is Kind.funding else "mark")
    if as_json:
        _print_json(report)
    else:
        _print_lines(_funding_lines(report))


def _funding_lines(report: FundingImport) -> list[str]:
    from adapters.bar_quality import time_text

    span = f"{time_text(report.first_ts_ns)} to {time_text(report.last_ts_ns)} UTC"
    lines = [
        f"Stored {report.rows_count:,} {report.kind} rows of {report.symbol}: {report.stored}",
        f"  {span}",
    ]
    lines.append(f"  times read as {report.time_unit}")
    if report.duplicates_dropped:
        lines.append(f"  {report.duplicates_dropped} equal repeats dropped")
    return lines


def _import_lines(report: BarImport) -> list[str]:
    stored = f"{report.stored}{' (replaced)' if report.replaced else ''}"
    lines = [f"Stored {report.quality.rows_count:,} bars of {report.symbol} {report.timeframe}: {stored}"]
    lines.append(f"  times read as {report.time_unit}")
    lines.extend(f"  {note}" for note in report.notes)
    lines.extend(_quality_lines(report.quality))
    if report.repairs:
        lines.append(f"  {len(report.repairs)} repairs, each one recorded in {report.repairs_file}")
    return lines


def _summary_lines(summary: BarSummary) -> list[str]:
    from adapters.bar_import import line_of

    quality = summary.quality
    verdict = "sound" if summary.sound else "NOT SOUND"
    lines = [f"{summary.path}: {quality.rows_count:,} bars of {summary.timeframe}, {verdict}"]
    lines.extend(_quality_lines(quality))
    if summary.tick_size:
        lines.append(f"  tick {summary.tick_size}, lot {summary.lot_size} (from the decimals)")
    lines.append(f"  content sha256 {summary.content_sha256}")
    if summary.hash_differs:
        lines.append("  the content is not what was stored: the file has changed since. Import the source again.")
    lines.extend(f"  {count:,} {kind}" for kind, count in quality.counts.items())
    lines.extend(f"    {line_of(finding)}" for finding in quality.findings)
    return lines


def _quality_lines(quality: Quality) -> list[str]:
    from adapters.bar_quality import time_text

    gaps = quality.gaps
    lines = [f"  {time_text(quality.first_ts_ns)} to {time_text(quality.last_ts_ns)} UTC"]
    if gaps.bars_missing:
        listed = ", ".join(f"{time_text(gap.first_ts_ns)} ({gap.bars_count})" for gap in gaps.first)
        more = ", ..." if gaps.runs_count > len(gaps.first) else ""
        lines.append(
            f"  {gaps.bars_missing:,} bars missing in {gaps.runs_count:,} runs,"
            f" longest {gaps.longest_bars:,}: {listed}{more}"
        )
    if quality.zero_volume_bars:
        lines.append(f"  {quality.zero_volume_bars:,} bars with volume 0")
    return lines


def _print_lines(lines: list[str]) -> None:
    from rich.console import Console

    console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
    for line in lines:
        console.print(line)


def _print_json(content: Any) -> None:
    import msgspec

    typer.echo(msgspec.json.encode(content).decode())
