// The lineage of models as a picture: each model to the right of the one that it was made from.

import { draw } from "./dom.js";
import { addressOf } from "./place.js";

const WIDE = 150, HIGH = 46, GAP_X = 56, GAP_Y = 18, LETTERS = 20;

const clip = (text, most = LETTERS) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

// Return an SVG. `models`: [{name, stage, parent, parent_state}]; `named`: the aliases of each model, by name.
export function lineage(models, named) {
  const nodes = new Map(models.map((model) => [model.name, { ...model, known: true }]));
  for (const { name, parent, parent_state: state } of models) {
    if (!parent || state === "present") continue;
    // A parent that is not there (any more), or was replaced, is a node of its own.
    const gone = `${parent} ${state === "replaced" ? "(earlier)" : "(elsewhere)"}`;
    nodes.get(name).parent = gone;
    if (!nodes.has(gone)) nodes.set(gone, { name: gone, stage: "", parent: null, known: false });
  }
  const children = (name) => [...nodes.values()].filter((node) => node.parent === name);
  const placed = new Map();
  let row = 0;
  const place = (node, depth) => {
    if (placed.has(node.name)) return;
    placed.set(node.name, { depth, row });
    const own = children(node.name).filter((child) => !placed.has(child.name));
    own.forEach((child) => place(child, depth + 1));
    if (!own.length) row += 1;
  };
  for (const node of nodes.values()) if (!node.parent) place(node, 0);
  for (const node of nodes.values()) place(node, 0); // what is left: a circle of records that name each other
  const x = (name) => 2 + placed.get(name).depth * (WIDE + GAP_X), y = (name) => 2 + placed.get(name).row * (HIGH + GAP_Y);
  const edges = [...nodes.values()].filter((node) => node.parent && nodes.has(node.parent)).map((node) => {
    const [a, b, c, d] = [x(node.parent) + WIDE, y(node.parent) + HIGH / 2, x(node.name), y(node.name) + HIGH / 2];
    return draw("path", { class: "edge", d: `M${a} ${b}C${a + GAP_X / 2} ${b} ${c - GAP_X / 2} ${d} ${c} ${d}` });
  });
  const boxes = [...nodes.values()].map((node) => {
    const aliases = named.get(node.name) ?? [];
    const under = [node.stage, ...aliases].filter(Boolean).join(" · ");
    const box = draw("g", { class: aliases.length ? "node named" : node.known ? "node" : "node gone", transform: `translate(${x(node.name)} ${y(node.name)})` },
      draw("rect", { width: WIDE, height: HIGH, rx: 9 }), draw("text", { class: "title", x: 12, y: under ? 20 : 28 }, clip(node.name, 15)), draw("text", { x: 12, y: 36 }, clip(under)), draw("title", {}, `${node.name} ${under}`));
    if (!node.known) return box;
    return draw("a", { href: addressOf("models", [node.name]), "aria-label": [node.name, node.parent && `made from ${node.parent}`, under].filter(Boolean).join(", ") }, box);
  });
  const width = 4 + Math.max(...[...placed.values()].map(({ depth }) => depth)) * (WIDE + GAP_X) + WIDE, height = Math.max(1, row) * (HIGH + GAP_Y) - GAP_Y + 4;
  const picture = draw("svg", { class: "lineage", viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "Lineage" }, ...edges, ...boxes);
  Object.assign(picture.style, { width: `${width}px`, height: `${height}px` });
  return picture;
}
