// Columns of the report back to numbers. What a column is, adapters/report/columns.py says.

function bytesOf(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

async function inflated(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// The stored integers of one column, before other columns are added; not-a-number where unknown.
async function stored(column) {
  const raw = await inflated(bytesOf(column.data));
  const { count, planes } = column;
  const values = new Float64Array(count);
  const { nullable, order } = column;
  let sum = 0;
  if (planes <= 3) { // nearly all columns: whole numbers that bit operations hold
    const [second, third] = [planes > 1 ? count : -1, planes > 2 ? 2 * count : -1];
    for (let i = 0; i < count; i++) {
      let value = raw[i];
      if (second > 0) value |= raw[second + i] << 8;
      if (third > 0) value |= raw[third + i] << 16;
      if (nullable && value-- === 0) {
        values[i] = NaN;
        continue;
      }
      value = (value >>> 1) ^ -(value & 1);
      values[i] = order ? (sum += value) : value;
    }
    return values;
  }
  for (let plane = planes - 1; plane >= 0; plane--) {
    for (let i = 0, at = plane * count; i < count; i++, at++) values[i] = values[i] * 256 + raw[at];
  }
  for (let i = 0; i < count; i++) {
    let value = values[i];
    if (nullable && value-- === 0) {
      values[i] = NaN;
      continue;
    }
    value = value % 2 ? -(value + 1) / 2 : value / 2;
    values[i] = order ? (sum += value) : value;
  }
  return values;
}

// All columns of a table, as arrays of numbers by name.
export async function unpackTable(table) {
  const names = Object.keys(table);
  const found = Object.fromEntries(await Promise.all(names.map(async (name) => [name, await stored(table[name])])));
  const done = new Set();
  const resolve = (name) => {
    if (done.has(name)) return found[name];
    done.add(name);
    const { against = [], rule = "max", lag = 0 } = table[name];
    if (!against.length) return found[name];
    const others = against.map(resolve);
    const pick = rule === "max" ? Math.max : Math.min;
    const values = found[name];
    for (let i = lag; i < values.length; i++) {
      let base = others[0][i - lag];
      for (let k = 1; k < others.length; k++) base = pick(base, others[k][i - lag]);
      values[i] += base;
    }
    return values;
  };
  names.forEach(resolve);
  for (const name of names) {
    const { decimals } = table[name];
    const unit = 10 ** Math.abs(decimals);
    const values = found[name];
    if (decimals > 0) for (let i = 0; i < values.length; i++) values[i] /= unit;
    if (decimals < 0) for (let i = 0; i < values.length; i++) values[i] *= unit;
  }
  return found;
}

// The first place from `first` on whose value is at least `wanted`.
export function lowerBound(values, wanted, count = values.length, first = 0) {
  let low = first;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}
