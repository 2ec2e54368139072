// Lines below the candles: the library keeps their pane and its scale, they are drawn here from the rows in view.
// A series of the library would take in every bar once more whenever the bars change.
import { number } from "./format.js";

export class Lines {
  // view: the chart, which has the rows; curves, drawn in this order: {of: row => value, colour, isStepped, width,
  // fillTo: value that the area reaches to, fill: its colour}; marks: values that the scale always shows.
  constructor(view, { pane, format, curves, anchor, marks = [] }) {
    Object.assign(this, { view, curves, marks });
    this.views = [{ renderer: () => ({ draw: (target) => this.draw(target) }) }];
    const { LineSeries } = globalThis.LightweightCharts;
    this.series = view.chart.addSeries(
      LineSeries,
      {
        priceLineVisible: false, lastValueVisible: false, crosshairMarkerVisible: false, lineVisible: false,
        priceFormat: { type: "custom", minMove: format.minMove, formatter: format.text },
      },
      pane,
    );
    // A series without a point has no scale: this one lies after the last bar and is not drawn.
    this.series.setData([anchor]);
    this.series.attachPrimitive(this);
  }

  paneViews() {
    return this.views;
  }

  autoscaleInfo(from, to) {
    const { rows } = this.view;
    let [least, most] = [Math.min(...this.marks, Infinity), Math.max(...this.marks, -Infinity)];
    const last = Math.min(rows.length - 1, Math.ceil(to));
    for (const { of } of this.curves) {
      for (let i = Math.max(0, Math.floor(from)); i <= last; i++) {
        const value = of(rows[i]);
        if (value < least) least = value;
        if (value > most) most = value;
      }
    }
    return least <= most ? { priceRange: { minValue: least, maxValue: most } } : null;
  }

  // Both scales are straight, so two places on each tell all others.
  draw(target) {
    const { rows } = this.view;
    const scale = this.view.chart.timeScale();
    const range = scale.getVisibleLogicalRange();
    const [y0, y1] = [this.series.priceToCoordinate(0), this.series.priceToCoordinate(1)];
    if (!range || !rows.length || y0 === null || y1 === null) return;
    const [x0, x1] = [scale.logicalToCoordinate(0), scale.logicalToCoordinate(1)];
    const first = Math.max(0, Math.floor(range.from) - 1);
    const last = Math.min(rows.length - 1, Math.ceil(range.to) + 1);
    if (first > last) return;
    target.useMediaCoordinateSpace(({ context }) => {
      context.save();
      context.lineJoin = "round";
      for (const curve of this.curves) {
        const path = new Path2D();
        let before = NaN;
        for (let i = first; i <= last; i++) {
          const x = x0 + i * (x1 - x0);
          const y = y0 + curve.of(rows[i]) * (y1 - y0);
          if (i === first) path.moveTo(x, y);
          else {
            if (curve.isStepped) path.lineTo(x, before);
            path.lineTo(x, y);
          }
          before = y;
        }
        context.strokeStyle = curve.colour;
        context.lineWidth = curve.width ?? 1;
        context.stroke(path);
        if (curve.fill === undefined) continue;
        const foot = y0 + curve.fillTo * (y1 - y0);
        path.lineTo(x0 + last * (x1 - x0), foot);
        path.lineTo(x0 + first * (x1 - x0), foot);
        context.fillStyle = curve.fill;
        context.fill(path);
      }
      context.restore();
    });
  }
}

export const MONEY = { minMove: 0.01, text: (value) => number(value, Math.abs(value) >= 10_000 ? 0 : 2) };
export const PERCENT = { minMove: 0.0001, text: (value) => `${number(100 * value, 2)} %` };
