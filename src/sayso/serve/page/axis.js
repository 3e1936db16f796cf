// Axes: a scale from values to pixels with round ticks, linear, logarithmic or of time, and numbers and times as text.

const SECOND = 1000, MINUTE = 60 * SECOND, DAY = 24 * 60 * MINUTE;
export const HOUR = 60 * MINUTE; // milliseconds
export const WEEK = 168; // hours
const STEPS = [1, 2, 5, 10, 15, 30].map((n) => n * SECOND)
  .concat([1, 2, 5, 10, 15, 30].map((n) => n * MINUTE), [1, 2, 3, 6, 12].map((n) => n * HOUR), [1, 2, 7, 14, 30, 90, 365].map((n) => n * DAY));

// Return {at(value) -> pixel, of(pixel) -> value, ticks: [[value, text]]} for values from `low` to `high`, on pixels from
// `start` to `end`. `kind` is "number" or "time" (milliseconds); `log` needs positive values; `count` is about how many ticks; `text(tick)` has the unit.
export function axis({ low, high, start, end, kind = "number", log = false, count = 5, text }) {
  const wide = high > low ? [low, high] : log ? [low / 2, high * 2] : [low - (Math.abs(low) || 1) / 2, high + (Math.abs(high) || 1) / 2];
  const ticks = log ? logTicks(...wide) : kind === "time" ? timeTicks(...wide, count) : roundTicks(...wide, count);
  const ends = kind === "time" || log ? wide : [Math.min(wide[0], ticks[0]), Math.max(wide[1], ticks.at(-1))];
  const [a, b] = log ? ends.map(Math.log) : ends;
  const at = (value) => start + ((log ? Math.log(value) : value) - a) / (b - a) * (end - start);
  const of = (pixel) => {
    const value = a + (pixel - start) / (end - start) * (b - a);
    return log ? Math.exp(value) : value;
  };
  const told = kind === "time" ? timeText(ticks, wide[1] - wide[0]) : text ?? short;
  return { at, of, ticks: ticks.map((tick) => [tick, told(tick)]) };
}

// Ticks at round numbers, the first at or below `low`, the last at or above `high`.
function roundTicks(low, high, count) {
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 2.5, 5, 10].find((n) => n * power >= raw * 0.999);
  const [first, last] = [Math.floor(low / step + 1e-9), Math.ceil(high / step - 1e-9)];
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

function logTicks(low, high) {
  const decades = Math.log10(high / low);
  const within = decades < 1.2 ? [1, 2, 3, 5, 7] : decades < 3 ? [1, 2, 5] : [1];
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
    for (const n of within) ticks.push(n * 10 ** power);
  }
  const inside = ticks.filter((tick) => tick >= low * 0.9999 && tick <= high * 1.0001);
  return inside.length > 1 ? inside : [low, high];
}

function timeTicks(low, high, count) {
  const step = STEPS.find((one) => (high - low) / one <= count) ?? STEPS.at(-1);
  const zone = new Date(low).getTimezoneOffset() * MINUTE;
  const ticks = [];
  for (let tick = Math.ceil((low - zone) / step) * step + zone; tick <= high; tick += step) ticks.push(tick);
  return ticks.length ? ticks : [low];
}

function timeText(ticks, width) {
  const span = ticks.at(-1) - ticks[0], step = ticks.length > 1 ? ticks[1] - ticks[0] : width;
  const day = { month: "short", day: "numeric" }, clock = { hour: "2-digit", minute: "2-digit" };
  const shape = step >= DAY ? day : span >= DAY ? { ...day, ...clock } : step < MINUTE ? { ...clock, second: "2-digit" } : clock;
  const format = new Intl.DateTimeFormat(undefined, shape);
  return (tick) => format.format(tick);
}

// A number for an axis: 0.5, 12, 3k, 1.5M.
function short(value) {
  const size = Math.abs(value);
  for (const [least, unit, letter] of [[1e9, 1e9, "B"], [1e6, 1e6, "M"], [1e4, 1e3, "k"]]) {
    if (size >= least) return `${Number((value / unit).toPrecision(6))}${letter}`;
  }
  const round = Number(value.toPrecision(6));
  return size !== 0 && size < 1e-4 ? round.toExponential() : String(round);
}

export const count = (value) => value.toLocaleString("en");

// A number to read: at most four significant digits, or as many as given, thousands separated.
export function number(value, digits = 4) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (Math.abs(value) >= 1000) return count(Math.round(value));
  return value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential(2) : String(Number(value.toPrecision(digits)));
}

export function percent(share) {
  const size = Math.abs(share);
  return share === null || share === undefined ? "–" : `${(100 * share).toFixed(size && size < 0.00995 ? 2 : size < 0.0995 ? 1 : 0)} %`;
}

export function moment(time) {
  return new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" }).format(new Date(time));
}
