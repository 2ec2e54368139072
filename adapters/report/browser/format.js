// Numbers and times as text. Times are UTC.

export const MINUTE = 60_000;

const formats = new Map(); // by places: to make one takes longer than to use it a hundred times

export function number(value, places = 2) {
  if (value === null || !Number.isFinite(value)) return "–";
  let format = formats.get(places);
  if (!format) {
    format = new Intl.NumberFormat("en-US", { minimumFractionDigits: places, maximumFractionDigits: places });
    formats.set(places, format);
  }
  return format.format(value).replace("-", "−");
}

export function signed(value, places = 2) {
  return `${value > 0 ? "+" : ""}${number(value, places)}`;
}

export function percent(fraction, places = 2) {
  return fraction === null || !Number.isFinite(fraction) ? "–" : `${signed(100 * fraction, places)} %`;
}

export function moment(ms) {
  return new Date(ms).toISOString().slice(0, 16).replace("T", " ");
}

export function duration(ms) {
  const minutes = Math.round(ms / MINUTE);
  if (minutes < 1) return `${Math.round(ms / 1000)} s`;
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 1440) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`;
}

export function length(ms) {
  const minutes = ms / MINUTE;
  if (minutes < 1) return `${ms / 1000} s`;
  if (minutes < 60) return `${minutes} min`;
  return minutes < 1440 ? `${minutes / 60} h` : `${minutes / 1440} d`;
}

export function tone(value) {
  return value > 0 ? "gain" : value < 0 ? "loss" : "";
}

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}
