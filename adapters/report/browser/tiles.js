// Candles, equity and drawdown at the detail that a screen can show: tiles of 2,048 bars, made when looked at.
import { lowerBound } from "./columns.js";
import { MINUTE } from "./format.js";

export const TILE_BARS = 2048;
// Days are joined further, so that years fit a telephone.
const LEVEL_MINUTES = [1, 3, 5, 15, 30, 60, 120, 240, 720, 1440, 4320, 10080];
const TILES_KEPT = 64;
const TILES_PREPARED = 10; // of one level

const whenIdle = globalThis.requestIdleCallback ?? ((work) => setTimeout(work, 50));

export class Tiles {
  // bars: a symbol's columns; equity: the run's; closed: {time, value} of the closed trades; band: how far equity could
  // lie {below, above}, or null; baseMs: length of a bar.
  constructor(bars, { equity, closed, band, baseMs }) {
    Object.assign(this, { bars, equity, closed, band, baseMs });
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

  // The bars of a span and of `margin` more on each side: `rows`, and their times in ms. Not whole tiles: what
  // a chart takes in costs it time for every bar.
  window(level, fromMs, toMs, margin) {
    const ms = this.levels[level];
    const tileMs = ms * TILE_BARS;
    const [begin, end] = [fromMs - margin * ms, toMs + margin * ms];
    const first = Math.max(Math.floor(begin / tileMs), Math.floor(this.startMs / tileMs));
    const last = Math.min(Math.floor(end / tileMs), Math.floor((this.endMs - 1) / tileMs));
    const found = { rows: [], times: [] };
    for (let number = first; number <= last; number++) {
      const tile = this.tile(level, number);
      const [from, to] = [lowerBound(tile.times, begin), lowerBound(tile.times, end)];
      for (const name of Object.keys(found)) found[name].push(...tile[name].slice(from, to));
    }
    return found;
  }

  // Make what all levels of few tiles need while nothing else is to be done.
  prepare() {
    const wanted = [];
    for (let level = this.levels.length - 1; level >= 0; level--) {
      const tileMs = this.levels[level] * TILE_BARS;
      const [first, last] = [Math.floor(this.startMs / tileMs), Math.floor((this.endMs - 1) / tileMs)];
      if (last - first >= TILES_PREPARED) break;
      for (let number = first; number <= last; number++) wanted.push([level, number]);
    }
    const next = () => {
      if (!wanted.length) return;
      this.tile(...wanted.shift());
      whenIdle(next);
    };
    whenIdle(next);
  }

  // One object a bar, for the chart's series too: it takes times in seconds.
  tile(level, number) {
    const key = `${level}:${number}`;
    const kept = this.cache.get(key);
    if (kept) return kept;
    const rows = this.make(this.levels[level], number);
    const made = { rows, times: rows.map((row) => 1000 * row.time) };
    this.cache.set(key, made);
    if (this.cache.size > TILES_KEPT) this.cache.delete(this.cache.keys().next().value);
    return made;
  }

  make(ms, number) {
    const { bars, equity, closed, band } = this;
    const begin = lowerBound(bars.time, number * ms * TILE_BARS);
    const end = lowerBound(bars.time, (number + 1) * ms * TILE_BARS);
    const { time, open, high, low, close } = bars;
    const rows = [];
    for (let i = begin; i < end; ) {
      const start = Math.floor(time[i] / ms) * ms;
      const until = start + ms;
      const row = { time: start / 1000, open: open[i], high: 0, low: 0, close: 0, equity: 0, closed: 0, drawdown: 0, exposure: 0, worst: 0, best: 0 };
      let [most, least] = [high[i], low[i]];
      for (i++; i < end && time[i] < until; i++) {
        if (high[i] > most) most = high[i];
        if (low[i] < least) least = low[i];
      }
      row.high = most;
      row.low = least;
      row.close = close[i - 1];
      rows.push(row);
    }
    // What stood at the bar's close; of drawdowns and exposure the most inside it.
    const { time: times, drawdown: depths, exposure: held } = equity;
    const count = times.length;
    let at = rows.length ? lowerBound(times, 1000 * rows[0].time + 1) : 0;
    for (const each of rows) {
      const until = 1000 * each.time + ms;
      let [deepest, most] = [0, 0];
      for (; at < count && times[at] <= until; at++) {
        if (depths[at] > deepest) deepest = depths[at];
        if (held[at] > most) most = held[at];
      }
      each.drawdown = deepest;
      each.exposure = most;
      each.equity = at > 0 ? equity.equity[at - 1] : closed.value[0];
      each.worst = each.equity - (band && at > 0 ? band.below[at - 1] : 0);
      each.best = each.equity + (band && at > 0 ? band.above[at - 1] : 0);
      each.closed = closed.value[Math.max(0, lowerBound(closed.time, until + 1) - 1)];
    }
    return rows;
  }
}
