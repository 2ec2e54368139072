// Trades on the candles: entry and exit markers, the path between them, stop and target levels.
import { lowerBound } from "./columns.js";
import { signed } from "./format.js";

const GAIN = "#00897b";
const LOSS = "#d32f2f";
const ENTRY = "#2962ff";
const LEVEL_COLOURS = { stop: LOSS, target: GAIN, entry: "#667085" };
const TRENDS = ["#98a2b3", LOSS, "#98a2b3", GAIN]; // unknown, down, sideways, up
const CALM_TO_WILD = [0.15, 0.3, 0.6, 1]; // unknown, low, normal, high
const PATHS_MOST = 400;
const TEXTS_MOST = 30;
const LEVELS_MOST = 300;

export class Overlay {
  // view: the chart, which knows where a time and a price lie; data: the report's tables.
  constructor(view, data) {
    Object.assign(this, { view, data, chosen: -1, drawn: [] });
    const longest = (from, to) => from.reduce((most, value, i) => Math.max(most, to[i] - value), 0);
    this.longestSpan = longest(data.spans.entry_time, data.spans.exit_time);
    this.longestLevel = longest(data.levels.start, data.levels.end);
    this.views = [{ zOrder: () => "top", renderer: () => ({ draw: (target) => this.draw(target) }) }];
  }

  paneViews() {
    return this.views;
  }

  attached({ requestUpdate }) {
    this.refresh = requestUpdate;
  }

  draw(target) {
    target.useMediaCoordinateSpace(({ context, mediaSize }) => {
      const range = this.view.visibleMs();
      if (!range) return;
      const trades = this.tradesIn(range.from, range.to);
      this.drawn = [];
      context.save();
      context.lineWidth = 1;
      this.strip(context);
      this.levelsIn(range.from, range.to).forEach((i) => this.level(context, i));
      if (trades === null) this.rug(context, mediaSize.height);
      else trades.forEach((i) => this.trade(context, i, trades.length <= TEXTS_MOST));
      const { spans } = this.data;
      const isSeen = this.chosen >= 0 && spans.symbol[this.chosen] === this.view.symbol &&
        spans.entry_time[this.chosen] <= range.to && spans.exit_time[this.chosen] >= range.from;
      if (isSeen) this.trade(context, this.chosen, true);
      context.restore();
    });
  }

  // The trades of the symbol in view, in the order of their exits.
  get own() {
    const { spans } = this.data;
    if (this.ownSymbol !== this.view.symbol) {
      this.ownSymbol = this.view.symbol;
      const places = Array.from(spans.symbol.keys()).filter((i) => spans.symbol[i] === this.ownSymbol);
      this.ownTrades = { places, exits: Float64Array.from(places, (i) => spans.exit_time[i]) };
    }
    return this.ownTrades;
  }

  // Null where there are too many to draw each of them.
  tradesIn(fromMs, toMs) {
    const { places, exits } = this.own;
    const first = lowerBound(exits, fromMs);
    if (lowerBound(exits, toMs) - first > PATHS_MOST) return null;
    const found = [];
    for (let k = first; k < places.length && exits[k] <= toMs + this.longestSpan; k++) {
      if (this.data.spans.entry_time[places[k]] <= toMs) found.push(places[k]);
    }
    return found.length > PATHS_MOST ? null : found;
  }

  // Of too many levels only the chosen trade's.
  levelsIn(fromMs, toMs) {
    const { levels } = this.data;
    const found = [];
    for (let i = lowerBound(levels.start, fromMs - this.longestLevel); i < levels.start.length; i++) {
      if (levels.start[i] > toMs || found.length > LEVELS_MOST) break;
      if (levels.end[i] >= fromMs && levels.symbol[i] === this.view.symbol) found.push(i);
    }
    return found.length > LEVELS_MOST ? this.levelsOfChosen() : found;
  }

  levelsOfChosen() {
    if (this.chosen < 0 || this.data.spans.symbol[this.chosen] !== this.view.symbol) return [];
    if (this.levelsFor !== this.chosen) {
      this.levelsFor = this.chosen;
      this.chosenLevels = Array.from(this.data.levels.trade.keys()).filter((i) => this.isOfChosen(i));
    }
    return this.chosenLevels;
  }

  isOfChosen(i) {
    return this.chosen >= 0 && this.data.levels.trade[i] === this.data.spans.trade[this.chosen];
  }

  level(context, i) {
    const { levels, codes } = this.data;
    const y = this.view.yAt(levels.price[i]);
    if (y === null) return;
    const isChosen = this.isOfChosen(i);
    context.strokeStyle = LEVEL_COLOURS[codes["levels.kind"][levels.kind[i]]];
    context.globalAlpha = isChosen ? 1 : 0.45;
    context.lineWidth = isChosen ? 1.5 : 1;
    context.setLineDash([4, 3]);
    context.beginPath();
    context.moveTo(this.view.xAt(levels.start[i]), y);
    context.lineTo(Math.max(this.view.xAt(levels.end[i]), this.view.xAt(levels.start[i]) + 2), y);
    context.stroke();
    context.setLineDash([]);
    context.globalAlpha = 1;
  }

  // Along the top of the pane the regime at the open of each bar: colour for the trend, depth for the volatility.
  strip(context) {
    const regimes = this.data.regimes[this.view.symbol];
    if (!regimes) return;
    const { times } = this.view;
    const scale = this.view.chart.timeScale();
    const range = scale.getVisibleLogicalRange();
    const last = Math.min(times.length - 1, Math.ceil(range.to));
    const [x0, x1] = [scale.logicalToCoordinate(0), scale.logicalToCoordinate(1)];
    const place = (bar) => lowerBound(regimes.time, times[bar] + 1) - 1;
    for (let bar = Math.max(0, Math.floor(range.from)), begin = bar; bar <= last; bar++) {
      const [here, next] = [place(bar), bar < last ? place(bar + 1) : -2];
      if (here === next) continue;
      if (here >= 0) {
        context.globalAlpha = CALM_TO_WILD[regimes.volatility[here]];
        context.fillStyle = TRENDS[regimes.trend[here]];
        context.fillRect(x0 + (begin - 0.5) * (x1 - x0), 0, (bar - begin + 1) * (x1 - x0), 5);
      }
      begin = bar + 1;
    }
    context.globalAlpha = 1;
  }

  regimeAt(ms) {
    const regimes = this.data.regimes[this.view.symbol];
    const place = regimes ? lowerBound(regimes.time, ms + 1) - 1 : -1;
    if (place < 0) return "";
    const { codes } = this.data;
    return `${codes["regimes.trend"][regimes.trend[place]]}, ${codes["regimes.volatility"][regimes.volatility[place]]} volatility`;
  }

  // Along the foot of the pane a mark for each bar in which trades ended: what the last of them earned.
  rug(context, height) {
    const { spans } = this.data;
    const { places, exits } = this.own;
    const { times } = this.view;
    const scale = this.view.chart.timeScale();
    const range = scale.getVisibleLogicalRange();
    const last = Math.min(times.length - 1, Math.ceil(range.to));
    const [x0, x1] = [scale.logicalToCoordinate(0), scale.logicalToCoordinate(1)];
    context.globalAlpha = 0.55;
    let k = -1;
    for (let bar = Math.max(0, Math.floor(range.from)); bar <= last; bar++) {
      k = k < 0 ? lowerBound(exits, times[bar]) : k;
      const before = k;
      k = lowerBound(exits, times[bar + 1] ?? Infinity, exits.length, k);
      if (k === before) continue;
      const i = places[k - 1];
      const x = Math.round(x0 + bar * (x1 - x0));
      context.fillStyle = spans.pnl[i] > 0 ? GAIN : LOSS;
      context.fillRect(x, height - 7, 1, 6);
      this.drawn.push({ i, x1: x, y1: height - 4, x2: x, y2: height - 4 });
    }
    context.globalAlpha = 1;
  }

  trade(context, i, hasText) {
    const { spans } = this.data;
    const isChosen = i === this.chosen;
    const [x1, x2] = [this.view.xAt(spans.entry_time[i]), this.view.xAt(spans.exit_time[i])];
    const [y1, y2] = [this.view.yAt(spans.entry_price[i]), this.view.yAt(spans.exit_price[i])];
    if (y1 === null || y2 === null) return;
    const colour = spans.pnl[i] > 0 ? GAIN : LOSS;
    this.drawn.push({ i, x1, y1, x2, y2 });
    context.strokeStyle = colour;
    context.lineWidth = isChosen ? 2 : 1;
    if (isChosen) this.excursions(context, i, x1, x2);
    context.beginPath();
    context.moveTo(x1, y1);
    context.lineTo(x2, y2);
    context.stroke();
    const direction = spans.side[i] === 0 ? 1 : -1;
    this.arrow(context, x1, y1, direction, ENTRY, isChosen);
    this.arrow(context, x2, y2, -direction, colour, isChosen);
    if (hasText) this.text(context, signed(spans.pnl[i]), x2, y2 - direction * 18, colour);
  }

  // How far the trade went against and with its entry, as prices.
  excursions(context, i, x1, x2) {
    const { spans } = this.data;
    const side = spans.side[i] === 0 ? 1 : -1;
    const [worst, best] = [spans.mae_percent[i], spans.mfe_percent[i]].map((moved) =>
      this.view.yAt(spans.entry_price[i] * (1 + (side * moved) / 100)),
    );
    if (worst === null || best === null) return;
    context.save();
    context.globalAlpha = 0.1;
    context.fillStyle = ENTRY;
    context.fillRect(x1, Math.min(worst, best), Math.max(2, x2 - x1), Math.abs(best - worst));
    context.restore();
  }

  // An arrow that points at a price: up from below, down from above.
  arrow(context, x, y, direction, colour, isChosen) {
    const size = isChosen ? 7 : 5;
    const tip = y + direction * 2;
    context.fillStyle = colour;
    context.beginPath();
    context.moveTo(x, tip);
    context.lineTo(x - size, tip + direction * size * 1.5);
    context.lineTo(x + size, tip + direction * size * 1.5);
    context.fill();
    if (!isChosen) return;
    context.strokeStyle = "#fff";
    context.lineWidth = 1;
    context.stroke();
  }

  text(context, text, x, y, colour) {
    context.font = "600 11px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineWidth = 3;
    context.strokeStyle = "#fff";
    context.strokeText(text, x, y);
    context.fillStyle = colour;
    context.fillText(text, x, y);
  }

  // The trade drawn nearest to a point, within a few pixels; -1 for none.
  tradeAt(x, y) {
    let found = -1;
    let nearest = 12;
    for (const { i, x1, y1, x2, y2 } of this.drawn) {
      const span = (x2 - x1) ** 2 + (y2 - y1) ** 2;
      const part = span ? Math.min(1, Math.max(0, ((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / span)) : 0;
      const distance = Math.hypot(x - x1 - part * (x2 - x1), y - y1 - part * (y2 - y1));
      if (distance < nearest) [found, nearest] = [i, distance];
    }
    return found;
  }
}
