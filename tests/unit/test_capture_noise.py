"""Noise in a capture: whatever stands in a line, it is left out with a reason, or the file is refused with one."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import TapewrightError
from engine.kernels import layout
from tests.captures import START_NS, imported

START_US = START_NS // 1_000
CAPTURES = {
    "binance": [
        b'%d {"lastUpdateId":50,"E":1,"bids":[["1.0","10"]],"asks":[["1.1","20"]]}',
        b'%d {"e":"depthUpdate","E":5,"T":5,"s":"AUSDT","U":51,"u":53,"pu":50,"b":[["1.0","9"]],"a":[["1.2","0"]]}',
        b'%d {"stream":"ausdt@trade","data":{"e":"trade","E":1,"s":"AUSDT","t":1,"T":6,"m":false,"p":"1.1","q":"3"}}',
        b'%d {"e":"markPriceUpdate","E":6,"s":"AUSDT","p":"1.05","i":"1.0","r":"0.0001","T":9}',
    ],
    "hyperliquid": [
        b'%d {"channel":"l2Book","data":{"coin":"A","time":2,"levels":[[{"n":5,"px":"5.0","sz":"3.0"}],[]]}}',
        b'%d {"channel":"trades","data":[{"coin":"A","side":"B","px":"6.0","sz":"0.2","tid":9,"time":1}]}',
    ],
    "tardis": [
        b"binance,AUSDT,%d,1700000000000000,true,bid,1.5,10",
        b"binance,AUSDT,%d,1700000000000001,false,ask,1.6,0",
    ],
}
HEADER = b"exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount"
NOISE = st.one_of(
    st.binary(max_size=6),
    st.sampled_from([b"NaN", b"-1", b"1e999", b'"', b"{", b"[" * 3_000, b"null", b"9" * 30, b"\xff", b",", b"\n"]),
)


@given(
    kind=st.sampled_from(sorted(CAPTURES)),
    spots=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 120), st.integers(0, 8), NOISE), max_size=4),
)
def test_noise_never_gets_through(kind: str, spots: list[tuple[int, int, int, bytes]]) -> None:
    lines = [line % (START_US if kind == "tardis" else START_NS) for line in CAPTURES[kind]]
    for number, start, length, noise in spots:
        line = lines[number % len(lines)]
        lines[number % len(lines)] = line[:start] + noise + line[start + length :]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "capture"
        path.write_bytes(b"\n".join([HEADER, *lines] if kind == "tardis" else lines))
        try:
            opened, records = imported(path)
        except TapewrightError:
            return
    assert (np.diff(records["ts_receive_ns"]) >= 0).all()
    assert (records["instrument"] < len(opened.session.instruments)).all()
    assert (records["a"] >= 0).all()
    assert (records["b"][records["kind"] != layout.GAP] >= 0).all()
    assert opened.report.counts.total() == len(records)
