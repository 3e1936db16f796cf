// One row of tokens in one model, as panels see it. There may be two side by side, which one selection drives: the
// positions of the address are those of the longer row, and the rows end together.

import { shown } from "./dom.js";
import { select } from "./place.js";
import { saved } from "./source.js";

// Return what one row is, and where its numbers come from.
export function side(load) {
  let words = null;
  return {
    load,
    // The text of every token of the vocabulary.
    texts() {
      words ??= load("words").then(({ arrays }) => new TextDecoder().decode(arrays.texts).split("\0"));
      words.catch(() => { words = null; });
      return words;
    },
  };
}

// Throw what the page says about a link to something that no row has, and about two rows that cannot be compared.
export async function check(given, sides, facts) {
  const most = (of) => Math.max(...facts.map(of));
  const within = (value, count, what) => {
    if (value !== null && value >= count) throw new Error(`This link asks for ${what} ${value}; here they are numbered from 0 to ${count - 1}.`);
  };
  within(given.p, most(({ tokens }) => tokens.length), "position");
  within(given.k, most(({ tokens }) => tokens.length), "position");
  within(given.l, most(({ shape }) => shape.layers), "layer");
  within(given.h, most(({ shape }) => shape.heads), "head");
  for (const id of [given.y, given.c]) within(id, most(({ shape }) => shape.vocab_size), "token");
  if (sides.length < 2) return;
  const [first, second] = await Promise.all(sides.map(({ texts }) => texts()));
  if (first.length !== second.length || first.some((text, id) => text !== second[id])) throw new Error("The two models have different tokenizers, so that one selection cannot drive both; compare models that read the same tokens.");
}

// Return what a row knows before any prediction is read: `given` is the selection, `longest` the tokens of the longer row.
export function begun({ load, texts }, { meta, arrays }, given, longest, beside) {
  const { tokens, shape, prompt } = meta, shift = longest - tokens.length;
  const p = given.p === null ? Math.min(prompt, tokens.length) - 1 : Math.max(0, given.p - shift);
  const moved = (changes) => select(Object.fromEntries(Object.entries(changes).map(([name, value]) => [name, value !== null && (name === "p" || name === "k") ? value + shift : value])));
  return {
    load, texts, beside, select: moved, facts: meta, surprisal: arrays.surprisal, rank: arrays.rank, p,
    l: Math.min(given.l ?? shape.layers - 1, shape.layers - 1), h: Math.min(given.h ?? 0, shape.heads - 1),
    k: given.k === null || given.k < shift ? null : given.k - shift, s: given.s, n: given.n, place: p + shift,
  };
}

// Return the row with the token that is explained and the one that it is compared with; `asked` are those of the address.
export async function explained(found, asked, wanted) {
  const y = asked.y ?? (found.facts.shape.looks_ahead ? null : found.facts.tokens[found.p + 1]?.[0]) ?? null;
  const extra = saved() ? [] : [...new Set([y, asked.c].filter((id) => id !== null))], row = { ...found, extra };
  let candidates;
  try {
    ({ meta: { candidates } } = await wanted(row));
  } catch (error) {
    if (!saved()) throw error;
    return { ...row, y: null, c: null, problem: error.message }; // the panels that compare nothing are there
  }
  const known = new Map(candidates), likely = candidates.map(([id]) => id);
  row.y = known.has(y) ? y : likely[0];
  row.c = known.has(asked.c) && asked.c !== row.y ? asked.c : likely.find((id) => id !== row.y);
  row.word = (id) => known.get(id) ?? `token ${id}`;
  row.question = `"${shown(row.word(row.y))}" rather than "${shown(row.word(row.c))}"`;
  return row;
}
