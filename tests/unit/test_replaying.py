"""From a tape and a config to a run: markets, clocks, what fits together and what does not."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from adapters.tape import SESSION, TapeReader, TapeSource, TapeWriter
from config.loader import parse
from config.model import RunConfig
from daemon.replaying import TapeRun, run_to_end, tape_driver, tape_run
from daemon.tape_markets import Reading
from daemon.verifying import in_pieces
from engine.book_state import Latency, TapeMarket
from engine.errors import ConfigError, InputMissingError, TapewrightError
from engine.kernels import layout
from engine.replay import RunResult
from engine.tape_input import TapeInput
from engine.tape_replay import TapeReplay
from strategies.registry import Registry
from tests.tape_folders import CONFIG_TEXT, SYMBOLS, flow, flow_session, two_flows, write_flow
from tests.tapes import FLOW_OFFSET_NS, FLOW_START_NS

HOME = Path("/nowhere")


def config_of(text: str = CONFIG_TEXT, *overrides: str, strategy: str | None = None) -> RunConfig:
    return parse(text, "yaml", source="run.yaml", overrides=overrides, strategy=strategy, is_tape=True)


def run_of(folder: Path, config: RunConfig | None = None, home: Path = HOME, **options: Any) -> TapeRun:
    return tape_run(TapeReader(folder), config or config_of(), Registry(home), **options)


def same(result: RunResult, expected: RunResult) -> None:
    assert f"{result.hash:016x}" == f"{expected.hash:016x}"
    np.testing.assert_array_equal(result.outputs, expected.outputs)
    np.testing.assert_array_equal(result.samples, expected.samples)


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tape of two markets."""
    folder = tmp_path_factory.mktemp("tapes") / "two"
    write_flow(folder, two_flows(), markets=2)
    return folder


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tape of one market."""
    folder = tmp_path_factory.mktemp("tapes") / "one"
    write_flow(folder, flow())
    return folder


def test_a_run_is_that_of_the_engine_on_the_tapes_records(single: Path) -> None:
    run = run_of(single)
    assert run.tape is not None
    records = np.concatenate([batch.records.copy() for batch in TapeReader(single).batches()])
    records["ts_receive_ns"][records["ts_receive_ns"] == 0] = FLOW_START_NS
    direct = TapeInput(run.tape.instruments, (TapeMarket(True, FLOW_OFFSET_NS),), lambda: iter([records]))
    expected = TapeReplay(run.config.settings, direct, run.runs, "1s").run()
    assert expected.figures["fill_count"] > 10
    same(run_to_end(run), expected)


def test_documents_without_a_time_do_not_start_the_clock_at_1970(single: Path) -> None:
    assert int(next(iter(TapeReader(single).batches())).records["ts_receive_ns"][0]) == 0
    result = run_to_end(run_of(single))
    assert FLOW_START_NS <= int(result.samples[0, 0]) < FLOW_START_NS + 2 * 10**9


def test_all_instruments_are_there_and_the_chosen_ones_are_traded(tape: Path) -> None:
    assert run_of(tape).runs[0].markets == (0, 1)
    chosen = run_of(tape, config_of(CONFIG_TEXT, "symbols=[XRPUSDT]"))
    assert chosen.symbols == SYMBOLS
    assert chosen.runs[0].markets == (1,)
    own = run_of(tape, config_of(CONFIG_TEXT.replace("name: ema_cross,", "name: ema_cross, symbols: [XRPUSDT],")))
    assert own.runs[0].markets == (1,)


def test_each_strategy_has_bars_of_its_own_length(single: Path) -> None:
    text = "timeframe: 5s\nstrategies: [{name: ema_cross, timeframe: 1s}, {id: slow, name: ema_cross}]\n"
    replay = tape_driver(run_of(single, config_of(text))).replay
    fast, slow = (context for _, context, _ in replay.watchers())
    assert (fast.timeframe, slow.timeframe) == ("1s", "5s")
    assert len(fast.ts_ns) // 5 in range(len(slow.ts_ns) - 1, len(slow.ts_ns) + 2)
    replay.run()
    assert (fast.stop, slow.stop) == (len(fast.ts_ns), len(slow.ts_ns))


def test_the_config_overrides_what_the_records_do_not_fix(tape: Path) -> None:
    text = CONFIG_TEXT + (
        "instruments: {BTCUSDT: {minimum_notional: 5, maintenance_rate: 0.01, tick_size: 0.10, kind: spot}}\n"
    )
    run = run_of(tape, config_of(text))
    assert run.tape is not None
    bitcoin, ripple = run.tape.instruments
    assert (bitcoin.kind, bitcoin.minimum_notional, bitcoin.maintenance_rate) == ("spot", 5, Decimal("0.01"))
    assert (bitcoin.tick_size, ripple.kind, ripple.minimum_notional) == (Decimal("0.1"), "linear", 0)


PROBLEMS = [
    # override | said
    ("symbols=[DOGEUSDT]", "symbols: DOGEUSDT: not on the tape"),
    ("symbols=[BTCUSD]", "did you mean BTCUSDT?"),
    ("symbols=[BTCUSD]", "The tape holds BTCUSDT, XRPUSDT."),
    ("instruments={BTCUSD: {minimum_notional: 5}}", "instruments.BTCUSD: not on the tape"),
    ("strategy.symbols=[BTCUSD]", "strategies, ema_cross: BTCUSD: not on the tape"),
    ("instruments={BTCUSDT: {tick_size: 0.5}}", "instruments.BTCUSDT.tick_size: 0.5; the tape has 0.1"),
    ("instruments={BTCUSDT: {lot_size: 1}}", "instruments.BTCUSDT.lot_size: 1; the tape has 0.001"),
    ("strategy=ema_cross_signals", "--set book.fills=bars"),
]


@pytest.mark.parametrize(("override", "said"), PROBLEMS, ids=[said for _, said in PROBLEMS])
def test_what_does_not_fit_the_tape_is_told_with_a_remedy(tape: Path, override: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        run_of(tape, config_of(CONFIG_TEXT, override))
    assert said in str(caught.value)
    assert caught.value.remedy


BARS_PROBLEMS = [
    # config | said
    ("strategy: {name: grid}", "grid has no on_bar in Python and no signals"),
    ("strategies: [{name: ema_cross, timeframe: 1s}, {id: b, name: ema_cross}]", "want bars of 1s, 5s"),
    ("strategy: {name: ema_cross, timeframe: 1w}", "the tape's prints close no bar of 1w"),
]


@pytest.mark.parametrize(("line", "said"), BARS_PROBLEMS, ids=[said for _, said in BARS_PROBLEMS])
def test_what_does_not_fit_bars(single: Path, line: str, said: str) -> None:
    with pytest.raises(TapewrightError) as caught:
        run_of(single, config_of(f"timeframe: 5s\nbook: {{fills: bars}}\n{line}\n"))
    assert said in str(caught.value)
    assert caught.value.remedy


def test_the_offset_is_that_of_the_source_of_most_records(tmp_path: Path) -> None:
    records = two_flows(2_000)
    records["source"] = np.where(np.arange(len(records)) % 3 == 0, 1, 0)
    records["source"][records["instrument"] == 1] = 1
    own = flow_session(2)
    sources = (*own.sources, TapeSource("second", "made up", clock_offset_ns=77))
    write_flow(tmp_path / "tape", records, session=msgspec.structs.replace(own, sources=sources))
    run = run_of(tmp_path / "tape")
    assert run.tape is not None
    assert run.tape.markets == (TapeMarket(True, FLOW_OFFSET_NS), TapeMarket(True, 77))
    (note,) = [line for line in run.notes if "different offsets" in line]
    assert note.startswith("BTCUSDT: its records come over clocks with 2 different offsets")


def test_sources_are_numbered_by_their_session(tmp_path: Path) -> None:
    records = flow(3_000)
    third = len(records) // 3
    with TapeWriter(tmp_path / "tape", is_new=True, clock_ns=lambda: 0) as writer:
        writer.document(SESSION, flow_session(offset_ns=5))
        writer.append(records[:third])
        writer.document(SESSION, flow_session(offset_ns=9))
        writer.append(records[third:])
    run = run_of(tmp_path / "tape")
    assert run.tape is not None
    assert run.tape.markets[0].clock_offset_ns == 9


def test_a_market_without_a_book_is_none(tmp_path: Path) -> None:
    own = flow_session()
    instrument = msgspec.structs.replace(own.instruments[0], channels=("prints",))
    records = flow(1_000)
    records = records[records["kind"] == layout.PRINT]
    write_flow(tmp_path / "tape", records, session=msgspec.structs.replace(own, instruments=(instrument,)))
    run = run_of(tmp_path / "tape")
    assert run.tape is not None
    assert not run.tape.markets[0].has_book


def test_a_tape_of_documents_alone_is_refused(tmp_path: Path) -> None:
    write_flow(tmp_path / "tape", flow(10)[:0])
    with pytest.raises(InputMissingError, match="no record but documents"):
        run_of(tmp_path / "tape")


def test_a_reading_ends_where_it_should(single: Path) -> None:
    reader = TapeReader(single)
    facts = reader.facts()
    middle_ns = (facts.first_ns + facts.last_ns) // 2
    cases = [
        Reading(reader, facts.first_ns, facts.last_seq),
        Reading(reader, facts.first_ns, facts.last_seq // 2),
        Reading(reader, facts.first_ns, facts.last_seq, middle_ns),
        Reading(reader, facts.first_ns, facts.last_seq, None, middle_ns),
    ]
    counts = []
    for reading in cases:
        parts = [msgspec.structs.replace(part, records=part.records.copy()) for part in reading.parts()]
        counts.append(sum(len(part.records) for part in parts))
        for part in parts:
            assert part.next_seq == part.first_seq + len(part.records)
    assert counts[0] == facts.records_count
    assert counts[1] == facts.last_seq // 2
    assert counts[2] + counts[3] == facts.records_count
    assert 0 < counts[2] < counts[0]


def test_latencies_of_a_file_reach_the_engine(single: Path) -> None:
    rows = (Latency(FLOW_START_NS, 0, 0), Latency(FLOW_START_NS + 30 * 10**9, 900_000_000, 400_000_000))
    constant = run_to_end(run_of(single))
    changing = run_to_end(run_of(single, config_of(CONFIG_TEXT, "book={}"), latencies=rows))
    assert changing.hash != constant.hash
    same(run_to_end(run_of(single, config_of(CONFIG_TEXT, "book={}"), latencies=rows)), changing)


@pytest.mark.parametrize("name", ["ema_cross", "grid", "market_maker_compiled", "book_imbalance"])
def test_a_run_goes_on_from_any_snapshot_as_if_it_had_not_stopped(single: Path, name: str) -> None:
    config = config_of(CONFIG_TEXT, strategy=name) if name == "ema_cross" else config_of(
        f"timeframe: 1s\nstrategy: {name}\ninitial_cash: 1000000\nbook: {{order_latency_ms: 40}}\n"
    )  # fmt: skip
    run = run_of(single, config)
    whole = tape_driver(run)
    whole.start()
    snapshots = []
    for number, part in enumerate(in_pieces(run.reading.parts())):
        if number % 4 == 2:
            snapshots.append((part.first_seq, whole.snapshot()))
        whole.consume(part.first_seq, part.records)
    shown = [(context.stop, context.ind.values(), told) for _, context, told in whole.replay.watchers()]
    expected = whole.finish()
    for next_seq, snapshot in snapshots:
        resumed = tape_driver(run)
        resumed.resume(snapshot)
        for part in run.reading.parts(next_seq):
            resumed.consume(part.first_seq, part.records)
        assert [(context.stop, context.ind.values(), told) for _, context, told in resumed.replay.watchers()] == shown
        same(resumed.finish(), expected)
