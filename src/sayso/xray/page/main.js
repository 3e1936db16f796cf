// The page: reads the selection from the address, and draws every panel that depends on what changed.

import { about, choice, names } from "./beside.js";
import * as block from "./block.js";
import * as circuit from "./circuit.js";
import { fill, make, shown } from "./dom.js";
import * as embedding from "./embedding.js";
import * as head from "./head.js";
import * as logits from "./logits.js";
import * as map from "./map.js";
import * as neurons from "./neurons.js";
import { selection } from "./place.js";
import { begun, check, explained, side } from "./side.js";
import { saved, savedSides, source } from "./source.js";
import * as tokens from "./tokens.js";
import { tour } from "./tour.js";
import * as training from "./training.js";
import * as whatIf from "./what_if.js";
import * as why from "./why.js";
import { wanted } from "./why_numbers.js";

const PANELS = { tokens, embedding, map, block, head, neurons, logits, why, circuit, "what-if": whatIf, training };

const sides = [];
let latest = 0;
let states = null;

const bodies = (name) => [...document.querySelectorAll(`#${name} .body`)];

// Return everything that panels need to know of each row, with defaults for what the address leaves open.
async function settled() {
  const facts = await Promise.all(sides.map(({ load }) => load("tokens"))), given = selection();
  await check(given, sides, facts.map(({ meta }) => meta));
  const longest = Math.max(...facts.map(({ meta }) => meta.tokens.length));
  const [first, ...others] = sides;
  const start = begun(first, facts[0], given, longest, others.length > 0);
  const begin = [start, ...others.map((one, i) => begun(one, facts[i + 1], { ...given, p: given.p ?? start.place, l: given.l ?? start.l, h: given.h ?? start.h }, longest, true))];
  await Promise.all(bodies("tokens").map((body, i) => body.hasChildNodes() ? null : tokens.draw(body, begin[i]))); // the first panel waits for nothing else
  const found = [await explained(start, given, wanted)];
  for (const one of begin.slice(1)) found.push(await explained(one, found[0], wanted)); // the same question
  return found;
}

async function draw() {
  const turn = (latest += 1);
  const now = document.getElementById("now");
  try {
    const found = await settled();
    if (turn !== latest) return;
    states = found;
  } catch (error) {
    if (turn === latest) now.textContent = error.message;
    return;
  }
  const [state] = states;
  document.getElementById("model").textContent = `${state.facts.name}, ${(state.facts.shape.parameters / 1e6).toFixed(1)}M parameters`;
  now.textContent = state.problem ? `At position ${state.p}: ${state.problem}` : `${state.facts.shape.looks_ahead ? "For" : "After"} "${shown(state.facts.tokens[state.p][1])}" at position ${state.p}: why ${state.question}?`;
  if (states.length > 1) names(states);
  await Promise.all(Object.entries(PANELS).flatMap(([name, panel]) => bodies(name).map((body, i) => refresh(body, panel, i, turn))));
  if (turn === latest) document.body.dataset.drawn = String(turn);
}

async function refresh(body, panel, i, turn) {
  await body.drawing; // one at a time, so that an older drawing does not end last
  const state = states[i], key = JSON.stringify(panel.depends.map((part) => state[part]));
  if (turn !== latest || body.dataset.key === key) return;
  body.setAttribute("aria-busy", "true");
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
  body.removeAttribute("aria-busy");
}

function begin() {
  const count = saved() ? savedSides() : about().length;
  for (let i = 0; i < count; i += 1) sides.push(side(source(saved() ? null : about(sides[0]?.load)[i], i)));
  choice(count);
  addEventListener("selected", draw);
  addEventListener("hashchange", draw);
  document.getElementById("tour").addEventListener("click", () => states && tour(() => states[0]));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const body of document.querySelectorAll(".body")) { delete body.dataset.key; delete body.map; }
    draw();
  });
  draw();
}

begin();
