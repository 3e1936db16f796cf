// The circuit of a prediction in a model with few weights: what flows from the tokens through dimensions, heads and
// neurons to the logits, as a graph from left to right.

import { color, digits, drawing, fill, folded, make, percent, python, shown, signed, table } from "./dom.js";

export const depends = ["p", "l", "h", "n", "y", "c"];
export const compares = true; // two tokens

const ROW = 26, COLUMN = 150, LEFT = 130, RIGHT = 110, TOP = 34, BEND = 52, BOX = [44, 20];

export async function draw(body, state) {
  const { meta, arrays } = await state.load("circuit", { position: state.p, target: state.y, contrast: state.c });
  const what = make("p", { class: "what" }, "A circuit is the part of a model that makes one prediction: which weights carry something from the tokens to the logits, with attention and gates as they were.");
  if (!meta.edges) {
    if (meta.share === null) {
      fill(body, what, make("p", {}, "The weights of this model are quantized; look at the model that it was made from."));
      return;
    }
    fill(body, what,
      make("p", {}, `${percent(meta.share)} of the weights in this model's layers are not zero. Nearly all of them carry a little, and no drawing would show it. A model that was trained to have few weights has circuits that can be drawn: `),
      make("pre", { tabindex: 0 }, "sayso pretrain --depth 2 --width 64 --weight-sparse 0.05 --name sparse"));
    return;
  }
  const carried = meta.dimensions.reduce((sum, at) => sum + arrays.outputs[at], 0), { parts } = state.facts;
  const name = names(parts);
  fill(body, what,
    make("p", { class: "told" }, `${percent(meta.share)} of the weights in the layers are not zero. ${meta.flowing.toLocaleString("en")} connections carry something to ${state.question}. Drawn are the ${meta.edges.length} largest among ${meta.dimensions.length} dimensions and ${Object.keys(meta.units).length} heads and neurons, those through which most flows. These dimensions bring ${signed(carried)} of the difference of ${signed(meta.logit)}.`),
    make("div", { class: "scroller whole", tabindex: 0, role: "group", "aria-label": "The circuit" }, graph(meta, state, name)),
    make("p", { class: "quiet" }, "From left to right. Lines are dimensions of the stream; boxes are heads and neurons, which read from them and write to them. The more is carried, the thicker. Solid: in favor. Dashed: against."),
    folded("All connections drawn", () => table("Connections", [["From", false], ["To", false], ["Weight", true], ["Carries", true]],
      meta.edges.map(([from, to, weight, flow]) => [place(from, state, name), place(to, state, name), weight === null ? "" : digits(weight, 3), signed(flow, 3)]))),
    folded("Heads and neurons", () => table("What heads and neurons bring", [["Part", false], ["Brings", true]],
      Object.entries(meta.units).map(([unit, brings]) => [place(unit, state, name), signed(brings, 3)]))),
    python(`found = sayso.lens.circuit(model, ids, ${state.y}, ${state.c}, position=${state.p})\nfound.logit, found.outputs  # what each dimension brings`),
  );
}

// Return a function that names a node in words; `parts` are those of a compiled program.
const names = (parts) => (node) => {
  const [layer, number] = node.slice(1).split(".").map(Number);
  if (node.startsWith("d")) return parts?.dimensions[layer] ?? `dimension ${layer}`;
  if (number === undefined) return node;
  return (node.startsWith("h") ? parts?.heads : parts?.units)?.[layer][number] ?? `${node.startsWith("h") ? "head" : "neuron"} ${layer}.${number}`;
};

const choose = (node, state) => {
  const [l, number] = node.slice(1).split(".").map(Number);
  state.select(node.startsWith("h") ? { l, h: number } : { l, n: number });
};

const isUnit = (node) => node.includes(".");

const place = (node, state, name) => (isUnit(node) ? make("button", { type: "button", class: "link", onclick: () => choose(node, state) }, name(node)) : name(node));

const clip = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

function graph(meta, state, name) {
  const units = Object.keys(meta.units), stage = (unit) => 2 * Number(unit.slice(1).split(".")[0]) + (unit.startsWith("n") ? 1 : 0);
  const stages = [...new Set(units.map(stage))].sort((a, b) => a - b), columns = stages.map((one) => units.filter((unit) => stage(unit) === one));
  const lanes = new Map(meta.dimensions.map((at, i) => [`d${at}`, i])), most = Math.max(...meta.edges.map(([, , , flow]) => Math.abs(flow)));
  const rows = Math.max(lanes.size, ...columns.map((column) => column.length)), high = TOP + rows * ROW + 8;
  const lane = (node) => TOP + (lanes.get(node) + 0.5) * ROW * rows / lanes.size;
  const start = LEFT + 30, x = (i) => start + COLUMN * (i + 0.6), end = x(stages.length - 0.4), wide = end + BEND + RIGHT;
  const at = new Map(columns.flatMap((column, i) => spread(column, meta.edges, lane, TOP, high - 8).map(([unit, y]) => [unit, [x(i), y]])));
  const [svg, add] = drawing(wide, high), middle = (TOP + high) / 2;
  svg.classList.add("circuit");
  svg.setAttribute("width", wide);
  svg.setAttribute("height", high);
  svg.setAttribute("aria-label", `The circuit of ${state.question}: ${lanes.size} dimensions, ${units.length} heads and neurons, ${meta.edges.length} connections; the tables below have the numbers.`);
  stages.forEach((one, i) => add("text", { x: x(i), y: 16, "text-anchor": "middle" }, `${one % 2 ? "MLP" : "attention"} ${one >> 1}`));
  add("text", { x: 4, y: 16 }, "tokens");
  for (const node of lanes.keys()) {
    add("line", { x1: start, x2: end, y1: lane(node), y2: lane(node), class: "rule" });
    titled(add("text", { x: LEFT - 4, y: lane(node) + 4, "text-anchor": "end" }, clip(name(node), 18)), name(node));
  }
  for (const [from, to, weight, flow] of meta.edges) {
    const unit = at.get(isUnit(from) ? from : to), y = lane(lanes.has(from) ? from : to);
    const ends = from === "tokens" ? [LEFT, y, start, y] : to === "logits" ? [end, y, end + BEND, middle] : isUnit(to) ? [unit[0] - BEND - 6, y, unit[0] - BOX[0] / 2, unit[1]] : [unit[0] + BOX[0] / 2, unit[1], unit[0] + BEND + 6, y];
    titled(add("path", { d: curve(ends), class: "flow", stroke: color(flow >= 0 ? "more" : "less"), "stroke-dasharray": flow >= 0 ? "none" : "5 3", "stroke-width": 1 + 5 * Math.sqrt(Math.abs(flow) / most) }),
      `${name(from)} → ${name(to)}: ${weight === null ? "" : `weight ${digits(weight, 3)}, `}carries ${signed(flow, 3)}`);
  }
  for (const [unit, [left, y]] of at) {
    const [l, number] = unit.slice(1).split(".").map(Number), chosen = l === state.l && number === (unit.startsWith("h") ? state.h : state.n);
    const told = `${name(unit)}: brings ${signed(meta.units[unit], 3)}`;
    const box = add("rect", { x: left - BOX[0] / 2, y: y - BOX[1] / 2, width: BOX[0], height: BOX[1], rx: unit.startsWith("h") ? 0 : 10, class: chosen ? "unit chosen-unit" : "unit" });
    add("text", { x: left, y: y + 4.5, "text-anchor": "middle", class: "unit-name" }, String(number));
    titled(box, told).addEventListener("click", () => choose(unit, state));
  }
  add("text", { x: end + BEND + 6, y: middle - 4 }, `"${clip(shown(state.word(state.y)), 10)}"`);
  add("text", { x: end + BEND + 6, y: middle + 13, class: "quiet" }, `not "${clip(shown(state.word(state.c)), 9)}"`);
  return svg;
}

// Return the heights of a column's boxes: each near the lines that it is connected with, and none on another.
function spread(column, edges, lane, top, bottom) {
  const near = (unit) => {
    const found = edges.filter(([from, to]) => from === unit || to === unit), sum = found.reduce((all, [, , , flow]) => all + Math.abs(flow), 0);
    return sum ? found.reduce((all, [from, to, , flow]) => all + Math.abs(flow) * lane(from === unit ? to : from), 0) / sum : (top + bottom) / 2;
  };
  const placed = column.map((unit) => [unit, near(unit)]).sort((a, b) => a[1] - b[1]), half = ROW / 2;
  placed.forEach((one, i) => { one[1] = Math.max(one[1], i ? placed[i - 1][1] + ROW : top + half); });
  placed.reverse().forEach((one, i) => { one[1] = Math.min(one[1], i ? placed[i - 1][1] - ROW : bottom - half); });
  return placed;
}

const curve = ([x1, y1, x2, y2]) => `M${x1} ${y1}C${(x1 + x2) / 2} ${y1} ${(x1 + x2) / 2} ${y2} ${x2} ${y2}`;

// Give an element of a drawing a text that appears when it is pointed at.
function titled(element, text) {
  const title = document.createElementNS(element.namespaceURI, "title");
  title.textContent = text;
  element.append(title);
  return element;
}
