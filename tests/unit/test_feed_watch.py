"""What a session's log says of its feed: a flood of messages that are left out is a line now and then, with a count."""

from __future__ import annotations

import json
from typing import Any

from adapters.captures.report import Reason
from daemon.logs.joining import joined_structlog
from daemon.logs.pipeline import Pipeline
from daemon.logs.rendering import json_line
from daemon.logs.repeats import WINDOW_SECONDS
from daemon.session.clock import SessionClock
from daemon.session.feedwatch import FeedWatch
from daemon.session.sequencer import Sequencer

MS = 1_000_000
WARNING = 30


class Log:
    """A session's log at level warning, on a clock of its own."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.lines: list[dict[str, Any]] = []
        self.pipeline = Pipeline([(json_line, self)], facts={}, clock_ns=lambda: self.now_ns)

    def put(self, line: bytes) -> None:
        """Keep a line."""
        self.lines.append(json.loads(line))

    def told(self) -> list[tuple[Any, ...]]:
        """What was said since the last call."""
        lines, self.lines = self.lines, []
        names = ("reason", "source", "frame", "detail", "repeated")
        return [tuple(line.get(name) for name in names) for line in lines]


def test_a_flood_of_rejected_messages_is_told_once_for_each_reason_and_source_then_counted() -> None:
    log, watch = Log(), FeedWatch(Sequencer(SessionClock()), None)
    one, two = "wss://a.example", "wss://a.example (2)"
    with joined_structlog(log.pipeline, WARNING):
        for number in range(5_000):  # half a second of a broken venue
            log.now_ns = number * MS // 10
            watch.rejected(Reason.not_a_number, f"{one} frame {number}", f"NaN{chr(97 + number % 26)}")
            watch.rejected(Reason.bad_message, f"{one} frame {number}", "KeyError: 'p'" if number % 2 else "")
            watch.rejected(Reason.not_a_number, f"{two} frame {number}", "nan")
            watch.rejected(Reason.old_update, f"{one} frame {number}", "")
        watch.rejected("REST", "BTCUSDT", "HTTP 503")
        watch.rejected("REST", "BTCUSDT", "no answer in 5 s")
        watch.rejected("REST", "ETHUSDT", "HTTP 503")
        first = [
            ("not a number", one, 0, "NaNa"),
            ("a message without the fields of its kind", one, 0, ""),
            ("not a number", two, 0, "nan"),
            ("REST", "BTCUSDT", None, "HTTP 503"),
            ("REST", "ETHUSDT", None, "HTTP 503"),
        ]
        assert log.told() == [(*line, None) for line in first]
        log.now_ns = (WINDOW_SECONDS * 1_000 + 500) * MS
        watch.rejected(Reason.off_tick, f"{one} frame 5000", "0.123")
        counts = (4_999, 4_999, 4_999, 1)
        assert log.told() == [
            *((*line, count) for line, count in zip(first, counts, strict=False)),
            ("price not a multiple of the tick", one, 5_000, "0.123", None),
        ]


def test_a_flood_that_goes_on_is_two_lines_every_ten_seconds() -> None:
    """The count of what was left out, and the message that begins the next ten seconds."""
    log, watch = Log(), FeedWatch(Sequencer(SessionClock()), None)
    seconds, rate = 60, 100
    with joined_structlog(log.pipeline, WARNING):
        for number in range(seconds * rate):
            log.now_ns = number * 1_000 * MS // rate
            watch.rejected(Reason.not_a_number, f"wss://a.example frame {number}", f"NaN {number:b}")
        log.pipeline.flush()
    told = log.told()
    assert len(told) == 2 * seconds // WINDOW_SECONDS
    assert sum(1 if repeated is None else repeated for *_, repeated in told) == seconds * rate
