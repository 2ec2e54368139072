// Candles, equity and drawdown at the detail that a screen can show: tiles of 2,048 bars, made when looked at.
import { lowerBound } from "./columns.js";
import { MINUTE } from "./format.js";

export const TILE_BARS = 2048;
// Days are joined further, so that years fit a telephone.
const LEVEL_MINUTES = [1, 3, 5, 15, 30, 60, 120, 240, 720, 1440, 4320, 10080];
const TILES_KEPT = 64;

export class Tiles {
  // bars: a symbol's columns; equity: the run's; closed: {time, value} of the closed trades; baseMs: length of a bar.
  constructor(bars, equity, closed, baseMs) {
    Object.assign(this, { bars, equity, closed, baseMs });
    this.levels = [baseMs, ...LEVEL_MINUTES.map((m) => m * MINUTE).filter((ms) => ms > baseMs && ms % baseMs === 0)];
    this.cache = new Map();
    this.startMs = bars.time[0] ?? 0;
    this.endMs = (bars.time[bars.time.length - 1] ?? 0) + baseMs;
  }

  // The finest level at which a span takes at least `spacing` pixels a bar.
  levelFor(spanMs, width, spacing) {
    const place = this.levels.findIndex((ms) => (width * ms) / spanMs >= spacing);
    return place < 0 ? this.levels.length - 1 : place;
  }

  // All bars of the tiles that a span touches, and of one more on each side: `rows`, and what each series takes.
  window(level, fromMs, toMs) {
    const tileMs = this.levels[level] * TILE_BARS;
    const first = Math.max(Math.floor(fromMs / tileMs) - 1, Math.floor(this.startMs / tileMs));
    const last = Math.min(Math.floor(toMs / tileMs) + 1, Math.floor((this.endMs - 1) / tileMs));
    const tiles = [];
    for (let number = first; number <= last; number++) tiles.push(this.tile(level, number));
    const joined = (name) => tiles.flatMap((tile) => tile[name]);
    return Object.fromEntries(["rows", "candles", "closed", "equity", "drawdown"].map((name) => [name, joined(name)]));
  }

  tile(level, number) {
    const key = `${level}:${number}`;
    const kept = this.cache.get(key);
    if (kept) return kept;
    const rows = this.make(this.levels[level], number);
    const lined = (name, sign = 1) => rows.map((row) => ({ time: row.time / 1000, value: sign * row[name] }));
    const made = {
      rows,
      candles: rows.map(({ time, open, high, low, close }) => ({ time: time / 1000, open, high, low, close })),
      closed: lined("closed"), equity: lined("equity"), drawdown: lined("drawdown", -1),
    };
    this.cache.set(key, made);
    if (this.cache.size > TILES_KEPT) this.cache.delete(this.cache.keys().next().value);
    return made;
  }

  make(ms, number) {
    const { bars, equity, closed } = this;
    const begin = lowerBound(bars.time, number * ms * TILE_BARS);
    const end = lowerBound(bars.time, (number + 1) * ms * TILE_BARS);
    const rows = [];
    let row = null;
    for (let i = begin; i < end; i++) {
      const time = Math.floor(bars.time[i] / ms) * ms;
      if (row === null || row.time !== time) {
        row = { time, open: bars.open[i], high: bars.high[i], low: bars.low[i], close: bars.close[i] };
        rows.push(row);
      } else {
        if (bars.high[i] > row.high) row.high = bars.high[i];
        if (bars.low[i] < row.low) row.low = bars.low[i];
        row.close = bars.close[i];
      }
    }
    // What stood at the bar's close; of drawdowns the deepest inside it.
    let at = rows.length ? Math.max(0, lowerBound(equity.time, rows[0].time + 1)) : 0;
    for (const each of rows) {
      const until = each.time + ms;
      each.drawdown = 0;
      for (; at < equity.time.length && equity.time[at] <= until; at++) {
        if (equity.drawdown[at] > each.drawdown) each.drawdown = equity.drawdown[at];
      }
      each.equity = at > 0 ? equity.equity[at - 1] : closed.value[0];
      each.closed = closed.value[Math.max(0, lowerBound(closed.time, until + 1) - 1)];
    }
    return rows;
  }
}
