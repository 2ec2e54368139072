"""Higher timeframes on a tape: bars known ahead and bars that grow show a strategy the same."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from engine.book_state import TapeMarket
from engine.instruments import Instrument
from engine.replay import RunResult, StrategyRun
from engine.settings import BookExecution, RunSettings
from engine.tape_input import TapeInput
from engine.tape_replay import TapeReplay
from strategies.registry import Registry
from tests.tapes import FLOW_OFFSET_NS, order_flow

TEXT = """
def schema():
    return {"id": "frames", "name": "Frames"}


def on_bar(ctx, i):
    big = ctx.tf("5s")
    ema = ctx.ind["ema_3_5s"]
    assert len(ema) == i + 1 and len(big.close) == big.index + 1
    seen = big.close.tolist(), big.volume.tolist(), big.ind.sma(big.close, 2).tolist(), ema[-3:].tolist()
    ctx.logger.info(f"{i} {big.is_new} {seen}")
    if big.is_new and not ctx.orders:
        ctx.flatten() if ctx.position.size else ctx.buy(0.01)
"""


def run(strategy: StrategyRun, *, is_growing: bool) -> RunResult:
    instrument = Instrument("BTCUSDT", Decimal("0.1"), Decimal("0.001"))
    market = TapeMarket(has_book=True, clock_offset_ns=FLOW_OFFSET_NS)
    tape = TapeInput((instrument,), (market,), lambda: [order_flow(4_000, 5)])
    settings = RunSettings(initial_cash=Decimal(100_000), book=BookExecution())
    return TapeReplay(settings, tape, [strategy], "1s", is_growing=is_growing).run()


def test_bars_known_ahead_and_bars_that_grow_show_the_same(tmp_path: Path) -> None:
    path = tmp_path / "strategies" / "custom" / "frames.py"
    path.parent.mkdir(parents=True)
    path.write_text(TEXT)
    strategy, params = Registry(tmp_path).build("frames")
    ahead, growing = (run(StrategyRun("frames", strategy, params, (0,)), is_growing=each) for each in (False, True))
    assert [line.message for line in ahead.log] == [line.message for line in growing.log]
    assert any("True" in line.message for line in ahead.log)
    assert ahead.hash == growing.hash
    assert ahead.figures["fill_count"] > 2
