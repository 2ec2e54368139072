// Everything below the chart: figures, distribution, heatmaps, excursions.
import { lowerBound } from "./columns.js";
import { duration, element, moment, number, percent, signed, tone } from "./format.js";

const DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const SVG = "http://www.w3.org/2000/svg";

function card(title, note, ...children) {
  const small = element("small", { textContent: note });
  return element("div", { className: "card" }, element("h2", {}, `${title} `, small), ...children);
}

function drawn(name, attributes, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

export function keyFigures({ stats }) {
  const { equity = {}, trades = {}, exposure = {} } = stats; // a journal alone has none
  const money = (text) => (text === null ? null : Number(text));
  const keys = [
    ["Net profit", signed(money(equity.net_profit)), tone(money(equity.net_profit))],
    ["Return", percent(equity.total_return), tone(equity.total_return)],
    ["Max drawdown", percent(equity.max_drawdown && -equity.max_drawdown), equity.max_drawdown ? "loss" : ""],
    ["Sharpe", number(equity.sharpe), ""],
    ["Sortino", number(equity.sortino), ""],
    ["Profit factor", number(trades.profit_factor), ""],
    ["Win rate", (trades.win_rate ?? null) === null ? "–" : `${number(100 * trades.win_rate, 1)} %`, ""],
    ["Trades", number(trades.count, 0), ""],
    ["Time in market", (exposure.time_in_market ?? null) === null ? "–" : `${number(100 * exposure.time_in_market, 1)} %`, ""],
  ];
  return keys.filter(([, text]) => Object.keys(stats).length || text !== "–").map(([name, text, className]) =>
    element("div", { className: "tile" }, element("span", { textContent: name }), element("b", { textContent: text, className })));
}

function statText(name, value) {
  if (value === null) return "–";
  if (typeof value === "string") return name.endsWith("_time") ? value.replace("T", " ").replace(".000Z", "") : number(Number(value));
  return Number.isInteger(value) ? number(value, 0) : number(value, Math.abs(value) < 10 ? 4 : 2);
}

function statistics({ stats, definitions }) {
  const groups = Object.entries(stats).map(([group, figures]) =>
    element("dl", {}, element("dt", { textContent: group }), ...Object.entries(figures).map(([name, value]) =>
      element("dd", {},
        element("span", { textContent: name.replaceAll("_", " "), title: definitions[group]?.[name] ?? "" }),
        element("b", { textContent: statText(name, value) })))));
  const made = card("Figures", "rest on a name for what it means", element("div", { className: "stats" }, ...groups));
  made.classList.add("wide");
  return made;
}

function distribution(pnl) {
  const [width, height, foot] = [480, 240, 18];
  const made = drawn("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none" });
  if (!pnl.length) return card("P&L distribution", "no trades");
  const sorted = Float64Array.from(pnl).sort();
  // The furthest half percent on either side stands in the outermost bins.
  const at = (part) => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))];
  const reach = Math.max(Math.abs(at(0.005)), Math.abs(at(0.995)), 1e-9);
  const bins = new Array(40).fill(0);
  for (const value of pnl) bins[Math.min(39, Math.max(0, Math.floor(((value + reach) / (2 * reach)) * 40)))]++;
  const most = Math.max(...bins);
  bins.forEach((count, place) => {
    const tall = (count / most) * (height - foot - 14);
    const bar = drawn("rect", {
      x: place * 12 + 1, y: height - foot - tall, width: 10, height: tall, fill: place < 20 ? "#ef5350" : "#26a69a",
    });
    const from = (place / 20 - 1) * reach;
    bar.append(drawn("title", {}, `${number(from)} to ${number(from + reach / 20)}: ${count} trades`));
    made.append(bar);
  });
  made.append(drawn("line", { x1: 0, x2: width, y1: height - foot, y2: height - foot, stroke: "#c6ccd8" }));
  for (const [x, text, anchor] of [[2, signed(-reach), "start"], [240, "0", "middle"], [478, signed(reach), "end"]]) {
    made.append(drawn("text", { x, y: height - 4, "text-anchor": anchor, "font-size": 11, fill: "#667085" }, text));
  }
  made.setAttribute("preserveAspectRatio", "xMidYMid meet");
  return card("P&L distribution", `trades by profit; highest bin ${number(most, 0)}`, made);
}

function heat(value, reach) {
  if (value === null || !reach) return "";
  const part = Math.min(1, Math.abs(value) / reach);
  return `rgba(${value >= 0 ? "0, 137, 123" : "211, 47, 47"}, ${0.08 + 0.62 * part})`;
}

function heatmap(className, heads, rows, text) {
  const reach = Math.max(0, ...rows.flatMap(([, cells]) => cells.map((cell) => Math.abs(cell.value ?? 0))));
  const line = (tag, first, cells) => element("tr", {}, element(tag, { textContent: first }), ...cells);
  const body = rows.map(([name, cells]) =>
    line("th", name, cells.map(({ value, title }) => {
      const cell = element("td", { textContent: value === null ? "" : text(value), title });
      cell.style.background = heat(value, reach);
      return cell;
    })));
  return element("table", { className: `heat ${className}` },
    line("th", "", heads.map((head) => element("th", { textContent: head }))), ...body);
}

function months(equity, initial) {
  const returns = new Map(); // year -> months
  let base = initial;
  const { time } = equity;
  for (let i = 0; i < time.length; ) {
    const date = new Date(time[i] - 1); // a bar that closes at midnight belongs to the day that ends there
    const [year, month] = [date.getUTCFullYear(), date.getUTCMonth()];
    i = lowerBound(time, Date.UTC(year, month + 1) + 1, time.length, i);
    if (!returns.has(year)) returns.set(year, new Array(12).fill(null));
    returns.get(year)[month] = base > 0 ? equity.equity[i - 1] / base - 1 : null;
    base = equity.equity[i - 1];
  }
  const rows = [...returns].map(([year, values]) =>
    [year, values.map((value, place) => ({ value, title: value === null ? "" : `${MONTHS[place]} ${year}: ${percent(value)}` }))]);
  return card("Month × year", "return in percent", heatmap("", MONTHS, rows, (value) => signed(100 * value, 1)));
}

function hours(spans) {
  const sums = Array.from(DAYS, () => Array.from({ length: 24 }, () => ({ value: null, count: 0 })));
  for (let i = 0; i < spans.entry_time.length; i++) {
    const date = new Date(spans.entry_time[i]);
    const cell = sums[(date.getUTCDay() + 6) % 7][date.getUTCHours()];
    cell.value = (cell.value ?? 0) + spans.pnl[i];
    cell.count++;
  }
  const rows = sums.map((cells, day) => [DAYS[day], cells.map(({ value, count }, hour) => ({
    value, title: value === null ? "" : `${DAYS[day]} ${hour}:00: ${signed(value)} in ${count} trades`,
  }))]);
  const heads = Array.from({ length: 24 }, (_, hour) => String(hour));
  return card("Hour × weekday", "profit by hour of entry, UTC", heatmap("hours", heads, rows, () => ""));
}

function table(heads, rows, tones = []) {
  const cell = (tag, text, place) => element(tag, { textContent: text, className: tones[place] ? tone(Number(text.replace("−", "-").replaceAll(",", ""))) : "" });
  return element("div", { className: "scroll" }, element("table", { className: "plain" },
    element("tr", {}, ...heads.map((head) => element("th", { textContent: head }))),
    ...rows.map((cells) => element("tr", {}, ...cells.map((text, place) => cell("td", text, place))))));
}

const share = (fraction) => (fraction === null ? "–" : `${number(100 * fraction, 1)} %`);

// What was earned in which market.
function regimes({ diagnostics }) {
  const found = diagnostics.regimes;
  if (!found?.rows.length) return [];
  const several = new Set(found.rows.map((row) => row.symbol)).size > 1;
  const heads = ["trend", "volatility", "of bars", "in market", "trades", "won", "net P&L", "a trade", "profit factor"];
  const rows = found.rows.map((row) => [
    ...(several ? [row.symbol] : []), row.trend, row.volatility, share(row.share_of_bars), share(row.time_in_market),
    number(row.trades, 0), row.trades ? share(row.wins / row.trades) : "–", signed(Number(row.net_pnl)),
    row.expectancy === null ? "–" : signed(Number(row.expectancy)), number(row.profit_factor),
  ]);
  const shift = several ? 1 : 0;
  const note = `by the ${number(found.window_bars, 0)} bars before; a trade belongs to the bar of its entry`;
  return [card("Regimes", note, table([...(several ? ["symbol"] : []), ...heads], rows, { [6 + shift]: true, [7 + shift]: true }))];
}

function drawdowns({ diagnostics }) {
  const found = diagnostics.drawdowns?.deepest ?? [];
  if (!found.length) return [];
  const day = (text) => (text === null ? "not yet" : text.slice(0, 16).replace("T", " "));
  const rows = found.map((each) => [
    `−${number(100 * each.depth)} %`, `−${number(Number(each.depth_money))}`, day(each.start_time), day(each.trough_time),
    day(each.end_time), duration(1000 * each.duration_seconds),
  ]);
  return [card("Deepest drawdowns", "UTC", table(["depth", "money", "from", "trough", "regained", "length"], rows))];
}

// From what trading would have made without costs to what it made.
function costs({ stats }) {
  const own = stats.costs;
  if (!own || own.total === null || own.total === undefined) return [];
  const net = Number(stats.equity.net_profit);
  const parts = [["before costs", net + Number(own.total)], ...["fees", "spread", "slippage", "funding"].map((name) => [name, 0 - Number(own[name])]), ["net profit", net]];
  const reach = Math.max(...parts.map(([, value]) => Math.abs(value))) || 1;
  const rows = parts.map(([name, value]) => {
    const bar = element("i", { className: value < 0 ? "loss" : "gain" });
    bar.style.width = `${(100 * Math.abs(value)) / reach}%`;
    return element("div", { className: "cost" }, element("span", { textContent: name }), element("div", {}, bar), element("b", { textContent: signed(value), className: tone(value) }));
  });
  return [card("Costs", "what trading made, and what it cost", ...rows)];
}

// MAE against MFE in percent of the entry; a click takes the nearest trade.
function excursions(spans, choose) {
  const canvas = element("canvas", {});
  const made = card("MAE / MFE", "worst and best floating profit in percent of the entry; click a point", canvas);
  const pad = { left: 40, right: 10, top: 8, bottom: 28 };
  const reach = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1;
  const [xMost, yMost] = [reach(spans.mae_percent), reach(spans.mfe_percent)];
  const place = (i, width, height) => [
    pad.left + (-spans.mae_percent[i] / xMost) * (width - pad.left - pad.right),
    height - pad.bottom - (spans.mfe_percent[i] / yMost) * (height - pad.top - pad.bottom),
  ];
  const draw = () => {
    const { clientWidth: width, clientHeight: height } = canvas;
    const scale = globalThis.devicePixelRatio || 1;
    Object.assign(canvas, { width: width * scale, height: height * scale });
    const context = canvas.getContext("2d");
    context.scale(scale, scale);
    context.strokeStyle = "#c6ccd8";
    context.strokeRect(pad.left, pad.top, width - pad.left - pad.right, height - pad.top - pad.bottom);
    context.globalAlpha = spans.trade.length > 1000 ? 0.35 : 0.7;
    for (let i = 0; i < spans.trade.length; i++) {
      const [x, y] = place(i, width, height);
      context.fillStyle = spans.pnl[i] > 0 ? "#00897b" : "#d32f2f";
      context.fillRect(x - 1.5, y - 1.5, 3, 3);
    }
    context.globalAlpha = 1;
    context.fillStyle = "#667085";
    context.font = "11px system-ui, sans-serif";
    context.fillText("0", pad.left, height - pad.bottom + 13);
    context.textAlign = "right";
    context.fillText(`MAE −${number(xMost)} %`, width - pad.right, height - pad.bottom + 13);
    context.fillText(number(yMost), pad.left - 4, pad.top + 9);
    context.fillText("MFE %", pad.left - 4, pad.top + 23);
    context.fillText("0", pad.left - 4, height - pad.bottom);
  };
  canvas.addEventListener("click", (event) => {
    let [found, nearest] = [-1, 15];
    for (let i = 0; i < spans.trade.length; i++) {
      const [x, y] = place(i, canvas.clientWidth, canvas.clientHeight);
      const distance = Math.hypot(x - event.offsetX, y - event.offsetY);
      if (distance < nearest) [found, nearest] = [i, distance];
    }
    if (found >= 0) choose(found);
  });
  new ResizeObserver(draw).observe(canvas);
  return made;
}

export function figureCards(report, spans, equity, choose) {
  const hasExcursions = spans.mae_percent.some(Number.isFinite);
  return [
    distribution(spans.pnl), ...(hasExcursions ? [excursions(spans, choose)] : []),
    months(equity, report.run.initial_cash), ...(spans.trade.length ? [hours(spans)] : []),
    ...regimes(report), ...drawdowns(report), ...costs(report), statistics(report),
  ];
}

export function factsText({ run, symbols }) {
  const ambiguous = run.ambiguous_bars ? ` · ${number(run.ambiguous_bars, 0)} ambiguous bars` : "";
  const names = symbols.map(({ symbol }) => symbol).join(", ");
  const known = [["fills", run.fill_model], ["run", run.id], ["hash", run.hash]].filter(([, text]) => text);
  const facts = [
    names, `${moment(run.start_ms)} to ${moment(run.end_ms)} UTC`, ...known.map((each) => each.join(" ")),
    `Tapewright ${run.version}`, run.note,
  ];
  return `${facts.filter(Boolean).join(" · ")}${ambiguous}`;
}
