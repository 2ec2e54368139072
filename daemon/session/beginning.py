"""What every start of a session writes on the tape before the feed: what it is, what runs, and bars of before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adapters.feeds.venues import Venue
from adapters.rest_gate import RestGate, RestUnavailableError
from adapters.tape import CONFIG, SESSION, STRATEGY, Session
from adapters.tape.documents import ABORTED, HISTORY, REPLACEMENT, AbortedCall
from config.document import to_document
from config.model import RunConfig
from daemon.driving import replacement_of, strategy_files
from daemon.logs import get_logger
from daemon.session.sequencer import Sequencer
from daemon.session.warmup import Wanted, stored_history, venue_history
from engine.commands import Replace, words_of
from engine.errors import DataError, InputMissingError
from engine.isolation import Aborted
from engine.kernels import layout
from engine.replay import StrategyRun
from engine.tape_replay import TapeReplay


def write_documents(
    sequencer: Sequencer, session: Session, config: RunConfig, runs: Sequence[StrategyRun],
    downtime_from_ns: int | None, added: Sequence[Aborted],
) -> None:  # fmt: skip
    """The documents of a start; before them, after a restart, the time that nobody recorded."""
    if downtime_from_ns is not None:
        sequencer.gap(layout.GAP_DOWNTIME, downtime_from_ns)
    sequencer.document(SESSION, session)
    sequencer.document(CONFIG, to_document(config))
    for run in runs:
        for file in strategy_files(run):
            sequencer.document(STRATEGY, file)
    for call in added:
        sequencer.document(ABORTED, AbortedCall(call.strategy, call.call, (), call.reason, "quarantined"))


def write_replacements(sequencer: Sequencer, configured: Sequence[StrategyRun], runs: Sequence[StrategyRun]) -> None:
    """Parameters and code that are others than when the last process ended take effect now, as commands."""
    for index, (now, before) in enumerate(zip(configured, runs, strict=True)):
        if (now.params, now.strategy.source_hash) == (before.params, before.strategy.source_hash):
            continue
        sequencer.document(REPLACEMENT, replacement_of(index, now))
        sequencer.command(words_of(Replace(index, now)))
        get_logger("session").info("goes on with other code or parameters", strategy=now.name)


async def write_history(
    home: Path, config: RunConfig, gate: RestGate, venue: Venue, sequencer: Sequencer, session: Session,
    replay: TapeReplay, venue_ns: int,
) -> None:  # fmt: skip
    """Bars of before, for every market and length that a strategy has bars of.

    What a venue does not give, or gives wrongly, is said and left out: a restart must not hang on it.
    """
    log = get_logger("warmup")
    paper = config.daemon.paper
    if paper.warmup == "none" or paper.warmup_bars == 0:
        return
    for (market, timeframe), columns in replay.bars.columns.items():
        runs = [run for run in replay.runs if market in run.markets and run.strategy.on_bar is not None]
        if not runs:
            continue
        wanted = Wanted(market, session.instruments[market], timeframe, paper.warmup_bars, columns.last_ns)
        try:
            if paper.warmup == "rest":
                history = await venue_history(gate, venue, config.daemon.feed.rest, wanted, venue_ns)
            else:
                history = stored_history(home, wanted, venue_ns)
        except (InputMissingError, RestUnavailableError, DataError) as error:
            if isinstance(error, DataError) and paper.warmup == "files":
                raise  # a file is there to be corrected
            log.warning("no bars of before", symbol=wanted.instrument.symbol, timeframe=timeframe, why=error.message)
            continue
        sequencer.document(HISTORY, history)
        log.info(
            "warmed up", symbol=wanted.instrument.symbol, timeframe=timeframe, bars=len(history.rows),
            source=history.source,
        )  # fmt: skip
