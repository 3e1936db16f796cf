// What each layer, and each head of one layer, adds to the logit of a token, compared with another.

import { bar, digits, fill, make, python, shown, signed, table } from "./dom.js";
import { difference } from "./why_numbers.js";

export const depends = ["p", "l", "h", "y", "c"];
export const compares = true; // two tokens

export const KINDS = { previous: "previous token", first: "first token", own: "itself", induction: "induction", duplicate: "same token" };

export async function draw(body, state) {
  const [parts, heads] = await Promise.all([difference(state), state.load("heads")]);
  const { layers: count, heads: many } = state.facts.shape;
  const layers = Array.from({ length: count }, (_, layer) => [layer, parts.layers[2 * layer], parts.layers[2 * layer + 1]]);
  const most = Math.max(...layers.flatMap(([, attention, mlp]) => [Math.abs(attention), Math.abs(mlp)]));
  const picked = (layer) => make("button", { type: "button", class: "link", "aria-pressed": String(layer === state.l), onclick: () => state.select({ l: layer }) }, `layer ${layer}`);
  const added = Array.from({ length: many }, (_, head) => [head, parts.heads[state.l * many + head]]).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
  const largest = Math.abs(added[0][1]);
  const kind = (head) => {
    const score = (name) => heads.arrays[name][state.l * many + head];
    const [best, value] = Object.keys(KINDS).map((name) => [name, score(name)]).filter(([, share]) => share > 0.4).sort((a, b) => b[1] - a[1])[0] ?? [];
    return best ? `${KINDS[best]} ${value.toFixed(2)}` : "";
  };
  const { parts: names } = state.facts, called = (head) => names?.heads[state.l][head] ?? "";
  const rows = layers.map(([layer, attention, mlp]) => [picked(layer), make("span", { class: "with-bar" }, signed(attention), bar(attention, most)), make("span", { class: "with-bar" }, signed(mlp), bar(mlp, most))]);
  const headRows = added.map(([head, value]) => [make("button", { type: "button", class: "link", "aria-pressed": String(head === state.h), onclick: () => state.select({ h: head }) }, `head ${state.l}.${head}`), make("span", { class: "with-bar" }, signed(value), bar(value, largest)), kind(head), ...(names ? [called(head)] : [])]);
  fill(body,
    make("p", { class: "what" }, "All layers write into one stream of numbers, by adding. In each, attention brings in what other positions know, and the MLP adds what it has learned by heart."),
    make("p", { class: "told" }, `What each adds to ${state.question}:`),
    make("div", { class: "pair" },
      table("By layer", [["Layer", false], ["Attention", true], ["MLP", true]], rows),
      table(`Heads of layer ${state.l}, the most important first`, [["Head", false], ["Adds", true], ["Looks mostly at", false], ...(names ? [["In the program", false]] : [])], headRows)),
    names ? await stream(state, names) : null,
    python(`found = sayso.lens.direct_attribution(model, ids, ${state.y}, ${state.c}, position=${state.p})  # ${shown(state.word(state.y))} against ${shown(state.word(state.c))}\nfound.layers, found.heads[0, ${state.l}]`),
  );
}

// What the layer does to each named dimension of a compiled program's stream.
async function stream(state, { dimensions }) {
  const { arrays: { before, attention, mlp, after } } = await state.load("stream", { layer: state.l, position: state.p });
  const used = dimensions.map((name, i) => [name, i]).filter(([, i]) => [before, attention, mlp, after].some((part) => Math.abs(part[i]) > 1e-6));
  return table(`The stream at position ${state.p}, by the names of the program`, [["Dimension", false], ["Before", true], ["Attention adds", true], ["MLP adds", true], ["After", true]],
    used.map(([name, i]) => [name, ...[before, attention, mlp, after].map((part) => digits(part[i]))]));
}
