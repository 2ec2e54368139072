"""The report's page for a year of minutes: its size, the time to write it, to open it, and its frames.

    python -m tests.bench.report [RESULTS_FOLDER/report.html]

Without a page it makes one: the made-up year, ema_cross. Frames are the times between animation frames in
headless Chromium, without a graphics card, while the chart is dragged and zoomed; beside them, in the same minute,
those of a page that draws nothing while the same wheel turns: what the machine itself costs.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from adapters.bar_files import path_of, write_bars
from adapters.report.files import write_report
from adapters.synthetic_market import synthesize
from config.loader import load
from daemon.app import backtest, report_input

_CONFIG = """symbols: [SYNTH]
timeframe: 1m
strategy: {name: ema_cross, params: {fast: 12, slow: 26, size: 1.0}}
initial_cash: 1000000
commission_bps: 4
slippage_bps: 2
"""
_FRAMES = """() => {
  if (globalThis.frames_) return globalThis.frames_.splice(0);
  globalThis.frames_ = [];
  let before = performance.now();
  const step = (now) => { globalThis.frames_.push(now - before); before = now; requestAnimationFrame(step); };
  requestAnimationFrame(step);
}"""


def main(arguments: list[str]) -> None:
    """Print what was measured."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(arguments[0]).resolve() if arguments else _made(Path(folder))
        _say(f"size            {page.stat().st_size / 1e6:8.2f} MB")
        with sync_playwright() as driver:
            browser = driver.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-background-networking"]
            )
            opened = browser.new_page(viewport={"width": 1440, "height": 900})
            opened.goto(page.as_uri())
            opened.wait_for_selector("html[data-ready]")
            _say(f"first chart     {int(opened.evaluate('document.documentElement.dataset.ready')):8} ms")
            floor = browser.new_page(viewport={"width": 1440, "height": 900})
            floor.set_content("<div id=chart style='height: 600px; background: #fff'></div>")
            measured = [("floor, ", _moved(floor)), ("", _moved(opened)), ("floor, ", _moved(floor))]
            for name, frames in (
                (before + name, frames) for before, found in measured for name, frames in found.items()
            ):
                ranked = sorted(frames)
                _say(
                    f"{name:18}  {statistics.median(ranked):8.1f} ms median,"
                    f" {ranked[int(0.95 * len(ranked))]:.1f} ms p95, {ranked[-1]:.1f} ms most, {len(ranked)} frames"
                )
            browser.close()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def _made(home: Path) -> Path:
    target = path_of(home, "SYNTH", "1m")
    target.parent.mkdir(parents=True)
    write_bars(target, synthesize("SYNTH", "1m", 525_600, 1))
    (home / "run.yaml").write_text(_CONFIG, encoding="utf-8")
    done = backtest(home, load(home / "run.yaml"))
    begun = time.perf_counter()
    page = write_report(done.folder, report_input(done))[-1]
    _say(f"bars, trades    {done.result.bars:,}, {len(done.trades):,}")
    _say(f"to write it     {time.perf_counter() - begun:8.2f} s, the two pictures with it")
    return page


def _moved(page: Page) -> dict[str, list[float]]:
    box = page.locator("#chart").bounding_box()
    assert box is not None
    x, y = box["x"], box["y"] + 150
    page.wait_for_timeout(1_000)
    found = {}
    page.evaluate(_FRAMES)
    page.mouse.move(x + 500, y)
    for direction in (-1, 1):
        for _ in range(60):
            page.mouse.wheel(0, direction * 100)
            page.wait_for_timeout(16)
    found["zoom frames"] = page.evaluate("globalThis.frames_.splice(0)")
    for _ in range(25):
        page.mouse.wheel(0, -100)
    page.wait_for_timeout(500)
    page.evaluate("globalThis.frames_.splice(0)")
    for _ in range(5):
        page.mouse.move(x + 100, y)
        page.mouse.down()
        page.mouse.move(x + 800, y, steps=40)
        page.mouse.up()
    found["pan frames"] = page.evaluate("globalThis.frames_.splice(0)")
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
