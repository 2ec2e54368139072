// The chart: panes on one time scale, with no more bars than the screen has pixels.
import { length, number, percent } from "./format.js";
import { lowerBound } from "./columns.js";
import { Lines, MONEY, PERCENT, TIMES } from "./lines.js";
import { Overlay } from "./overlay.js";

// Bars narrower than this many pixels are joined; they are split again where each part gets `SPLIT` pixels.
const JOIN = 2;
const SPLIT = 4;
// Bars kept beyond each edge of the view, besides a view's width of them, and how few of them call for more.
const MARGIN_BARS = 400;
const EDGE_BARS = 100;

export class ChartView {
  constructor(container, data, report) {
    Object.assign(this, { container, data, report, symbol: 0, level: -1, fitted: 0, rows: [], times: [], isHeld: false, isDue: false, settling: 0 });
    const { createChart, CandlestickSeries, CrosshairMode } = globalThis.LightweightCharts;
    this.chart = createChart(container, {
      autoSize: true,
      layout: {
        attributionLogo: true, background: { color: "#ffffff" }, textColor: "#475467", fontSize: 11,
        panes: { separatorColor: "#d5dae3", enableResize: true },
      },
      grid: { vertLines: { color: "#eef0f4" }, horzLines: { color: "#eef0f4" } },
      crosshair: { mode: CrosshairMode.Normal },
      handleScroll: { vertTouchDrag: false }, // a swipe up or down moves the page
      kineticScroll: { touch: false, mouse: false },
      timeScale: { timeVisible: true, secondsVisible: false, minBarSpacing: 1, tickMarkMaxCharacterLength: 6, borderColor: "#d5dae3" },
      rightPriceScale: { borderColor: "#d5dae3", minimumWidth: 78 },
      localization: { locale: "en-GB" },
    });
    this.candles = this.chart.addSeries(CandlestickSeries, {
      priceLineVisible: false, lastValueVisible: false, upColor: "#26a69a", downColor: "#ef5350", wickUpColor: "#26a69a", wickDownColor: "#ef5350",
      borderVisible: false,
    });
    const zero = () => 0;
    const equity = [
      ...(data.band ? [{ of: (row) => row.best, foot: (row) => row.worst, fill: "#2962ff2a", isScaled: true }] : []),
      { of: (row) => row.closed, colour: "#f57c00", isStepped: true },
      { of: (row) => row.equity, colour: "#2962ff" },
    ];
    const drawdown = [{ of: (row) => -row.drawdown, colour: "#d32f2f", foot: zero, fill: "#d32f2f2a" }];
    const exposure = [{ of: (row) => row.exposure, isStepped: true, colour: "#667085", foot: zero, fill: "#66708533" }];
    const time = Math.max(...data.tiles.map((tiles) => tiles.endMs)) / 1000;
    const last = data.equity.equity[data.equity.equity.length - 1] ?? report.run.initial_cash;
    this.lines = [
      new Lines(this, { pane: 1, format: MONEY, curves: equity, anchor: { time, value: last } }),
      new Lines(this, { pane: 2, format: PERCENT, curves: drawdown, marks: [0], anchor: { time, value: 0 } }),
    ];
    if (data.equity.exposure.some(Number.isFinite)) {
      this.lines.push(new Lines(this, { pane: 3, format: TIMES, curves: exposure, marks: [0], anchor: { time, value: 0 } }));
    }
    this.chart.panes().forEach((pane, place) => pane.setStretchFactor([3.2, 1.2, 0.8, 0.5][place]));
    this.overlay = new Overlay(this, data);
    this.candles.attachPrimitive(this.overlay);
    // While something is held, the chart remembers where its bars were; so new ones wait.
    container.addEventListener("pointerdown", () => Object.assign(this, { isHeld: true, fitted: 0 }), true);
    container.addEventListener("wheel", () => (this.fitted = 0), { capture: true, passive: true });
    for (const name of ["pointerup", "pointercancel"]) {
      globalThis.addEventListener(name, () => ((this.isHeld = false), this.follow()), true);
    }
    this.chart.timeScale().subscribeVisibleLogicalRangeChange(() => this.follow());
    this.chart.timeScale().subscribeSizeChange(() => {
      // All of the run stays in view when the chart gets another size.
      if (this.fitted && Math.abs(this.width - this.fitted) > 2) this.fit();
      else this.follow();
    });
  }

  get tiles() {
    return this.data.tiles[this.symbol];
  }

  get width() {
    return Math.max(1, this.chart.timeScale().width());
  }

  showSymbol(place) {
    const range = this.level < 0 ? null : this.visibleMs();
    this.symbol = place;
    const { price_decimals: precision, tick_size: minMove } = this.report.symbols[place];
    this.candles.applyOptions({ priceFormat: { type: "price", precision, minMove } });
    if (range) this.show(this.tiles.levelFor(range.to - range.from, this.width, JOIN), range.from, range.to);
    else this.fit();
  }

  fit() {
    const { startMs, endMs } = this.tiles;
    this.fitted = this.width;
    this.show(this.tiles.levelFor(endMs - startMs, this.width, JOIN), startMs, endMs);
  }

  // Zooming out ends where all bars take most of the width, and never makes bars narrower than a pixel.
  limit() {
    const { levels, startMs, endMs } = this.tiles;
    const minBarSpacing = Math.max(1, (0.8 * this.width * levels[this.level]) / (endMs - startMs));
    if (minBarSpacing === this.limited) return;
    this.limited = minBarSpacing;
    this.chart.timeScale().applyOptions({ minBarSpacing });
  }

  // A stretch of time with room on both sides.
  jump(fromMs, toMs) {
    this.fitted = 0;
    const span = Math.max(3 * (toMs - fromMs), 80 * this.tiles.baseMs);
    const middle = (fromMs + toMs) / 2;
    this.show(this.tiles.levelFor(span, this.width, SPLIT), middle - span / 2, middle + span / 2);
    this.candles.priceScale().applyOptions({ autoScale: true });
  }

  // Put the bars around a span on the chart, and the span in view. A drag can go as far as the view is wide before
  // it is let go.
  show(level, fromMs, toMs) {
    this.level = level;
    const margin = Math.ceil((toMs - fromMs) / this.tiles.levels[level]) + MARGIN_BARS;
    Object.assign(this, this.tiles.window(level, fromMs, toMs, margin));
    this.candles.setData(this.rows);
    this.limit();
    this.chart.timeScale().setVisibleLogicalRange({ from: this.logicalAt(fromMs), to: this.logicalAt(toMs) });
    document.getElementById("level").textContent = `${length(this.tiles.levels[level])} bars`;
    // The chart takes the range at its next frame; until then it would tell the one before.
    this.settling++;
    requestAnimationFrame(() => requestAnimationFrame(() => {
      this.settling--;
      this.follow();
    }));
  }

  // After a pan or a zoom: other bars, where these are too many or too few.
  follow() {
    if (this.isDue || this.isHeld || this.settling || this.level < 0) return;
    this.isDue = true;
    requestAnimationFrame(() => {
      this.isDue = false;
      if (!this.isHeld && !this.settling) this.adapt();
    });
  }

  adapt() {
    const range = this.chart.timeScale().getVisibleLogicalRange();
    const visible = this.visibleMs();
    if (!range || !visible) return;
    const { levels, startMs, endMs } = this.tiles;
    const spacing = this.width / (range.to - range.from);
    let level = this.level;
    while (level < levels.length - 1 && (spacing * levels[level]) / levels[this.level] < JOIN) level++;
    while (level > 0 && (spacing * levels[level - 1]) / levels[this.level] >= SPLIT) level--;
    const isShort =
      (range.from < EDGE_BARS && this.times[0] > startMs && Math.floor(startMs / levels[level]) * levels[level] < this.times[0]) ||
      (range.to > this.times.length - EDGE_BARS && this.times[this.times.length - 1] + levels[this.level] < endMs);
    if (level !== this.level || isShort) this.show(level, visible.from, visible.to);
    else {
      this.limit();
      this.tell();
    }
  }

  // What is in view, for whoever looks at the page from outside.
  tell() {
    const range = this.visibleMs();
    const logical = this.chart.timeScale().getVisibleLogicalRange();
    if (!range || !logical) return;
    const first = Math.max(0, Math.ceil(logical.from));
    const last = Math.min(this.times.length - 1, Math.floor(logical.to));
    Object.assign(this.container.dataset, {
      from: Math.round(range.from), to: Math.round(range.to), levelMs: this.tiles.levels[this.level],
      bars: Math.max(0, last - first + 1), pixels: Math.round(this.width),
    });
  }

  // Bar i takes the places from i - 0.5 to i + 0.5.
  logicalAt(ms) {
    const { times } = this;
    if (!times.length) return 0;
    const step = this.tiles.levels[this.level];
    if (ms < times[0]) return (ms - times[0]) / step - 0.5;
    const place = lowerBound(times, ms + 1) - 1;
    const until = times[place + 1] ?? times[place] + step;
    return place + (ms - times[place]) / (until - times[place]) - 0.5;
  }

  msAt(logical) {
    const { times } = this;
    const step = this.tiles.levels[this.level];
    const at = logical + 0.5;
    if (at < 0) return times[0] + at * step;
    const place = Math.min(Math.floor(at), times.length - 1);
    const until = times[place + 1] ?? times[place] + step;
    return times[place] + (at - place) * (until - times[place]);
  }

  visibleMs() {
    const range = this.chart.timeScale().getVisibleLogicalRange();
    if (!range || !this.times.length) return null;
    return { from: this.msAt(range.from), to: this.msAt(range.to) };
  }

  // The middle of the bar that holds a time; where it lies outside of what is loaded, where it would lie.
  xAt(ms) {
    return this.chart.timeScale().logicalToCoordinate(Math.floor(this.logicalAt(ms) + 0.5)) ?? -1e4;
  }

  yAt(price) {
    return this.candles.priceToCoordinate(price);
  }

  // The line above the chart for a place on the time scale.
  legend(logical) {
    const row = this.rows[Math.min(this.rows.length - 1, Math.max(0, Math.round(logical)))];
    if (!row) return "";
    const places = this.report.symbols[this.symbol].price_decimals;
    const prices = ["open", "high", "low", "close"].map((name) => `${name[0].toUpperCase()} ${number(row[name], places)}`);
    const band = row.best > row.worst ? ` (${number(row.worst)} to ${number(row.best)})` : "";
    const account = `equity ${number(row.equity)}${band}  ·  drawdown ${percent(-row.drawdown)}`;
    const regime = this.overlay.regimeAt(1000 * row.time);
    return `${prices.join("  ")}  ·  ${account}  ·  exposure ${number(row.exposure)} ×${regime ? `  ·  ${regime}` : ""}`;
  }
}
