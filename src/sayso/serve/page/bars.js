// Shares or scores as a table with bars: one row per name, with an interval as a whisker.

import { number } from "./axis.js";
import { make, small } from "./dom.js";
import { table } from "./table.js";

// Return a table. `rows`: [{name, value, low, high, note}]; `most` is the value of a full bar (default: the largest).
export function bars({ caption, rows, most = null, text = number }) {
  const full = most ?? Math.max(...rows.map((row) => row.high ?? row.value ?? 0), 1e-9);
  const width = (value) => `${(100 * Math.min(1, Math.max(0, value / full))).toFixed(2)}%`;
  const part = (kind, style) => {
    const element = make("div", { class: kind });
    Object.assign(element.style, style);
    return element;
  };
  const line = ({ name, value, low, high, note }) => {
    const sure = Number.isFinite(low) && Number.isFinite(high);
    const bar = make("div", { class: "track" }, Number.isFinite(value) && part("fill", { width: width(value) }), sure && part("reach", { left: width(low), width: `calc(${width(high)} - ${width(low)})` }));
    return [name, bar, [text(value), sure && small(` (${text(low)} to ${text(high)})`)], note && small(note)];
  };
  const made = table(caption, [], rows.map(line), ["", "wide-cell", "number"]);
  made.firstChild.classList.add("bars");
  return made;
}
