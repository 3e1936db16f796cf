// A guided tour: each stop says what a panel is, in plain words, about the text at hand. What it says is computed.

import { digits, make, percent, shown, signed } from "./dom.js";
import { load, saved } from "./source.js";
import { byToken, difference, wanted } from "./why_numbers.js";

const quoted = (text) => `"${shown(text)}"`;

// Each stop: [panel, what it says about a state].
const STOPS = [
  ["tokens", async ({ facts, p }) => `The text was cut into ${facts.tokens.length} tokens. The model has read up to ${quoted(facts.tokens[p][1])}, and all that follows is about what comes after it.`],
  ["tokens", async ({ facts, surprisal }) => {
    const at = surprisal.reduce((best, bits, i) => (bits > surprisal[best] || Number.isNaN(surprisal[best]) ? i : best), 1);
    if (facts.tokens.length < 2) return "The more color a token has, the less the model expected it. With one token there is nothing to expect yet.";
    return `The token with the most color is ${quoted(facts.tokens[at][1])}: the model gave it only ${percent(2 ** -surprisal[at])} before it was read.`;
  }],
  ["embedding", async ({ p, facts }) => {
    const { meta } = await load("embedding", { position: p });
    return `To the model, ${quoted(meta.token[1])} is a row of ${facts.shape.width} numbers. The row that points most nearly the same way belongs to ${quoted(meta.near[0][1])} (cosine ${digits(meta.near[0][2])}).`;
  }],
  ["embedding", async () => {
    const { meta } = await load("positions");
    const kinds = new Set(meta.kinds);
    if (kinds.has("rotary")) return "Where is the position? Not in these numbers: it is told inside attention, by turning queries and keys. Two tokens are compared by how far apart they are.";
    return kinds.has("learned") ? "Where is the position? It is in these numbers: a row for each position was added." : "Where is the position? Nothing tells it, except that each position sees only those before it.";
  }],
  ["map", async ({ p, facts }) => {
    const { meta, arrays } = await load("map", { first: Math.floor(p / 64) * 64 });
    const [rows, width, k] = arrays.top.shape, column = p % 64, best = (row) => arrays.top[(row * width + column) * k];
    const last = best(rows - 1);
    let from = rows - 1;
    while (from > 0 && best(from - 1) === last) from -= 1;
    const when = from === 0 ? "already before the first layer" : from === rows - 1 && facts.shape.layers > 1 ? "only after the last layer" : `after layer ${from - 1}, and stays`;
    return `Read the marked column from the bottom: ${quoted(meta.words[last])} comes first ${when}.`;
  }],
  ["map", async ({ p }) => {
    const { arrays } = await load("map", { first: Math.floor(p / 64) * 64 });
    const [rows, width] = arrays.top.shape, column = p % 64, entropy = (row) => arrays.entropy[row * width + column];
    return `How sure is it? The prediction of the input has an entropy of ${digits(entropy(0), 1)} bits, the final one ${digits(entropy(rows - 1), 1)}: as if it chose among ${Math.round(2 ** entropy(rows - 1)).toLocaleString("en")} equally likely tokens.`;
  }],
  ["block", async (state) => {
    const { layers } = await difference(state);
    const best = layers.reduce((at, value, i) => (Math.abs(value) > Math.abs(layers[at]) ? i : at), 0);
    return `Of all layers, ${best % 2 ? "the MLP" : "attention"} of layer ${best >> 1} matters most for ${state.question}: it adds ${signed(layers[best])}.`;
  }],
  ["block", async (state) => {
    const { heads } = await difference(state), many = state.facts.shape.heads;
    const best = heads.reduce((at, value, i) => (Math.abs(value) > Math.abs(heads[at]) ? i : at), 0);
    return { text: `Of all ${heads.length} heads, head ${Math.floor(best / many)}.${best % many} matters most: it adds ${signed(heads[best])}. We look at it now.`, go: { l: Math.floor(best / many), h: best % many } };
  }],
  ["head", async ({ facts, p, l, h }) => {
    const { arrays } = await load("head", { layer: l, head: h }), time = facts.tokens.length;
    const row = arrays.pattern.subarray(p * time, p * time + p + 1), at = row.indexOf(Math.max(...row));
    return `Which token did it look at? From ${quoted(facts.tokens[p][1])}, most at ${quoted(facts.tokens[at][1])}: ${percent(row[at])} of its attention.${at === 0 && p > 0 ? " Heads that find nothing often rest on the first token." : ""}`;
  }],
  ["head", async ({ p, l, h }) => {
    const { meta } = await load("written", { layer: l, head: h, position: p });
    return `And what did it write? It makes ${quoted(meta.promotes[0][1])} more likely (${signed(meta.promotes[0][2])}), and ${quoted(meta.suppresses[0][1])} less (${signed(meta.suppresses[0][2])}).`;
  }],
  ["neurons", async ({ p, l, y, c, question }) => {
    const { meta } = await load("neurons", { layer: l, position: p, target: y, contrast: c });
    const [one] = meta.neurons;
    return `The neuron of this layer that matters most for ${question} is number ${one.neuron}: it adds ${signed(one.adds)}, and now promotes ${one.promotes.slice(0, 3).map(([, text]) => quoted(text)).join(", ")}.`;
  }],
  ["logits", async (state) => {
    const { meta, arrays } = await wanted(state);
    return `In the end, ${quoted(meta.candidates[0][1])} has the largest logit, and so the largest probability: ${percent(arrays.probability[0])}. The next one is ${quoted(meta.candidates[1][1])}, with ${percent(arrays.probability[1])}.`;
  }],
  ["logits", async (state) => {
    const { meta } = await wanted(state);
    return `At temperature 0, ${quoted(meta.candidates[0][1])} is always taken. Move the slider: the higher the temperature, the more often a less likely token is drawn.`;
  }],
  ["why", async (state) => {
    const { logit } = await difference(state), found = await byToken(state).catch(() => null);
    if (!found) return `Everything adds up: the parts of the model sum to ${signed(logit[0])}.`;
    const { tokens } = found, at = tokens.reduce((best, value, i) => (Math.abs(value) > Math.abs(tokens[best]) ? i : best), 0);
    return `Why ${state.question}? All parts add up to ${signed(logit[0])}. Of the tokens of the text, ${quoted(state.facts.tokens[at][1])} at position ${at} speaks loudest: ${signed(tokens[at])}.`;
  }],
  ["what-if", async ({ l, h }) => `Is head ${l}.${h} really needed? ${saved() ? "On a server, it can be switched off here." : "Switch it off, and see."} That is an experiment, and better evidence than any sum.`],
];

let at = 0;

// Begin the tour, or go on where it was left.
export function tour(state, select) {
  show(at < STOPS.length ? at : 0, state, select);
}

async function show(stop, state, select) {
  at = stop;
  const box = document.getElementById("stop"), [panel, says] = STOPS[stop];
  for (const section of document.querySelectorAll(".panel")) section.classList.toggle("touring", section.id === panel);
  document.getElementById(panel).scrollIntoView({ block: "start", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  let told;
  try {
    told = await says(state());
  } catch (error) {
    told = error.message;
  }
  if (at !== stop) return;
  if (told.go) select(told.go);
  const step = (to, label) => make("button", { type: "button", onclick: () => show(to, state, select) }, label);
  const end = make("button", { type: "button", onclick: () => close(box) }, "End");
  const next = stop + 1 < STOPS.length ? step(stop + 1, "Next") : null;
  box.hidden = false;
  box.replaceChildren(make("p", { role: "status" }, told.text ?? told), make("div", {}, make("span", { class: "quiet" }, `${stop + 1} of ${STOPS.length}`), stop ? step(stop - 1, "Back") : null, next, end));
  (next ?? end).focus({ preventScroll: true });
  box.onkeydown = (event) => { if (event.key === "Escape") close(box); };
}

function close(box) {
  box.hidden = true;
  for (const section of document.querySelectorAll(".panel")) section.classList.remove("touring");
  document.getElementById("tour").focus();
}
