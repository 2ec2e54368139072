"""Frames as Binance USD-M sends them, for the daemon's benchmarks: of the real capture where it is there, else seeded."""

from __future__ import annotations

from pathlib import Path

import msgspec

from adapters.captures.messages import BookText
from adapters.loopback.capture import CaptureMarket, CaptureSettings
from adapters.loopback.frames import PUBLIC_CHANNELS, Channel, wrapped
from adapters.loopback.market import DepthSnapshot, Market
from adapters.loopback.seeded import SeededMarket, SeededSettings
from adapters.loopback.timeline import Timeline
from tests.bench.measuring import ROOT

CAPTURE = ROOT.parent / "shared" / "data" / "l2" / "binance_usdm_btcusdt_20240808.gz"
SYMBOL = "BTCUSDT"
_STREAMS = {
    Channel.depth: "btcusdt@depth@100ms", Channel.quote: "btcusdt@bookTicker", Channel.aggregate: "btcusdt@aggTrade",
    Channel.mark: "btcusdt@markPrice",
}  # fmt: skip


class TimedFrame(msgspec.Struct, frozen=True, gc=False):
    """A frame as it stands in a websocket message, and when it comes: ns since the market's opening."""

    at_ns: int
    is_public: bool
    channel: Channel
    text: str


class Market_(msgspec.Struct, frozen=True):  # noqa: N801
    pass
