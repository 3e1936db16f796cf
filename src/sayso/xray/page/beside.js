// Two models or two texts side by side: what the address asks for, where they are drawn, and the form that chooses them.

import { fill, make, shown } from "./dom.js";
import { ask, saved } from "./source.js";

// Return what the server is asked about, for each row of tokens. The second one has the text ?beside_text=, or the tokens
// of the first, in the model ?beside=, or the same model. `load` is that of the first.
export function about(load) {
  const asked = new URLSearchParams(location.search), [message, model, other, text] = ["message", "model", "beside", "beside_text"].map((name) => asked.get(name));
  const named = (name) => (name ? { model: name } : {});
  const first = { ...(message ? { message_id: Number(message) } : { text: asked.get("text") ?? "" }), ...named(model) };
  if (text) return [first, { text, ...named(other || model) }];
  if (!other) return [first];
  return [first, load && load("tokens").then(({ meta }) => ({ ids: meta.tokens.map(([id]) => id), prompt: meta.prompt, model: other }))];
}

// Give each panel a place for the second row, and on a server the form that chooses it.
export function choice(count) {
  if (count > 1) for (const body of document.querySelectorAll(".panel .body")) body.parentElement.append(half(0, body), half(1, make("div", { class: "body" })));
  if (count > 1) document.body.classList.add("two");
  if (!saved()) document.querySelector("main").prepend(form(count > 1));
}

const half = (i, body) => make("div", { class: "half", role: "group", "aria-label": i ? "Second" : "First" }, make("p", { class: "side" }), body);

// Say above each half what it shows.
export function names(states) {
  const same = (of) => of(states[0]) === of(states[1]);
  const text = ({ facts, p }) => `"${facts.tokens.slice(Math.max(0, p - 5), p + 1).map(([, word]) => shown(word)).join("").replaceAll("·", " ").trim()}"`;
  const told = states.map((state) => [...(same(({ facts }) => facts.name) ? [] : [state.facts.name]), ...(same(text) ? [] : [`after ${text(state)}`])].join(", "));
  for (const [i, label] of [...document.querySelectorAll(".side")].entries()) label.textContent = told[i % 2] || (i % 2 ? "second" : "first");
}

function form(beside) {
  const asked = new URLSearchParams(location.search);
  const text = make("input", { type: "text", name: "beside_text", "aria-label": "Another text", placeholder: "another text", value: asked.get("beside_text") ?? "" });
  const model = make("select", { name: "beside", "aria-label": "Another model" }, make("option", { value: "" }, "the same model"));
  const told = make("p", { class: "problem", role: "status" });
  const open = (changes) => {
    for (const [name, value] of Object.entries(changes)) value ? asked.set(name, value) : asked.delete(name);
    const kept = new URLSearchParams(location.hash.slice(1));
    for (const name of ["p", "k"]) kept.delete(name); // numbered in rows that are no longer those
    location.assign(`?${asked}#${kept}`);
  };
  const show = () => text.value || model.value ? open({ beside_text: text.value, beside: model.value }) : told.append("Give another text, or choose another model.");
  const box = make("details", { class: "beside", open: beside }, make("summary", {}, "Side by side"),
    make("form", { class: "pickers", onsubmit: (event) => { event.preventDefault(); fill(told); show(); } }, text, model, make("button", { type: "submit" }, "Show"),
      beside ? make("button", { type: "button", onclick: () => open({ beside_text: "", beside: "" }) }, "Only the first") : null), told);
  let offered;
  box.addEventListener("toggle", () => {
    if (box.open) offered ??= offer(model, asked).catch((error) => { offered = undefined; fill(told, error.message); });
  });
  return box;
}

// Fill the choice of models with those of the server and its life; those that cannot be shown say why.
async function offer(model, asked) {
  const given = asked.get("model"), chosen = asked.get("beside");
  const { models } = await (await ask(`/api/xray/models${given ? `?model=${encodeURIComponent(given)}` : ""}`)).json();
  if (chosen && !models.some(({ name }) => name === chosen)) models.unshift({ name: chosen, problem: null }); // such as base@500
  model.append(...models.map(({ name, problem }) => make("option", { value: name, selected: name === chosen, disabled: problem !== null }, problem ? `${name}: ${problem}` : name)));
}
