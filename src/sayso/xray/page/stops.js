// What the guided tour says: at each stop, a question of a first-time reader, and its answer in the text's own numbers.

import { KINDS } from "./block.js";
import { AHEAD, digits, percent, shown, signed } from "./dom.js";
import { saved } from "./source.js";
import { byToken, difference, wanted } from "./why_numbers.js";

const quoted = (text) => `"${shown(text)}"`;
const largest = (values) => values.reduce((best, value, i) => (Math.abs(value) > Math.abs(values[best]) ? i : best), 0);
const factor = (logits) => digits(Math.exp(Math.abs(logits)), 1);
// The layer that the tour speaks of: the chosen one, and the middle one while none but the last is chosen.
const asked = ({ facts: { shape: { layers } }, l }) => (l === layers - 1 ? layers >> 1 : l);

// Each stop: [panel, question, answer]; both are functions of a state, and the answer may name a place to go to.
export const STOPS = [
  ["tokens", () => "What is a token?", async ({ facts, p }) => {
    const [id, text] = facts.tokens[p];
    return `What the model reads: a word or a piece of one, with a number. The text was cut into ${facts.tokens.length} tokens, of ${facts.shape.vocab_size.toLocaleString("en")} that the model knows; a dot in them is a space. ${facts.shape.looks_ahead ? `It reads all of them at once. The chosen one is ${quoted(text)}, token number ${id.toLocaleString("en")}, and all that follows is about the result at its place.` : `It has read up to ${quoted(text)}, which is token number ${id.toLocaleString("en")}, and all that follows is about what comes after it.`}`;
  }],
  ["tokens", () => "What surprised it most?", async ({ facts, surprisal }) => {
    if (facts.shape.looks_ahead) return AHEAD;
    if (facts.tokens.length < 2) return "The more color a token has, the less the model expected it. With one token there is nothing to expect yet.";
    const at = surprisal.reduce((best, bits, i) => (bits > surprisal[best] || Number.isNaN(surprisal[best]) ? i : best), 1);
    return `The token with the most color is ${quoted(facts.tokens[at][1])}: before it was read, the model gave it a probability of ${percent(2 ** -surprisal[at])}. That is a surprise of ${digits(surprisal[at], 1)} bits; one that chose blindly among all tokens would have ${digits(Math.log2(facts.shape.vocab_size), 1)}.`;
  }],
  ["embedding", () => "What is a word to the model?", async ({ p, facts, load }) => {
    const { meta } = await load("embedding", { position: p });
    return `${quoted(meta.token[1])} is a row of ${facts.shape.width} numbers. The row that points most nearly the same way belongs to ${quoted(meta.near[0][1])} (cosine ${digits(meta.near[0][2])}).`;
  }],
  ["embedding", () => "Where is the position?", async ({ load }) => {
    const { meta, arrays } = await load("positions"), kinds = new Set(meta.kinds);
    if (kinds.has("rotary")) return `Not in these numbers. Attention brings it in, further down: it turns what it compares like the hands of ${arrays.wavelengths.length} clocks, a bit further for each position. The fastest hand goes round every ${digits(Math.min(...arrays.wavelengths), 1)} tokens, the slowest every ${Math.round(Math.max(...arrays.wavelengths)).toLocaleString("en")}. So two tokens are compared by how far apart they are.`;
    return kinds.has("learned") ? "It is in these numbers: a row for each position was added." : "Nothing tells it, except that each position sees only those before it.";
  }],
  ["map", (state) => `What does layer ${asked(state)} already know?`, async (state) => {
    const { best, share, last, from, words, place } = await column(state), layer = asked(state), there = place(layer + 1);
    const known = there < 0 ? "is not among its likeliest" : there ? `is number ${there + 1}` : "is first";
    return { text: `Read the framed column from the bottom. After layer ${layer} the model would say ${quoted(words[best(layer + 1)])}, with ${percent(share(layer + 1))}. What it says in the end, ${quoted(words[last])}, ${known} there; it is first from ${from ? `layer ${from - 1}` : "the input"} on. Choose a cell of another layer to ask about that one.`, go: { l: layer } };
  }],
  ["map", () => "How sure is it?", async (state) => {
    const { entropy, rows } = await column(state), final = entropy(rows - 1), vocabulary = state.facts.shape.vocab_size;
    return `The final prediction has an entropy of ${final.toFixed(1)} bits: as if it chose among ${Math.round(2 ** final).toLocaleString("en")} equally likely tokens. 0 bits would be certain; ${Math.log2(vocabulary).toFixed(1)}, a blind choice among all ${vocabulary.toLocaleString("en")}.`;
  }],
  ["block", () => "Which layer matters most? Is its number big?", async (state) => {
    const { layers, logit } = await difference(state), best = largest(layers), [y, c] = (layers[best] >= 0 ? [state.y, state.c] : [state.c, state.y]).map((id) => quoted(state.word(id)));
    return `For ${state.question}, ${best % 2 ? "the MLP" : "attention"} of layer ${best >> 1}: it adds ${signed(layers[best])}. ${state.facts.shape.logit_cap ? "All" : `By itself, that multiplies the odds of ${y} against ${c} by ${factor(layers[best])}; all`} parts of the model together add ${signed(logit[0])}.`;
  }],
  ["block", () => "Which head matters most?", async (state) => {
    const { heads } = await difference(state), many = state.facts.shape.heads, best = largest(heads);
    return { text: `Of all ${heads.length} heads, head ${Math.floor(best / many)}.${best % many}, which is head ${best % many} of layer ${Math.floor(best / many)}: it adds ${signed(heads[best])}. It is chosen now, and the next stops are about it.`, go: { l: Math.floor(best / many), h: best % many } };
  }],
  ["head", () => "Which word did it look at?", async ({ facts, p, l, h, load }) => {
    const { arrays } = await load("head", { layer: l, head: h }), time = facts.tokens.length;
    const row = arrays.pattern.subarray(p * time, p * time + (facts.shape.looks_ahead ? time : p + 1)), [at, second] = [...row.keys()].sort((a, b) => row[b] - row[a]), name = (i) => `${quoted(facts.tokens[i][1])} (position ${i}, ${percent(row[i])} of its attention)`;
    return `From ${quoted(facts.tokens[p][1])}, most at ${name(at)}${second === undefined ? "" : `, then at ${name(second)}`}.${at === 0 && p > 0 ? " Heads that find nothing often rest on the first token." : ""}`;
  }],
  ["head", () => "What does this head do?", async (state) => {
    const { p, l, h, load, facts } = state, [{ meta }, { arrays }] = await Promise.all([load("written", { layer: l, head: h, position: p }), load("heads")]);
    const [best, score] = Object.keys(KINDS).map((name) => [name, arrays[name][l * facts.shape.heads + h]]).filter(([, value]) => value > 0).sort((a, b) => b[1] - a[1])[0] ?? [];
    const looks = best === undefined ? "" : `${REPEATED.includes(best) ? "From tokens that occurred before" : "Over this text"}, ${percent(score)} of its attention goes to ${LOOKS[best]}. `;
    return `${looks}Here it makes ${quoted(meta.promotes[0][1])} more likely (${signed(meta.promotes[0][2])}), and ${quoted(meta.suppresses[0][1])} less (${signed(meta.suppresses[0][2])}).`;
  }],
  ["neurons", () => "What does a neuron do?", async ({ p, l, y, c, question, word, load }) => {
    const { meta: { neurons: [one] } } = await load("neurons", { layer: l, position: p, target: y, contrast: c });
    return `The one of this layer that matters most for ${question} is number ${one.neuron}: it adds ${signed(one.adds)}, so it speaks for ${quoted(word(one.adds >= 0 ? y : c))}. What it makes likelier now: ${one.promotes.slice(0, 3).map(([, text]) => quoted(text)).join(", ")}.`;
  }],
  ["logits", () => "Where does randomness come in?", async (state) => {
    const { meta, arrays } = await wanted(state), [[, first], [, second]] = meta.candidates;
    return `Only here: for the same text, every number above is the same each time. ${quoted(first)} has the largest logit and gets ${percent(arrays.probability[0])}, ${quoted(second)} ${percent(arrays.probability[1])}, then a random number picks one token. Draw a few.`;
  }],
  ["logits", () => "What happens at temperature 0?", async (state) => {
    const { meta } = await wanted(state);
    return `Nothing is drawn: ${quoted(meta.candidates[0][1])} is always taken. Move the slider: the higher the temperature, the more often a less likely token is drawn.`;
  }],
  ["why", (state) => (state.problem ? "Why this token and not another?" : `Why ${quoted(state.word(state.y))} and not ${quoted(state.word(state.c))}?`), async (state) => {
    const { logit } = await difference(state), found = await byToken(state).catch(() => null);
    if (!found) return `The parts of the model add up to a difference of ${signed(logit[0])}.`;
    const at = largest(found.tokens);
    const [more, less] = (logit[0] < 0 ? [state.c, state.y] : [state.y, state.c]).map((id) => quoted(state.word(id)));
    return `All parts add up to a difference of ${signed(logit[0])}: ${more} is ${state.facts.shape.logit_cap ? "more likely than" : `${factor(logit[0])} times as likely as`} ${less}. Of the tokens of the text, ${quoted(state.facts.tokens[at][1])} at position ${at} adds most: ${signed(found.tokens[at])}.`;
  }],
  ["what-if", () => "Would it have said something else without a word?", async (state) => {
    const { meta, arrays } = await state.load("without", { position: state.p, target: state.y }), word = quoted(state.word(state.y));
    if (!arrays.removed.length) return "There is nothing else to read here, and nothing is left without this token.";
    const found = await byToken(state).catch(() => null), most = largest(Array.from(arrays.removed, (at, i) => (found ? found.tokens[at] : arrays.share[i] - meta.share))), at = arrays.removed[most], then = arrays.best[most];
    return `Without ${quoted(state.facts.tokens[at][1])} at position ${at}, the probability of ${word} goes from ${percent(meta.share)} to ${percent(arrays.share[most])}, and ${quoted(meta.words[then])} would ${then === state.y ? "still " : ""}be the likeliest. That is an experiment, and better evidence than any sum. ${saved() ? "On a server, heads and MLPs can be switched off here as well." : `Switch off head ${state.l}.${state.h} as well, and see.`}`;
  }],
  ["training", () => "How did it learn this?", async (state) => {
    const { meta, arrays } = await state.load("training"), time = state.facts.tokens.length, last = meta.steps.length;
    if (!last) return "The weights on the way here were not kept. With those of some steps, a slider leads from random numbers to this model.";
    if (time < 2) return `The slider leads from ${last} earlier weights to this model.`;
    const mean = (s) => arrays.surprisal.subarray(s * time + 1, (s + 1) * time).reduce((a, b) => a + b, 0) / (time - 1);
    return `Step by step: after ${meta.steps[0].toLocaleString("en")} steps a token of this text surprised it by ${digits(mean(0), 1)} bits on average, in the end by ${digits(mean(last), 1)}. Move the slider.`;
  }],
];

const REPEATED = ["induction", "duplicate"]; // counted over the tokens that occurred before
const LOOKS = { previous: "the token before", first: "the first token", own: "the token itself", induction: "what followed the same token earlier", duplicate: "the same token earlier" };

// What the map says at the chosen position: functions of a row, 0 for the input.
async function column({ p, load }) {
  const { meta, arrays } = await load("map", { first: Math.floor(p / 64) * 64 }), [rows, width, k] = arrays.top.shape, cell = (row) => row * width + p % 64;
  const best = (row) => arrays.top[cell(row) * k], last = best(rows - 1);
  let from = rows - 1;
  while (from > 0 && best(from - 1) === last) from -= 1;
  return { rows, words: meta.words, best, last, from, place: (row) => arrays.top.subarray(cell(row) * k, cell(row) * k + k).indexOf(last), share: (row) => Math.exp(arrays.logprobs[cell(row) * k]), entropy: (row) => arrays.entropy[cell(row)] };
}
