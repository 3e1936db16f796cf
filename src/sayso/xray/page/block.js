// What each layer, and each head of one layer, adds to the logit of a token, compared with another.

import { bar, fill, make, python, shown, signed, table } from "./dom.js";
import { select } from "./place.js";
import { load } from "./source.js";
import { difference } from "./why_numbers.js";

export const depends = ["p", "l", "h", "y", "c"];
export const compares = true; // two tokens

const KINDS = { previous: "previous token", first: "first token", own: "itself", induction: "induction", duplicate: "same token" };

export async function draw(body, state) {
  const [parts, heads] = await Promise.all([difference(state), load("heads")]);
  const { layers: count, heads: many } = state.facts.shape;
  const layers = Array.from({ length: count }, (_, layer) => [layer, parts.layers[2 * layer], parts.layers[2 * layer + 1]]);
  const most = Math.max(...layers.flatMap(([, attention, mlp]) => [Math.abs(attention), Math.abs(mlp)]));
  const picked = (layer) => make("button", { type: "button", class: "link", "aria-pressed": String(layer === state.l), onclick: () => select({ l: layer }) }, `layer ${layer}`);
  const added = Array.from({ length: many }, (_, head) => [head, parts.heads[state.l * many + head]]).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
  const largest = Math.abs(added[0][1]);
  const kind = (head) => {
    const score = (name) => heads.arrays[name][state.l * many + head];
    const [best, value] = Object.keys(KINDS).map((name) => [name, score(name)]).filter(([, share]) => share > 0.4).sort((a, b) => b[1] - a[1])[0] ?? [];
    return best ? `${KINDS[best]} ${value.toFixed(2)}` : "";
  };
  const rows = layers.map(([layer, attention, mlp]) => [picked(layer), make("span", { class: "with-bar" }, signed(attention), bar(attention, most)), make("span", { class: "with-bar" }, signed(mlp), bar(mlp, most))]);
  const headRows = added.map(([head, value]) => [make("button", { type: "button", class: "link", "aria-pressed": String(head === state.h), onclick: () => select({ h: head }) }, `head ${state.l}.${head}`), make("span", { class: "with-bar" }, signed(value), bar(value, largest)), kind(head)]);
  fill(body,
    make("p", { class: "what" }, "All layers write into one stream of numbers, by adding. In each, attention brings in what other positions know, and the MLP adds what it has learned by heart."),
    make("p", { class: "told" }, `What each adds to ${state.question}:`),
    make("div", { class: "pair" },
      table("By layer", [["Layer", false], ["Attention", true], ["MLP", true]], rows),
      table(`Heads of layer ${state.l}, the most important first`, [["Head", false], ["Adds", true], ["Looks mostly at", false]], headRows)),
    python(`found = sayso.lens.direct_attribution(model, ids, ${state.y}, ${state.c}, position=${state.p})  # ${shown(state.word(state.y))} against ${shown(state.word(state.c))}\nfound.layers, found.heads[0, ${state.l}]`),
  );
}
