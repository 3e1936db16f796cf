// From a token to a vector: its numbers, its nearest neighbors, and how the model encodes positions.

import { between, color, digits, fill, make, python, shown, table } from "./dom.js";

export const depends = ["p"];

export async function draw(body, state) {
  const [{ meta, arrays }, positions] = await Promise.all([state.load("embedding", { position: state.p }), state.load("positions")]);
  const text = shown(meta.token[1]), { vector } = arrays;
  const near = (caption, list) => table(caption, [["Token", false], ["Cosine", true]], list.map(([, word, cosine]) => [shown(word), digits(cosine)]));
  fill(body,
    make("p", { class: "what" }, `Each id has a row of ${state.facts.shape.width} numbers, learned in training. Tokens that are used alike have rows that point the same way.`),
    make("p", { class: "told" }, `The row of "${text}" has length ${digits(meta.norm)}; the mean of all tokens is ${digits(meta.mean_norm)}.`),
    strip(vector, `What enters the first layer for "${text}": ${vector.length} numbers`),
    make("div", { class: "pair" }, near(`Nearest to "${text}"`, meta.near), meta.writes.length ? near(`Nearest rows of the head`, meta.writes) : null),
    make("p", {}, told(positions)),
    python(`sayso.lens.nearest_tokens(model, ${meta.token[0]})\nsayso.lens.trace(model, ids, "blocks.0.hook_resid_pre")["blocks.0.hook_resid_pre"][0, ${state.p}]`),
  );
}

function told({ meta, arrays }) {
  const count = (kind) => meta.kinds.filter((one) => one === kind).length;
  if (!count("rotary")) return meta.kinds[0] === "learned" ? "Where the token stands is told by another learned row, one for each position, which is added." : "Nothing tells this model where a token stands, except that each position sees only those before it.";
  const waves = Array.from(arrays.wavelengths), none = count("none");
  return `Where the token stands is told inside attention: queries and keys turn like ${waves.length} dials, by their position. The fastest goes round every ${digits(Math.min(...waves), 1)} tokens, the slowest every ${Math.round(Math.max(...waves)).toLocaleString("en")}.${none ? ` ${none} layers have no dials.` : ""}`;
}

// A vector as a strip of colors.
export function strip(values, label) {
  const canvas = make("canvas", { class: "strip", role: "img", "aria-label": label, width: values.length, height: 1 });
  const most = values.reduce((a, b) => Math.max(a, Math.abs(b)), 0) || 1, pen = canvas.getContext("2d"), [paper, more, less] = ["paper", "more", "less"].map(color);
  values.forEach((value, i) => {
    pen.fillStyle = between(paper, value >= 0 ? more : less, Math.sqrt(Math.abs(value) / most));
    pen.fillRect(i, 0, 1, 1);
  });
  return make("figure", {}, canvas, make("figcaption", {}, label));
}
