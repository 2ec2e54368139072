"""Frames as Binance USD-M sends them, for the daemon's benchmarks: the real capture where it is there, else seeded."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import msgspec

from adapters.loopback.capture import CaptureMarket, CaptureSettings
from adapters.loopback.frames import PUBLIC_CHANNELS, Channel, Frame, wrapped
from adapters.loopback.market import Market
from adapters.loopback.seeded import SeededMarket, SeededSettings
from adapters.loopback.timeline import Timeline
from tests.bench.measuring import ROOT

CAPTURE = ROOT.parent / "shared" / "data" / "l2" / "binance_usdm_btcusdt_20240808.gz"
SYMBOL = "BTCUSDT"
CONFIG = """
mode: paper
symbols: [BTCUSDT]
timeframe: 1s
strategies:
  - {name: market_maker_compiled, params: {liquidity: 20.0, average: 30, warm_up: 10, horizon: 20}}
  - {name: ema_cross, params: {fast: 3, slow: 8}}
initial_cash: 1000000
leverage: 5
commission: {schedule: venue}
book: {order_latency_ms: 5, response_latency_ms: 5}
paper: {warmup: none}
logs: {format: json}
"""
"""Two strategies that trade often: one in machine code on books, one in Python on bars of a second."""
_SEED, _SEEDED_EVENTS_PER_SECOND = 1, 200.0
STREAMS = {
    Channel.depth: "btcusdt@depth@100ms", Channel.quote: "btcusdt@bookTicker", Channel.aggregate: "btcusdt@aggTrade",
    Channel.mark: "btcusdt@markPrice",
}  # fmt: skip


class TimedFrame(msgspec.Struct, frozen=True, gc=False):
    """A frame as it stands in a websocket message, and when it comes: ns since the market's opening."""

    at_ns: int
    is_public: bool
    text: str


def new_market() -> tuple[Market, str]:
    """The market, and what it is called."""
    if CAPTURE.exists():
        return CaptureMarket(CaptureSettings(CAPTURE)), CAPTURE.name
    settings = SeededSettings(_SEED, (SYMBOL,), events_per_second=_SEEDED_EVENTS_PER_SECOND, funding_seconds=28_800)
    return SeededMarket(settings), f"seeded market {_SEED}"


def payloads_of(market: Market) -> Iterator[tuple[int, Frame]]:
    """All that a market that has begun says on the streams of a session, each with its time, until its end."""
    while (at_ns := market.next_ns()) is not None:
        yield from ((at_ns, frame) for frame in market.step() if frame.channel in STREAMS)


def text_of(frame: Frame) -> str:
    """A frame as a combined stream says it."""
    return wrapped(STREAMS[frame.channel], frame).decode()


def frames_of(market: Market, start_ns: int, most: int) -> list[TimedFrame]:
    """The first frames of a market that opens at `start_ns` (UTC)."""
    timeline = Timeline(1.0)
    timeline.begin(start_ns)
    market.begin(timeline)
    return [
        TimedFrame(at_ns, frame.channel in PUBLIC_CHANNELS, text_of(frame))
        for at_ns, frame in itertools.islice(payloads_of(market), most)
    ]


def snapshot_of(market: Market, start_ns: int) -> bytes:
    """The book of a market that opens then, as REST answers."""
    timeline = Timeline(1.0)
    timeline.begin(start_ns)
    market.begin(timeline)
    depth = market.depth(SYMBOL, 1_000)
    times = {"lastUpdateId": depth.last_id, "E": depth.stamp_ms, "T": depth.stamp_ms}
    return msgspec.json.encode(times | {"bids": depth.bids, "asks": depth.asks})
