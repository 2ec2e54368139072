"""`tapewright report RUN`: the report of a run that is over, made by running it again; and the plots of a journal.

A run is what its config, data and code make of it, so it is run again and its hash compared with the stored one: what
the report shows is then what was run, or there is no report.
"""

from __future__ import annotations

import difflib
import json
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from adapters.replay_files import RUN_FILE, read_replay, write_code
from config.document import from_document
from engine.errors import DataError, InputMissingError, UsageError

if TYPE_CHECKING:
    from adapters.report.build import ReportInput
    from daemon.replaying import TapeRun
    from daemon.stages import Stages
    from engine.bars import Bars
    from engine.replay import RunResult

METRICS_FILE = "metrics.json"
# Of a tape's prints: the finest bars of which there are no more than these.
_BARS_MOST = 20_000
_TAPE_TIMEFRAMES = ("1s", "5s", "15s", "1m", "5m", "15m", "1h", "4h", "1d")


class Made(msgspec.Struct, frozen=True):
    """The files of a report, and what it was made of."""

    source: str
    folder: Path
    files: tuple[Path, ...]


def make_report(
    home: Path, target: Path, stages: Stages, *, kinds: Collection[str], timeframe: str | None = None,
    out: Path | None = None,
) -> Made:  # fmt: skip
    """Write the report of a run, by the name or path of its folder, or the plots of a journal.

    Raises InputMissingError where there is nothing of that name, DataError where the run comes out otherwise now.
    """
    from adapters.report.files import write_journal_plots, write_report

    if target.suffix == ".parquet":
        from adapters.report.journals import journal_report, results_of

        stages.stage(f"Reading {target}")
        report = journal_report(target, timeframe)
        folder = _made(out or (results_of(target) or target.with_suffix("")) / "journal")
        files = write_journal_plots(folder, report, kinds)
        return Made("journal", folder, tuple(files))
    if timeframe is not None:
        raise UsageError(
            "--timeframe is for journals: a report holds all bars, and joins them as they are looked at",
            remedy="Leave it out, or name a journal of data/journals.",
        )
    source, folder, given = _run_again(home, target, stages)
    folder = _made(out or folder)
    stages.stage("Writing the report...")
    return Made(source, folder, tuple(write_report(folder, given, kinds)))


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be made: {error.strerror or error}", remedy="Choose another folder with --out."
        ) from error
    return folder


def _run_again(home: Path, target: Path, stages: Stages) -> tuple[str, Path, ReportInput]:
    from daemon.session_verifying import session_folder

    for folder in (target, home / "results" / target):
        if (folder / RUN_FILE).is_file():
            return "replay", folder, _replayed(folder, stages)
        if (folder / METRICS_FILE).is_file():
            return "backtest", folder, _backtested(home, folder, stages)
    session = session_folder(home, target)
    if session is not None:
        return "session", session, _session(session, stages)
    known = [each.name for parent in ("results", "sessions") for each in sorted((home / parent).glob("*"))]
    near = difflib.get_close_matches(target.name, known, 1, 0.3)
    raise InputMissingError(
        f"There is no run {target} in {home / 'results'}, and no session of that name",
        remedy=f"Did you mean {near[0]}?" if near else f"Run one first: tapewright --home {home} backtest CONFIG",
    )


# --- backtests ---


def _backtested(home: Path, folder: Path, stages: Stages) -> ReportInput:
    from daemon.app import backtest, report_input, symbol_report_input

    run = _stored(folder / METRICS_FILE)
    config = from_document(run["config"], source=str(folder))
    config = msgspec.structs.replace(config, journal=msgspec.structs.replace(config.journal, enabled=False))
    with _scratch_home(home) as scratch:
        stages.stage(f"Running {folder.name} again")
        finished = backtest(scratch, config)
        _compare(folder.name, run["hash"], finished.facts.run_hash)
        given = report_input(finished)
        if "account" in run:  # the folder of one symbol of several
            given = next(symbol_report_input(each) for each in finished.symbols if each.facts.symbol == run["symbol"])
    return msgspec.structs.replace(given, run_id=folder.resolve().name)


def _stored(path: Path) -> dict[str, Any]:
    try:
        run: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["run"]
        run["config"], run["hash"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} does not tell a run: {type(error).__name__} {error}",
            remedy="Run the backtest again with --report.",
        ) from None
    return run


@contextmanager
def _scratch_home(home: Path) -> Iterator[Path]:
    """A home folder with the data and strategies of another, whose results are thrown away."""
    with tempfile.TemporaryDirectory(prefix="tapewright-") as name:
        for entry in home.iterdir():
            if entry.name != "results" and ".sqlite" not in entry.name:
                (Path(name) / entry.name).symlink_to(entry.resolve())
        yield Path(name)


def _compare(name: str, stored: str, found: str) -> None:
    if stored and stored != found:
        raise DataError(
            f"{name} was run with hash {stored}, and comes out as {found} now: its data, its strategies or Tapewright"
            " have changed since",
            remedy="Put them back, or run it anew with --report, and compare the two.",
        )


# --- runs on tapes ---


def _replayed(folder: Path, stages: Stages) -> ReportInput:
    from daemon.replaying import run_to_end
    from daemon.verifying import stored_run

    stored = read_replay(folder)
    run = stored_run(folder, stored)
    stages.stage(f"Replaying {run.reading.reader.folder} ({run.facts.records_count:,} records)")
    result = run_to_end(run, stages)
    _compare(folder.name, stored.hash, f"{result.hash:016x}")
    return _tape_input(folder.resolve().name, run, result)


def _session(folder: Path, stages: Stages) -> ReportInput:
    from daemon.replaying import run_to_end, tape_run
    from daemon.session.opening import read_earlier
    from strategies.registry import Registry

    earlier = read_earlier(folder / "tape")
    if earlier is None:
        raise InputMissingError(
            f"{folder / 'tape'} holds no session with its config",
            remedy="Name the folder of a session that `tapewright run` wrote.",
        )
    with tempfile.TemporaryDirectory(prefix="tapewright-") as code:
        for each in earlier.code:
            write_code(Path(code), each.id, [each])
        run = tape_run(earlier.reader, earlier.config, Registry(Path(code)))
        stages.stage(f"Replaying {folder / 'tape'} ({run.facts.records_count:,} records)")
        result = run_to_end(run, stages)
    return _tape_input(folder.resolve().name, run, result)


def _tape_input(run_id: str, run: TapeRun, result: RunResult) -> ReportInput:
    from adapters.report.build import ReportInput
    from daemon.replaying import facts_of
    from daemon.runs import figures_of

    bars = tuple(market.bars for market in run.markets)
    curve, trades, figures = figures_of(result, run.start_ns, run.config, bars)
    bars = bars or _bars_of(run)
    return ReportInput(
        run_id, bars[0].timeframe, facts_of(run, result).fill_model, result, bars, curve, trades, figures
    )  # fmt: skip


def _bars_of(run: TapeRun) -> tuple[Bars, ...]:
    """Bars of the prints of every market of a tape, only to be looked at."""
    from engine.bars import timeframe_ns
    from engine.tape_input import bars_of_tape

    assert run.tape is not None, "a run on records"
    span_ns = run.facts.last_ns - run.start_ns
    timeframe = next(
        (each for each in _TAPE_TIMEFRAMES if span_ns <= _BARS_MOST * timeframe_ns(each)), _TAPE_TIMEFRAMES[-1]
    )
    return tuple(bars_of_tape(run.tape, run.config.settings, [(i, timeframe) for i in range(len(run.symbols))]))
