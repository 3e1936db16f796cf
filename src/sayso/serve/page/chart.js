// A chart: series of points over one pair of axes, drawn as SVG. Its values are shown on hover and by keyboard (arrow keys,
// Home, End), and stand in a table below it.

import { axis, count, moment, number } from "./axis.js";
import { button, draw, make, quiet, redraw, tell } from "./dom.js";
import { table } from "./table.js";

const TOP = 10, RIGHT = 14, BOTTOM = 28, DASHES = ["", "7 4", "2 4", "9 3 2 3"], COLORS = 6;
const TABLE_ROWS = 1000;

// Return a figure, whose `redraw` takes other values of all but the title and the height; what is open, hidden or read in it stays so.
//
// `x`, `y`: {name, kind: "number" | "time", log, from, to, text(value)}; `series`: [{name, points: [[x, y, low, high]],
// style: "line" | "dots" | "steps"}], each sorted by x, low and high are optional; `marks`: [{x, text}], vertical lines;
// `pick(x)`: called on click and Enter with the x of the nearest point.
export function chart({ title, height = 220, ...values }) {
  const svg = draw("svg", { tabindex: 0, role: "img", "aria-label": `${title}. Use the arrow keys to read its values.` });
  const told = make("output", { class: "told quiet" });
  const legend = make("div", { class: "legend", role: "group", "aria-label": "Series" });
  const plot = { svg, told, legend, table: folded(() => fillTable(plot)), hidden: new Set(), height, width: 0, cursor: null };
  const figure = make("figure", { class: "chart" }, make("figcaption", {}, make("b", {}, title), told), make("div", { class: "plot" }, svg), legend, plot.table);
  figure.redraw = (given) => change(plot, given);
  figure.redraw(values);
  const size = new ResizeObserver(([entry]) => {
    const width = Math.round(entry.contentRect.width);
    if (width && width !== plot.width) {
      plot.width = width;
      render(plot);
    }
  });
  size.observe(svg.parentElement);
  listen(plot);
  return figure;
}

function change(plot, { x, y, series, marks = [], pick = null }) {
  plot.pick = pick;
  const values = JSON.stringify([x, y, series, marks]);
  if (values === plot.values) return;
  Object.assign(plot, { values, x, y, series, marks, spots: null });
  plot.svg.classList.toggle("picked", pick !== null);
  plot.legend.hidden = series.length < 2;
  redraw(plot.legend, ...(plot.legend.hidden ? [] : series.map((one, i) => legendButton(plot, one.name, i))));
  if (plot.width) render(plot);
  if (plot.table.open) fillTable(plot);
}

const visible = ({ series, hidden }) => series.filter(({ name }) => !hidden.has(name));
const textOf = (side, value) => (side.text ?? (side.kind === "time" ? moment : number))(value);
const fits = (side, value) => Number.isFinite(value) && (!side.log || value > 0);

// The x values of all points that are shown, sorted, each once.
function places(plot) {
  plot.spots ??= [...new Set(visible(plot).flatMap(({ points }) => points.map(([at]) => at)))].filter((at) => fits(plot.x, at)).sort((a, b) => a - b);
  return plot.spots;
}

function render(plot) {
  const { svg, x, y, marks, width, height } = plot;
  const points = visible(plot).flatMap((one) => one.points).filter((point) => fits(x, point[0]) && fits(y, point[1]));
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("width", width);
  svg.setAttribute("height", height);
  if (!points.length) {
    svg.replaceChildren(draw("text", { x: width / 2, y: height / 2, "text-anchor": "middle" }, "Nothing to draw yet."));
    plot.across = null;
    return;
  }
  const heights = points.flatMap(([, value, low, high]) => [value, low, high]).filter((value) => fits(y, value));
  const range = (side, values) => ({ low: side.from ?? least(values), high: side.to ?? most(values), kind: side.kind, log: side.log, text: side.text });
  plot.up = axis({ ...range(y, heights), start: height - BOTTOM, end: TOP, count: 4 });
  const left = 12 + 7 * Math.max(...plot.up.ticks.map(([, text]) => text.length));
  plot.across = axis({ ...range(x, points.map(([at]) => at)), start: left, end: width - RIGHT, count: Math.max(2, Math.floor(width / 110)) });
  const grid = plot.up.ticks.flatMap(([value, text]) => [
    draw("path", { class: "grid", d: `M${left} ${plot.up.at(value)}H${width - RIGHT}` }),
    draw("text", { x: left - 6, y: plot.up.at(value) + 4, "text-anchor": "end" }, text),
  ]);
  const foot = plot.across.ticks.filter(([value]) => plot.across.at(value) >= left - 1 && plot.across.at(value) <= width - RIGHT + 1)
    .map(([value, text]) => draw("text", { x: Math.min(plot.across.at(value), width - 4 * text.length), y: height - 9, "text-anchor": "middle" }, text));
  const lines = marks.filter((mark) => plot.across.at(mark.x) >= left && plot.across.at(mark.x) <= width - RIGHT)
    .map((mark) => draw("path", { class: "mark", d: `M${plot.across.at(mark.x)} ${TOP}V${height - BOTTOM}` }, draw("title", {}, mark.text)));
  const shapes = plot.series.flatMap((one, i) => (plot.hidden.has(one.name) ? [] : shape(plot, one, i, width)));
  plot.pointer = draw("g", { class: "pointer" });
  svg.replaceChildren(...grid, ...foot, ...lines, ...shapes, plot.pointer);
  point(plot, places(plot).includes(plot.cursor) ? plot.cursor : null);
}

const least = (values) => values.reduce((a, b) => Math.min(a, b), Infinity);
const most = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);

function shape(plot, { points, style = "line" }, i, width) {
  const known = points.filter((point) => fits(plot.x, point[0]) && fits(plot.y, point[1]));
  if (!known.length) return [];
  const at = (across, up) => `${plot.across.at(across).toFixed(1)} ${plot.up.at(up).toFixed(1)}`;
  const few = style === "dots" ? known : thin(known, plot.across.at, width);
  const kind = `s${i % COLORS}`, drawn = [];
  const reach = few.filter((point) => fits(plot.y, point[2]) && fits(plot.y, point[3]));
  if (reach.length && style === "dots") drawn.push(draw("path", { class: `whisker ${kind}`, d: reach.map((p) => `M${at(p[0], p[2])}L${at(p[0], p[3])}`).join("") }));
  else if (reach.length > 1) drawn.push(draw("path", { class: `band ${kind}`, d: `M${[...reach.map((p) => at(p[0], p[2])), ...reach.toReversed().map((p) => at(p[0], p[3]))].join("L")}Z` }));
  if (style !== "dots") {
    const path = style === "steps" ? few.map((p, j) => (j ? `H${plot.across.at(p[0]).toFixed(1)}V${plot.up.at(p[1]).toFixed(1)}` : `M${at(p[0], p[1])}`)).join("") : `M${few.map((p) => at(p[0], p[1])).join("L")}`;
    drawn.push(draw("path", { class: `line ${kind}`, d: path, "stroke-dasharray": DASHES[Math.floor(i / COLORS) % DASHES.length] }));
  }
  if (style === "dots" || few.length < 40) drawn.push(draw("path", { class: `dots ${kind}`, d: few.map((p) => `M${at(p[0], p[1])}h0`).join("") }));
  return drawn;
}

// Keep the first, last, lowest and highest of the points in each pixel: what is drawn looks the same.
function thin(points, at, width) {
  if (points.length <= 4 * width) return points;
  const kept = [];
  for (let i = 0; i < points.length;) {
    const pixel = Math.round(at(points[i][0]));
    let [low, high, j] = [i, i, i];
    for (; j < points.length && Math.round(at(points[j][0])) === pixel; j += 1) {
      if (points[j][1] < points[low][1]) low = j;
      if (points[j][1] > points[high][1]) high = j;
    }
    kept.push(...[...new Set([i, low, high, j - 1])].sort((a, b) => a - b).map((k) => points[k]));
    i = j;
  }
  return kept;
}

function listen(plot) {
  const { svg } = plot;
  svg.addEventListener("pointermove", (event) => {
    if (plot.across) point(plot, nearest(places(plot), plot.across.of(event.clientX - svg.getBoundingClientRect().left)));
  });
  svg.addEventListener("pointerleave", () => point(plot, null));
  svg.addEventListener("blur", () => point(plot, null));
  svg.addEventListener("keydown", (event) => {
    const spots = places(plot), now = plot.cursor === null ? -1 : spots.indexOf(plot.cursor);
    const next = { ArrowRight: now + 1, ArrowLeft: now < 0 ? spots.length - 1 : now - 1, Home: 0, End: spots.length - 1 }[event.key];
    if (event.key === "Enter" && plot.cursor !== null) plot.pick?.(plot.cursor);
    if (next === undefined || !spots.length || !plot.across) return;
    event.preventDefault();
    point(plot, spots[Math.max(0, Math.min(spots.length - 1, next))]);
    tell(plot.told.value);
  });
  svg.addEventListener("click", () => plot.cursor !== null && plot.pick?.(plot.cursor));
}

// The index-free nearest of sorted numbers, by bisection.
function nearest(sorted, value) {
  let [low, high] = [0, sorted.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle;
    else high = middle;
  }
  return Math.abs(sorted[low] - value) <= Math.abs(sorted[high] - value) ? sorted[low] : sorted[high];
}

// The point of a series at an x; undefined if it has none there.
const pointAt = ({ points }, x) => points.find(([at]) => at === x);

// Show the values at an x; null shows none.
function point(plot, at) {
  plot.cursor = at;
  plot.pointer?.replaceChildren();
  plot.told.value = "";
  if (at === null || at === undefined || !plot.across) return;
  const found = plot.series.map((one, i) => [one, i, plot.hidden.has(one.name) ? undefined : pointAt(one, at)]).filter(([, , spot]) => spot && fits(plot.y, spot[1]));
  plot.pointer.append(draw("path", { class: "mark", d: `M${plot.across.at(at)} ${TOP}V${plot.height - BOTTOM}` }),
    ...found.map(([, i, spot]) => draw("circle", { class: `s${i % COLORS}`, cx: plot.across.at(at), cy: plot.up.at(spot[1]), r: 4 })));
  const values = found.map(([one, , spot]) => (plot.series.length > 1 ? `${one.name} ` : "") + valueText(plot.y, spot));
  plot.told.value = `${textOf(plot.x, at)}: ${values.join(", ")}`;
}

function valueText(y, [, value, low, high]) {
  return textOf(y, value) + (Number.isFinite(low) && Number.isFinite(high) ? ` (${textOf(y, low)} to ${textOf(y, high)})` : "");
}

function legendButton(plot, name, i) {
  const toggle = ({ currentTarget }) => {
    if (!plot.hidden.delete(name)) plot.hidden.add(name);
    currentTarget.setAttribute("aria-pressed", !plot.hidden.has(name));
    plot.spots = null;
    render(plot);
  };
  return button([make("i", { class: `key s${i % COLORS}` }), name], toggle, { class: "", "aria-pressed": String(!plot.hidden.has(name)) });
}

// The place of the table, which is filled when it is opened.
function folded(fill) {
  const details = make("details", { class: "behind" }, make("summary", {}, "Table"), make("div"), make("p", { class: "quiet", hidden: true }));
  details.addEventListener("toggle", () => details.open && fill(), { passive: true });
  return details;
}

function fillTable(plot) {
  const { x, y, series } = plot, [, old, more] = plot.table.children, spots = places(plot), shown = spots.slice(0, TABLE_ROWS);
  const cell = (one, at) => {
    const spot = pointAt(one, at);
    return spot && valueText(y, spot);
  };
  old.replaceWith(table("Values", [x.name, ...series.map((one) => `>${one.name || y.name}`)], shown.map((at) => [textOf(x, at), ...series.map((one) => cell(one, at))])));
  more.textContent = `The first ${shown.length} of ${count(spots.length)} rows.`;
  more.hidden = spots.length === shown.length;
}
