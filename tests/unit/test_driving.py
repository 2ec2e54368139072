"""A tape through its driver: what documents and commands do where they stand, and what a snapshot keeps of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest

from adapters.tape import SESSION, StrategyFile, TapeReader, TapeWriter
from adapters.tape.codec import Records
from adapters.tape.documents import ABORTED, HISTORY, REPLACEMENT, AbortedCall, History, Replacement, to_pieces
from config.loader import parse
from config.model import RunConfig
from daemon.driving import Loader, TapeDriver, aborted_calls, digest_of, replacement_of, strategy_files
from daemon.runs import strategy_runs
from engine.commands import EVERY, REPLACE, START, STOP, Flatten, Words, words_of
from engine.errors import DataError, StrategyError
from engine.isolation import Aborted, Policy
from engine.kernels import layout
from engine.replay import RunResult, StrategyRun
from engine.tape_replay import TapeReplay
from strategies.loading import load_strategy
from strategies.registry import Registry
from tests.replay.tape_runs import assert_same, flow, settings_of, tape_of
from tests.tapes import FLOW_START_NS, a_session

HOME = Path("/nowhere")
CONFIG = """
mode: paper
timeframe: 1s
symbols: [BTCUSDT]
strategies: [{strategies}]
initial_cash: 1000000
"""
EMA = "{name: ema_cross, params: {fast: 2, slow: 5}}"
OTHER = """
def schema():
    return {"id": "other", "name": "Other", "inputs": {"size": {"type": "float", "default": 0.5}}}


def on_init(ctx):
    ctx.state["begun"] = ctx.state.get("begun", 0) + 1


def on_print(ctx, trade):
    if ctx.position.size == 0:
        ctx.buy(ctx.params["size"])


def on_timer(ctx):
    pass
"""


def config_of(strategies: str = EMA) -> RunConfig:
    return parse(CONFIG.replace("{strategies}", strategies), "yaml", source="run.yaml")


def made(*, obeys: bool = True) -> TapeDriver:
    """A driver whose loader has only what documents carry, as in a replay."""
    config = config_of()
    runs = strategy_runs(Registry(HOME), config, ("BTCUSDT",))
    policy = Policy(is_isolated=True)
    replay = TapeReplay(settings_of(), tape_of(flow(4_000, 5)), runs, "1s", is_growing=True, policy=policy)
    return TapeDriver(replay, Loader(config, runs), obeys=obeys)


def driven(records: Records, cuts: Sequence[int] = (), *, obeys: bool = True) -> tuple[TapeDriver, RunResult]:
    driver = made(obeys=obeys)
    driver.start()
    for start, stop in itertools.pairwise(sorted({0, len(records), *cuts})):
        driver.consume(start + 1, records[start:stop])
    return driver, driver.finish()


def command(words: Words, at_ns: int) -> Records:
    record = np.zeros(1, dtype=layout.RECORD)
    record["kind"], record["instrument"], record["ts_receive_ns"] = layout.COMMAND, layout.ALL_INSTRUMENTS, at_ns
    for name, word in zip("abcde", words, strict=True):
        record[name] = word
    return record


def inserted(records: Records, place: int, *parts: Records) -> Records:
    """Records with others in between, at the time of what is before them; they stand between messages."""
    while not (records["kind"][place - 1] != layout.LEVEL or records["flags"][place - 1] & layout.LAST):
        place += 1
    before_ns = int(records["ts_receive_ns"][place - 1])
    copies = [part.copy() for part in parts]
    for part in copies:
        part["ts_receive_ns"] = before_ns
    return np.concatenate([records[:place], *copies, records[place:]])


def other_code(folder: Path) -> Replacement:
    path = folder / "ema_cross.py"
    path.write_text(OTHER, encoding="utf-8")
    return replacement_of(0, StrategyRun("ema_cross", load_strategy(path), {"size": 0.25}, (0,)))


def replaced_records(replacement: Replacement, place: int = 1_500) -> Records:
    """A flow in which a strategy goes on with other parameters or code."""
    return inserted(
        flow(4_000, 5), place, to_pieces(REPLACEMENT, replacement, 0), command((REPLACE, 0, EVERY, 0, 0), 0)
    )  # fmt: skip


# ── Commands and documents ──────────────────────────────────────────────────────────────────────────────────


def test_a_command_acts_where_it_stands() -> None:
    records = inserted(flow(4_000, 5), 2_000, command((STOP, 0, EVERY, 0, 0), 0))
    driver, result = driven(records)
    assert driver.replay.fates == ("stopped",)
    _, before = driven(records[:2_000])
    assert result.figures["order_count"] == before.figures["order_count"] > 3


def test_without_obedience_only_the_market_counts(tmp_path: Path) -> None:
    plain = flow(4_000, 5)
    records = inserted(plain, 2_000, to_pieces(REPLACEMENT, other_code(tmp_path), 0), command((STOP, 0, -1, 0, 0), 0))
    driver, result = driven(records, obeys=False)
    assert driver.replay.fates == ("running",)
    _, expected = driven(plain, obeys=False)
    assert [fill["price_ticks"] for fill in _fills(result)] == [fill["price_ticks"] for fill in _fills(expected)]


def _fills(result: RunResult) -> list[dict[str, int]]:
    kinds = result.outputs[:, 2] & 0xFF
    rows = result.outputs[kinds == layout.FILL_OUTPUT].reshape(-1).view(layout.FILL_VIEW)
    return [{name: int(row[name]) for name in ("price_ticks", "lots")} for row in rows]


def test_codes_of_a_later_version_and_of_strange_strategies_do_nothing() -> None:
    plain = flow(4_000, 5)
    parts = [command(words, 0) for words in ((77, 0, 0, 0, 0), (STOP, 9, -1, 0, 0), (START, -4, -1, 0, 0))]
    records = inserted(plain, 2_000, *parts)
    driver, result = driven(records)
    assert driver.replay.fates == ("running",)
    assert _fills(result) == _fills(driven(plain)[1])


def test_other_code_comes_from_the_tape_alone(tmp_path: Path) -> None:
    replacement = other_code(tmp_path)
    (tmp_path / "ema_cross.py").unlink()
    driver, result = driven(replaced_records(replacement))
    (run,) = driver.replay.runs
    assert (run.name, run.params, run.strategy.schema.id) == ("ema_cross", {"size": 0.25}, "other")
    assert driver.replay._states[0]["begun"] == 1
    assert _fills(result)[-1]["lots"] == 250


def test_a_replacement_whose_document_is_missing_or_of_another_strategy_does_nothing(tmp_path: Path) -> None:
    plain, word = flow(4_000, 5), command((REPLACE, 0, EVERY, 0, 0), 0)
    other = msgspec.structs.replace(other_code(tmp_path), strategy=1)
    broken = to_pieces(REPLACEMENT, other_code(tmp_path), 0)[:-1]
    for parts in ((word,), (to_pieces(REPLACEMENT, other, 0), word), (broken, word)):
        driver, result = driven(inserted(plain, 1_500, *parts))
        assert driver.replay.runs[0].strategy.schema.id == "ema_cross"
        assert _fills(result) == _fills(driven(plain)[1])


def test_a_document_counts_for_one_command() -> None:
    """A second command of the same code needs its own document."""
    config = config_of()
    (run,) = strategy_runs(Registry(HOME), config, ("BTCUSDT",))
    faster = msgspec.structs.replace(run, params={**run.params, "fast": 1})
    word = command((REPLACE, 0, EVERY, 0, 0), 0)
    records = inserted(flow(4_000, 5), 1_500, to_pieces(REPLACEMENT, replacement_of(0, faster), 0), word)
    twice = inserted(records, 3_000, word)
    assert driven(records)[0].replay.runs[0].params["fast"] == 1
    driver, result = driven(twice)
    assert driver.replay.runs[0].params["fast"] == 1
    assert _fills(result) == _fills(driven(records)[1])


def test_bars_of_before_are_there_from_the_first_live_bar_on() -> None:
    first_ns = int(flow(4_000, 5)["ts_receive_ns"][0]) // 10**9 * 10**9
    rows = tuple((first_ns - (60 - number) * 10**9, 600_000, 600_010, 599_990, 600_000 + number, 7)
                 for number in range(60))  # fmt: skip
    history = History(0, "1s", rows, None, "made up")
    records = inserted(flow(4_000, 5), 1, to_pieces(HISTORY, history, 0))
    driver, result = driven(records)
    columns = driver.replay.bars.columns[0, "1s"]
    assert columns.bars().ts_ns[:60].tolist() == [each[0] for each in rows]
    plain, without = driven(flow(4_000, 5))
    assert len(columns) == 60 + len(plain.replay.bars.columns[0, "1s"])
    assert result.hash != without.hash


def test_history_of_what_nobody_has_bars_of_is_passed_over() -> None:
    records = inserted(flow(4_000, 5), 1, to_pieces(HISTORY, History(0, "5m", ((1, 1, 1, 1, 1, 1),)), 0))
    driver, _ = driven(records)
    assert set(driver.replay.bars.columns) == {(0, "1s")}


# ── Cuts and snapshots ──────────────────────────────────────────────────────────────────────────────────────


def test_batches_may_end_inside_a_document(tmp_path: Path) -> None:
    records = replaced_records(other_code(tmp_path))
    _, expected = driven(records)
    places = np.flatnonzero(records["kind"] == layout.DOCUMENT)
    for cuts in ([int(places[3])], places.tolist(), [int(places[-1]) + 1], range(0, len(records), 7)):
        assert_same(driven(records, cuts)[1], expected)


def test_a_run_goes_on_from_a_snapshot_at_any_place_of_a_replacement(tmp_path: Path) -> None:
    """Before it, inside its document, between document and command, and after it."""
    records = replaced_records(other_code(tmp_path))
    _, expected = driven(records)
    (*_, last) = np.flatnonzero(records["kind"] == layout.DOCUMENT)
    for place in (100, int(last) - 4, int(last), int(last) + 1, int(last) + 2, int(last) + 900):
        first = made()
        first.start()
        first.consume(1, records[:place])
        second = made()
        second.resume(first.snapshot())
        second.consume(place + 1, records[place:])
        assert_same(second.finish(), expected)
        assert second.replay.runs[0].strategy.schema.id == "other"


def test_what_is_no_snapshot_of_this_version_is_refused() -> None:
    with pytest.raises(DataError, match="another version"):
        made().resume(msgspec.msgpack.encode({"run": b""}))


# ── The loader ──────────────────────────────────────────────────────────────────────────────────────────────


def test_what_this_process_has_loaded_is_taken_as_it_is(tmp_path: Path) -> None:
    config = config_of()
    runs = strategy_runs(Registry(HOME), config, ("BTCUSDT",))
    loader, replacement = Loader(config, runs), other_code(tmp_path)
    ready = msgspec.structs.replace(runs[0], name="ready")
    loader.ready[digest_of(replacement)] = ready
    assert loader(replacement) is ready
    assert loader(msgspec.structs.replace(replacement, params={"size": 0.3})) is not ready


def test_an_entry_and_an_exit_are_joined_again() -> None:
    config = config_of("{entry: {name: ema_cross}, exit: {name: fixed_tp_sl}}")
    (run,) = strategy_runs(Registry(HOME), config, ("BTCUSDT",))
    found = Loader(config, [run])(replacement_of(0, run))
    assert found.params == run.params
    assert found.strategy.source_hash == run.strategy.source_hash
    assert [file.path.rsplit("/", 2)[1] for file in strategy_files(found)] == ["entry", "exit"]


def test_code_that_does_not_load_is_a_typed_error(tmp_path: Path) -> None:
    config = config_of()
    runs = strategy_runs(Registry(HOME), config, ("BTCUSDT",))
    file = StrategyFile("ema_cross", "custom/ema_cross.py", "", "def schema(:\n")
    with pytest.raises(StrategyError, match=r"ema_cross\.py"):
        Loader(config, runs)(Replacement(0, {}, (file,)))


def test_aborted_calls_are_found_wherever_they_stand(tmp_path: Path) -> None:
    calls = (
        AbortedCall(0, 7, (b"\x01" * 8,), "took longer than 200 ms", state=b"\x80"),
        AbortedCall(1, 2, (), "the process died in it 2 times", "quarantined"),
    )
    with TapeWriter(tmp_path / "tape", is_new=True) as writer:
        writer.document(SESSION, a_session())
        writer.document(ABORTED, calls[0], FLOW_START_NS)
        writer.append(flow(500, 1))
        writer.document(ABORTED, calls[1])
    assert aborted_calls(TapeReader(tmp_path / "tape")) == (
        Aborted(0, 7, (b"\x01" * 8,), "took longer than 200 ms", "faulted", b"\x80"),
        Aborted(1, 2, (), "the process died in it 2 times", "quarantined"),
    )


def test_flatten_closes_what_is_held_there(tmp_path: Path) -> None:
    records = inserted(
        replaced_records(other_code(tmp_path)), 3_000, command((STOP, 0, EVERY, 0, 0), 0),
        command(words_of(Flatten()), 0),
    )  # fmt: skip
    driver, _ = driven(records)
    assert driver.replay.engine.state.ledgers["lots"].tolist() == [0]
    assert driven(records[:3_000])[0].replay.engine.state.ledgers["lots"].tolist() > [0]
