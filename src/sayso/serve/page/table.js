// A table in a region that scrolls. A column is a name, with ">" in front if it has numbers; a row is a list of cells, the first of
// which names it; a cell is text, an element, a list of them, or null. The name of the first column may be empty.

import { make } from "./dom.js";

// `kind`: the class of each column's cells.
export function table(name, columns, rows, kind = columns.map((column) => (column.startsWith(">") ? "number" : null))) {
  const head = columns.map((column, i) => (column ? make("th", { scope: "col", class: kind[i] }, column.replace(/^>/, "")) : make("td")));
  const line = (cells) => make("tr", {}, cells.map((cell, i) => make(i ? "td" : "th", { scope: i ? null : "row", class: kind[i] }, cell)));
  return make("div", { class: "scroller", tabindex: 0, role: "region", "aria-label": name }, make("table", {}, columns.length ? make("thead", {}, make("tr", {}, head)) : null, make("tbody", {}, rows.map(line))));
}
