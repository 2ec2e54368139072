"""report.html in a real browser: opened from disk it asks nothing of any network, and does what it says."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.report.columns import unpack
from adapters.report.files import write_report
from adapters.report.page import charts_script
from adapters.report.schema import Report, columns_of
from engine.errors import InputMissingError
from tests.reports import embedded, finished, make_home, too_poor

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run",
]  # fmt: skip
DESKTOP, PHONE = (1440, 900), (390, 844)
# How many pixels of the second pane have the band's colour.
_BLUE = """() => {
  const panes = [...document.querySelectorAll("#chart canvas")].filter((canvas) => canvas.width > 500);
  return Math.max(...panes.map((canvas) => {
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    let count = 0;
    for (let i = 0; i < pixels.length; i += 4) {
      if (pixels[i + 3] > 0 && pixels[i + 2] - pixels[i] > 20 && pixels[i] > 150) count++;
    }
    return count;
  }));
}"""
SHOTS = os.environ.get("TAPEWRIGHT_SHOTS")  # a folder for pictures of each size, to look at


def _is_fetched() -> bool:
    try:
        charts_script()
    except InputMissingError:
        return False
    return True


pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium"),
    pytest.mark.skipif(not _is_fetched(), reason="the charts' JavaScript was not fetched: see docs/reports.md"),
]


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    done, wanted = finished(home, make_home(home, bars=43_200, symbols=("SYNTH", "OTHER")))
    return write_report(done.folder, wanted, ["html"])[-1]


@pytest.fixture(scope="module")
def report(page_file: Path) -> Report:
    return embedded(page_file)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def ambiguous_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a run with stop and target in one bar often, with its band of equity."""
    home = tmp_path_factory.mktemp("ambiguous")
    config = make_home(home, bars=5_000, stop="0.9996", target="1.0004")
    config.write_text(config.read_text(encoding="utf-8") + "diagnostics: {band: true}\n", encoding="utf-8")
    done, wanted = finished(home, config)
    return write_report(done.folder, wanted, ["html"])[-1]


@pytest.fixture(scope="module")
def tradeless_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("tradeless")
    done, wanted = finished(home, too_poor(make_home(home, bars=3_000)))
    return write_report(done.folder, wanted, ["html"])[-1]


class Opened:
    """The page as someone sees it, with what it asked for and complained of."""

    def __init__(self, browser: Any, file: Path, size: tuple[int, int]) -> None:
        self.page = browser.new_page(viewport={"width": size[0], "height": size[1]})
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(file.as_uri())
        self.page.wait_for_selector("html[data-ready]", timeout=30_000)
        self.page.wait_for_selector(".card.wide", timeout=30_000)
        self.settle()

    def settle(self) -> None:
        """Wait until the chart has drawn what it was last asked for."""
        self.page.wait_for_timeout(350)

    def view(self) -> dict[str, int]:
        """What the chart shows: from, to (ms), levelMs, bars in view, pixels."""
        found = self.page.evaluate("({...document.getElementById('chart').dataset})")
        return {name: int(value) for name, value in found.items()}

    def shoot(self, name: str) -> None:
        """Take a picture, where someone wants to look at it."""
        if SHOTS:
            self.page.screenshot(path=f"{SHOTS}/{name}.png")


@pytest.fixture(params=[DESKTOP, PHONE], ids=["1440x900", "390x844"])
def opened(request: pytest.FixtureRequest, browser: Any, page_file: Path) -> Iterator[Opened]:
    found = Opened(browser, page_file, request.param)
    yield found
    assert found.complaints == []
    assert found.requests == [page_file.as_uri()]
    found.page.close()


def test_all_of_the_run_is_in_view_first_with_no_more_bars_than_pixels(opened: Opened, report: Report) -> None:
    view = opened.view()
    opened.shoot(f"all-{opened.page.viewport_size['width']}")
    assert view["from"] <= report.run.start_ms
    assert view["to"] >= report.run.end_ms - view["levelMs"]
    assert 0 < view["bars"] <= view["pixels"]
    assert opened.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert opened.page.locator("#chart a[href*='tradingview.com']").count() == 1


def test_a_click_on_a_trade_jumps_there_and_shows_its_tip(opened: Opened, report: Report) -> None:
    spans = columns_of(report.trade_spans)
    row = opened.page.locator("#sheet .row").nth(5)
    row.click()
    opened.settle()
    number = int(row.get_attribute("data-trade"))
    place = unpack(spans, "trade").tolist().index(number)
    view, tip = opened.view(), opened.page.locator("#tip")
    opened.shoot(f"trade-{opened.page.viewport_size['width']}")
    assert view["from"] < unpack(spans, "entry_time")[place]
    assert unpack(spans, "exit_time")[place] < view["to"]
    assert view["levelMs"] <= 180_000
    assert tip.is_visible()
    text = tip.inner_text()
    assert text.startswith(f"Trade {number} · long · bracketed")
    assert all(name in text for name in ("entry", "exit", "MAE", "MFE", "held", "closed by"))
    assert "chosen" in row.get_attribute("class")
    symbol = int(unpack(spans, "symbol")[place])
    assert opened.page.locator("#symbols").input_value() == str(symbol)
    opened.page.click("#after")
    opened.settle()
    assert opened.page.locator("#sheet .row.chosen").get_attribute("data-trade") != str(number)


def test_panes_lie_on_one_scale_to_the_pixel(opened: Opened) -> None:
    boxes = opened.page.evaluate(
        "[...document.querySelectorAll('#chart canvas')]"
        ".map(canvas => canvas.getBoundingClientRect()).map(box => [box.left, box.width])"
    )
    plots = [tuple(box) for box in boxes if box[1] == max(width for _, width in boxes)]
    assert len(plots) >= 8  # two canvases for each of four panes
    assert len(set(plots)) == 1


def test_zoom_and_pan_change_the_detail_and_keep_bars_within_pixels(browser: Any, page_file: Path) -> None:
    opened = Opened(browser, page_file, DESKTOP)
    box = opened.page.locator("#chart").bounding_box()
    first = opened.view()
    opened.page.mouse.move(box["x"] + 500, box["y"] + 150)
    for _ in range(45):
        opened.page.mouse.wheel(0, -120)
        opened.page.wait_for_timeout(25)
    opened.settle()
    near = opened.view()
    assert near["levelMs"] < first["levelMs"]
    assert near["to"] - near["from"] < (first["to"] - first["from"]) / 10
    for _ in range(4):
        opened.page.mouse.move(box["x"] + 100, box["y"] + 150)
        opened.page.mouse.down()
        opened.page.mouse.move(box["x"] + 800, box["y"] + 150, steps=8)
        opened.page.mouse.up()
        opened.page.wait_for_timeout(60)
        assert opened.view()["bars"] <= opened.view()["pixels"]
    opened.settle()
    assert opened.view()["from"] < near["from"]
    for _ in range(60):
        opened.page.mouse.wheel(0, 120)
        opened.page.wait_for_timeout(25)
    opened.settle()
    far = opened.view()
    assert far["bars"] <= far["pixels"]
    assert far["levelMs"] >= first["levelMs"]
    assert opened.complaints == []
    opened.page.close()


def test_what_the_browser_unpacks_is_what_python_packed(browser: Any, page_file: Path, report: Report) -> None:
    """The line above the chart comes from unpacked columns: it names the last close where the pointer is there."""
    opened = Opened(browser, page_file, DESKTOP)
    closes = unpack(columns_of(report.symbols[0].bars), "close")
    box = opened.page.locator("#chart").bounding_box()
    view = opened.view()
    bars = (view["to"] - view["from"]) / view["levelMs"]
    opened.page.mouse.move(box["x"] + 300, box["y"] + 150)
    opened.page.mouse.move(box["x"] + view["pixels"] * (1 - 0.5 / bars), box["y"] + 150, steps=5)
    opened.settle()
    assert f"C {closes[-1]:,.2f}" in opened.page.locator("#legend").inner_text()
    opened.page.close()


def test_a_run_without_trades_opens_and_says_so(browser: Any, tradeless_file: Path) -> None:
    opened = Opened(browser, tradeless_file, DESKTOP)
    opened.shoot("tradeless")
    assert embedded(tradeless_file).trade_spans.trade.count == 0
    assert opened.page.locator("#count").inner_text() == "0"
    assert "no trades" in opened.page.locator("#figures").inner_text()
    opened.page.click("#after")
    opened.settle()
    assert opened.view()["bars"] > 0
    assert opened.complaints == []
    opened.page.close()


def test_band_regimes_drawdowns_and_costs_are_shown(browser: Any, ambiguous_file: Path) -> None:
    opened = Opened(browser, ambiguous_file, DESKTOP)
    opened.shoot("band")
    found = embedded(ambiguous_file)
    assert found.band is not None
    assert opened.page.locator("#banded").is_visible()
    figures = opened.page.locator("#figures").inner_text()
    assert all(title in figures for title in ("Regimes", "Deepest drawdowns", "Costs"))
    box = opened.page.locator("#chart").bounding_box()
    opened.page.mouse.move(box["x"] + 600, box["y"] + 100)
    opened.page.mouse.move(box["x"] + 700, box["y"] + 100, steps=4)
    opened.settle()
    legend = opened.page.locator("#legend").inner_text()
    assert " to " in legend  # the band at that bar
    assert "volatility" in legend
    assert "exposure" in legend
    blue = opened.page.evaluate(_BLUE)
    assert blue > 1_000  # the band's area, in pixels
    assert opened.complaints == []
    opened.page.close()
