// The text as tokens: how surprising each one was, and which one is explained.

import { AHEAD, between, color, digits, fill, folded, make, percent, python, shown, table } from "./dom.js";
import { saved } from "./source.js";

const MOST_BITS = 12;

export const depends = ["p", "y"];
const PAUSE = 1200, WRITTEN = 20; // milliseconds of a picture of the film, and tokens that are written at once

let film = null;

// Go through the positions one by one; every panel follows.
function play(state, button) {
  const { tokens: { length }, prompt } = state.facts;
  if (film) {
    clearInterval(film);
    film = null;
  } else if (length > 1) {
    let p = state.p + 1 < length ? state.p : prompt < length ? prompt - 2 : -1;
    film = setInterval(() => {
      p += 1;
      if (p >= length - 1) play(state, button);
      state.select({ p, y: null, c: null, k: null });
    }, PAUSE);
  }
  button.textContent = film ? "Stop" : "Play";
  button.setAttribute("aria-pressed", film !== null);
}

// Let the model write on, and show all of it.
async function write(state, told) {
  const { meta } = await state.load("continued", { count: WRITTEN }), asked = new URLSearchParams(location.search);
  if (!meta.text) {
    told.textContent = "The model ends the text here.";
    return;
  }
  asked.set("text", (asked.get("text") ?? "") + meta.text);
  location.assign(`?${asked}`);
}

function ramp(from, to) {
  const scale = make("span", { class: "ramp", "aria-hidden": "true" });
  scale.style.background = `linear-gradient(90deg, ${from}, ${between(from, to, 0.75)})`;
  return scale;
}

export async function draw(body, state) {
  const { tokens } = state.facts, { surprisal, rank } = state;
  const expected = !state.facts.shape.looks_ahead; // each token by those before it
  const [paper, strong, ink, bright] = ["paper", "strong", "ink", "on-strong"].map(color); // read once, for a long text
  const chips = tokens.map(([id, text], i) => {
    const share = expected && i ? Math.min(1, surprisal[i] / MOST_BITS) : 0;
    const chip = make("button", {
      type: "button", class: "token", "aria-pressed": String(i === (expected ? state.p + 1 : state.p)), title: !expected ? null : i ? `${digits(surprisal[i], 1)} bits` : "where the text begins",
      onclick: () => state.select(!expected ? { p: i, y: null, c: null, k: null } : i ? { p: i - 1, y: id, c: null, k: null } : { p: 0, y: null, c: null, k: null }),
    }, shown(text));
    chip.style.background = between(paper, strong, 0.75 * share);
    chip.style.color = share > 0.55 ? bright : ink;
    if (i === state.p) chip.classList.add("here");
    return chip;
  });
  if (expected) chips.push(make("button", { type: "button", class: "token next", "aria-pressed": String(state.p === tokens.length - 1), onclick: () => state.select({ p: tokens.length - 1, y: null, c: null, k: null }) }, "what comes next?"));
  const at = state.p + 1;
  const told = !expected ? `Position ${state.p} has the token "${shown(tokens[state.p][1])}", with the id ${tokens[state.p][0]}.` : at < tokens.length
    ? `Token ${at}, "${shown(tokens[at][1])}", has the id ${tokens[at][0]}. The model gave it ${percent(2 ** -surprisal[at])}: a surprise of ${digits(surprisal[at], 1)} bits, and ${rank[at] ? `${rank[at]} ${rank[at] === 1 ? "token was" : "tokens were"} likelier` : "no token was likelier"}.`
    : `After all ${tokens.length} tokens, the model predicts what comes next.`;
  const said = make("p", { class: "told", role: "status" }, told);
  fill(body,
    make("p", { class: "what" }, !expected ? AHEAD : "The model reads tokens, not words. The more color a token has, the less the model expected it. Choose one to see why it came."),
    expected ? make("p", { class: "quiet legend" }, "expected ", ramp(paper, strong), ` ${MOST_BITS} bits of surprise or more: a chance of 1 in ${(2 ** MOST_BITS).toLocaleString("en")}, or less`) : null,
    make("div", { class: "chips", role: "group", "aria-label": "Tokens" }, chips),
    make("div", { class: "pickers" },
      make("button", { type: "button", "aria-pressed": String(film !== null), title: "Go through the positions one by one", onclick: ({ currentTarget }) => play(state, currentTarget) }, film ? "Stop" : "Play"),
      !expected || saved() || state.beside || !new URLSearchParams(location.search).has("text") ? null : make("button", { type: "button", onclick: () => write(state, said).catch((error) => { said.textContent = error.message; }) }, `Let it write ${WRITTEN} tokens`)),
    said,
    folded("Table", () => table("Tokens", [["Position", true], ["Token", false], ["Id", true], ...(expected ? [["Surprise, bits", true], ["Likelier tokens", true]] : [])],
      tokens.map(([id, text], i) => [String(i), shown(text), String(id), ...(expected ? [i ? digits(surprisal[i]) : "", i ? String(rank[i]) : ""] : [])]))),
    !expected ? null : python('ids = model.ids(text)\n-model.logprobs(text) / torch.tensor(2.0).log()  # bits of each token'),
  );
}
