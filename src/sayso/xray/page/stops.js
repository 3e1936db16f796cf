// What the guided tour says: at each stop, a question of a first-time reader, and its answer in the text's own numbers.

import { AHEAD, digits, percent, shown, signed } from "./dom.js";
import { saved } from "./source.js";
import { byToken, difference, wanted } from "./why_numbers.js";

const quoted = (text) => `"${shown(text)}"`;
const largest = (values) => values.reduce((best, value, i) => (Math.abs(value) > Math.abs(values[best]) ? i : best), 0);
const middle = ({ facts }) => facts.shape.layers >> 1;

// Each stop: [panel, question, answer]; both are functions of a state, and the answer may name a place to go to.
export const STOPS = [
  ["tokens", () => "What does the model read?", async ({ facts, p }) => `The text was cut into ${facts.tokens.length} tokens. The model has read up to ${quoted(facts.tokens[p][1])}, and all that follows is about what comes after it.`],
  ["tokens", () => "What surprised it most?", async ({ facts, surprisal }) => {
    if (facts.shape.looks_ahead) return AHEAD;
    if (facts.tokens.length < 2) return "The more color a token has, the less the model expected it. With one token there is nothing to expect yet.";
    const at = surprisal.reduce((best, bits, i) => (bits > surprisal[best] || Number.isNaN(surprisal[best]) ? i : best), 1);
    return `The token with the most color is ${quoted(facts.tokens[at][1])}: the model gave it only ${percent(2 ** -surprisal[at])} before it was read.`;
  }],
  ["embedding", () => "What is a word to the model?", async ({ p, facts, load }) => {
    const { meta } = await load("embedding", { position: p });
    return `${quoted(meta.token[1])} is a row of ${facts.shape.width} numbers. The row that points most nearly the same way belongs to ${quoted(meta.near[0][1])} (cosine ${digits(meta.near[0][2])}).`;
  }],
  ["embedding", () => "Where is the position?", async ({ load }) => {
    const { meta, arrays } = await load("positions"), kinds = new Set(meta.kinds);
    if (kinds.has("rotary")) return `Not in these numbers: attention adds it, by rotating queries and keys like ${arrays.wavelengths.length} dials, of which the fastest goes round every ${digits(Math.min(...arrays.wavelengths), 1)} tokens. So two tokens are compared by how far apart they are.`;
    return kinds.has("learned") ? "It is in these numbers: a row for each position was added." : "Nothing tells it, except that each position sees only those before it.";
  }],
  ["map", (state) => `What does layer ${middle(state)} already know?`, async (state) => {
    const { best, share, last, from, words } = await column(state), half = middle(state) + 1;
    const when = from === 0 ? "already before the first layer" : `after layer ${from - 1}, and stays`;
    return `Read the marked column from the bottom. After layer ${middle(state)} it would say ${quoted(words[best(half)])}, with ${percent(share(half))}. What it says in the end, ${quoted(words[last])}, comes first ${when}.`;
  }],
  ["map", () => "How sure is it?", async (state) => {
    const { entropy, rows } = await column(state);
    return `The prediction of the input has an entropy of ${digits(entropy(0), 1)} bits, the final one ${digits(entropy(rows - 1), 1)}: as if it chose among ${Math.round(2 ** entropy(rows - 1)).toLocaleString("en")} equally likely tokens.`;
  }],
  ["block", () => "Which layer matters most?", async (state) => {
    const { layers } = await difference(state), best = largest(layers);
    return `For ${state.question}, ${best % 2 ? "the MLP" : "attention"} of layer ${best >> 1}: it adds ${signed(layers[best])}.`;
  }],
  ["block", () => "Which head matters most?", async (state) => {
    const { heads } = await difference(state), many = state.facts.shape.heads, best = largest(heads);
    return { text: `Of all ${heads.length} heads, head ${Math.floor(best / many)}.${best % many}: it adds ${signed(heads[best])}. We look at it now.`, go: { l: Math.floor(best / many), h: best % many } };
  }],
  ["head", () => "Which word did it look at?", async ({ facts, p, l, h, load }) => {
    const { arrays } = await load("head", { layer: l, head: h }), time = facts.tokens.length;
    const row = arrays.pattern.subarray(p * time, (p + 1) * time), at = row.indexOf(Math.max(...row));
    return `From ${quoted(facts.tokens[p][1])}, most at ${quoted(facts.tokens[at][1])}: ${percent(row[at])} of its attention.${at === 0 && p > 0 ? " Heads that find nothing often rest on the first token." : ""}`;
  }],
  ["head", () => "And what did it write?", async ({ p, l, h, load }) => {
    const { meta } = await load("written", { layer: l, head: h, position: p });
    return `It makes ${quoted(meta.promotes[0][1])} more likely (${signed(meta.promotes[0][2])}), and ${quoted(meta.suppresses[0][1])} less (${signed(meta.suppresses[0][2])}).`;
  }],
  ["neurons", () => "What does a neuron do?", async ({ p, l, y, c, question, load }) => {
    const { meta: { neurons: [one] } } = await load("neurons", { layer: l, position: p, target: y, contrast: c });
    return `The one of this layer that matters most for ${question} is number ${one.neuron}: it adds ${signed(one.adds)}, and now promotes ${one.promotes.slice(0, 3).map(([, text]) => quoted(text)).join(", ")}.`;
  }],
  ["logits", () => "What else could come?", async (state) => {
    const { meta, arrays } = await wanted(state);
    return `In the end, ${quoted(meta.candidates[0][1])} has the largest logit, and so the largest probability: ${percent(arrays.probability[0])}. The next one is ${quoted(meta.candidates[1][1])}, with ${percent(arrays.probability[1])}.`;
  }],
  ["logits", () => "What happens at temperature 0?", async (state) => {
    const { meta } = await wanted(state);
    return `${quoted(meta.candidates[0][1])} is always taken. Move the slider: the higher the temperature, the more often a less likely token is drawn.`;
  }],
  ["why", (state) => (state.problem ? "Why this token and not another?" : `Why ${quoted(state.word(state.y))} and not ${quoted(state.word(state.c))}?`), async (state) => {
    const { logit } = await difference(state), found = await byToken(state).catch(() => null);
    if (!found) return `The parts of the model add up to a difference of ${signed(logit[0])}.`;
    const at = largest(found.tokens);
    return `All parts add up to a difference of ${signed(logit[0])}. Of the tokens of the text, ${quoted(state.facts.tokens[at][1])} at position ${at} speaks loudest: ${signed(found.tokens[at])}.`;
  }],
  ["what-if", ({ l, h }) => `Is head ${l}.${h} really needed?`, async () => `${saved() ? "On a server, it can be switched off here." : "Switch it off, and see."} That is an experiment, and better evidence than any sum.`],
  ["training", () => "How did it learn this?", async (state) => {
    const { meta, arrays } = await state.load("training"), time = state.facts.tokens.length, last = meta.steps.length;
    if (!last) return "The weights on the way here were not kept. With those of some steps, a slider leads from random numbers to this model.";
    if (time < 2) return `The slider leads from ${last} earlier weights to this model.`;
    const mean = (s) => arrays.surprisal.subarray(s * time + 1, (s + 1) * time).reduce((a, b) => a + b, 0) / (time - 1);
    return `Step by step: after ${meta.steps[0].toLocaleString("en")} steps a token of this text surprised it by ${digits(mean(0), 1)} bits on average, in the end by ${digits(mean(last), 1)}. Move the slider.`;
  }],
];

// What the map says at the chosen position: functions of a row, 0 for the input.
async function column({ p, load }) {
  const { meta, arrays } = await load("map", { first: Math.floor(p / 64) * 64 }), [rows, width, k] = arrays.top.shape, cell = (row) => row * width + p % 64;
  const best = (row) => arrays.top[cell(row) * k], last = best(rows - 1);
  let from = rows - 1;
  while (from > 0 && best(from - 1) === last) from -= 1;
  return { rows, words: meta.words, best, last, from, share: (row) => Math.exp(arrays.logprobs[cell(row) * k]), entropy: (row) => arrays.entropy[cell(row)] };
}
