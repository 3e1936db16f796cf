// One attention head: its pattern, and for one pair of positions the whole arithmetic.

import { color, digits, fill, folded, make, mixed, percent, python, room, shown, signed, table } from "./dom.js";
import { curve } from "./distance.js";

export const depends = ["p", "l", "h", "k"];

export async function draw(body, state) {
  const [{ meta, arrays }, { meta: writes }] = await Promise.all([state.load("head", { layer: state.l, head: state.h }), state.load("written", { layer: state.l, head: state.h, position: state.p })]);
  const { tokens, shape } = state.facts, { pattern } = arrays, time = tokens.length;
  const seen = shape.looks_ahead ? time : state.p + 1, row = pattern.subarray(state.p * time, state.p * time + seen);
  const strongest = row.indexOf(Math.max(...row));
  const k = state.k !== null && state.k < seen ? state.k : strongest;
  const word = (at) => `"${shown(tokens[at][1])}"`;
  const list = (items) => items.map(([, text, value]) => `"${shown(text)}" ${signed(value)}`).join(", ");
  const picker = (name, count, value, key) => make("label", {}, name, make("select", { onchange: (event) => state.select({ [key]: Number(event.target.value) }) },
    Array.from({ length: count }, (_, i) => make("option", { value: i, selected: i === value }, String(i)))));
  const order = Array.from(row, (share, at) => [at, share]).sort((a, b) => b[1] - a[1]).slice(0, 8);
  fill(body,
    make("p", { class: "what" }, `A head asks a question for each position (its query) and compares it with what every ${shape.looks_ahead ? "" : "earlier "}position offers (their keys). Where they match, it fetches what stands there. Row: who asks. Column: who is looked at.`),
    state.facts.parts ? make("p", { class: "told" }, `In the program, this head is ${state.facts.parts.heads[state.l][state.h] ?? "not used"}.`) : null,
    make("div", { class: "pickers" }, picker("Layer", shape.layers, state.l, "l"), picker("Head", shape.heads, state.h, "h")),
    square(pattern, time, state, k),
    make("p", { class: "told" }, `At position ${state.p}, ${word(state.p)} looks most at ${word(strongest)} (position ${strongest}, ${percent(row[strongest])}).`),
    table("Where it looks", [["Token", false], ["Position", true], ["Attention", true], ["Length of what it would write", true]],
      order.map(([at, share]) => [make("button", { type: "button", class: "link", "aria-pressed": String(at === k), onclick: () => state.select({ k: at }) }, shown(tokens[at][1])), String(at), percent(share), digits(arrays.value_norms[at])])),
    arithmetic(meta, arrays, state.p, k, seen, word, shape.looks_ahead),
    curve(meta, arrays, { p: state.p, k, word, context: shape.context, wide: room(body) }),
    make("p", {}, `What it writes here promotes ${list(writes.promotes)}; it suppresses ${list(writes.suppresses)}.`),
    python(`name = "blocks.${state.l}.attn.hook_pattern"\nsayso.lens.trace(model, ids, name)[name][0, ${state.h}, ${state.p}, ${k}]${arrays.frequencies ? `\nsayso.lens.scores_by_distance(model, ids, ${state.l}, ${state.h}, range(8), query=${state.p}, key=${k}).sum(-1)` : ""}`),
  );
}

// The pattern as a picture, one pixel for each pair, enlarged; a click chooses a row and a column.
function square(pattern, time, { p, select, facts: { tokens, shape: { looks_ahead: ahead } } }, k) {
  const last = (row) => (ahead ? time - 1 : row); // that the row sees
  const cell = Math.max(1, Math.min(22, Math.floor(340 / time))), canvas = make("canvas", { width: time, height: time, tabindex: 0, role: "img", class: "square",
    "aria-label": `Attention of each position to each, as a square. Position ${p} looks at position ${k} with ${percent(pattern[p * time + k])}. Left and right arrows choose what it looks at, up and down who looks.` });
  const pen = canvas.getContext("2d"), image = pen.createImageData(time, time), pixels = new Uint32Array(image.data.buffer); // 32 bits at once: 2,048 tokens have four million
  const [paper, strong, rule] = ["paper", "strong", "rule"].map(color), [hidden, ...ramp] = [mixed(rule, rule, 0), ...Array.from({ length: 256 }, (_, i) => mixed(paper, strong, i / 255))].map((one) => new Uint32Array(Uint8Array.of(...one, 255).buffer)[0]);
  pixels.fill(hidden);
  for (let row = 0; row < time; row += 1) {
    for (let column = 0, at = row * time; column <= last(row); column += 1, at += 1) pixels[at] = ramp[Math.round(255 * Math.sqrt(pattern[at]))];
  }
  pen.putImageData(image, 0, 0);
  const mark = (left, width) => {
    const box = make("span", { class: "chosen" }), share = (value) => `${100 * value / time}%`;
    Object.assign(box.style, { left: share(left), width: share(width), top: share(p), height: share(1) });
    return box;
  };
  const choose = (row, column) => row >= 0 && row < time && column >= 0 && column <= last(row) && select({ p: row, k: column, y: null, c: null });
  const place = (event) => [event.offsetY / canvas.clientHeight, event.offsetX / canvas.clientWidth].map((share) => Math.min(time - 1, Math.floor(share * time)));
  canvas.addEventListener("click", (event) => choose(...place(event)));
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!step) return;
    event.preventDefault();
    choose(p + step[0], Math.min(k + step[1], last(p + step[0])));
  });
  const told = make("output", { class: "quiet" });
  canvas.addEventListener("pointermove", (event) => {
    const [row, column] = place(event);
    told.value = column <= last(row) ? `"${shown(tokens[row][1])}" looks at "${shown(tokens[column][1])}": ${percent(pattern[row * time + column])}` : "";
  });
  const frame = make("div", { class: "frame" }, canvas, mark(0, last(p) + 1), mark(k, 1));
  frame.style.width = `${time * cell}px`;
  return make("figure", { class: "pattern" }, frame, make("figcaption", {}, told, " The square root of the attention is drawn, so that small weights show."));
}

// q . k, the scale, the cap, the softmax: with numbers that multiply out, for the positions from 0 that are seen.
export function scores(meta, { q, k }, p, seen) {
  const size = q.shape[1], first = meta.window ? Math.max(0, p - meta.window + 1) : 0;
  return Array.from({ length: seen }, (_, at) => {
    let dot = 0;
    for (let i = 0; i < size; i += 1) dot += q[p * size + i] * k[at * size + i];
    const scaled = dot * meta.scale, score = meta.cap ? meta.cap * Math.tanh(scaled / meta.cap) : scaled;
    return { dot, scaled, score: at < first ? -Infinity : score };
  });
}

function arithmetic(meta, arrays, p, k, seen, word, ahead) {
  const all = scores(meta, arrays, p, seen), most = Math.max(...all.map(({ score }) => score));
  const weights = all.map(({ score }) => Math.exp(score - most)), sum = weights.reduce((a, b) => a + b, 0), size = arrays.q.shape[1];
  const terms = Array.from({ length: size }, (_, i) => [i, arrays.q[p * size + i], arrays.k[k * size + i]]).sort((a, b) => Math.abs(b[1] * b[2]) - Math.abs(a[1] * a[2]));
  const step = (name, formula) => make("li", {}, make("b", {}, name), " ", make("span", { class: "formula" }, formula));
  const { dot, scaled, score } = all[k];
  return make("div", { class: "arithmetic" },
    make("h3", {}, `How ${word(p)} comes to look at ${word(k)}`),
    make("ol", {},
      step("Multiply", `q · k = ${terms.slice(0, 3).map(([, a, b]) => `${digits(a)} × ${digits(b)}`).join(" + ")} + … = ${digits(dot, 4)}`),
      step("Scale", `${digits(dot, 4)} × ${digits(meta.scale, 4)} = ${digits(scaled, 4)}`),
      meta.cap ? step("Cap", `${meta.cap} × tanh(${digits(scaled, 4)} / ${meta.cap}) = ${digits(score, 4)}`) : null,
      step("Mask", meta.window ? `only the last ${meta.window} positions are seen` : ahead ? "every position is seen" : `positions after ${p} are not seen`),
      step("Softmax", `exp(${digits(score, 4)} - ${digits(most, 4)}) / ${digits(sum, 4)} = ${digits(weights[k] / sum, 4)}`)),
    folded(`All ${size} products`, () => table("Products of query and key", [["Dimension", true], ["Query", true], ["Key", true], ["Product", true]],
      terms.map(([i, a, b]) => [String(i), digits(a, 3), digits(b, 3), digits(a * b, 3)]))));
}
