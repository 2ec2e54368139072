"""cryptofeed's own recordings of real exchanges, imported; held against plain JSON and a naive book."""

from __future__ import annotations

import gzip
import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from adapters.captures.importing import TapeImport
from adapters.captures.report import ImportReport
from adapters.feeds.capture import is_ws_capture, open_recording
from adapters.feeds.exchange import Exchange, read_listing
from adapters.feeds.normaliser import Loss
from adapters.feeds.playback import Playback, RecordedConnection, complete
from adapters.feeds.venues import VENUES
from adapters.feeds.ws_import import open_ws_capture
from engine.errors import DataError
from engine.kernels import layout
from tests.feeds import BYBIT_LIST, BYBIT_SPOT_LIST, COINBASE_LIST, list_bodies

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "ws"
PLAYABLE = ("BINANCE_FUTURES", "BITGET", "BITMEX", "DERIBIT", "OKX")
Tapes = dict[str, tuple[TapeImport, NDArray[Any]]]
Books = dict[int, tuple[dict[int, int], dict[int, int]]]
Tops = dict[int, list[tuple[NDArray[Any], tuple[int, int, int, int]]]]

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not DATA.exists(), reason="shared/data is not here"),
]


def _files(exchange: str) -> list[Path]:
    return sorted(DATA.glob(f"{exchange}.*"))


@pytest.fixture(scope="module")
def tapes() -> Tapes:
    """Each playable recording, imported once."""
    found = {}
    for exchange in PLAYABLE:
        opened = open_ws_capture(_files(exchange))
        found[exchange] = (opened, np.concatenate(list(opened.batches)))
    return found


def _frames(exchange: str) -> list[Any]:
    """Every message of a recording's websockets, by plain JSON."""
    lines = (
        line
        for path in _files(exchange)
        if ".ws." in path.name
        for line in gzip.decompress(path.read_bytes()).decode().splitlines()
    )
    return [json.loads(line.partition(": ")[2]) for line in lines if line[:1].isdigit()]


def _follow(records: NDArray[Any]) -> Iterator[tuple[Any, Books]]:
    """A naive book by dictionaries: each record that ends a message, with the books as they are then."""
    books: Books = defaultdict(lambda: ({}, {}))
    in_snapshot: set[int] = set()
    for record in records[records["kind"] == layout.LEVEL]:
        instrument, flags = int(record["instrument"]), int(record["flags"])
        bids, asks = books[instrument]
        if flags & layout.SNAPSHOT and instrument not in in_snapshot:
            in_snapshot.add(instrument)
            bids.clear()
            asks.clear()
        side = asks if flags & layout.SELL else bids
        if record["b"]:
            side[int(record["a"])] = int(record["b"])
        else:
            side.pop(int(record["a"]), None)
        if flags & layout.LAST:
            in_snapshot.discard(instrument)
            yield record, books


def _books(records: NDArray[Any]) -> Books:
    """The books as they stand at the end."""
    *_, (_, books) = _follow(records)
    return books


def _tops(records: NDArray[Any]) -> Tops:
    """After each message of an instrument: best bid and ask with their sizes."""
    tops: Tops = defaultdict(list)
    for record, books in _follow(records):
        bids, asks = books[int(record["instrument"])]
        if bids and asks:
            bid, ask = max(bids), min(asks)
            tops[int(record["instrument"])].append((record, (bid, bids[bid], ask, asks[ask])))
    return tops


@pytest.mark.parametrize(
    ("exchange", "levels", "prints", "quotes", "interests"),
    [
        ("BINANCE_FUTURES", 11857, 91, 613, 0),
        ("BITGET", 65309, 55, 0, 0),
        ("BITMEX", 14333, 17, 436, 0),
        ("DERIBIT", 150, 0, 76, 10),
        ("OKX", 7311, 72, 28, 0),
    ],
)
def test_what_a_recording_holds(
    tapes: Tapes, exchange: str, levels: int, prints: int, quotes: int, interests: int
) -> None:
    opened, records = tapes[exchange]
    kinds = Counter(records["kind"].tolist())
    assert (kinds[layout.LEVEL], kinds[layout.PRINT], kinds[layout.QUOTE]) == (levels, prints, quotes)
    assert kinds[layout.INTEREST] == interests
    assert kinds.total() == levels + prints + quotes + interests  # no gaps
    summary = opened.report.summary()
    assert sum(summary.counts.values()) == len(records)
    assert not summary.unknown_streams
    assert not summary.trade_ids_skipped
    assert (np.diff(records["ts_receive_ns"]) >= 0).all()


@pytest.mark.parametrize("exchange", PLAYABLE)
def test_no_book_is_crossed_after_a_message(tapes: Tapes, exchange: str) -> None:
    opened, records = tapes[exchange]
    tops = _tops(records)
    assert all(top[0] < top[2] for each in tops.values() for _, top in each)
    with_book = {index for index, each in enumerate(opened.session.instruments) if "book" in each.channels}
    assert set(np.unique(records["instrument"][records["kind"] == layout.LEVEL]).tolist()) == with_book


def test_binance_quotes_equal_the_book_at_the_same_update_id(
    tapes: Tapes,
) -> None:
    _, records = tapes["BINANCE_FUTURES"]
    by_id = {(instrument, int(record["c"])): top for instrument, tops in _tops(records).items() for record, top in tops}
    checked = 0
    for quote in records[records["kind"] == layout.QUOTE]:
        top = by_id.get((int(quote["instrument"]), int(quote["e"])))
        if top is not None:
            assert tuple(int(quote[word]) for word in "abcd") == top
            checked += 1
    assert checked == 50


def test_deribit_quotes_equal_the_book_at_the_same_time(tapes: Tapes) -> None:
    _, records = tapes["DERIBIT"]
    by_time = {
        (instrument, int(record["ts_exchange_ns"])): top
        for instrument, tops in _tops(records).items()
        for record, top in tops
    }
    checked = 0
    for quote in records[records["kind"] == layout.QUOTE]:
        top = by_time.get((int(quote["instrument"]), int(quote["ts_exchange_ns"])))
        if top is not None:
            assert tuple(int(quote[word]) for word in "abcd") == top
            checked += 1
    assert checked == 35


def test_every_quote_of_bitmex_was_once_the_best_of_its_book(
    tapes: Tapes,
) -> None:
    # Its books have no times and no ids: all that can be said is that each quote stood in the book at some message.
    _, records = tapes["BITMEX"]
    seen = {(instrument, top) for instrument, tops in _tops(records).items() for _, top in tops}
    quotes = records[records["kind"] == layout.QUOTE]
    assert all((int(each["instrument"]), tuple(int(each[word]) for word in "abcd")) in seen for each in quotes)


def test_binance_s_chain_of_ids_is_that_of_the_raw_lines(tapes: Tapes) -> None:
    opened, records = tapes["BINANCE_FUTURES"]
    levels = records[(records["kind"] == layout.LEVEL) & ((records["flags"] & layout.LAST) != 0)]
    snapshots = {
        opened.session.instruments[int(each["instrument"])].symbol: int(each["c"])
        for each in levels
        if each["flags"] & layout.SNAPSHOT
    }
    on_tape = defaultdict(list)
    for each in levels:
        if not each["flags"] & layout.SNAPSHOT:
            symbol = opened.session.instruments[int(each["instrument"])].symbol
            on_tape[symbol].append((int(each["c"]), int(each["d"]), int(each["e"])))
    raw = defaultdict(list)
    for frame in _frames("BINANCE_FUTURES"):
        data = frame["data"]
        if data["e"] == "depthUpdate" and data["u"] > snapshots[data["s"]]:
            raw[data["s"]].append((data["u"], data["pu"], data["U"]))
    assert dict(on_tape) == dict(raw)
    for symbol, chain in on_tape.items():
        assert chain[0][1] <= snapshots[symbol] < chain[0][0]
        assert all(after[1] == before[0] for before, after in itertools.pairwise(chain))


@pytest.mark.parametrize("exchange", PLAYABLE)
def test_the_book_of_the_tape_ends_as_cryptofeed_s_own(tapes: Tapes, exchange: str) -> None:
    opened, records = tapes[exchange]
    recording = open_recording(_files(exchange))
    report = ImportReport()
    playback = Playback(recording, read_listing(recording.venue, recording.lists), report)
    for player in playback.exchanges:
        # The checksums that Bitget and OKX sent in 2022 hold for each message; others send none.
        player.feed.checksum_validation = True
    assert not [message for _, message in playback.run() if isinstance(message, Loss)]
    assert not report.rejects
    books = _books(records)
    for index, instrument in enumerate(opened.session.instruments):
        name = instrument.metadata["name"]
        own = max(
            (each.feed._l2_book[name].book.to_dict() for each in playback.exchanges if name in each.feed._l2_book),
            key=len,
        )
        for side, levels in zip(("bid", "ask"), books[index], strict=True):
            expected = {price / instrument.tick_size: size / instrument.lot_size for price, size in own[side].items()}
            assert levels == expected


def _trades(exchange: str) -> Counter[tuple[str, str, str, str]]:
    """Symbol, price, size and taker's side of each trade that happened after the subscription."""
    found: Counter[tuple[str, str, str, str]] = Counter()
    for frame in _frames(exchange):
        match exchange:
            case "BINANCE_FUTURES" if frame.get("data", {}).get("e") == "aggTrade":
                data = frame["data"]
                found[data["s"], data["p"], data["q"], "sell" if data["m"] else "buy"] += 1
            case "BITGET" if frame.get("action") == "update" and frame["arg"]["channel"] == "trade":
                symbol = frame["arg"]["instId"] + ("_UMCBL" if frame["arg"]["instType"] == "mc" else "")
                found.update((symbol, row[1], row[2], row[3]) for row in frame["data"])
            case "BITMEX" if frame.get("table") == "trade" and frame["action"] == "insert":
                found.update((r["symbol"], str(r["price"]), str(r["size"]), r["side"].lower()) for r in frame["data"])
            case "OKX" if frame["arg"]["channel"] == "trades" and "data" in frame:
                # The first two are of 10 and 25 seconds before the connection was opened, at 1652459224.5.
                rows = [row for row in frame["data"] if int(row["ts"]) > 1652459219530]
                found.update((row["instId"], row["px"], row["sz"], row["side"]) for row in rows)
    return found


@pytest.mark.parametrize("exchange", PLAYABLE)
def test_prints_are_those_of_the_raw_lines(tapes: Tapes, exchange: str) -> None:
    opened, records = tapes[exchange]
    on_tape: Counter[tuple[str, int, int, str]] = Counter()
    instruments = {each.symbol: each for each in opened.session.instruments}
    names = list(instruments)
    for each in records[records["kind"] == layout.PRINT]:
        side = "sell" if each["flags"] & layout.SELL else "buy"
        on_tape[names[int(each["instrument"])], int(each["a"]), int(each["b"]), side] += 1
    raw: Counter[tuple[str, int, int, str]] = Counter()
    for (symbol, price, size, side), count in _trades(exchange).items():
        instrument = instruments[symbol]
        raw[symbol, int(_units(price, instrument.tick_size)), int(_units(size, instrument.lot_size)), side] += count
    assert on_tape == raw


def _units(text: str, unit: Any) -> Any:
    units = type(unit)(text) / unit
    assert units == units.to_integral_value()
    return units


@pytest.mark.parametrize("exchange", ["BYBIT", "COINBASE"])
def test_recordings_of_retired_interfaces_are_refused_with_the_reason(exchange: str) -> None:
    with pytest.raises(
        DataError, match=f"class {exchange} does not know its instrument list or its messages"
    ) as refused:
        open_ws_capture(_files(exchange))
    assert f"Record {exchange} again" in refused.value.remedy


@pytest.mark.parametrize(
    ("exchange", "lists", "name"),
    [("BYBIT", [BYBIT_LIST, BYBIT_SPOT_LIST], "BTC-USDT-PERP"), ("COINBASE", [COINBASE_LIST], "BTC-USD")],
)
def test_no_class_of_today_reads_those_recordings(exchange: str, lists: list[object], name: str) -> None:
    listed = gzip.decompress((DATA / f"{exchange}.0.gz").read_bytes()).split(b"\n")[0].partition(b": ")[2]
    with pytest.raises(DataError, match="has a form that cryptofeed's class does not read"):
        read_listing(VENUES[exchange], [listed])
    # Nor does it help to give it an instrument list of today: not one frame says anything.
    listing = read_listing(VENUES[exchange], list_bodies(*lists))
    channels = {"l2_book": [name], "trades": [name]}
    player = Exchange(VENUES[exchange], listing, channels, ImportReport())
    connection = RecordedConnection("wss://stream/v5/public/linear", player.feed.subscription)
    complete(player.open(connection, 1))
    for frame in _frames(exchange):
        assert complete(player.handle(json.dumps(frame), connection, 1, str)) == []


@pytest.mark.parametrize("path", sorted(DATA.glob("*.gz")), ids=lambda path: str(path.name))
def test_every_file_of_a_recording_is_told_as_one(path: Path) -> None:
    assert is_ws_capture(path)
    assert not is_ws_capture(DATA.parent / "l2" / "hyperliquid_btcusd_20250126.gz")
