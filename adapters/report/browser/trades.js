// The list of trades: rows are made for what is in sight only.
import { duration, element, moment, number, signed, tone } from "./format.js";

const ROW = 26;

export class TradeList {
  constructor(spans, codes, choose) {
    Object.assign(this, { spans, codes, choose, chosen: -1, direction: 1, key: "trade" });
    this.order = Array.from(spans.trade, (_, i) => i);
    this.rows = document.getElementById("rows");
    this.sheet = document.getElementById("sheet");
    this.sheet.style.height = `${this.order.length * ROW}px`;
    document.getElementById("count").textContent = number(this.order.length, 0);
    const heads = [["trade", "#"], ["side", "side"], ["entry_time", "entry"], ["pnl", "P&L"], ["pnl_percent", "%"]];
    document.getElementById("head").append(
      ...heads.map(([key, text]) => element("button", { type: "button", textContent: text, title: "Sort", onclick: () => this.sort(key) })),
    );
    this.rows.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => this.draw()).observe(this.rows);
    this.rows.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      this.step(step);
    });
    this.draw();
  }

  sort(key) {
    this.direction = key === this.key ? -this.direction : 1;
    this.key = key;
    const values = this.spans[key];
    this.order.sort((a, b) => this.direction * (values[a] - values[b]) || a - b);
    this.draw();
  }

  // The trade before or after the chosen one, in the list's order.
  step(by) {
    if (!this.order.length) return;
    const place = this.chosen < 0 ? (by > 0 ? -1 : this.order.length) : this.order.indexOf(this.chosen);
    this.choose(this.order[Math.min(this.order.length - 1, Math.max(0, place + by))]);
  }

  mark(trade) {
    this.chosen = trade;
    const top = this.order.indexOf(trade) * ROW;
    const height = this.rows.clientHeight;
    if (trade >= 0 && (top < this.rows.scrollTop || top + ROW > this.rows.scrollTop + height)) {
      this.rows.scrollTop = top - height / 2;
    }
    this.draw();
  }

  draw() {
    const first = Math.max(0, Math.floor(this.rows.scrollTop / ROW) - 4);
    const last = Math.min(this.order.length, Math.ceil((this.rows.scrollTop + this.rows.clientHeight) / ROW) + 4);
    const rows = [];
    for (let place = first; place < last; place++) rows.push(this.row(place));
    this.sheet.replaceChildren(...rows);
  }

  row(place) {
    const { spans, codes } = this;
    const i = this.order[place];
    const cells = [
      [spans.trade[i], ""], [codes["trade_spans.side"][spans.side[i]], ""], [moment(spans.entry_time[i]), ""],
      [signed(spans.pnl[i]), tone(spans.pnl[i])], [signed(spans.pnl_percent[i]), tone(spans.pnl[i])],
    ].map(([text, className]) => element("span", { textContent: text, className }));
    const row = element("div", { className: i === this.chosen ? "row chosen" : "row", onclick: () => this.choose(i) }, ...cells);
    row.style.top = `${place * ROW}px`;
    row.dataset.trade = spans.trade[i];
    return row;
  }
}

// What a trade was, as the inside of its tooltip.
export function tradeTip(i, { spans, codes, report }) {
  const places = report.symbols[spans.symbol[i]].price_decimals;
  const side = codes["trade_spans.side"][spans.side[i]];
  const strategy = report.run.strategies[spans.strategy[i]];
  const r = (value) => (Number.isNaN(value) ? "" : ` · ${signed(value)} R`);
  const excursion = (money, percents, rs) =>
    Number.isFinite(money) ? `${signed(money)} (${signed(percents)} %)${r(rs)}` : "–";
  const rows = [
    ["entry", `${moment(spans.entry_time[i])} · ${number(spans.entry_price[i], places)}`],
    ["exit", `${moment(spans.exit_time[i])} · ${number(spans.exit_price[i], places)}`],
    ["size", `${spans.size[i]}`],
    ["P&L", `${signed(spans.pnl[i])} (${signed(spans.pnl_percent[i])} %)`, tone(spans.pnl[i])],
    ["fees, funding", `${number(spans.fees[i])}, ${number(spans.funding[i])}`],
    ["MAE", excursion(spans.mae[i], spans.mae_percent[i], spans.mae_r[i])],
    ["MFE", excursion(spans.mfe[i], spans.mfe_percent[i], spans.mfe_r[i])],
    ["held", `${duration(spans.exit_time[i] - spans.entry_time[i])}, ${spans.bars_held[i]} bars`],
    ["closed by", codes["trade_spans.exit_reason"][spans.exit_reason[i]]],
  ];
  return [
    element("h3", { textContent: `Trade ${spans.trade[i]} · ${side} · ${strategy}` }),
    element("table", {}, ...rows.map(([name, text, className = ""]) =>
      element("tr", {}, element("td", { textContent: name }), element("td", { textContent: text, className })))),
  ];
}
