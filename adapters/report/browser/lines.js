// Lines below the candles: the library keeps their pane and its scale, they are drawn here from the rows in view.
// A series of the library would take in every bar once more whenever the bars change.
import { number } from "./format.js";

export class Lines {
  // view: the chart, which has the rows; curves, drawn in this order: {of: row => value, colour (none: no line),
  // isStepped, fill: the colour of the area to its foot, foot: row => value}; marks: values that the scale always shows.
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
    for (const of of this.curves.flatMap((curve) => (curve.isScaled ? [curve.of, curve.foot] : [curve.of]))) {
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
        context.lineWidth = 1;
        if (curve.colour) context.stroke(path);
        if (!curve.fill) continue;
        for (let i = last; i >= first; i--) path.lineTo(x0 + i * (x1 - x0), y0 + curve.foot(rows[i]) * (y1 - y0));
        context.fillStyle = curve.fill;
        context.fill(path);
      }
      context.restore();
    });
  }
}

export const MONEY = { minMove: 0.01, text: (value) => number(value, Math.abs(value) >= 10_000 ? 0 : 2) };
export const PERCENT = { minMove: 0.0001, text: (value) => `${number(100 * value, 2)} %` };
export const TIMES = { minMove: 0.01, text: (value) => `${number(value, 2)} ×` };
