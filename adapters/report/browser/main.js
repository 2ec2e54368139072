// The page: unpacks the report, then joins chart, list and figures.
import { unpackTable } from "./columns.js";
import { ChartView } from "./chart.js";
import { factsText, figureCards, keyFigures } from "./figures.js";
import { Tiles } from "./tiles.js";
import { TradeList, tradeTip } from "./trades.js";

const byId = (id) => document.getElementById(id);

// The starting balance with each closed trade's profit added at its exit.
function closedEquity(spans, run) {
  const time = new Float64Array(spans.exit_time.length + 1);
  const value = new Float64Array(time.length);
  time[0] = run.start_ms;
  value[0] = run.initial_cash;
  for (let i = 1; i < time.length; i++) {
    time[i] = spans.exit_time[i - 1];
    value[i] = value[i - 1] + spans.pnl[i - 1];
  }
  return { time, value };
}

async function start() {
  const report = JSON.parse(byId("report").textContent);
  byId("report").textContent = "";
  byId("facts").textContent = factsText(report);
  byId("keys").append(...keyFigures(report));
  const unpackAll = (tables) => Promise.all(tables.map((table) => table && unpackTable(table)));
  const [[spans, levels, equity, band], bars, regimes] = await Promise.all([
    unpackAll([report.trade_spans, report.levels, report.equity, report.band]),
    unpackAll(report.symbols.map((symbol) => symbol.bars)),
    unpackAll(report.symbols.map((symbol) => symbol.regimes)),
  ]);
  const closed = closedEquity(spans, report.run);
  const tiles = bars.map((columns) => new Tiles(columns, { equity, closed, band, baseMs: report.run.timeframe_ms }));
  const data = { spans, levels, equity, band, regimes, tiles, codes: report.codes, report };
  const view = new ChartView(byId("chart"), data, report);
  const tip = byId("tip");

  const placeTip = (x, y) => {
    const { clientWidth: width, clientHeight: height } = byId("chart");
    if (width < 2 * tip.offsetWidth) { // no room beside the trade: above or below it
      tip.style.left = "4px";
      tip.style.top = `${y > height / 2 ? 4 : Math.min(y + 40, height - tip.offsetHeight - 30)}px`;
      return;
    }
    tip.style.left = `${x + 16 + tip.offsetWidth > width ? Math.max(4, x - tip.offsetWidth - 16) : x + 16}px`;
    tip.style.top = `${Math.max(4, Math.min(y - 20, height - tip.offsetHeight - 30))}px`;
  };
  const showTip = (trade, x, y) => {
    if (tip.dataset.trade !== String(spans.trade[trade])) tip.replaceChildren(...tradeTip(trade, data));
    tip.dataset.trade = spans.trade[trade];
    tip.hidden = false;
    placeTip(x, y);
  };
  let pinned = -1;
  const pinTip = () => {
    const y = pinned < 0 ? null : view.yAt(spans.exit_price[pinned]);
    if (y === null) tip.hidden = true;
    else showTip(pinned, view.xAt(spans.exit_time[pinned]), y);
  };
  const choose = (trade) => {
    if (spans.symbol[trade] !== view.symbol) {
      byId("symbols").value = String(spans.symbol[trade]);
      view.showSymbol(spans.symbol[trade]);
    }
    pinned = view.overlay.chosen = trade;
    list.mark(trade);
    view.jump(spans.entry_time[trade], spans.exit_time[trade]);
    requestAnimationFrame(() => requestAnimationFrame(pinTip)); // once the price scale has settled
    const place = byId("chart").getBoundingClientRect();
    if (place.top < 0 || place.top > innerHeight / 2) byId("market").scrollIntoView({ block: "start" });
  };
  const list = new TradeList(spans, report.codes, choose);

  view.chart.subscribeCrosshairMove(({ point, paneIndex, logical }) => {
    byId("legend").textContent = logical === undefined ? "" : view.legend(logical);
    const trade = point && paneIndex === 0 ? view.overlay.tradeAt(point.x, point.y) : -1;
    if (trade >= 0) showTip(trade, point.x, point.y);
    else pinTip();
  });
  view.chart.subscribeClick(({ point, paneIndex }) => {
    const trade = point && paneIndex === 0 ? view.overlay.tradeAt(point.x, point.y) : -1;
    pinned = view.overlay.chosen = trade;
    list.mark(trade);
    view.overlay.refresh();
    pinTip();
  });
  view.chart.timeScale().subscribeVisibleLogicalRangeChange(() => {
    if (!tip.hidden) requestAnimationFrame(pinTip);
  });

  byId("symbols").append(...report.symbols.map(({ symbol }, place) => new Option(symbol, String(place))));
  byId("symbols").addEventListener("change", (event) => view.showSymbol(Number(event.target.value)));
  byId("fit").addEventListener("click", () => ((pinned = -1), pinTip(), view.fit()));
  byId("before").addEventListener("click", () => list.step(-1));
  byId("after").addEventListener("click", () => list.step(1));
  byId("banded").hidden = !band;
  byId("exposed").hidden = view.lines.length < 3;
  byId("regimed").hidden = !regimes.some(Boolean);
  // The chart takes its size first; then the year fits it.
  for (let frame = 0; frame < 120 && (frame < 2 || view.width <= 1); frame++) await new Promise(requestAnimationFrame);
  view.showSymbol(0);
  document.documentElement.dataset.ready = String(Math.round(performance.now()));
  tiles.forEach((each) => each.prepare());
  setTimeout(() => byId("figures").append(...figureCards(report, spans, equity, choose)));
}

await start();
