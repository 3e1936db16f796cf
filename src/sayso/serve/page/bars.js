// Shares or scores as a table with bars: one row per name, with an interval as a whisker.

import { number } from "./axis.js";
import { make } from "./dom.js";

// Return a table. `rows`: [{name, value, low, high, note, href}]; `most` is the value of a full bar (default: the largest).
export function bars({ caption, rows, most = null, text = number }) {
  const full = most ?? Math.max(...rows.map((row) => row.high ?? row.value ?? 0), 1e-9);
  const width = (value) => `${(100 * Math.min(1, Math.max(0, value / full))).toFixed(2)}%`;
  const line = ({ name, value, low, high, note, href }) => {
    const bar = make("div", { class: "track" });
    if (Number.isFinite(value)) bar.append(make("div", { class: "fill" }));
    if (bar.firstChild) bar.firstChild.style.width = width(value);
    if (Number.isFinite(low) && Number.isFinite(high)) {
      const reach = make("div", { class: "reach" });
      reach.style.left = width(low);
      reach.style.width = `calc(${width(high)} - ${width(low)})`;
      bar.append(reach);
    }
    const interval = Number.isFinite(low) && Number.isFinite(high) ? ` (${text(low)} to ${text(high)})` : "";
    return make("tr", {}, make("th", { scope: "row" }, href ? make("a", { href }, name) : name), make("td", { class: "wide-cell" }, bar),
      make("td", { class: "number" }, text(value), make("span", { class: "quiet" }, interval)), make("td", { class: "quiet" }, note ?? ""));
  };
  return make("div", { class: "scroller", tabIndex: 0, role: "group", "aria-label": caption }, make("table", { class: "bars" }, make("caption", { class: "unseen" }, caption), make("tbody", {}, rows.map(line))));
}
