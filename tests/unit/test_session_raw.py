"""Raw frames beside the tape: whole after a crash, and never in anybody's way, whatever the disk does."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.session.raw import RawFrames
from engine.bars import NS_PER_SECOND

NOON = 1_723_118_400 * NS_PER_SECOND  # 2024-08-08T12:00:00
DAY = 86_400 * NS_PER_SECOND
KILLED = """
import os, sys, time
from pathlib import Path
from daemon.session.raw import RawFrames
frames = RawFrames(Path(sys.argv[1]))
for number in range(20_000):
    frames.put(0, {noon} + number, os.urandom(40).hex())
while not any(path.stat().st_size for path in Path(sys.argv[1]).iterdir()):
    time.sleep(0.01)
os._exit(9)
"""


def lines_of(path: Path) -> list[bytes]:
    return gzip.decompress(path.read_bytes()).splitlines()


def test_each_day_has_a_file_and_a_frame_is_a_line(tmp_path: Path) -> None:
    frames = RawFrames(tmp_path / "raw")
    frames.put(0, NOON, '{"a":1}')
    frames.put(1, NOON + 1, b"two\nlines")
    frames.put(0, NOON + DAY, "{}")
    frames.close()
    first, second = sorted((tmp_path / "raw").iterdir())
    assert (first.name, second.name) == ("20240808T120000000000.gz", "20240809T120000000000.gz")
    assert lines_of(first) == [b'%d 0 {"a":1}' % NOON, b"%d 1 two lines" % (NOON + 1)]
    assert lines_of(second) == [b"%d 0 {}" % (NOON + DAY)]
    assert frames.dropped == 0


def test_what_follows_a_crash_can_be_read(tmp_path: Path) -> None:
    script = KILLED.format(noon=NOON)
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False).returncode == 9
    frames = RawFrames(tmp_path)
    frames.put(0, NOON + NS_PER_SECOND, "after")
    frames.close()
    torn, whole = sorted(tmp_path.iterdir())
    with pytest.raises(EOFError):
        lines_of(torn)
    assert lines_of(whole) == [b"%d 0 after" % (NOON + NS_PER_SECOND)]


def test_a_disk_that_refuses_costs_frames_and_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / "raw").symlink_to("/proc/self/fdinfo")  # a folder where no file can be made
    frames = RawFrames(tmp_path / "raw", frames_max=4)
    for number in range(1_000):
        frames.put(0, NOON + number, "frame")
    frames.close()  # with a thread that has ended and a full queue this would never return
    assert frames.dropped == 1_000
