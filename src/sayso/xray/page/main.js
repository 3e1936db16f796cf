// The page: reads the selection from the address, and draws every panel that depends on what changed.

import * as block from "./block.js";
import { fill, make, shown } from "./dom.js";
import * as embedding from "./embedding.js";
import * as head from "./head.js";
import * as logits from "./logits.js";
import * as map from "./map.js";
import * as neurons from "./neurons.js";
import { select, selection } from "./place.js";
import { about, load, saved } from "./source.js";
import * as tokens from "./tokens.js";
import { tour } from "./tour.js";
import * as whatIf from "./what_if.js";
import * as why from "./why.js";
import { wanted } from "./why_numbers.js";

const PANELS = { tokens, embedding, map, block, head, neurons, logits, why, "what-if": whatIf };

let latest = 0;
let state = null;

// Return everything that panels need to know, with defaults for what the address leaves open.
async function settled() {
  const { meta, arrays } = await load("tokens");
  const { tokens: row, shape } = meta, given = selection();
  const within = (value, count, what) => {
    if (value !== null && value >= count) throw new Error(`This link asks for ${what} ${value}; here they are numbered from 0 to ${count - 1}.`);
    return value;
  };
  const p = within(given.p, row.length, "position") ?? Math.min(meta.prompt, row.length) - 1, l = within(given.l, shape.layers, "layer") ?? shape.layers - 1, h = within(given.h, shape.heads, "head") ?? 0;
  within(given.k, row.length, "position");
  for (const id of [given.y, given.c]) within(id, shape.vocab_size, "token");
  const next = row[p + 1]?.[0] ?? null, y = given.y ?? next;
  const asked = [y, given.c].filter((id) => id !== null);
  const found = { facts: meta, surprisal: arrays.surprisal, rank: arrays.rank, p, l, h, k: given.k, extra: saved() ? [] : asked };
  const body = document.querySelector("#tokens .body");
  if (!body.hasChildNodes()) await tokens.draw(body, found); // the first panel waits for nothing else
  let candidates;
  try {
    ({ meta: { candidates } } = await wanted(found));
  } catch (error) {
    if (!saved()) throw error;
    return { ...found, y: null, c: null, problem: error.message }; // the panels that compare nothing are there
  }
  const known = new Map(candidates), likely = candidates.map(([id]) => id);
  found.y = known.has(y) ? y : likely[0];
  found.c = known.has(given.c) && given.c !== found.y ? given.c : likely.find((id) => id !== found.y);
  found.word = (id) => known.get(id) ?? `token ${id}`;
  found.question = `"${shown(found.word(found.y))}" rather than "${shown(found.word(found.c))}"`;
  return found;
}

async function draw() {
  const turn = (latest += 1);
  const now = document.getElementById("now");
  try {
    const found = await settled();
    if (turn !== latest) return;
    state = found;
  } catch (error) {
    if (turn === latest) now.textContent = error.message;
    return;
  }
  document.getElementById("model").textContent = `${state.facts.name}, ${(state.facts.shape.parameters / 1e6).toFixed(1)}M parameters`;
  now.textContent = state.problem ? `At position ${state.p}: ${state.problem}` : `After "${shown(state.facts.tokens[state.p][1])}" at position ${state.p}: why ${state.question}?`;
  await Promise.all(Object.entries(PANELS).map(([name, panel]) => refresh(name, panel, turn)));
  if (turn === latest) document.body.dataset.drawn = String(turn);
}

async function refresh(name, panel, turn) {
  const section = document.getElementById(name), body = section.querySelector(".body");
  await body.drawing; // one at a time, so that an older drawing does not end last
  const key = JSON.stringify(panel.depends.map((part) => state[part]));
  if (turn !== latest || body.dataset.key === key) return;
  section.setAttribute("aria-busy", "true");
  body.drawing = (async () => {
    try {
      if (panel.compares && state.problem) throw new Error(state.problem);
      await panel.draw(body, state);
      body.dataset.key = key;
    } catch (error) {
      fill(body, make("p", { class: "problem" }, error.message));
      delete body.dataset.key;
      delete body.map;
    }
  })();
  await body.drawing;
  section.removeAttribute("aria-busy");
}

function begin() {
  if (!saved()) {
    const asked = new URLSearchParams(location.search), message = asked.get("message");
    about(message ? { message_id: Number(message) } : { text: asked.get("text") ?? "", ...(asked.get("model") ? { model: asked.get("model") } : {}) });
  }
  addEventListener("selected", draw);
  addEventListener("hashchange", draw);
  document.getElementById("tour").addEventListener("click", () => state && tour(() => state, select));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const body of document.querySelectorAll(".body")) { delete body.dataset.key; delete body.map; }
    draw();
  });
  draw();
}

begin();
